//! What a restore created is removed again, and nothing else: for a drill, and after a failure.

use std::path::PathBuf;
use std::sync::Arc;

use drctl::event::Events;
use drctl::platform::{CancellationToken, SystemClock};
use drctl::policy::{Policy, SourceConfig};
use drctl::postgres::ConnectionParameters;
use drctl::repository::Repositories;
use drctl::restore::aws_backup::ResourceRestoreRequest;
use drctl::restore::logical::{BackupSelector, CatalogHints, DumpRestoreRequest, EntrySelection, Exclusion};
use drctl::restore::physical::{
    BaseBackupSelector, PhysicalRestoreRequest, RecoveryTarget, RestoreCommand, release,
};
use drctl::restore::rds::{Overrides, RdsRestoreRequest, RdsTarget};
use drctl::restore::{CreatedObject, Restorer, TeardownReport};
use drctl::run::RunContext;

use crate::recovery_point::{EAST, Stage};
use crate::restore::{databases, origin};
use crate::support::Outcome;
use crate::support::archiving::Archiving;
use crate::support::classboard::{Classboard, HOME};
use crate::support::ledger::{Ledger, options};
use crate::support::postgres::Cluster;
use crate::support::rds::Timing;
use crate::support::system::{Place, Run, System, write_private};

async fn teardown<R: Restorer>(request: &R, created: &[CreatedObject]) -> Outcome<TeardownReport> {
    let (events, cancel) = (Events::default(), CancellationToken::new());
    let repositories = Repositories::new(vec![]);
    let run = RunContext::begin("shop".parse()?, repositories, None, Arc::new(SystemClock), events, cancel);
    Ok(request.teardown(&run, created).await)
}

/// What the report says that teardown removes.
fn created(run: &Run) -> Outcome<Vec<CreatedObject>> {
    Ok(serde_json::from_value(run.document()?["created"].clone())?)
}

/// Why the only thing is left.
fn left(report: &TeardownReport) -> Outcome<&str> {
    match (&report.removed[..], &report.left[..]) {
        ([], [left]) => Ok(&left.reason),
        _ => Err(format!("not just one thing is left: {report:#?}").into()),
    }
}

/// The policy, with credentials that this process can read.
fn policy(system: &System, names: [&str; 2]) -> Outcome<Policy> {
    for (name, secret) in names.into_iter().zip(["AKIDEXAMPLE", "secret"]) {
        let path = system.path().join(name);
        write_private(&path, secret)?;
        system.rewrite(&format!("env:{name}"), &format!("file:{}", path.display()))?;
    }
    let policy = system.policy();
    drctl::policy::load(&policy).map_err(|faults| format!("{faults:?}").into())
}

fn config(policy: &Policy, source: &str) -> Outcome<SourceConfig> {
    let source = policy.source(&source.parse()?).ok_or("the policy has no such source")?;
    Ok(source.config.clone())
}

