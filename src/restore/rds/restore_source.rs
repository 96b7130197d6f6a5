//! What an instance or cluster is created from.

use chrono::{DateTime, Utc};

use crate::aws::rds::{Origin, RestoreMoment};
use crate::model::BackupId;
use crate::text::format_time;

/// What is restored, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectedBackup {
    pub region: String,
    pub via: RestoreSource,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestoreSource {
    /// A snapshot taken by drctl.
    Snapshot {
        backup: BackupId,
        identifier: String,
        arn: String,
        /// The permanent RDS resource id of its database.
        resource_id: Option<String>,
        recovery_point: DateTime<Utc>,
        encrypted: bool,
    },
    /// RDS's automated backups, to a point in time.
    Automated {
        origin: Origin,
        /// The database that they are of: its current or last name, and its permanent RDS resource id.
        identifier: String,
        resource_id: String,
        until: DateTime<Utc>,
        encrypted: bool,
    },
}

impl RestoreSource {
    pub(super) fn is_snapshot(&self) -> bool {
        matches!(self, Self::Snapshot { .. })
    }

    pub(super) fn is_encrypted(&self) -> bool {
        match self {
            Self::Snapshot { encrypted, .. } | Self::Automated { encrypted, .. } => *encrypted,
        }
    }

    /// Returns the time whose data is restored.
    pub fn until(&self) -> DateTime<Utc> {
        match self {
            Self::Snapshot { recovery_point, .. } => *recovery_point,
            Self::Automated { until, .. } => *until,
        }
    }

    pub fn origin(&self) -> Origin {
        match self {
            Self::Snapshot { identifier, .. } => Origin::Snapshot(identifier.clone()),
            Self::Automated { origin, .. } => origin.clone(),
        }
    }

    /// Returns the permanent RDS resource id of its database, where known.
    pub fn resource_id(&self) -> Option<&str> {
        match self {
            Self::Snapshot { resource_id, .. } => resource_id.as_deref(),
            Self::Automated { resource_id, .. } => Some(resource_id),
        }
    }

    /// Describes it for a person.
    pub fn words(&self) -> String {
        match self {
            Self::Snapshot { backup, .. } => format!("snapshot of {backup}"),
            Self::Automated { identifier, resource_id, .. } => {
                format!("RDS's automated backups of `{identifier}` ({resource_id})")
            }
        }
    }

    /// Returns the tag on the instance that records its source: a resumed restore finds it by that.
    pub fn tag(&self) -> String {
        match self {
            Self::Snapshot { arn, .. } => arn.clone(),
            Self::Automated { origin, .. } => {
                let (of, moment) = match origin {
                    Origin::Automated { resource_id, moment } => (resource_id, moment),
                    Origin::Replicated { arn, moment } => (arn, moment),
                    Origin::Live { resource_id, moment, .. } => (resource_id, moment),
                    Origin::Snapshot(name) => (name, &RestoreMoment::Latest),
                };
                match moment {
                    RestoreMoment::Latest => format!("{of} latest {}", format_time(self.until())),
                    RestoreMoment::At(time) => format!("{of} {}", format_time(*time)),
                }
            }
        }
    }

    /// Returns whether the database with that tag was started by the very same restore. It gets the data that
    /// was the latest when it was started, whatever has been added since.
    pub(super) fn is_begun_as(&self, tag: &str) -> bool {
        let own = self.tag();
        match (own.rsplit_once(" latest "), tag.rsplit_once(" latest ")) {
            (Some((own, _)), Some((tag, _))) => own == tag,
            _ => own == tag,
        }
    }
}
