use std::io::{self, Read};
use std::sync::Arc;

use super::ObjectTarget;
use super::select::{Selection, Wanted, drain};
use crate::model::Hasher;
use crate::restore::content::fetch::{ArtifactFetch, ConsumeError};
use crate::restore::content::{ContentRestoreError, ContentRestorePlan};
use crate::source::bucket::ObjectRecord;

/// Archives whose entries are known at a time: of each up to ten thousand.
const AT_ONCE: usize = 16;

/// What was restored.
#[derive(Debug, Default)]
pub(super) struct Placed {
    pub(super) objects: u64,
    pub(super) bytes: u64,
    /// Keys that the target could not take after all.
    pub(super) unfit: Vec<String>,
}

/// Reads the archives, one after the other, and passes what is wanted of each to the target.
pub(super) async fn apply<T: ObjectTarget>(
    fetch: &ArtifactFetch<'_>,
    plan: &ContentRestorePlan,
    selection: &mut Selection,
    target: &Arc<T>,
) -> Result<Placed, ContentRestoreError> {
    let mut all = Placed::default();
    for archives in std::mem::take(&mut selection.archives).chunks(AT_ONCE) {
        let wanted = selection.of(archives).map_err(|source| ContentRestoreError::Write {
            path: crate::platform::scratch_directory(),
            source,
        })?;
        for ((backup, name), wanted) in wanted {
            let missing = || ContentRestoreError::NoArtifact { artifact: format!("{name} of {backup}") };
            let link = plan.chain.iter().find(|link| link.manifest.id == backup).ok_or_else(missing)?;
            let artifact = link.manifest.artifact_of(&name).ok_or_else(missing)?;
            let target = Arc::clone(target);
            let expected = wanted.len() as u64;
            let placed = fetch.consume(link, artifact, move |plain| place(plain, &wanted, &*target)).await?;
            if placed.objects + placed.unfit.len() as u64 != expected {
                return Err(ContentRestoreError::Details {
                    artifact: artifact.name.clone(),
                    reason: format!(
                        "has {} of the {expected} objects that the inventory says",
                        placed.objects
                    ),
                });
            }
            all.objects += placed.objects;
            all.bytes += placed.bytes;
            all.unfit.extend(placed.unfit);
        }
    }
    Ok(all)
}

/// Passes the entries of an archive on. What is read is verified at its end only: until then the target is not complete.
fn place(plain: &mut dyn Read, wanted: &Wanted, target: &dyn ObjectTarget) -> Result<Placed, ConsumeError> {
    let mut placed = Placed::default();
    let mut sink = target.begin();
    let mut archive = tar::Archive::new(plain);
    for entry in archive.entries().map_err(ConsumeError::Read)? {
        let mut entry = entry.map_err(ConsumeError::Read)?;
        let path = entry.path().map_err(ConsumeError::Read)?.to_string_lossy().into_owned();
        let Some(record) = wanted.get(&path) else { continue };
        let mut bytes = Hashed { entry: &mut entry, hasher: Hasher::default(), failed: None };
        let one = sink.take(record, &mut bytes);
        if let Some(error) = bytes.failed {
            return Err(ConsumeError::Read(error));
        }
        let one = one?;
        if one.unfit.is_empty() {
            verify(record, bytes.hasher)?;
        }
        placed.objects += one.objects;
        placed.bytes += one.bytes;
        placed.unfit.extend(one.unfit);
    }
    drain(archive.into_inner())?;
    sink.end()?;
    Ok(placed)
}

/// Compares an object with what was recorded when it was read.
fn verify(record: &ObjectRecord, hasher: Hasher) -> Result<(), ConsumeError> {
    let read = hasher.digest();
    if read.size == record.object.size && record.sha256.is_none_or(|sha256| sha256 == read.sha256) {
        return Ok(());
    }
    Err(ConsumeError::Target(ContentRestoreError::Details {
        artifact: "inventory".to_owned(),
        reason: "says another digest of an object than its archive has".to_owned(),
    }))
}

/// An entry as it is read, and why it could not be.
struct Hashed<'a, R> {
    entry: &'a mut R,
    hasher: Hasher,
    failed: Option<io::Error>,
}

impl<R: Read> Read for Hashed<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.entry.read(buffer) {
            Ok(count) => {
                self.hasher.update(&buffer[..count]);
                Ok(count)
            }
            Err(error) => {
                let kind = error.kind();
                self.failed = Some(error);
                Err(kind.into())
            }
        }
    }
}
