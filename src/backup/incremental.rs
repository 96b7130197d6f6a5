use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use futures_util::future::join_all;
use thiserror::Error;

use super::run::Run;
use crate::catalog::{CopyEntry, Filter};
use crate::model::{BackupId, BackupKind, Manifest, RepositoryName, SourceName, chain, parent};
use crate::platform::state_directory;
use crate::policy::Source;
use crate::recoverability::evidence::Evidence;
use crate::recoverability::survey::settle;
use crate::repository::{BackupRecord, Listing, RejectedManifest, Repository};
use crate::source::incremental::{
    self, BasePlan, Candidate, Candidates, ContentIncrements, Extent, FullBackupReason,
};
use crate::source::postgres_base::{BaseError, is_kept, publish};
use crate::source::{Capture, SourceError};
use crate::text::error_chain;
use crate::wal::{Archive, Provenance};

const LIST: &str = "backup_manifest";
const STATE: &str = "state";

/// Why there is no increment, where nothing else was requested.
#[derive(Debug, Error)]
#[error("an incremental backup of `{source_name}` cannot be taken: {why}")]
struct NoIncrement {
    source_name: SourceName,
    why: FullBackupReason,
}

/// A backup, and the reason against using it as a parent.
struct AncestorCandidates {
    manifest: Manifest,
    against: Option<String>,
}

/// The plan of a base backup.
#[derive(Debug, Default)]
pub(super) struct PlannedBase {
    pub(super) plan: BasePlan,
    /// The manifests of its possible parents.
    lists: Vec<PathBuf>,
}

