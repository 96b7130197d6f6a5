//! A store that fails, each way a store has been seen to fail, while backups are taken and restored.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::support::Outcome;
use crate::support::fault_proxy::{Fault, When};
use crate::support::regions::{Region, Regions};
use crate::support::shop::{databases, digest, shop};
use crate::support::system::contents;

/// Whose calls go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Primary,
    West,
    Both,
}

/// What a fault makes of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    /// It is ridden out.
    Well,
    /// The repositories whose calls go wrong do not have it, and the run says why in these words.
    Without(&'static str),
}

type Case = (Who, When, Fault, Ends);

fn put(part: &str) -> When {
    When::method("PUT").with(part)
}

fn complete() -> When {
    When::method("POST").with("uploadId=")
}

/// Takes a backup that meets with each of the faults, one after the other, and a last one without.
async fn one_after_the_other(url: String, cases: Vec<Case>) -> Outcome<()> {
    let regions = Regions::start(&url).await?;
    regions.back_up().await?;
    for (who, when, fault, ends) in cases {
        let told = format!("{who:?}: {when:?}, {fault:?}");
        meet(&regions, who, when, fault, ends).await.map_err(|error| format!("{told}: {error}"))?;
    }
    regions.back_up().await?;
    Ok(())
}

async fn meet(regions: &Regions, who: Who, when: When, fault: Fault, ends: Ends) -> Outcome<()> {
    let hit = |name| who == Who::Both || (who == Who::Primary) == (name == "primary");
    let before = [regions.primary.backups().await?, regions.west.backups().await?];
    let taken = [regions.primary.proxy.taken(), regions.west.proxy.taken()];
    for (name, region) in regions.each() {
        if hit(name) {
            region.proxy.fail(when.clone(), fault.clone());
        }
    }
    let run = regions.system.drctl(&["backup", "--output", "json"]).await?;
    for ((name, region), taken) in regions.each().into_iter().zip(taken) {
        if hit(name) && region.proxy.taken() == taken {
            return Err(format!("{name} met with no fault: {run:#?}").into());
        }
    }
    regions.heal();
    let code = match ends {
        Ends::Well => 0,
        Ends::Without(_) if who == Who::Both => 1,
        Ends::Without(_) => 3,
    };
    if run.code != Some(code) {
        return Err(format!("not {code}: {run:#?}").into());
    }
    if let Ends::Without(words) = ends {
        run.says(words)?;
    }
    let document = run.document()?;
    let report = &document["sources"][0];
    for ((name, region), before) in regions.each().into_iter().zip(before) {
        let new: Vec<_> = region.backups().await?.into_iter().filter(|id| !before.contains(id)).collect();
        let holds = ends == Ends::Well || !hit(name);
        let expected: Vec<_> =
            report["backup"].as_str().filter(|_| holds).map(str::to_owned).into_iter().collect();
        if new != expected {
            return Err(format!("{name} has {new:?}, not {expected:?}: {run:#?}").into());
        }
        let said = report["repositories"].as_array().is_some_and(|list| list.iter().any(|held| held == name));
        if said == expected.is_empty() {
            return Err(format!("what is said of {name} is not so: {run:#?}").into());
        }
        if report["missing"].as_array().is_some_and(|list| list.iter().any(|lost| lost["repository"] == name))
            != (!holds && code == 3)
        {
            return Err(format!("what is said to be missing in {name} is not so: {run:#?}").into());
        }
    }
    Ok(())
}

