//! Base backups of what changed: taken, refused, put together again, on real servers of PostgreSQL 17.

use std::path::PathBuf;

use drctl::model::{BackupId, Manifest};

use crate::support::Outcome;
use crate::support::archiving::Archiving;
use crate::support::ledger::options;
use crate::support::postgres::ClusterOptions;
use crate::support::system::{Place, Run};

const TWO: [Place; 2] = [Place::Directory, Place::Directory];

fn summarizing() -> ClusterOptions {
    options(17).initdb("--data-checksums").setting("summarize_wal", "on")
}

async fn start(options: ClusterOptions, settings: &str) -> Outcome<Archiving> {
    let archiving = Archiving::start(&TWO, "", options).await?;
    archiving.base(settings)?;
    archiving.cluster.execute("postgres", &[LARGE]).await?;
    Ok(archiving)
}

/// Much that does not change.
const LARGE: &str =
    "CREATE TABLE large AS SELECT g, repeat(md5(g::text), 4) t FROM generate_series(1, 60000) g";

/// Takes one that must end well, and gives its manifest and what was said.
async fn backup(archiving: &Archiving, options: &[&str]) -> Outcome<(Manifest, Run)> {
    let run = archiving.backup(0, &[options, &["--output", "json"]].concat()).await?;
    let id: BackupId = run.document()?["sources"][0]["backup"].as_str().ok_or("no backup")?.parse()?;
    Ok((read(archiving, "west", &id)?, run))
}

fn folder(archiving: &Archiving, repository: &str, id: &BackupId) -> PathBuf {
    archiving.system.repository(repository).join("shop/database/backups").join(id.as_str())
}

fn read(archiving: &Archiving, repository: &str, id: &BackupId) -> Outcome<Manifest> {
    Ok(serde_json::from_slice(&std::fs::read(folder(archiving, repository, id).join("manifest.json"))?)?)
}

fn parent(manifest: &Manifest) -> Option<&BackupId> {
    drctl::model::parent(manifest)
}

/// The lists of files that this host keeps.
fn lists(archiving: &Archiving) -> Outcome<Vec<PathBuf>> {
    let folder = archiving.system.path().join("state/base/shop/database");
    std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_as_the_policy_allows_build_on_a_full_one() -> Outcome<()> {
    let archiving = start(summarizing(), "incrementals = 2").await?;
    let (full, run) = backup(&archiving, &[]).await?;
    assert_eq!(parent(&full), None);
    run.says("no base backup of this cluster before it")?;
    let mut before = full.clone();
    for n in 1..=2 {
        archiving.cluster.execute("postgres", &["INSERT INTO large VALUES (0, 'new')"]).await?;
        let (next, _) = backup(&archiving, &[]).await?;
        assert_eq!(parent(&next), Some(&before.id), "{n}");
        assert!(next.plain_size() * 3 < full.plain_size(), "{} of {}", next.plain_size(), full.plain_size());
        before = next;
    }
    assert_eq!(lists(&archiving)?.len(), 3);
    // One more would be too many, and who insists is told so.
    let refused = archiving.backup(1, &["--incremental"]).await?;
    refused.says("as many as the policy allows (2)")?;
    let (next, run) = backup(&archiving, &[]).await?;
    assert_eq!(parent(&next), None);
    run.says("as many as the policy allows (2)")?;
    // What no other can need any more is not kept.
    assert_eq!(lists(&archiving)?.len(), 1);
    let (changes, _) = backup(&archiving, &["--incremental"]).await?;
    assert_eq!(parent(&changes), Some(&next.id));
    let (forced, _) = backup(&archiving, &["--full"]).await?;
    assert_eq!(parent(&forced), None);
    archiving.system.expect(0, &["show", changes.id.as_str()]).await?.says(next.id.as_str())?;
    archiving.system.expect(0, &["verify", changes.id.as_str()]).await?.says(next.id.as_str())?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_built_on_makes_the_next_a_full_one_and_it_says_why() -> Outcome<()> {
    let archiving = start(summarizing(), "incrementals = 6").await?;
    let full_because = async |words: &str| -> Outcome<Manifest> {
        archiving.backup(1, &["--incremental"]).await?.says(words)?;
        let (taken, run) = backup(&archiving, &[]).await?;
        assert_eq!(parent(&taken), None, "{run:#?}");
        run.says("taking a full base backup in place of an incremental one")?;
        run.says(words)?;
        Ok(taken)
    };
    let (first, _) = backup(&archiving, &[]).await?;
    // Of this host nothing is left; of its list only something else.
    std::fs::remove_dir_all(archiving.system.path().join("state/base"))?;
    full_because("the list of its files is not kept on this host").await?;
    let [list] = &lists(&archiving)?[..] else { return Err("not one list".into()) };
    std::fs::write(list, std::fs::read_to_string(list)?.replacen("Size", "size", 1))?;
    let third = full_because("is not what it was").await?;
    // A repository lost it.
    std::fs::remove_dir_all(folder(&archiving, "west", &third.id))?;
    full_because("`west` does not have it").await?;
    // The server has thrown away what it would need.
    let mut summaries = 0;
    let cluster = &archiving.cluster;
    cluster.execute("postgres", &["SELECT pg_switch_wal()", "CHECKPOINT"]).await?;
    for entry in std::fs::read_dir(cluster.data().join("pg_wal/summaries"))? {
        std::fs::remove_file(entry?.path())?;
        summaries += 1;
    }
    assert!(summaries > 0);
    full_because("the server does not give the changes since").await?;
    cluster.execute("postgres", &["ALTER SYSTEM SET summarize_wal = off", "SELECT pg_reload_conf()"]).await?;
    full_because("`summarize_wal` is off").await?;
    let shown = archiving.system.expect(0, &["list"]).await?;
    assert!(shown.stdout.contains(first.id.as_str()), "{shown:#?}");
    Ok(())
}
