//! The runbooks that come with drctl are followed to their ends, each in the incident that it is for.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use drctl::pipeline::Identities;
use drctl::runbook::{Changes, StepAction, parse};

use crate::restore::origin;
use crate::support::Outcome;
use crate::support::archiving::Archiving;
use crate::support::postgres::{Cluster, ClusterOptions};
use crate::support::system::{Place, System};

const TWO: [Place; 2] = [Place::Directory, Place::Directory];
const SCRIPT: &str = "CREATE TABLE tasks AS SELECT generate_series(1, 30) AS id, 'as it was' AS text";

/// What people answer in an incident.
#[derive(Default)]
struct Answers<'a> {
    decisions: &'a [(&'a str, &'a str)],
    /// Steps whose command cannot work here, and that people do in another way.
    manually: &'a [&'a str],
    /// The step before which the run is left, so that the test does what it asks for.
    pauses_at: Option<&'a str>,
    /// The step to go on from.
    resumes_at: Option<&'a str>,
}

impl Answers<'_> {
    /// Returns a line for each question that a run with `--yes` asks.
    fn lines(&self, name: &str) -> Outcome<String> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("runbooks/{name}.md"));
        let (runbook, faults) = parse(name, &path.display().to_string(), &std::fs::read_to_string(&path)?);
        let runbook = runbook.ok_or_else(|| format!("{faults:?}"))?;
        let decided = |decision: &str| {
            self.decisions.iter().find(|(step, _)| *step == decision).map(|(_, answer)| *answer)
        };
        let mut lines = String::new();
        let mut has_begun = self.resumes_at.is_none();
        for step in &runbook.steps {
            has_begun |= self.resumes_at == Some(step.name.as_str());
            let is_due = step.when.as_ref().is_none_or(|when| decided(&when.decision) == Some(&when.answer));
            if !has_begun || !is_due {
                continue;
            }
            if self.pauses_at == Some(step.name.as_str()) {
                lines.push_str("pause\n");
                break;
            }
            let is_manual = self.manually.contains(&step.name.as_str());
            let line = match &step.action {
                StepAction::Run { .. } if is_manual => "done in another way".to_owned(),
                StepAction::Run { changes: Changes::Production, .. } => "run".to_owned(),
                StepAction::Run { .. } | StepAction::Tell { .. } => continue,
                StepAction::Manual { .. } => "done tried".to_owned(),
                StepAction::Decide { .. } => {
                    let answer = decided(&step.name).ok_or_else(|| format!("no answer for {}", step.name))?;
                    format!("{answer} tried")
                }
            };
            lines.push_str(&line);
            lines.push('\n');
        }
        Ok(lines)
    }
}

/// Runs `command` with these answers, and insists on its exit status.
fn lead(mut command: Command, code: i32, lines: &str) -> Outcome<String> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    child.stdin.take().ok_or("no stdin")?.write_all(lines.as_bytes())?;
    let output = child.wait_with_output()?;
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    match output.status.code() == Some(code) {
        true => Ok(text),
        false => Err(format!("{command:?}: {:?}: {text}", output.status).into()),
    }
}

fn run<'a>(name: &'a str, sets: &'a [String]) -> Vec<&'a str> {
    let mut arguments = vec!["runbook", "run", name, "--yes", "--by", "ann"];
    sets.iter().for_each(|set| arguments.extend(["--set", set]));
    arguments
}

const RESUME: [&str; 7] = ["runbook", "run", "--resume", "inc-20", "--yes", "--by", "ann"];
/// How a run ends that is left, to be resumed.
const PAUSED: i32 = 3;

/// The database of dumps, its policy, and what is not here: the command line of AWS.
struct Bench {
    cluster: Cluster,
    system: System,
}

