//! Jobs that bring recovery points back. A key of the metadata that AWS would not take fails the job.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::answer::{Answer, Refusal};
use super::course::{Course, Ending, JobKind};
use super::route::Asked;
use super::world::{ACCOUNT, Point, World, now};
use super::{files, points};

#[derive(Clone, Debug)]
pub(crate) struct RestoreJob {
    pub(crate) id: String,
    pub(crate) course: Course,
    pub(crate) point: Point,
    pub(crate) vault: String,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) role: String,
    pub(crate) created: DateTime<Utc>,
    /// What it made.
    pub(crate) made: Option<String>,
    pub(crate) validation: Option<(String, Option<String>)>,
    token: Option<String>,
}

impl RestoreJob {
    pub(super) fn shown(&self, region: &str) -> Value {
        json!({
            "AccountId": ACCOUNT,
            "RestoreJobId": self.id,
            "RecoveryPointArn": self.point.arn,
            "SourceResourceArn": self.point.resource,
            "BackupVaultArn": points::vault_arn(region, &self.vault),
            "CreationDate": points::seconds(self.created),
            "CompletionDate": self.course.ended.map(points::seconds),
            "Status": self.course.state,
            "StatusMessage": self.course.message,
            "PercentDone": self.course.percent(),
            "BackupSizeInBytes": files::size(&self.point.files),
            "IamRoleArn": self.role,
            "CreatedResourceArn": self.made,
            "ResourceType": points::resource_type(&self.point.resource),
            "RecoveryPointCreationDate": points::seconds(self.point.created),
            "ValidationStatus": self.validation.as_ref().map(|(status, _)| status),
            "ValidationStatusMessage": self.validation.as_ref().and_then(|(_, message)| message.clone()),
        })
    }

    /// AWS takes keys in any case.
    fn value(&self, key: &str) -> Option<&str> {
        let found = self.metadata.iter().find(|(name, _)| name.eq_ignore_ascii_case(key));
        found.map(|(_, value)| value.as_str())
    }
}

impl World {
    pub(super) fn start_restore(&mut self, asked: &Asked) -> Answer {
        let arn = asked.word("RecoveryPointArn").unwrap_or_default();
        let region = self.regions.get(&asked.region);
        let found = region
            .into_iter()
            .flat_map(|region| &region.vaults)
            .find_map(|(name, vault)| vault.points.get(&arn).map(|point| (name.clone(), point.clone())));
        let Some((vault, point)) = found else {
            return Err(Refusal::not_found(format!("Cannot find recovery point {arn}")));
        };
        let Some(role) = asked.word("IamRoleArn") else {
            return Err(Refusal::new(400, "MissingParameterValueException", "IamRoleArn"));
        };
        if asked.body["Metadata"].as_object().is_none_or(serde_json::Map::is_empty) {
            return Err(Refusal::new(400, "MissingParameterValueException", "Metadata"));
        }
        let token = asked.word("IdempotencyToken");
        let jobs = region.into_iter().flat_map(|region| &region.restore_jobs);
        if let Some(job) = jobs.into_iter().find(|job| job.token.is_some() && job.token == token) {
            return Ok(json!({ "RestoreJobId": job.id }));
        }
        let job = RestoreJob {
            id: self.unique(),
            course: Course::new(JobKind::Restore, self.ending(JobKind::Restore)),
            point,
            vault,
            metadata: asked.words("Metadata"),
            role,
            created: now(),
            made: None,
            validation: None,
            token,
        };
        let answer = json!({ "RestoreJobId": job.id });
        self.regions.entry(asked.region.clone()).or_default().restore_jobs.push(job);
        Ok(answer)
    }

    pub(super) fn restore_job_metadata(&self, asked: &Asked) -> Answer {
        let job = self.restore_job(asked)?;
        Ok(json!({ "RestoreJobId": job.id, "Metadata": job.metadata }))
    }

    pub(super) fn restore_job(&self, asked: &Asked) -> Result<&RestoreJob, Refusal> {
        let jobs = self.regions.get(&asked.region).into_iter().flat_map(|region| &region.restore_jobs);
        let mut jobs = jobs.filter(|job| job.id == asked.label(0));
        jobs.next().ok_or_else(|| Refusal::not_found(format!("Cannot find restore job {}", asked.label(0))))
    }

    /// Once, and never again.
    pub(super) fn put_validation(&mut self, asked: &Asked) -> Answer {
        self.restore_job(asked)?;
        let Some(status) = asked.word("ValidationStatus") else {
            return Err(Refusal::new(400, "MissingParameterValueException", "ValidationStatus"));
        };
        let jobs =
            self.regions.get_mut(&asked.region).into_iter().flat_map(|region| &mut region.restore_jobs);
        for job in jobs.filter(|job| job.id == asked.label(0)) {
            if job.validation.is_some() {
                return Err(Refusal::request("The validation status of this restore job was put before"));
            }
            job.validation = Some((status.clone(), asked.word("ValidationStatusMessage")));
        }
        Ok(Value::Null)
    }

