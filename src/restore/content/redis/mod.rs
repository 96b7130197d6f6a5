//! A dump of Redis: into a new directory that a server is started in, or into a server that runs and is empty.

mod compare;
mod copy_keys;
mod directory;
mod server;

use async_trait::async_trait;

use super::fetch::ArtifactFetch;
use super::method::{ContentMethod, RestoredContent, TargetSurvey};
use super::new_directory::remove_directory;
use super::survey::ChainLink;
use super::{ContentRestoreError, ContentRestorePlan, ContentRestoreRequest};
use crate::model::Artifact;
use crate::restore::CreatedObject;
use crate::run::RunContext;
use crate::source::REDIS_DUMP;

/// The dump of a server.
#[derive(Clone, Copy, Debug)]
pub(super) struct RedisDump;

#[async_trait(?Send)]
impl ContentMethod for RedisDump {
    async fn survey(
        &self,
        _run: &RunContext,
        request: &ContentRestoreRequest,
        chain: &[ChainLink],
    ) -> Result<TargetSurvey, ContentRestoreError> {
        let (link, artifact) = dump(chain)?;
        Ok(match is_server(&request.target.to) {
            true => server::survey(request, link, artifact).await,
            false => directory::survey(request, link, artifact),
        })
    }

    async fn restore(
        &self,
        fetch: &ArtifactFetch<'_>,
        plan: &ContentRestorePlan,
        created: &mut Vec<CreatedObject>,
    ) -> Result<RestoredContent, ContentRestoreError> {
        let (link, artifact) = dump(&plan.chain)?;
        match is_server(&plan.request.target.to) {
            true => server::restore(fetch, plan, link, artifact, created).await,
            false => directory::restore(fetch, plan, link, artifact, created).await,
        }
    }

    async fn remove(&self, run: &RunContext, object: &CreatedObject) -> Result<(), String> {
        remove_directory(object, &run.id)
    }
}

/// Whether `--to` names a server, and no directory.
fn is_server(to: &str) -> bool {
    ["redis:", "rediss:", "unix:"].iter().any(|scheme| to.starts_with(scheme))
}

fn dump(chain: &[ChainLink]) -> Result<(&ChainLink, &Artifact), ContentRestoreError> {
    let none = || ContentRestoreError::NoArtifact { artifact: REDIS_DUMP.to_owned() };
    let link = chain.last().ok_or_else(none)?;
    Ok((link, link.manifest.artifact_of(REDIS_DUMP).ok_or_else(none)?))
}

/// Returns how many databases a server needs for it.
fn databases(link: &ChainLink) -> u64 {
    let recorded = link.details.redis.as_ref();
    let configured = recorded.and_then(|facts| {
        facts.settings.iter().find(|(name, _)| name == "databases").and_then(|(_, count)| count.parse().ok())
    });
    let used = recorded.and_then(|facts| facts.databases.as_ref()?.iter().map(|one| one.number + 1).max());
    configured.unwrap_or(0).max(used.unwrap_or(0))
}
