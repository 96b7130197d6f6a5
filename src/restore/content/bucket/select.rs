use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read};

use super::ObjectTarget;
use crate::model::BackupId;
use crate::platform::scratch_directory;
use crate::restore::content::fetch::{ArtifactFetch, ConsumeError};
use crate::restore::content::{ContentRestoreError, ContentRestorePlan};
use crate::source::bucket::{INVENTORY, InventoryHeader, LeftOut, ObjectRecord, Spool};

/// How many keys that do not fit are kept, to be named.
const KEPT: usize = 20;

/// What is restored, in the order of keys.
pub(super) struct Selection {
    pub(super) records: Spool<ObjectRecord>,
    /// The archives that hold it.
    pub(super) archives: Vec<(BackupId, String)>,
    /// How many the target cannot have, and the first of them.
    pub(super) unfit: u64,
    pub(super) unfit_keys: Vec<String>,
    /// Objects whose bytes are not in the backup.
    pub(super) left_out: BTreeMap<LeftOut, u64>,
    pub(super) tagged: u64,
}

/// Reads the inventory of the plan's backup.
pub(super) async fn select(
    fetch: &ArtifactFetch<'_>,
    plan: &ContentRestorePlan,
    target: &dyn ObjectTarget,
) -> Result<Selection, ContentRestoreError> {
    let missing = || ContentRestoreError::NoArtifact { artifact: INVENTORY.to_owned() };
    let link = plan.chain.last().ok_or_else(missing)?;
    let artifact = link.manifest.artifact_of(INVENTORY).ok_or_else(missing)?;
    let directory = scratch_directory();
    let written = |source| ContentRestoreError::Write { path: directory.clone(), source };
    let folder = directory.clone();
    let lines = fetch.consume(link, artifact, move |plain| {
        let failed =
            |source| ConsumeError::Target(ContentRestoreError::Write { path: folder.clone(), source });
        let mut file = tempfile::tempfile_in(&folder).map_err(failed)?;
        super::super::target::copy(plain, &mut file, &folder)?;
        std::io::Seek::rewind(&mut file).map_err(failed)?;
        Ok(file)
    });
    let mut lines = BufReader::new(lines.await?);
    let unreadable =
        |reason: String| ContentRestoreError::Details { artifact: artifact.name.clone(), reason };
    let mut line = String::new();
    let mut next = |line: &mut String| {
        line.clear();
        lines.read_line(line).map_err(|error| unreadable(error.to_string()))
    };
    next(&mut line)?;
    let header: InventoryHeader =
        serde_json::from_str(&line).map_err(|error| unreadable(error.to_string()))?;
    if header.format != InventoryHeader::FORMAT {
        return Err(unreadable(format!(
            "has the format `{}`, which this version does not know",
            header.format
        )));
    }
    let paths: Vec<String> =
        plan.request.target.paths.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    let mut selection = Selection {
        records: Spool::new(&directory).map_err(written)?,
        archives: vec![],
        unfit: 0,
        unfit_keys: vec![],
        left_out: BTreeMap::new(),
        tagged: 0,
    };
    let mut archives = BTreeMap::new();
    let mut found = vec![false; paths.len()];
    while next(&mut line)? > 0 {
        let record: ObjectRecord =
            serde_json::from_str(&line).map_err(|error| unreadable(error.to_string()))?;
        let matched = paths.iter().position(|path| is_at(path, &record.object.key));
        if !paths.is_empty() && matched.is_none() {
            continue;
        }
        if let Some(why) = record.left_out {
            *selection.left_out.entry(why).or_default() += 1;
            continue;
        }
        matched.into_iter().for_each(|at| found[at] = true);
        let stored =
            record.stored.clone().ok_or_else(|| unreadable("has an object that is nowhere".to_owned()))?;
        if !target.takes(&record.object.key) {
            selection.unfit += 1;
            if selection.unfit_keys.len() < KEPT {
                selection.unfit_keys.push(record.object.key);
            }
            continue;
        }
        selection.tagged += u64::from(record.tags);
        archives.insert((stored.backup, stored.archive), ());
        selection.records.push(&record).map_err(written)?;
    }
    if let Some(at) = found.iter().position(|found| !found) {
        return Err(ContentRestoreError::Target(format!(
            "the backup has no object `{}`, and none below it",
            paths[at]
        )));
    }
    selection.archives = archives.into_keys().collect();
    Ok(selection)
}

/// Returns whether a key is this one, or below it.
fn is_at(path: &str, key: &str) -> bool {
    key.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || path.ends_with('/'))
}

/// Returns what of an archive is restored, by its entries.
pub(super) type Wanted = BTreeMap<String, ObjectRecord>;

impl Selection {
    /// Returns what is restored of these archives.
    pub(super) fn of(
        &mut self,
        archives: &[(BackupId, String)],
    ) -> std::io::Result<BTreeMap<(BackupId, String), Wanted>> {
        let mut wanted: BTreeMap<(BackupId, String), Wanted> =
            archives.iter().map(|archive| (archive.clone(), Wanted::new())).collect();
        for record in self.records.read()? {
            let record = record?;
            let Some(stored) = record.stored.clone() else { continue };
            if let Some(of_it) = wanted.get_mut(&(stored.backup, stored.archive)) {
                of_it.insert(stored.entry, record);
            }
        }
        Ok(wanted)
    }
}

/// Reads to the end what a consumer left.
pub(super) fn drain(plain: &mut dyn Read) -> Result<(), ConsumeError> {
    std::io::copy(plain, &mut std::io::sink()).map(drop).map_err(ConsumeError::Read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_key_or_what_is_below_it() {
        for (path, key, is) in [
            ("a/b", "a/b", true),
            ("a/b", "a/b/c", true),
            ("a/b", "a/bc", false),
            ("a/", "a/b", true),
            ("a", "b/a", false),
        ] {
            assert_eq!(is_at(path, key), is, "{path} {key}");
        }
    }
}
