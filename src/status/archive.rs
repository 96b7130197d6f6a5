//! The health of a source's WAL archive, by the objectives.

use std::time::Duration;

use crate::model::{RepositoryName, SourceName, SystemIdentifier};
use crate::policy::{Policy, PostgresSource, SourceConfig, WalMethod};
use crate::postgres::{ConnectionParameters, close};
use crate::recoverability::archive::ArchiveStatus;
use crate::recoverability::survey::archive_status;
use crate::repository::Repositories;
use crate::text::error_chain;
use crate::wal::{Archive, ArchiverFacts, LastArchived, Stall, cluster, server_facts};
use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use serde::Serialize;
use thiserror::Error;

/// From best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ArchiveHealth {
    Ok,
    /// 75 % of the objective is used up.
    Late,
    /// The archive meets the objective, and no more WAL arrives from the server.
    Stalled,
    /// There is WAL, and its metadata, with the completeness times, is lost.
    UnknownTime,
    NotReached,
    /// Segments are missing between others.
    Gap,
    /// A file whose archiving was confirmed to the server is missing.
    Lost,
    ObjectiveMissed,
    Nothing,
}

impl ArchiveHealth {
    pub fn assess(status: &ArchiveStatus, rpo: Duration, now: DateTime<Utc>) -> Self {
        match status.behind(now) {
            None if status.reach.is_none() => Self::Nothing,
            None if status.is_broken() => Self::Gap,
            None => Self::UnknownTime,
            Some(behind) if behind > rpo => Self::ObjectiveMissed,
            Some(_) if status.lost.is_some() => Self::Lost,
            Some(_) if status.is_broken() => Self::Gap,
            Some(behind) if behind > rpo * 3 / 4 => Self::Late,
            Some(_) => Self::Ok,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Late => "late",
            Self::Stalled => "stalled",
            Self::UnknownTime => "unknown time",
            Self::NotReached => "not reached",
            Self::Gap => "gap",
            Self::Lost => "lost",
            Self::ObjectiveMissed => "objective missed",
            Self::Nothing => "nothing archived",
        }
    }
}

/// The WAL archive of one source, by repository, and its server.
#[derive(Debug)]
pub struct ArchiveReport {
    pub system_identifier: SystemIdentifier,
    /// The error is the reason why it could not be queried, as text.
    pub server: Result<ArchiverFacts, String>,
    pub stall: Option<Stall>,
    pub repositories: Vec<RepositoryArchive>,
}

/// The archive in one repository, or why it is unknown.
#[derive(Debug)]
pub struct RepositoryArchive {
    pub name: RepositoryName,
    pub status: Result<ArchiveStatus, String>,
    pub health: ArchiveHealth,
}

/// The cluster whose WAL is archived is unknown.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum UnknownCluster {
    #[error("no WAL of {0} was ever archived")]
    NeverArchived(SourceName),
    #[error("failed to tell which cluster's WAL is archived: {0}")]
    Unasked(String),
}

impl ArchiveReport {
    /// Queries every repository. `server`: the result of [`ask_server`], which has to come first. Without
    /// `system_identifier` it is the server's cluster, or the first one recorded in the repositories.
    pub async fn ask(
        policy: &Policy,
        (source, method): (&SourceName, &WalMethod),
        repositories: &Repositories,
        server: Result<ArchiverFacts, String>,
        system_identifier: Option<SystemIdentifier>,
        now: DateTime<Utc>,
    ) -> Result<Self, UnknownCluster> {
        let of_server = server.as_ref().ok().map(|facts| facts.system_identifier);
        let cluster = match system_identifier.or(of_server) {
            Some(cluster) => cluster,
            None => first_cluster(policy, source, repositories).await?,
        };
        let archive = Archive { system: policy.system.clone(), source: source.clone(), cluster };
        let last_archived = match (&server, policy.source(source).map(|source| &source.config)) {
            (Ok(facts), Some(SourceConfig::Postgres(postgres))) => {
                LastArchived::from_facts(postgres, facts, archive.clone())
            }
            _ => None,
        };
        let own = server.as_ref().ok().filter(|facts| facts.system_identifier == cluster);
        let row = |name: &RepositoryName, status: Result<ArchiveStatus, String>| {
            let health = match &status {
                Ok(status) => ArchiveHealth::assess(status, policy.objectives.rpo, now),
                Err(_) => ArchiveHealth::NotReached,
            };
            RepositoryArchive { name: name.clone(), status, health }
        };
        let asked = repositories.iter().map(async |repository| {
            let status = archive_status(repository, &archive, last_archived.as_ref(), own).await;
            row(&repository.name, status)
        });
        let mut rows = join_all(asked).await;
        rows.extend(repositories.lost().iter().map(|lost| row(&lost.name, Err(lost.reason()))));
        let stall = server.as_ref().ok().and_then(|facts| Stall::detect(method, facts));
        Ok(Self { system_identifier: cluster, server, stall, repositories: rows })
    }