    pub(super) fn tick_restores(&mut self, name: &str) {
        let (pace, held) = (self.pace, self.held.get(&JobKind::Restore).copied());
        let Some(region) = self.regions.get_mut(name) else { return };
        let mut jobs = std::mem::take(&mut region.restore_jobs);
        for job in &mut jobs {
            if job.course.step(pace, held) == Some("COMPLETED") {
                self.bring_back(name, job);
            }
        }
        if let Some(region) = self.regions.get_mut(name) {
            region.restore_jobs = jobs;
        }
    }

    fn bring_back(&mut self, region: &str, job: &mut RestoreJob) {
        let informational =
            |key: &&String| key.starts_with("InformationalOnly:") || key.as_str() == "aws:backup:request-id";
        if let Some(key) = job.metadata.keys().find(informational) {
            return job.course.end(Ending::Failed(format!("Invalid restore metadata: {key}")));
        }
        let is_continuous = job.point.arn.contains(":recovery-point:continuous:");
        let says_moment =
            ["RestoreTime", "UseLatestRestorableTime"].iter().any(|key| job.value(key).is_some());
        if points::resource_type(&job.point.resource) != "S3" && says_moment != is_continuous {
            let reason = "A moment is given for a recovery point of one moment, or none for a continuous one";
            return job.course.end(Ending::Failed(reason.to_owned()));
        }
        let outcome = match points::resource_type(&job.point.resource) {
            "S3" => self.fill_bucket(job),
            "EFS" => self.fill_file_system(region, job),
            "DynamoDB" => self.new_one(region, job, "targetTableName", "dynamodb", "table/"),
            "Aurora" => self.new_one(region, job, "DBClusterIdentifier", "rds", "cluster:"),
            "RDS" if job.value("Port") == Some("0") => Err("Invalid database port: 0".to_owned()),
            "RDS" if job.value("AvailabilityZone").is_some_and(|zone| !zone.starts_with(region)) => {
                Err("The availability zone is not of this region".to_owned())
            }
            "RDS" => self.new_one(region, job, "DBInstanceIdentifier", "rds", "db:"),
            _ => Err("This resource type is not supported".to_owned()),
        };
        match outcome {
            Ok(arn) => job.made = Some(arn),
            Err(reason) => job.course.end(Ending::Failed(reason)),
        }
    }

    fn new_one(
        &mut self,
        region: &str,
        job: &RestoreJob,
        key: &str,
        service: &str,
        kind: &str,
    ) -> Result<String, String> {
        let name = job.value(key).ok_or_else(|| format!("{key} is missing"))?;
        let arn = format!("arn:aws:{service}:{region}:{ACCOUNT}:{kind}{name}");
        if self.resources.contains_key(&arn) {
            return Err(format!("{name} already exists"));
        }
        let to = self.add_resource(region, &arn);
        place(job, &to, &[]).map(|_| arn)
    }

    /// Keys that are there are skipped, and so are those that fail.
    fn fill_bucket(&mut self, job: &RestoreJob) -> Result<String, String> {
        let name = job.value("DestinationBucketName").ok_or("DestinationBucketName is missing")?;
        let arn = format!("arn:aws:s3:::{name}");
        let is_new = job.value("NewBucket") == Some("true");
        let to = match self.resources.get(&arn) {
            Some(_) if is_new => return Err(format!("Bucket {name} already exists")),
            Some(path) => path.clone(),
            None if is_new => self.add_resource("s3", &arn),
            None => return Err(format!("Bucket {name} does not exist")),
        };
        let failing: &[String] = match &job.course.ending {
            Ending::WithoutKeys(keys) => keys,
            _ => &[],
        };
        place(job, &to, failing).map(|_| arn)
    }

    /// Into a directory of its own, never in place.
    fn fill_file_system(&mut self, region: &str, job: &RestoreJob) -> Result<String, String> {
        let is_new = job.value("newFileSystem").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let name = match job.value("file-system-id") {
            _ if is_new => format!("fs-{}", job.id.get(..8).unwrap_or_default()),
            Some(name) => name.to_owned(),
            None => return Err("file-system-id is missing".to_owned()),
        };
        let arn = format!("arn:aws:elasticfilesystem:{region}:{ACCOUNT}:file-system/{name}");
        let to = match self.resources.get(&arn) {
            Some(path) => path.clone(),
            None if is_new => self.add_resource(region, &arn),
            None => return Err(format!("File system {name} does not exist")),
        };
        let folder = format!("aws-backup-restore_{}", job.created.format("%Y-%m-%dT%H-%M-%SZ"));
        place(job, &to.join(folder), &[]).map(|_| arn)
    }
}

fn place(job: &RestoreJob, to: &Path, failing: &[String]) -> Result<usize, String> {
    files::copy(&job.point.files, to, failing).map_err(|error| error.to_string())
}
