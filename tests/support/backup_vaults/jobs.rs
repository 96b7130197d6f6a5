//! Jobs that make recovery points.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::answer::{Answer, Refusal};
use super::course::{Course, Ending, JobKind};
use super::route::Asked;
use super::world::{ACCOUNT, Point, World, now};
use super::{files, points};

#[derive(Clone, Debug)]
pub(crate) struct BackupJob {
    pub(crate) id: String,
    pub(crate) course: Course,
    pub(crate) resource: String,
    pub(crate) vault: String,
    pub(crate) role: String,
    pub(crate) created: DateTime<Utc>,
    pub(crate) point: Option<String>,
    pub(crate) token: Option<String>,
    start_window: i64,
    tags: BTreeMap<String, String>,
    lifecycle: Value,
}

#[derive(Clone, Debug)]
pub(crate) struct CopyJob {
    pub(crate) id: String,
    pub(crate) course: Course,
    pub(crate) source: String,
    pub(crate) source_vault: String,
    pub(crate) target_region: String,
    pub(crate) target_vault: String,
    pub(crate) role: String,
    pub(crate) created: DateTime<Utc>,
    pub(crate) point: Option<String>,
    pub(crate) token: Option<String>,
    /// The plan that had it begun.
    pub(crate) plan: Option<String>,
    resource: String,
    lifecycle: Value,
}

impl BackupJob {
    pub(super) fn shown(&self, region: &str) -> Value {
        json!({
            "AccountId": ACCOUNT,
            "BackupJobId": self.id,
            "BackupVaultName": self.vault,
            "BackupVaultArn": points::vault_arn(region, &self.vault),
            "RecoveryPointArn": self.point,
            "ResourceArn": self.resource,
            "ResourceType": points::resource_type(&self.resource),
            "CreationDate": points::seconds(self.created),
            "CompletionDate": self.course.ended.map(points::seconds),
            "StartBy": points::seconds(self.created + chrono::TimeDelta::minutes(self.start_window)),
            "State": self.course.state,
            "StatusMessage": self.course.message,
            "MessageCategory": category(&self.course),
            "PercentDone": self.course.percent(),
            "IamRoleArn": self.role,
            "RecoveryPointLifecycle": self.lifecycle,
        })
    }
}

impl CopyJob {
    pub(super) fn shown(&self, region: &str) -> Value {
        json!({
            "AccountId": ACCOUNT,
            "CopyJobId": self.id,
            "SourceBackupVaultArn": points::vault_arn(region, &self.source_vault),
            "SourceRecoveryPointArn": self.source,
            "DestinationBackupVaultArn": points::vault_arn(&self.target_region, &self.target_vault),
            "DestinationRecoveryPointArn": self.point,
            "ResourceArn": self.resource,
            "ResourceType": points::resource_type(&self.resource),
            "CreationDate": points::seconds(self.created),
            "CompletionDate": self.course.ended.map(points::seconds),
            "State": self.course.state,
            "StatusMessage": self.course.message,
            "MessageCategory": category(&self.course),
            "IamRoleArn": self.role,
            "CreatedBy": self.plan.as_ref().map(|plan| json!({ "BackupPlanId": plan })),
        })
    }
}

fn category(course: &Course) -> Option<&'static str> {
    course.is_over.then_some(match course.ending {
        Ending::Completed => "SUCCESS",
        Ending::WithMessage(_) | Ending::WithoutKeys(_) => "COMPLETED_WITH_ISSUES",
        Ending::Failed(_) | Ending::Partial(_) | Ending::Aborted(_) => "AGGREGATE_ALL",
        Ending::Expired => "EXPIRED",
    })
}

