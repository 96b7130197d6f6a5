//! Why nothing is removed.

use serde::Serialize;

/// A reason not to remove anything of what it is about, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    pub code: RefusalCode,
    /// The fact.
    pub message: String,
    pub hint: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalCode {
    /// A repository, or a part of it, could not be listed or read.
    ListingIncomplete,
    /// What was listed is not what the catalog has.
    CatalogChanged,
    /// The host's clock and the store's differ.
    ClockSkew,
    /// The host may not write there: its journal takes no record of what goes.
    ReadOnly,
    /// No good backup is young enough.
    NewestTooOld,
    /// There is no good backup at all.
    NoGoodBackup,
    /// A large part of what there is would go.
    LargeShare,
    /// The rules are not those that were applied last.
    RulesChanged,
    /// A backup, a restore or a drill of the source is running.
    SourceBusy,
    /// The proof does not hold.
    ProofFailed,
    /// A repository cannot be read, and may have a hold that no other one has.
    HoldsUnknown,
    /// Two servers write to the archive, each on a timeline of its own: what is old for one is all that the other has.
    TimelinesDiverged,
    /// A rule of the bucket removes what the policy keeps.
    LifecycleRemoves,
    /// A rule of the bucket removes what protects backups, or objects of some sizes.
    LifecycleShortens,
}

impl RefusalCode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ListingIncomplete => "listing-incomplete",
            Self::CatalogChanged => "catalog-changed",
            Self::ClockSkew => "clock-skew",
            Self::ReadOnly => "read-only",
            Self::NewestTooOld => "newest-too-old",
            Self::NoGoodBackup => "no-good-backup",
            Self::LargeShare => "large-share",
            Self::RulesChanged => "rules-changed",
            Self::SourceBusy => "source-busy",
            Self::ProofFailed => "proof-failed",
            Self::HoldsUnknown => "holds-unknown",
            Self::TimelinesDiverged => "timelines-diverged",
            Self::LifecycleRemoves => "lifecycle-removes",
            Self::LifecycleShortens => "lifecycle-shortens",
        }
    }

    /// Returns whether someone who has seen the plan may say that it is meant (`--confirm DIGEST`).
    pub fn can_be_confirmed(self) -> bool {
        matches!(
            self,
            Self::LargeShare
                | Self::RulesChanged
                | Self::HoldsUnknown
                | Self::TimelinesDiverged
                | Self::LifecycleShortens
        )
    }
}

impl Refusal {
    pub fn new(code: RefusalCode, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: hint.into() }
    }
}
