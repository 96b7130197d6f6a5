//! Drops the database that a restore created, which keeps its oid when it is published under its name.

use super::DumpRestoreRequest;
use super::database::{drop_database, name_of};
use crate::postgres::ConnectionParameters;
use crate::restore::teardown::not_of_this_method;
use crate::restore::{CreatedObject, TeardownReport};
use crate::run::RunContext;
use crate::text::error_chain;

pub(super) async fn teardown(
    _run: &RunContext,
    request: &DumpRestoreRequest,
    created: &[CreatedObject],
) -> TeardownReport {
    let mut report = TeardownReport::default();
    for object in created {
        let outcome = match object {
            CreatedObject::Database { oid, names } => remove(&request.target, *oid, names).await,
            other => Err(not_of_this_method(other)),
        };
        report.record(object, outcome);
    }
    report
}

/// `Err`: why it is left.
async fn remove(target: &ConnectionParameters, oid: u32, names: &[String]) -> Result<(), String> {
    let name = async || name_of(target, oid).await.map_err(|error| error_chain(&error));
    let Some(found) = name().await? else { return Ok(()) };
    if !names.contains(&found) {
        return Err(format!("it was renamed to `{found}` since, and may be in use"));
    }
    drop_database(target, &found).await.map_err(|error| error_chain(&error))?;
    match name().await? {
        None => Ok(()),
        Some(_) => Err("the server still has it".to_owned()),
    }
}
