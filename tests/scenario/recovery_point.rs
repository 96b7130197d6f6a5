//! A bucket that AWS Backup protects: backed up, copied to another region, restored there when the first is
//! gone. The jobs are held at each of their states, and drctl is killed then.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::support::Outcome;
use super::support::backup_vaults::BackupVaults;
use super::support::backup_vaults::course::{Ending, JobKind};
use super::support::backup_vaults::fault::{Fault, Trouble};
use super::support::backup_vaults::world::{Region, World};
use super::support::system::{Place, System, contents};

pub(super) const EAST: &str = "us-east-1";
pub(super) const WEST: &str = "us-west-2";
pub(super) const BUCKET: &str = "arn:aws:s3:::shop-files";

/// AWS Backup, a bucket with files in it, and a policy that protects it.
pub(super) struct Stage {
    pub(super) aws: BackupVaults,
    pub(super) bucket: PathBuf,
    pub(super) system: System,
}

impl Stage {
    pub(super) async fn new() -> Outcome<Self> {
        Self::of(BUCKET).await
    }

    pub(super) async fn of(resource: &str) -> Outcome<Self> {
        let aws = BackupVaults::start(&[(EAST, "daily"), (WEST, "away")]).await?;
        let bucket = aws.resource(EAST, resource);
        std::fs::write(bucket.join("invoice.pdf"), "one")?;
        std::fs::create_dir(bucket.join("photos"))?;
        std::fs::write(bucket.join("photos/cat.jpg"), "two")?;
        let mut system = System::new("postgres://nowhere/none", &[Place::Directory])?;
        system.rewrite(
            "kind = \"postgres\"\nurl = \"postgres://nowhere/none\"",
            &format!(
                "kind = \"aws-backup\"\nresource = \"{resource}\"\nregion = \"{EAST}\"\nvault = \"daily\"\n\
                 role = \"arn:aws:iam::123456789012:role/backup\"\nendpoint = \"{}\"\npoll = \"20ms\"\n\
                 credentials = {{ access_key_id = \"env:AWS_KEY\", secret_access_key = \"env:AWS_SECRET\" }}\n\
                 copy_to = {{ {WEST} = {{ vault = \"away\" }} }}",
                aws.url()
            ),
        )?;
        system.set("AWS_KEY", "AKIDEXAMPLE");
        system.set("AWS_SECRET", "secret");
        Ok(Self { aws, bucket, system })
    }

    /// Starts a backup, waits until a job is held at `state`, and kills drctl then.
    async fn kill_at(&self, kind: JobKind, state: &'static str) -> Outcome<()> {
        self.aws.world().hold(kind, state);
        let mut backup = self.system.start(&["backup"])?;
        self.until_at(kind, state).await?;
        backup.kill()?;
        System::expire_leases(&self.system.repository("primary"))
    }

    async fn until_at(&self, kind: JobKind, state: &'static str) -> Outcome<()> {
        let what = format!("a {kind:?} job at {state}, and asked for");
        let asked = match kind {
            JobKind::Backup => "DescribeBackupJob",
            JobKind::Copy => "DescribeCopyJob",
            JobKind::Restore => "DescribeRestoreJob",
        };
        let before = self.aws.world().count(asked);
        let at = |world: &World| states(world, kind).contains(&state) && world.count(asked) > before;
        self.aws.until(&what, |world| at(world).then_some(())).await
    }

    fn points(&self, region: &str, vault: &str) -> usize {
        self.aws.world().points(region, vault).len()
    }

    pub(super) fn manifest(&self) -> Outcome<Value> {
        let ids = self.system.backups_in("primary");
        let [id] = ids.as_slice() else { return Err(format!("not just one backup: {ids:?}").into()) };
        let path =
            self.system.repository("primary").join("shop/database/backups").join(id).join("manifest.json");
        Ok(serde_json::from_slice(&std::fs::read(path)?)?)
    }
}

