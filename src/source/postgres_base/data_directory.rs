use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::Utc;
use tokio::sync::oneshot;

use super::backup_manifest::RangeError;
use super::checkpoint;
use super::completeness::{Completeness, mapped};
use super::copied::{BASE, BaseBackupCopy};
use super::error::BaseError;
use super::file_list::FileList;
use super::missing_files::MissingFiles;
use super::prepare;
use super::prepare::BaseBackupCapture;
use super::session;
use super::session::BackupStopped;
use super::tar_directory;
use super::tar_directory::{PageCheck, Tree, TreeError};
use crate::event::Events;
use crate::model::{Checkpoint, Tablespace};
use crate::platform::CancellationToken;
use crate::source::capture::ArtifactSink;
use crate::source::thread_producer::{Chunks, ThreadProducer};

type CopyDirectoryFault = Box<dyn std::error::Error + Send + Sync>;

/// Reads the data directory while the server runs, and stores it.
pub(super) async fn copy(
    prepared: &mut BaseBackupCapture,
    root: &Path,
    presence: Completeness,
    estimate: Option<u64>,
    sink: &mut dyn ArtifactSink,
    (events, stop): (&Events, &CancellationToken),
) -> Result<(BaseBackupCopy, Option<Checkpoint>), BaseError> {
    let server = prepared.parameters.to_string();
    let major = prepared.server.major;
    let pages = session::page_facts(&mut prepared.connection, &server).await?;
    let interrupted = || BaseError::Interrupted { server: server.clone() };
    let start = tokio::select! {
        start = session::begin(&mut prepared.connection, &server, major) => start?,
        () = stop.cancelled() => return Err(interrupted()),
    };
    let checkpoint = checkpoint::read(&mut prepared.connection, &server, events).await;
    // The first query was before the initial checkpoint: tablespaces created until then are in no WAL that a
    // recovery replays.
    prepared.tablespaces = prepare::tablespaces(&mut prepared.connection, &server).await?;
    let check = PageCheck { page_size: pages.page_size, pages_in_segment: pages.pages_in_segment, start };
    let cluster = prepared.server.system_identifier.as_deref().unwrap_or_default();
    let list = FileList::begin(major, cluster)
        .map_err(|source| BaseError::Store { server: server.clone(), source: source.into() })?;
    let check = prepared.page_checksums.then_some(check);
    let shared = Arc::new(Mutex::new(Tree::new(list, presence, check)));

    let mut artifacts = Vec::new();
    let version = format!("PG_{major}_{}", pages.catalog_version);
    for tablespace in &prepared.tablespaces {
        let (shared, version) = (Arc::clone(&shared), version.clone());
        let (place, oid) = (PathBuf::from(&tablespace.location), tablespace.oid);
        let producer = ThreadProducer::start(move |out| {
            let mut tree = shared.lock().unwrap_or_else(PoisonError::into_inner);
            tree.tablespace(&place, oid, &version, out)?;
            Ok(end_archive(out)?)
        });
        let stored = sink.store(&format!("{oid}.tar"), Box::new(producer), None).await;
        artifacts.push(stored.map_err(|source| BaseError::Store { server: server.clone(), source })?);
    }

    let (all_read, is_all_read) = oneshot::channel();
    let (tell, told) = channel();
    let producer = {
        let (shared, root) = (Arc::clone(&shared), root.to_owned());
        ThreadProducer::start(move |out| {
            let mut tree = shared.lock().unwrap_or_else(PoisonError::into_inner);
            base(&mut tree, &root, all_read, &told, out)
        })
    };
    let connection = &mut prepared.connection;
    let ending = async {
        // Its thread ended early: storing its bytes reports why.
        let tell: Sender<BackupStopped> = tell;
        if is_all_read.await.is_err() {
            return Ok::<_, BaseError>(None);
        }
        let ended = tokio::select! {
            ended = session::end(connection, &server, major) => ended?,
            () = stop.cancelled() => return Err(interrupted()),
        };
        let _listened = tell.send(ended.clone());
        Ok(Some(ended))
    };
    let (stored, ended) = tokio::join!(sink.store(BASE, Box::new(producer), estimate), ending);
    // Where the server refused to end the copy, the archive has no end either.
    let ended = ended?;
    artifacts.push(stored.map_err(|source| BaseError::Store { server: server.clone(), source })?);
    let ended = ended.ok_or_else(|| BaseError::Range { server: server.clone(), source: RangeError::None })?;
    let (absent, copied) = {
        let mut tree = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let copied = BaseBackupCopy {
            artifacts,
            range: ended.range,
            damaged: std::mem::take(&mut tree.damaged),
            left_out: std::mem::take(&mut tree.left_out),
            lacking: vec![],
            presence: std::mem::take(&mut tree.presence),
            producer: format!("drctl {}", env!("CARGO_PKG_VERSION")),
            kept: None,
        };
        (std::mem::take(&mut tree.absent), copied)
    };
    let missed = not_copied(&mapped(&ended.map), &prepared.tablespaces, &absent);
    if missed.is_empty() {
        return Ok((copied, checkpoint));
    }
    // Those dropped meanwhile are missing; the WAL has their removal.
    let now = prepare::tablespaces(&mut prepared.connection, &server).await?;
    let missed = now.into_iter().filter(|space| missed.contains(&space.oid));
    let lacking = missed.map(|space| MissingFiles {
        path: space.location,
        database: None,
        why: "is a tablespace of which nothing was found",
    });
    Ok((BaseBackupCopy { lacking: lacking.collect(), ..copied }, checkpoint))
}

