use async_trait::async_trait;

use crate::model::Artifact;
use crate::pipeline::Produce;
use crate::repository::BackupWriter;
use crate::source::{ArtifactSink, SinkError};

#[async_trait]
impl ArtifactSink for BackupWriter {
    async fn store(
        &mut self,
        name: &str,
        producer: Box<dyn Produce>,
        estimate: Option<u64>,
    ) -> Result<Artifact, SinkError> {
        Ok(BackupWriter::store(self, name, producer, estimate).await?)
    }
}
