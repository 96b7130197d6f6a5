//! A new directory with the dump, and the configuration that a server loads it with.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::compare::{KEYS, compare, expired, total};
use super::databases;
use crate::checks::CheckResult;
use crate::model::{Artifact, Cause};
use crate::platform::available_memory;
use crate::redis::{RedisError, ScratchServer, ScratchServerError, server_program};
use crate::restore::content::fetch::ArtifactFetch;
use crate::restore::content::method::{RestoredContent, TargetSurvey};
use crate::restore::content::new_directory::NewDirectory;
use crate::restore::content::survey::ChainLink;
use crate::restore::content::target::{NewFile, new_path};
use crate::restore::content::{ContentRestoreError, ContentRestorePlan, ContentRestoreRequest};
use crate::restore::{CreatedObject, Refusal};
use crate::source::REDIS_DUMP;
use crate::text::{count, error_chain, format_size};

const CONFIG: &str = "redis.conf";

pub(super) fn survey(
    request: &ContentRestoreRequest,
    _link: &ChainLink,
    artifact: &Artifact,
) -> TargetSurvey {
    let (path, mut refusals) = new_path(Path::new(&request.target.to), artifact.plain.size);
    let shown = path.display().to_string();
    if shown.contains(['"', '\\', '\n']) {
        let message = format!("`{shown}` has a character that `{CONFIG}` cannot hold");
        refusals.push(Refusal::usage("unusable-name", message));
    }
    let mut notes = vec![];
    if server_program().is_none() {
        notes.push(
            "there is no `redis-server` on this host: what is restored is not loaded to prove it".to_owned(),
        );
    }
    TargetSurvey { to: shown, refusals, notes }
}

pub(super) async fn restore(
    fetch: &ArtifactFetch<'_>,
    plan: &ContentRestorePlan,
    link: &ChainLink,
    artifact: &Artifact,
    created: &mut Vec<CreatedObject>,
) -> Result<RestoredContent, ContentRestoreError> {
    let path = PathBuf::from(&plan.to);
    let directory = NewDirectory::create(&path)?;
    let file = NewFile::create(&directory.part().join(REDIS_DUMP))?;
    let writer = file.writer()?;
    fetch.consume(link, artifact, move |plain| writer.write(plain)).await?;
    file.publish()?;
    write_config(directory.part(), &path, databases(link).max(16))?;
    let recorded = link.details.redis.as_ref().and_then(|facts| facts.databases.as_deref());
    let mut restored = RestoredContent::default();
    match load(fetch, directory.part(), link).await? {
        Ok(keys) => {
            restored.counts.push(total(&keys));
            restored.checks.push(compare(recorded, &keys));
            let gone = expired(recorded, &keys);
            if gone > 0 {
                restored
                    .notes
                    .push(format!("the time to live of {} has ended since the backup", count(gone, "key")));
            }
        }
        Err(undetermined) => restored.checks.push(undetermined),
    }
    created.push(directory.publish(&fetch.run.id)?);
    restored.notes.push(format!(
        "give the directory to the server's user (`chown -R redis`), and start the server with it: `redis-server {}/{CONFIG}`, or copy its lines into the server's own configuration",
        path.display()
    ));
    restored.notes.push(
        "leave `appendonly no` until it has loaded: with an append-only file a server ignores the dump, starts empty and overwrites it; then `CONFIG SET appendonly yes`, and wait for `aof_rewrite_in_progress:0` before a restart".to_owned(),
    );
    Ok(restored)
}

/// Loads the dump into a server of its own; the inner error: why that proves nothing.
async fn load(
    fetch: &ArtifactFetch<'_>,
    directory: &Path,
    link: &ChainLink,
) -> Result<Result<std::collections::BTreeMap<u64, u64>, CheckResult>, ContentRestoreError> {
    let undetermined = |why: String| {
        let message = format!("the dump was not loaded to prove it: {why}");
        Ok(Err(CheckResult::undetermined(KEYS, Cause::Environment, "not-loaded", message)))
    };
    if let Some(why) = lacks_memory(link) {
        return undetermined(why);
    }
    let keys = async {
        let server = ScratchServer::start(directory, REDIS_DUMP, databases(link), &fetch.run.cancel).await?;
        let keys = server.connect().await?.info().await?.keys();
        Ok::<_, ScratchServerError>(keys)
    };
    match keys.await {
        Ok(keys) => Ok(Ok(keys)),
        Err(ScratchServerError::Server(RedisError::Interrupted)) => Err(ContentRestoreError::Interrupted),
        Err(error) => undetermined(error_chain(&error)),
    }
}

/// Returns why this host should not load the dump.
pub(super) fn lacks_memory(link: &ChainLink) -> Option<String> {
    let needed = link.details.redis.as_ref().map_or(0, |facts| facts.memory);
    let free = available_memory().filter(|free| *free < needed)?;
    Some(format!("that takes {} of memory, and {} are available", format_size(needed), format_size(free)))
}

fn write_config(part: &Path, path: &Path, databases: u64) -> Result<(), ContentRestoreError> {
    let file = part.join(CONFIG);
    let text = format!(
        "# Written by drctl, to load a restored dump: `redis-server {0}/{CONFIG}`.\n\
         # With `appendonly yes` a server ignores the dump, starts empty, and overwrites it. Leave it off until the dump\n\
         # was loaded; then run `redis-cli config set appendonly yes`, wait until `redis-cli info persistence` has\n\
         # aof_rewrite_in_progress:0, and only then write it here.\n\
         dir \"{0}\"\ndbfilename {REDIS_DUMP}\nappendonly no\ndatabases {databases}\n",
        path.display()
    );
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file);
    let written = opened.and_then(|mut open| open.write_all(text.as_bytes()).and_then(|()| open.sync_all()));
    written.map_err(|source| ContentRestoreError::Write { path: file, source })
}
