use std::process::Stdio;

use crate::shop::{Shop, assert_shown};
use crate::support::Outcome;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

/// A runbook in which nothing is outside of the test's folder.
const SMALL: &str = r#"# Nothing is lost

```toml runbook
severity = "p3"
trigger = "a test"
takes = "5m"

[parameters]
file = { description = "where it leaves a trace", example = "/tmp/trace" }
```

## Detection

### Look

```sh step=look
echo "looked at $SYSTEM" >>"$FILE"; drctl --version >/dev/null
```

**Expect:** exit 0
**If not:** x

## Recovery

### Decide

```text step=way decision=go|stay deadline=5m
Go?
```

**Expect:** x

### Touch production

```sh step=touch changes=production when=way:go
echo "touched" >>"$FILE"; echo token=abcdefgh; exit 4
```

**Expect:** exit 0
**If not:** look at the file.

## Verification

### Sign off

```text step=sign manual
Look at the result.
```

**Expect:** x
"#;

struct Bench {
    shop: Shop,
}

impl Bench {
    async fn new() -> Outcome<Self> {
        let shop = Shop::new().await?;
        let folder = shop.system.path().join("runbooks");
        std::fs::create_dir(&folder)?;
        std::fs::write(folder.join("small.md"), SMALL)?;
        shop.system.append("[runbooks]\ndirectory = \"runbooks\"\n")?;
        Ok(Self { shop })
    }

    fn trace(&self) -> String {
        self.shop.system.path().join("trace").display().to_string()
    }

    fn read_trace(&self) -> String {
        std::fs::read_to_string(self.trace()).unwrap_or_default()
    }

    /// Runs it with these lines on stdin.
    async fn answer(&self, code: i32, arguments: &[&str], lines: &str) -> Outcome<(String, String)> {
        use tokio::io::AsyncWriteExt as _;
        let mut command = tokio::process::Command::from(self.shop.system.command(arguments));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let mut stdin = child.stdin.take().ok_or("no stdin")?;
        stdin.write_all(lines.as_bytes()).await?;
        drop(stdin);
        let output = child.wait_with_output().await?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        match output.status.code() == Some(code) {
            true => Ok((stdout, stderr)),
            false => Err(format!("{:?}: {stdout}\n{stderr}", output.status).into()),
        }
    }
}

