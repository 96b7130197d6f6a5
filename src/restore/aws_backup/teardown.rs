//! Deletes what a restore job created, identified by AWS Backup's record of the job and the id that RDS gave
//! the database. AWS Backup does not tag it with drctl's tags.

use super::ResourceRestoreRequest;
use crate::aws::backup::AwsBackup;
use crate::aws::rds::Removal;
use crate::aws::{Poll, PollProgress, PolledState, Waiter};
use crate::restore::CreatedObject;
use crate::restore::teardown::not_of_this_method;
use crate::run::RunContext;
use crate::text::error_chain;

/// Deletes the created resource; `Err`: why it is left.
pub(super) async fn remove(
    run: &RunContext,
    request: &ResourceRestoreRequest,
    object: &CreatedObject,
) -> Result<(), String> {
    let CreatedObject::Resource { region, job: id, arn, resource_id } = object else {
        return Err(not_of_this_method());
    };
    let place = request.config.place.in_region(region);
    let aws = AwsBackup::connect(&place).await.map_err(|error| error_chain(&error))?;
    let job = aws.restore_job(id).await.map_err(|failure| error_chain(&failure))?;
    let Some(job) = job else { return Err(format!("AWS Backup no longer has restore job {id}")) };
    let Some(made) = job.made else {
        // It may still create something.
        return match job.is_lost() {
            true => Ok(()),
            false => Err(format!("restore job {id} is `{}`, and names nothing that it made", job.state)),
        };
    };
    if arn.as_ref().is_some_and(|arn| *arn != made) {
        return Err(format!("restore job {id} made {made}"));
    }
    let state = aws.resource(&made).await.map_err(|failure| error_chain(&failure))?;
    match state.is_there() {
        Some(false) => return Ok(()),
        None => return Err("drctl does not delete resources of that service: delete it there".to_owned()),
        Some(true) => {}
    }
    // Identified by name alone, it may be another one by now.
    let Some(resource_id) = resource_id else {
        return Err("its id in RDS was not seen when it was restored: delete it there".to_owned());
    };
    match aws.delete_made(&made, resource_id).await.map_err(|failure| error_chain(&failure))? {
        Some(Removal::Refused(refusal)) => return Err(refusal.to_string()),
        Some(Removal::Gone) => return Ok(()),
        Some(Removal::Begun | Removal::Waits) | None => {}
    }
    let waiter = Waiter { poll: Poll::from(&place), events: &run.events, cancel: &run.cancel };
    let query = async || {
        let working = PollProgress { status: "deleting".to_owned(), ..PollProgress::default() };
        Ok(match aws.resource(&made).await?.resource_id() {
            Some(now) if now == *resource_id => PolledState::Working(working),
            _ => PolledState::Done(()),
        })
    };
    waiter.ask(&format!("deletion of {made}"), query).await.map_err(|error| error_chain(&error))
}
