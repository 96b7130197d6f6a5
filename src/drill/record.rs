//! The evidence of a drill, as it is stored. Every field is always there; what was not measured is null, and a
//! reason says why. Times are `YYYY-MM-DD HH:MM:SS UTC`, as spreadsheets take them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Scenario;
use crate::model::{
    BackupId, BackupKind, Cause, Judgement, RepositoryName, RunId, Sha256Hex, SourceName, SystemIdentifier,
    SystemName,
};

/// The `format` of records that this version writes.
pub const RECORD_FORMAT: &str = "drctl-drill/1";

/// One drill. Immutable once it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrillRecord {
    pub format: String,
    pub identity: DrillIdentity,
    pub people: People,
    pub sample: Sample,
    pub environment: Environment,
    /// As they stood before the start.
    pub criteria: Criteria,
    #[serde(with = "utc")]
    pub begun: DateTime<Utc>,
    #[serde(with = "utc")]
    pub ended: DateTime<Utc>,
    /// In the order they took place.
    pub phases: Vec<DrillPhase>,
    pub results: Results,
    pub verdict: DrillVerdict,
    /// What was done otherwise than a real recovery would.
    pub deviations: Vec<String>,
    pub cleanup: Cleanup,
    /// In US dollars; null where nothing was rented.
    pub cost: Option<f64>,
    /// What should be followed up, beside the verdict's reasons.
    pub findings: Vec<String>,
}

/// What the drill is, and which one it satisfies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrillIdentity {
    pub drill: RunId,
    pub system: SystemName,
    pub source: SourceName,
    pub scenario: Scenario,
    /// The time of the schedule that it satisfies; null where there is none.
    #[serde(with = "optional_utc")]
    pub occurrence: Option<DateTime<Utc>>,
    pub trigger: Trigger,
    /// Of the policy file.
    pub policy_sha256: Sha256Hex,
    pub drctl_version: String,
    /// Of the program that ran.
    pub drctl_sha256: Option<Sha256Hex>,
    /// The record before this one; null for the first.
    pub previous: Option<PreviousDrill>,
    /// The runbook whose steps restored; absent where drctl did it itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runbook: Option<DrilledRunbook>,
}

/// The steps of a runbook that a drill ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrilledRunbook {
    pub runbook: String,
    /// Of its text.
    pub sha256: Sha256Hex,
    pub steps: Vec<String>,
    pub failed: Vec<String>,
}

/// The record before, which chains them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousDrill {
    pub drill: RunId,
    pub sha256: Sha256Hex,
}

/// Why a drill was run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trigger {
    Schedule,
    Manual,
}

