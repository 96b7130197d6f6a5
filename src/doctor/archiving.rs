use futures_util::future::join_all;

use super::{Area, DoctorFinding};
use crate::model::SystemName;
use crate::policy::Source;
use crate::recoverability::survey::archive_status;
use crate::repository::{Repositories, Repository};
use crate::text::{error_chain, format_time};
use crate::wal::cluster::ClusterError;
use crate::wal::{Archive, ArchiverFacts, ArchiverReport, KeptError, LastArchived, WalFault, said};

/// Examines whether a server's WAL arrives, and whether the repositories have what it reports as archived.
pub(super) async fn examine(
    system: &SystemName,
    source: &Source,
    repositories: &Repositories,
) -> Vec<DoctorFinding> {
    // A failed query is reported with the server's configuration.
    let Ok(Some(ArchiverReport { facts, acknowledged, stall })) = said(system, source).await else {
        return vec![];
    };
    let subject = source.name.as_str();
    let stalled =
        stall.map(|stall| DoctorFinding::fault(Area::Source, subject, stall.to_string(), stall.remedy()));
    let mut findings: Vec<_> = stalled.into_iter().collect();
    findings.extend(
        join_all(repositories.iter().map(|repository| minimal(system, source, repository, &facts)))
            .await
            .into_iter()
            .flatten(),
    );
    let Some(told_server) = acknowledged else { return findings };
    if told_server.is_nowhere(repositories).await {
        findings.push(nowhere(subject, &told_server));
        return findings;
    }
    for repository in repositories.iter() {
        match told_server.is_lost_from(repository).await {
            Ok(false) => {}
            Ok(true) => findings.push(lost(subject, repository.name.as_str(), &told_server)),
            Err(error @ KeptError::Cluster(ClusterError::Other { .. })) => findings.push(DoctorFinding::fault(
                Area::Source,
                subject,
                error_chain(&error),
                "A re-initialised or upgraded cluster has a new system identifier and needs its own source in the policy.",
            )),
            Err(error) => findings.push(DoctorFinding::fault(
                Area::Source,
                subject,
                format!("repository `{}`: {}", repository.name, error_chain(&error)),
                "Check that the repository answers.",
            )),
        }
    }
    findings
}

/// Returns a fault where WAL of `wal_level = minimal` ends what can be recovered, since no base backup was taken after
/// it.
async fn minimal(
    system: &SystemName,
    source: &Source,
    repository: &Repository,
    facts: &ArchiverFacts,
) -> Option<DoctorFinding> {
    let archive =
        Archive { system: system.clone(), source: source.name.clone(), cluster: facts.system_identifier };
    // What cannot be queried is reported with the rest.
    let status = archive_status(repository, &archive, None, Some(facts)).await.ok()?;
    let minimal = status.damaged.iter().find(|damaged| damaged.fault == WalFault::Minimal)?;
    status.base.is_none().then(|| {
        DoctorFinding::fault(
            Area::Source,
            source.name.as_str(),
            format!("repository `{}`: {minimal}, and no base backup was taken after that", repository.name),
            "Take a base backup: `drctl backup --kind base`.",
        )
    })
}

fn nowhere(subject: &str, told_server: &LastArchived) -> DoctorFinding {
    let (file, at) = (told_server.file, format_time(told_server.at));
    DoctorFinding::fault(
        Area::Source,
        subject,
        format!("the server reported {file} as archived at {at}, and no repository has any WAL of it"),
        "Until now the WAL went nowhere, or to another place: set `archive_command` (`drctl wal configure`), and take a base backup once it archives here.",
    )
}

fn lost(subject: &str, repository: &str, told_server: &LastArchived) -> DoctorFinding {
    let file = told_server.file;
    DoctorFinding::fault(
        Area::Source,
        subject,
        format!(
            "archive_command reported {file} as archived, and repository `{repository}` does not have it"
        ),
        "Fix `archive_command` (`drctl wal configure`), then take a base backup at once: the server removes WAL that was reported as archived.",
    )
}