/// Returns the tablespaces that existed when the copy began, by the server's `mapped`, and that are not among
/// the `copied` ones: those that are `absent` had no directory. Pure.
fn not_copied(mapped: &[u32], copied: &[Tablespace], absent: &[u32]) -> Vec<u32> {
    let is_copied = |oid: &&u32| copied.iter().any(|space| space.oid == **oid);
    mapped.iter().filter(|oid| !is_copied(oid)).chain(absent).copied().collect()
}

/// Writes the data directory: its files, and once the server has ended the copy, `backup_label` and the other
/// final members.
fn base(
    tree: &mut Tree,
    root: &Path,
    all_read: oneshot::Sender<()>,
    told: &Receiver<BackupStopped>,
    out: &mut Chunks,
) -> Result<(), CopyDirectoryFault> {
    tree.data_directory(root, out)?;
    // After all others, and before the copy is ended: on a standby it determines from which position on they
    // are consistent.
    let control = tar_directory::control(root)?;
    let _listened = all_read.send(());
    let ended = told.recv().map_err(|_| "the copy was not ended on the server")?;
    #[expect(clippy::disallowed_methods, reason = "when files were written that only the archive has")]
    let now = Utc::now();
    tree.bytes("backup_label", ended.label.as_bytes(), now, out)?;
    if !ended.map.is_empty() {
        tree.bytes("tablespace_map", ended.map.as_bytes(), now, out)?;
    }
    tree.bytes("global/pg_control", &control, now, out)?;
    let list = std::mem::replace(&mut tree.list, FileList::begin(0, "").map_err(TreeError::List)?);
    let (size, mut text) = list.finish(ended.range).map_err(TreeError::List)?;
    tar_directory::member("backup_manifest", size, now, out)?;
    let mut buffer = vec![0; 64 << 10];
    let mut left = size;
    while left > 0 {
        let count = text.read(&mut buffer).map_err(TreeError::List)?;
        if count == 0 {
            return Err("the list of files was cut".into());
        }
        out.write(&buffer[..count])?;
        left = left.saturating_sub(count as u64);
    }
    out.zeros(size.next_multiple_of(512) - size)?;
    Ok(end_archive(out)?)
}

fn end_archive(out: &mut Chunks) -> std::io::Result<()> {
    out.zeros(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tablespace_that_the_server_names_and_nobody_copied_is_missed() {
        let space = |oid| Tablespace { oid, location: "/disk".to_owned() };
        assert_eq!(not_copied(&[1, 2], &[space(1), space(2), space(3)], &[]), [0; 0]);
        assert_eq!(not_copied(&[1, 2], &[space(1)], &[]), [2]);
        assert_eq!(not_copied(&[1, 2], &[space(1), space(2)], &[1]), [1]);
    }
}
