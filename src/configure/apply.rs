use std::time::{Duration, Instant};

use serde::Serialize;
use sqlx::{AssertSqlSafe, PgConnection};

use super::finding::{Effect, Fix, SettingFinding, SettingState};
use super::plan::{DesiredSettings, plan};
use super::server::{ConfigureError, ServerSession};
use crate::platform::CancellationToken;
use crate::text::error_chain;

/// How long a server may take to reload its configuration.
const READ_AGAIN_WITHIN: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(100);
const RELOAD: &str = "SELECT pg_reload_conf()";

/// A statement that was executed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Applied {
    pub statement: String,
    /// Why the server rejected it.
    pub error: Option<String>,
}

/// Executes the statements of the findings, and replaces settings that belong to another system only with
/// `replace`. Returns the executed statements, and the findings afterwards.
///
/// A rejected statement does not prevent the others.
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
        // A new connection has the server's current settings; this one may still have its initial ones.
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
    // All foreign parts of it are quoted.
    let ran = server.ask(sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(connection)).await;
    ran.err().map(|error| match error {
        ConfigureError::Question { source, .. } => source
            .as_database_error()
            .map_or_else(|| error_chain(&source), |error| error.message().to_owned()),
        error => error_chain(&error),
    })
}
