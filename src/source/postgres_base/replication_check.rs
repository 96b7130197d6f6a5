use std::time::Duration;

use super::preflight::BasePreflight;
use crate::platform::{CancellationToken, ProcessError};
use crate::postgres::{ConnectionParameters, Tools};
use crate::text::error_chain;

const IDENTIFY_WITHIN: Duration = Duration::from_secs(30);

/// Returns why the server rejects a replication connection, by trying one.
pub(super) async fn rejection(parameters: &ConnectionParameters, tools: &Tools) -> Option<BasePreflight> {
    let psql = match tools.program("psql") {
        Ok(psql) => psql,
        Err(error) => return Some(BasePreflight::NoProgram(error.to_string())),
    };
    if let Err(error) = tools.program("pg_basebackup") {
        return Some(BasePreflight::NoProgram(error.to_string()));
    }
    let psql = psql.args(["--no-psqlrc", "--no-password", "--quiet", "--command=IDENTIFY_SYSTEM"]);
    let rejected = |words| BasePreflight::ReplicationRefused { role: parameters.user.clone(), words };
    let psql = match parameters.apply(psql.arg("--dbname=replication=true")).await {
        Ok(psql) => psql,
        Err(error) => return Some(rejected(error_chain(&error))),
    };
    match psql.run(IDENTIFY_WITHIN, &CancellationToken::new()).await {
        Ok(_) => None,
        Err(ProcessError::Failed { stderr, .. }) if !stderr.is_empty() => Some(rejected(stderr.join(" "))),
        Err(error) => Some(rejected(error_chain(&error))),
    }
}
