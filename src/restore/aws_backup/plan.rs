use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::kind::{ResourceKind, TIME};
use super::metadata::{InvalidMetadata, edit};
use super::survey::RunningJob;
use super::{OmittedSetting, ResourceRestoreRequest, ResourceSurvey};
use crate::aws::backup::is_continuous;
use crate::event::Phase;
use crate::model::{BackupId, SourceName};
use crate::policy::AwsLocation;
use crate::restore::{PlanSummary, Refusal, RestorePlan};

/// What a restore will do.
#[derive(Clone, Debug, Serialize)]
pub struct ResourceRestorePlan {
    pub source: SourceName,
    pub backup: BackupId,
    /// The time whose data it holds.
    pub recovery_point: DateTime<Utc>,
    pub age_seconds: i64,
    /// What was backed up.
    pub resource: String,
    /// `RDS`, `EFS`, `S3`, …
    pub resource_type: String,
    pub region: String,
    pub vault: String,
    /// ARN of the recovery point.
    pub point: String,
    /// The IAM role that AWS Backup assumes.
    pub role: String,
    /// The metadata passed to AWS for the new resource.
    pub metadata: BTreeMap<String, String>,
    pub left_out: Vec<OmittedSetting>,
    /// A job with the same metadata: it is resumed, or it already was the restore.
    pub earlier: Option<EarlierJob>,
    /// The steps to execute, in order.
    #[serde(skip)]
    pub steps: Vec<ResourceRestoreStep>,
    pub notes: Vec<String>,
    /// Where AWS is queried.
    #[serde(skip)]
    pub(super) place: AwsLocation,
}

impl RestorePlan for ResourceRestorePlan {
    fn summary(&self) -> PlanSummary {
        PlanSummary {
            source: self.source.clone(),
            backup: Some(self.backup.clone()),
            subject: format!("`{}` in {}", self.backup, self.region),
            to: self.region.clone(),
            changed: vec![],
        }
    }

    fn phases(&self, _validates: bool) -> Vec<Phase> {
        self.steps.iter().map(|step| step.phase()).take(1).collect()
    }

    fn without_checks(&self) -> Option<&'static str> {
        Some("drctl does not log in to a resource of AWS Backup")
    }
}

/// A step of the restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceRestoreStep {
    /// Skipped where an earlier run started a job with the same metadata.
    StartJob,
    AwaitJob,
}

impl ResourceRestoreStep {
    /// Returns the phase it is timed as: AWS counts both to the job.
    pub(super) fn phase(self) -> Phase {
        match self {
            Self::StartJob | Self::AwaitJob => Phase::RestoreJob,
        }
    }
}

/// A job of an earlier run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EarlierJob {
    pub job: String,
    pub is_over: bool,
    pub begun: Option<DateTime<Utc>>,
    /// Whether the created resource still exists; `None`: unknown, or the job is still running.
    pub is_there: Option<bool>,
}

/// Makes the plan, or returns everything that is wrong at once.
pub fn plan(
    request: &ResourceRestoreRequest,
    situation: ResourceSurvey,
    now: DateTime<Utc>,
) -> Result<ResourceRestorePlan, Vec<Refusal>> {
    let ResourceSurvey { manifest, place, point, profile, jobs } = situation;
    let (arn, region) = (place.arn, place.region);
    let mut refused = Vec::new();
    match &point {
        None => refused.push(Refusal::nothing(
            "recovery-point-gone",
            format!("AWS Backup no longer has {arn} in {region}"),
        )),
        Some(point) if !point.is_whole() => {
            let message =
                format!("{arn} is `{}`, and can be restored only when it is complete", point.status);
            refused.push(Refusal::nothing("recovery-point-gone", message));
        }
        Some(_) => {}
    }
    let kind = ResourceKind::find(&profile.resource_type);
    let edited = match kind {
        Some(kind) => edit(kind, &profile, is_continuous(&arn), &region, &request.changes)
            .map_err(|wrong| {
                let refusal = |wrong: &InvalidMetadata| Refusal::usage("invalid-metadata", wrong.to_string());
                refused.extend(wrong.iter().map(refusal));
            })
            .ok(),
        None => {
            let message = format!("drctl does not restore `{}`; AWS's own tools do", profile.resource_type);
            refused.push(Refusal::usage("unknown-resource-type", message));
            None
        }
    };
    let Some(edited) = edited.filter(|_| refused.is_empty()) else { return Err(refused) };
    let mut same = jobs;
    same.retain(|begun| kind.is_some_and(|kind| says_the_same(kind, &begun.metadata, &edited.metadata)));
    let mut notes = notes(&profile.resource_type, &edited.metadata);
    let earlier = earlier(same, &mut notes).filter(|earlier| !(earlier.is_over && request.again));
    let time = edited.metadata.get(TIME).and_then(|time| DateTime::parse_from_rfc3339(time).ok());
    if is_continuous(&arn) && time.is_none() {
        notes.push(
            "AWS Backup restores the latest point in time that it has, and does not report which: the time above is when it began"
                .to_owned(),
        );
    }
    let recovery_point = time.map_or(manifest.recovery_point, |time| time.to_utc());
    Ok(ResourceRestorePlan {
        age_seconds: (now - recovery_point).num_seconds(),
        source: manifest.source,
        place: request.config.place.in_region(&region),
        backup: manifest.id,
        recovery_point,
        resource: manifest.managed.map(|managed| managed.resource).unwrap_or_default(),
        notes,
        resource_type: profile.resource_type,
        region,
        vault: place.vault.unwrap_or_default(),
        point: arn,
        role: request.config.role.clone(),
        metadata: edited.metadata,
        left_out: edited.left_out,
        earlier,
        steps: vec![ResourceRestoreStep::StartJob, ResourceRestoreStep::AwaitJob],
    })
}

