use std::time::{Duration, Instant};

use serde::Serialize;
use sqlx::{AssertSqlSafe, PgConnection};

use super::finding::{Effect, Fix, SettingFinding, SettingState};
use super::plan::{DesiredSettings, plan};
use super::server::{ConfigureError, ServerSession};
use crate::platform::CancellationToken;
use crate::text::error_chain;

/// How long a server may take to read its files again.
const READ_AGAIN_WITHIN: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(100);
const RELOAD: &str = "SELECT pg_reload_conf()";

/// A statement that was run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Applied {
    pub statement: String,
    /// Why the server did not do it.
    pub error: Option<String>,
}

/// Runs what the findings say, but what is someone else's only with `replace`. Gives what was run, and what
/// is found afterwards.
///
/// A statement that the server refuses does not keep the others back.
pub async fn apply(
    server: &ServerSession,
    connection: &mut PgConnection,
    wanted: &DesiredSettings,
    findings: &[SettingFinding],
    replace: bool,
    cancel: &CancellationToken,
) -> Result<(Vec<Applied>, Vec<SettingFinding>), ConfigureError> {
    let mut applied = vec![];
    let mut reload = false;
    for finding in findings {
        let is_meant =
            finding.state == SettingState::Missing || replace && finding.state == SettingState::Foreign;
        let Some(Fix::Sql { statements, takes }) = finding.remedy.as_ref().filter(|_| is_meant) else {
            continue;
        };
        for statement in statements {
            let error = run(server, connection, statement).await;
            let has_failed = error.is_some();
            applied.push(Applied { statement: statement.clone(), error });
            if has_failed {
                break;
            }
            reload |= *takes != Effect::AtOnce;
        }
    }
    if reload {
        let error = run(server, connection, RELOAD).await;
        applied.push(Applied { statement: RELOAD.to_owned(), error });
    }
    let begun = Instant::now();
    loop {
        // A new connection has what the server has now; this one may still have what it began with.
        let mut fresh = server.connect().await?;
        let facts = server.facts(&mut fresh, wanted, cancel).await;
        crate::postgres::close(fresh).await;
        let findings = plan(&facts?, wanted);
        let refused = |statement: &String| {
            applied.iter().any(|applied| applied.statement == *statement && applied.error.is_some())
        };
        let is_settled = findings.iter().all(|finding| match (&finding.state, &finding.remedy) {
            (SettingState::Missing, Some(Fix::Sql { statements, .. })) => statements.iter().any(refused),
            _ => true,
        });
        if is_settled || begun.elapsed() > READ_AGAIN_WITHIN || cancel.is_cancelled() {
            return Ok((applied, findings));
        }
        tokio::time::sleep(STEP).await;
    }
}

async fn run(server: &ServerSession, connection: &mut PgConnection, statement: &str) -> Option<String> {
    tracing::info!("{statement}");
    // Every part of it that is not ours is quoted.
    let ran = server.ask(sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(connection)).await;
    ran.err().map(|error| match error {
        ConfigureError::Question { source, .. } => source
            .as_database_error()
            .map_or_else(|| error_chain(&source), |error| error.message().to_owned()),
        error => error_chain(&error),
    })
}
