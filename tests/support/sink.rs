//! A sink that keeps what a source gives it, in memory.

use async_trait::async_trait;
use drctl::model::{Artifact, Digest, ObjectPart};
use drctl::pipeline::Produce;
use drctl::source::{ArtifactSink, SinkError};

#[derive(Default)]
pub(crate) struct MemorySink {
    /// Name and bytes of each artifact that was whole, in the order they came.
    pub(crate) artifacts: Vec<(String, Vec<u8>)>,
    /// Names of all that were begun.
    pub(crate) begun: Vec<String>,
}

impl MemorySink {
    pub(crate) fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.artifacts.iter().find(|(kept, _)| kept == name).map(|(_, bytes)| bytes.as_slice())
    }
}

#[async_trait]
impl ArtifactSink for MemorySink {
    async fn store(
        &mut self,
        name: &str,
        mut producer: Box<dyn Produce>,
        _estimate: Option<u64>,
    ) -> Result<Artifact, SinkError> {
        self.begun.push(name.to_owned());
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = Vec::new();
            producer.read_to_end(&mut bytes)?;
            producer.finish()?;
            Ok::<_, SinkError>(bytes)
        });
        let bytes = read.await??;
        let digest = Digest::compute(&bytes);
        self.artifacts.push((name.to_owned(), bytes));
        Ok(Artifact {
            name: name.to_owned(),
            plain: digest,
            encoding: vec![],
            objects: vec![ObjectPart { name: name.to_owned(), stored: digest }],
        })
    }
}