/// They mostly wait for deadlines, so several go on at a time.
async fn several(url: &str, groups: Vec<Vec<Case>>) -> Outcome<()> {
    let mut running = JoinSet::new();
    for cases in groups {
        running.spawn(one_after_the_other(url.to_owned(), cases));
    }
    while let Some(outcome) = running.join_next().await {
        outcome??;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_backup_is_taken() -> Outcome<()> {
    use Ends::{Well, Without};
    use Who::{Both, Primary, West};
    let cluster = shop(6 << 10).await?;
    let error = |code| Fault::Status(500, code);
    let passing = vec![
        (Both, When::any().after(6).times(3), error("InternalError"), Well),
        (Both, put("partNumber=").times(2), Fault::Status(503, "SlowDown"), Well),
        (Both, When::any(), Fault::Delay(Duration::from_millis(30)), Well),
        (Both, complete().times(1), Fault::ErrorIn200("InternalError"), Well),
        (Both, complete().times(1), Fault::DropAnswer, Well),
        (Both, put("manifest.json").times(1), Fault::DropAnswer, Well),
        (Both, put("partNumber=").times(1), Fault::DropAnswer, Well),
        (Both, put("details.json").times(1), Fault::Refuse, Well),
        (Both, put("partNumber=1").times(1), Fault::FlipSent(4_000_000), Well),
        (Primary, When::method("GET").with("drctl-repository.json").times(1), Fault::CutBody(20), Well),
        (Both, put("partNumber=1").times(2), Fault::Status(400, "BadDigest"), Well),
        (Both, put("details.json").times(1), Fault::Status(400, "XAmzContentSHA256Mismatch"), Well),
        (Both, put("manifest.json").times(1), Fault::Status(400, "InvalidDigest"), Well),
        (Both, complete().times(1), Fault::Status(400, "BadDigest"), Well),
    ];
    let broken = vec![
        (West, When::any(), error("InternalError"), Without("InternalError")),
        (Primary, put("partNumber="), Fault::Status(503, "SlowDown"), Without("SlowDown")),
        (West, put(""), Fault::Status(403, "AccessDenied"), Without("access is denied")),
        (Primary, complete(), Fault::ErrorIn200("InternalError"), Without("InternalError")),
    ];
    let refusing = vec![
        (West, When::any(), Fault::Refuse, Without("could not be reached")),
        (West, When::any(), Fault::Status(404, "NoSuchBucket"), Without("no such bucket")),
        (West, When::any(), Fault::Page, Without("is no marker of a repository")),
        (Primary, When::any(), Fault::Page, Without("is no marker of a repository")),
        (West, put(""), Fault::Page, Without("")),
        (West, put("details.json"), Fault::Status(400, "BadDigest"), Without("BadDigest")),
        (Both, put("manifest.json"), error("InternalError"), Without("in any repository")),
        (Both, put("partNumber="), error("InternalError"), Without("in any repository")),
    ];
    let hanging = vec![
        (West, put("partNumber=2"), Fault::Hang, Without("took nothing for 10s")),
        (Primary, put("manifest.json"), Fault::Hang, Without("did not answer in time")),
    ];
    let silent = vec![
        (West, When::any(), Fault::Hang, Without("did not answer in time")),
        (West, put("partNumber=1"), Fault::FlipSent(4_000_000), Without("InternalError")),
    ];
    several(&cluster.url("shop"), vec![passing, broken, refusing, hanging, silent]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_it_is_used_for_the_first_time() -> Outcome<()> {
    let cluster = shop(10).await?;
    let date = |seconds: i64| -> Outcome<Fault> {
        let now = drctl::platform::Clock::now(&drctl::platform::SystemClock);
        let then = now + chrono::TimeDelta::seconds(seconds);
        Ok(Fault::Date(then.format("%a, %d %b %Y %H:%M:%S GMT").to_string().leak()))
    };
    let cases = [
        (Fault::Status(404, "NoSuchBucket"), vec!["no such bucket", "`primary`", "hint:"]),
        (Fault::Status(403, "AccessDenied"), vec!["access is denied", "`primary`", "hint:"]),
        (Fault::Status(403, "InvalidAccessKeyId"), vec!["credentials were not accepted", "hint:"]),
        (date(3600)?, vec!["this host's clock is ", "behind that of repository `primary`", "hint:"]),
        (date(-3600)?, vec!["this host's clock is ", "ahead of that of repository `primary`", "hint:"]),
    ];
    for (fault, words) in cases {
        let regions = Regions::start(&cluster.url("shop")).await?;
        regions.primary.proxy.fail(When::any(), fault);
        let run = regions.system.expect(1, &["backup"]).await?;
        for words in words {
            run.says(words)?;
        }
        for (name, region) in regions.each() {
            let stands = if region.files().exists() { contents(&region.files())?.len() } else { 0 };
            assert_eq!(stands, 0, "{name} was touched: {run:#?}");
        }
    }
    Ok(())
}

/// What a fault of the primary, while it is read, makes of a restore.
async fn restored(
    regions: &Regions,
    region: &Region,
    case: (When, Fault),
    arguments: &[&str],
) -> Outcome<()> {
    let taken = region.proxy.taken();
    region.proxy.fail(case.0, case.1);
    let run = regions.system.expect(0, &regions.restore(arguments)?).await?;
    regions.heal();
    if region.proxy.taken() == taken {
        return Err(format!("it met with no fault: {run:#?}").into());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_backup_is_restored() -> Outcome<()> {
    let cluster = shop(6 << 10).await?;
    let regions = Regions::start(&cluster.url("shop")).await?;
    regions.back_up().await?;
    let original = digest(&cluster, "shop").await?;
    let dump = || When::method("GET").with("database.dump");
    let cases = [
        (dump().times(2), Fault::Status(503, "SlowDown")),
        (dump(), Fault::Status(500, "InternalError")),
        (dump().times(1), Fault::CutBody(100_000)),
        (dump(), Fault::CutBody(100_000)),
        (dump(), Fault::FlipByte(1_000_000)),
        (dump(), Fault::Status(404, "NoSuchKey")),
        (When::any(), Fault::Status(403, "AccessDenied")),
        (dump(), Fault::Hang),
        (When::method("GET").with("details.json"), Fault::FlipByte(300)),
        (When::method("GET").with("manifest.json"), Fault::CutBody(100)),
    ];
    for (n, case) in cases.into_iter().enumerate() {
        // Through a scratch file, and as a stream.
        for jobs in ["2", "1"] {
            if n > 5 && jobs == "1" {
                continue;
            }
            let name = format!("restored_{n}_{jobs}");
            let told = format!("{case:?}, {jobs} jobs");
            restored(&regions, &regions.primary, case.clone(), &[&name, "--jobs", jobs])
                .await
                .map_err(|error| format!("{told}: {error}"))?;
            assert_eq!(digest(&cluster, &name).await?, original, "{told}");
            cluster.execute("postgres", &[&format!("DROP DATABASE {name}")]).await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_only_copy_is_restored() -> Outcome<()> {
    let cluster = shop(6 << 10).await?;
    let regions = Regions::start(&cluster.url("shop")).await?;
    regions.back_up().await?;
    let before = databases(&cluster).await?;
    let dump = || When::method("GET").with("database.dump");
    for (when, fault, words) in [
        (dump(), Fault::Status(500, "InternalError"), "InternalError"),
        (dump(), Fault::FlipByte(1_000_000), "database.dump.zst.age"),
        (dump(), Fault::CutBody(100_000), "database.dump.zst.age"),
        (When::any(), Fault::Refuse, "could not be reached"),
    ] {
        for jobs in ["2", "1"] {
            let told = format!("{when:?}, {fault:?}, {jobs} jobs");
            regions.fail(&when, &fault);
            let arguments = regions.restore(&["restored", "--jobs", jobs])?;
            let run = regions.system.expect(1, &arguments).await?;
            regions.heal();
            run.says(words).map_err(|error| format!("{told}: {error}"))?;
            assert_eq!(databases(&cluster).await?, before, "{told}: {run:#?}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_backups_are_verified() -> Outcome<()> {
    let cluster = shop(100).await?;
    let regions = Regions::start(&cluster.url("shop")).await?;
    regions.back_up().await?;
    let dump = || When::method("GET").with("database.dump");
    // What passes is ridden out; what could not be read is not called good, and not called bad either.
    regions.west.proxy.fail(dump().times(2), Fault::Status(503, "SlowDown"));
    regions.system.expect(0, &["verify"]).await?;
    regions.heal();
    for fault in [Fault::Status(500, "InternalError"), Fault::Hang, Fault::Status(403, "AccessDenied")] {
        regions.west.proxy.fail(dump(), fault.clone());
        let run = regions.system.drctl(&["verify"]).await?;
        regions.heal();
        assert_ne!(run.code, Some(0), "{fault:?}: {run:#?}");
        run.says("west")?;
    }
    regions.system.expect(0, &["verify"]).await?;
    Ok(())
}
