use std::fmt::{self, Display};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The incident that a drill rehearses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// The database is lost; the newest backup is restored.
    Newest,
    /// Data was destroyed by mistake; the moment before it is restored, by a base backup and WAL.
    PointInTime,
    /// Any backup that is kept is restored, the oldest among them.
    Random,
    /// The region of the primary repository is lost: a copy is restored, and the primary is not called once.
    RegionLoss,
    /// The team's host and keys are lost: the escrowed identity, and nothing this host knows, is used.
    EscrowKey,
    /// Backups were hidden or overwritten: what was there before is restored from the versions that stores keep.
    Ransomware,
    /// A snapshot of RDS is restored into a temporary instance.
    RdsSnapshot,
    /// RDS's automated backups are restored to a point in time, into a temporary instance.
    RdsPointInTime,
    /// A recovery point of AWS Backup is restored into a temporary database.
    AwsBackup,
    /// The whole application is lost; the last recovery point is restored, with everything that belongs to it.
    Application,
}

impl Scenario {
    pub const ALL: [Self; 10] = [
        Self::Newest,
        Self::PointInTime,
        Self::Random,
        Self::RegionLoss,
        Self::EscrowKey,
        Self::Ransomware,
        Self::RdsSnapshot,
        Self::RdsPointInTime,
        Self::AwsBackup,
        Self::Application,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::PointInTime => "point-in-time",
            Self::Random => "random",
            Self::RegionLoss => "region-loss",
            Self::EscrowKey => "escrow-key",
            Self::Ransomware => "ransomware",
            Self::RdsSnapshot => "rds-snapshot",
            Self::RdsPointInTime => "rds-point-in-time",
            Self::AwsBackup => "aws-backup",
            Self::Application => "application",
        }
    }

    /// Returns what is assumed to have happened, as a sentence.
    pub fn incident(self) -> &'static str {
        match self {
            Self::Newest => "The database is lost.",
            Self::PointInTime => "Data was destroyed by mistake, and is needed as it was at a point in time.",
            Self::Random => "A backup of some age is needed.",
            Self::RegionLoss => "The region of the primary repository is lost.",
            Self::EscrowKey => "This host and the operational keys are lost; the escrowed identity is left.",
            Self::Ransomware => {
                "An intruder with write access hid or overwrote backups; the versions that the repositories keep are left."
            }
            Self::RdsSnapshot => "The RDS database is lost, and its snapshots are left.",
            Self::RdsPointInTime => {
                "The RDS database is lost or damaged, and RDS's automated backups are left."
            }
            Self::Application => "The application is lost, its database and what belongs to it.",
            Self::AwsBackup => "The resource is lost, and AWS Backup's recovery points are left.",
        }
    }

    /// Returns whether it restores what AWS keeps, into AWS.
    pub fn is_in_aws(self) -> bool {
        matches!(self, Self::RdsSnapshot | Self::RdsPointInTime | Self::AwsBackup)
    }

    /// Returns whether the RPO is measured: an older backup on purpose tells nothing of what would be lost.
    pub fn measures_rpo(self) -> bool {
        !matches!(self, Self::Random | Self::PointInTime)
    }
}

impl Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|scenario| scenario.as_str() == text);
        found.ok_or_else(|| format!("there is no scenario `{text}`"))
    }
}
