//! What a drill that was killed has left.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};

use super::{DATA, LOCK, UNFINISHED};
use crate::platform::{is_alive, server_process};

/// How long a server may take to stop at once.
const STOPPED_WITHIN: Duration = Duration::from_secs(30);
const STEP: Duration = Duration::from_millis(50);
/// How long making a sandbox may take.
const LEFT_FOR: Duration = Duration::from_secs(3600);

/// What was removed, and what could not be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::drill) struct RemovedLeftovers {
    pub(in crate::drill) removed: Vec<String>,
    pub(in crate::drill) left: Vec<String>,
}

/// Removes the sandboxes in `root` of this user's drills that do not run any more.
pub(in crate::drill) async fn remove_leftovers(root: &Path) -> RemovedLeftovers {
    let mut report = RemovedLeftovers::default();
    for (directory, _held) in abandoned(root) {
        let shown = format!("directory `{}` of a drill that was killed", directory.display());
        let gone = match clear(&directory).await {
            Ok(()) => fs::remove_dir_all(&directory).map_err(|error| error.to_string()),
            Err(why) => Err(why),
        };
        match gone {
            Ok(()) => report.removed.push(shown),
            Err(why) => report.left.push(format!("{shown}: {why}")),
        }
    }
    report
}

/// Returns what has the marker of a sandbox, is this user's, and is not locked, with its lock. One that is being made is
/// left for an hour.
fn abandoned(root: &Path) -> Vec<(PathBuf, File)> {
    let own = rustix::process::geteuid().as_raw();
    let is_own =
        |path: &Path| fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && found.uid() == own);
    let is_new = |path: &Path| {
        let age =
            fs::metadata(path).and_then(|found| found.modified()).ok().and_then(|made| made.elapsed().ok());
        path.extension().is_some_and(|end| end == UNFINISHED) && age.is_none_or(|age| age < LEFT_FOR)
    };
    let entries = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    let candidates = entries.filter(|path| !is_new(path) && is_own(&path.join(LOCK)));
    let mut found: Vec<_> =
        candidates.filter_map(|path| Some((path.clone(), lock(&path.join(LOCK))?))).collect();
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    found
}

fn lock(path: &Path) -> Option<File> {
    let file = File::open(path).ok()?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok().then_some(file)
}

/// Stops the server that runs in a sandbox, found by its working directory.
pub(super) async fn clear(directory: &Path) -> Result<(), String> {
    let data = directory.join(DATA);
    let begun = Instant::now();
    while let Some(process) = server_process(&data) {
        let pid =
            i32::try_from(process).ok().and_then(Pid::from_raw).ok_or("its server has no process id")?;
        // An immediate shutdown; a server that does not obey is killed: nothing of it is kept.
        let signal = if begun.elapsed() < STOPPED_WITHIN / 2 { Signal::QUIT } else { Signal::KILL };
        if let Err(error) = kill_process(pid, signal)
            && is_alive(pid)
        {
            return Err(format!("its server, process {process}, could not be stopped: {error}"));
        }
        if begun.elapsed() > STOPPED_WITHIN {
            return Err(format!("its server, process {process}, does not stop"));
        }
        tokio::time::sleep(STEP).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_sandboxes_whose_drill_does_not_run_are_removed_and_their_server_is_stopped() {
        let root = tempfile::tempdir().unwrap();
        let sandbox = |name: &str, marker: &str| {
            let path = root.path().join(name);
            fs::create_dir_all(path.join(DATA)).unwrap();
            fs::write(path.join(marker), "").unwrap();
            path
        };
        let (abandoned, running, other) = (sandbox("a", LOCK), sandbox("b", LOCK), sandbox("c", "notes.txt"));
        let lock = File::open(running.join(LOCK)).unwrap();
        flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
        let program = root.path().join("postgres");
        fs::copy("/bin/sleep", &program).unwrap();
        let mut server =
            std::process::Command::new(&program).arg("60").current_dir(abandoned.join(DATA)).spawn().unwrap();
        while server_process(&abandoned.join(DATA)).is_none() {
            tokio::time::sleep(STEP).await;
        }
        let waiting = std::thread::spawn(move || server.wait().unwrap());
        let report = remove_leftovers(root.path()).await;
        assert_eq!(report.removed.len(), 1, "{report:?}");
        assert!(report.left.is_empty() && !abandoned.exists());
        assert!(running.exists() && other.exists());
        assert!(!waiting.join().unwrap().success());
    }
}