impl World {
    pub(super) fn start_backup(&mut self, asked: &Asked) -> Answer {
        let missing = |name: &str| Refusal::new(400, "MissingParameterValueException", name);
        let resource = asked.word("ResourceArn").ok_or_else(|| missing("ResourceArn"))?;
        let vault = asked.word("BackupVaultName").ok_or_else(|| missing("BackupVaultName"))?;
        let role = asked.word("IamRoleArn").ok_or_else(|| missing("IamRoleArn"))?;
        let start_window = asked.body["StartWindowMinutes"].as_i64().unwrap_or(480);
        if start_window < 60 {
            return Err(Refusal::invalid("StartWindowMinutes must be at least 60"));
        }
        if self.vault(&asked.region, &vault).is_none() {
            return Err(Refusal::not_found(format!("Backup vault {vault} does not exist")));
        }
        if !self.resources.contains_key(&resource) {
            return Err(Refusal::not_found(format!("Resource {resource} does not exist")));
        }
        let token = asked.word("IdempotencyToken");
        let region = self.regions.get(&asked.region);
        let same = region.into_iter().flat_map(|region| &region.backup_jobs).find(|job| {
            job.token.is_some() && job.token == token && job.resource == resource && job.vault == vault
        });
        if let Some(job) = same {
            return Ok(begun(job));
        }
        let job = BackupJob {
            id: self.unique(),
            course: Course::new(JobKind::Backup, self.ending(JobKind::Backup)),
            resource,
            vault,
            role,
            created: now(),
            point: None,
            token,
            start_window,
            tags: asked.words("RecoveryPointTags"),
            lifecycle: asked.body["Lifecycle"].clone(),
        };
        let answer = begun(&job);
        self.regions.entry(asked.region.clone()).or_default().backup_jobs.push(job);
        Ok(answer)
    }

    pub(super) fn start_copy(&mut self, asked: &Asked) -> Answer {
        let source = asked.word("RecoveryPointArn").unwrap_or_default();
        let source_vault = asked.word("SourceBackupVaultName").unwrap_or_default();
        let Some(point) = self.point(&asked.region, &source_vault, &source) else {
            return Err(Refusal::not_found(format!("Recovery point {source} is not in {source_vault}")));
        };
        let (resource, whole) = (point.resource.clone(), points::is_whole(point.status));
        if !whole {
            return Err(Refusal::request("The recovery point is not complete"));
        }
        let target = asked.word("DestinationBackupVaultArn").unwrap_or_default();
        let (Some(target_region), Some(target_vault)) = (target.split(':').nth(3), target.rsplit(':').next())
        else {
            return Err(Refusal::invalid("DestinationBackupVaultArn"));
        };
        let token = asked.word("IdempotencyToken");
        let region = self.regions.get(&asked.region);
        let same = region.into_iter().flat_map(|region| &region.copy_jobs).find(|job| {
            job.token.is_some()
                && job.token == token
                && job.source == source
                && (job.target_region.as_str(), job.target_vault.as_str()) == (target_region, target_vault)
        });
        if let Some(job) = same {
            return Ok(json!({ "CopyJobId": job.id, "CreationDate": points::seconds(job.created) }));
        }
        // AWS looks for the other vault only when the job runs.
        let exists = self.vault(target_region, target_vault).is_some();
        let ending = match self.ending(JobKind::Copy) {
            Ending::Completed if !exists => Ending::Failed(format!("{target} does not exist")),
            ending => ending,
        };
        let job = CopyJob {
            id: self.unique(),
            course: Course::new(JobKind::Copy, ending),
            source,
            source_vault,
            target_region: target_region.to_owned(),
            target_vault: target_vault.to_owned(),
            role: asked.word("IamRoleArn").unwrap_or_default(),
            created: now(),
            point: None,
            token,
            plan: None,
            resource,
            lifecycle: asked.body["Lifecycle"].clone(),
        };
        let answer = json!({ "CopyJobId": job.id, "CreationDate": points::seconds(job.created) });
        self.regions.entry(asked.region.clone()).or_default().copy_jobs.push(job);
        Ok(answer)
    }

    /// A copy that a plan has made of a recovery point of its own.
    pub(crate) fn add_copy(&mut self, from: (&str, &str), point: &str, to: (&str, &str)) {
        let Some(original) = self.point(from.0, from.1, point).cloned() else { return };
        let job = CopyJob {
            id: self.unique(),
            course: Course::new(JobKind::Copy, Ending::Completed),
            source: point.to_owned(),
            source_vault: from.1.to_owned(),
            target_region: to.0.to_owned(),
            target_vault: to.1.to_owned(),
            role: String::new(),
            created: now(),
            point: None,
            token: None,
            plan: original.plan,
            resource: original.resource,
            lifecycle: Value::Null,
        };
        self.regions.entry(from.0.to_owned()).or_default().copy_jobs.push(job);
    }

