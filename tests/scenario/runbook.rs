//! A runbook brings a lost database back, whatever interrupts it, and a drill proves the runbook itself.

use std::process::Stdio;

use crate::restore::origin;
use crate::support::Outcome;
use crate::support::postgres::Cluster;
use crate::support::system::{Place, System, until};

const TWO: [Place; 2] = [Place::Directory, Place::Directory];
const SCRIPT: &str = "CREATE TABLE tasks AS SELECT generate_series(1, 30) AS id";
const RUNBOOK: &str = r#"# The database is lost

```toml runbook
severity = "p1"
trigger = "the application cannot log in"
takes = "30m"

[parameters]
source = { description = "the source", default = "database" }
target = { description = "the new database", example = "restored" }
folder = { description = "where the test looks", default = "/nowhere" }
```

## Detection

### See what there is

```sh step=look
drctl list "$SOURCE" -q
touch "$FOLDER/started"; sleep 3; touch "$FOLDER/ended"
```

**Expect:** exit 0; a backup
**If not:** x

## Assessment

### Decide

```text step=way decision=restore|wait
Is it gone?
```

**Expect:** x

## Communication

### Say so

```text step=tell tell=p1
$SYSTEM: the database is lost. We $WAY it.
```

**Expect:** x

## Recovery

### Restore

```sh step=restore deadline=10m changes=target when=way:restore
drctl restore "$SOURCE" --to "$TARGET" --output json
```

**Expect:** exit 0
**If not:** another backup

### Point the application at it

```sh step=cut-over changes=production when=way:restore
echo "$TARGET" >"$FOLDER/application"
```

**Expect:** exit 0
**If not:** x

## Verification

### Is it there

```sh step=there when=way:restore
test -n "$TARGET"
```

**Expect:** exit 0
**If not:** x
"#;

struct Bench {
    cluster: Cluster,
    system: System,
}

impl Bench {
    async fn new() -> Outcome<Self> {
        let cluster = Cluster::start(15).await?;
        let system = origin(&cluster, SCRIPT, &TWO).await?;
        system.expect(0, &["backup"]).await?;
        let folder = system.path().join("runbooks");
        std::fs::create_dir(&folder)?;
        std::fs::write(folder.join("database-lost.md"), RUNBOOK)?;
        system.append("[runbooks]\ndirectory = \"runbooks\"\n")?;
        Ok(Self { cluster, system })
    }

    /// A command on the host whose state directory has this name.
    fn command(&self, host: &str, arguments: &[&str]) -> std::process::Command {
        let mut command = self.system.command(arguments);
        command.env("DRCTL_STATE_DIR", self.system.path().join(host));
        command.env("DRCTL_IDENTITY", &self.system.operational);
        command
    }

