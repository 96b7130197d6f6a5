//! A server that runs and is empty.
//!
//! A server of its own loads the dump in scratch, and every key is copied from there: that works over any network, with
//! servers of the same version and newer ones, and whether the target has an append-only file or not.

use std::collections::BTreeMap;

use super::compare::{compare, total};
use super::copy_keys::{copy_database, copy_functions};
use super::databases;
use super::directory::lacks_memory;
use crate::model::{Artifact, RedisDatabase};
use crate::platform::{PrivateScratch, scratch_directory};
use crate::policy::SourceConfig;
use crate::redis::{RedisConnection, RedisError, RedisInfo, RedisTarget, ScratchServer, server_program};
use crate::restore::content::fetch::ArtifactFetch;
use crate::restore::content::method::{RestoredContent, TargetSurvey};
use crate::restore::content::survey::ChainLink;
use crate::restore::content::target::{NewFile, lacks_room};
use crate::restore::content::{ContentRestoreError, ContentRestorePlan, ContentRestoreRequest};
use crate::restore::{CreatedObject, Refusal};
use crate::source::REDIS_DUMP;
use crate::text::{error_chain, format_size};

pub(super) async fn survey(
    request: &ContentRestoreRequest,
    link: &ChainLink,
    artifact: &Artifact,
) -> TargetSurvey {
    let mut survey = TargetSurvey::default();
    if url::Url::parse(&request.target.to).is_ok_and(|url| url.password().is_some()) {
        survey.refusals.push(Refusal::usage(
            "password-in-url",
            "the URL in `--to` holds a password, which other users of this host can see",
        ));
        return survey;
    }
    survey.refusals.extend(lacks_room(&scratch_directory(), artifact.plain.size));
    if server_program().is_none() {
        let message = "there is no `redis-server` on this host, which loads the dump to copy its keys";
        survey.refusals.push(Refusal::not_ready("no-redis-server", message));
    }
    if let Some(why) = lacks_memory(link) {
        let message = format!("the dump cannot be loaded on this host: {why}");
        survey.refusals.push(Refusal::not_ready("no-memory", message));
    }
    match inspect(request, link).await {
        Ok((to, refusals, notes)) => {
            survey.to = to;
            survey.refusals.extend(refusals);
            survey.notes = notes;
        }
        Err(error) => survey.refusals.push(Refusal::not_ready("no-target-server", error_chain(&error))),
    }
    survey
}

/// Returns the server's address, every reason against it, and notes.
async fn inspect(
    request: &ContentRestoreRequest,
    link: &ChainLink,
) -> Result<(String, Vec<Refusal>, Vec<String>), RedisError> {
    let mut connection = RedisConnection::open(&target(request).await?).await?;
    let info = connection.info().await?;
    let settings = connection.config("*").await.unwrap_or_default();
    let setting = |name: &str| settings.iter().find(|(of, _)| of == name).map(|(_, value)| value.as_str());
    let address = connection.address().to_owned();
    let mut refusals = vec![];
    let keys = info.keys();
    if !keys.is_empty() {
        let message = format!("{address} has {}: nothing is loaded beside them", total(&keys));
        refusals.push(Refusal::usage("server-not-empty", message));
    }
    if info.is_replica() {
        let message = format!("{address} is a replica, which takes no keys but its master's");
        refusals.push(Refusal::usage("server-is-replica", message));
    }
    if info.is_cluster() {
        let message = format!("{address} is a node of a Redis Cluster, and takes only its part of the keys");
        refusals.push(Refusal::usage("server-is-cluster", message));
    }
    let used = link.details.redis.as_ref().and_then(|facts| facts.databases.as_ref());
    let highest = used.and_then(|databases| databases.iter().map(|database| database.number).max());
    let has: Option<u64> = setting("databases").and_then(|count| count.parse().ok());
    if let (Some(highest), Some(has)) = (highest, has)
        && highest >= has
    {
        let message = format!("{address} has {has} databases, and the backup has keys in database {highest}");
        refusals.push(Refusal::usage("too-few-databases", message));
    }
    let persists = match (setting("appendonly"), setting("save")) {
        (Some("yes"), _) => {
            Some("its append-only file gets every key, as a dump beside it would not be read")
        }
        (Some("no"), Some("")) => {
            Some("it keeps nothing on disk (`appendonly no`, no `save`): what is loaded is lost when it ends")
        }
        _ => None,
    };
    let notes = persists.map(|words| format!("the server: {words}")).into_iter().collect();
    Ok((address, refusals, notes))
}

