//! What everyone can see: metrics that Prometheus scrapes and alerts on, the page in a browser, and the files of `deploy/`.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use drctl::platform::{Clock as _, SystemClock};
use drctl::repository::{Repositories, Repository};
use drctl::store::directory::DirectoryStore;

use crate::support::browser::{Browser, Scheme, Shown};
use crate::support::prometheus::Prometheus;
use crate::support::system::{Place, Running, System, until};
use crate::support::{Outcome, drills, shop};

const RULES: &str = include_str!("../../deploy/prometheus/drctl-alerts.yml");
const ROUTINE: &str = "[retention]\nkeep_last = 3\ndaily = \"30d\"\n\n[schedule]\nverify = \"40 4 * * *\"\nretention = \"10 5 * * *\"\n\
                       sources.database = \"15 * * * *\"\n\n[drill]\nschedule = \"0 5 * * 0\"\n";

/// A request as it is written, and what comes back.
fn ask(address: SocketAddr, request: &str) -> Outcome<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    // A server may close while more was still on its way to it.
    let _end = stream.read_to_end(&mut answer);
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn get(address: SocketAddr, path: &str) -> Outcome<String> {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"))
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

/// A `drctl serve` that has collected once.
async fn serve(system: &System, arguments: &[&str]) -> Outcome<(Running, SocketAddr)> {
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let listen = address.to_string();
    let server =
        system.start(&[&["serve", "--every", "1s", "--listen", listen.as_str()][..], arguments].concat())?;
    until("it has collected", || {
        get(address, "/metrics").is_ok_and(|metrics| metrics.contains("drctl_collected_timestamp_seconds"))
    })
    .await?;
    Ok((server, address))
}

/// Two empty repositories.
async fn empty() -> Outcome<System> {
    let system = System::new("postgres://drctl@127.0.0.1:1/shop", &[Place::Directory, Place::Directory])?;
    Repositories::new(repositories(&system)?).for_writing(&"shop".parse()?, None, SystemClock.now()).await?;
    Ok(system)
}

fn repositories(system: &System) -> Outcome<Vec<Repository>> {
    let repository = |name: &str| -> Outcome<Repository> {
        let store = std::sync::Arc::new(DirectoryStore::open(system.repository(name)));
        Ok(Repository { name: name.parse()?, store })
    };
    Ok(vec![repository("primary")?, repository("west")?])
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_scrapes_the_server_and_an_alert_fires() -> Outcome<()> {
    let system = empty().await?;
    let (server, address) = serve(&system, &[]).await?;
    let rules = RULES.replace("for: 5m", "for: 1s");
    let prometheus = Prometheus::start(system.path(), address, &rules).await?;
    let begun = Instant::now();
    let alerts = loop {
        let firing = prometheus.firing().await?;
        let names: Vec<_> = firing.iter().map(|alert| alert["labels"]["alertname"].clone()).collect();
        if names.iter().any(|name| name == "DrctlRpoMissed") {
            break firing;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{firing:?}, {:?}", prometheus.target().await?);
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let missed =
        alerts.iter().find(|alert| alert["labels"]["alertname"] == "DrctlRpoMissed").ok_or("none")?;
    assert_eq!(
        (missed["labels"]["system"].as_str(), missed["labels"]["severity"].as_str()),
        (Some("shop"), Some("critical"))
    );
    assert!(!alerts.iter().any(|alert| alert["labels"]["alertname"] == "DrctlMetricsStale"), "{alerts:?}");
    assert_eq!(prometheus.target().await?["health"], "up");
    server.signal(rustix::process::Signal::TERM)?;
    let run = server.end().await?;
    assert_eq!(run.code, Some(0), "{run:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_requests_get_a_4xx_and_the_server_stays_small() -> Outcome<()> {
    let system = empty().await?;
    let (server, address) = serve(&system, &[]).await?;
    let long = "a".repeat(20_000);
    let host = format!("Host: {address}\r\nConnection: close\r\n");
    for (expected, request) in [
        ("421", "GET / HTTP/1.1\r\nHost: evil.example.org\r\nConnection: close\r\n\r\n".to_owned()),
        ("400", "GET / HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned()),
        ("405", format!("POST / HTTP/1.1\r\n{host}Content-Length: 3\r\n\r\nabc")),
        ("405", format!("DELETE /metrics HTTP/1.1\r\n{host}\r\n")),
        ("404", format!("GET /../../etc/passwd HTTP/1.1\r\n{host}\r\n")),
        ("404", format!("GET /systems/%2e%2e HTTP/1.1\r\n{host}\r\n")),
        ("414", format!("GET /{long} HTTP/1.1\r\n{host}\r\n")),
        ("431", format!("GET / HTTP/1.1\r\n{host}Cookie: {long}\r\n\r\n")),
        ("400", "\0\0\0\0\r\n\r\n".to_owned()),
        ("400", format!("GET / HTTP/1.1\r\n{host}Bad Header: x\r\n\r\n")),
    ] {
        let answer = ask(address, &request)?;
        assert_eq!(status(&answer), expected, "{:.80}: {answer:.300}", request);
    }
    let head = ask(address, &format!("HEAD / HTTP/1.1\r\n{host}\r\n"))?;
    let (headers, body) = head.split_once("\r\n\r\n").ok_or("no end")?;
    assert_eq!((status(&head), body), ("200", ""));
    assert!(
        headers.to_ascii_lowercase().contains("content-security-policy: default-src 'none'; "),
        "{headers}"
    );
    assert_eq!(get(address, "/healthz")?.lines().last(), Some("ok"));
    for _ in 0..300 {
        assert_eq!(status(&get(address, "/")?), "200");
    }
    let held = std::fs::read_to_string(format!("/proc/{}/status", server.id()))?;
    // Without the pages of the program's file, which this build has many of.
    let held = held.lines().find_map(|line| line.strip_prefix("RssAnon:")).ok_or("no size")?;
    let held: u64 = held.trim().trim_end_matches(" kB").parse()?;
    assert!(held < 64 * 1_024, "{held} kB");
    // Nothing of the system was changed by looking at it.
    assert_eq!(system.backups_in("primary"), Vec::<String>::new());
    Ok(())
}

/// A system with a backup, drills and a schedule.
async fn demonstrated() -> Outcome<(crate::support::postgres::Cluster, System)> {
    let cluster = shop::shop(64).await?;
    let system = System::new(&cluster.url("shop"), &[Place::Directory, Place::Directory])?;
    system.append(ROUTINE)?;
    system.expect(0, &["backup"]).await?;
    let now = SystemClock.now();
    let mut records = Vec::new();
    for (days, percent) in [(30, 80), (23, 84), (16, 88), (9, 95), (2, 100)] {
        records.push(drills::at(now - TimeDelta::days(days), None, percent)?);
    }
    drills::write(repositories(&system)?, &"shop".parse()?, records).await?;
    Ok((cluster, system))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_readable_in_both_schemes_at_every_width_and_on_paper() -> Outcome<()> {
    let (_cluster, system) = demonstrated().await?;
    let run = system.drctl(&["status", "--output", "html"]).await?;
    let page = system.path().join("status.html");
    std::fs::write(&page, &run.stdout)?;
    for shown in ["If this place burned now", "What each copy can give back", "Last drill", "Retention"] {
        assert!(run.stdout.contains(shown), "{shown}: {run:?}");
    }
    let (_server, address) = serve(&system, &[]).await?;
    let served = get(address, "/")?;
    let (_, served) = served.split_once("\r\n\r\n").ok_or("no body")?;
    assert!(served.contains("If this place burned now"), "{served}");
    // A fleet of three: this one, one that has nothing, and a policy that is wrong.
    let fleet = system.path().join("policies");
    std::fs::create_dir(&fleet)?;
    std::fs::copy(system.policy(), fleet.join("shop.toml"))?;
    std::fs::write(fleet.join("broken.toml"), "[system]\nname = \"broken\"\n")?;
    let other = std::fs::read_to_string(system.policy())?.replace("name = \"shop\"", "name = \"other\"");
    std::fs::write(fleet.join("other.toml"), other)?;
    let (_fleet_server, address) = serve(&system, &[fleet.to_str().ok_or("path")?]).await?;
    let mut overview = String::new();
    until("all three were collected", || {
        overview = get(address, "/").unwrap_or_default();
        overview.contains("The policy is wrong") || overview.contains("the policy is wrong")
    })
    .await?;
    let (_, body) = overview.split_once("\r\n\r\n").ok_or("no body")?;
    let fleet_page = system.path().join("fleet.html");
    std::fs::write(&fleet_page, body)?;

    let browser = Browser::new()?;
    let pictures = std::env::var_os("DRCTL_TEST_PICTURES").map(PathBuf::from);
    for page in [&page, &fleet_page] {
        let mut backgrounds = Vec::new();
        for scheme in [Scheme::Light, Scheme::Dark] {
            let Shown { looks, complaints } = browser.shown(page, scheme, &[340, 768, 1280]).await?;
            assert!(complaints.is_empty(), "{}: {complaints:?}", page.display());
            for look in &looks {
                assert!(look.length > 200 && look.overflow <= 0, "{}, {scheme:?}: {look:?}", page.display());
                assert!(look.contrast >= 4.5, "{}, {scheme:?}: {look:?}", page.display());
            }
            backgrounds.push(looks[0].background.clone());
            if let Some(folder) = &pictures {
                let stem = page.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                for (width, height) in [(1280, 3000), (500, 4200)] {
                    let to = folder.join(format!("{stem}-{scheme:?}-{width}.png"));
                    browser.picture(page, scheme, (width, height), &to).await?;
                }
            }
        }
        assert_ne!(backgrounds[0], backgrounds[1], "dark is not light");
        let pdf = std::fs::read(browser.pdf(page).await?)?;
        assert!(pdf.starts_with(b"%PDF-") && pdf.len() > 5_000, "{} bytes", pdf.len());
    }
    Ok(())
}

/// Runs a program and insists that it succeeds.
fn run(program: &str, arguments: &[&str]) -> Outcome<String> {
    let output =
        Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    let told = String::from_utf8([output.stdout, output.stderr].concat())?;
    if output.status.success() { Ok(told) } else { Err(format!("{program} {arguments:?}: {told}").into()) }
}

fn deployed(file: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file).display().to_string()
}

#[test]
fn every_alert_fires_when_it_should_and_not_when_it_should_not() -> Outcome<()> {
    run("promtool", &["check", "rules", &deployed("prometheus/drctl-alerts.yml")])?;
    run("promtool", &["test", "rules", &deployed("prometheus/drctl-alerts-test.yml")])?;
    // The test is one that can fail.
    let folder = crate::support::scratch::folder()?;
    let rules = RULES.replace("drctl_copy_behind == 1", "drctl_copy_behind == 0");
    std::fs::write(folder.path().join("drctl-alerts.yml"), rules)?;
    let test = folder.path().join("drctl-alerts-test.yml");
    std::fs::copy(deployed("prometheus/drctl-alerts-test.yml"), &test)?;
    assert!(run("promtool", &["test", "rules", &test.display().to_string()]).is_err());
    Ok(())
}

#[test]
fn units_and_manifests_are_accepted_by_what_reads_them() -> Outcome<()> {
    let folder = crate::support::scratch::folder()?;
    let mut units = Vec::new();
    for entry in std::fs::read_dir(deployed("systemd"))? {
        let path = entry?.path();
        let text =
            std::fs::read_to_string(&path)?.replace("/usr/local/bin/drctl", env!("CARGO_BIN_EXE_drctl"));
        let unit = folder.path().join(path.file_name().ok_or("no name")?);
        std::fs::write(&unit, text)?;
        units.push(unit.display().to_string());
    }
    assert_eq!(units.len(), 7, "{units:?}");
    let arguments: Vec<&str> = std::iter::once("verify").chain(units.iter().map(String::as_str)).collect();
    let said = run("systemd-analyze", &arguments)?;
    assert!(!said.contains("drctl"), "{said}");
    // Debian's own kubectl is too old for it, so that it may be absent.
    let manifests = match run("kubectl", &["kustomize", &deployed("kubernetes")]) {
        Err(error) if error.to_string().starts_with("kubectl: ") => return Ok(()),
        rendered => rendered?,
    };
    for kind in ["CronJob", "Deployment", "PersistentVolumeClaim", "Service", "ServiceAccount"] {
        assert!(manifests.contains(&format!("kind: {kind}\n")), "{kind}: {manifests}");
    }
    assert_eq!(manifests.matches("claimName: drctl-my-application-").count(), 2, "{manifests}");
    assert!(!manifests.contains("kind: ClusterRole"), "{manifests}");
    Ok(())
}
