//! A recovered server that took production's place: archived, copied, and recovered again.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::recovery::{History, TWO, insists, now, time};
use crate::support::Outcome;
use crate::support::archiving::Archiving;
use crate::support::ledger::{Ledger, options};
use crate::support::postgres::Cluster;
use crate::support::system::{contents, until};

const INSERT: &str = "INSERT INTO ledger (note) VALUES ('row')";
const SWITCH: &str = "SELECT pg_switch_wal()";

/// Production as it was recovered to the moment before a bad DELETE.
struct Replaced {
    archiving: Archiving,
    /// A moment before the one it was recovered to, in the same segment, and what was there then.
    before: DateTime<Utc>,
    then: Vec<i64>,
    /// What it was recovered to.
    recovered: Vec<i64>,
    /// How the old server went on, as far as it was archived.
    went_on: Vec<i64>,
    /// A moment on the way there, before the new one committed anything.
    meanwhile: DateTime<Utc>,
    /// A transaction of the old server on the way there, and what was there then.
    left: (String, Vec<i64>),
}

async fn between(archiving: &Archiving) -> Outcome<DateTime<Utc>> {
    let pause = Duration::from_millis(5);
    tokio::time::sleep(pause).await;
    let moment = now(archiving).await?;
    tokio::time::sleep(pause).await;
    Ok(moment)
}

pub(crate) async fn numbers(cluster: &Cluster) -> Outcome<Vec<i64>> {
    let listed = cluster.text("postgres", "SELECT string_agg(n::text, ',' ORDER BY n) FROM ledger").await?;
    Ok(listed.split(',').map(str::parse).collect::<Result<_, _>>()?)
}

impl Replaced {
    /// The recovered server stands ready to be started, and archives nothing yet.
    async fn make() -> Outcome<Self> {
        let mut archiving = Archiving::start(&TWO, "", options(15)).await?;
        archiving.base("")?;
        Ledger::create(&archiving.cluster).await?;
        archiving.backup(0, &[]).await?;
        archiving.cluster.execute("postgres", &[INSERT, SWITCH, INSERT]).await?;
        let (before, then) = (between(&archiving).await?, numbers(&archiving.cluster).await?);
        archiving.cluster.execute("postgres", &[INSERT]).await?;
        let good = time(between(&archiving).await?);
        let recovered = numbers(&archiving.cluster).await?;
        let delete = "DELETE FROM ledger WHERE n > 1";
        archiving.cluster.execute("postgres", &[delete, INSERT]).await?;
        let meanwhile = between(&archiving).await?;
        let number = archiving.cluster.text("postgres", "SELECT txid_current()").await?;
        archiving.cluster.execute("postgres", &["SELECT pg_create_restore_point('left')", SWITCH]).await?;
        let left = (number, numbers(&archiving.cluster).await?);
        archiving.cluster.execute("postgres", &[INSERT, SWITCH]).await?;
        let went_on = numbers(&archiving.cluster).await?;
        archiving.settle().await?;
        let server = archiving.recovered("new", &["--point-in-time", &good]).await?;
        let restored = insists(server, &recovered).await?.leave();
        archiving.cluster.kill();
        let adopted = archiving.cluster.adopt(&restored)?;
        let old = std::mem::replace(&mut archiving.cluster, adopted);
        let _stays_for_its_url = old.port();
        Ok(Self { archiving, before, then, recovered, went_on, meanwhile, left })
    }

    /// Starts it, and tells the policy where it is.
    async fn start(&mut self) -> Outcome<()> {
        let cluster = &mut self.archiving.cluster;
        let was = std::fs::read_to_string(self.archiving.system.policy())?;
        let url = was.lines().find_map(|line| line.strip_prefix("url = ")).ok_or("no url")?.to_owned();
        cluster.begin_again()?;
        self.archiving.system.rewrite(&url, &format!("\"{}\"", cluster.url("postgres")))
    }

    /// As the file itself says it is to be done.
    fn archive_from_now_on(&self) -> Outcome<()> {
        let file = self.archiving.cluster.data().join("postgresql.auto.conf");
        let text = std::fs::read_to_string(&file)?;
        assert!(text.contains("archive_mode = 'off'\n"), "{text}");
        Ok(std::fs::write(&file, text.replace("archive_mode = 'off'\n", ""))?)
    }