pub(super) fn states(world: &World, kind: JobKind) -> Vec<&'static str> {
    let region = world.regions.get(EAST).into_iter().chain(world.regions.get(WEST));
    let of = |region: &Region| match kind {
        JobKind::Backup => region.backup_jobs.iter().map(|job| job.course.state).collect::<Vec<_>>(),
        JobKind::Copy => region.copy_jobs.iter().map(|job| job.course.state).collect(),
        JobKind::Restore => region.restore_jobs.iter().map(|job| job.course.state).collect(),
    };
    region.flat_map(of).collect()
}

/// By name, without where they are.
pub(super) fn files(folder: &Path) -> Outcome<Vec<(PathBuf, String)>> {
    let found = contents(folder)?.into_iter();
    found.map(|(path, digest)| Ok((path.strip_prefix(folder)?.to_owned(), digest))).collect()
}

#[tokio::test]
async fn a_recovery_point_is_made_and_copied_and_carries_our_tags() -> Outcome<()> {
    let stage = Stage::new().await?;
    let foreign = stage.aws.world().add_point(EAST, "daily", BUCKET, chrono::TimeDelta::hours(1), None);
    let run = stage.system.expect(0, &["backup"]).await?;
    let manifest = stage.manifest()?;
    let held = &manifest["managed"]["held"];
    assert_eq!(held[0]["region"], EAST, "{run:#?}");
    assert_eq!((&held[1]["region"], &held[1]["vault"]), (&WEST.into(), &"away".into()), "{held}");
    let world = stage.aws.world();
    for (region, vault) in [(EAST, "daily"), (WEST, "away")] {
        let points = world.points(region, vault);
        let own: Vec<_> = points.iter().filter(|point| point.arn != foreign).collect();
        let [own] = own.as_slice() else { return Err(format!("{points:#?}").into()) };
        assert_eq!(own.tags.get("drctl:backup").map(String::as_str), manifest["id"].as_str());
        assert_eq!(own.tags.get("drctl:system").map(String::as_str), Some("shop"));
        assert_eq!(files(&own.files)?, files(&stage.bucket)?);
    }
    // What drctl did not make is not touched.
    let touched = world
        .changes()
        .into_iter()
        .find(|call| call.about.contains(&foreign) || call.body.to_string().contains(&foreign));
    assert!(touched.is_none(), "{touched:?}");
    Ok(())
}

/// Recovery points of databases are snapshots of RDS, and AWS Backup does not say their tags.
#[tokio::test]
async fn a_databases_recovery_points_are_known_by_what_rds_says_of_them() -> Outcome<()> {
    for kind in ["db", "cluster"] {
        let stage = Stage::of(&format!("arn:aws:rds:{EAST}:123456789012:{kind}:shop")).await?;
        stage.kill_at(JobKind::Copy, "RUNNING").await?;
        stage.aws.world().release();
        stage.system.expect(0, &["backup"]).await?;
        let id = stage.manifest()?["id"].clone();
        for (region, vault) in [(EAST, "daily"), (WEST, "away")] {
            let world = stage.aws.world();
            let points = world.points(region, vault);
            let [own] = points.as_slice() else { return Err(format!("{points:#?}").into()) };
            assert!(own.arn.starts_with("arn:aws:rds:"), "{}", own.arn);
            assert_eq!(own.tags.get("drctl:backup").map(String::as_str), id.as_str());
        }
        stage.system.expect(0, &["backup"]).await?;
        stage.system.expect(0, &["status"]).await?;
        assert_eq!(stage.aws.world().count("StartBackupJob"), 2);
        assert_eq!(stage.aws.world().count("ListTags"), 0);
    }
    Ok(())
}

