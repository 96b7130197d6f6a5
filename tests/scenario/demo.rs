//! `drctl demo`: what the first command anybody types has to do, and what it may not leave behind.

use std::fs::Permissions;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::support::Outcome;

/// Where the demo makes its folder, as open to all as `/tmp` itself.
fn folder() -> Outcome<TempDir> {
    let folder = crate::support::scratch::folder()?;
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o1777))?;
    Ok(folder)
}

fn demo(folder: &Path, arguments: &[&str]) -> Outcome<Child> {
    Ok(Command::new(env!("CARGO_BIN_EXE_drctl"))
        .arg("demo")
        .args(arguments)
        .env("TMPDIR", folder)
        .env("DRCTL_STATE_DIR", folder.join("nowhere"))
        .env_remove("DRCTL_POLICY")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?)
}

fn left_in(folder: &Path) -> Outcome<Vec<String>> {
    let names = std::fs::read_dir(folder)?.flatten().map(|entry| entry.file_name());
    Ok(names.map(|name| name.to_string_lossy().into_owned()).collect())
}

#[test]
fn the_demo_brings_everything_back_twice_and_leaves_nothing() -> Outcome<()> {
    let folder = folder()?;
    let output = demo(folder.path(), &[])?.wait_with_output()?;
    let told = String::from_utf8(output.stdout)?;
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    for (restored, orders) in [("the recovered server", 40_500), ("shop_restored", 40_000)] {
        let line = told.lines().find(|line| line.starts_with(&format!("Every row of {restored} is")));
        assert!(line.is_some_and(|line| line.contains(&format!("orders ({orders} rows)"))), "{told}");
    }
    assert!(
        told.contains("Every one of 201 files is what it was, secrets among them, and so are 1000 sessions."),
        "{told}"
    );
    // The drill at the end proves it once more.
    assert!(told.contains("Everyone who asks whether backups work gets that page"), "{told}");
    assert_eq!(left_in(folder.path())?, Vec::<String>::new());
    Ok(())
}

#[test]
fn an_interrupted_demo_ends_its_server_and_leaves_nothing() -> Outcome<()> {
    let folder = folder()?;
    let mut demo = demo(folder.path(), &[])?;
    let mut lines = BufReader::new(demo.stdout.take().ok_or("no output")?).lines();
    let begun = lines.by_ref().map_while(Result::ok).any(|line| line.starts_with("4. "));
    assert!(begun, "the demo ended before it could be interrupted");
    let server = server_of(folder.path())?;
    kill_process(Pid::from_child(&demo), Signal::INT)?;
    lines.for_each(drop);
    let mut said = String::new();
    demo.stderr.take().ok_or("no errors")?.read_to_string(&mut said)?;
    assert_eq!(demo.wait()?.code(), Some(130), "{said}");
    assert_eq!(left_in(folder.path())?, Vec::<String>::new());
    assert!(is_gone(&server), "the server still runs");
    Ok(())
}

#[test]
fn a_demo_that_is_kept_says_how_to_end_it() -> Outcome<()> {
    let folder = folder()?;
    let output = demo(folder.path(), &["--keep"])?.wait_with_output()?;
    let told = String::from_utf8(output.stdout)?;
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    let server = server_of(folder.path())?;
    assert!(runs(&server), "the server was not kept");
    let (_, commands) = told.split_once("To clean up:\n").ok_or("it does not say how to end it")?;
    let ended = Command::new("bash").args(["-euc", commands]).output()?;
    assert!(ended.status.success(), "{commands}{}", String::from_utf8_lossy(&ended.stderr));
    assert!(is_gone(&server), "the server still runs");
    assert_eq!(left_in(folder.path())?, Vec::<String>::new());
    Ok(())
}

/// Whether a process is there that has not ended; one that nobody has waited for has no command line.
fn runs(process: &str) -> bool {
    std::fs::read(format!("/proc/{process}/cmdline")).is_ok_and(|line| !line.is_empty())
}

/// The server says that it has ended a moment before it has.
fn is_gone(process: &str) -> bool {
    let begun = Instant::now();
    while runs(process) {
        if begun.elapsed() > Duration::from_secs(10) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

/// The process id of the server that was started below `folder`.
fn server_of(folder: &Path) -> Outcome<String> {
    let name = left_in(folder)?.into_iter().find(|name| name.starts_with("drctl-demo-"));
    let file = folder.join(name.ok_or("no demo")?).join("server/data/postmaster.pid");
    Ok(std::fs::read_to_string(file)?.lines().next().ok_or("no process")?.to_owned())
}
