//! Drops the database that a restore created, which keeps its OID when it is renamed.

use super::DumpRestoreRequest;
use super::database::{drop_database, name_of};
use crate::restore::CreatedObject;
use crate::restore::teardown::not_of_this_method;
use crate::run::RunContext;
use crate::text::error_chain;

/// Drops a restored database; `Err`: why it is left.
pub(super) async fn remove(
    _run: &RunContext,
    request: &DumpRestoreRequest,
    object: &CreatedObject,
) -> Result<(), String> {
    let CreatedObject::Database { oid, names } = object else { return Err(not_of_this_method()) };
    let (target, oid) = (&request.target, *oid);
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
