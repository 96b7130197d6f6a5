//! Whether a source's server is of the same cluster as its earlier backups: a URL may lead to another one by
//! now. Pure.

use thiserror::Error;

use crate::model::{BackupId, Manifest, ServerFacts, Timeline};
use crate::wal::TimelineDivergence;

/// Why a backup would not belong to the source of the earlier ones.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(super) enum LineageError {
    #[error(
        "{address} is another cluster than the one in backup {backup}: its system identifier is {found}, and that of the backup is {recorded}"
    )]
    OtherCluster { address: String, backup: BackupId, found: String, recorded: String },
    #[error(
        "{address} is another cluster than the one in backup {backup}: it runs PostgreSQL {found}, and the backup is of PostgreSQL {recorded}"
    )]
    OlderMajor { address: String, backup: BackupId, found: u32, recorded: u32 },
}

/// How a server continues the earlier backups of its source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lineage {
    /// The system identifier of the cluster that the server has replaced, as accepted.
    pub(super) replaces: Option<String>,
    /// The server is on an older timeline than the last base backup.
    pub(super) divergence: Option<TimelineDivergence>,
}

/// Compares a server with the facts of earlier backups, newest first.
///
/// Where an identifier is unknown, as for managed services, only what is impossible for one cluster
/// distinguishes them.
pub(super) fn compare(
    server: &ServerFacts,
    timeline: Option<Timeline>,
    earlier: &[Manifest],
) -> (Lineage, Option<LineageError>) {
    let known = earlier.iter().filter_map(|manifest| Some((manifest, manifest.server.as_ref()?)));
    let address = server.address.clone().unwrap_or_else(|| "the server".to_owned());
    let with_identifier =
        known.clone().find_map(|(manifest, facts)| Some((manifest, facts.system_identifier.as_ref()?)));
    let other = match (&server.system_identifier, with_identifier) {
        (Some(found), Some((manifest, recorded))) if found != recorded => Some(LineageError::OtherCluster {
            address,
            backup: manifest.id.clone(),
            found: found.clone(),
            recorded: recorded.clone(),
        }),
        (Some(_), Some(_)) => None,
        _ => known.clone().next().filter(|(_, facts)| server.major < facts.major).map(|(manifest, facts)| {
            LineageError::OlderMajor {
                address,
                backup: manifest.id.clone(),
                found: server.major,
                recorded: facts.major,
            }
        }),
    };
    let newest = known
        .filter(|(_, facts)| facts.system_identifier == server.system_identifier)
        .find_map(|(manifest, _)| Some(manifest.physical.as_ref()?.timeline));
    let divergence = timeline
        .filter(|timeline| newest.is_some_and(|newest| newest > *timeline))
        .and_then(|timeline| TimelineDivergence::detect(newest, timeline));
    (Lineage { replaces: None, divergence }, other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Lsn, Physical};
    use crate::repository::fixtures::backup;

    fn server(identifier: Option<&str>, major: u32) -> ServerFacts {
        ServerFacts {
            version: String::new(),
            major,
            system_identifier: identifier.map(str::to_owned),
            address: Some("db:5432/shop".to_owned()),
            replaces: None,
        }
    }

    fn manifest(minutes: i64, of: Option<ServerFacts>, timeline: Option<u32>) -> Manifest {
        let mut manifest = backup(minutes).0;
        manifest.server = of;
        manifest.physical = timeline.map(|timeline| Physical::sample(timeline, Lsn(1), Lsn(2)));
        manifest
    }

    #[test]
    fn another_cluster_is_known_by_its_identifier() {
        let earlier = [
            manifest(9, Some(server(None, 15)), None),
            manifest(5, Some(server(Some("7"), 15)), None),
            manifest(1, Some(server(Some("8"), 15)), None),
        ];
        assert_eq!(compare(&server(Some("7"), 15), None, &earlier), (Lineage::default(), None));
        // One that came before and was replaced is another, too.
        let (_, other) = compare(&server(Some("8"), 15), None, &earlier);
        let Some(LineageError::OtherCluster { backup, found, recorded, .. }) = other else {
            panic!("{other:?}")
        };
        assert_eq!((backup, &*found, &*recorded), (earlier[1].id.clone(), "8", "7"));
        assert_eq!(compare(&server(Some("8"), 15), None, &[]).1, None);
        assert_eq!(compare(&server(Some("8"), 15), None, &[manifest(1, None, None)]).1, None);
    }

    #[test]
    fn where_no_identifier_is_known_an_older_major_is_another_cluster() {
        let earlier =
            [manifest(9, Some(server(None, 15)), None), manifest(5, Some(server(Some("7"), 15)), None)];
        assert_eq!(compare(&server(None, 16), None, &earlier).1, None);
        let (_, other) = compare(&server(None, 14), None, &earlier);
        assert!(matches!(other, Some(LineageError::OlderMajor { found: 14, recorded: 15, .. })), "{other:?}");
    }

    #[test]
    fn a_server_on_an_older_timeline_than_its_last_base_backup_has_been_left() {
        let earlier = [
            manifest(9, Some(server(Some("7"), 15)), None),
            manifest(5, Some(server(Some("7"), 15)), Some(2)),
        ];
        let at = |timeline: u32| {
            let (lineage, other) = compare(&server(Some("7"), 15), Timeline::new(timeline), &earlier);
            assert_eq!(other, None);
            lineage.divergence.is_some()
        };
        assert!(at(1) && !at(2) && !at(3));
        // A standby says nothing of it.
        assert_eq!(compare(&server(Some("7"), 15), None, &earlier).0.divergence, None);
    }
}