/// Returns the newest job, unless its resource was deleted meanwhile: that is recreated.
fn earlier(same: Vec<RunningJob>, notes: &mut Vec<String>) -> Option<EarlierJob> {
    let begun = same.into_iter().next()?;
    let job = begun.job;
    if begun.is_there == Some(false) {
        let made = job.made.unwrap_or_default();
        notes.push(format!("job {} made {made}, which no longer exists: it is recreated", job.id));
        return None;
    }
    Some(EarlierJob { is_over: job.is_over(), job: job.id, begun: job.created, is_there: begun.is_there })
}

/// Compares metadata. AWS returns keys in different case, and may add some of its own.
fn says_the_same(
    kind: &'static ResourceKind,
    told: &BTreeMap<String, String>,
    metadata: &BTreeMap<String, String>,
) -> bool {
    let known = |words: &BTreeMap<String, String>| {
        let pairs = words.iter().filter_map(|(word, value)| Some((kind.key(word)?, value.clone())));
        // Generated for each job.
        pairs.filter(|(key, _)| *key != "CreationToken").collect::<BTreeMap<_, _>>()
    };
    known(told) == known(metadata)
}

/// Returns notes on consequences that an operator may not expect.
fn notes(resource_type: &str, metadata: &BTreeMap<String, String>) -> Vec<String> {
    let is = |key: &str, value: &str| metadata.get(key).is_some_and(|said| said == value);
    match resource_type {
        "S3" => {
            let bucket = if is("NewBucket", "true") {
                "the bucket is made new"
            } else {
                "the bucket must be there, with versioning on; objects that it has are skipped, never overwritten"
            };
            let says = "AWS Backup does not say how many objects came back: count them";
            vec![bucket.to_owned(), says.to_owned()]
        }
        "EFS" => vec!["the files come into a directory `aws-backup-restore_…`, never in place".to_owned()],
        "RDS" | "Aurora" => {
            let mut notes = vec!["what is not listed here gets AWS's defaults; check security groups and parameters before it is used".to_owned()];
            if resource_type == "Aurora" {
                notes.push(
                    "the cluster has no instance: make one, or there is nothing to connect to".to_owned(),
                );
            }
            notes
        }
        _ => vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_the_same_when_it_was_told_the_same() {
        let kind = ResourceKind::find("EFS").unwrap();
        let words = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let new = words(&[("newFileSystem", "true"), ("Encrypted", "true")]);
        let told = words(&[
            ("newfilesystem", "true"),
            ("encrypted", "true"),
            ("CreationToken", "x"),
            ("aws:backup:request-id", "9f1c"),
        ]);
        assert!(says_the_same(kind, &told, &new));
        let some = words(&[("newFileSystem", "true"), ("Encrypted", "true"), ("ItemsToRestore", "[\"a\"]")]);
        assert!(!says_the_same(kind, &some, &new));
        assert!(!says_the_same(kind, &told, &words(&[("newFileSystem", "true"), ("Encrypted", "false")])));
    }
}
