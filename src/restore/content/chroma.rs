//! A directory of ChromaDB: a new one, which has its name when its database and its indexes were checked.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Component, Path};

use async_trait::async_trait;

use super::fetch::{ArtifactFetch, ConsumeError};
use super::method::{ContentMethod, RestoredContent, TargetSurvey};
use super::new_directory::{NewDirectory, remove_directory};
use super::sqlite::{checked, compare};
use super::survey::ChainLink;
use super::target::{NewFile, copy, new_path};
use super::{ContentRestoreError, ContentRestorePlan, ContentRestoreRequest};
use crate::checks::CheckResult;
use crate::model::{Cause, ChromaCollection, ChromaFacts};
use crate::restore::CreatedObject;
use crate::run::RunContext;
use crate::source::{CHROMA_DATABASE, CHROMA_SEGMENTS, chroma_collections};
use crate::sqlite::open_copy;
use crate::text::{count, error_chain};

/// What an index cannot be opened without, where it is there.
const PICKLE: &str = "index_metadata.pickle";

/// A directory of ChromaDB.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChromaDirectory;

#[async_trait(?Send)]
impl ContentMethod for ChromaDirectory {
    async fn survey(
        &self,
        _run: &RunContext,
        request: &ContentRestoreRequest,
        chain: &[ChainLink],
    ) -> Result<TargetSurvey, ContentRestoreError> {
        let bytes = chain.iter().map(|link| link.manifest.plain_size()).sum();
        let (path, refusals) = new_path(Path::new(&request.target.to), bytes);
        let notes = vec![
            "only the user who restores it may enter the directory: `chown -R` it to the application's user"
                .to_owned(),
        ];
        Ok(TargetSurvey { to: path.display().to_string(), refusals, notes })
    }

    async fn restore(
        &self,
        fetch: &ArtifactFetch<'_>,
        plan: &ContentRestorePlan,
        created: &mut Vec<CreatedObject>,
    ) -> Result<RestoredContent, ContentRestoreError> {
        let none = |name: &str| ContentRestoreError::NoArtifact { artifact: name.to_owned() };
        let link = plan.chain.last().ok_or_else(|| none(CHROMA_DATABASE))?;
        let artifact = |name: &str| link.manifest.artifact_of(name).ok_or_else(|| none(name));
        let directory = NewDirectory::create(Path::new(&plan.to))?;
        let into = directory.part().to_owned();
        fetch.consume(link, artifact(CHROMA_SEGMENTS)?, move |plain| extract(plain, &into)).await?;
        let database = directory.part().join(CHROMA_DATABASE);
        let file = NewFile::create(&database)?;
        let writer = file.writer()?;
        fetch.consume(link, artifact(CHROMA_DATABASE)?, move |plain| writer.write(plain)).await?;
        file.publish()?;
        let inspection = checked(&database, &fetch.run.cancel).await?;
        let collections = read_collections(&database)?;
        let recorded = link.details.chroma.as_ref();
        let mut checks = compare(recorded.map(|facts| &facts.database), &inspection.facts);
        checks.push(compare_collections(recorded, &collections));
        checks.push(check_indexes(directory.part(), recorded, &collections));
        created.push(directory.publish(&fetch.run.id)?);
        let embeddings = collections.iter().map(|collection| collection.embeddings).sum();
        let counts = vec![count(collections.len() as u64, "collection"), count(embeddings, "embedding")];
        Ok(RestoredContent { counts, checks, notes: inspection.notices, ..RestoredContent::default() })
    }

    async fn remove(&self, run: &RunContext, object: &CreatedObject) -> Result<(), String> {
        remove_directory(object, &run.id)
    }
}

