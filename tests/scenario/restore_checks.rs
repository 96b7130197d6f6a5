//! The queries of the policy's drill, asked after every restore of a database that can be logged in to.

use crate::restore::{databases, origin};
use crate::support::Outcome;
use crate::support::archiving::Archiving;
use crate::support::ledger::{Ledger, Restored, options};
use crate::support::postgres::Cluster;
use crate::support::system::Place;

const DRILL: &str = "[drill]\nsource = \"database\"";

fn check(name: &str, sql: &str, least: u32) -> String {
    format!("[[drill.checks]]\nname = \"{name}\"\nsql = \"{sql}\"\nat_least = {least}")
}

/// What every report has, whatever the method.
fn outcome(report: &serde_json::Value) -> Outcome<(String, Vec<String>)> {
    let outcome = report["verdict"]["outcome"].as_str().ok_or_else(|| format!("no verdict: {report:#}"))?;
    let steps = report["phases"].as_array().ok_or("no phases")?.iter();
    let steps = steps.filter_map(|phase| phase["phase"].as_str().map(str::to_owned)).collect();
    Ok((outcome.to_owned(), steps))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_dump_is_published_and_what_does_not_hold_is_the_exit_status() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    let script = "CREATE TABLE t AS SELECT generate_series(1, 3) AS id";
    let system = origin(&cluster, script, &[Place::Directory]).await?;
    system.expect(0, &["backup"]).await?;
    system.append(&format!("{DRILL}\n{}", check("some rows", "SELECT count(*) FROM t", 3)))?;
    let plan = system.restore(0, &["--to", "sound", "--plan", "--output", "json"]).await?.document()?;
    assert_eq!((&plan["kind"], &plan["method"]), (&"restore-plan".into(), &"logical".into()), "{plan:#}");
    let report = system.restore(0, &["--to", "sound", "--output", "json"]).await?.document()?;
    assert_eq!(outcome(&report)?.0, "pass");
    // What was done is what was planned, in that order.
    let planned: Vec<_> =
        plan["steps"].as_array().ok_or("no steps")?.iter().filter_map(|s| s.as_str()).collect();
    assert_eq!(outcome(&report)?.1, planned, "{report:#}");
    assert_eq!(planned.last(), Some(&"validate"));
    assert_eq!(report["checks"][0]["check"], "same-as-dumped", "{report:#}");
    assert_eq!(
        (&report["checks"][1]["check"], &report["checks"][1]["found"]),
        (&"some rows".into(), &"3".into())
    );

    system.append(&check("many rows", "SELECT count(*) FROM t", 4))?;
    let run = system.restore(20, &["--to", "short", "--output", "json"]).await?;
    let reason = &run.document()?["verdict"]["reasons"][0];
    assert_eq!((&reason["cause"], &reason["code"]), (&"backup".into(), &"check-failed".into()), "{run:#?}");
    run.says("check `many rows` failed: it is 3, and should be at least 4")?;
    system.rewrite("at_least = 4", "at_least = 1")?;
    system.rewrite("FROM t\"\nat_least = 1", "FROM gone\"\nat_least = 1")?;
    let run = system.restore(22, &["--to", "unclear"]).await?;
    run.says("failed to run check `many rows`")?.says("\"gone\" does not exist")?;
    // The data is what was dumped, and whoever needs it has it.
    assert_eq!(databases(&cluster).await?, "short sound unclear");
    // Of a part nothing is asked.
    system.restore(0, &["--to", "part", "--table", "t"]).await?.says("the policy's checks were not run")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovered_server_is_asked_where_it_listens() -> Outcome<()> {
    let archiving = Archiving::start(&[Place::Directory], "", options(15)).await?;
    archiving.base("")?;
    let cluster = &archiving.cluster;
    Ledger::create(cluster).await?;
    cluster.execute("postgres", &["INSERT INTO ledger (note) VALUES ('row')"]).await?;
    archiving.backup(0, &[]).await?;
    archiving.settle().await?;
    archiving.system.append(&format!("{DRILL}\n{}", check("a row", "SELECT count(*) FROM ledger", 1)))?;
    let restored = archiving.recovered("sound", &["--latest"]).await?;
    assert_eq!(outcome(&restored.report)?.0, "pass", "{:#}", restored.report);
    let checks: Vec<_> = restored.report["checks"].as_array().ok_or("no checks")?.iter().collect();
    let names: Vec<_> = checks.iter().filter_map(|check| check["check"].as_str()).collect();
    assert_eq!(names, ["as-stored", "reached-target", "a row"]);
    drop(restored);
    archiving.system.rewrite("at_least = 1", "at_least = 9")?;
    let short = archiving.recover("short", &["--latest", "--start", "--output", "json"]).await?;
    assert_eq!(short.code, Some(20), "{short:#?}");
    assert_eq!(short.document()?["verdict"]["outcome"], "fail");
    drop(Restored::of(archiving.system.path().join("short"), short.document()?)?);
    // A directory that was not started cannot be asked.
    let files = archiving.recover("files", &["--latest"]).await?;
    assert_eq!(files.code, Some(0), "{files:#?}");
    files.says("the policy's checks were not run: no server was started")?;
    Ok(())
}
