//! Finds out everything a plan needs, and changes nothing anywhere.

use futures_util::future::join_all;

use super::fetch::read_ahead;
use super::select::{RepositoryCopy, SuspectCopies, choose};
use super::{DumpRefusal, DumpRestoreError, DumpRestoreRequest, DumpSurvey, Rates, Run, target};
use crate::event::told;
use crate::model::{Artifact, BackupId, Details, Manifest, RepositoryName};
use crate::platform::free_space;
use crate::postgres::Tools;
use crate::repository::{ManifestError, SmallError, SmallReader, Unavailable, layout, manifest};
use crate::source::postgres_dump::capture::{DATABASE, DETAILS, GLOBALS};
use crate::store::list_all;

/// What is known from earlier runs.
#[derive(Clone, Debug, Default)]
pub struct CatalogHints {
    pub doubtful: SuspectCopies,
    pub rates: Rates,
}

impl Run {
    /// Looks at the repositories, the backup, the target and this host.
    ///
    /// The details are opened here already: they are small, and prove that the identity opens the backup
    /// before anything is touched.
    pub async fn survey(
        &self,
        request: &DumpRestoreRequest,
        known: CatalogHints,
    ) -> Result<DumpSurvey, DumpRestoreError> {
        let holdings = self.holdings(request).await?;
        let (id, holders) = choose(&holdings, request, &known.doubtful)
            .map_err(|refusal| DumpRestoreError::Refused(vec![refusal]))?;
        let (manifest, repositories) = self.manifest(&id, holders).await?;
        let details = manifest.artifact_of(DETAILS).ok_or_else(|| {
            DumpRestoreError::Refused(vec![DumpRefusal::NoArtifact { backup: id.clone(), artifact: DETAILS }])
        })?;
        let text = self.read_small(&manifest, details, &repositories).await?;
        let not_understood =
            |reason: String| DumpRestoreError::Details { artifact: details.name.clone(), reason };
        let parsed: Details =
            serde_json::from_slice(&text).map_err(|error| not_understood(error.to_string()))?;
        let mut recorded =
            parsed.database.ok_or_else(|| not_understood("it describes no database".to_owned()))?;
        request.change(&mut recorded);
        let globals = match manifest.artifact_of(GLOBALS).filter(|_| request.globals) {
            Some(artifact) => {
                let script = self.read_small(&manifest, artifact, &repositories).await?;
                Some(String::from_utf8_lossy(&script).into_owned())
            }
            None => None,
        };
        let contents = match manifest.artifact_of(DATABASE) {
            Some(dump) => read_ahead(self, &manifest, dump, &repositories).await,
            None => None,
        };
        let target = target::inspect(&self.target, &recorded).await?;
        // An archive is read by a pg_restore of the version of the pg_dump that wrote it, or a newer one.
        let written_by = producer_major(&manifest.tool.producer).unwrap_or(recorded.major);
        let tools = Tools::find(self.tools.as_deref(), written_by).await.map_err(DumpRestoreError::Tools)?;
        tools.program("pg_restore").and(tools.program("vacuumdb")).map_err(DumpRestoreError::Tools)?;
        let scratch_free = free_space(&request.scratch)
            .map_err(|source| DumpRestoreError::Scratch { directory: request.scratch.clone(), source })?;
        Ok(DumpSurvey {
            manifest,
            repositories,
            recorded,
            contents,
            globals,
            target,
            tools,
            scratch_free,
            rates: known.rates,
        })
    }

    async fn holdings(&self, request: &DumpRestoreRequest) -> Result<Vec<RepositoryCopy>, DumpRestoreError> {
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
                Ok(objects) => holdings.push(RepositoryCopy {
                    repository: repository.name,
                    backups: objects
                        .iter()
                        .filter_map(|object| layout::parse_manifest(&object.key))
                        .collect(),
                }),
                Err(error) => lost.push(Unavailable::new(&repository, error)),
            }
        }
        if holdings.is_empty() {
            return Err(DumpRestoreError::NoRepository(lost));
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
    ) -> Result<(Manifest, Vec<RepositoryName>), DumpRestoreError> {
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
            (None, Some(source)) => Err(DumpRestoreError::Manifest { backup: id.clone(), source }),
            (None, None) => Err(DumpRestoreError::NoRepository(self.repositories.lost().to_vec())),
        }
    }

    /// The plain bytes of a small artifact, from the first repository that has them right.
    async fn read_small(
        &self,
        manifest: &Manifest,
        artifact: &Artifact,
        repositories: &[RepositoryName],
    ) -> Result<Vec<u8>, DumpRestoreError> {
        let reader = SmallReader {
            repositories: &self.repositories,
            identities: &self.identities,
            events: &self.events,
            cancel: &self.cancel,
        };
        reader.read(manifest, artifact, repositories).await.map_err(|error| match error {
            SmallError::CannotDecrypt { source, .. } => {
                DumpRestoreError::CannotDecrypt { backup: manifest.id.clone(), source }
            }
            SmallError::Fetch { artifact, tries } => DumpRestoreError::Fetch { artifact, tries },
            SmallError::Interrupted => DumpRestoreError::Interrupted,
        })
    }
}

/// `pg_dump (PostgreSQL) 15.18 (Debian …)` is 15.
fn producer_major(version: &str) -> Option<u32> {
    let (_, number) = version.split_once("(PostgreSQL) ")?;
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}
