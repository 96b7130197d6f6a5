//! The policy's checks of what was restored: queries as the application's role, and programs of the application.

use std::time::Duration;

use super::request::DrillRequest;
use super::restore_sample::RestoredSample;
use crate::checks::{self, CHECK_FAILED, CheckResult, NOT_ASKED, NOT_THERE};
use crate::model::{Cause, Judgement, Verdict};
use crate::platform::{ProcessError, Program};
use crate::policy::{Check, Probe};
use crate::postgres::{ConnectionParameters, close};
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
            Probe::Command(words) => results.push(command(run, check, words, &login).await),
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

/// Runs a program of the application with `DATABASE_URL`. It runs outside of the sandbox: only the socket leads in.
async fn command(
    run: &RunContext,
    check: &Check,
    words: &[String],
    login: &ConnectionParameters,
) -> CheckResult {
    let Some((program, arguments)) = words.split_first() else {
        return CheckResult::undetermined(&check.name, Cause::Tool, "no-command", "the command is empty");
    };
    let program = Program::new(program).args(arguments).env("DATABASE_URL", login.to_socket_url());
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