    async fn archived_history(&self) -> Outcome<bool> {
        let held = |name: &str| -> Outcome<bool> {
            let files = contents(&self.archiving.system.repository(name))?;
            Ok(files.keys().any(|path| path.to_string_lossy().ends_with("/00000002.history.zst.age")))
        };
        Ok(held("primary")? && held("west")?)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovered_server_that_took_over_is_recovered_again() -> Outcome<()> {
    let mut replaced = Replaced::make().await?;
    replaced.archive_from_now_on()?;
    replaced.start().await?;
    assert!(!replaced.archived_history().await?);
    let archiving = &replaced.archiving;
    // Before there is a backup of it, the one before the fork leads to it.
    archiving.cluster.execute("postgres", &[INSERT]).await?;
    let (early, early_numbers) = (between(archiving).await?, numbers(&archiving.cluster).await?);
    archiving.cluster.execute("postgres", &[INSERT, SWITCH]).await?;
    archiving.backup(0, &[]).await?;
    archiving.cluster.execute("postgres", &[INSERT, SWITCH]).await?;
    archiving.settle().await?;
    // PostgreSQL never said that it is to be archived.
    assert!(replaced.archived_history().await?);
    let all = numbers(&archiving.cluster).await?;
    assert!(all.len() > early_numbers.len() && early_numbers.len() > replaced.recovered.len());

    let (early, before) = (time(early), time(replaced.before));
    let cases: [(&[&str], &[i64], u64); 4] = [
        (&["--latest"], &all, 3),
        (&["--point-in-time", &early], &early_numbers, 3),
        (&["--point-in-time", &before], &replaced.then, 3),
        (&["--latest", "--timeline", "1"], &replaced.went_on, 3),
    ];
    for (n, (options, expected, timeline)) in cases.into_iter().enumerate() {
        let restored = archiving.recovered(&format!("again-{n}"), options).await?;
        assert_eq!(restored.report["details"]["started"]["timeline"], timeline, "{options:?}");
        insists(restored, expected).await.map_err(|error| format!("{options:?}: {error}"))?;
    }
    Ok(())
}

/// Between the place where the old timeline was left and the first commit of the new one a time is in both.
#[tokio::test(flavor = "multi_thread")]
async fn a_moment_that_two_timelines_have_is_asked_about() -> Outcome<()> {
    let mut replaced = Replaced::make().await?;
    replaced.archive_from_now_on()?;
    replaced.start().await?;
    let archiving = &replaced.archiving;
    archiving.cluster.execute("postgres", &[INSERT, SWITCH, INSERT, SWITCH]).await?;
    archiving.settle().await?;
    let meanwhile = time(replaced.meanwhile);
    let refused = archiving.unrecovered(2, &["--point-in-time", &meanwhile]).await?;
    refused.says("timeline 1")?.says("timeline 2")?.says("--timeline 1")?.says("--timeline 2")?;
    let old = &replaced.went_on[..replaced.went_on.len() - 1];
    let restored = archiving.recovered("old", &["--point-in-time", &meanwhile, "--timeline", "1"]).await?;
    insists(restored, old).await?;
    let restored = archiving.recovered("new", &["--point-in-time", &meanwhile, "--timeline", "2"]).await?;
    insists(restored, &replaced.recovered).await?;
    Ok(())
}

/// Each timeline gives the numbers of transactions anew, and has restore points of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_two_timelines_have_is_asked_about_and_a_name_is_said_where_it_is() -> Outcome<()>
{
    let mut replaced = Replaced::make().await?;
    replaced.archive_from_now_on()?;
    replaced.start().await?;
    let archiving = &replaced.archiving;
    let (number, then) = &replaced.left;
    archiving.cluster.execute("postgres", &[INSERT, SWITCH]).await?;
    archiving.settle().await?;
    let refused = archiving.unrecovered(10, &["--to-name", "left"]).await?;
    refused.says("is not on the way to timeline 2: it is on timeline 1 at 0/")?.says("--timeline 1")?;
    let refused = archiving.unrecovered(10, &["--to-xid", number]).await?;
    refused.says("is not on the way to timeline 2: it is on timeline 1")?.says("--timeline 1")?;
    loop {
        let newest = archiving.cluster.text("postgres", "SELECT txid_current()").await?;
        if newest.parse::<u64>()? >= number.parse()? {
            break;
        }
    }
    archiving.cluster.execute("postgres", &[SWITCH]).await?;
    archiving.settle().await?;
    let refused = archiving.unrecovered(2, &["--to-xid", number]).await?;
    refused.says("is on two timelines")?.says("--timeline 1")?.says("--timeline 2")?;
    let restored = archiving.recovered("old", &["--to-xid", number, "--timeline", "1"]).await?;
    insists(restored, then).await?;
    let restored = archiving.recovered("left", &["--to-name", "left", "--timeline", "1"]).await?;
    insists(restored, then).await?;
    Ok(())
}

/// What it wrote before it archived is in its own directory only, until it is copied.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_before_it_archived_is_a_gap_and_moments_on_either_side_are_had() -> Outcome<()> {
    let mut replaced = Replaced::make().await?;
    replaced.start().await?;
    replaced.archiving.cluster.execute("postgres", &[INSERT, SWITCH, INSERT, SWITCH]).await?;
    let lost = time(between(&replaced.archiving).await?);
    replaced.archiving.cluster.execute("postgres", &[INSERT, SWITCH]).await?;
    replaced.archiving.cluster.kill();
    replaced.archive_from_now_on()?;
    let old = replaced.archiving.cluster.url("postgres");
    replaced.archiving.cluster.begin_again()?;
    replaced.archiving.system.rewrite(&old, &replaced.archiving.cluster.url("postgres"))?;
    let archiving = &replaced.archiving;
    archiving.backup(0, &[]).await?;
    let name = "SELECT pg_create_restore_point('after the gap')";
    archiving.cluster.execute("postgres", &[INSERT, name, SWITCH]).await?;
    archiving.settle().await?;

    let all = numbers(&archiving.cluster).await?;
    // It is looked for from where a way leads to it, which the oldest backup has not.
    let restored = archiving.recovered("named", &["--to-name", "after the gap"]).await?;
    insists(restored, &all).await?;
    let restored = archiving.recovered("latest", &["--latest"]).await?;
    insists(restored, &all).await?;
    // In the very segment that the timelines share, and that the new one never archived.
    let before = time(replaced.before);
    let restored = archiving.recovered("before", &["--point-in-time", &before]).await?;
    insists(restored, &replaced.then).await?;
    archiving.unrecovered(10, &["--point-in-time", &lost]).await?.says("missing")?;
    Ok(())
}

/// The standby that takes over has nobody to archive to for a while.
#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_while_no_repository_is_there_is_archived_later() -> Outcome<()> {
    let mut archiving = Archiving::start(&TWO, "", options(15)).await?;
    archiving.base("")?;
    Ledger::create(&archiving.cluster).await?;
    archiving.backup(0, &[]).await?;
    archiving.cluster.execute("postgres", &[INSERT, SWITCH]).await?;
    archiving.settle().await?;
    let standby = archiving.cluster.standby().await?;
    // The copy of it ended a segment, which only the old one archives.
    archiving.settle().await?;
    archiving.cluster.execute("postgres", &[INSERT]).await?;
    let end = archiving.cluster.text("postgres", "SELECT pg_current_wal_insert_lsn()").await?;
    crate::recovery::until_replayed(&standby, &end).await?;
    let [primary, west] = ["primary", "west"].map(|name| archiving.system.repository(name));
    let away = ["a", "b"].map(|name| archiving.system.path().join(name));
    std::fs::rename(&primary, &away[0])?;
    std::fs::rename(&west, &away[1])?;
    archiving.cluster.kill();
    standby.execute("postgres", &["SELECT pg_promote()", INSERT, SWITCH, INSERT, SWITCH]).await?;
    archiving.cluster = standby;
    let waiting = || -> Outcome<Vec<String>> {
        Ok(archiving.waiting()?.into_iter().map(|name| name.to_string()).collect())
    };
    assert!(waiting()?.contains(&"00000002.history".to_owned()), "{:?}", waiting()?);
    std::fs::rename(&away[0], &primary)?;
    std::fs::rename(&away[1], &west)?;
    // As anyone may who does not want to wait for the server to try again.
    let whole = waiting()?.into_iter().rfind(|name| name.len() == 24).ok_or("no segment waits")?;
    assert_eq!(archiving.as_server(&["wal", "push", &format!("pg_wal/{whole}")]).await?.0, 0);
    archiving.settle().await?;
    archiving.compare(&[primary, west])?;
    let all = numbers(&archiving.cluster).await?;
    let restored = archiving.recovered("latest", &["--latest"]).await?;
    assert_eq!(restored.report["details"]["started"]["timeline"], 3);
    insists(restored, &all).await?;
    Ok(())
}