fn dump_request(cluster: &Cluster, database: &str) -> Outcome<DumpRestoreRequest> {
    let target = ConnectionParameters::from_url(&cluster.url(database).parse()?)?;
    Ok(DumpRestoreRequest {
        source: "database".parse()?,
        backup: BackupSelector::Latest,
        from: None,
        target,
        tools: None,
        database: database.to_owned(),
        jobs: 1,
        selection: EntrySelection::default(),
        exclusion: Exclusion::default(),
        locale: None,
        globals: false,
        owners: true,
        tablespaces: true,
        keeps_name: false,
        incomplete: None,
        active_jobs: false,
        scratch: "/tmp".into(),
        drop_leftovers: false,
        known: CatalogHints::default(),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_database_is_dropped_and_one_that_took_its_name_or_was_there_is_not() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    let system = origin(&cluster, "CREATE TABLE t AS SELECT 1 AS id", &[Place::Directory]).await?;
    system.expect(0, &["backup"]).await?;
    let request = dump_request(&cluster, "fresh")?;
    let run = system.restore(0, &["--to", "fresh", "--output", "json"]).await?;
    let report = teardown(&request, &created(&run)?).await?;
    assert!(report.is_complete() && report.removed.len() == 1, "{report:#?}");
    assert_eq!(databases(&cluster).await?, "");
    // What has the name now is another's, whatever is asked again.
    cluster.execute("postgres", &["CREATE DATABASE fresh"]).await?;
    assert!(teardown(&request, &created(&run)?).await?.is_complete());
    assert_eq!(databases(&cluster).await?, "fresh");

    let run = system.restore(0, &["--to", "second", "--output", "json"]).await?;
    cluster.execute("postgres", &["ALTER DATABASE second RENAME TO production"]).await?;
    let report = teardown(&request, &created(&run)?).await?;
    assert!(left(&report)?.contains("renamed to `production`"), "{report:#?}");
    let run = system.restore(0, &["--to", "fresh", "--no-rename", "--output", "json"]).await?;
    let report = teardown(&request, &created(&run)?).await?;
    assert!(left(&report)?.contains("existed before the restore"), "{report:#?}");
    assert_eq!(databases(&cluster).await?, "fresh production");
    Ok(())
}

fn physical_request(to: PathBuf) -> Outcome<PhysicalRestoreRequest> {
    Ok(PhysicalRestoreRequest {
        source: "database".parse()?,
        target: RecoveryTarget::Latest,
        exclusive: false,
        timeline: None,
        backup: BaseBackupSelector::Fitting,
        doubtful: [].into(),
        from: None,
        to,
        tablespaces: vec![],
        wal_directory: None,
        repositories: vec![],
        start: None,
        owner: None,
        delta: false,
        preload: None,
        drop_leftovers: false,
        command: RestoreCommand::default(),
        tools: None,
        login: None,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovered_server_is_stopped_and_its_directories_emptied_until_it_is_released() -> Outcome<()> {
    let archiving = Archiving::start(&[Place::Directory], "", options(15)).await?;
    archiving.base("")?;
    Ledger::create(&archiving.cluster).await?;
    archiving.backup(0, &[]).await?;
    archiving.settle().await?;
    let run = archiving.recover("drill", &["--latest", "--start", "--output", "json"]).await?;
    let port = run.document()?["details"]["started"]["port"].as_u64().ok_or("no server")?;
    let listens = || std::net::TcpStream::connect(format!("127.0.0.1:{port}")).is_ok();
    let to = archiving.system.path().join("drill");
    assert!(listens());
    let request = physical_request(to.clone())?;
    let report = teardown(&request, &created(&run)?).await?;
    assert!(report.is_complete() && report.removed.len() == 1, "{report:#?}");
    assert_eq!(std::fs::read_dir(&to)?.count(), 0);
    assert!(!listens(), "its server runs still");

    let kept = archiving.recover("kept", &["--latest", "--output", "json"]).await?;
    let to = archiving.system.path().join("kept");
    std::fs::remove_file(to.join("recovery.signal"))?;
    release(&to, true, true).await?;
    let report = teardown(&request, &created(&kept)?).await?;
    assert!(left(&report)?.contains("was released"), "{report:#?}");
    assert!(to.join("global/pg_control").exists());
    Ok(())
}

#[tokio::test]
async fn an_instance_that_was_made_for_a_while_is_deleted_and_one_that_is_to_stay_is_not() -> Outcome<()> {
    let board = Classboard::start(Timing::default()).await?;
    board.system.expect(0, &["backup", "instance"]).await?;
    let backup = board.backups().pop().ok_or("no backup")?;
    let key = board.system.operational.display().to_string();
    let restore = |to: &'static str| {
        ["restore", "instance", "--backup", &backup, "--to-instance", to, "-i", &key, "--output", "json"]
            .map(str::to_owned)
    };
    let (brief, lasting) = (restore("brief"), restore("lasting"));
    let brief: Vec<&str> = brief.iter().map(String::as_str).chain(["--expires", "8h"]).collect();
    let brief = created(&board.system.expect(0, &brief).await?)?;
    let lasting = created(&board.system.expect(0, &lasting.each_ref().map(String::as_str)).await?)?;
    let policy = policy(&board.system, ["RDS_KEY", "RDS_SECRET"])?;
    let SourceConfig::Rds(config) = config(&policy, "instance")? else { return Err("no RDS".into()) };
    let request = RdsRestoreRequest {
        system: policy.system.clone(),
        source: "instance".parse()?,
        config: *config,
        target: RdsTarget::Latest,
        region: None,
        to: "brief".to_owned(),
        overrides: Overrides::default(),
        lifetime: None,
        prices: None,
        hydrate: false,
        backups_later: false,
    };
    // Another of that name is not the one.
    let [CreatedObject::RdsDatabase { region, database, restored_from, .. }] = &brief[..] else {
        return Err(format!("not just an instance: {brief:#?}").into());
    };
    let other = CreatedObject::RdsDatabase {
        region: region.clone(),
        database: database.clone(),
        resource_id: Some("db-ANOTHER".to_owned()),
        restored_from: restored_from.clone(),
    };
    let report = teardown(&request, &[other]).await?;
    assert!(left(&report)?.contains("another resource has its name"), "{report:#?}");
    // It need not expire for the one that made it.
    let report = teardown(&request, &brief).await?;
    assert!(report.is_complete() && report.removed == ["instance `brief` in us-east-1"], "{report:#?}");
    assert!(teardown(&request, &brief).await?.is_complete());
    let report = teardown(&request, &lasting).await?;
    assert!(left(&report)?.contains("it is not temporary"), "{report:#?}");
    let mut there: Vec<_> = board.server.instances(HOME).into_iter().map(|one| one.id).collect();
    there.sort();
    assert_eq!(there, ["classboard", "lasting"]);
    Ok(())
}

#[tokio::test]
async fn what_a_job_of_aws_backup_made_is_deleted_if_it_is_the_very_one() -> Outcome<()> {
    for (kind, key) in [("db", "DBInstanceIdentifier"), ("cluster", "DBClusterIdentifier")] {
        let arn = |name: &str| format!("arn:aws:rds:{EAST}:123456789012:{kind}:{name}");
        let stage = Stage::of(&arn("shop")).await?;
        stage.system.expect(0, &["backup"]).await?;
        let to = format!("{key}=shop-2");
        let restore = ["restore", "database", "--to-resource", &to, "--output", "json"];
        let run = stage.system.expect(0, &restore).await?;
        // A second run finds the job, and cannot know who uses what it made.
        let again = stage.system.expect(0, &restore).await?;
        let policy = policy(&stage.system, ["AWS_KEY", "AWS_SECRET"])?;
        let SourceConfig::AwsBackup(config) = config(&policy, "database")? else {
            return Err("no AWS Backup".into());
        };
        let request = ResourceRestoreRequest {
            system: policy.system.clone(),
            source: "database".parse()?,
            config: *config,
            backup: None,
            region: None,
            changes: vec![],
            again: false,
            known: vec![],
        };
        let report = teardown(&request, &created(&again)?).await?;
        assert!(left(&report)?.contains("an earlier run started the job"), "{report:#?}");
        let made = created(&run)?;
        let [CreatedObject::Resource { region, job, arn: named, resource_id }] = &made[..] else {
            return Err(format!("not just a resource: {made:#?}").into());
        };
        assert_eq!((named.as_deref(), resource_id.is_some()), (Some(arn("shop-2").as_str()), true));
        let other = CreatedObject::Resource {
            region: region.clone(),
            job: job.clone(),
            arn: named.clone(),
            resource_id: Some("db-ANOTHER".to_owned()),
        };
        let report = teardown(&request, &[other]).await?;
        assert!(left(&report)?.contains("another resource has its name"), "{report:#?}");
        assert!(stage.aws.world().resources.contains_key(&arn("shop-2")));
        let report = teardown(&request, &made).await?;
        assert!(report.is_complete() && report.removed.len() == 1, "{report:#?}");
        assert!(teardown(&request, &made).await?.is_complete());
        let world = stage.aws.world();
        assert!(world.resources.contains_key(&arn("shop")) && !world.resources.contains_key(&arn("shop-2")));
    }
    Ok(())
}

#[tokio::test]
async fn what_drctl_cannot_delete_is_named() -> Outcome<()> {
    let stage = Stage::new().await?;
    stage.system.expect(0, &["backup"]).await?;
    let to = ["--to-resource", "DestinationBucketName=shop-restored", "--to-resource", "NewBucket=true"];
    let restore = [&["restore", "database", "--output", "json"][..], &to].concat();
    let made = created(&stage.system.expect(0, &restore).await?)?;
    let policy = policy(&stage.system, ["AWS_KEY", "AWS_SECRET"])?;
    let SourceConfig::AwsBackup(config) = config(&policy, "database")? else {
        return Err("no AWS Backup".into());
    };
    let request = ResourceRestoreRequest {
        system: policy.system.clone(),
        source: "database".parse()?,
        config: *config,
        backup: None,
        region: None,
        changes: vec![],
        again: false,
        known: vec![],
    };
    let report = teardown(&request, &made).await?;
    assert!(left(&report)?.contains("delete it there"), "{report:#?}");
    assert!(report.left[0].what.contains("arn:aws:s3:::shop-restored"), "{report:#?}");
    Ok(())
}