/// Nobody can be asked for the tags of a table's recovery points, so the manifests say which are drctl's.
#[tokio::test]
async fn a_tables_recovery_points_are_known_by_the_manifests() -> Outcome<()> {
    let table = format!("arn:aws:dynamodb:{EAST}:123456789012:table/orders");
    let stage = Stage::of(&table).await?;
    stage.system.rewrite(&format!("copy_to = {{ {WEST} = {{ vault = \"away\" }} }}"), "")?;
    stage.system.expect(0, &["backup"]).await?;
    let held = stage.manifest()?["managed"]["held"][0]["arn"].clone();
    stage.system.expect(0, &["backup"]).await?;
    stage.aws.world().add_point(EAST, "daily", &table, chrono::TimeDelta::zero(), None);
    let status = stage.system.expect(0, &["status", "--output", "json"]).await?;
    let point = &status.document()?["sources"][0]["places"][0]["point"]["arn"];
    let own: Vec<_> = stage.aws.world().points(EAST, "daily").iter().map(|point| point.arn.clone()).collect();
    assert_eq!(own.len(), 3);
    assert!(point.as_str().is_some_and(|arn| arn.starts_with(&table)) && *point != held, "{status:#?}");
    let doctor = stage.system.expect(3, &["doctor", "--output", "json"]).await?;
    doctor.says("recorded in the manifests only")?;
    assert_eq!(stage.aws.world().count("ListTags"), 0);
    Ok(())
}

#[tokio::test]
async fn a_copy_that_cannot_be_tagged_is_kept_and_told_of() -> Outcome<()> {
    let stage = Stage::of(&format!("arn:aws:rds:{EAST}:123456789012:db:shop")).await?;
    stage.aws.world().fail(Fault::of("AddTagsToResource", usize::MAX, Trouble::AccessDenied));
    let run = stage.system.expect(3, &["backup"]).await?;
    run.says("the copy in us-west-2 is there, and could not be given drctl's tags")?;
    assert_eq!(stage.manifest()?["managed"]["held"].as_array().map(Vec::len), Some(2));
    stage.system.expect(0, &["status"]).await?;
    Ok(())
}

#[tokio::test]
async fn a_backup_killed_at_any_state_is_gone_on_with_and_made_once() -> Outcome<()> {
    for (kind, state) in [
        (JobKind::Backup, "CREATED"),
        (JobKind::Backup, "PENDING"),
        (JobKind::Backup, "RUNNING"),
        (JobKind::Copy, "CREATED"),
        (JobKind::Copy, "RUNNING"),
    ] {
        let stage = Stage::new().await?;
        stage.kill_at(kind, state).await?;
        assert!(stage.system.backups_in("primary").is_empty());
        let again = stage.system.start(&["backup"])?;
        // It is at work on it, and AWS goes on only now.
        let seen = stage.aws.world().calls.len();
        stage.aws.until("asked again", |world| (world.calls.len() > seen + 3).then_some(())).await?;
        stage.aws.world().release();
        let again = again.end().await?;
        assert_eq!(again.code, Some(0), "{kind:?} {state}: {again:#?}");
        stage.manifest()?;
        assert_eq!((stage.points(EAST, "daily"), stage.points(WEST, "away")), (1, 1), "{kind:?} {state}");
        let world = stage.aws.world();
        assert_eq!((world.count("StartBackupJob"), world.count("StartCopyJob")), (1, 1), "{kind:?} {state}");
    }
    Ok(())
}

#[tokio::test]
async fn an_answer_that_is_lost_begins_no_second_job() -> Outcome<()> {
    let stage = Stage::new().await?;
    for operation in ["StartBackupJob", "StartCopyJob"] {
        stage.aws.world().fail(Fault::of(operation, 1, Trouble::AnswerLost));
    }
    stage.system.expect(0, &["backup"]).await?;
    assert_eq!((stage.points(EAST, "daily"), stage.points(WEST, "away")), (1, 1));
    assert_eq!(stage.aws.world().count("StartBackupJob"), 2);
    Ok(())
}

#[tokio::test]
async fn a_job_that_does_not_end_well_is_no_backup_and_says_what_to_do() -> Outcome<()> {
    for (ending, words) in [
        (Ending::Expired, "did not begin the job within its start window of 8h"),
        (
            Ending::Failed("IAM role cannot read the bucket".to_owned()),
            "it says: IAM role cannot read the bucket",
        ),
        (Ending::Partial("2 of 3".to_owned()), "only a part of it (PARTIAL) (it says: 2 of 3)"),
        (Ending::Aborted("stopped".to_owned()), "the job was stopped in AWS Backup"),
    ] {
        let stage = Stage::new().await?;
        stage.aws.world().next(JobKind::Backup, ending);
        stage.system.expect(1, &["backup"]).await?.says(words)?;
        assert!(stage.system.backups_in("primary").is_empty());
        assert_eq!(stage.points(WEST, "away"), 0);
        // It stands in nobody's way.
        stage.system.expect(0, &["backup"]).await?;
        assert_eq!(stage.points(WEST, "away"), 1);
    }
    Ok(())
}