/// A standby is promoted, and the old primary goes on: of the new timeline there is its history only, and the
/// old one's log goes past the place where they parted.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_old_timeline_did_after_the_fork_is_not_on_the_way_to_the_new_one() -> Outcome<()> {
    let archiving = Archiving::start(&TWO, "", options(15)).await?;
    archiving.base("")?;
    let old = &archiving.cluster;
    Ledger::create(old).await?;
    archiving.backup(0, &[]).await?;
    old.execute("postgres", &[INSERT, SWITCH, INSERT]).await?;
    let standby = old.standby().await?;
    let (good, then) = (time(between(&archiving).await?), numbers(old).await?);
    old.execute("postgres", &[INSERT]).await?;
    let all = numbers(old).await?;
    let end = old.text("postgres", "SELECT pg_current_wal_insert_lsn()").await?;
    crate::recovery::until_replayed(&standby, &end).await?;
    standby.execute("postgres", &["SELECT pg_promote()"]).await?;
    old.execute("postgres", &["DELETE FROM ledger"]).await?;
    let bad = time(between(&archiving).await?);
    old.execute("postgres", &[INSERT, SWITCH, INSERT, SWITCH]).await?;
    archiving.settle().await?;
    let west = archiving.system.repository("west");
    let is_there =
        |name: &str| contents(&west).is_ok_and(|files| files.keys().any(|path| path.ends_with(name)));
    until("the history is archived", || is_there("00000002.history.zst.age")).await?;

    // The newest timeline ends where it begins, before what the old one went on to.
    let refused = archiving.unrecovered(2, &["--latest"]).await?;
    refused.says("timeline 1: everything until")?.says("timeline 2: everything until")?;
    for (name, options, expected) in
        [("latest", &["--latest", "--timeline", "2"][..], &all), ("good", &["--point-in-time", &good], &then)]
    {
        let restored = archiving.recovered(name, options).await?;
        insists(restored, expected).await.map_err(|error| format!("{name}: {error}"))?;
    }
    // What the new one did by then is not archived.
    archiving
        .unrecovered(10, &["--point-in-time", &bad])
        .await?
        .says("what was committed between then and the target is unknown")?;
    let restored = archiving.recovered("other", &["--point-in-time", &bad, "--timeline", "1"]).await?;
    insists(restored, &[]).await?;
    Ok(())
}

