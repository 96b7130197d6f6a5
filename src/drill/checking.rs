//! The policy's checks of what was restored: queries as the application's role, and programs of the application.

use std::time::Duration;

use super::request::DrillRequest;
use super::restore_sample::RestoredSample;
use crate::checks::{self, CHECK_FAILED, CheckResult, NOT_ASKED, NOT_THERE};
use crate::model::{Cause, Judgement, Verdict};
use crate::platform::{ProcessError, Program};
use crate::policy::{Check, Probe};
use crate::postgres::close;
use crate::run::RunContext;
use crate::text::{error_chain, format_duration};

/// How long a program may take.
const COMMAND_WITHIN: Duration = Duration::from_secs(15 * 60);

/// Runs all checks, in the policy's order of each kind.
pub(super) async fn run(
    run: &RunContext,
    request: &DrillRequest,
    restored: &RestoredSample,
) -> Vec<CheckResult> {
    let mut login = restored.login.clone();
    if let Some(role) = &request.role {
        login.user.clone_from(role);
    }
    let asked = checks::run(Ok(vec![login.clone()]), &request.checks, restored.recovery_point);
    let mut results = tokio::select! {
        results = asked => results,
        () = run.cancel.cancelled() => return vec![interrupted()],
    };
    if request.role.is_some() || restored.is_superuser {
        results
            .iter_mut()
            .for_each(|result| *result = of_application(std::mem::take(&mut result.check), result));
    }
    for check in &request.checks {
        match &check.probe {
            Probe::Sql { .. } => {}
            Probe::Command(words) => {
                let url = login.to_socket_url();
                results.push(command(run, check, words, ("DATABASE_URL", &url)).await);
            }
            Probe::Http(url) => results.push(CheckResult::undetermined(
                &check.name,
                Cause::Environment,
                "no-application",
                format!("check `{}` was not run: no application listens at {url} in the sandbox; a `command` starts one", check.name),
            )),
        }
    }
    results
}

fn interrupted() -> CheckResult {
    CheckResult::undetermined("checks", Cause::Tool, "interrupted", "the checks were interrupted")
}

/// What the application's own role cannot see, the application cannot use; what a superuser does not see is not there.
fn of_application(check: String, result: &CheckResult) -> CheckResult {
    let mut verdict = Verdict::default();
    for reason in &result.verdict.reasons {
        match reason.code == NOT_THERE || is_refused_login(&reason.message) {
            true => verdict.add(Judgement::Fail, Cause::Backup, reason.code, reason.message.clone()),
            false => verdict.add(result.verdict.outcome, reason.cause, reason.code, reason.message.clone()),
        }
    }
    CheckResult { check, verdict, found: result.found.clone() }
}

/// Whether the restored server does not let the role in, as opposed to being out of reach.
fn is_refused_login(message: &str) -> bool {
    let refusals = ["does not exist", "is not permitted to log in", "permission denied for database"];
    message.contains("failed to log in") && refusals.iter().any(|words| message.contains(words))
}

/// Runs a program of the application with a variable that says where what was restored is. It runs outside of the
/// sandbox: only the socket leads in.
pub(super) async fn command(
    run: &RunContext,
    check: &Check,
    words: &[String],
    (variable, value): (&str, &str),
) -> CheckResult {
    let Some((program, arguments)) = words.split_first() else {
        return CheckResult::undetermined(&check.name, Cause::Tool, "no-command", "the command is empty");
    };
    let program = Program::new(program).args(arguments).env(variable, value);
    match program.run(COMMAND_WITHIN, &run.cancel).await {
        Ok(_) => CheckResult::passed(&check.name, "0"),
        Err(error) => {
            let (judgement, cause, code) = match &error {
                ProcessError::Start { .. } | ProcessError::Follow { .. } => {
                    (Judgement::Undetermined, Cause::Environment, NOT_ASKED)
                }
                ProcessError::Interrupted { .. } => (Judgement::Undetermined, Cause::Tool, "interrupted"),
                ProcessError::Deadline { .. } => (Judgement::Undetermined, Cause::Environment, NOT_ASKED),
                // It was not found, could not be run, or was killed.
                ProcessError::Failed { code: None | Some(126 | 127), .. } => {
                    (Judgement::Undetermined, Cause::Environment, NOT_ASKED)
                }
                ProcessError::Failed { .. } => (Judgement::Fail, Cause::Backup, CHECK_FAILED),
            };
            let within = match error {
                ProcessError::Deadline { .. } => format!(" within {}", format_duration(COMMAND_WITHIN)),
                _ => String::new(),
            };
            let mut verdict = Verdict::default();
            let message = format!("check `{}` did not pass{within}: {}", check.name, error_chain(&error));
            verdict.add(judgement, cause, code, message);
            CheckResult { check: check.name.clone(), verdict, found: None }
        }
    }
}

/// Returns the version of the server; `None` where it does not answer.
pub(super) async fn server_version(restored: &RestoredSample) -> Option<String> {
    let mut connection = restored.login.connect().await.ok()?;
    let asked = sqlx::query_scalar::<_, String>("SHOW server_version").fetch_one(&mut connection).await.ok();
    close(connection).await;
    asked.or_else(|| restored.server_version.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of a check that could not be run for this reason.
    fn judged(cause: Cause, code: &'static str, message: &str) -> (Judgement, Cause) {
        let result = CheckResult::undetermined("c", cause, code, message);
        let result = of_application("c".to_owned(), &result);
        (result.verdict.outcome, result.verdict.reasons[0].cause)
    }

    #[test]
    fn what_the_applications_role_lacks_is_the_backups_fault_and_a_server_that_does_not_answer_is_not() {
        let (fails, unknown) =
            ((Judgement::Fail, Cause::Backup), (Judgement::Undetermined, Cause::Environment));
        let environment = |code, message: &str| judged(Cause::Environment, code, message);
        // The dump of another database, a table that was dropped, a grant that is missing.
        for message in ["relation \"tasks\" does not exist", "permission denied for table tasks"] {
            assert_eq!(environment(NOT_THERE, message), fails, "{message}");
        }
        let login = |why: &str| format!("failed to run check `c`: failed to log in: {why}");
        for why in [
            "role \"app\" does not exist",
            "database \"shop\" does not exist",
            "role \"app\" is not permitted to log in",
            "permission denied for database \"shop\"",
        ] {
            assert_eq!(environment(NOT_ASKED, &login(why)), fails, "{why}");
        }
        for why in ["connection refused", "no answer within 10s"] {
            assert_eq!(environment(NOT_ASKED, &login(why)), unknown, "{why}");
        }
        // A query that hangs, or is no query.
        assert_eq!(environment(NOT_ASKED, "no answer within 10m"), unknown);
        assert_eq!(
            judged(Cause::Tool, "interrupted", "the checks were interrupted").0,
            Judgement::Undetermined
        );
    }
}
