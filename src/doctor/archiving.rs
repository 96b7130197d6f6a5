use super::{Area, DoctorFinding};
use crate::model::SystemName;
use crate::policy::Source;
use crate::repository::Repositories;
use crate::text::{error_chain, format_time};
use crate::wal::cluster::ClusterError;
use crate::wal::{ArchiverReport, KeptError, LastArchived, said};

/// Examines whether a server's WAL arrives, and whether the repositories have what it reports as archived.
pub(super) async fn examine(
    system: &SystemName,
    source: &Source,
    repositories: &Repositories,
) -> Vec<DoctorFinding> {
    // A failed query is reported with the server's configuration.
    let Ok(Some(ArchiverReport { acknowledged, stall, .. })) = said(system, source).await else {
        return vec![];
    };
    let subject = source.name.as_str();
    let stalled =
        stall.map(|stall| DoctorFinding::fault(Area::Source, subject, stall.to_string(), stall.remedy()));
    let mut findings: Vec<_> = stalled.into_iter().collect();
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