    /// Returns the worst health of all repositories.
    pub fn health(&self) -> ArchiveHealth {
        let stalled = self.stall.as_ref().map(|_| ArchiveHealth::Stalled);
        let health = self.repositories.iter().map(|row| row.health);
        health.chain(stalled).max().unwrap_or(ArchiveHealth::Nothing)
    }
}

async fn first_cluster(
    policy: &Policy,
    source: &SourceName,
    repositories: &Repositories,
) -> Result<SystemIdentifier, UnknownCluster> {
    let any = SystemIdentifier(0);
    let archive = Archive { system: policy.system.clone(), source: source.clone(), cluster: any };
    let mut reasons: Vec<_> = repositories.lost().iter().map(|lost| lost.reason()).collect();
    for repository in repositories.iter() {
        match cluster::first(&*repository.store, &archive).await {
            Ok(Some(record)) => return Ok(record.system_identifier),
            Ok(None) => {}
            Err(error) => reasons.push(error_chain(&error)),
        }
    }
    Err(match reasons.into_iter().next() {
        None => UnknownCluster::NeverArchived(source.clone()),
        Some(reason) => UnknownCluster::Unasked(reason),
    })
}

/// Queries the server of a source about its archiving.
///
/// # Errors
/// Why it could not be queried, as text.
pub async fn ask_server(policy: &Policy, source: &SourceName) -> Result<ArchiverFacts, String> {
    let config = policy.source(source).map(|source| &source.config);
    let Some(SourceConfig::Postgres(postgres)) = config else {
        return Err("it is not PostgreSQL".to_owned());
    };
    let asked = async |postgres: &PostgresSource| {
        let parameters =
            ConnectionParameters::resolve(postgres).await.map_err(|error| error_chain(&error))?;
        let mut connection = parameters.connect().await.map_err(|error| error_chain(&error))?;
        let facts = server_facts(&mut connection).await.map_err(|error| error_chain(&error));
        close(connection).await;
        facts
    };
    asked(postgres).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal::CommitTimes;

    #[test]
    fn what_is_late_is_said_before_the_objective_is_missed() {
        let now: DateTime<Utc> = "2026-11-20T12:00:00Z".parse().unwrap();
        let hour = Duration::from_secs(3600);
        let standing = |minutes: Option<i64>| ArchiveStatus {
            timelines: vec![],
            contiguous_since: None,
            reach: None,
            lost: None,
            beside: None,
            base: None,
            damaged: vec![],
            moment: CommitTimes {
                complete: minutes.map(|minutes| now - chrono::TimeDelta::minutes(minutes)),
                newest_commit: None,
            },
        };
        for (minutes, verdict) in [
            (Some(-5), ArchiveHealth::Ok),
            (Some(45), ArchiveHealth::Ok),
            (Some(46), ArchiveHealth::Late),
            (Some(61), ArchiveHealth::ObjectiveMissed),
            (None, ArchiveHealth::Nothing),
        ] {
            assert_eq!(ArchiveHealth::assess(&standing(minutes), hour, now), verdict, "{minutes:?}");
        }
    }
}
