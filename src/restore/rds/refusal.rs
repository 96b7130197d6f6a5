use chrono::{DateTime, Utc};
use thiserror::Error;

use super::OverrideKey;
use crate::aws::rds::RestoreWindow;
use crate::model::{BackupId, SourceName};
use crate::text::{format_duration, format_time};

/// Why a restore is not begun. Nothing was made.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RdsRefusal {
    #[error("`{source_name}` has no backup that begins with `{prefix}`")]
    UnknownBackup { prefix: String, source_name: SourceName },
    #[error("`{prefix}` is the beginning of several backups: {}", list(.ids))]
    Ambiguous { prefix: String, ids: Vec<BackupId> },
    #[error("no snapshot of {backup} can be restored in {}", .regions.join(" or "))]
    NotHeld { backup: BackupId, regions: Vec<String> },
    #[error(
        "there is nothing to restore of `{source_name}`: no snapshot of drctl's, and no automated backup"
    )]
    Nothing { source_name: SourceName },
    #[error(
        "nothing restores `{source_name}` to {}: {}{}",
        format_time(*.time), told_windows(.windows), told_nearest(.nearest, .time)
    )]
    OutOfReach {
        source_name: SourceName,
        time: DateTime<Utc>,
        windows: Vec<(String, RestoreWindow)>,
        nearest: Option<(BackupId, DateTime<Utc>)>,
    },
    #[error("no region of the policy could be asked{}", reasons(.0))]
    NobodyAsked(Vec<(String, String)>),
    #[error("there is {what} `{to}` in {region} already, and it is not what this restore made before")]
    Taken { what: &'static str, to: String, region: String },
    #[error("`{to}` in {region} was restored already, with the data until {until}")]
    Done { to: String, region: String, until: String },
    #[error(
        "the database that has the name `{name}` now ({live}) is another than the one that was backed up ({}), so that it cannot be said whose latest data is meant",
        .backed_up.join(", ")
    )]
    Torn { name: String, live: String, backed_up: Vec<String> },
    #[error(
        "`{0}` is not an identifier for an instance: it begins with a letter, has letters, digits and single `-`, and 63 characters at most"
    )]
    Identifier(String),
    #[error(
        "the policy names no {what} for {region}, where the names of the other region mean nothing: nobody could reach the instance"
    )]
    NoNames { what: &'static str, region: String },
    #[error("{region} has no {what} `{name}`")]
    NoGroup { what: &'static str, name: String, region: String },
    #[error(
        "nothing says which instances the cluster had, and Aurora's API makes none: nobody could log in to it"
    )]
    NoMembers,
    #[error("`--set {key}=…` does not go with it: {why}")]
    NotSettable { key: OverrideKey, why: &'static str },
    #[error("zone `{zone}` is not in {region}")]
    OtherZone { zone: String, region: String },
    #[error("nothing says how the instance was set up: {reason}")]
    NoProfile { reason: String, remedy: &'static str },
}

impl RdsRefusal {
    /// Whether there is nothing to restore, rather than something in the way.
    pub fn is_nothing(&self) -> bool {
        matches!(
            self,
            Self::UnknownBackup { .. }
                | Self::NotHeld { .. }
                | Self::Nothing { .. }
                | Self::OutOfReach { .. }
        )
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::UnknownBackup { .. }
            | Self::Ambiguous { .. }
            | Self::NotHeld { .. }
            | Self::Nothing { .. } => "`drctl list` shows what there is.",
            Self::OutOfReach { .. } => {
                "Name a moment inside of a window, or restore the snapshot with `--backup`."
            }
            Self::NobodyAsked(_) => "Look at the credentials and the endpoint of the source in the policy.",
            Self::Taken { .. } | Self::Done { .. } | Self::Identifier(_) => {
                "Choose another name with `--to-instance`."
            }
            Self::Torn { .. } => "Say which with `--backup` or `--point-in-time`.",
            Self::NoNames { .. } | Self::NoGroup { .. } => {
                "Name `subnet_group`, `security_groups` and `parameter_group` under the source's `copy_to` in the policy, or for this restore alone with `--set subnet_group=NAME --set security_groups=GROUP,GROUP --set parameter_group=NAME`."
            }
            Self::NoMembers => {
                "`drctl show` has the commands of AWS's own command line, which make one of your choice."
            }
            // The reason says what to do.
            Self::NotSettable { .. } => "",
            Self::OtherZone { .. } => "Name a zone of that region, or restore from another with `--from`.",
            Self::NoProfile { remedy, .. } => remedy,
        }
    }
}

fn list(ids: &[BackupId]) -> String {
    ids.iter().map(|id| id.as_str()).collect::<Vec<_>>().join(", ")
}

fn told_windows(windows: &[(String, RestoreWindow)]) -> String {
    if windows.is_empty() {
        return "there are no automated backups".to_owned();
    }
    let one = |(region, window): &(String, RestoreWindow)| {
        format!("{region} has {} to {}", format_time(window.earliest), format_time(window.latest))
    };
    windows.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn told_nearest(nearest: &Option<(BackupId, DateTime<Utc>)>, time: &DateTime<Utc>) -> String {
    match nearest {
        None => "; no snapshot is from before it".to_owned(),
        Some((backup, point)) => format!(
            "; the nearest snapshot before it is {backup} of {}, which loses {}",
            format_time(*point),
            format_duration(std::time::Duration::from_secs((*time - *point).num_seconds().unsigned_abs()))
        ),
    }
}

fn reasons(reasons: &[(String, String)]) -> String {
    reasons.iter().map(|(region, reason)| format!("; {region}: {reason}")).collect()
}