fn incident(stderr: &str) -> Outcome<String> {
    let at = stderr.find("inc-").ok_or("no incident is named")?;
    Ok(stderr[at..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect())
}

#[tokio::test]
async fn a_runbook_with_faults_is_refused_with_all_of_them() -> Outcome<()> {
    let shop = Shop::new().await?;
    let broken = format!("{FIXTURES}/runbooks-broken");
    let good = format!("{FIXTURES}/runbooks");
    let run = shop.system.expect(2, &["runbook", "check", "broken", "--directory", &broken]).await?;
    run.says("broken.md:4:")?
        .says("is no command of this drctl: unrecognized subcommand")?
        .says("unknown variable `$TARGTE`")?
        .says("there is another step of this name")?
        .says("leads nowhere")?;
    shop.system
        .expect(2, &["runbook", "run", "broken", "--directory", &broken])
        .await?
        .says("unknown variable")?;
    let run = shop.system.expect(0, &["runbook", "check", "database-lost", "--directory", &good]).await?;
    run.says("ok database-lost: 8 steps")?;
    let run = shop.system.expect(0, &["runbook", "list", "--directory", &good]).await?;
    run.says("database-lost")?.says("the server is gone")?;
    shop.system
        .expect(0, &["runbook", "show", "database-lost", "--directory", &good])
        .await?
        .says("# The database is lost")?;
    shop.system
        .expect(2, &["runbook", "show", "database-lots", "--directory", &good])
        .await?
        .says("Did you mean `database-lost`?")?;
    Ok(())
}

#[tokio::test]
async fn the_runbooks_of_the_project_have_no_faults_as_files_and_in_the_program() -> Outcome<()> {
    let shop = Shop::new().await?;
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/runbooks");
    shop.system.expect(0, &["runbook", "check", "--directory", own]).await?;
    shop.system.expect(0, &["runbook", "check"]).await?;
    Ok(())
}

#[tokio::test]
async fn a_plan_shows_every_step_with_its_values() -> Outcome<()> {
    let shop = Shop::new().await?;
    let good = "runbooks";
    std::fs::create_dir(shop.system.path().join(good))?;
    let fixture = std::path::Path::new(FIXTURES).join("runbooks/database-lost.md");
    std::fs::copy(fixture, shop.system.path().join(good).join("database-lost.md"))?;
    assert_shown!(
        shop,
        [
            "runbook",
            "run",
            "database-lost",
            "--plan",
            "--set",
            "target=postgres://db/shop",
            "--directory",
            good
        ]
    );
    let set = "target=postgres://ann:secret@db/shop";
    let refused = shop
        .system
        .expect(2, &["runbook", "run", "database-lost", "--plan", "--set", set, "--directory", good])
        .await?;
    refused.says("holds a password")?;
    assert!(!refused.stderr.contains("ann:secret"));
    let refused = shop.system.expect(2, &["runbook", "run", "database-lost", "--directory", good]).await?;
    refused.says("needs `--set target=…`")?;
    Ok(())
}

#[tokio::test]
async fn an_incident_is_led_by_answers_left_resumed_and_reported() -> Outcome<()> {
    let bench = Bench::new().await?;
    let set = format!("file={}", bench.trace());
    // Without anyone to ask, a step that needs a person is refused.
    let (_, told) = bench.answer(3, &["runbook", "run", "small", "--yes", "--set", &set], "").await?;
    assert!(told.contains("step `way` needs a person"), "{told}");
    assert_eq!(bench.read_trace(), "looked at shop\n");
    let id = incident(&told)?;
    // Answers that are none are asked for again; production is asked about with `--yes`, too.
    let lines = "perhaps\ngo\ngo it is gone\nrun\n";
    let (out, told) =
        bench.answer(3, &["runbook", "run", "--resume", &id, "--yes", "--by", "bob"], lines).await?;
    assert!(told.contains("say why, too") && told.contains("This changes production."), "{told}");
    assert!(told.contains("not as expected") && told.contains("look at the file."), "{told}");
    assert!(out.contains("token=abcdefgh"), "the operator sees what it said: {out}");
    assert_eq!(bench.read_trace(), "looked at shop\ntouched\n");
    let open = bench.shop.system.expect(21, &["runbook", "status"]).await?;
    open.says(&format!("open {id}"))?.says("led by bob")?;
    let (out, _) = bench
        .answer(0, &["runbook", "run", "--resume", &id, "--by", "cleo"], "done it worked\ndone signed\n")
        .await?;
    assert!(out.contains("is closed"), "{out}");
    assert_eq!(bench.read_trace(), "looked at shop\ntouched\n");
    bench
        .shop
        .system
        .expect(2, &["runbook", "run", "--resume", "inc-2020"])
        .await?
        .says("there is no incident")?;

    let page = bench.shop.system.path().join("page.html");
    let shown = page.to_string_lossy();
    let report = bench.shop.system.expect(0, &["runbook", "report", &id, "--html", &shown]).await?;
    report
        .says("# Incident: Nothing is lost")?
        .says("decided go: it is gone")?
        .says("taken over from bob")?
        .says("not as expected: exit status 4")?
        .says("Post-mortem (draft)")?
        .says("token=[hidden]")?;
    assert!(!report.stdout.contains("abcdefgh"));
    let html = std::fs::read_to_string(&page)?;
    assert!(html.starts_with("<!DOCTYPE html>") && html.contains("taken over from bob"));
    let document = bench.shop.json(0, &["runbook", "report"]).await?;
    assert_eq!(document["is_closed"], true);
    assert_eq!(document["rpo_seconds"], serde_json::Value::Null);
    assert!(document["rto_seconds"].as_f64().is_some_and(|rto| rto < 600.0), "{document:#}");

    // It was run, so that it is not overdue, and the journal says what failed.
    // drctl's own runbooks were not.
    let status = bench.shop.system.drctl(&["runbook", "status", "--output", "json"]).await?.document()?;
    let small = status["runbooks"].as_array().into_iter().flatten().find(|one| one["runbook"] == "small");
    let small = small.ok_or("no runbook")?;
    assert_eq!((&small["is_overdue"], &small["last"]["by"]), (&false.into(), &"cleo".into()), "{small:#}");
    assert_eq!(small["last"]["failed"], serde_json::json!(["touch"]));
    Ok(())
}

#[tokio::test]
async fn status_says_that_a_runbook_is_overdue() -> Outcome<()> {
    let bench = Bench::new().await?;
    bench.shop.backup(1, &["primary", "west"]).await?;
    let run = bench.shop.system.expect(21, &["status"]).await?;
    assert!(!run.stderr.contains("restore-a-database"), "{run:?}");
    let quiet = bench.shop.system.expect(21, &["status", "-q"]).await?;
    quiet.says("a runbook is overdue for a rehearsal: `small` was never run")?;
    let set = format!("file={}", bench.trace());
    bench
        .answer(0, &["runbook", "run", "small", "--rehearse", "--yes", "--set", &set], "go to try\ndone\n")
        .await?;
    assert_eq!(bench.read_trace(), "looked at shop\n", "production was not touched");
    bench.shop.system.expect(0, &["status"]).await?;
    Ok(())
}

#[tokio::test]
async fn the_journal_is_verified_in_every_copy() -> Outcome<()> {
    let bench = Bench::new().await?;
    let set = format!("file={}", bench.trace());
    for _ in 0..2 {
        let arguments = ["runbook", "run", "small", "--rehearse", "--yes", "--set", &set];
        bench.answer(0, &arguments, "stay to try\ndone\n").await?;
    }
    let system = &bench.shop.system;
    system
        .expect(0, &["journal", "verify"])
        .await?
        .says("2 records in 2 repositories: each follows the one before")?;
    let records = |repository: &str| -> Outcome<Vec<std::path::PathBuf>> {
        let mut found = Vec::new();
        for year in std::fs::read_dir(system.repository(repository).join("shop/journal"))?.flatten() {
            if !year.file_name().to_string_lossy().starts_with("20") {
                continue;
            }
            for month in std::fs::read_dir(year.path())?.flatten() {
                found.extend(std::fs::read_dir(month.path())?.flatten().map(|record| record.path()));
            }
        }
        found.sort();
        Ok(found)
    };
    let path = records("west")?.remove(0);
    let text = std::fs::read_to_string(&path)?;
    std::fs::write(&path, text.replace("rehearsal", "incident"))?;
    let run = system.expect(1, &["journal", "verify"]).await?;
    run.says("differ; the one in `primary` is the one that a later record names")?;
    std::fs::write(&path, text)?;
    // An entry of an incident.
    let incidents = system.repository("primary").join("shop/journal/incidents");
    let first =
        std::fs::read_dir(incidents)?.flatten().next().ok_or("no incident")?.path().join("000003.json");
    let text = std::fs::read_to_string(&first)?;
    std::fs::write(&first, text.replace("\"by\": \"", "\"by\": \"not "))?;
    let run = system.expect(1, &["journal", "verify"]).await?;
    run.says("entry 3 of incident")?.says("was changed or forged")?;
    std::fs::remove_file(&first)?;
    system.expect(1, &["journal", "verify"]).await?.says("was removed from `primary`")?;
    let document = bench.shop.json(1, &["journal", "verify"]).await?;
    assert_eq!(document["records"], 2);
    Ok(())
}