async fn target(request: &ContentRestoreRequest) -> Result<RedisTarget, RedisError> {
    let mut target = RedisTarget::at(&request.target.to, request.target.password.as_ref()).await?;
    if let Some(SourceConfig::Redis(config)) = &request.config {
        target.authority = config.ca_certificate.clone();
    }
    Ok(target)
}

pub(super) async fn restore(
    fetch: &ArtifactFetch<'_>,
    plan: &ContentRestorePlan,
    link: &ChainLink,
    artifact: &Artifact,
    created: &mut Vec<CreatedObject>,
) -> Result<RestoredContent, ContentRestoreError> {
    let failed = |error: &(dyn std::error::Error + 'static)| ContentRestoreError::Target(error_chain(error));
    let scratch = PrivateScratch::create()
        .map_err(|source| ContentRestoreError::Write { path: scratch_directory(), source })?;
    let file = NewFile::create(&scratch.path().join(REDIS_DUMP))?;
    let writer = file.writer()?;
    fetch.consume(link, artifact, move |plain| writer.write(plain)).await?;
    file.publish()?;
    let cancel = &fetch.run.cancel;
    let server = ScratchServer::start(scratch.path(), REDIS_DUMP, databases(link), cancel).await;
    let server = server.map_err(|error| match cancel.is_cancelled() {
        true => ContentRestoreError::Interrupted,
        false => failed(&error),
    })?;
    let copied = tokio::select! {
        copied = copy(&server, plan, created) => copied.map_err(|error| failed(&error))?,
        () = cancel.cancelled() => return Err(ContentRestoreError::Interrupted),
    };
    let recorded = link.details.redis.as_ref().and_then(|facts| facts.databases.as_deref());
    let CopiedKeys { loaded, found } = copied;
    let loaded_keys = loaded.iter().map(|database| (database.number, database.keys)).collect();
    let mut in_dump = compare(recorded, &loaded_keys);
    in_dump.check = "keys in the dump".to_owned();
    Ok(RestoredContent {
        counts: vec![total(&found)],
        checks: vec![in_dump, compare(Some(&loaded), &found)],
        ..RestoredContent::default()
    })
}

struct CopiedKeys {
    /// What the dump's own server had.
    loaded: Vec<RedisDatabase>,
    /// What the target has.
    found: BTreeMap<u64, u64>,
}

async fn copy(
    server: &ScratchServer,
    plan: &ContentRestorePlan,
    created: &mut Vec<CreatedObject>,
) -> Result<CopiedKeys, RedisError> {
    let mut from = server.connect().await?;
    let mut to = RedisConnection::open(&target(&plan.request).await?).await?;
    let (source, before) = (from.info().await?, to.info().await?);
    // A client may have written since the plan was made.
    if !before.keys().is_empty() {
        let text = format!("it has {} now: nothing is loaded beside them", total(&before.keys()));
        return Err(to.refused("INFO", &text));
    }
    if let Some(text) = lacks_memory_of(&source, &before) {
        return Err(to.refused("INFO", &text));
    }
    let loaded = source.databases();
    created.push(CreatedObject::shared(
        format!("what was loaded into {}", to.address()),
        "drctl removes no keys of a server: `FLUSHALL` there does, where nothing else wrote to it",
    ));
    copy_functions(&mut from, &mut to).await?;
    for database in &loaded {
        copy_database(&mut from, &mut to, database.number).await?;
    }
    Ok(CopiedKeys { loaded, found: to.info().await?.keys() })
}

/// A server with too little memory evicts keys, or takes no more.
fn lacks_memory_of(source: &RedisInfo, target: &RedisInfo) -> Option<String> {
    let limit = target.number("maxmemory").filter(|limit| *limit > 0)?;
    let needed = source.number("used_memory_dataset")?;
    (limit < needed).then(|| {
        let sizes = (format_size(limit), format_size(needed));
        format!("its `maxmemory` is {}, and the data takes {}", sizes.0, sizes.1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_with_too_little_memory_is_not_filled() {
        let info = |text: &str| RedisInfo::parse(text);
        let source = info("used_memory_dataset:1000");
        assert!(lacks_memory_of(&source, &info("maxmemory:999")).is_some());
        assert!(lacks_memory_of(&source, &info("maxmemory:0")).is_none());
        assert!(lacks_memory_of(&source, &info("maxmemory:1000")).is_none());
    }
}
