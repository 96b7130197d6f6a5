use thiserror::Error;

use super::{BackupId, Manifest};

/// Why a chain cannot be combined.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum BrokenChain {
    #[error("its parent `{0}` is missing or incomplete")]
    Missing(BackupId),
    #[error("its parent `{0}` is not an earlier backup of the same kind and source")]
    Unrelated(BackupId),
}

/// Returns the backups that a restore needs: the full one first, then each incremental on the one before it,
/// ending with the backup itself. `find` returns the readable ones.
pub fn chain<'m>(
    backup: &'m Manifest,
    find: impl Fn(&BackupId) -> Option<&'m Manifest>,
) -> Result<Vec<&'m Manifest>, BrokenChain> {
    let mut chain = vec![backup];
    let mut child = backup;
    while let Some(id) = parent(child) {
        let parent = find(id).ok_or_else(|| BrokenChain::Missing(id.clone()))?;
        // Each begins before the one after it, so the loop terminates.
        if !is_before(parent, child) {
            return Err(BrokenChain::Unrelated(id.clone()));
        }
        chain.push(parent);
        child = parent;
    }
    chain.reverse();
    Ok(chain)
}

/// Returns the parent of an incremental backup.
pub fn parent(backup: &Manifest) -> Option<&BackupId> {
    match &backup.physical {
        Some(physical) => physical.parent.as_ref(),
        None => backup.parent.as_ref(),
    }
}

fn is_before(parent: &Manifest, child: &Manifest) -> bool {
    let (before, after) = match (&parent.physical, &child.physical) {
        (Some(before), Some(after)) => (before, after),
        (None, None) => {
            return parent.source == child.source && parent.kind == child.kind && parent.id < child.id;
        }
        _ => return false,
    };
    let major = |manifest: &Manifest| manifest.server.as_ref().map(|server| server.major);
    parent.source == child.source
        && parent.cluster().is_some()
        && parent.cluster() == child.cluster()
        && major(parent) == major(child)
        && before.start < after.start
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BackupKind, Lsn, Physical, Protection, RunId, ServerFacts, SourceName, ToolFacts};

    /// Builds a backup that began at that minute, with a parent that began at the given one.
    fn backup(minute: u32, parent: Option<u32>) -> Manifest {
        let begun = |minute: u32| format!("2026-11-20T12:{minute:02}:00Z").parse().unwrap();
        let source: SourceName = "database".parse().unwrap();
        let id = |minute: u32| BackupId::new(begun(minute), &source, BackupKind::Base, minute);
        let server = ServerFacts {
            version: "17.5".to_owned(),
            major: 17,
            system_identifier: Some("7".to_owned()),
            address: None,
            replaces: None,
        };
        let start = Lsn(u64::from(minute) << 24);
        let physical = Physical { parent: parent.map(id), ..Physical::sample(1, start, Lsn(start.0 + 300)) };
        Manifest {
            format: "1.0".to_owned(),
            repository_id: String::new(),
            system: "shop".parse().unwrap(),
            id: id(minute),
            source: source.clone(),
            kind: BackupKind::Base,
            run: RunId::new(begun(minute), 1),
            recovery_point: begun(minute),
            begun: begun(minute),
            ended: begun(minute),
            host: String::new(),
            tool: ToolFacts { drctl: String::new(), producer: String::new() },
            server: Some(server),
            physical: Some(physical),
            parent: None,
            point: None,
            managed: None,
            protection: Protection::None,
            artifacts: vec![],
            by_hand: vec![],
        }
    }

    fn found(all: &[Manifest], of: usize) -> Result<Vec<BackupId>, BrokenChain> {
        let find = |id: &BackupId| all.iter().find(|manifest| manifest.id == *id);
        chain(&all[of], find).map(|chain| chain.iter().map(|manifest| manifest.id.clone()).collect())
    }

    #[test]
    fn a_chain_is_as_long_as_it_was_made() {
        let all = [backup(1, None), backup(2, Some(1)), backup(3, Some(2)), backup(4, Some(1))];
        let ids: Vec<_> = all.iter().map(|manifest| manifest.id.clone()).collect();
        assert_eq!(found(&all, 0).unwrap(), ids[..1]);
        assert_eq!(found(&all, 2).unwrap(), ids[..3]);
        assert_eq!(found(&all, 3).unwrap(), [ids[0].clone(), ids[3].clone()]);
    }

    #[test]
    fn what_is_missing_is_named_and_what_cannot_be_is_refused() {
        let gone = [backup(2, Some(1)), backup(3, Some(2))];
        assert_eq!(found(&gone, 1), Err(BrokenChain::Missing(backup(1, None).id)));
        // One that began later, so that the two form a cycle; and one of another cluster.
        let circle = [backup(2, Some(3)), backup(3, Some(2))];
        assert_eq!(found(&circle, 0), Err(BrokenChain::Unrelated(circle[1].id.clone())));
        let mut others = [backup(1, None), backup(2, Some(1))];
        others[0].server.as_mut().unwrap().system_identifier = Some("8".to_owned());
        assert_eq!(found(&others, 1), Err(BrokenChain::Unrelated(others[0].id.clone())));
        others[0].server = None;
        assert!(found(&others, 1).is_err());
    }
}
