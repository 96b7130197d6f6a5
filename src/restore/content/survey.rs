//! Collects everything a plan needs, and changes nothing.

use super::kinds::of_kind;
use super::select::{SelectedContent, choose};
use super::{ContentRestoreError, ContentRestoreRequest};
use crate::model::{Details, Manifest, RepositoryName};
use crate::repository::{Inventory, Listing, SmallReader};
use crate::restore::Refusal;
use crate::run::RunContext;
use crate::source::DETAILS;
use crate::text::error_chain;

pub(super) use super::surveyed::ChainLink;
use super::surveyed::ContentSurvey;

pub(super) async fn survey(
    run: &RunContext,
    request: &ContentRestoreRequest,
) -> Result<ContentSurvey, ContentRestoreError> {
    let refused = |refusal: Refusal| ContentRestoreError::Refused(vec![refusal]);
    let Some(method) = of_kind(request.kind) else {
        let message = format!("a backup of kind `{}` is not restored in this way", request.kind);
        return Err(refused(Refusal::usage("other-kind", message)));
    };
    let listing = Listing::of_source(&run.repositories, &run.system, &request.source).await;
    let lost: Vec<_> = run.repositories.lost().iter().cloned().chain(listing.unlisted.clone()).collect();
    if listing.repositories.is_empty() {
        return Err(ContentRestoreError::NoRepository(lost));
    }
    for lost in lost {
        run.events.warning(format!("repository {} cannot be read: {}", lost.name, lost.reason()));
    }
    let inventory = Inventory::load(&listing, &run.system, &[request.kind]).await;
    for rejected in &inventory.rejected {
        run.events.warning(format!("repository {}: {}", rejected.repository, error_chain(&rejected.error)));
    }
    let SelectedContent { chain, passed_over } =
        choose(&inventory, request, run.clock.now()).map_err(refused)?;
    for (newer, why) in passed_over {
        run.events.warning(format!("{newer} is newer and is not used: {why}"));
    }
    let mut links = Vec::new();
    for (manifest, holders) in chain {
        let details = details(run, &manifest, &holders).await?;
        links.push(ChainLink { manifest, holders, details });
    }
    let target = method.survey(run, request, &links).await?;
    Ok(ContentSurvey { chain: links, target })
}

/// Decrypts the details: they are small, and prove that the identity opens the backup before anything is changed.
async fn details(
    run: &RunContext,
    manifest: &Manifest,
    holders: &[RepositoryName],
) -> Result<Details, ContentRestoreError> {
    let Some(artifact) = manifest.artifact_of(DETAILS) else { return Ok(Details::default()) };
    let reader = SmallReader {
        repositories: &run.repositories,
        identities: &run.identities,
        events: &run.events,
        cancel: &run.cancel,
    };
    let text = reader.read(manifest, artifact, holders).await.map_err(ContentRestoreError::from)?;
    serde_json::from_slice(&text).map_err(|error| ContentRestoreError::Details {
        artifact: artifact.name.clone(),
        reason: error.to_string(),
    })
}
