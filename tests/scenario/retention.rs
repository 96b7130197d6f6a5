//! Retention on real S3 servers, of real base backups and WAL: what its plan proves is what comes back.

use std::time::Duration;

use serde_json::Value;

use crate::recovery::{insists, now, time};
use crate::support::Outcome;
use crate::support::archiving::Archiving;
use crate::support::ledger::{Ledger, options};
use crate::support::s3::S3Server;
use crate::support::shop::shop;
use crate::support::system::{Place, System};

async fn plan(archiving: &Archiving) -> Outcome<Value> {
    let run = archiving.run_as_server(&["retention", "plan", "--output", "json"]).await?;
    if run.code != Some(0) {
        return Err(format!("{run:#?}").into());
    }
    run.document()
}

async fn insert(archiving: &Archiving, note: &str) -> Outcome<()> {
    let statement = format!("INSERT INTO ledger (note) VALUES ('{note}')");
    archiving.cluster.execute("postgres", &[&statement]).await
}

/// The LSN at which a base backup became consistent, wherever the document has its manifest.
fn stop_of(document: &Value) -> Option<String> {
    match document {
        Value::Object(fields) => {
            let physical = fields.get("physical").and_then(|physical| physical["stop"].as_str());
            physical.map(str::to_owned).or_else(|| fields.values().find_map(stop_of))
        }
        Value::Array(items) => items.iter().find_map(stop_of),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_it_was_applied_every_copy_brings_back_what_was_promised_to_the_transaction() -> Outcome<()> {
    let servers = [S3Server::start().await?, S3Server::start().await?];
    let places = servers.each_ref().map(|server| Place::of_server(server.address));
    let archiving = Archiving::start(&places, "", options(17)).await?;
    archiving.base("")?;
    archiving.system.append("[retention]\nkeep_last = 1\npitr = \"1s\"")?;
    Ledger::create(&archiving.cluster).await?;
    archiving.backup(0, &[]).await?;
    insert(&archiving, "after the first").await?;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let between = time(now(&archiving).await?);
    archiving.write(2).await?;
    archiving.backup(0, &[]).await?;
    archiving.write(2).await?;
    archiving.backup(0, &[]).await?;
    insert(&archiving, "after the last").await?;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let then = now(&archiving).await?;
    tokio::time::sleep(Duration::from_millis(50)).await;
    insert(&archiving, "later").await?;
    archiving.cluster.execute("postgres", &["SELECT pg_switch_wal()"]).await?;
    archiving.settle().await?;
    let promised = Ledger::read(&archiving.cluster).await?.until(then);
    // The window of a second begins after the last base backup.
    tokio::time::sleep(Duration::from_millis(1200)).await;

    let document = plan(&archiving).await?;
    let backups = document["sources"][0]["backups"].as_array().ok_or("no backups")?;
    let ids: Vec<&str> = backups.iter().filter_map(|backup| backup["id"].as_str()).collect();
    let [_, second, first] = ids[..] else { return Err(format!("{document:#}").into()) };
    let held = archiving.run_as_server(&["hold", "add", first, "--reason", "audit"]).await?;
    assert_eq!(held.code, Some(0), "{held:#?}");
    // Repeated it is the same hold; with other words it is refused.
    let again = archiving.run_as_server(&["hold", "add", first, "--reason", "audit"]).await?;
    assert_eq!((again.code, &again.stdout), (Some(0), &held.stdout), "{again:#?}");
    let other = archiving.run_as_server(&["hold", "add", first, "--reason", "tax"]).await?;
    assert_eq!(other.code, Some(2), "{other:#?}");
    other.says("already")?.says("drctl hold release")?;
    // Rules that were never applied are not applied unseen.
    let unseen = archiving.run_as_server(&["retention", "apply"]).await?;
    assert_eq!(unseen.code, Some(1), "{unseen:#?}");
    unseen.says("rules-changed")?.says("--confirm")?;

    let document = plan(&archiving).await?;
    assert_eq!(document["sources"].as_array().map(Vec::len), Some(2));
    for source in document["sources"].as_array().into_iter().flatten() {
        let removed =
            source["backups"].as_array().into_iter().flatten().filter(|one| !one["remove"].is_null());
        assert_eq!(removed.filter_map(|one| one["id"].as_str()).collect::<Vec<_>>(), [second]);
        assert!(source["wal"][0]["removed_files"].as_u64() > Some(1), "{source:#}");
    }
    let digest = document["digest"].as_str().ok_or("no digest")?;
    let applied = archiving.run_as_server(&["retention", "apply", "--confirm", digest]).await?;
    assert_eq!(applied.code, Some(0), "{applied:#?}");
    applied.says(&format!("removed {second} from west"))?;
    // What was removed stays removed, and is not missed.
    for again in
        [&["copies", "sync"][..], &["retention", "apply"], &["status"], &["wal", "status"], &["verify"]]
    {
        let run = archiving.run_as_server(again).await?;
        assert_eq!(run.code, Some(0), "{again:?}: {run:#?}");
    }
    assert_eq!(plan(&archiving).await?["removes_anything"], false);

    // Of the one on hold all that is left of the WAL is what it needs: recovery comes to where it was complete.
    let shown = archiving.run_as_server(&["show", first, "--output", "json"]).await?.document()?;
    let stop = stop_of(&shown).ok_or_else(|| format!("{shown:#}"))?;
    for repository in ["primary", "west"] {
        let name = format!("held-{repository}");
        let options = ["--backup", first, "--to-lsn", &stop, "--from", repository];
        insists(archiving.recovered(&name, &options).await?, &[1]).await?;
        let name = format!("then-{repository}");
        let options = ["--point-in-time", &time(then), "--from", repository];
        insists(archiving.recovered(&name, &options).await?, &promised).await?;
        let refused =
            archiving.recover("refused", &["--point-in-time", &between, "--from", repository]).await?;
        assert_ne!(refused.code, Some(0), "{refused:#?}");
        assert!(!archiving.system.path().join("refused").exists());
    }
    Ok(())
}

/// Lets the leases of a host that was killed run out.
fn let_leases_expire(system: &System) -> Outcome<()> {
    for repository in ["primary", "west"] {
        let Ok(leases) = std::fs::read_dir(system.repository(repository).join("shop/leases")) else {
            continue;
        };
        for lease in leases {
            let path = lease?.path();
            if path.extension().is_some_and(|ending| ending == "json") {
                let file = std::fs::File::options().write(true).open(path)?;
                let long_ago = file.metadata()?.modified()? - Duration::from_secs(3600);
                file.set_modified(long_ago)?;
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_beside_a_host_that_backs_up_the_next_run_completes_it_and_all_that_is_listed_is_whole()
-> Outcome<()> {
    let cluster = shop(50).await?;
    let source =
        |name: &str| format!("[sources.{name}]\nkind = \"postgres\"\nurl = \"{}\"\n", cluster.url("shop"));
    let sources = [source("database"), source("busy")].concat();
    let system = System::of(&sources, &[Place::Directory, Place::Directory])?;
    system.append("[retention]\nkeep_last = 1\nminimum_redundancy = 1")?;
    for _ in 0..3 {
        system.expect(0, &["backup", "database"]).await?;
    }
    system.expect(0, &["backup", "busy"]).await?;
    let digest = async || -> Outcome<String> {
        let document = system.drctl(&["retention", "plan", "--output", "json"]).await?.document()?;
        Ok(document["digest"].as_str().ok_or("no digest")?.to_owned())
    };
    for milliseconds in [25, 60, 110] {
        let confirmed = digest().await?;
        let mut elsewhere = system.command(&["backup", "busy"]);
        elsewhere.env("DRCTL_STATE_DIR", system.path().join("state-of-another-host"));
        let there = system.start_command(elsewhere)?;
        let mut here =
            system.start_command(system.command(&["retention", "apply", "--confirm", &confirmed]))?;
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        here.kill()?;
        // Stored, or it gave way to the one that removes.
        let there = there.end().await?;
        assert!(matches!(there.code, Some(0 | 11)), "{there:#?}");
        let_leases_expire(&system)?;
        system.expect(0, &["verify"]).await?;
    }
    let done = system.drctl(&["retention", "apply", "--confirm", &digest().await?]).await?;
    assert_eq!(done.code, Some(0), "{done:#?}");
    system.expect(0, &["verify"]).await?;
    let left = system.backups_in("primary");
    assert_eq!(left, system.backups_in("west"));
    assert_eq!(left.len(), 1, "{left:?}");
    Ok(())
}
