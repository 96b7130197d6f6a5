//! Metrics, the page as a file, and a fleet.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use crate::shop::Shop;
use crate::support::Outcome;

/// Insists that Prometheus's own tool takes the metrics.
fn check(metrics: &str) -> Outcome<()> {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("no promtool ({error}): `.ci/install test` installs it"))?;
    promtool.stdin.take().ok_or("no stdin")?.write_all(metrics.as_bytes())?;
    let output = promtool.wait_with_output()?;
    let said = String::from_utf8([output.stdout, output.stderr].concat())?;
    if output.status.success() && said.is_empty() { Ok(()) } else { Err(format!("{said}{metrics}").into()) }
}

fn sample<'m>(metrics: &'m str, series: &str) -> Option<&'m str> {
    metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
}

#[tokio::test]
async fn metrics_are_what_prometheus_reads_and_a_file_of_them_is_replaced_whole() -> Outcome<()> {
    let shop = Shop::new().await?;
    let manifest = shop.backup(5, &["primary", "west"]).await?;
    let newer = shop.backup(2, &["primary"]).await?;
    let run = shop.system.expect(0, &["metrics"]).await?;
    check(&run.stdout)?;
    let point = |repository: &str| {
        let labels = format!("system=\"shop\",source=\"database\",repository=\"{repository}\"");
        sample(&run.stdout, &format!("drctl_recovery_point_timestamp_seconds{{{labels}}}"))
    };
    assert_eq!(point("primary"), Some(newer.begun.timestamp().to_string().as_str()));
    assert_eq!(point("west"), Some(manifest.begun.timestamp().to_string().as_str()));
    assert_eq!(sample(&run.stdout, "drctl_rpo_target_seconds{system=\"shop\"}"), Some("21600"));
    let behind = "drctl_copy_behind{system=\"shop\",source=\"database\",repository=\"west\"}";
    assert_eq!(sample(&run.stdout, behind), Some("1"));

    let file = shop.system.path().join("drctl.prom");
    let to = file.to_str().ok_or("path")?;
    let quiet = shop.system.expect(0, &["-q", "metrics", "--file", to]).await?;
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""), "cron would send a mail");
    assert_eq!(std::fs::metadata(&file)?.permissions().mode() & 0o777, 0o644);
    let written = std::fs::read_to_string(&file)?;
    check(&written)?;
    // A repository that is away is said in the metrics; a policy that cannot be read leaves the file.
    shop.unplug("west")?;
    let run = shop.system.expect(0, &["metrics"]).await?;
    let reached = "drctl_repository_reached{system=\"shop\",repository=\"west\"}";
    assert_eq!(sample(&run.stdout, reached), Some("0"));
    shop.plug("west")?;
    std::fs::write(shop.system.policy(), "[system]\nname = \"shop\"\n")?;
    let run = shop.system.expect(1, &["metrics", "--file", to]).await?;
    assert!(run.stderr.contains("error: failed to collect the metrics"), "{}", run.stderr);
    assert_eq!(std::fs::read_to_string(&file)?, written);
    Ok(())
}

#[tokio::test]
async fn a_fleet_is_shown_with_the_worst_first_and_one_bad_policy_is_one_bad_line() -> Outcome<()> {
    let shop = Shop::new().await?;
    shop.backup(2, &["primary", "west"]).await?;
    let fleet = shop.system.path().join("fleet");
    std::fs::create_dir(&fleet)?;
    let policy = std::fs::read_to_string(shop.system.policy())?;
    std::fs::write(fleet.join("shop.toml"), &policy)?;
    let folder = fleet.to_str().ok_or("path")?;
    let good = shop.system.expect(0, &["fleet", "status", folder]).await?;
    assert!(good.stdout.contains("1 system: 0 at risk, 0 with a warning, 1 good"), "{}", good.stdout);
    std::fs::write(fleet.join("broken.toml"), "[system]\nname = \"broken\"\n")?;
    std::fs::write(fleet.join("README.md"), "not a policy")?;
    let document = shop.json(1, &["fleet", "status", folder]).await?;
    let names: Vec<_> =
        ["0", "1"].iter().zip(0..).map(|(_, n)| document["systems"][n]["system"].clone()).collect();
    assert_eq!((names, document["critical"].as_u64()), (vec!["broken".into(), "shop".into()], Some(1)));
    assert_eq!(document["systems"][1]["severity"], "good");
    let run = shop.system.expect(1, &["-q", "fleet", "status", folder]).await?;
    assert!(run.stderr.contains("error: broken: failed to collect"), "{}", run.stderr);
    // Two policies of one system cannot be told apart.
    std::fs::write(fleet.join("broken.toml"), &policy)?;
    shop.system
        .expect(1, &["fleet", "status", folder])
        .await?
        .says("two policies are of the system `shop`")?;
    let empty = shop.system.path().join("empty");
    std::fs::create_dir(&empty)?;
    shop.system
        .expect(2, &["fleet", "status", empty.to_str().ok_or("path")?])
        .await?
        .says("there is no policy in")?;
    Ok(())
}

#[tokio::test]
async fn the_page_is_of_status_alone_and_loads_nothing() -> Outcome<()> {
    let shop = Shop::new().await?;
    shop.backup(2, &["primary", "west"]).await?;
    let run = shop.system.expect(0, &["status", "--output", "html"]).await?;
    assert!(
        run.stdout.starts_with("<!DOCTYPE html>") && run.stdout.contains("Recoverable"),
        "{}",
        run.stdout
    );
    for outside in ["http://", "https://", "src=", "<script", "unsafe"] {
        assert!(!run.stdout.contains(outside), "{outside}");
    }
    shop.unplug("primary")?;
    let run = shop.system.expect(3, &["status", "--output", "html"]).await?;
    assert!(run.stdout.contains("not reached") && run.stdout.contains("Attention"), "{}", run.stdout);
    for words in [&["list", "--output", "html"][..], &["status", "--notify", "--output", "html"]] {
        shop.system.expect(2, words).await?;
    }
    Ok(())
}
