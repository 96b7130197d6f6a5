//! The properties of the dumped database, apart from its contents, that a restored one gets.
//!
//! An existing database keeps its own.

use super::ExistingDatabase;
use super::existing_database::setting_words;
use super::loading::LoadsInto;
use crate::model::{DatabaseFacts, RoleSetting};

/// What is applied, and what is not since the database has its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Properties {
    pub(super) settings: Vec<RoleSetting>,
    /// Whether it gets the recorded privileges.
    pub(super) sets_grants: bool,
    /// Its final comment.
    pub(super) comment: Option<String>,
    /// The limit that it gets; `None` leaves it unchanged.
    pub(super) connection_limit: Option<i32>,
    /// Properties of the database's own that it keeps, as text.
    pub(super) kept: Vec<String>,
    /// Properties of the backup that are not applied because of that, as text.
    pub(super) not_applied: Vec<String>,
}

impl Properties {
    /// Decides on the properties; `existing` is the existing database that is loaded into.
    pub(super) fn decide(
        recorded: &DatabaseFacts,
        owners: bool,
        loads_into: LoadsInto,
        existing: Option<&ExistingDatabase>,
    ) -> Self {
        let wanted = recorded.settings.iter().filter(|setting| owners || setting.role.is_none());
        let has_grants = owners && recorded.grants.is_some();
        // While it is loaded under its final name it has a limit of drctl's.
        let limit = (recorded.connection_limit >= 0 || loads_into == LoadsInto::New)
            .then(|| recorded.connection_limit.max(-1));
        let Some(existing) = existing.filter(|_| loads_into == LoadsInto::Existing) else {
            return Self {
                settings: wanted.cloned().collect(),
                sets_grants: has_grants,
                comment: recorded.comment.clone(),
                connection_limit: limit,
                ..Self::default()
            };
        };
        let own = |wanted: &&RoleSetting| {
            existing.settings.iter().find(|own| own.role == wanted.role && own.name == wanted.name)
        };
        let (taken, applied): (Vec<&RoleSetting>, Vec<&RoleSetting>) =
            wanted.partition(|wanted| own(wanted).is_some());
        let different =
            taken.iter().filter(|wanted| own(wanted).is_some_and(|own| own.value != wanted.value));
        let mut not_applied: Vec<String> = different.map(|setting| setting_words(setting)).collect();
        let has_limit = existing.connection_limit >= 0;
        let is_other_comment = existing.comment.is_some() && recorded.comment.is_some();
        not_applied.extend(
            (is_other_comment && existing.comment != recorded.comment).then(|| "the comment".to_owned()),
        );
        not_applied.extend((existing.has_grants && has_grants).then(|| "the privileges".to_owned()));
        not_applied.extend(
            limit
                .filter(|limit| has_limit && *limit != existing.connection_limit)
                .map(|limit| format!("the connection limit {limit}")),
        );
        Self {
            settings: applied.into_iter().cloned().collect(),
            sets_grants: has_grants && !existing.has_grants,
            comment: existing.comment.clone().or_else(|| recorded.comment.clone()),
            connection_limit: limit.filter(|_| !has_limit),
            kept: existing.own_properties(),
            not_applied,
        }
    }

    /// Returns the properties that are taken from the backup, as text.
    pub(super) fn applied(&self, existing: &ExistingDatabase) -> Vec<String> {
        let mut applied: Vec<String> = self.settings.iter().map(setting_words).collect();
        let gets_comment = self.comment.is_some() && existing.comment.is_none();
        applied.extend(gets_comment.then(|| "the comment".to_owned()));
        applied.extend(self.sets_grants.then(|| "the privileges".to_owned()));
        applied.extend(self.connection_limit.map(|limit| format!("the connection limit {limit}")));
        applied
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(role: Option<&str>, name: &str, value: &str) -> RoleSetting {
        RoleSetting { role: role.map(str::to_owned), name: name.to_owned(), value: value.to_owned() }
    }

    fn recorded() -> DatabaseFacts {
        DatabaseFacts {
            comment: Some("the shop".to_owned()),
            connection_limit: 7,
            settings: vec![
                setting(None, "work_mem", "8MB"),
                setting(None, "timezone", "UTC"),
                setting(Some("app"), "work_mem", "1MB"),
            ],
            grants: Some(vec![]),
            ..DatabaseFacts::default()
        }
    }

    #[test]
    fn a_new_database_gets_everything_that_was_recorded() {
        let all =
            Properties::decide(&recorded(), true, LoadsInto::Temporary, Some(&ExistingDatabase::default()));
        assert_eq!((all.settings.len(), all.sets_grants, all.connection_limit), (3, true, Some(7)));
        assert_eq!(all.comment.as_deref(), Some("the shop"));
        assert!(all.kept.is_empty() && all.not_applied.is_empty());
        let without = Properties::decide(&recorded(), false, LoadsInto::New, None);
        assert_eq!((without.settings.len(), without.sets_grants), (2, false));
    }

    #[test]
    fn an_existing_database_keeps_what_it_has_of_its_own() {
        let existing = ExistingDatabase {
            comment: Some("ticket 12".to_owned()),
            settings: vec![setting(None, "work_mem", "64MB"), setting(None, "timezone", "UTC")],
            has_grants: true,
            connection_limit: 20,
            ..ExistingDatabase::default()
        };
        let kept = Properties::decide(&recorded(), true, LoadsInto::Existing, Some(&existing));
        assert_eq!(kept.settings, [setting(Some("app"), "work_mem", "1MB")]);
        assert_eq!((kept.sets_grants, kept.connection_limit), (false, None));
        assert_eq!(kept.comment.as_deref(), Some("ticket 12"));
        assert_eq!(
            kept.not_applied,
            ["the setting work_mem", "the comment", "the privileges", "the connection limit 7"]
        );
        assert_eq!(kept.kept.len(), 5);
        assert_eq!(kept.applied(&existing), ["the setting work_mem of role app"]);
    }

    #[test]
    fn an_existing_database_without_any_gets_what_was_recorded() {
        let existing = ExistingDatabase { connection_limit: -1, ..ExistingDatabase::default() };
        let all = Properties::decide(&recorded(), true, LoadsInto::Existing, Some(&existing));
        assert_eq!((all.settings.len(), all.sets_grants, all.connection_limit), (3, true, Some(7)));
        assert_eq!(all.comment.as_deref(), Some("the shop"));
        assert!(all.kept.is_empty() && all.not_applied.is_empty());
    }
}
