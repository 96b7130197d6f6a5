//! Publishes a loaded database as the requested one: its name, or its comment, identifies it from then on.
//!
//! *Invariants.* The database was compared and judged before, and is never dropped. If it cannot be renamed,
//! it is kept, and its comment has the statement that renames it.

use super::DumpRestoreError;
use super::database::{connect, drop_database, execute, refuse_occupied, when_free};
use super::loading::LoadsInto;
use super::marks::{COMMENT, REPLACED, RESTORING, WAS_EMPTY};
use super::plan::DumpRestorePlan;
use crate::model::Verdict;
use crate::postgres::{close, identifier, literal};
use crate::text::error_chain;

/// How many missing objects a database's comment names.
const NAMED: usize = 50;

/// How a loaded database is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Publication {
    /// Its final name.
    pub(super) database: String,
    /// Its current name.
    loaded_as: String,
    comment: Option<String>,
    /// The name given to an empty database that has the final name now.
    pub(super) aside: Option<String>,
    pub(super) is_complete: bool,
    statements: String,
}

impl Publication {
    /// Decides on name and comment. A database that did not pass gets the name for incomplete ones, and a
    /// comment on what is missing.
    pub(super) fn for_plan(plan: &DumpRestorePlan, verdict: &Verdict) -> Self {
        let properties = &plan.steps.properties;
        let keeps_name = plan.loads_into != LoadsInto::Temporary;
        let (database, comment) = match (&plan.incomplete, verdict.has_passed()) {
            (Some(incomplete), false) => {
                let name = if keeps_name { &plan.database } else { incomplete };
                (name.clone(), Some(incomplete_comment(plan, verdict)))
            }
            _ => (plan.database.clone(), properties.comment.clone()),
        };
        let replaces = plan.replaces_empty && database == plan.database;
        let aside = replaces.then(|| plan.temporary.replacen(RESTORING, REPLACED, 1));
        let mut publication = Self {
            database,
            loaded_as: plan.temporary.clone(),
            comment,
            aside,
            is_complete: verdict.has_passed(),
            statements: String::new(),
        };
        publication.statements = publication.statements(plan).join("; ");
        publication
    }

    /// Returns the statements, sent as one message, and so one transaction.
    fn statements(&self, plan: &DumpRestorePlan) -> Vec<String> {
        let (recorded, properties) = (&plan.steps.recorded, &plan.steps.properties);
        let (loaded, database) = (identifier(&self.loaded_as), identifier(&self.database));
        let mut statements = Vec::new();
        if let Some(aside) = &self.aside {
            let comment = literal(&format!("{WAS_EMPTY} that {} was before it was restored", self.database));
            statements.push(format!("COMMENT ON DATABASE {database} IS {comment}"));
            statements.push(format!("ALTER DATABASE {database} RENAME TO {}", identifier(aside)));
        }
        let comment = self.comment.as_ref().map_or_else(|| "NULL".to_owned(), |comment| literal(comment));
        statements.push(format!("COMMENT ON DATABASE {loaded} IS {comment}"));
        if let Some(limit) = properties.connection_limit {
            statements.push(format!("ALTER DATABASE {loaded} CONNECTION LIMIT {limit}"));
        }
        if plan.loads_into == LoadsInto::New && !plan.steps.superuser && !properties.sets_grants {
            statements.push(format!("GRANT CONNECT ON DATABASE {loaded} TO PUBLIC"));
        }
        if recorded.is_template {
            statements.push(format!("ALTER DATABASE {loaded} IS_TEMPLATE true"));
        }
        if self.loaded_as != self.database {
            statements.push(format!("ALTER DATABASE {loaded} RENAME TO {database}"));
            statements.push(format!("ALTER DATABASE {database} ALLOW_CONNECTIONS true"));
        }
        statements
    }

    /// Returns the comment of a database that does not have its final name yet.
    fn kept_comment(&self) -> String {
        let state = if self.is_complete {
            format!("{COMMENT}complete: restored and compared, and only its name is missing")
        } else {
            self.comment.clone().unwrap_or_default()
        };
        let (loaded, database) = (identifier(&self.loaded_as), identifier(&self.database));
        format!("{state}; ALTER DATABASE {loaded} RENAME TO {database}")
    }

    /// Returns the statements that publish it, for an operator to run.
    pub(super) fn by_hand(&self) -> String {
        format!("{};", self.statements)
    }
}

fn incomplete_comment(plan: &DumpRestorePlan, verdict: &Verdict) -> String {
    let all = &verdict.reasons;
    let mut text = format!(
        "{COMMENT}incomplete ({}): restored from {}, and this is missing or different:",
        verdict.outcome.as_str(),
        plan.backup
    );
    for reason in all.iter().take(NAMED) {
        text.push_str(&format!("\n- {}", reason.message));
    }
    if all.len() > NAMED {
        text.push_str(&format!("\n- and {} more", all.len() - NAMED));
    }
    if let Some(comment) = &plan.steps.properties.comment {
        text.push_str(&format!("\nIts comment was: {comment}"));
    }
    text
}