impl Run<'_> {
    /// Decides whether a backup is full. Its parent has to be in every repository that this run writes
    /// to.
    pub(super) async fn plan_base(
        &self,
        source: &Source,
        prepared: &dyn Capture,
        backup: &BackupId,
    ) -> Result<PlannedBase, SourceError> {
        let requirements = prepared.requirements();
        if let Some(content) = requirements.content {
            return self.plan_content(source, prepared, content, backup).await;
        }
        let Some(support) = &requirements.incremental else { return Ok(PlannedBase::default()) };
        let most = source.base().map_or(0, |base| base.incrementals);
        let folder = self.lists(&source.name, BackupKind::Base);
        let backups = match self.extent {
            Extent::AsDue | Extent::Incremental if most > 0 => {
                let found = self.newest(&source.name, BackupKind::Base).await;
                join_all(found.iter().map(|base| candidate(base, &found, &folder))).await
            }
            _ => vec![],
        };
        let lists = backups.iter().map(|candidate| candidate.list.clone()).collect();
        let scope = incremental::decide(self.extent, &Candidates { most, backups }, support);
        let scope = scope.map_err(|why| {
            SourceError::new(BaseError::NoIncremental { server: support.name.clone(), why })
        })?;
        // The manifest of a full one is cached, too: it may be the parent of the next one.
        let keep = (most > 0).then(|| list_of(&folder, backup, LIST));
        let plan = BasePlan { scope, is_strict: self.extent == Extent::Incremental, keep };
        Ok(PlannedBase { plan, lists })
    }

    /// Decides the same for content, by what this host keeps of the earlier backups.
    async fn plan_content(
        &self,
        source: &Source,
        prepared: &dyn Capture,
        ContentIncrements { most }: ContentIncrements,
        backup: &BackupId,
    ) -> Result<PlannedBase, SourceError> {
        let folder = self.lists(&source.name, backup.kind());
        let mut backups = vec![];
        if most > 0 && self.extent != Extent::Full {
            let found = self.newest(&source.name, backup.kind()).await;
            for candidate in &found {
                let id = &candidate.manifest.id;
                let list = list_of(&folder, id, STATE);
                let chain = match whole(candidate, &found) {
                    Ok(_) if !list.exists() => {
                        Err(format!("this host does not keep its state (`{}`)", list.display()))
                    }
                    Ok(chain) => prepared.inspect_state(&list, id).map(|()| chain),
                    Err(why) => Err(why),
                };
                backups.push(Candidate { manifest: candidate.manifest.clone(), chain, list });
            }
        }
        let lists = backups.iter().map(|candidate| candidate.list.clone()).collect();
        let scope = incremental::decide_content(self.extent, &Candidates { most, backups });
        let scope =
            scope.map_err(|why| SourceError::new(NoIncrement { source_name: source.name.clone(), why }))?;
        let keep = (most > 0).then(|| list_of(&folder, backup, STATE));
        let plan = BasePlan { scope, is_strict: self.extent == Extent::Incremental, keep };
        Ok(PlannedBase { plan, lists })
    }

    /// Returns the backups of a kind from the newest one back to the newest full one.
    async fn newest(&self, source: &SourceName, kind: BackupKind) -> Vec<AncestorCandidates> {
        let listing = Listing::of_source(&self.repositories, &self.policy.system, source).await;
        for lost in &listing.unlisted {
            // Then it is unknown whether it has any of them.
            self.events.warning(format!(
                "repository {} did not say which backups it has: {}",
                lost.name,
                lost.reason()
            ));
        }
        let bad = self.known_to_be_bad(source).await;
        let mut found: Vec<AncestorCandidates> = Vec::new();
        for (id, holders) in listing.holders().iter().rev().filter(|(id, _)| id.kind() == kind) {
            let (record, rejected) = BackupRecord::read(holders, &self.policy.system, id).await;
            let Some(record) = record else { continue };
            let against = match self.against(&record, &rejected, &bad) {
                None => self.is_of_other_history(&record.manifest).await,
                against => against,
            };
            let is_full = parent(&record.manifest).is_none();
            found.push(AncestorCandidates { manifest: record.manifest, against });
            if is_full {
                break;
            }
        }
        found
    }

    /// Returns why the first repository without exactly this backup, intact, prevents its use as a parent.
    fn against(
        &self,
        record: &BackupRecord,
        rejected: &[RejectedManifest],
        bad: &BTreeSet<(BackupId, RepositoryName)>,
    ) -> Option<String> {
        self.repositories.iter().find_map(|Repository { name, .. }| {
            if let Some(rejected) = rejected.iter().find(|rejected| rejected.repository == *name) {
                return Some(format!("its manifest in `{name}`: {}", error_chain(&rejected.error)));
            }
            if !record.is_held_by(name) {
                return Some(format!("`{name}` does not have it (`drctl copies sync`)"));
            }
            let is_bad = bad.contains(&(record.id().clone(), name.clone()));
            is_bad.then(|| format!("the last check found it bad in `{name}`"))
        })
    }

    /// Returns in which repository the archived WAL is of another server than the one that it was taken from.
    async fn is_of_other_history(&self, manifest: &Manifest) -> Option<String> {
        let (archive, physical) = (Archive::from_manifest(manifest)?, manifest.physical.as_ref()?);
        for repository in self.repositories.iter() {
            let mut evidence = Evidence::default();
            let judged =
                settle(repository, &mut evidence, |known| known.provenance(&archive, physical)).await;
            if let Ok(Provenance::Other(other)) = judged {
                return Some(format!("in `{}`, {other}", repository.name));
            }
        }
        None
    }

    async fn known_to_be_bad(&self, source: &SourceName) -> BTreeSet<(BackupId, RepositoryName)> {
        let Some(catalog) = &self.catalog else { return BTreeSet::new() };
        let filter = Filter { source: Some(source.clone()), ..Filter::default() };
        let entries = match catalog.backups(&filter).await {
            Ok(entries) => entries,
            Err(error) => {
                self.events
                    .warning(format!("the catalog does not say what was found bad: {}", error_chain(&error)));
                vec![]
            }
        };
        let copies = entries.iter().flat_map(|entry| entry.copies.iter().map(move |copy| (entry.id(), copy)));
        let bad = copies.filter(|(_, copy)| copy.is_held() && !CopyEntry::is_good(copy));
        bad.map(|(id, copy)| (id.clone(), copy.repository.clone())).collect()
    }

    fn lists(&self, source: &SourceName, kind: BackupKind) -> PathBuf {
        state_directory().join(kind.as_str()).join(self.policy.system.as_str()).join(source.as_str())
    }

    /// Caches the manifest of a committed backup for the next incremental, and removes cached manifests that
    /// are not needed any more.
    pub(super) fn keep_list(&self, manifest: &Manifest, base: &PlannedBase) {
        let Some(path) = &base.plan.keep else { return };
        if manifest.physical.as_ref().is_some_and(|physical| physical.backup_manifest.is_none()) {
            return;
        }
        if let Err(error) = publish(path) {
            self.events.warning(format!(
                "the next backup of `{}` will be a full one: `{}` could not be kept: {error}",
                manifest.source,
                path.display()
            ));
        }
        let folder = self.lists(&manifest.source, manifest.kind);
        let builds_on = parent(manifest).map(|_| &base.lists);
        let mut needed: BTreeSet<PathBuf> = builds_on.into_iter().flatten().cloned().collect();
        needed.insert(path.clone());
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let is_list =
                entry.file_type().is_ok_and(|kind| kind.is_file()) && !needed.contains(&entry.path());
            if is_list && let Err(error) = std::fs::remove_file(entry.path()) {
                tracing::info!("{} is left: {error}", entry.path().display());
            }
        }
    }
}

