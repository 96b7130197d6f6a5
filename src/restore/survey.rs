//! Finds out everything a plan needs, and changes nothing anywhere.

use std::io::Read as _;
use std::sync::Arc;

use futures_util::future::join_all;

use super::choice::{Doubtful, Holding, choose};
use super::plan::artifact;
use super::{Rates, Refusal, Request, RestoreError, Run, Situation, target};
use crate::event::told;
use crate::model::{Artifact, BackupId, Details, Manifest, RepositoryName};
use crate::pipeline::{OpenError, open};
use crate::platform::free_space;
use crate::postgres::Tools;
use crate::repository::reader::{ReadError, Window, stream};
use crate::repository::{Lost, ManifestError, Repository, layout, list_all, manifest};
use crate::source::logical::{DETAILS, GLOBALS};

/// What is known from earlier runs.
#[derive(Clone, Debug, Default)]
pub struct Known {
    pub doubtful: Doubtful,
    pub rates: Rates,
}

/// Details and globals are read into memory; more than this is neither.
const SMALL: u64 = 256 << 20;
/// They are small: a little at a time is enough.
const WINDOW: Window = Window { chunk: 1 << 20, parallel: 2 };

impl Run {
    /// Looks at the repositories, the backup, the target and this host.
    ///
    /// The details are opened here already: they are small, and prove that the identity opens the backup
    /// before anything is touched.
    pub async fn survey(&self, request: &Request, known: Known) -> Result<Situation, RestoreError> {
        let holdings = self.holdings(request).await?;
        let (id, holders) = choose(&holdings, request, &known.doubtful)
            .map_err(|refusal| RestoreError::Refused(vec![refusal]))?;
        let (manifest, repositories) = self.manifest(&id, holders).await?;
        let details = artifact(&manifest, DETAILS).ok_or_else(|| {
            RestoreError::Refused(vec![Refusal::NoArtifact { backup: id.clone(), artifact: DETAILS }])
        })?;
        let text = self.read_small(&manifest, details, &repositories).await?;
        let not_understood =
            |reason: String| RestoreError::Details { artifact: details.name.clone(), reason };
        let parsed: Details =
            serde_json::from_slice(&text).map_err(|error| not_understood(error.to_string()))?;
        let recorded =
            parsed.database.ok_or_else(|| not_understood("it describes no database".to_owned()))?;
        let globals = match artifact(&manifest, GLOBALS).filter(|_| request.globals) {
            Some(artifact) => {
                let script = self.read_small(&manifest, artifact, &repositories).await?;
                Some(String::from_utf8_lossy(&script).into_owned())
            }
            None => None,
        };
        let target = target::inspect(&self.target, &recorded).await?;
        // An archive is read by a pg_restore of the version of the pg_dump that wrote it, or a newer one.
        let written_by = producer_major(&manifest.tool.producer).unwrap_or(recorded.major);
        let tools = Tools::find(self.tools.as_deref(), written_by).await.map_err(RestoreError::Tools)?;
        tools.program("pg_restore").and(tools.program("vacuumdb")).map_err(RestoreError::Tools)?;
        let scratch_free = free_space(&request.scratch)
            .map_err(|source| RestoreError::Scratch { directory: request.scratch.clone(), source })?;
        Ok(Situation {
            manifest,
            repositories,
            recorded,
            globals,
            target,
            tools,
            scratch_free,
            rates: known.rates,
        })
    }

    async fn holdings(&self, request: &Request) -> Result<Vec<Holding>, RestoreError> {
        let prefix = layout::backups(&self.system, &request.source);
        let listed = join_all(
            self.repositories
                .iter()
                .map(async |repository| (repository.clone(), list_all(&*repository.store, &prefix).await)),
        )
        .await;
        let mut lost = self.repositories.lost().to_vec();
        let mut holdings = Vec::new();
        for (repository, outcome) in listed {
            match outcome {
                Ok(objects) => holdings.push(Holding {
                    repository: repository.name,
                    backups: objects
                        .iter()
                        .filter_map(|object| layout::parse_manifest(&object.key))
                        .collect(),
                }),
                Err(error) => lost.push(Lost::new(&repository, error)),
            }
        }
        if holdings.is_empty() {
            return Err(RestoreError::NoRepository(lost));
        }
        for lost in lost {
            self.events.warning(format!("repository {} cannot be read: {}", lost.name, lost.reason()));
        }
        Ok(holdings)
    }

