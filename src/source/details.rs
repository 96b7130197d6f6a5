//! What only key holders may read of a backup, as an artifact beside it.

use super::capture::{ArtifactSink, DETAILS, SinkError};
use crate::model::{Artifact, Details};
use crate::pipeline::MemoryProducer;

pub(super) async fn store_details(
    sink: &mut dyn ArtifactSink,
    details: &Details,
) -> Result<Artifact, SinkError> {
    let json = serde_json::to_vec_pretty(details)?;
    let size = json.len() as u64;
    sink.store(DETAILS, Box::new(MemoryProducer::new(json)), Some(size)).await
}