/// Publishes the database; in the same transaction, what must not have the name is removed.
pub(super) async fn publish(
    plan: &DumpRestorePlan,
    publication: &Publication,
) -> Result<(), DumpRestoreError> {
    let Publication { database, loaded_as, .. } = publication;
    let mut connection = connect(&plan.steps.target).await?;
    let what = format!("give the restored database the name `{database}`");
    if loaded_as == database {
        let what = format!("publish the restored database `{database}`");
        let done = execute(&mut connection, &what, publication.statements.clone()).await;
        close(connection).await;
        return done;
    }
    // From here on it must not be taken for the leftover of a killed restore.
    let comment = literal(&publication.kept_comment());
    let keep = format!("COMMENT ON DATABASE {} IS {comment}", identifier(loaded_as));
    execute(&mut connection, "mark the restored database", keep).await?;
    let mut done = match &publication.aside {
        Some(_) => refuse_occupied(plan, database, database).await,
        None => Ok(()),
    };
    if done.is_ok() {
        done = when_free(&mut connection, loaded_as, &what, &publication.statements).await;
    }
    if done.is_err() {
        let open = format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", identifier(loaded_as));
        let _opened = execute(&mut connection, "open the restored database", open).await;
    }
    close(connection).await;
    done
}

/// Drops the empty database that was replaced, after checking it again. Returns a note where it is kept.
pub(super) async fn drop_replaced(plan: &DumpRestorePlan, aside: &str) -> Option<String> {
    let checked = refuse_occupied(plan, aside, aside).await;
    let dropped = match checked {
        Ok(()) => drop_database(&plan.steps.target, aside).await,
        Err(error) => Err(error),
    };
    dropped.err().map(|error| {
        format!("the empty database that stood in its place is kept as `{aside}`: {}", error_chain(&error))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Cause, Judgement};
    use crate::restore::logical::tests::{request, situation};
    use crate::restore::logical::{DumpRestoreRequest, DumpSurvey, ExistingDatabase, plan};

    fn published(
        verdict: &Verdict,
        change: impl FnOnce(&mut DumpRestoreRequest, &mut DumpSurvey),
    ) -> Publication {
        let (mut request, mut situation) = (request(), situation());
        (situation.recorded.comment, situation.recorded.connection_limit) = (Some("the shop".to_owned()), -1);
        change(&mut request, &mut situation);
        let plan = plan(&request, situation, "2026-11-21T22:02:51Z".parse().unwrap(), 5).unwrap();
        Publication::for_plan(&plan, verdict)
    }

    fn failed() -> Verdict {
        let mut verdict = Verdict::default();
        verdict.add(Judgement::Fail, Cause::Backup, "not-loaded", "INDEX public.i: no");
        verdict
    }

    #[test]
    fn what_passed_gets_its_name_and_its_comment_in_one_transaction() {
        let publication = published(&Verdict::default(), |_, _| {});
        assert_eq!(
            publication.by_hand(),
            "COMMENT ON DATABASE \"drctl_restoring_20261121220251_000005\" IS 'the shop'; \
             ALTER DATABASE \"drctl_restoring_20261121220251_000005\" RENAME TO \"restored\"; \
             ALTER DATABASE \"restored\" ALLOW_CONNECTIONS true;"
        );
        assert!(publication.kept_comment().starts_with("drctl: complete: "));
        let replacing = published(&Verdict::default(), |_, situation| {
            situation.target.existing = Some(ExistingDatabase {
                owner: "app".to_owned(),
                takes_connections: true,
                ..Default::default()
            });
        });
        assert_eq!(replacing.aside.as_deref(), Some("drctl_replaced_20261121220251_000005"));
    }

    #[test]
    fn what_is_incomplete_gets_another_name_and_leaves_an_empty_database_alone() {
        let publication = published(&failed(), |request, situation| {
            request.incomplete = Some("partly".to_owned());
            situation.target.existing = Some(ExistingDatabase {
                owner: "app".to_owned(),
                takes_connections: true,
                ..Default::default()
            });
        });
        assert_eq!((publication.database.as_str(), &publication.aside), ("partly", &None));
        let comment = publication.comment.as_deref().unwrap();
        assert!(comment.starts_with("drctl: incomplete (fail): restored from "), "{comment}");
        assert!(comment.ends_with("\n- INDEX public.i: no\nIts comment was: the shop"), "{comment}");
        assert!(publication.kept_comment().starts_with("drctl: incomplete"));
    }

    #[test]
    fn what_has_its_name_already_loses_the_mark_and_the_limit() {
        let publication = published(&Verdict::default(), |request, _| request.keeps_name = true);
        assert_eq!(
            publication.by_hand(),
            "COMMENT ON DATABASE \"restored\" IS 'the shop'; ALTER DATABASE \"restored\" CONNECTION LIMIT -1;"
        );
        let weak = published(&Verdict::default(), |request, situation| {
            (request.keeps_name, situation.target.superuser) = (true, false);
            situation.target.member_of.insert("app".to_owned());
        });
        assert!(weak.by_hand().ends_with("GRANT CONNECT ON DATABASE \"restored\" TO PUBLIC;"));
        let incomplete = published(&failed(), |request, _| {
            (request.keeps_name, request.incomplete) = (true, Some("partly".to_owned()));
        });
        assert_eq!(incomplete.database, "restored");
    }
}
