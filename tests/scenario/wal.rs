//! Archiving and fetching write-ahead log, with real servers that run drctl themselves.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::Outcome;
use crate::support::archiving::Archiving;
use crate::support::fault_proxy::{Fault, FaultProxy, When};
use crate::support::postgres::{Cluster, ClusterOptions};
use crate::support::s3::{ACCESS_KEY, BUCKET, S3Server, SECRET_KEY};
use crate::support::s3_process::S3Process;
use crate::support::system::{Place, until};

const TWO: [Place; 2] = [Place::Directory, Place::Directory];

fn pg15() -> ClusterOptions {
    ClusterOptions::new(15)
}

/// Lets the server's user read a file.
pub(crate) fn readable(path: &std::path::Path) -> Outcome<()> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644))?)
}

fn directories(archiving: &Archiving) -> [PathBuf; 2] {
    ["primary", "west"].map(|name| archiving.system.repository(name))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_was_told_is_archived_is_in_every_copy() -> Outcome<()> {
    let archiving = Archiving::start(&TWO, "", pg15().segment_size(16)).await?;
    archiving.prepare_pgbench(1)?;
    let bench = archiving.pgbench(Some(2000))?;
    archiving.write(4).await?;
    bench.end().await?;
    archiving.write(1).await?;
    let committed = archiving.cluster.text("postgres", "SELECT extract(epoch FROM now())::int8").await?;
    archiving.settle().await?;
    let archived = archiving.compare(&directories(&archiving))?;
    assert!(archived >= 6, "{archived}");
    let failed = archiving.cluster.text("postgres", "SELECT failed_count FROM pg_stat_archiver").await?;
    assert_eq!(failed, "0", "{}", archiving.cluster.log_tail());

    // And up to when, each says itself: the newest commit in it is the last there was.
    let status = archiving.system.expect(0, &["wal", "status", "--output", "json"]).await?.document()?;
    for repository in status["repositories"].as_array().ok_or("no repositories")? {
        let newest: chrono::DateTime<chrono::Utc> =
            repository["newest_commit"].as_str().ok_or("no commit")?.parse()?;
        let apart = newest.timestamp() - committed.parse::<i64>()?;
        assert!((-2..=1).contains(&apart), "{apart} s apart: {status:#}");
        assert_eq!(repository["end"]["timeline"], 1);
        assert_eq!(repository["timelines"][0]["gaps"], serde_json::json!([]));
    }
    assert_eq!(status["server"]["waiting_files"], 0, "{status:#}");
    let shown = archiving.system.expect(0, &["wal", "status"]).await?;
    assert!(shown.stdout.contains("nothing waits to be archived"), "{}", shown.stdout);
    assert!(shown.stderr.contains("`archive_timeout` is off"), "{}", shown.stderr);

    // A gap in one of them is seen, and an objective that is missed.
    let mut segments: Vec<_> = archiving.archived()?.iter().filter_map(|name| name.as_segment()).collect();
    segments.sort();
    let missing = segments[segments.len() / 2];
    for (path, _) in crate::support::system::contents(&archiving.system.repository("west"))? {
        if path.display().to_string().contains(&format!("{missing}.zst")) {
            std::fs::remove_file(path)?;
        }
    }
    let shown = archiving.system.expect(21, &["wal", "status"]).await?;
    assert!(shown.stdout.contains(&format!("west: missing {missing} (1 segment)")), "{}", shown.stdout);
    archiving.system.rewrite("rpo = \"1h\"", "rpo = \"1s\"")?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let shown = archiving.system.expect(21, &["wal", "status"]).await?;
    assert!(shown.stdout.contains("objective missed"), "{}", shown.stdout);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_file_again_is_a_success_and_another_one_is_refused() -> Outcome<()> {
    let archiving = Archiving::start(&TWO, "", pg15()).await?;
    archiving.write(2).await?;
    archiving.settle().await?;
    let segment = archiving.archived()?.into_iter().find(|name| name.as_segment().is_some());
    let segment = segment.ok_or("no segment was archived")?.to_string();
    let within = format!("pg_wal/{segment}");
    assert_eq!(archiving.as_server(&["wal", "push", "database", &within]).await?.0, 0);
    let before = crate::support::system::contents(&archiving.system.repository("west"))?;

    // Another file under its name: the log of a server that went another way.
    let forged = archiving.system.path().join(&segment);
    let mut bytes = std::fs::read(archiving.pg_wal().join(&segment))?;
    bytes[100_000] ^= 1;
    std::fs::write(&forged, &bytes)?;
    let (code, said) = archiving.as_server(&["wal", "push", &forged.display().to_string()]).await?;
    assert!((1..=125).contains(&code), "{code}");
    assert!(said.contains("already exists in"), "{said}");

    // What is no segment, or not the one its name says.
    for (name, length, words) in [
        (segment.clone(), bytes.len() - 8192, "a segment of its cluster has"),
        ("0000000100000000000000EE".to_owned(), bytes.len(), "does not match its name"),
        ("nonsense".to_owned(), bytes.len(), "is not the name of a WAL file"),
    ] {
        let path = archiving.system.path().join(&name);
        std::fs::write(&path, &bytes[..length])?;
        let (code, said) = archiving.as_server(&["wal", "push", &path.display().to_string()]).await?;
        assert!((1..=125).contains(&code) && said.contains(words), "{code}: {said}");
    }

    // The log of another cluster.
    let other = Cluster::start(15).await?;
    other.execute("postgres", &["SELECT pg_switch_wal()"]).await?;
    let segment = other.oldest_segment()?;
    let foreign = archiving.system.path().join(segment.file_name().ok_or("no name")?);
    std::fs::copy(segment, &foreign)?;
    readable(&foreign)?;
    let foreign = foreign.display().to_string();
    let (code, said) = archiving.as_server(&["wal", "push", &foreign]).await?;
    assert!((1..=125).contains(&code), "{code}");
    assert!(said.contains("has the WAL of system identifier"), "{said}");
    assert_eq!(crate::support::system::contents(&archiving.system.repository("west"))?, before);
    Ok(())
}

/// Pushed by hand, from the server's own folder and from elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_is_still_written_is_refused_and_one_that_was_taken_can_be_replaced() -> Outcome<()> {
    let archiving = Archiving::start(&TWO, "", pg15()).await?;
    archiving.write(1).await?;
    archiving.settle().await?;
    archiving.cluster.execute("postgres", &["INSERT INTO filler VALUES (1, 'half')"]).await?;
    let current = "SELECT pg_walfile_name(pg_current_wal_insert_lsn())";
    let current = archiving.cluster.text("postgres", current).await?;
    let folders = directories(&archiving);
    let before = crate::support::system::contents(&folders[0])?;
    let within = format!("pg_wal/{current}");
    let (code, said) = archiving.as_server(&["wal", "push", &within]).await?;
    assert_eq!(code, 1, "{said}");
    for words in ["may still be in use", "pg_switch_wal()", "a directory of its own"] {
        assert!(said.contains(words), "{words} is not in: {said}");
    }
    assert_eq!(crate::support::system::contents(&folders[0])?, before);

    // Whoever copies it vouches for it. It was not whole, and stands in the way of the whole one.
    let half = archiving.system.path().join(&current);
    std::fs::copy(archiving.pg_wal().join(&current), &half)?;
    readable(&half)?;
    let (code, said) = archiving.as_server(&["wal", "push", &half.display().to_string()]).await?;
    assert_eq!(code, 0, "{said}");
    archiving
        .cluster
        .execute("postgres", &["INSERT INTO filler VALUES (2, 'more')", "SELECT pg_switch_wal()"])
        .await?;
    until("PostgreSQL has counted a failure", || {
        archiving.cluster.log_tail().contains("archive command failed with exit code 1")
    })
    .await?;
    let (code, said) = archiving.as_server(&["wal", "push", &within]).await?;
    assert_eq!(code, 1, "{said}");
    let key = folders[0].join("shop/database/wal");
    let stored = |folder: &PathBuf| -> Outcome<Vec<PathBuf>> {
        let files = crate::support::system::contents(folder)?;
        Ok(files.into_keys().filter(|path| path.ends_with(format!("{current}.zst.age"))).collect())
    };
    let path = stored(&key)?.pop().ok_or("it does not stand there")?;
    let name = path.strip_prefix(&folders[0])?.display().to_string();
    for words in ["already exists in", "Which one is right", &format!("delete `{name}`")] {
        assert!(said.contains(words), "{words} is not in: {said}");
    }
    // The server's counter is told some time after its log.
    let begun = Instant::now();
    while archiving
        .cluster
        .text("postgres", "SELECT coalesce(last_failed_wal, '') FROM pg_stat_archiver")
        .await?
        != current
    {
        assert!(begun.elapsed() < Duration::from_secs(60), "no failure is counted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let status = archiving.system.expect(3, &["wal", "status"]).await?;
    status.says(&format!("archiving fails: {current} was not archived, last tried at 20"))?;
    let document = archiving.system.expect(3, &["wal", "status", "--output", "json"]).await?.document()?;
    assert_eq!(document["verdict"], "stalled");
    assert_eq!(document["server"]["last_failed_file"], current.as_str());

    // The way out that is told.
    for folder in &folders {
        stored(folder)?.iter().try_for_each(std::fs::remove_file)?;
    }
    archiving.settle().await?;
    archiving.compare(&folders)?;
    let begun = Instant::now();
    while archiving.system.drctl(&["wal", "status"]).await?.code != Some(0) {
        assert!(begun.elapsed() < Duration::from_secs(60), "it still is told that archiving fails");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_while_a_copy_is_gone_and_the_others_go_on() -> Outcome<()> {
    let archiving = Archiving::start(&TWO, "", pg15()).await?;
    archiving.write(1).await?;
    archiving.settle().await?;
    let [primary, west] = directories(&archiving);
    let away = archiving.system.path().join("away");
    std::fs::rename(&west, &away)?;
    archiving.write(4).await?;
    // The primary is not held back by the copy.
    let held = || -> Outcome<usize> {
        let files = crate::support::system::contents(&primary.join("shop/database/wal"))?;
        Ok(files.keys().filter(|path| path.display().to_string().ends_with(".zst.age")).count())
    };
    until("the primary has what waits", || held().is_ok_and(|held| held >= 5)).await?;
    until("PostgreSQL has counted a failure", || {
        archiving.cluster.log_tail().contains("archive command failed with exit code 1")
    })
    .await?;
    assert!(archiving.waiting()?.len() >= 4, "{:?}", archiving.waiting()?);
    let waiting = format!("pg_wal/{}", archiving.waiting()?[0]);
    let (code, said) = archiving.as_server(&["wal", "push", &waiting]).await?;
    assert_eq!(code, 1, "{said}");
    for words in ["`west`: ", "no such bucket or directory", "It is in `primary`", "backlog of", "are free"] {
        assert!(said.contains(words), "{words} is not in: {said}");
    }
    std::fs::rename(&away, &west)?;
    archiving.cluster.execute("postgres", &["SELECT pg_switch_wal()"]).await?;
    archiving.settle().await?;
    assert!(archiving.compare(&[primary, west])? >= 5);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_may_lag_holds_nobody_up() -> Outcome<()> {
    let archiving = Archiving::start(&TWO, "optional = [\"west\"]", pg15()).await?;
    let [primary, west] = directories(&archiving);
    std::fs::rename(&west, archiving.system.path().join("away"))?;
    archiving.write(2).await?;
    archiving.settle().await?;
    assert!(archiving.compare(std::slice::from_ref(&primary))? >= 2);
    // What it lacks it gets later, and then it is a whole one.
    std::fs::rename(archiving.system.path().join("away"), &west)?;
    archiving.system.expect(0, &["copies", "sync"]).await?;
    archiving.system.hand_to_server()?;
    archiving.compare(&[primary.clone(), west])?;
    let again = archiving.system.expect(0, &["copies", "sync"]).await?;
    assert!(again.stdout.contains("No WAL of database is missing"), "{}", again.stdout);
    // The one that may not lag is needed all the same.
    std::fs::rename(&primary, archiving.system.path().join("gone"))?;
    let archived = format!("pg_wal/{}", archiving.archived()?[0]);
    assert_eq!(archiving.as_server(&["wal", "push", &archived]).await?.0, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_of_another_size_are_archived_and_fetched() -> Outcome<()> {
    let archiving = Archiving::start(&TWO, "", pg15().segment_size(64)).await?;
    archiving.write(2).await?;
    archiving.settle().await?;
    assert!(archiving.compare(&directories(&archiving))? >= 2);
    let segment = archiving.archived()?[0].to_string();
    let target = archiving.system.path().join("fetched");
    let identity = archiving.system.operational.display().to_string();
    let fetch = ["wal", "fetch", "--identity", &identity, &segment, &target.display().to_string()];
    assert_eq!(archiving.as_server(&fetch).await?.0, 0);
    assert!(std::fs::read(&target)? == std::fs::read(archiving.pg_wal().join(&segment))?);
    Ok(())
}

/// Kills something every moment while the server writes and archives as fast as it can: drctl, either store,
/// the server itself.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_dies_nothing_that_was_acknowledged_is_lost() -> Outcome<()> {
    let mut stores = [S3Process::start()?, S3Process::start()?];
    let places = stores.each_ref().map(|store| Place::of_server(store.address));
    let options = pg15().setting("shared_buffers", "64MB");
    let mut archiving = Archiving::start(&places, "parallel = 3", options).await?;
    // A command that dies by a signal stops the archiver for ten seconds, which is none of this test's.
    let command = format!("{} wal push %p || exit 1", archiving.drctl.display());
    let set = format!("ALTER SYSTEM SET archive_command = '{command}'");
    archiving.cluster.execute("postgres", &[&set, "SELECT pg_reload_conf()"]).await?;
    archiving.prepare_pgbench(1)?;
    let mut bench = Some(archiving.pgbench(None)?);
    let (mut killed, mut dead) = (0, None);
    for round in 0..24 {
        archiving.cluster.execute("postgres", &["SELECT pg_switch_wal()"]).await?;
        // Whatever drctl is doing by then; where none runs, the next.
        tokio::time::sleep(Duration::from_millis(u64::from(fastrand::u16(0..600)))).await;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(800) {
            let now = archiving.kill_drctl();
            killed += now;
            if now > 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(u64::from(fastrand::u8(1..30)))).await;
        }
        match round % 8 {
            1 => {
                let store = usize::from(fastrand::bool());
                stores[store].kill()?;
                stores[store].forget_halves()?;
                dead = Some(store);
            }
            4 => {
                if let Some(store) = dead.take() {
                    stores[store].start_again()?;
                }
            }
            6 => {
                drop(bench.take());
                kill_process(pid(archiving.cluster.postmaster()?)?, Signal::KILL)?;
                archiving.cluster.kill();
                // What it started outlives it for a moment.
                until("the killed server is gone", || archiving.cluster.begin_again().is_ok()).await?;
                bench = Some(archiving.pgbench(None)?);
            }
            _ => {}
        }
    }
    drop(bench.take());
    if let Some(store) = dead.take() {
        stores[store].start_again()?;
    }
    archiving.cluster.execute("postgres", &["SELECT pg_switch_wal()"]).await?;
    archiving.settle().await?;
    let folders = stores.each_ref().map(|store| store.files().join("backups"));
    let archived = archiving.compare(&folders)?;
    assert!(killed > 5 && archived > 20, "{killed} killed, {archived} archived");
    let shown = archiving.system.expect(0, &["wal", "status"]).await?;
    assert!(!shown.stdout.contains("missing"), "{}", shown.stdout);
    Ok(())
}

fn pid(id: u32) -> Outcome<Pid> {
    Ok(i32::try_from(id).ok().and_then(Pid::from_raw).ok_or("not a process")?)
}

/// Two S3 servers, each behind a proxy, with a cluster that archives to them.
struct Bucketed {
    archiving: Archiving,
    servers: [S3Server; 2],
    proxies: [FaultProxy; 2],
}

impl Bucketed {
    async fn start() -> Outcome<Self> {
        let servers = [S3Server::start().await?, S3Server::start().await?];
        let proxies = [FaultProxy::to(servers[0].address).await?, FaultProxy::to(servers[1].address).await?];
        let places = proxies.each_ref().map(|proxy| Place::S3 {
            endpoint: format!("http://{}", proxy.address),
            bucket: BUCKET.to_owned(),
            access_key: ACCESS_KEY.to_owned(),
            secret_key: SECRET_KEY.to_owned(),
        });
        let archiving = Archiving::start(&places, "", pg15()).await?;
        Ok(Self { archiving, servers, proxies })
    }

    fn folders(&self) -> [PathBuf; 2] {
        self.servers.each_ref().map(|server| server.file("backups"))
    }

    /// The file of a segment in a server, by its number.
    fn stored(&self, server: usize, segment: &str) -> PathBuf {
        let wal = self.folders()[server].join("shop/database/wal");
        let cluster = std::fs::read_dir(&wal)
            .into_iter()
            .flatten()
            .flatten()
            .find(|entry| entry.path().is_dir())
            .map(|entry| entry.path())
            .unwrap_or(wal);
        cluster.join("00000001").join(format!("{segment}.zst.age"))
    }

    /// A copy of the cluster, then rows after it, each in a segment of its own, all archived. Gives the copy,
    /// ready to recover, and the names of the segments it needs.
    async fn with_history(&self, options: &str) -> Outcome<(Cluster, Vec<String>)> {
        let archiving = &self.archiving;
        archiving.cluster.execute("postgres", &["CREATE TABLE ledger (n int)"]).await?;
        let command = archiving.restore_command(options);
        let copy = archiving.cluster.copy(&[("restore_command", &command)]).await?;
        let mut segments = Vec::new();
        for n in 0..6 {
            let insert = format!("INSERT INTO ledger VALUES ({n})");
            archiving.cluster.execute("postgres", &[&insert]).await?;
            segments.push(
                archiving
                    .cluster
                    .text("postgres", "SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
                    .await?,
            );
            archiving.cluster.execute("postgres", &["SELECT pg_switch_wal()"]).await?;
        }
        archiving.settle().await?;
        Ok((copy, segments))
    }
}

/// Insists that a recovery did not end as if all were well: the server is not there.
fn refuses(copy: &mut Cluster) -> Outcome<()> {
    match copy.begin_again() {
        Ok(()) => Err("PostgreSQL promoted early".into()),
        Err(error) if error.to_string().contains("ended at its start") => Ok(()),
        Err(error) => Err(error),
    }
}

/// Insists that it ends well, with everything that was written.
async fn recovers(copy: &mut Cluster) -> Outcome<()> {
    copy.begin_again()?;
    let begun = Instant::now();
    while copy.text("postgres", "SELECT pg_is_in_recovery()").await? != "false" {
        if begun.elapsed() > Duration::from_secs(120) {
            return Err(format!("it still recovers: {}", copy.log_tail()).into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let rows = copy.text("postgres", "SELECT count(*) FROM ledger").await?;
    if rows == "6" { Ok(()) } else { Err(format!("{rows} rows: {}", copy.log_tail()).into()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_in_trouble_is_never_taken_for_the_end_of_the_log() -> Outcome<()> {
    let bucketed = Bucketed::start().await?;
    let (mut copy, segments) = bucketed.with_history("").await?;
    let gets = |n: usize| When::method("GET").with(&segments[n]);
    for fault in [
        Fault::Status(500, "InternalError"),
        Fault::Status(503, "SlowDown"),
        Fault::Status(403, "AccessDenied"),
        Fault::CutBody(100),
        Fault::Refuse,
    ] {
        bucketed.proxies.iter().for_each(|proxy| proxy.fail(gets(3), fault.clone()));
        refuses(&mut copy).map_err(|error| format!("{fault:?}: {error}"))?;
        let log = copy.log_tail();
        assert!(log.contains(&format!("failed to fetch `{}`", segments[3])), "{fault:?}: {log}");
        bucketed.proxies.iter().for_each(FaultProxy::heal);
    }
    // One that is whole is enough where the other never answers.
    bucketed.proxies[0].fail(gets(2), Fault::Hang);
    bucketed.proxies[0].fail(gets(4), Fault::Hang);
    recovers(&mut copy).await?;
    assert!(copy.log_tail().contains("did not answer in time"), "{}", copy.log_tail());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_in_one_copy_is_passed_and_in_both_is_not_the_end_of_the_log() -> Outcome<()> {
    let bucketed = Bucketed::start().await?;
    let (mut copy, segments) = bucketed.with_history("").await?;
    let spoil = |server: usize, segment: &str| -> Outcome<()> {
        let path = bucketed.stored(server, segment);
        let mut bytes = std::fs::read(&path)?;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        Ok(std::fs::write(&path, &bytes)?)
    };
    spoil(0, &segments[1])?;
    spoil(0, &segments[4])?;
    spoil(1, &segments[4])?;
    refuses(&mut copy)?;
    let log = copy.log_tail();
    assert!(log.contains(&format!("failed to fetch `{}` from `primary`", segments[1])), "{log}");
    assert!(log.contains(&format!("failed to fetch `{}`", segments[4])), "{log}");
    spoil(1, &segments[4])?;
    recovers(&mut copy).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_missing_in_the_middle_is_not_the_end_of_the_log() -> Outcome<()> {
    let bucketed = Bucketed::start().await?;
    let (mut copy, segments) = bucketed.with_history("").await?;
    let kept = bucketed.archiving.system.path().join("kept");
    std::fs::rename(bucketed.stored(0, &segments[2]), &kept)?;
    // s3s keeps what an object was given beside it, and without the object that is nothing.
    std::fs::remove_file(bucketed.stored(1, &segments[2]))?;
    refuses(&mut copy)?;
    let log = copy.log_tail();
    assert!(log.contains("this is a gap, not the end of the WAL"), "{log}");
    std::fs::rename(&kept, bucketed.stored(0, &segments[2]))?;
    recovers(&mut copy).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wrong_key_and_the_wrong_place_are_not_the_end_of_the_log() -> Outcome<()> {
    let archiving = Archiving::start(&TWO, "", pg15()).await?;
    archiving.write(2).await?;
    archiving.settle().await?;
    let last = archiving.archived()?.iter().map(ToString::to_string).max().ok_or("nothing was archived")?;
    let next = {
        let number = u32::from_str_radix(&last[16..], 16)? + 1;
        format!("{}{number:08X}", &last[..16])
    };
    let target = archiving.system.path().join("fetched").display().to_string();
    let identity = archiving.system.operational.display().to_string();
    let other_key = archiving.system.path().join("other.key");
    {
        use drctl::platform::ExposeSecret as _;
        let identity = drctl::pipeline::NewIdentity::generate();
        std::fs::copy(&archiving.system.operational, &other_key)?;
        std::fs::write(&other_key, identity.file("other").expose_secret())?;
    }
    archiving.system.hand_to_server()?;
    let fetch = async |arguments: &[&str]| {
        let all: Vec<_> = ["wal", "fetch"].iter().chain(arguments).copied().collect();
        archiving.as_server(&all).await
    };
    assert_eq!(fetch(&["-i", &identity, &last, &target]).await?.0, 0);
    std::fs::remove_file(&target)?;
    let (code, said) = fetch(&["-i", &identity, &next, &target]).await?;
    assert_eq!((code, said.as_str()), (1, ""));
    assert_eq!(fetch(&["-i", &identity, "00000002.history", &target]).await?.0, 1);

    let wrong = [
        vec!["-i", other_key.to_str().unwrap_or_default(), &last, &target],
        vec![&last, &target],
        vec!["-i", &identity, &last],
        vec!["-i", &identity, "--from", "nowhere", &last, &target],
        vec!["-i", &identity, "nonsense", &target],
        vec!["-i", "/nowhere", &last, &target],
        vec!["--system-identifier", "7", "-i", &identity, &last, &target],
        vec!["other", &last, &target],
        vec!["--no-such-option", &last, &target],
    ];
    for arguments in wrong {
        let (code, said) = fetch(&arguments).await?;
        assert_eq!(code, 200, "{arguments:?}: {said}");
        assert!(said.contains("error"), "{arguments:?}: {said}");
        assert!(!std::path::Path::new(&target).exists(), "{arguments:?}");
    }
    // A repository that is gone may have it, unless it is left out in so many words.
    std::fs::rename(archiving.system.repository("west"), archiving.system.path().join("away"))?;
    assert_eq!(fetch(&["-i", &identity, &next, &target]).await?.0, 200);
    assert_eq!(fetch(&["-i", &identity, "--from", "primary", &next, &target]).await?.0, 1);
    // Nor does a place that never had any log know that there is none.
    let empty = archiving.system.repository("west");
    std::fs::create_dir(&empty)?;
    archiving.system.hand_to_server()?;
    let (code, said) = fetch(&["-i", &identity, "--from", "west", &next, &target]).await?;
    assert_eq!(code, 200);
    assert!(said.contains("it may be the wrong location"), "{said}");
    Ok(())
}