/// A server that was made anew stands where the policy points: its copies could never be restored, and those
/// of the one before are had as ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_cluster_is_neither_copied_nor_in_the_way() -> Outcome<()> {
    let history = History::begin(&TWO).await?;
    let archiving = &history.archiving;
    let settings = [("archive_mode", "on"), ("archive_command", "/bin/true")];
    let stranger = settings.iter().fold(options(15), |options, (name, value)| options.setting(name, value));
    let stranger = Cluster::start_with(stranger).await?;
    let (ours, theirs) = (archiving.cluster.url("postgres"), stranger.url("postgres"));
    archiving.system.rewrite(&ours, &theirs)?;
    let [primary, west] =
        ["primary", "west"].map(|name| archiving.system.repository(name).join("shop/database"));
    let before = (contents(&primary)?, contents(&west)?);
    let refused = archiving.backup(1, &[]).await?;
    refused.says("has the WAL of system identifier")?;
    refused.says("a source of its own in the policy")?;
    assert!((contents(&primary)?, contents(&west)?) == before, "something of it was stored");
    let strange = stranger.oldest_segment()?;
    let segment = archiving.system.path().join(strange.file_name().ok_or("no name")?);
    std::fs::copy(strange, &segment)?;
    crate::wal::readable(&segment)?;
    let segment = segment.display().to_string();
    let (_, said) = archiving.as_server(&["wal", "push", &segment]).await?;
    assert!(said.contains("needs its own source in the policy"), "{said}");

    // Taken by an earlier version, or where no log was there to tell: it is passed over, and so told.
    let id = archiving.system.backups_in("primary").pop().ok_or("no backup")?;
    for repository in [&primary, &west] {
        let (from, to) = (repository.join("backups").join(&id), format!("29{}", &id[2..]));
        let to = repository.join("backups").join(&to);
        std::fs::create_dir(&to)?;
        let manifest = std::fs::read_to_string(from.join("manifest.json"))?;
        let own =
            archiving.cluster.text("postgres", "SELECT system_identifier FROM pg_control_system()").await?;
        let manifest = manifest.replace(&id, &format!("29{}", &id[2..])).replace(&own, "7000000000000000007");
        std::fs::write(to.join("manifest.json"), manifest)?;
    }
    archiving.system.rewrite(&theirs, &ours)?;
    archiving.system.hand_to_server()?;
    let restored = archiving.recovered("ours", &["--latest"]).await?;
    insists(restored, &history.numbers(5)).await?;
    let plan = archiving.unrecovered(0, &["--latest", "--plan"]).await?;
    plan.says("there is no WAL of its cluster, 7000000000000000007")?;
    Ok(())
}