#[tokio::test]
async fn a_job_that_completes_with_a_message_is_kept_and_told_of() -> Outcome<()> {
    let stage = Stage::new().await?;
    stage.aws.world().next(JobKind::Backup, Ending::WithMessage("3 objects were skipped".to_owned()));
    stage
        .system
        .expect(3, &["backup"])
        .await?
        .says("completed the job in us-east-1 and says: 3 objects were skipped")?;
    stage.manifest()?;
    Ok(())
}

#[tokio::test]
async fn a_copy_that_fails_is_said_and_the_backup_is_kept() -> Outcome<()> {
    let stage = Stage::new().await?;
    stage.aws.world().next(JobKind::Copy, Ending::Failed("KMS key is disabled".to_owned()));
    let run = stage.system.expect(3, &["backup"]).await?;
    run.says("region us-west-2 does not have it")?.says("KMS key is disabled")?;
    let manifest = stage.manifest()?;
    assert_eq!(manifest["managed"]["held"].as_array().map(Vec::len), Some(1), "{manifest}");

    let stage = Stage::new().await?;
    stage.system.rewrite("vault = \"away\"", "vault = \"nowhere\"")?;
    let run = stage.system.expect(3, &["backup"]).await?;
    run.says("there is no vault `nowhere` in us-west-2")?;
    Ok(())
}

#[tokio::test]
async fn a_recovery_point_that_is_removed_under_us_is_said() -> Outcome<()> {
    let stage = Stage::new().await?;
    stage.aws.world().hold(JobKind::Copy, "RUNNING");
    let backup = stage.system.start(&["backup"])?;
    stage
        .aws
        .until("a copy under way", |world| states(world, JobKind::Copy).contains(&"RUNNING").then_some(()))
        .await?;
    if let Some(vault) = stage.aws.world().vault(EAST, "daily") {
        vault.points.clear();
    }
    stage.aws.world().release();
    let run = backup.end().await?;
    assert_eq!(run.code, Some(3), "{run:#?}");
    run.says("region us-west-2 does not have it")?.says("does not exist")?;
    Ok(())
}

#[tokio::test]
async fn throttling_and_expired_credentials_in_the_middle_of_a_wait_pass() -> Outcome<()> {
    let stage = Stage::new().await?;
    stage.aws.world().hold(JobKind::Backup, "RUNNING");
    let backup = stage.system.start(&["backup"])?;
    stage
        .aws
        .until("asked how far it is", |world| (world.count("DescribeBackupJob") > 0).then_some(()))
        .await?;
    for trouble in [Trouble::Throttled, Trouble::ExpiredCredentials] {
        stage.aws.world().fail(Fault::of("DescribeBackupJob", 2, trouble));
    }
    stage
        .aws
        .until("the trouble is over", |world| world.faults.iter().all(|fault| fault.times == 0).then_some(()))
        .await?;
    stage.aws.world().release();
    let run = backup.end().await?;
    assert_eq!(run.code, Some(0), "{run:#?}");
    Ok(())
}

#[tokio::test]
async fn what_aws_refuses_is_told_with_what_to_do() -> Outcome<()> {
    for (operation, trouble, words) in [
        ("StartBackupJob", Trouble::LimitExceeded, "request a quota increase"),
        ("StartBackupJob", Trouble::AccessDenied, "iam:PassRole"),
        ("StartBackupJob", Trouble::ExpiredCredentials, "renew the credentials that the policy names"),
        ("DescribeBackupVault", Trouble::AccessDenied, "the same of a vault that is not there"),
    ] {
        let stage = Stage::new().await?;
        stage.aws.world().fail(Fault::of(operation, usize::MAX, trouble));
        stage.system.expect(1, &["backup"]).await?.says(words)?;
        assert!(stage.system.backups_in("primary").is_empty());
    }
    Ok(())
}
