//! What every verb's output has in common: where it goes, and what becomes of it when it cannot.

use std::fs::File;
use std::process::{Command, Stdio};

use super::sandbox::Sandbox;
use crate::shop::Shop;
use crate::support::Outcome;

fn document(stdout: &[u8]) -> Outcome<serde_json::Value> {
    let text = String::from_utf8_lossy(stdout);
    assert_eq!(text.lines().count(), 1, "{text}");
    Ok(serde_json::from_str(&text)?)
}

#[test]
fn a_command_line_that_is_wrong_is_a_document_for_programs() {
    let sandbox = Sandbox::new().unwrap();
    for (arguments, word) in [
        (&["--output", "json", "bakcup"][..], "bakcup"),
        (&["backup", "--output=json", "--nope"], "--nope"),
        (&["restore", "--output", "json", "database"], "--to"),
        (&["--output", "json"], "drctl"),
        (&["wal", "fetch", "--output", "json"], "%f"),
        (&["verify", "--latest", "--output", "json", "20261120"], "--latest"),
    ] {
        let output = sandbox.output(arguments).unwrap();
        let shown = document(&output.stdout).unwrap();
        assert_eq!(shown["drctl"], 1, "{shown}");
        assert_eq!(shown["kind"], "error", "{shown}");
        assert_eq!(shown["exit"].as_i64().map(|code| code as i32), output.status.code(), "{shown}");
        assert!(shown.to_string().contains(word), "{arguments:?}: {shown}");
        assert!(shown["error"].as_str().is_some_and(|error| !error.is_empty()), "{shown}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
    let human = sandbox.output(&["bakcup"]).unwrap();
    assert!(human.stdout.is_empty() && human.status.code() == Some(2), "{human:?}");
    let unknown = sandbox.output(&["--output", "yaml", "list"]).unwrap();
    assert!(unknown.stdout.is_empty() && unknown.status.code() == Some(2), "{unknown:?}");
}

fn into(stdout: impl Into<Stdio>, mut command: Command) -> Outcome<(Option<i32>, String)> {
    let output = command.stdout(stdout).stderr(Stdio::piped()).spawn()?.wait_with_output()?;
    Ok((output.status.code(), String::from_utf8(output.stderr)?))
}

#[tokio::test]
async fn a_result_that_cannot_be_written_is_a_failure_of_every_verb_and_a_reader_that_went_is_none()
-> Outcome<()> {
    let shop = Shop::new().await?;
    let id = shop.backup(2, &["primary", "west"]).await?.id;
    for arguments in [
        &["--help"][..],
        &["--version"],
        &["wal", "push", "--help"],
        &["policy", "check"],
        &["policy", "show"],
        &["policy", "schema"],
        &["generate", "completions", "bash"],
        &["list"],
        &["list", "--output", "json"],
        &["show", id.as_str()],
        &["status"],
        &["status", "--output", "json"],
        &["verify"],
        &["verify", "--output", "json"],
        &["copies", "sync"],
        &["catalog", "rebuild"],
    ] {
        let full = File::options().write(true).open("/dev/full")?;
        let (code, said) = into(full, shop.system.command(arguments))?;
        assert_eq!(code, Some(1), "{arguments:?}: {said}");
        assert!(said.contains("stdout") && said.contains("os error 28"), "{arguments:?}: {said}");

        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let (code, said) = into(writer, shop.system.command(arguments))?;
        assert_eq!(code, Some(0), "{arguments:?}: {said}");
        assert!(!said.contains("stdout") && !said.contains("roken pipe"), "{arguments:?}: {said}");
    }
    // What failed by itself keeps its status, and what was done is said to be.
    shop.unplug("west")?;
    let (code, said) =
        into(File::options().write(true).open("/dev/full")?, shop.system.command(&["status"]))?;
    assert!(code == Some(3) && said.contains("failed to query"), "{code:?} {said}");
    Ok(())
}

#[tokio::test]
async fn what_cron_runs_is_silent_on_success_and_says_why_on_failure() -> Outcome<()> {
    let shop = Shop::new().await?;
    let backup = shop.backup(2, &["primary", "west"]).await?;
    for verb in [&["verify", "-q"][..], &["status", "-q"], &["copies", "sync", "-q"]] {
        let run = shop.system.expect(0, verb).await?;
        assert_eq!(run.stderr, "", "{verb:?}");
    }
    // Nothing answers at that address: the source fails.
    let policy = std::fs::read_to_string(shop.system.policy())?;
    std::fs::write(shop.system.policy(), policy.replace("db.internal", "127.0.0.1:1"))?;
    let run = shop.system.expect(1, &["backup", "-q"]).await?;
    assert!(run.stderr.contains("error: database failed: ") && run.stderr.contains("127.0.0.1:1"), "{run:?}");
    let json = shop.system.expect(1, &["backup", "--output", "json"]).await?;
    assert!(json.stderr.contains("error: database failed: "), "{json:?}");
    let human = shop.system.expect(1, &["backup"]).await?;
    assert_eq!(human.stderr.matches("127.0.0.1:1").count(), 1, "the run says it, once: {human:?}");

    std::fs::remove_file(shop.file("west", &backup, "details.json.zst.age"))?;
    let run = shop.system.expect(1, &["verify", "-q"]).await?;
    assert!(run.stderr.contains(&format!("error: {} in west is bad: ", backup.id)), "{run:?}");
    let run = shop.system.expect(21, &["status", "-q"]).await?;
    assert!(run.stderr.contains("error: objective missed: a restore from west alone"), "{run:?}");
    let run = shop.system.expect(1, &["doctor", "-q"]).await?;
    assert!(run.stderr.contains("error: source database: "), "{run:?}");
    Ok(())
}

#[tokio::test]
async fn a_variable_that_is_empty_is_one_that_is_not_set() -> Outcome<()> {
    let mut shop = Shop::new().await?;
    shop.backup(2, &["primary", "west"]).await?;
    for name in ["DRCTL_IDENTITY", "TMPDIR", "DRCTL_LOG"] {
        shop.system.set(name, "");
    }
    shop.system.expect(0, &["list"]).await?;
    let refused = shop.system.expect(2, &["keys", "check"]).await?;
    assert!(refused.stderr.contains("--identity"), "it is required, and was not given: {refused:?}");
    let mut command = shop.system.command(&["list"]);
    command.env("DRCTL_POLICY", "");
    let (code, said) = into(Stdio::null(), command)?;
    assert!(code == Some(2) && said.contains("no policy found"), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_tilde_is_the_home_directory_where_no_shell_has_seen_to_it() -> Outcome<()> {
    let shop = Shop::new().await?;
    shop.backup(2, &["primary", "west"]).await?;
    let mut command = shop.system.command(&["list", "--policy=~/policy.toml"]);
    command.env_remove("DRCTL_POLICY").current_dir("/");
    let (code, said) = into(Stdio::null(), command)?;
    assert_eq!(code, Some(0), "{said}");
    // In the policy, too.
    let primary = shop.system.repository("primary").display().to_string();
    shop.system.rewrite(&format!("directory = \"{primary}\""), "directory = \"~/primary\"")?;
    let shown = shop.system.expect(0, &["policy", "show"]).await?;
    assert!(shown.stdout.contains(&primary), "{shown:?}");
    Ok(())
}

#[tokio::test]
async fn a_log_in_a_pipe_has_no_colours() -> Outcome<()> {
    let shop = Shop::new().await?;
    let run = shop.system.expect(0, &["list", "-vvv"]).await?;
    assert!(!run.stderr.is_empty() && !run.stderr.contains('\u{1b}'), "{}", run.stderr);
    Ok(())
}