    async fn answer(
        &self,
        host: &str,
        code: i32,
        arguments: &[&str],
        lines: &str,
    ) -> Outcome<(String, String)> {
        use tokio::io::AsyncWriteExt as _;
        let mut command = tokio::process::Command::from(self.command(host, arguments));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        child.stdin.take().ok_or("no stdin")?.write_all(lines.as_bytes()).await?;
        let output = child.wait_with_output().await?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        match output.status.code() == Some(code) {
            true => Ok((stdout, stderr)),
            false => Err(format!("{arguments:?}: {:?}: {stdout}\n{stderr}", output.status).into()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_database_comes_back_although_the_run_is_killed_and_resumed_on_another_host() -> Outcome<()> {
    let bench = Bench::new().await?;
    let system = &bench.system;
    bench.cluster.execute("postgres", &["DROP DATABASE origin"]).await?;
    let folder = format!("folder={}", system.path().display());
    let arguments = [
        "runbook",
        "run",
        "database-lost",
        "--yes",
        "--set",
        "target=restored",
        "--set",
        &folder,
        "--by",
        "ann",
    ];
    let mut first = system.start_command(bench.command("one", &arguments))?;
    let started = system.path().join("started");
    until("the step has begun", || started.exists()).await?;
    first.kill()?;

    // The primary is gone with the first host: the copy has what is needed.
    let primary = system.repository("primary");
    std::fs::rename(&primary, primary.with_extension("away"))?;
    let ended = system.path().join("ended");
    until("what was begun has ended by itself", || ended.exists()).await?;
    std::fs::remove_file(&started)?;
    let lines = "done it had ended\nrestore it is gone\nrun\n";
    let resume = ["runbook", "run", "--resume", "inc-20", "--yes", "--by", "bob"];
    let (_, told) = bench.answer("two", 0, &resume, lines).await?;
    assert!(told.contains("It began at") && told.contains("its end is unknown"), "{told}");
    assert!(!started.exists(), "the step that began was not run again");
    assert_eq!(bench.cluster.text("restored", "SELECT count(*)::text FROM tasks").await?, "30");
    assert_eq!(std::fs::read_to_string(system.path().join("application"))?, "restored\n");

    std::fs::rename(primary.with_extension("away"), &primary)?;
    let (report, _) = bench.answer("two", 0, &["runbook", "report"], "").await?;
    for expected in [
        "**Recovered.** Recovered in",
        "within the RTO of 4h",
        "of data were lost, within the RPO of 1h",
        "taken over from ann",
        "decided restore: it is gone",
        "not sent: ",
        "Take a full backup",
    ] {
        assert!(report.contains(expected), "{expected}: {report}");
    }
    for step in ["look", "way", "tell", "restore", "cut-over", "there"] {
        assert!(report.contains(&format!("| `{step}` |")), "{step}: {report}");
    }
    // What the primary missed is completed.
    let (_, told) = bench.answer("two", 0, &resume, "").await?;
    assert!(told.contains("has ended"), "{told}");
    let entries = |repository: &str| {
        let folder = system.repository(repository).join("shop/journal/incidents");
        let incident = std::fs::read_dir(folder).into_iter().flatten().flatten().next();
        incident.map_or(0, |incident| std::fs::read_dir(incident.path()).map_or(0, Iterator::count))
    };
    assert!(entries("primary") > 8 && entries("primary") == entries("west"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_runs_the_runbook_and_fails_with_its_line_where_a_step_does() -> Outcome<()> {
    let bench = Bench::new().await?;
    let system = &bench.system;
    let (drills, identity) = (system.path().join("drills"), system.operational.display());
    system.append(&format!(
        "[drill]\nsource = \"database\"\nidentity = \"file:{identity}\"\ndirectory = \"{}\"\nrunbook = \"database-lost\"\n\
         checks = [{{ name = \"tasks\", sql = \"SELECT count(*) FROM tasks\", at_least = 30 }}]\n",
        drills.display()
    ))?;
    let run = system.expect(0, &["drill", "run", "--output", "json"]).await?;
    let record = run.document()?["record"].clone();
    assert_eq!(record["verdict"]["outcome"], "pass", "{record:#}");
    let steps = serde_json::json!(["restore", "there"]);
    assert_eq!(record["identity"]["runbook"]["steps"], steps, "{record:#}");
    assert_eq!(record["results"]["checks"][0]["check"], "tasks", "{record:#}");
    assert!(!system.path().join("application").exists(), "production is not touched");
    let repository = record["sample"]["repository"].as_str().ok_or("no repository")?;
    assert!(["primary", "west"].contains(&repository), "{record:#}");
    // drctl's own runbooks were not run.
    let status = system.drctl(&["runbook", "status", "--output", "json"]).await?.document()?;
    let mut runbooks = status["runbooks"].as_array().into_iter().flatten();
    let own = runbooks.find(|one| one["runbook"] == "database-lost").ok_or("no runbook")?;
    assert_eq!((&own["last"]["kind"], &own["is_overdue"]), (&"drill".into(), &false.into()), "{status:#}");

    // A step is broken.
    let path = system.path().join("runbooks/database-lost.md");
    let line = RUNBOOK.lines().position(|line| line.contains("step=restore")).ok_or("no step")? + 1;
    std::fs::write(&path, RUNBOOK.replace("drctl restore \"$SOURCE\"", "false; drctl restore \"$SOURCE\""))?;
    let run = system.expect(20, &["drill", "run", "--output", "json"]).await?;
    let record = run.document()?["record"].clone();
    let sentence = record["verdict"]["sentence"].as_str().unwrap_or_default();
    let expected = format!("step `restore` of runbook `database-lost` ({}:{line})", path.display());
    assert!(sentence.contains(&expected), "{sentence}");
    assert_eq!(
        (&record["verdict"]["cause"], &record["verdict"]["code"]),
        (&"runbook".into(), &"runbook-step-failed".into())
    );
    assert_eq!(record["cleanup"]["is_complete"], true, "{record:#}");
    Ok(())
}
