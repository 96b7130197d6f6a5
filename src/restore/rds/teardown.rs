//! Deletes what a restore created for a limited time, identified by its tags and its RDS resource id.

use super::RdsRestoreRequest;
use super::settings::FROM;
use crate::aws::rds::{Database, Rds, Removal, RemovedBy, Temporary};
use crate::aws::{Poll, Waiter};
use crate::policy::RdsDatabase;
use crate::restore::CreatedObject;
use crate::restore::teardown::not_of_this_method;
use crate::run::RunContext;
use crate::text::error_chain;

/// Deletes the created database; `Err`: why it is left.
pub(super) async fn remove(
    run: &RunContext,
    request: &RdsRestoreRequest,
    object: &CreatedObject,
) -> Result<(), String> {
    let CreatedObject::RdsDatabase { region, database: id, resource_id, restored_from } = object else {
        return Err(not_of_this_method());
    };
    let place = request.config.place.in_region(region);
    let rds = Rds::connect(&place).await.map_err(|error| error_chain(&error))?;
    let database = rds.database(id).await.map_err(|failure| error_chain(&failure))?;
    let Some(database) = database else {
        let all = match id {
            RdsDatabase::Instance(_) => rds.instances().await,
            RdsDatabase::Cluster(_) => rds.clusters().await,
        };
        let all = all.map_err(|failure| error_chain(&failure))?;
        return renamed(resource_id.as_deref(), all.iter().map(|other| (&other.id, &*other.resource_id)));
    };
    if !is_it(&database, resource_id.as_deref(), restored_from) {
        return Err("another resource has its name now".to_owned());
    }
    let waiter = Waiter { poll: Poll::from(&place), events: &run.events, cancel: &run.cancel };
    let made = Temporary::from(database);
    // One that is being deleted already is waited for.
    if made.status != "deleting" {
        let removal = rds.remove_with_members(&made, &request.system, RemovedBy::Maker, &waiter).await;
        match removal.map_err(|failure| error_chain(&failure))? {
            Removal::Begun | Removal::Gone => {}
            Removal::Refused(refusal) => return Err(refusal.to_string()),
            Removal::Waits => return Err("RDS is still deleting its instances".to_owned()),
        }
    }
    rds.await_deletion(id, &made.resource_id, &waiter).await.map_err(|error| error_chain(&error))
}

/// Fails where a database without its name has another one: it may be used under that one. Without its resource
/// id, which was never seen, it cannot be told from others.
fn renamed<'d>(
    resource_id: Option<&str>,
    mut all: impl Iterator<Item = (&'d RdsDatabase, &'d str)>,
) -> Result<(), String> {
    let is_it = |(_, other): &(&RdsDatabase, &str)| Some(*other) == resource_id;
    match all.find(is_it) {
        Some((id, _)) => Err(format!("it was renamed to `{}`, and may be in use", id.identifier())),
        None => Ok(()),
    }
}

/// Returns whether it is the very one: by its RDS resource id, and where that was not seen, by its source.
fn is_it(database: &Database, resource_id: Option<&str>, restored_from: &str) -> bool {
    match resource_id {
        Some(resource_id) => database.resource_id == resource_id,
        None => !restored_from.is_empty() && database.tags.get(FROM) == Some(restored_from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_renamed_is_not_gone() {
        let others = [RdsDatabase::Instance("shop".to_owned()), RdsDatabase::Instance("copy-new".to_owned())];
        let all = || others.iter().zip(["db-ONE", "db-TWO"]);
        let left = renamed(Some("db-TWO"), all()).unwrap_err();
        assert!(left.contains("`copy-new`"), "{left}");
        assert_eq!(renamed(Some("db-THREE"), all()), Ok(()));
        assert_eq!(renamed(None, all()), Ok(()));
    }
}
