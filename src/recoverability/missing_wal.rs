//! What prevents a copy of a base backup from being restored: missing WAL, or a missing parent backup.

use std::collections::BTreeMap;
use std::fmt;

use super::evidence::{Evidence, ListedWal, Question};
use crate::model::{BackupId, BrokenChain, Physical, RepositoryName};
use crate::repository::Inventory;
use crate::wal::{Archive, OtherHistory, Provenance, first_segment};

/// Why an intact copy cannot be restored now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    Broken(BrokenChain),
    /// It may still be archived.
    MissingWal(String),
    /// All of it is there, and is of another server.
    OtherHistory(OtherHistory),
    /// The repository could not be queried.
    Unknown(String),
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(broken) => write!(f, "{broken}"),
            Self::OtherHistory(other) => write!(f, "{other}"),
            Self::MissingWal(reason) | Self::Unknown(reason) => f.write_str(reason),
        }
    }
}

/// The obstacles of base backups, by repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MissingWal(BTreeMap<(BackupId, RepositoryName), Obstacle>);

impl MissingWal {
    pub fn obstacle(&self, backup: &BackupId, repository: &RepositoryName) -> Option<&Obstacle> {
        self.0.get(&(backup.clone(), repository.clone()))
    }

    pub fn reason(&self, backup: &BackupId, repository: &RepositoryName) -> Option<String> {
        self.obstacle(backup, repository).map(ToString::to_string)
    }

    /// Adds an obstacle, unless a worse one is known: WAL may still arrive.
    pub(super) fn enter(&mut self, backup: &BackupId, repository: &RepositoryName, obstacle: Obstacle) {
        self.0.entry((backup.clone(), repository.clone())).or_insert(obstacle);
    }
}

/// Returns the copies of these backups in these repositories whose parents are missing.
pub(super) fn with_broken_chains<'n>(
    inventory: &Inventory,
    backups: &[&BackupId],
    names: impl Iterator<Item = &'n RepositoryName>,
) -> MissingWal {
    let mut missing = MissingWal::default();
    for name in names {
        for record in backups.iter().filter_map(|id| inventory.find(id)) {
            if record.is_held_by(name)
                && let Err(broken) = inventory.chain_in(record, name)
            {
                missing.enter(record.id(), name, Obstacle::Broken(broken));
            }
        }
    }
    missing
}

/// Returns the base backups of a cluster that the archived WAL does not bring back, and why: the first file that is
/// missing, or that it is of another server.
pub fn missing_required<'b>(
    archive: &Archive,
    bases: &[(&'b BackupId, &Physical)],
    evidence: &Evidence,
) -> Result<Vec<(&'b BackupId, Obstacle)>, Question> {
    let since = bases.iter().map(|(_, physical)| first_segment(physical)).min();
    if since.is_none() {
        return Ok(vec![]);
    }
    let held = match evidence.wal(archive, since)? {
        ListedWal::Held(held) => held,
        ListedWal::None(why) => {
            let none = |(backup, _): &(&'b BackupId, &Physical)| (*backup, Obstacle::MissingWal(why.clone()));
            return Ok(bases.iter().map(none).collect());
        }
    };
    let (lacking, complete): (Vec<_>, Vec<_>) = bases
        .iter()
        .map(|(backup, physical)| (*backup, *physical, held.lacks(physical)))
        .partition(|(.., lacks)| lacks.is_some());
    if let Some(question) =
        evidence.provenance_question(archive, complete.iter().map(|(_, physical, _)| *physical))
    {
        return Err(question);
    }
    let mut missing: Vec<_> = lacking
        .into_iter()
        .filter_map(|(backup, _, lacks)| Some((backup, Obstacle::MissingWal(lacks?.to_string()))))
        .collect();
    for (backup, physical, _) in complete {
        if let Provenance::Other(other) = evidence.provenance(archive, physical)? {
            missing.push((backup, Obstacle::OtherHistory(other)));
        }
    }
    Ok(missing)
}