    /// The manifest, and the repositories that have just this one.
    async fn manifest(
        &self,
        id: &BackupId,
        holders: Vec<RepositoryName>,
    ) -> Result<(Manifest, Vec<RepositoryName>), RestoreError> {
        let mut first: Option<Manifest> = None;
        let mut same = Vec::new();
        let mut failed: Option<ManifestError> = None;
        for name in holders {
            let Some(repository) = self.repositories.find(&name) else { continue };
            match manifest::read(&*repository.store, &self.system, id).await {
                Ok((read, _)) => match &first {
                    Some(first) if *first != read => self
                        .events
                        .warning(format!("repository {name} has another manifest of {id} and is left out")),
                    _ => {
                        first = Some(read);
                        same.push(name);
                    }
                },
                Err(error) => {
                    self.events.warning(format!("repository {name}: {}", told(&error)));
                    failed = Some(error);
                }
            }
        }
        match (first, failed) {
            (Some(manifest), _) => Ok((manifest, same)),
            (None, Some(source)) => Err(RestoreError::Manifest { backup: id.clone(), source }),
            (None, None) => Err(RestoreError::NoRepository(self.repositories.lost().to_vec())),
        }
    }

    /// The plain bytes of a small artifact, from the first repository that has them right.
    async fn read_small(
        &self,
        manifest: &Manifest,
        artifact: &Artifact,
        repositories: &[RepositoryName],
    ) -> Result<Vec<u8>, RestoreError> {
        let mut tries = Vec::new();
        let mut closed = None;
        for name in repositories {
            let Some(repository) = self.repositories.find(name) else { continue };
            match self.read_from(repository, manifest, artifact).await {
                Ok(bytes) => return Ok(bytes),
                // A damaged header looks like another key; the next copy tells.
                Err(source @ (OpenError::NoIdentity | OpenError::WrongIdentity)) => {
                    closed.get_or_insert(source);
                }
                Err(error) if is_interruption(&error) => return Err(RestoreError::Interrupted),
                Err(error) => {
                    let reason = told(&error);
                    self.events.warning(format!("{} cannot be read from {name}: {reason}", artifact.name));
                    tries.push((name.clone(), reason));
                }
            }
        }
        match closed {
            Some(source) => Err(RestoreError::CannotDecrypt { backup: manifest.id.clone(), source }),
            None => Err(RestoreError::Fetch { artifact: artifact.name.clone(), tries }),
        }
    }

    async fn read_from(
        &self,
        repository: &Repository,
        manifest: &Manifest,
        artifact: &Artifact,
    ) -> Result<Vec<u8>, OpenError> {
        let folder = layout::backup(&manifest.system, &manifest.id);
        let stream = stream(Arc::clone(&repository.store), &folder, artifact, WINDOW, self.cancel.clone());
        let (identities, artifact) = (self.identities.clone(), artifact.clone());
        let reading = tokio::task::spawn_blocking(move || {
            let plain = open(stream.into_reader(), &artifact.encoding, &identities, Some(artifact.plain))?;
            let mut bytes = Vec::new();
            plain.take(SMALL).read_to_end(&mut bytes).map_err(OpenError::Read)?;
            if bytes.len() as u64 == artifact.plain.size {
                return Ok(bytes);
            }
            Err(OpenError::Read(std::io::Error::other("it is larger than it can be")))
        });
        reading.await.unwrap_or_else(|error| Err(OpenError::Read(std::io::Error::other(error))))
    }
}

/// Whether reading ended because the run was interrupted.
pub(super) fn is_interruption(error: &OpenError) -> bool {
    let (OpenError::Read(source) | OpenError::Header(source)) = error else { return false };
    let inner = source.get_ref().and_then(|inner| inner.downcast_ref::<ReadError>());
    matches!(inner, Some(ReadError::Interrupted))
}

/// `pg_dump (PostgreSQL) 15.18 (Debian …)` is 15.
fn producer_major(version: &str) -> Option<u32> {
    let (_, number) = version.split_once("(PostgreSQL) ")?;
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}
