//! The choice of the backup and of the repositories to read.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::{BackupSelector, DumpRestoreRequest, SuspectCopies};
use crate::model::{BackupId, BackupKind, RepositoryName, SourceName};
use crate::repository::CLOCK_TOLERANCE;
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

/// A backup, the repositories to read it from, and what was passed over for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SelectedBackup {
    pub(super) id: BackupId,
    /// In the order they are to be tried: suspect copies last.
    pub(super) holders: Vec<RepositoryName>,
    /// Newer ones that are not used, and why.
    pub(super) passed_over: Vec<(BackupId, String)>,
    /// The doubt about the one that is used.
    pub(super) doubt: Option<String>,
}

/// Selects among the holdings of the repositories, which are in the policy's order.
pub(super) fn choose(
    holdings: &[RepositoryCopy],
    request: &DumpRestoreRequest,
    doubtful: &SuspectCopies,
    now: DateTime<Utc>,
) -> Result<SelectedBackup, Refusal> {
    let within = in_repository(request.from.as_ref());
    let usable: Vec<&RepositoryCopy> = holdings
        .iter()
        .filter(|holding| request.from.as_ref().is_none_or(|from| *from == holding.repository))
        .collect();
    let all: BTreeSet<&BackupId> = usable.iter().flat_map(|holding| &holding.backups).collect();
    let holders = |id: &BackupId| -> Vec<RepositoryName> {
        let holders = usable.iter().filter(|holding| holding.backups.contains(id));
        let mut holders: Vec<_> = holders.map(|holding| holding.repository.clone()).collect();
        holders.sort_by_key(|name| doubtful.contains(&(id.clone(), name.clone())));
        holders
    };
    let is_bad =
        |id: &BackupId| holders(id).iter().all(|name| doubtful.contains(&(id.clone(), name.clone())));
    let source = &request.source;
    let mut passed_over = Vec::new();
    let id = match &request.backup {
        BackupSelector::Latest => {
            let mut dumps = all.iter().rev().filter(|id| id.kind() == BackupKind::Logical).peekable();
            match (dumps.peek().is_none(), all.last()) {
                (true, Some(other)) => (*other).clone(),
                (true, None) => {
                    let message = format!("there is no backup of `{source}`{within}");
                    return Err(Refusal::nothing("no-backup", message));
                }
                (false, _) => latest(dumps.copied(), &is_bad, now, &mut passed_over)
                    .ok_or_else(|| all_bad(source, &within, &passed_over))?
                    .clone(),
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
    let doubt = match (is_bad(&id), id.begun() > now + CLOCK_TOLERANCE) {
        (true, _) => Some(FOUND_BAD.to_owned()),
        (_, true) => Some(IN_FUTURE.to_owned()),
        _ => None,
    };
    Ok(SelectedBackup { holders: holders(&id), id, passed_over, doubt })
}

const FOUND_BAD: &str = "the last `drctl verify` found it bad in every repository that has it";
const IN_FUTURE: &str =
    "it is dated in the future: this host's clock, or the one of the host that took it, is wrong";

/// Returns the newest intact one; one dated in the future only where there is no other. `dumps`: newest
/// first.
fn latest<'b>(
    dumps: impl Iterator<Item = &'b BackupId>,
    is_bad: &impl Fn(&BackupId) -> bool,
    now: DateTime<Utc>,
    passed_over: &mut Vec<(BackupId, String)>,
) -> Option<&'b BackupId> {
    let mut of_future = None;
    for id in dumps {
        let why = match (is_bad(id), id.begun() > now + CLOCK_TOLERANCE) {
            (false, false) => return Some(id),
            (true, _) => FOUND_BAD,
            (false, true) => {
                of_future = of_future.or(Some(id));
                IN_FUTURE
            }
        };
        passed_over.push((id.clone(), why.to_owned()));
    }
    let chosen = of_future?;
    passed_over.retain(|(id, _)| id > chosen);
    Some(chosen)
}

fn all_bad(source: &SourceName, within: &str, passed_over: &[(BackupId, String)]) -> Refusal {
    let ids: Vec<_> = passed_over.iter().take(NAMED).map(|(id, _)| id).collect();
    let message = format!(
        "the last `drctl verify` found every backup of `{source}`{within} bad; the newest are {}",
        quoted_list(&ids)
    );
    Refusal::nothing("all-bad", message)
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

    /// After all of them.
    fn chosen(
        request: &DumpRestoreRequest,
        doubtful: &SuspectCopies,
    ) -> Result<(BackupId, Vec<RepositoryName>), Refusal> {
        choose(&holdings(), request, doubtful, noon()).map(|selected| (selected.id, selected.holders))
    }

    fn noon() -> DateTime<Utc> {
        "2026-11-04T12:00:00Z".parse().unwrap()
    }

    fn bad(copies: &[(BackupId, &str)]) -> SuspectCopies {
        copies.iter().map(|(id, name)| (id.clone(), name.parse().unwrap())).collect()
    }

    #[test]
    fn a_backup_that_was_found_bad_everywhere_is_passed_over_unless_it_is_named() {
        let doubtful = bad(&[(id(3, 3), "second"), (id(2, 2), "primary")]);
        let selected = choose(&holdings(), &request(), &doubtful, noon()).unwrap();
        assert_eq!((&selected.id, names(&selected.holders)), (&id(2, 2), vec!["second", "primary"]));
        assert_eq!(selected.passed_over, [(id(3, 3), FOUND_BAD.to_owned())]);
        assert_eq!(selected.doubt, None);
        let named = DumpRestoreRequest { backup: BackupSelector::Prefix(id(3, 3).to_string()), ..request() };
        let selected = choose(&holdings(), &named, &doubtful, noon()).unwrap();
        assert_eq!((selected.id, selected.doubt.as_deref()), (id(3, 3), Some(FOUND_BAD)));
        // From one repository alone only its own copies count.
        let from = DumpRestoreRequest { from: Some("primary".parse().unwrap()), ..request() };
        let selected = choose(&holdings(), &from, &doubtful, noon()).unwrap();
        assert_eq!((selected.id, names(&selected.holders)), (id(1, 1), vec!["primary"]));
    }

    #[test]
    fn where_every_backup_was_found_bad_none_is_taken_unasked() {
        let both = |id: BackupId| [(id.clone(), "primary"), (id, "second")];
        let doubtful = bad(&[both(id(1, 1)), both(id(2, 2)), both(id(3, 3))].concat());
        let refusal = choose(&holdings(), &request(), &doubtful, noon()).unwrap_err();
        assert_eq!((refusal.code, refusal.class), ("all-bad", RefusalClass::Nothing));
        assert!(refusal.message.contains(id(3, 3).as_str()), "{refusal}");
    }

    #[test]
    fn one_that_is_dated_in_the_future_is_the_latest_only_where_there_is_no_other() {
        let at = |text: &str| text.parse().unwrap();
        let none = SuspectCopies::new();
        let selected = choose(&holdings(), &request(), &none, at("2026-11-03T12:00:00Z")).unwrap();
        assert_eq!((selected.id, selected.passed_over.len()), (id(2, 2), 1));
        let selected = choose(&holdings(), &request(), &none, at("2026-10-01T12:00:00Z")).unwrap();
        assert_eq!((&selected.id, selected.passed_over.len()), (&id(3, 3), 0));
        assert_eq!(selected.doubt.as_deref(), Some(IN_FUTURE));
    }

    fn names(names: &[RepositoryName]) -> Vec<&str> {
        names.iter().map(RepositoryName::as_str).collect()
    }

    #[test]
    fn the_newest_anywhere_is_the_latest() {
        let (latest, from) = chosen(&request(), &SuspectCopies::new()).unwrap();
        assert_eq!((latest, names(&from)), (id(3, 3), vec!["second"]));
    }

    #[test]
    fn the_primary_goes_first_unless_it_is_known_to_be_bad_there() {
        let request = DumpRestoreRequest {
            backup: BackupSelector::Prefix(id(2, 2).as_str()[..10].to_owned()),
            ..request()
        };
        let (named, from) = chosen(&request, &SuspectCopies::new()).unwrap();
        assert_eq!((named, names(&from)), (id(2, 2), vec!["primary", "second"]));
        let doubtful = SuspectCopies::from([(id(2, 2), "primary".parse().unwrap())]);
        let (_, from) = chosen(&request, &doubtful).unwrap();
        assert_eq!(names(&from), ["second", "primary"]);
    }

    #[test]
    fn unknown_ambiguous_and_nothing_are_refused_with_what_there_is() {
        let asked =
            |text: &str| DumpRestoreRequest { backup: BackupSelector::Prefix(text.to_owned()), ..request() };
        let refused = |request: &DumpRestoreRequest| chosen(request, &SuspectCopies::new()).unwrap_err();
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
        assert_eq!(choose(&[], &request(), &SuspectCopies::new(), noon()).unwrap_err().code, "no-backup");
    }
}
