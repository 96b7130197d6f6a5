//! What to verify. Pure.

use super::finding::{CopyVerdict, VerifyFinding};
use super::wal;
use super::wal::WalItem;
use crate::catalog::{BackupEntry, CopyEntry};
use crate::model::{BackupId, BackupKind, BrokenChain, Manifest, RepositoryName, SourceName, chain, parent};
use crate::recoverability::missing_copies::MissingCopy;
use crate::repository::{ManifestError, RejectedManifest};
use crate::text::error_chain;

/// The requested backups.
#[derive(Clone, Debug, Default)]
pub struct VerifyScope {
    /// Ids or prefixes; empty: all that match the other fields.
    pub prefixes: Vec<String>,
    pub source: Option<SourceName>,
    /// The newest of each source and kind only.
    pub latest: bool,
    /// In this repository only.
    pub only: Option<RepositoryName>,
}

impl VerifyScope {
    /// Returns findings for manifests that the catalog rejected: no entry has them. With `latest`, for all of
    /// them: an unreadable one may be the newest.
    pub fn rejected<'r>(&self, rejected: impl Iterator<Item = &'r RejectedManifest>) -> Vec<VerifyFinding> {
        let is_asked = |rejected: &&RejectedManifest| {
            let has_prefix = |prefix: &String| rejected.backup.as_str().starts_with(prefix.as_str());
            self.only.as_ref().is_none_or(|only| *only == rejected.repository)
                && self.source.as_ref().is_none_or(|source| source == rejected.backup.source())
                && (self.prefixes.is_empty() || self.prefixes.iter().any(has_prefix))
        };
        rejected.filter(is_asked).map(unaccepted).collect()
    }

    /// Returns findings for missing copies. `chosen`: the requested backups.
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

    /// Returns the requested ones of all backups, in their order, newest first.
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

/// A backup in one repository, to be read.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifyItem {
    pub repository: RepositoryName,
    pub manifest: Manifest,
    /// Why it could not be restored from there, regardless of its own bytes.
    pub broken: Option<BrokenChain>,
}

/// Everything to verify.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VerifyPlan {
    /// Findings that need no reading.
    pub found: Vec<VerifyFinding>,
    pub copies: Vec<VerifyItem>,
    pub logs: Vec<WalItem>,
    /// AWS-managed backups.
    pub cloud: Vec<Manifest>,
}

impl VerifyPlan {
    pub fn is_empty(&self) -> bool {
        self.found.is_empty() && self.copies.is_empty() && self.logs.is_empty()
    }
}

/// Plans every copy of these backups, in their order, then of their parents; and the WAL with which the base
/// backups among them are recovered. `only`: in this repository. `all`: all existing backups.
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

/// Adds their parents, without which they cannot be restored.
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

/// A manifest of an unknown format is no evidence about the backup.
fn unaccepted(refused: &RejectedManifest) -> VerifyFinding {
    let reason = error_chain(&refused.error);
    let verdict = match &refused.error {
        ManifestError::Format { .. } => CopyVerdict::Undetermined { reasons: vec![reason] },
        _ => CopyVerdict::Unaccepted { reason },
    };
    let (backup, repository) = (refused.backup.clone(), refused.repository.clone());
    VerifyFinding { backup, repository, verdict, broken: None, not_opened: false }
}