fn read_collections(database: &Path) -> Result<Vec<ChromaCollection>, ContentRestoreError> {
    let damaged =
        |error: &(dyn std::error::Error + 'static)| ContentRestoreError::Damaged { what: error_chain(error) };
    let connection = open_copy(database).map_err(|error| damaged(&error))?;
    chroma_collections(&connection).map_err(|error| damaged(&error))
}

/// Writes the entries of an archive into a directory, whatever it held before. Only files and directories below it are
/// accepted.
fn extract(plain: &mut dyn Read, into: &Path) -> Result<(), ConsumeError> {
    clear(into).map_err(|source| write(into, source))?;
    let mut archive = tar::Archive::new(&mut *plain);
    for entry in archive.entries().map_err(ConsumeError::Read)? {
        let mut entry = entry.map_err(ConsumeError::Read)?;
        let name = entry.path().map_err(ConsumeError::Read)?.into_owned();
        let is_below = !name.as_os_str().is_empty()
            && name.components().all(|part| matches!(part, Component::Normal(_)))
            && !name.to_string_lossy().starts_with(CHROMA_DATABASE);
        let kind = entry.header().entry_type();
        if !is_below || !(kind.is_dir() || kind.is_file()) {
            return Err(ConsumeError::Target(ContentRestoreError::Damaged {
                what: format!("`{CHROMA_SEGMENTS}` has an entry that is no file or directory below it"),
            }));
        }
        let path = into.join(&name);
        let builder = || {
            let mut builder = DirBuilder::new();
            builder.mode(0o700).recursive(true);
            builder
        };
        if kind.is_dir() {
            builder().create(&path).map_err(|source| write(&path, source))?;
            continue;
        }
        if let Some(parent) = path.parent() {
            builder().create(parent).map_err(|source| write(parent, source))?;
        }
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let mut file = opened.map_err(|source| write(&path, source))?;
        copy(&mut entry, &mut file, &path)?;
        file.sync_all().map_err(|source| write(&path, source))?;
    }
    // The digest is known at the end of the stream, not of the archive.
    io::copy(plain, &mut io::sink()).map_err(ConsumeError::Read)?;
    Ok(())
}

fn write(path: &Path, source: io::Error) -> ConsumeError {
    ConsumeError::Target(ContentRestoreError::Write { path: path.to_owned(), source })
}

fn clear(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(entry.path())?,
            false => fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}

fn compare_collections(recorded: Option<&ChromaFacts>, found: &[ChromaCollection]) -> CheckResult {
    const COLLECTIONS: &str = "collections";
    let Some(recorded) = recorded else {
        let reason = "the backup does not say how many embeddings each collection had";
        return CheckResult::undetermined(COLLECTIONS, Cause::Backup, "not-recorded", reason);
    };
    let differ: Vec<_> = recorded.collections.iter().filter(|one| !found.contains(one)).collect();
    match &differ[..] {
        [] if recorded.collections.len() == found.len() => {
            CheckResult::passed(COLLECTIONS, count(found.len() as u64, "collection"))
        }
        [] => CheckResult::failed(
            COLLECTIONS,
            Cause::Backup,
            "other-counts",
            "there are more collections than were recorded",
        ),
        [first, ..] => CheckResult::failed(
            COLLECTIONS,
            Cause::Backup,
            "other-counts",
            format!(
                "collection `{}` is not there with its {}",
                first.name,
                count(first.embeddings, "embedding")
            ),
        ),
    }
}

/// Every index that the database takes for written is there, with all of its files.
fn check_indexes(
    directory: &Path,
    recorded: Option<&ChromaFacts>,
    collections: &[ChromaCollection],
) -> CheckResult {
    const INDEXES: &str = "vector indexes";
    let files = recorded.map(|facts| facts.files.as_slice()).unwrap_or_default();
    let size = |path: &Path| fs::metadata(path).map(|metadata| metadata.len()).ok();
    let missing = files.iter().find(|file| size(&directory.join(&file.path)) != Some(file.size));
    let failed = |message: String| CheckResult::failed(INDEXES, Cause::Backup, "incomplete-index", message);
    if let Some(file) = missing {
        return failed(format!("`{}` is not there with its {} bytes", file.path, file.size));
    }
    let mut written = 0;
    for collection in collections.iter().filter(|collection| collection.max_seq_id.is_some()) {
        let Some(segment) = &collection.segment else { continue };
        let index = directory.join(segment);
        if !index.is_dir() {
            return failed(format!(
                "the index of collection `{}` is not there: its vectors are lost",
                collection.name
            ));
        }
        if size(&index.join(PICKLE)) == Some(0) {
            return failed(format!(
                "`{PICKLE}` of collection `{}` is empty: its index cannot be opened",
                collection.name
            ));
        }
        written += 1;
    }
    CheckResult::passed(INDEXES, format!("of {}", count(written, "collection")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ChromaFile;

    fn archive(entries: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, kind, text) in entries {
            let mut header = tar::Header::new_gnu();
            // As a hostile archive has it: the library would refuse such names.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(text.len() as u64);
            header.set_mode(0o777);
            header.set_cksum();
            builder.append(&header, text.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn an_archive_writes_nothing_outside_and_no_links() {
        use tar::EntryType::{Directory, Link, Regular, Symlink};
        let root = tempfile::tempdir().unwrap();
        let into = root.path().join("into");
        fs::create_dir(&into).unwrap();
        for (name, kind) in [
            ("../out", Regular),
            ("/tmp/drctl-out", Regular),
            ("a/../../out", Regular),
            ("link", Symlink),
            ("hard", Link),
            ("chroma.sqlite3", Regular),
            ("chroma.sqlite3-wal", Regular),
        ] {
            let bytes = archive(&[(name, kind, "")]);
            let refused = extract(&mut &bytes[..], &into);
            assert!(matches!(refused, Err(ConsumeError::Target(_))), "{name}");
        }
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
        let good = archive(&[("a", Directory, ""), ("a/header.bin", Regular, "abc")]);
        for _ in 0..2 {
            extract(&mut &good[..], &into).map_err(|error| format!("{error:?}")).unwrap();
            assert_eq!(fs::read(into.join("a/header.bin")).unwrap(), b"abc");
        }
    }

    #[test]
    fn an_index_that_lacks_a_file_or_is_empty_fails() {
        let folder = tempfile::tempdir().unwrap();
        let collection = ChromaCollection {
            name: "docs".to_owned(),
            embeddings: 3,
            segment: Some("s".to_owned()),
            max_seq_id: Some("3".to_owned()),
        };
        let all = [collection.clone()];
        let file = ChromaFile { path: "s/header.bin".to_owned(), size: 2 };
        let facts = ChromaFacts { collections: all.to_vec(), files: vec![file], ..ChromaFacts::default() };
        let passes = |facts| check_indexes(folder.path(), facts, &all).has_passed();
        assert!(!passes(None), "the index is not there");
        fs::create_dir(folder.path().join("s")).unwrap();
        assert!(passes(None) && !passes(Some(&facts)));
        fs::write(folder.path().join("s/header.bin"), "ab").unwrap();
        assert!(passes(Some(&facts)));
        fs::write(folder.path().join("s/index_metadata.pickle"), "").unwrap();
        assert!(!passes(Some(&facts)));
        assert!(compare_collections(Some(&facts), &all).has_passed());
        let fewer = [ChromaCollection { embeddings: 2, ..collection }];
        assert!(!compare_collections(Some(&facts), &fewer).has_passed());
    }
}
