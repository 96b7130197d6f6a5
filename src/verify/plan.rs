//! What is verified. Pure.

use super::finding::{CopyVerdict, VerifyFinding};
use super::wal;
use super::wal::WalItem;
use crate::catalog::{BackupEntry, CopyEntry};
use crate::model::{BackupId, BackupKind, BrokenChain, Manifest, RepositoryName, SourceName, chain, parent};
use crate::recoverability::missing_copies::MissingCopy;
use crate::repository::{ManifestError, RejectedManifest};
use crate::text::error_chain;

/// Which backups are asked for.
#[derive(Clone, Debug, Default)]
pub struct VerifyScope {
    /// Ids or prefixes; none: all that the others leave.
    pub prefixes: Vec<String>,
    pub source: Option<SourceName>,
    /// The newest of each source and kind only.
    pub latest: bool,
    /// In this repository only.
    pub only: Option<RepositoryName>,
}

impl VerifyScope {
    /// Returns what is to be said of manifests that the catalog did not take: no entry has them. With `latest`, all of
    /// them: one that cannot be read may be the newest.
    pub fn rejected<'r>(&self, rejected: impl Iterator<Item = &'r RejectedManifest>) -> Vec<VerifyFinding> {
        let is_asked = |rejected: &&RejectedManifest| {
            let has_prefix = |prefix: &String| rejected.backup.as_str().starts_with(prefix.as_str());
            self.only.as_ref().is_none_or(|only| *only == rejected.repository)
                && self.source.as_ref().is_none_or(|source| source == rejected.backup.source())
                && (self.prefixes.is_empty() || self.prefixes.iter().any(has_prefix))
        };
        rejected.filter(is_asked).map(unaccepted).collect()
    }

    /// Returns what is to be said of copies that are not where they should be. `chosen`: the backups that are asked for.
    pub fn missing(&self, missing: &[MissingCopy], chosen: &[&BackupEntry]) -> Vec<VerifyFinding> {
        let is_asked = |missing: &&MissingCopy| {
            let has_prefix = |prefix: &String| missing.backup.as_str().starts_with(prefix.as_str());
            let is_older = |entry: &&&BackupEntry| {
                entry.manifest.source == *missing.backup.source()
                    && entry.manifest.kind == missing.backup.kind()
                    && *entry.id() > missing.backup
            };
            self.only.as_ref().is_none_or(|only| *only == missing.repository)
                && self.source.as_ref().is_none_or(|source| source == missing.backup.source())
                && (self.prefixes.is_empty() || self.prefixes.iter().any(has_prefix))
                && !(self.latest && chosen.iter().any(|entry| is_older(&entry)))
        };
        let finding = |missing: &MissingCopy| VerifyFinding {
            backup: missing.backup.clone(),
            repository: missing.repository.clone(),
            verdict: CopyVerdict::Missing { reason: missing.to_string() },
            broken: None,
            not_opened: false,
        };
        missing.iter().filter(is_asked).map(finding).collect()
    }

    /// Returns those of all backups that are asked for, the newest first as they come.
    pub fn select<'e>(&self, all: &'e [BackupEntry]) -> Vec<&'e BackupEntry> {
        let mut seen: Vec<(&SourceName, BackupKind)> = Vec::new();
        let mut selected = Vec::new();
        for entry in all {
            let of_kind = (&entry.manifest.source, entry.manifest.kind);
            let is_older = self.latest && seen.contains(&of_kind);
            seen.push(of_kind);
            if !is_older && self.source.as_ref().is_none_or(|source| *source == entry.manifest.source) {
                selected.push(entry);
            }
        }
        selected
    }
}

/// One backup in one repository, to be read.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifyItem {
    pub repository: RepositoryName,
    pub manifest: Manifest,
    /// Why it could not be restored from there, whatever its own bytes are.
    pub broken: Option<BrokenChain>,
}

/// What is to be read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VerifyPlan {
    /// What is known to be wrong without reading it.
    pub found: Vec<VerifyFinding>,
    pub copies: Vec<VerifyItem>,
    pub logs: Vec<WalItem>,
    /// Backups that AWS keeps.
    pub cloud: Vec<Manifest>,
}

impl VerifyPlan {
    pub fn is_empty(&self) -> bool {
        self.found.is_empty() && self.copies.is_empty() && self.logs.is_empty()
    }
}

/// Plans every copy of these backups, in their order, then of those that they build on; and the WAL that base backups
/// among them are recovered with. `only`: in this repository. `all`: everything there is.
pub fn plan(
    entries: &[&BackupEntry],
    all: &[BackupEntry],
    found: Vec<VerifyFinding>,
    only: Option<&RepositoryName>,
) -> VerifyPlan {
    let mut copies = Vec::new();
    for entry in with_chains(entries, all) {
        for copy in entry.copies.iter().filter(|copy| copy.is_held()) {
            if only.is_none_or(|only| *only == copy.repository) {
                let held = |id: &BackupId| {
                    let entry = all.iter().find(|entry| entry.id() == id)?;
                    entry.copy(&copy.repository).is_some_and(CopyEntry::is_held).then_some(&entry.manifest)
                };
                copies.push(VerifyItem {
                    repository: copy.repository.clone(),
                    manifest: entry.manifest.clone(),
                    broken: chain(&entry.manifest, held).err(),
                });
            }
        }
    }
    let cloud = entries.iter().map(|entry| &entry.manifest).filter(|manifest| manifest.managed.is_some());
    VerifyPlan { found, copies, logs: wal::plan(entries, only), cloud: cloud.cloned().collect() }
}

/// With those that they build on: without them they are worth nothing.
fn with_chains<'e>(chosen: &[&'e BackupEntry], all: &'e [BackupEntry]) -> Vec<&'e BackupEntry> {
    let mut entries: Vec<&BackupEntry> = chosen.to_vec();
    let mut at = 0;
    while let Some(entry) = entries.get(at) {
        let parent = parent(&entry.manifest).and_then(|id| all.iter().find(|entry| entry.id() == id));
        if let Some(parent) = parent.filter(|parent| entries.iter().all(|known| known.id() != parent.id())) {
            entries.push(parent);
        }
        at += 1;
    }
    entries
}

/// One of a format that this version does not know says nothing about the backup.
fn unaccepted(refused: &RejectedManifest) -> VerifyFinding {
    let reason = error_chain(&refused.error);
    let verdict = match &refused.error {
        ManifestError::Format { .. } => CopyVerdict::Undetermined { reasons: vec![reason] },
        _ => CopyVerdict::Unaccepted { reason },
    };
    let (backup, repository) = (refused.backup.clone(), refused.repository.clone());
    VerifyFinding { backup, repository, verdict, broken: None, not_opened: false }
}
