//! Which backup, and from which repositories.

use std::collections::BTreeSet;

use super::{Refusal, Request, Which};
use crate::model::{BackupId, BackupKind, RepositoryName};

/// The backups of a source that a repository holds.
#[derive(Clone, Debug)]
pub(super) struct Holding {
    pub(super) repository: RepositoryName,
    pub(super) backups: BTreeSet<BackupId>,
}

/// A backup in a repository whose last check found it bad.
pub type Doubtful = BTreeSet<(BackupId, RepositoryName)>;

/// How many ids a refusal names.
const NAMED: usize = 5;

/// Chooses among what the repositories hold, which come in the policy's order. Gives the repositories in the
/// order they are to be tried: those that are doubtful last.
pub(super) fn choose(
    holdings: &[Holding],
    request: &Request,
    doubtful: &Doubtful,
) -> Result<(BackupId, Vec<RepositoryName>), Refusal> {
    let from = || request.from.clone();
    let usable: Vec<&Holding> = holdings
        .iter()
        .filter(|holding| request.from.as_ref().is_none_or(|from| *from == holding.repository))
        .collect();
    let all: BTreeSet<&BackupId> = usable.iter().flat_map(|holding| &holding.backups).collect();
    let source_name = request.source.clone();
    let id = match &request.backup {
        Which::Latest => match all.iter().rev().find(|id| id.kind() == BackupKind::Logical).or(all.last()) {
            Some(id) => (*id).clone(),
            None => return Err(Refusal::NoBackup { source_name, from: from() }),
        },
        Which::Prefix(asked) => {
            let found: Vec<&BackupId> =
                all.iter().copied().filter(|id| id.as_str().starts_with(asked)).collect();
            match found[..] {
                [only] => only.clone(),
                [] => {
                    let newest = all.iter().rev().take(NAMED).map(|id| (*id).clone()).collect();
                    return Err(Refusal::UnknownBackup {
                        source_name,
                        asked: asked.clone(),
                        from: from(),
                        newest,
                    });
                }
                _ => {
                    let found = found.into_iter().rev().take(NAMED).cloned().collect();
                    return Err(Refusal::Ambiguous { asked: asked.clone(), found });
                }
            }
        }
    };
    if id.kind() != BackupKind::Logical {
        return Err(Refusal::Kind { kind: id.kind() });
    }
    let holders = usable.iter().filter(|holding| holding.backups.contains(&id));
    let mut holders: Vec<RepositoryName> = holders.map(|holding| holding.repository.clone()).collect();
    holders.sort_by_key(|name| doubtful.contains(&(id.clone(), name.clone())));
    Ok((id, holders))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restore::logical::tests::request;

    fn id(day: u32, seed: u32) -> BackupId {
        let begun = format!("2026-11-{day:02}T22:02:51Z").parse().unwrap();
        BackupId::new(begun, &"database".parse().unwrap(), BackupKind::Logical, seed)
    }

    fn holdings() -> Vec<Holding> {
        let holding = |name: &str, backups: &[BackupId]| Holding {
            repository: name.parse().unwrap(),
            backups: backups.iter().cloned().collect(),
        };
        vec![holding("primary", &[id(1, 1), id(2, 2)]), holding("second", &[id(1, 1), id(2, 2), id(3, 3)])]
    }

    fn names(names: &[RepositoryName]) -> Vec<&str> {
        names.iter().map(RepositoryName::as_str).collect()
    }

    #[test]
    fn the_newest_anywhere_is_the_latest() {
        let (chosen, from) = choose(&holdings(), &request(), &Doubtful::new()).unwrap();
        assert_eq!((chosen, names(&from)), (id(3, 3), vec!["second"]));
    }

    #[test]
    fn the_primary_goes_first_unless_it_is_known_to_be_bad_there() {
        let request = Request { backup: Which::Prefix(id(2, 2).as_str()[..10].to_owned()), ..request() };
        let (chosen, from) = choose(&holdings(), &request, &Doubtful::new()).unwrap();
        assert_eq!((chosen, names(&from)), (id(2, 2), vec!["primary", "second"]));
        let doubtful = Doubtful::from([(id(2, 2), "primary".parse().unwrap())]);
        let (_, from) = choose(&holdings(), &request, &doubtful).unwrap();
        assert_eq!(names(&from), ["second", "primary"]);
    }

    #[test]
    fn unknown_ambiguous_and_nothing_are_refused_with_what_there_is() {
        let asked = |text: &str| Request { backup: Which::Prefix(text.to_owned()), ..request() };
        let refused = |request: &Request| choose(&holdings(), request, &Doubtful::new()).unwrap_err();
        assert!(
            matches!(refused(&asked("202611")), Refusal::Ambiguous { found, .. } if found[0] == id(3, 3))
        );
        assert!(
            matches!(refused(&asked("2027")), Refusal::UnknownBackup { newest, .. } if newest.len() == 3)
        );
        let in_primary = Request { from: Some("primary".parse().unwrap()), ..asked(id(3, 3).as_str()) };
        let refusal = refused(&in_primary);
        assert!(refusal.to_string().contains("in repository `primary`"), "{refusal}");
        assert!(matches!(choose(&[], &request(), &Doubtful::new()), Err(Refusal::NoBackup { .. })));
    }
}
