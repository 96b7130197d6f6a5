//! Collects everything a plan needs, and changes nothing.

use super::fetch::read_ahead;
use super::globals::locations;
use super::preflight::no_artifact;
use super::select::{RepositoryCopy, SelectedBackup, choose};
use super::{DumpRestoreError, DumpRestoreRequest, DumpSurvey, target};
use crate::model::{Artifact, BackupId, Details, Manifest, RepositoryName};
use crate::platform::free_space;
use crate::postgres::Tools;
use crate::repository::{BackupRecord, Listing, RejectedManifest, SmallError, SmallReader};
use crate::run::RunContext;
use crate::source::postgres_dump::capture::{DATABASE, DETAILS, GLOBALS};
use crate::text::error_chain;

/// Inspects the repositories, the backup, the target and this host.
///
/// The details are decrypted here already: they are small, and prove that the identity opens the backup
/// before anything is changed.
pub(super) async fn survey(
    run: &RunContext,
    request: &DumpRestoreRequest,
) -> Result<DumpSurvey, DumpRestoreError> {
    let holdings = holdings(run, request).await?;
    let selected = choose(&holdings, request, &request.known.doubtful, run.clock.now())
        .map_err(|refusal| DumpRestoreError::Refused(vec![refusal]))?;
    let SelectedBackup { id, holders, passed_over, doubt } = selected;
    for (newer, why) in passed_over {
        run.events.warning(format!(
            "{newer} is newer and is not used: {why}; `--backup {newer}` restores it all the same"
        ));
    }
    if let Some(doubt) = doubt {
        run.events.warning(format!("{id} is restored, although {doubt}"));
    }
    let (manifest, repositories) = manifest(run, &id, holders).await?;
    let details = manifest
        .artifact_of(DETAILS)
        .ok_or_else(|| DumpRestoreError::Refused(vec![no_artifact(&id, DETAILS)]))?;
    let text = read_small(run, &manifest, details, &repositories).await?;
    let not_understood =
        |reason: String| DumpRestoreError::Details { artifact: details.name.clone(), reason };
    let parsed: Details = serde_json::from_slice(&text).map_err(|error| not_understood(error.to_string()))?;
    let mut recorded =
        parsed.database.ok_or_else(|| not_understood("it describes no database".to_owned()))?;
    request.change(&mut recorded);
    let globals = match manifest.artifact_of(GLOBALS).filter(|_| request.globals) {
        Some(artifact) => {
            let script = read_small(run, &manifest, artifact, &repositories).await?;
            Some(String::from_utf8_lossy(&script).into_owned())
        }
        None => None,
    };
    let contents = match manifest.artifact_of(DATABASE) {
        Some(dump) => read_ahead(run, &manifest, dump, &repositories).await,
        None => None,
    };
    let directories = globals.as_deref().filter(|_| request.tablespaces).map(locations).unwrap_or_default();
    let target = target::inspect(&request.target, &recorded, &directories).await?;
    // An archive is read by a pg_restore of the version of the pg_dump that wrote it, or a newer one.
    let written_by = producer_major(&manifest.tool.producer).unwrap_or(recorded.major);
    let tools = Tools::find(request.tools.as_deref(), written_by).await.map_err(DumpRestoreError::Tools)?;
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
        rates: request.known.rates,
    })
}

async fn holdings(
    run: &RunContext,
    request: &DumpRestoreRequest,
) -> Result<Vec<RepositoryCopy>, DumpRestoreError> {
    let listing = Listing::of_source(&run.repositories, &run.system, &request.source).await;
    let lost: Vec<_> = run.repositories.lost().iter().cloned().chain(listing.unlisted).collect();
    if listing.repositories.is_empty() {
        return Err(DumpRestoreError::NoRepository(lost));
    }
    for lost in lost {
        run.events.warning(format!("repository {} cannot be read: {}", lost.name, lost.reason()));
    }
    let holdings = listing
        .repositories
        .into_iter()
        .map(|listed| RepositoryCopy { repository: listed.repository.name, backups: listed.backups });
    Ok(holdings.collect())
}

/// Returns the manifest, and the repositories that have exactly this one.
async fn manifest(
    run: &RunContext,
    id: &BackupId,
    holders: Vec<RepositoryName>,
) -> Result<(Manifest, Vec<RepositoryName>), DumpRestoreError> {
    let holders: Vec<_> = holders.iter().filter_map(|name| run.repositories.find(name)).cloned().collect();
    let (record, mut rejected) = BackupRecord::read(&holders, &run.system, id).await;
    for RejectedManifest { repository, error, .. } in &rejected {
        run.events.warning(format!("repository {repository}: {}", error_chain(error)));
    }
    match (record, rejected.pop()) {
        (Some(record), _) => Ok((record.manifest, record.holders)),
        (None, Some(rejected)) => {
            Err(DumpRestoreError::Manifest { backup: id.clone(), source: rejected.error })
        }
        (None, None) => Err(DumpRestoreError::NoRepository(run.repositories.lost().to_vec())),
    }
}

/// Reads the plain bytes of a small artifact from the first repository whose copy is intact.
async fn read_small(
    run: &RunContext,
    manifest: &Manifest,
    artifact: &Artifact,
    repositories: &[RepositoryName],
) -> Result<Vec<u8>, DumpRestoreError> {
    let reader = SmallReader {
        repositories: &run.repositories,
        identities: &run.identities,
        events: &run.events,
        cancel: &run.cancel,
    };
    reader.read(manifest, artifact, repositories).await.map_err(|error| match error {
        SmallError::CannotDecrypt { source, .. } => {
            DumpRestoreError::CannotDecrypt { backup: manifest.id.clone(), source }
        }
        SmallError::Fetch { artifact, tries } => DumpRestoreError::Fetch { artifact, tries },
        SmallError::Interrupted => DumpRestoreError::Interrupted,
    })
}

/// Parses the major version: `pg_dump (PostgreSQL) 15.18 (Debian …)` is 15.
fn producer_major(version: &str) -> Option<u32> {
    let (_, number) = version.split_once("(PostgreSQL) ")?;
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}
