//! Stops the server of a restored directory, and empties what the restore has filled: only what has its
//! marker.
//!
//! A directory released by `drctl recovery release` has no marker any more.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::delta::{is_tablespace_of, process_file};
use super::directory_lock::{DirectoryLock, DirectoryMarker};
use super::execute::take_back;
use super::layout::{AUTO_CONFIGURATION, CONTROL, MARKER, RESTORED};
use super::release::is_isolated;
use super::start::stop;
use super::{PhysicalRestoreRequest, ServerState};
use crate::model::RunId;
use crate::postgres::{ServerPrograms, Tools};
use crate::restore::CreatedObject;
use crate::restore::teardown::not_of_this_method;
use crate::run::RunContext;

/// Removes a restored directory; `Err`: why it is left.
pub(super) async fn remove(
    _run: &RunContext,
    request: &PhysicalRestoreRequest,
    object: &CreatedObject,
) -> Result<(), String> {
    let CreatedObject::Directory { path, beside, run } = object else { return Err(not_of_this_method()) };
    remove_directory(request.tools.as_deref(), path, beside, run).await
}

async fn remove_directory(
    tools: Option<&Path>,
    path: &Path,
    beside: &[PathBuf],
    run: &RunId,
) -> Result<(), String> {
    if is_empty(path) && beside.iter().all(|other| is_empty(other)) {
        return Ok(());
    }
    let marker = marker(path).ok_or("it has no marker of a restore: it was released, or is another's")?;
    if marker.run != run.as_str() {
        return Err(format!("run {} restored it", marker.run));
    }
    // Its configuration may have been released without drctl.
    let configuration = fs::read_to_string(path.join(AUTO_CONFIGURATION)).unwrap_or_default();
    if path.join(RESTORED).exists() && !is_isolated(&configuration) {
        return Err("it is not isolated any more, and may be in use".to_owned());
    }
    if process_file(path).is_some() {
        stop_server(tools, path).await?;
        if let Some(file) = process_file(path) {
            return Err(format!("a server runs in it: `{}` is there", file.display()));
        }
    }
    let own: Vec<_> = beside.iter().filter(|other| belongs_to(other, path, run)).cloned().collect();
    empty(path, &own).map_err(|error| format!("it could not be removed: {error}"))?;
    if !is_empty(path) {
        return Err("something was written to it meanwhile".to_owned());
    }
    let left: Vec<_> = beside.iter().filter(|other| !is_empty(other)).collect();
    match left.first() {
        None => Ok(()),
        Some(other) => Err(format!("`{}`, which was filled with it, is not empty", other.display())),
    }
}

async fn stop_server(tools: Option<&Path>, path: &Path) -> Result<(), String> {
    let major = fs::read_to_string(path.join("PG_VERSION")).unwrap_or_default();
    let servers = Tools::servers(tools).await;
    let found = servers.into_iter().find(|tools| major.trim() == tools.major.to_string());
    let programs = found.ok_or_else(|| {
        format!("a server may run in it, and the programs of PostgreSQL {} are not here", major.trim())
    })?;
    let owner = fs::metadata(path).map(|found| (found.uid(), found.gid()));
    let owner = owner.ok().filter(|_| rustix::process::geteuid().is_root());
    let programs =
        ServerPrograms { directory: programs.directory, owner, launcher: vec![], clears_environment: false };
    match stop(&programs, path, "immediate").await {
        ServerState::MayRun(reason) => Err(format!("its server could not be stopped: {reason}")),
        ServerState::Stopped | ServerState::NotStarted => Ok(()),
    }
}

/// Returns the marker of a completed or of an interrupted restore.
fn marker(path: &Path) -> Option<DirectoryMarker> {
    let read = |name| serde_json::from_slice(&fs::read(path.join(name)).ok()?).ok();
    read(RESTORED).or_else(|| read(MARKER))
}

/// Returns whether the restored cluster has its tablespace or its WAL there, or the restore did not come that
/// far.
fn belongs_to(other: &Path, path: &Path, run: &RunId) -> bool {
    is_tablespace_of(path, other)
        || fs::read_link(path.join("pg_wal")).is_ok_and(|target| target == other)
        || marker(other).is_some_and(|marker| marker.run == run.as_str())
}