impl Trigger {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Manual => "manual",
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct People {
    pub requested_by: String,
    /// The user that ran it, on which host.
    pub operator: String,
    pub host: String,
    /// Of the CI job that ran it.
    pub job_url: Option<String>,
    /// Who holds the identity that opened the backup, according to the policy.
    pub key_holder: Option<String>,
}

/// Which backup was restored, and how it was chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// `newest`, `oldest`, `random`.
    pub method: String,
    /// Of the random choice, so that it can be repeated.
    pub seed: Option<u32>,
    /// How many backups there were to choose from.
    pub candidates: u64,
    pub passed_over: Vec<PassedOver>,
    /// Null where there was none to restore.
    pub backup: Option<BackupId>,
    pub kind: Option<BackupKind>,
    #[serde(with = "optional_utc")]
    pub recovery_point: Option<DateTime<Utc>>,
    /// At the beginning of the drill.
    pub age_seconds: Option<f64>,
    pub artifacts: Vec<SampledArtifact>,
    /// The repository it was read from.
    pub repository: Option<RepositoryName>,
    /// Proves which server was backed up.
    pub system_identifier: Option<SystemIdentifier>,
    /// The SHA-256 of the public key of the identity that opened it.
    pub key_fingerprint: Option<String>,
    /// The point in time that was asked for.
    #[serde(with = "optional_utc")]
    pub target: Option<DateTime<Utc>>,
    /// The repository was read as it was then; null where it was read as it is. Older records lack it.
    #[serde(default, with = "optional_utc")]
    pub as_of: Option<DateTime<Utc>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassedOver {
    pub backup: BackupId,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampledArtifact {
    pub name: String,
    pub bytes: u64,
    /// Of the plain bytes.
    pub sha256: Sha256Hex,
}

/// Where it was restored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// `local`: a server of this host; null where none was started.
    pub sandbox: Option<String>,
    /// `network namespace`, `unverified`; null where none was started.
    pub isolation: Option<String>,
    /// What was tried out of the sandbox, and what came of it.
    pub isolation_probes: Vec<String>,
    pub operating_system: String,
    pub postgres: Option<String>,
    pub processors: u64,
    pub memory_bytes: Option<u64>,
    pub disk_free_bytes: Option<u64>,
}

/// What the drill has to meet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Criteria {
    pub rto_seconds: f64,
    pub rpo_seconds: f64,
    /// When it is given up.
    pub deadline_seconds: f64,
    pub checks: Vec<CheckCriterion>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckCriterion {
    pub check: String,
    /// `sql`, `command`, `http`.
    pub kind: String,
    /// The query, the program, or the URL.
    pub asks: String,
    /// Such as `at least 1`; empty where success is all that is expected.
    pub expects: String,
}

/// One phase of a drill.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrillPhase {
    pub phase: String,
    /// By a monotonic clock; an allowance is the policy's.
    pub seconds: f64,
    /// Null where bytes say nothing.
    pub bytes: Option<u64>,
    /// It was not measured, but is allowed for by the policy: to notice, to decide, to switch over.
    pub is_allowance: bool,
    /// Counts towards the RTO; what follows the usable application does not.
    pub counts: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// To an application that is usable, checks and allowances included; null where it never was.
    pub rto_seconds: Option<f64>,
    pub rto_method: String,
    pub rpo_seconds: Option<f64>,
    pub rpo_method: String,
    /// The moment of the disaster that is assumed.
    #[serde(with = "optional_utc")]
    pub reference: Option<DateTime<Utc>>,
    /// Everything committed before it came back.
    #[serde(with = "optional_utc")]
    pub restored_until: Option<DateTime<Utc>>,
    pub checks: Vec<CheckEvidence>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckEvidence {
    pub check: String,
    pub outcome: Judgement,
    /// A number or a time; other values are the application's data, which is not written down.
    pub found: Option<String>,
    pub reasons: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillVerdict {
    pub outcome: Judgement,
    /// Null for a pass.
    pub cause: Option<Cause>,
    /// For programs; null for a pass.
    pub code: Option<String>,
    /// What to tell someone who is woken by it.
    pub sentence: String,
    pub reasons: Vec<VerdictReason>,
}

impl DrillVerdict {
    pub fn has_passed(&self) -> bool {
        self.outcome == Judgement::Pass
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictReason {
    pub cause: Cause,
    pub code: String,
    pub message: String,
}

/// What was removed afterwards.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cleanup {
    pub is_complete: bool,
    pub removed: Vec<String>,
    pub left: Vec<String>,
    /// Of earlier drills that were killed.
    pub leftovers_removed: Vec<String>,
}

/// A named person has seen the record. A record of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    pub drill: RunId,
    /// Of the record that was seen.
    pub sha256: Sha256Hex,
    pub by: String,
    pub note: String,
    #[serde(with = "utc")]
    pub at: DateTime<Utc>,
}

/// `YYYY-MM-DD HH:MM:SS UTC`.
mod utc {
    use chrono::{DateTime, NaiveDateTime, Utc};
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) const PATTERN: &str = "%Y-%m-%d %H:%M:%S UTC";

    pub(super) fn parse(text: &str) -> Result<DateTime<Utc>, chrono::ParseError> {
        NaiveDateTime::parse_from_str(text, PATTERN).map(|time| time.and_utc())
    }

    pub(super) fn serialize<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&time.format(PATTERN))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
        parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

mod optional_utc {
    use chrono::{DateTime, Utc};
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use super::utc;

