//! Which backup, and from which repositories.

use std::collections::BTreeSet;

use super::{BackupSelector, DumpRestoreRequest, SuspectCopies};
use crate::model::{BackupId, BackupKind, RepositoryName};
use crate::restore::refusal::{ambiguous, in_repository};
use crate::restore::{Refusal, RefusalClass};
use crate::text::quoted_list;

/// The backups of a source that a repository holds.
#[derive(Clone, Debug)]
pub(super) struct RepositoryCopy {
    pub(super) repository: RepositoryName,
    pub(super) backups: BTreeSet<BackupId>,
}

/// How many ids a refusal names.
const NAMED: usize = 5;

/// Chooses among what the repositories hold, which come in the policy's order. Gives the repositories in the
/// order they are to be tried: those that are doubtful last.
pub(super) fn choose(
    holdings: &[RepositoryCopy],
    request: &DumpRestoreRequest,
    doubtful: &SuspectCopies,
) -> Result<(BackupId, Vec<RepositoryName>), Refusal> {
    let within = in_repository(request.from.as_ref());
    let usable: Vec<&RepositoryCopy> = holdings
        .iter()
        .filter(|holding| request.from.as_ref().is_none_or(|from| *from == holding.repository))
        .collect();
    let all: BTreeSet<&BackupId> = usable.iter().flat_map(|holding| &holding.backups).collect();
    let source = &request.source;
    let id = match &request.backup {
        BackupSelector::Latest => {
            match all.iter().rev().find(|id| id.kind() == BackupKind::Logical).or(all.last()) {
                Some(id) => (*id).clone(),
                None => {
                    let message = format!("there is no backup of `{source}`{within}");
                    return Err(Refusal::nothing("no-backup", message));
                }
            }
        }
        BackupSelector::Prefix(asked) => {
            let found: Vec<&BackupId> =
                all.iter().copied().filter(|id| id.as_str().starts_with(asked)).collect();
            match found[..] {
                [only] => only.clone(),
                [] => {
                    let newest = match all.is_empty() {
                        true => "there is none at all".to_owned(),
                        false => format!(
                            "the newest are {}",
                            quoted_list(&all.iter().rev().take(NAMED).collect::<Vec<_>>())
                        ),
                    };
                    let message = format!(
                        "no backup of `{source}` has an id that begins with `{asked}`{within}; {newest}"
                    );
                    return Err(Refusal::nothing("no-backup", message));
                }
                _ => {
                    let found: Vec<_> = found.into_iter().rev().take(NAMED).cloned().collect();
                    return Err(ambiguous(RefusalClass::Usage, asked, &found));
                }
            }
        }
    };
    if id.kind() != BackupKind::Logical {
        let code = if id.kind() == BackupKind::Snapshot { "rds-snapshot" } else { "not-a-dump" };
        let message = format!("this version cannot restore a backup of kind `{}` into a database", id.kind());
        return Err(Refusal::not_ready(code, message));
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

    fn holdings() -> Vec<RepositoryCopy> {
        let holding = |name: &str, backups: &[BackupId]| RepositoryCopy {
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
        let (chosen, from) = choose(&holdings(), &request(), &SuspectCopies::new()).unwrap();
        assert_eq!((chosen, names(&from)), (id(3, 3), vec!["second"]));
    }

    #[test]
    fn the_primary_goes_first_unless_it_is_known_to_be_bad_there() {
        let request = DumpRestoreRequest {
            backup: BackupSelector::Prefix(id(2, 2).as_str()[..10].to_owned()),
            ..request()
        };
        let (chosen, from) = choose(&holdings(), &request, &SuspectCopies::new()).unwrap();
        assert_eq!((chosen, names(&from)), (id(2, 2), vec!["primary", "second"]));
        let doubtful = SuspectCopies::from([(id(2, 2), "primary".parse().unwrap())]);
        let (_, from) = choose(&holdings(), &request, &doubtful).unwrap();
        assert_eq!(names(&from), ["second", "primary"]);
    }

    #[test]
    fn unknown_ambiguous_and_nothing_are_refused_with_what_there_is() {
        let asked =
            |text: &str| DumpRestoreRequest { backup: BackupSelector::Prefix(text.to_owned()), ..request() };
        let refused =
            |request: &DumpRestoreRequest| choose(&holdings(), request, &SuspectCopies::new()).unwrap_err();
        let several = refused(&asked("202611"));
        assert_eq!((several.code, several.class), ("ambiguous-backup", RefusalClass::Usage));
        assert!(several.message.contains(&format!(": `{}`, ", id(3, 3))), "{several}");
        let unknown = refused(&asked("2027"));
        assert_eq!((unknown.code, unknown.class), ("no-backup", RefusalClass::Nothing));
        assert_eq!(unknown.message.matches("-database-logical-").count(), 3, "{unknown}");
        let in_primary =
            DumpRestoreRequest { from: Some("primary".parse().unwrap()), ..asked(id(3, 3).as_str()) };
        let refusal = refused(&in_primary);
        assert!(refusal.to_string().contains("in repository `primary`"), "{refusal}");
        assert_eq!(choose(&[], &request(), &SuspectCopies::new()).unwrap_err().code, "no-backup");
    }
}