impl Bench {
    async fn new() -> Outcome<Self> {
        use std::os::unix::fs::PermissionsExt as _;
        let cluster = Cluster::start(15).await?;
        let mut system = origin(&cluster, SCRIPT, &TWO).await?;
        let programs = system.path().join("bin");
        std::fs::create_dir(&programs)?;
        std::fs::write(programs.join("aws"), "#!/bin/sh\necho None\n")?;
        std::fs::set_permissions(programs.join("aws"), std::fs::Permissions::from_mode(0o755))?;
        let path = std::env::var("PATH")?;
        system.set("PATH", &format!("{}:{}:{path}", programs.display(), cluster.programs().display()));
        system.append(&format!(
            "[drill]\nsource = \"database\"\nidentity = \"file:{}\"\ndirectory = \"{}\"\n",
            system.operational.display(),
            system.path().join("drills").display()
        ))?;
        system.expect(0, &["backup"]).await?;
        Ok(Self { cluster, system })
    }

    fn sets(&self, more: &[(&str, String)]) -> Vec<String> {
        let identity = ("identity", self.system.operational.display().to_string());
        let all = [("source", "database".to_owned()), identity].into_iter().chain(more.iter().cloned());
        all.map(|(name, value)| format!("{name}={value}")).collect()
    }

    /// Insists that the last incident was closed, every step done.
    async fn is_closed(&self, name: &str) -> Outcome<()> {
        let report = self.system.expect(0, &["runbook", "report", "--output", "json"]).await?;
        let report = report.stdout;
        for expected in [name, "\"closed\""] {
            if !report.contains(expected) {
                return Err(format!("no {expected} in {report}").into());
            }
        }
        Ok(())
    }