fn list_of(folder: &Path, backup: &BackupId, ending: &str) -> PathBuf {
    folder.join(format!("{backup}.{ending}"))
}

/// Returns what a restore of a backup needs, the full one first; `Err`: why it cannot be a parent.
fn whole(base: &AncestorCandidates, all: &[AncestorCandidates]) -> Result<Vec<Manifest>, String> {
    let fit = |id: &BackupId| {
        let found = all.iter().find(|found| found.manifest.id == *id);
        found.filter(|found| found.against.is_none()).map(|found| &found.manifest)
    };
    match &base.against {
        Some(against) => Err(against.clone()),
        None => chain(&base.manifest, fit)
            .map(|chain| chain.into_iter().cloned().collect())
            .map_err(|broken| broken.to_string()),
    }
}

async fn candidate(base: &AncestorCandidates, all: &[AncestorCandidates], folder: &Path) -> Candidate {
    let list = list_of(folder, &base.manifest.id, LIST);
    let built = match whole(base, all) {
        Ok(chain) => against_list(&base.manifest, &list).await.map(|()| chain),
        Err(why) => Err(why),
    };
    Candidate { manifest: base.manifest.clone(), chain: built, list }
}

/// Returns why the cached manifest cannot be used. The server needs it, and this host cannot decrypt the
/// stored one.
async fn against_list(manifest: &Manifest, list: &Path) -> Result<(), String> {
    let Some(physical) = &manifest.physical else { return Err("it is no base backup".to_owned()) };
    if !physical.damaged.is_empty() {
        return Err(
            "pages were damaged when it was copied, and only a full one looks at all of them".to_owned()
        );
    }
    if !physical.missing_files.is_empty() {
        return Err("files of tables were missing when it was copied".to_owned());
    }
    let Some(digest) = physical.backup_manifest else {
        return Err("no list of its files was kept when it was taken".to_owned());
    };
    let (path, shown) = (list.to_owned(), list.display());
    match tokio::task::spawn_blocking(move || is_kept(&path, &digest)).await {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) => Err(format!("the list of its files kept here, `{shown}`, is not what it was")),
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => {
            Err(format!("the list of its files is not kept on this host (`{shown}`)"))
        }
        Ok(Err(error)) => Err(format!("the list of its files, `{shown}`, cannot be read: {error}")),
        Err(error) => Err(error.to_string()),
    }
}
