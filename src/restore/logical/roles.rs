//! Creates the planned roles and tablespaces.

use sqlx::PgConnection;

use super::DumpRestoreError;
use super::database::execute;
use super::globals::{GlobalsPlan, GlobalsStep};
use super::plan::DumpRestorePlan;
use super::target::maintenance;
use crate::postgres::close;
use crate::run::RunContext;

/// Creates them. Adds to `made` what remains in any case, and returns what the server rejected, as text.
pub(super) async fn make_globals(
    run: &RunContext,
    plan: &DumpRestorePlan,
    made: &mut Vec<String>,
) -> Result<Vec<String>, DumpRestoreError> {
    let Some(globals) = &plan.globals else { return Ok(vec![]) };
    run.check_interruption()?;
    let mut connection = maintenance(&plan.steps.target).await.map_err(DumpRestoreError::Connect)?;
    let constants = "SET standard_conforming_strings = on; SET client_encoding = 'UTF8'".to_owned();
    execute(&mut connection, "prepare for roles", constants).await?;
    let mut not_made = Vec::new();
    execute(&mut connection, "make roles", "BEGIN".to_owned()).await?;
    for step in &globals.role_steps {
        not_made.extend(make_role(&mut connection, step).await?);
    }
    execute(&mut connection, "make roles", "COMMIT".to_owned()).await?;
    made.extend(globals.roles.iter().map(|role| format!("role {role}")));
    for step in &globals.tablespace_steps {
        not_made.extend(make(&mut connection, "make tablespaces", step).await?);
        if step.is_needed {
            made.push(format!("tablespace {}", step.statement.name(2)));
        }
    }
    close(connection).await;
    tell_globals(run, plan, globals);
    Ok(not_made)
}

fn tell_globals(run: &RunContext, plan: &DumpRestorePlan, globals: &GlobalsPlan) {
    if !globals.existing_roles.is_empty() {
        run.events
            .notice(format!("left as they are, since they exist: {}", globals.existing_roles.join(", ")));
    }
    if !globals.joined.is_empty() {
        run.events.notice(format!(
            "{} is a member now, to give them what they own, of {}",
            plan.steps.target.user,
            globals.joined.join(", ")
        ));
    }
    for text in &globals.left_out {
        run.events.warning(format!("left out of the roles and tablespaces: {text}"));
    }
    if !globals.need_password.is_empty() {
        run.events.warning(format!(
            "these roles may log in and need a password, which the backup does not hold: {}",
            globals.need_password.join(", ")
        ));
    }
}

/// Creates a role in a savepoint, since an optional statement must not abort the transaction.
async fn make_role(
    connection: &mut PgConnection,
    step: &GlobalsStep,
) -> Result<Option<String>, DumpRestoreError> {
    const WHAT: &str = "make roles";
    if step.is_needed {
        return make(connection, WHAT, step).await;
    }
    execute(connection, WHAT, "SAVEPOINT step".to_owned()).await?;
    let not_made = make(connection, WHAT, step).await?;
    let end = if not_made.is_some() { "ROLLBACK TO step; RELEASE step" } else { "RELEASE step" };
    execute(connection, WHAT, end.to_owned()).await?;
    Ok(not_made)
}

async fn make(
    connection: &mut PgConnection,
    what: &str,
    step: &GlobalsStep,
) -> Result<Option<String>, DumpRestoreError> {
    let gist = step.statement.gist();
    match execute(connection, &format!("{what} (`{gist}`)"), step.statement.sql().to_owned()).await {
        Ok(()) => Ok(None),
        Err(DumpRestoreError::Statement { source: sqlx::Error::Database(error), .. }) if !step.is_needed => {
            Ok(Some(format!("`{gist}`: {}", error.message())))
        }
        Err(error) => Err(error),
    }
}