    pub(super) fn tick_backups(&mut self, name: &str) {
        let (pace, held) = (self.pace, self.held.get(&JobKind::Backup).copied());
        let Some(region) = self.regions.get_mut(name) else { return };
        let mut jobs = std::mem::take(&mut region.backup_jobs);
        for job in &mut jobs {
            match job.course.step(pace, held) {
                Some("RUNNING") => self.capture(name, job),
                Some(_) if job.course.is_over => self.finish_backup(name, job),
                _ => {}
            }
        }
        if let Some(region) = self.regions.get_mut(name) {
            region.backup_jobs = jobs;
        }
    }

    fn capture(&mut self, region: &str, job: &mut BackupJob) {
        let id = self.unique();
        let arn = points::point_arn(region, &job.resource, &id);
        let files = self.root.join("points").join(&id);
        let Some(from) = self.resources.get(&job.resource).cloned() else {
            return job.course.end(Ending::Failed(format!("{} does not exist", job.resource)));
        };
        let lock = self.vault(region, &job.vault).and_then(|vault| vault.lock);
        if let Some(reason) = points::outside(lock, &job.lifecycle) {
            return job.course.end(Ending::Failed(reason));
        }
        if let Err(error) = files::copy(&from, &files, &[]) {
            return job.course.end(Ending::Failed(error.to_string()));
        }
        let point = Point {
            arn: arn.clone(),
            resource: job.resource.clone(),
            status: "CREATING",
            created: now(),
            tags: job.tags.clone(),
            lifecycle: job.lifecycle.clone(),
            plan: None,
            copied_from: None,
            files,
            metadata: points::metadata(region, &job.resource),
        };
        self.keep(region, &job.vault, point);
        job.point = Some(arn);
    }

    fn finish_backup(&mut self, region: &str, job: &mut BackupJob) {
        let whole = self.whole;
        let Some(arn) = job.point.clone() else { return };
        let Some(vault) = self.vault(region, &job.vault) else { return };
        match job.course.state {
            "COMPLETED" | "PARTIAL" => {
                if let Some(point) = vault.points.get_mut(&arn) {
                    point.status = if job.course.state == "PARTIAL" { "PARTIAL" } else { whole };
                }
            }
            _ => {
                vault.points.remove(&arn);
                job.point = None;
            }
        }
    }

    pub(super) fn tick_copies(&mut self, name: &str) {
        let (pace, held) = (self.pace, self.held.get(&JobKind::Copy).copied());
        let Some(region) = self.regions.get_mut(name) else { return };
        let mut jobs = std::mem::take(&mut region.copy_jobs);
        for job in &mut jobs {
            if job.course.step(pace, held).is_some() && job.course.is_over {
                self.finish_copy(name, job);
            }
        }
        if let Some(region) = self.regions.get_mut(name) {
            region.copy_jobs = jobs;
        }
    }

    fn finish_copy(&mut self, region: &str, job: &mut CopyJob) {
        if !["COMPLETED", "PARTIAL"].contains(&job.course.state) {
            return;
        }
        let Some(original) = self.point(region, &job.source_vault, &job.source).cloned() else {
            return job.course.end(Ending::Failed(format!("{} does not exist", job.source)));
        };
        let lock = self.vault(&job.target_region, &job.target_vault).and_then(|vault| vault.lock);
        if let Some(reason) = points::outside(lock, &job.lifecycle) {
            return job.course.end(Ending::Failed(reason));
        }
        let id = self.unique();
        let arn = points::point_arn(&job.target_region, &job.resource, &id);
        let files = self.root.join("points").join(&id);
        if let Err(error) = files::copy(&original.files, &files, &[]) {
            return job.course.end(Ending::Failed(error.to_string()));
        }
        let tags = if self.tags_are_copied { original.tags } else { BTreeMap::new() };
        let status = if job.course.state == "PARTIAL" { "PARTIAL" } else { self.whole };
        let point = Point {
            arn: arn.clone(),
            resource: original.resource,
            status,
            created: original.created,
            tags,
            lifecycle: job.lifecycle.clone(),
            plan: job.plan.clone(),
            copied_from: Some(points::vault_arn(region, &job.source_vault)),
            files,
            metadata: original.metadata,
        };
        let (to_region, to_vault) = (job.target_region.clone(), job.target_vault.clone());
        self.keep(&to_region, &to_vault, point);
        job.point = Some(arn);
    }
}

fn begun(job: &BackupJob) -> Value {
    json!({
        "BackupJobId": job.id,
        "RecoveryPointArn": job.point,
        "CreationDate": points::seconds(job.created),
    })
}
