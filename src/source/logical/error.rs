use std::time::Duration;

use thiserror::Error;

use crate::platform::ProcessError;
use crate::postgres::{ConnectError, FactsError, ToolsError};
use crate::source::{DumpError, SinkError, Unreadable};

const QUESTION_WITHIN: Duration = Duration::from_secs(600);

/// Why a database could not be dumped.
#[derive(Debug, Error)]
pub enum LogicalError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("failed to find a pg_dump for `{database}`, whose server is PostgreSQL {version}")]
    Tools { database: String, version: String, source: ToolsError },
    #[error("failed to find out about `{database}`")]
    Question { database: String, source: sqlx::Error },
    #[error(
        "failed to find out about `{database}`: no answer in {}",
        humantime::format_duration(QUESTION_WITHIN)
    )]
    NoAnswer { database: String },
    #[error(
        "role `{role}` may not read all of `{database}`, and a backup without it would not be one:{}",
        listed(.list)
    )]
    Unreadable { role: String, database: String, list: Vec<Unreadable> },
    #[error("failed to describe what `{database}` holds")]
    Facts { database: String, source: FactsError },
    #[error("failed to dump `{database}`")]
    Start { database: String, source: ProcessError },
    #[error("failed to dump the roles of the server of `{database}`")]
    Globals { database: String, source: DumpError },
    #[error("failed to back up `{database}`")]
    Store { database: String, source: SinkError },
    #[error("failed to write down what `{database}` holds")]
    Details { database: String, source: serde_json::Error },
    #[error("failed to go on with the backup of `{database}`: the run was interrupted")]
    Interrupted { database: String },
}

fn listed(list: &[Unreadable]) -> String {
    list.iter().map(|item| format!("\n    {item}")).collect()
}

/// What the server answers, or an error that names the database.
pub(super) async fn ask<T>(
    database: &str,
    asked: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, LogicalError> {
    match tokio::time::timeout(QUESTION_WITHIN, asked).await {
        Ok(answered) => {
            answered.map_err(|source| LogicalError::Question { database: database.to_owned(), source })
        }
        Err(_) => Err(LogicalError::NoAnswer { database: database.to_owned() }),
    }
}
