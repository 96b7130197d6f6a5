//! What the sources of AWS-managed backups share: their details in the repositories, and their copies in
//! other regions.

use std::error::Error;

use futures_util::future::join_all;
use thiserror::Error;

use super::capture::{ArtifactSink, CaptureContext, DETAILS, MissingCopy, SinkError};
use crate::event::{Phase, PhaseTimer};
use crate::model::{Artifact, Details};
use crate::pipeline::MemoryProducer;
use crate::text::error_chain;

/// Why the repositories do not have the details that a restore needs.
#[derive(Debug, Error)]
pub enum DetailsError {
    #[error("failed to write what a restore needs to know")]
    Encode(#[from] serde_json::Error),
    #[error(transparent)]
    Sink(#[from] SinkError),
}

/// Stores the details that a restore needs when the region cannot be queried.
pub(super) async fn store_details(
    details: &Details,
    sink: &mut dyn ArtifactSink,
    context: &CaptureContext<'_>,
) -> Result<Artifact, DetailsError> {
    let mut phases = PhaseTimer::new(context.events);
    phases.begin(Phase::Details);
    let json = serde_json::to_vec_pretty(details)?;
    let size = json.len() as u64;
    let stored = sink.store(DETAILS, Box::new(MemoryProducer::new(json)), Some(size)).await?;
    phases.end();
    Ok(stored)
}

/// Creates the copies of a backup in other regions, concurrently, and returns them and the missing ones.
/// `None`: the run was interrupted.
pub(super) async fn copy_to_regions<P, T, E: Error + 'static>(
    places: &[P],
    region: impl Fn(&P) -> &str,
    context: &CaptureContext<'_>,
    copy: impl AsyncFn(&P) -> Result<T, E>,
) -> Option<(Vec<(String, T)>, Vec<MissingCopy>)> {
    let (mut made, mut missing) = (vec![], vec![]);
    if places.is_empty() {
        return Some((made, missing));
    }
    let mut phases = PhaseTimer::new(context.events);
    phases.begin(Phase::CopyToRegions);
    for (place, outcome) in places.iter().zip(join_all(places.iter().map(|place| copy(place))).await) {
        match outcome {
            Ok(copy) => made.push((region(place).to_owned(), copy)),
            Err(_) if context.cancel.is_cancelled() => return None,
            Err(error) => missing.push(missing_in(region(place), error_chain(&error))),
        }
    }
    phases.end();
    Some((made, missing))
}

/// Returns the fact that a region lacks the backup.
pub(super) fn missing_in(region: &str, reason: String) -> MissingCopy {
    MissingCopy { place: format!("region {region}"), reason }
}