    async fn rows(&self, database: &str) -> Outcome<String> {
        self.cluster.text(database, "SELECT count(*) || ' ' || min(text) FROM tasks").await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_lost_comes_back_under_its_name() -> Outcome<()> {
    let bench = Bench::new().await?;
    bench.cluster.execute("postgres", &["DROP DATABASE origin"]).await?;
    let sets = bench.sets(&[("target", bench.cluster.url("origin"))]);
    let decisions = [("way", "dump"), ("use", "as-it-is")];
    let answers = Answers { decisions: &decisions, ..Answers::default() };
    lead(bench.system.command(&run("database-lost", &sets)), 0, &answers.lines("database-lost")?)?;
    assert_eq!(bench.rows("origin").await?, "30 as it was");
    bench.is_closed("database-lost").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_that_is_lost_is_left_for_the_other_one() -> Outcome<()> {
    let bench = Bench::new().await?;
    let system = &bench.system;
    let primary = system.repository("primary");
    std::fs::rename(&primary, primary.with_extension("away"))?;
    bench.cluster.execute("postgres", &["DROP DATABASE origin"]).await?;
    let sets = bench.sets(&[("target", bench.cluster.url("origin")), ("copy", "west".to_owned())]);
    let decisions = [("go", "move"), ("kind", "dump"), ("sign-off", "good")];
    let until = Answers { decisions: &decisions, pauses_at: Some("policy"), ..Answers::default() };
    lead(system.command(&run("region-lost", &sets)), PAUSED, &until.lines("region-lost")?)?;
    assert_eq!(bench.rows("origin").await?, "30 as it was");

    // Production is in the copy's region now, which is the primary; a third place is the copy.
    let (west, third) = (system.repository("west"), system.repository("third"));
    std::fs::create_dir(&third)?;
    let [gone, west, third] = [&primary, &west, &third].map(|path| path.display().to_string());
    system.rewrite("[repository.copies.west]", "[repository.copies.third]")?;
    system.rewrite(&west, &third)?;
    system.rewrite(&gone, &west)?;
    let rest = Answers { resumes_at: Some("policy"), pauses_at: None, ..until };
    lead(system.command(&RESUME), 0, &rest.lines("region-lost")?)?;
    bench.is_closed("region-lost").await
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_appointed_and_people_are_told() -> Outcome<()> {
    let bench = Bench::new().await?;
    let sets = ["what=orders cannot be placed", "lead=Ann Smith"].map(str::to_owned);
    let decisions = [("severity", "p1"), ("close", "closed")];
    let answers = Answers { decisions: &decisions, ..Answers::default() };
    let name = "communication-and-roles";
    lead(bench.system.command(&run(name, &sets)), 0, &answers.lines(name)?)?;
    bench.is_closed(name).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_lost_is_replaced_and_the_new_ones_are_proven() -> Outcome<()> {
    let bench = Bench::new().await?;
    let system = &bench.system;
    let old = Identities::read(&[system.operational.clone(), system.escrow.clone()])?.recipients();
    std::fs::remove_file(&system.operational)?;
    let (new, safe) = (system.path().join("new"), system.path().join("safe"));
    std::fs::create_dir(&new)?;
    std::fs::create_dir(&safe)?;
    let (new_operational, new_escrow) = (new.join("operational.key"), safe.join("escrow.key"));
    let mut sets = bench.sets(&[
        ("escrow", system.escrow.display().to_string()),
        ("new_operational", new_operational.display().to_string()),
        ("new_escrow", new_escrow.display().to_string()),
    ]);
    sets.retain(|set| !set.starts_with("source="));
    let decisions = [("what", "lost"), ("old", "keep")];
    let name = "keys-lost-or-leaked";
    let until = Answers { decisions: &decisions, pauses_at: Some("recipients"), ..Answers::default() };
    lead(system.command(&run(name, &sets)), PAUSED, &until.lines(name)?)?;
    let made = Identities::read(&[new_operational.clone(), new_escrow])?.recipients();
    for (old, new) in old.iter().zip(&made) {
        system.rewrite(old, new)?;
    }
    let rest = Answers { resumes_at: Some("recipients"), pauses_at: None, ..until };
    lead(system.command(&RESUME), 0, &rest.lines(name)?)?;
    bench.is_closed(name).await?;
    let restored = bench.cluster.url("restored");
    let key = new_operational.display().to_string();
    system.expect(0, &["restore", "database", "--to", &restored, "--identity", &key]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_attack_what_was_before_it_is_restored_elsewhere() -> Outcome<()> {
    let bench = Bench::new().await?;
    let before = bench.newest().await?;
    bench.cluster.execute("origin", &["UPDATE tasks SET text = 'encrypted'"]).await?;
    bench.system.expect(0, &["backup"]).await?;
    let sets = bench.sets(&[
        ("target", bench.cluster.url("clean")),
        ("copy", "west".to_owned()),
        ("backup", before),
    ]);
    let decisions = [("way", "dump"), ("open", "open")];
    let answers = Answers { decisions: &decisions, ..Answers::default() };
    lead(bench.system.command(&run("ransomware", &sets)), 0, &answers.lines("ransomware")?)?;
    assert_eq!(bench.rows("clean").await?, "30 as it was");
    bench.is_closed("ransomware").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_wrote_wrong_rows_is_rolled_back() -> Outcome<()> {
    let bench = Bench::new().await?;
    let before = bench.newest().await?;
    bench.cluster.execute("origin", &["UPDATE tasks SET text = 'wrong' WHERE id < 11"]).await?;
    let rows = bench.system.path().join("rows");
    let sets = bench.sets(&[
        ("target", bench.cluster.url("before")),
        ("production", bench.cluster.url("origin")),
        ("point_in_time", "2026-01-01T00:00:00Z".to_owned()),
        ("backup", before),
        ("table", "public.tasks".to_owned()),
        ("rows", rows.display().to_string()),
    ]);
    let decisions = [("code", "back-with-schema"), ("data", "rows"), ("way", "dump"), ("sign-off", "good")];
    let answers = Answers { decisions: &decisions, ..Answers::default() };
    lead(bench.system.command(&run("bad-deployment", &sets)), 0, &answers.lines("bad-deployment")?)?;
    let changed =
        "SELECT count(*)::text FROM (SELECT * FROM rows_before EXCEPT ALL SELECT * FROM tasks) AS changed";
    assert_eq!(bench.cluster.text("origin", changed).await?, "10");
    bench.is_closed("bad-deployment").await
}

impl Bench {
    async fn newest(&self) -> Outcome<String> {
        let list = self.system.expect(0, &["list", "--output", "json"]).await?.document()?;
        let id = list["backups"][0]["id"].as_str().ok_or_else(|| format!("no backup: {list:#}"))?;
        Ok(id.to_owned())
    }
}

/// A cluster whose WAL is archived, with its server's user to run drctl as.
async fn archiving() -> Outcome<Archiving> {
    let archiving = Archiving::start(&TWO, "", ClusterOptions::new(15)).await?;
    archiving.cluster.psql("postgres", SCRIPT).await?;
    archiving.backup(0, &[]).await?;
    Ok(archiving)
}

/// The parameters that every runbook of a cluster has.
fn sets(archiving: &Archiving, more: &[(&str, String)]) -> Vec<String> {
    let all = [("source", "database".to_owned()), ("production", archiving.cluster.url("postgres"))];
    all.into_iter().chain(more.iter().cloned()).map(|(name, value)| format!("{name}={value}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_were_deleted_come_back_from_the_moment_before() -> Outcome<()> {
    let archiving = archiving().await?;
    let now = archiving
        .cluster
        .text(
            "postgres",
            "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')",
        )
        .await?;
    archiving.cluster.execute("postgres", &["DELETE FROM tasks"]).await?;
    let port = free_port()?;
    let directory = archiving.system.path().join("recovered");
    let sets = sets(
        &archiving,
        &[
            ("point_in_time", now),
            ("identity", archiving.system.operational.display().to_string()),
            ("directory", directory.display().to_string()),
            ("port", port.to_string()),
            ("target", format!("postgres://postgres@127.0.0.1:{port}/postgres")),
            ("table", "public.tasks".to_owned()),
        ],
    );
    let name = "cluster-to-a-moment";
    let decisions = [("goal", "moment"), ("use", "rows")];
    let answers = Answers { decisions: &decisions, ..Answers::default() };
    let _script = archiving.system.hand_to_server()?;
    let led = lead(archiving.server_command(&run(name, &sets))?, 0, &answers.lines(name)?);
    let stopped =
        archiving.cluster.client("pg_ctl").args(["stop", "-m", "immediate", "-D"]).arg(&directory).status();
    led?;
    stopped?;
    assert_eq!(archiving.cluster.text("postgres", "SELECT count(*)::text FROM tasks").await?, "30");
    Ok(())
}

fn free_port() -> Outcome<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

#[tokio::test(flavor = "multi_thread")]
async fn archiving_that_fails_is_repaired() -> Outcome<()> {
    let archiving = archiving().await?;
    archiving
        .cluster
        .execute(
            "postgres",
            &[
                "ALTER SYSTEM SET archive_command = '/bin/false'",
                "SELECT pg_reload_conf()",
                "SELECT pg_switch_wal()",
            ],
        )
        .await?;
    let name = "backup-or-wal-archiving-fails";
    let sets = sets(&archiving, &[]);
    let decisions = [("what", "archiving")];
    let until = Answers { decisions: &decisions, pauses_at: Some("status"), ..Answers::default() };
    let _script = archiving.system.hand_to_server()?;
    lead(archiving.server_command(&run(name, &sets))?, PAUSED, &until.lines(name)?)?;
    archiving.settle().await?;
    let rest = Answers { resumes_at: Some("status"), pauses_at: None, ..until };
    lead(archiving.server_command(&RESUME)?, 0, &rest.lines(name)?)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_with_wal_has_room_again() -> Outcome<()> {
    let archiving = archiving().await?;
    archiving
        .cluster
        .execute(
            "postgres",
            &[
                "ALTER SYSTEM SET archive_command = '/bin/false'",
                "SELECT pg_reload_conf()",
                "SELECT pg_switch_wal()",
            ],
        )
        .await?;
    let name = "disk-full-of-wal";
    let sets = sets(&archiving, &[("data_directory", archiving.cluster.data().display().to_string())]);
    let decisions = [("cause", "archiving"), ("archive", "give-up")];
    // There is no systemd here.
    let manually = ["start"];
    let until = Answers {
        decisions: &decisions,
        manually: &manually,
        pauses_at: Some("archives"),
        ..Answers::default()
    };
    let _script = archiving.system.hand_to_server()?;
    lead(archiving.server_command(&run(name, &sets))?, PAUSED, &until.lines(name)?)?;
    archiving.settle().await?;
    let rest = Answers { resumes_at: Some("archives"), pauses_at: None, ..until };
    lead(archiving.server_command(&RESUME)?, 0, &rest.lines(name)?)?;
    Ok(())
}
