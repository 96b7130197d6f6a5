//! The policies of several systems, for verbs that look at many.

use std::path::{Path, PathBuf};

use futures_util::StreamExt as _;
use futures_util::stream;

use super::Context;
use super::error::CommandError;
use super::rto_forecast::DrillRecords;
use super::system_status::collect;
use crate::monitor::{FailedCollection, Watched};
use crate::policy::{self, PolicyFaults};
use crate::text::count;

/// Systems that are queried at once.
pub(super) const AT_ONCE: usize = 8;

/// Returns the files that are named, and those of the directories that are; the policy of the command line where none is.
pub(super) fn policy_files(named: &[PathBuf], context: &Context) -> Result<Vec<PathBuf>, CommandError> {
    let named = if named.is_empty() { vec![context.policy_path()?] } else { named.to_vec() };
    let mut files = Vec::new();
    for path in named {
        if !path.is_dir() {
            files.push(path);
            continue;
        }
        let found = in_directory(&path).map_err(|error| {
            CommandError::usage(error).context(format!("failed to read the directory `{}`", path.display()))
        })?;
        if found.is_empty() {
            return Err(CommandError::usage(format!("there is no policy in `{}`", path.display()))
                .hint("Policies are files that end in `.toml`."));
        }
        files.extend(found);
    }
    Ok(files)
}

fn in_directory(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "toml") && path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Returns the name of a policy's system before the policy is read.
pub(super) fn file_name(path: &Path) -> String {
    path.file_stem().map_or_else(|| path.display().to_string(), |stem| stem.to_string_lossy().into_owned())
}

/// Returns the first fault, and how many more there are: a system has one line.
fn wrong(faults: &PolicyFaults) -> String {
    let text = faults.to_string();
    let first = text.lines().next().unwrap_or_default();
    match faults.faults.len().saturating_sub(1) {
        0 => format!("the policy is wrong: {first}"),
        more => format!("the policy is wrong: {first}, and {} more", count(more as u64, "fault")),
    }
}

/// Collects the snapshot of a policy's system. A policy that cannot be read, and a system that cannot be queried, has
/// its reason instead.
pub(super) async fn watch(
    path: &Path,
    is_offline: bool,
    known: DrillRecords,
    context: &Context,
) -> (Watched, DrillRecords) {
    let fail = |name: String, reason: String| {
        let failed = FailedCollection { at: context.clock.now(), reason };
        (Watched { name, snapshot: None, failed: Some(failed) }, DrillRecords::default())
    };
    let policy = match policy::load(path) {
        Ok(policy) => policy,
        Err(faults) => {
            return fail(file_name(path), wrong(&faults));
        }
    };
    let name = policy.system.to_string();
    match collect(context, policy, is_offline, known).await {
        Ok(collected) => {
            let snapshot = Some(std::sync::Arc::new(collected.snapshot));
            (Watched { name, snapshot, failed: None }, collected.records)
        }
        Err(error) => fail(name, error.to_string()),
    }
}

/// Collects the snapshots of all, a few at once.
pub(super) async fn watch_all(paths: &[PathBuf], is_offline: bool, context: &Context) -> Vec<Watched> {
    let each = stream::iter(paths).map(async |path| {
        let (watched, _) = watch(path, is_offline, DrillRecords::default(), context).await;
        watched
    });
    Watched::unique(each.buffered(AT_ONCE).collect().await)
}