/// Removes the directory itself last: after an interruption, it is recognized as incomplete.
fn empty(path: &Path, beside: &[PathBuf]) -> io::Result<()> {
    if path.join(RESTORED).exists() {
        fs::rename(path.join(RESTORED), path.join(MARKER))?;
    }
    let Some(_hold) = DirectoryLock::take(path)? else {
        return Err(io::Error::new(io::ErrorKind::WouldBlock, "another run is at work there"));
    };
    match fs::remove_file(path.join(CONTROL)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    take_back(beside)?;
    take_back(&[path.to_owned()])
}

fn is_empty(path: &Path) -> bool {
    match fs::read_dir(path) {
        Ok(mut entries) => entries.all(|entry| entry.is_ok_and(|entry| entry.file_name() == "lost+found")),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(seed: u32) -> RunId {
        RunId::new("2026-11-20T12:00:00Z".parse().unwrap(), seed)
    }

    fn restored(root: &Path, by: &RunId) -> (PathBuf, PathBuf) {
        let (data, space) = (root.join("data"), root.join("space"));
        for folder in [data.join("global"), data.join("pg_tblspc"), space.join("PG_17_202406281/5")] {
            fs::create_dir_all(folder).unwrap();
        }
        fs::write(data.join(CONTROL), "control").unwrap();
        fs::write(data.join("PG_VERSION"), "17\n").unwrap();
        fs::write(data.join(AUTO_CONFIGURATION), "drctl.isolated = 'on'\n").unwrap();
        fs::write(space.join("PG_17_202406281/5/1249"), "rows").unwrap();
        std::os::unix::fs::symlink(&space, data.join("pg_tblspc/16401")).unwrap();
        let marker = DirectoryMarker {
            run: by.to_string(),
            backup: "b".to_owned(),
            what: "w".to_owned(),
            changes: None,
        };
        fs::write(data.join(RESTORED), serde_json::to_vec(&marker).unwrap()).unwrap();
        (data, space)
    }

    #[tokio::test]
    async fn what_the_run_has_filled_is_emptied_with_its_tablespaces_and_again_there_is_nothing_to_do() {
        let root = tempfile::tempdir().unwrap();
        let (data, space) = restored(root.path(), &run(1));
        let beside = [space.clone()];
        assert_eq!(remove_directory(None, &data, &beside, &run(1)).await, Ok(()));
        assert!(is_empty(&data) && is_empty(&space) && data.exists());
        assert_eq!(remove_directory(None, &data, &beside, &run(1)).await, Ok(()));
    }

    #[tokio::test]
    async fn what_another_run_restored_or_was_released_or_runs_is_left() {
        let root = tempfile::tempdir().unwrap();
        let (data, space) = restored(root.path(), &run(1));
        let beside = [space.clone()];
        let left = remove_directory(None, &data, &beside, &run(2)).await.unwrap_err();
        assert!(left.contains("restored it"), "{left}");
        // Of a server that could not be stopped nothing is removed.
        fs::write(data.join("postmaster.pid"), "1\n").unwrap();
        fs::write(data.join("PG_VERSION"), "1\n").unwrap();
        let left = remove_directory(None, &data, &beside, &run(1)).await.unwrap_err();
        assert!(left.contains("programs of PostgreSQL 1 are not here"), "{left}");
        fs::remove_file(data.join("postmaster.pid")).unwrap();
        // An operator took out what isolates it, without drctl.
        let isolated = fs::read(data.join(AUTO_CONFIGURATION)).unwrap();
        fs::write(data.join(AUTO_CONFIGURATION), "archive_mode = 'on'\n").unwrap();
        let left = remove_directory(None, &data, &beside, &run(1)).await.unwrap_err();
        assert!(left.contains("may be in use"), "{left}");
        fs::write(data.join(AUTO_CONFIGURATION), isolated).unwrap();
        fs::remove_file(data.join(RESTORED)).unwrap();
        let left = remove_directory(None, &data, &beside, &run(1)).await.unwrap_err();
        assert!(left.contains("no marker"), "{left}");
        assert!(data.join(CONTROL).exists() && space.join("PG_17_202406281/5/1249").exists());
    }

    #[tokio::test]
    async fn a_directory_that_the_cluster_does_not_use_is_not_touched() {
        let root = tempfile::tempdir().unwrap();
        let (data, _) = restored(root.path(), &run(1));
        let foreign = root.path().join("foreign");
        fs::create_dir_all(&foreign).unwrap();
        fs::write(foreign.join("invoice"), "paid").unwrap();
        let left = remove_directory(None, &data, std::slice::from_ref(&foreign), &run(1)).await.unwrap_err();
        assert!(left.contains("foreign"), "{left}");
        assert!(is_empty(&data) && foreign.join("invoice").exists());
    }

    #[tokio::test]
    async fn a_teardown_that_was_killed_is_continued() {
        let root = tempfile::tempdir().unwrap();
        let (data, space) = restored(root.path(), &run(1));
        fs::rename(data.join(RESTORED), data.join(MARKER)).unwrap();
        fs::remove_file(data.join(CONTROL)).unwrap();
        fs::remove_file(data.join("pg_tblspc/16401")).unwrap();
        fs::remove_dir_all(space.join("PG_17_202406281")).unwrap();
        assert_eq!(remove_directory(None, &data, &[space], &run(1)).await, Ok(()));
        assert!(is_empty(&data));
    }
}