    pub(super) fn serialize<S: Serializer>(
        time: &Option<DateTime<Utc>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => serializer.serialize_some(&time.format(utc::PATTERN).to_string()),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<DateTime<Utc>>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| utc::parse(&text)).transpose().map_err(D::Error::custom)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A drill that passed.
    pub(crate) fn passed() -> DrillRecord {
        let begun = "2026-11-01T05:00:00Z".parse().unwrap();
        let backup: BackupId = "20261101T030000Z-database-logical-2222".parse().unwrap();
        DrillRecord {
            format: RECORD_FORMAT.to_owned(),
            identity: DrillIdentity {
                drill: RunId::new(begun, 7),
                system: "shop".parse().unwrap(),
                source: "database".parse().unwrap(),
                scenario: Scenario::RegionLoss,
                occurrence: Some(begun),
                trigger: Trigger::Schedule,
                policy_sha256: Sha256Hex::digest(b"policy"),
                drctl_version: "0.1.0".to_owned(),
                drctl_sha256: Some(Sha256Hex::digest(b"drctl")),
                previous: None,
                runbook: None,
            },
            people: People {
                requested_by: "ann".to_owned(),
                operator: "drctl".to_owned(),
                host: "backup-1".to_owned(),
                job_url: None,
                key_holder: Some("escrow".to_owned()),
            },
            sample: Sample {
                method: "newest".to_owned(),
                seed: None,
                candidates: 30,
                passed_over: vec![PassedOver {
                    backup: "20261101T040000Z-database-logical-3333".parse().unwrap(),
                    reason: "us-west-2 does not have it".to_owned(),
                }],
                backup: Some(backup),
                kind: Some(BackupKind::Logical),
                recovery_point: "2026-11-01T04:30:00Z".parse().ok(),
                age_seconds: Some(1800.0),
                artifacts: vec![SampledArtifact {
                    name: "database.dump".to_owned(),
                    bytes: 5 << 30,
                    sha256: Sha256Hex::digest(b"dump"),
                }],
                repository: "us-west-2".parse().ok(),
                system_identifier: Some(SystemIdentifier(7_000_000_000_000_000_001)),
                key_fingerprint: Some(Sha256Hex::digest(b"key").to_string()),
                target: None,
                as_of: None,
            },
            environment: Environment {
                sandbox: Some("local".to_owned()),
                isolation: Some("network namespace".to_owned()),
                isolation_probes: vec!["127.0.0.1:1: network is unreachable".to_owned()],
                operating_system: "Debian GNU/Linux 13".to_owned(),
                postgres: Some("17.6".to_owned()),
                processors: 4,
                memory_bytes: Some(16 << 30),
                disk_free_bytes: Some(200 << 30),
            },
            criteria: Criteria {
                rto_seconds: 14_400.0,
                rpo_seconds: 3_600.0,
                deadline_seconds: 14_400.0,
                checks: vec![CheckCriterion {
                    check: "there are tasks".to_owned(),
                    kind: "sql".to_owned(),
                    asks: "select count(*) from tasks".to_owned(),
                    expects: "at least 1".to_owned(),
                }],
            },
            begun,
            ended: "2026-11-01T05:20:00Z".parse().unwrap(),
            phases: [
                ("detect", 900.0, None, true, true),
                ("provision", 2.5, None, false, true),
                ("fetch", 300.0, Some(5_u64 << 30), false, true),
                ("load", 600.0, Some(20 << 30), false, true),
                ("checks", 12.0, None, false, true),
                ("cut-over", 300.0, None, true, true),
                ("clean up", 4.0, None, false, false),
            ]
            .map(|(phase, seconds, bytes, is_allowance, counts)| DrillPhase {
                phase: phase.to_owned(),
                seconds,
                bytes,
                is_allowance,
                counts,
            })
            .into(),
            results: Results {
                rto_seconds: Some(2114.5),
                rto_method: "measured from the start to the end of the checks, and the policy's allowances"
                    .to_owned(),
                rpo_seconds: Some(1800.0),
                rpo_method: "from the moment of the dump's snapshot to the start of the drill".to_owned(),
                reference: Some(begun),
                restored_until: "2026-11-01T04:30:00Z".parse().ok(),
                checks: vec![CheckEvidence {
                    check: "there are tasks".to_owned(),
                    outcome: Judgement::Pass,
                    found: Some("1204".to_owned()),
                    reasons: vec![],
                }],
            },
            verdict: DrillVerdict {
                outcome: Judgement::Pass,
                cause: None,
                code: None,
                sentence: "The backup was restored from us-west-2 and passed every check.".to_owned(),
                reasons: vec![],
            },
            deviations: vec![],
            cleanup: Cleanup {
                is_complete: true,
                removed: vec!["directory `/var/lib/drctl/drills/x`".to_owned()],
                left: vec![],
                leftovers_removed: vec![],
            },
            cost: None,
            findings: vec![],
        }
    }

    #[test]
    fn every_field_is_there_and_is_read_back() {
        let record = passed();
        let json = serde_json::to_value(&record).unwrap();
        assert_eq!(json["begun"], "2026-11-01 05:00:00 UTC");
        for field in ["cost", "deviations", "findings"] {
            assert!(json.get(field).is_some(), "{field}");
        }
        assert!(json["sample"].get("target").is_some_and(serde_json::Value::is_null));
        assert_eq!(serde_json::from_value::<DrillRecord>(json).unwrap(), record);
    }
}
