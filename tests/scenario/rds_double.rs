//! The control plane that plays RDS, driven through the SDK: what drctl's tests stand on.

use std::time::{Duration, Instant};

use aws_sdk_rds::Client;
use aws_sdk_rds::error::ProvideErrorMetadata as _;
use aws_sdk_rds::primitives::DateTime;
use aws_sdk_rds::types::{ApplyMethod, DbInstance, DbSnapshot, Parameter, Tag};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, postgres::PgConnectOptions};

use super::support::Outcome;
use super::support::rds::{Fault, Gone, RdsServer, Settings, When, arn, key};

const HOME: &str = "us-east-1";
const AWAY: &str = "us-west-2";
const SOON: Duration = Duration::from_secs(60);

async fn snapshot_when(client: &Client, id: &str, status: &str) -> Outcome<DbSnapshot> {
    let begun = Instant::now();
    loop {
        let found = client.describe_db_snapshots().db_snapshot_identifier(id).send().await?;
        let snapshot = found.db_snapshots().first().ok_or("it is not listed")?;
        if snapshot.status() == Some(status) {
            return Ok(snapshot.clone());
        }
        if begun.elapsed() > SOON {
            return Err(format!("{id} is never {status}: {snapshot:?}").into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn instance(client: &Client, id: &str) -> Outcome<DbInstance> {
    let found = client.describe_db_instances().db_instance_identifier(id).send().await?;
    Ok(found.db_instances().first().ok_or("it is not listed")?.clone())
}

async fn instance_when(client: &Client, id: &str, status: &str) -> Outcome<DbInstance> {
    let begun = Instant::now();
    loop {
        let instance = instance(client, id).await?;
        if instance.db_instance_status() == Some(status) {
            return Ok(instance);
        }
        if begun.elapsed() > SOON {
            return Err(format!("{id} is never {status}: {instance:?}").into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn enter(port: i32, settings: &Settings) -> Outcome<PgConnection> {
    let options = PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(u16::try_from(port)?)
        .username(&settings.master_user)
        .password(&settings.master_password)
        .database(settings.database.as_deref().unwrap_or("postgres"));
    Ok(options.connect().await?)
}

/// The port an instance shows.
fn port(instance: &DbInstance) -> Outcome<i32> {
    Ok(instance.endpoint().and_then(|endpoint| endpoint.port()).ok_or("it shows no endpoint")?)
}

async fn run(connection: &mut PgConnection, statement: &str) -> Outcome<()> {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(connection).await?;
    Ok(())
}

/// The names of all pupils, in the order they came.
async fn pupils(port: i32, settings: &Settings) -> Outcome<String> {
    let mut connection = enter(port, settings).await?;
    let names: Option<String> = sqlx::query_scalar("SELECT string_agg(name, ' ' ORDER BY id) FROM pupils")
        .fetch_one(&mut connection)
        .await?;
    connection.close().await?;
    Ok(names.unwrap_or_default())
}

/// A school with one pupil.
async fn school(server: &RdsServer) -> Outcome<Settings> {
    let settings = Settings::production(HOME);
    let instance = server.instance(HOME, "classboard", settings.clone()).await?;
    let mut connection = enter(i32::from(instance.port().ok_or("no server")?), &settings).await?;
    run(&mut connection, "CREATE TABLE pupils (id serial PRIMARY KEY, name text)").await?;
    run(&mut connection, "INSERT INTO pupils (name) VALUES ('ada')").await?;
    connection.close().await?;
    Ok(settings)
}

fn tag(key: &str, value: &str) -> Tag {
    Tag::builder().key(key).value(value).build()
}

#[tokio::test]
async fn a_snapshot_is_copied_to_another_region_and_restored_there_with_aws_defaults() -> Outcome<()> {
    let server = RdsServer::start().await?;
    let settings = school(&server).await?;
    let (home, away) = (server.client(HOME), server.client(AWAY));

    let shown = instance(&home, "classboard").await?;
    assert_eq!(shown.db_parameter_groups()[0].db_parameter_group_name(), Some("school-pg15"));
    assert_eq!(shown.enabled_cloudwatch_logs_exports(), ["postgresql", "upgrade"]);
    assert_eq!(shown.vpc_security_groups().len(), 2);
    assert!(shown.latest_restorable_time().is_some(), "its log is archived");
    let mut connection = enter(port(&shown)?, &settings).await?;
    let work_mem: String = sqlx::query_scalar("SHOW work_mem").fetch_one(&mut connection).await?;
    assert_eq!(work_mem, "8MB", "parameters are really set");

    let create =
        home.create_db_snapshot().db_instance_identifier("classboard").db_snapshot_identifier("Drctl-One");
    let created = create.clone().tags(tag("drctl:managed", "true")).send().await?;
    let created = created.db_snapshot().ok_or("no snapshot")?;
    assert_eq!((created.status(), created.percent_progress()), (Some("creating"), Some(0)));
    assert_eq!(create.send().await.unwrap_err().code(), Some("DBSnapshotAlreadyExists"));
    let snapshot = snapshot_when(&home, "drctl-one", "available").await?;
    assert_eq!(snapshot.percent_progress(), Some(100));
    assert!(
        snapshot.snapshot_database_time().is_some() && snapshot.full_snapshot_size_in_bytes() > Some(1 << 20)
    );
    run(&mut connection, "INSERT INTO pupils (name) VALUES ('late')").await?;
    connection.close().await?;

    let source = arn(HOME, "snapshot", "drctl-one");
    let copy = away.copy_db_snapshot().target_db_snapshot_identifier("drctl-one-west");
    let by_name = copy.clone().source_db_snapshot_identifier("drctl-one").send().await.unwrap_err();
    assert_eq!(by_name.code(), Some("DBSnapshotNotFound"), "another region's needs its ARN");
    let copy = copy.source_db_snapshot_identifier(&source);
    let without = copy.clone().send().await.unwrap_err();
    assert_eq!(without.code(), Some("InvalidParameterCombination"), "{without:?}");
    let foreign = copy.clone().kms_key_id(key(HOME, "1")).send().await.unwrap_err();
    assert_eq!(foreign.code(), Some("KMSKeyNotAccessibleFault"));
    copy.kms_key_id(key(AWAY, "1")).send().await?;
    let copied = snapshot_when(&away, "drctl-one-west", "available").await?;
    assert_eq!(copied.source_db_snapshot_identifier(), Some(source.as_str()));
    assert_eq!(copied.dbi_resource_id(), snapshot.dbi_resource_id());
    assert_eq!(copied.original_snapshot_create_time(), snapshot.snapshot_create_time());
    assert!(copied.snapshot_create_time() > snapshot.snapshot_create_time());
    assert!(copied.tag_list().is_empty(), "a copy loses its tags");

    let restore = away.restore_db_instance_from_db_snapshot().db_snapshot_identifier("drctl-one-west");
    let elsewhere = restore.clone().db_instance_identifier("drill").db_parameter_group_name("school-pg15");
    assert_eq!(elsewhere.send().await.unwrap_err().code(), Some("DBParameterGroupNotFound"));
    restore.clone().db_instance_identifier("closed").send().await?;
    restore.db_instance_identifier("drill").vpc_security_group_ids("sg-drill").send().await?;
    let restored = instance_when(&away, "drill", "available").await?;
    assert_eq!(pupils(port(&restored)?, &settings).await?, "ada");
    assert_eq!((restored.multi_az(), restored.deletion_protection()), (Some(false), Some(false)));
    assert_eq!(restored.db_parameter_groups()[0].db_parameter_group_name(), Some("default.postgres15"));
    assert_ne!(restored.dbi_resource_id(), shown.dbi_resource_id());
    let closed = instance_when(&away, "closed", "available").await?;
    assert!(enter(port(&closed)?, &settings).await.is_err(), "the default security group lets nobody in");
    assert_eq!(server.history(AWAY, "drill"), ["creating", "backing-up", "modifying", "available"]);
    assert!(server.failures().is_empty(), "{:?}", server.failures());
    Ok(())
}

#[tokio::test]
async fn automated_snapshots_are_another_type_and_are_not_the_clients_to_delete() -> Outcome<()> {
    let server = RdsServer::start().await?;
    school(&server).await?;
    let home = server.client(HOME);
    let all = home.describe_db_snapshots().db_instance_identifier("classboard").send().await?;
    let automated = all.db_snapshots().first().and_then(DbSnapshot::db_snapshot_identifier).ok_or("none")?;
    assert!(automated.starts_with("rds:classboard-"));
    let by_name = home.describe_db_snapshots().db_snapshot_identifier(automated);
    assert_eq!(by_name.clone().send().await.unwrap_err().code(), Some("DBSnapshotNotFound"));
    assert_eq!(by_name.snapshot_type("automated").send().await?.db_snapshots().len(), 1);
    let delete = home.delete_db_snapshot().db_snapshot_identifier(automated).send().await.unwrap_err();
    assert_eq!(delete.code(), Some("InvalidDBSnapshotState"));
    let calls = server.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(
        (calls[0].action.as_str(), calls[0].error.as_deref()),
        ("DeleteDBSnapshot", Some("InvalidDBSnapshotState"))
    );
    assert_eq!(calls[0].touched[0].1.get("env").map(String::as_str), Some("prod"));

    let backups =
        home.describe_db_instance_automated_backups().db_instance_identifier("classboard").send().await?;
    let window = backups.db_instance_automated_backups()[0].restore_window().ok_or("no window")?;
    assert!(window.earliest_time() <= window.latest_time());
    let none = home.describe_db_snapshots().db_snapshot_identifier("nothing").send().await.unwrap_err();
    assert_eq!(none.code(), Some("DBSnapshotNotFound"));
    Ok(())
}

async fn add_pupil(port: i32, settings: &Settings, name: &str) -> Outcome<()> {
    let mut connection = enter(port, settings).await?;
    run(&mut connection, &format!("INSERT INTO pupils (name) VALUES ('{name}')")).await?;
    Ok(connection.close().await?)
}

/// Waits until everything that was committed until now can be restored, and gives the time.
async fn restorable(client: &Client, id: &str) -> Outcome<DateTime> {
    let now = DateTime::from(std::time::UNIX_EPOCH + since_epoch()?);
    let begun = Instant::now();
    loop {
        let latest = instance(client, id).await?.latest_restorable_time().copied();
        if latest.is_some_and(|latest| latest > now) {
            return Ok(now);
        }
        if begun.elapsed() > SOON {
            return Err(format!("{id} is restorable to {latest:?}, never to {now:?}").into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn since_epoch() -> Outcome<Duration> {
    let now = drctl::platform::Clock::now(&drctl::platform::SystemClock);
    Ok(Duration::from_millis(u64::try_from(now.timestamp_millis())? + 1))
}

#[tokio::test]
async fn a_time_between_two_commits_is_restored_and_none_outside_the_window() -> Outcome<()> {
    let server = RdsServer::start().await?;
    let settings = school(&server).await?;
    let home = server.client(HOME);
    let source = port(&instance(&home, "classboard").await?)?;
    add_pupil(source, &settings, "bob").await?;
    let between = restorable(&home, "classboard").await?;
    add_pupil(source, &settings, "mallory").await?;
    restorable(&home, "classboard").await?;

    let restore = home.restore_db_instance_to_point_in_time().source_db_instance_identifier("classboard");
    let restore = restore.vpc_security_group_ids("sg-drill").db_parameter_group_name("school-pg15");
    let to = |id: &str| restore.clone().target_db_instance_identifier(id);
    let neither = to("drill").send().await.unwrap_err();
    assert_eq!(neither.code(), Some("InvalidParameterCombination"));
    for outside in [DateTime::from_secs(between.secs() + 3600), DateTime::from_secs(between.secs() - 3600)] {
        let refused = to("drill").restore_time(outside).send().await.unwrap_err();
        assert_eq!(refused.code(), Some("InvalidParameterValue"), "{outside}");
    }
    to("drill").restore_time(between).send().await?;
    to("newest").use_latest_restorable_time(true).send().await?;
    let drill = instance_when(&home, "drill", "available").await?;
    assert_eq!(pupils(port(&drill)?, &settings).await?, "ada bob");
    let newest = instance_when(&home, "newest", "available").await?;
    assert_eq!(pupils(port(&newest)?, &settings).await?, "ada bob mallory");
    assert_eq!(pupils(source, &settings).await?, "ada bob mallory", "the source is as it was");
    add_pupil(port(&drill)?, &settings, "new").await?;
    assert!(server.failures().is_empty(), "{:?}", server.failures());
    Ok(())
}

#[tokio::test]
async fn a_modification_goes_through_its_statuses_and_is_really_made() -> Outcome<()> {
    let server = RdsServer::start().await?;
    let settings = school(&server).await?;
    let home = server.client(HOME);
    let modify = home.modify_db_instance().db_instance_identifier("classboard");

    let waits = modify.clone().multi_az(false).new_db_instance_identifier("elsewhere").send().await?;
    let pending = waits.db_instance().and_then(DbInstance::pending_modified_values).ok_or("nothing waits")?;
    assert_eq!((pending.multi_az(), pending.db_instance_identifier()), (Some(false), Some("elsewhere")));
    assert_eq!(instance(&home, "classboard").await?.multi_az(), Some(true));

    let new = Settings { master_password: "another password".to_owned(), ..settings.clone() };
    modify.clone().master_user_password("another password").send().await?;
    server.reached(HOME, "classboard", "resetting-master-credentials").await?;
    let busy = modify.clone().deletion_protection(false).send().await.unwrap_err();
    assert_eq!(busy.code(), Some("InvalidDBInstanceState"));
    let changed = instance_when(&home, "classboard", "available").await?;
    assert!(enter(port(&changed)?, &settings).await.is_err(), "the old password is no more");
    assert_eq!(pupils(port(&changed)?, &new).await?, "ada");

    let parameter = Parameter::builder().parameter_name("max_connections").parameter_value("33");
    let parameter = parameter.apply_method(ApplyMethod::PendingReboot).build();
    home.modify_db_parameter_group()
        .db_parameter_group_name("school-pg15")
        .parameters(parameter)
        .send()
        .await?;
    let shown = instance(&home, "classboard").await?;
    assert_eq!(shown.db_parameter_groups()[0].parameter_apply_status(), Some("pending-reboot"));
    home.reboot_db_instance().db_instance_identifier("classboard").send().await?;
    let shown = instance_when(&home, "classboard", "available").await?;
    assert_eq!(shown.db_parameter_groups()[0].parameter_apply_status(), Some("in-sync"));
    let mut connection = enter(port(&shown)?, &new).await?;
    let connections: String = sqlx::query_scalar("SHOW max_connections").fetch_one(&mut connection).await?;
    assert_eq!(connections, "33");
    connection.close().await?;

    modify.apply_immediately(true).send().await?;
    server.reached(HOME, "elsewhere", "available").await?;
    let gone = home.describe_db_instances().db_instance_identifier("classboard").send().await.unwrap_err();
    assert_eq!(gone.code(), Some("DBInstanceNotFound"));
    let renamed = instance(&home, "elsewhere").await?;
    assert_eq!((renamed.multi_az(), renamed.dbi_resource_id()), (Some(false), shown.dbi_resource_id()));
    assert_eq!(pupils(port(&renamed)?, &new).await?, "ada");
    assert!(server.failures().is_empty(), "{:?}", server.failures());
    Ok(())
}

#[tokio::test]
async fn a_deleted_instance_takes_its_automated_backups_along_unless_they_are_retained() -> Outcome<()> {
    let server = RdsServer::start().await?;
    let settings = school(&server).await?;
    let home = server.client(HOME);
    let delete = home.delete_db_instance().db_instance_identifier("classboard").skip_final_snapshot(true);
    let protected = delete.clone().send().await.unwrap_err();
    assert_eq!(protected.code(), Some("InvalidParameterCombination"));
    let snapshot =
        home.create_db_snapshot().db_instance_identifier("classboard").db_snapshot_identifier("mine");
    snapshot.send().await?;
    snapshot_when(&home, "mine", "available").await?;
    let modify = home.modify_db_instance().db_instance_identifier("classboard").deletion_protection(false);
    modify.send().await?;
    let resource = instance(&home, "classboard").await?.dbi_resource_id().map(str::to_owned);
    restorable(&home, "classboard").await?;
    delete.delete_automated_backups(false).send().await?;
    server.reached(HOME, "classboard", "deleted").await?;

    let backups = home.describe_db_instance_automated_backups().send().await?;
    assert_eq!(backups.db_instance_automated_backups()[0].status(), Some("retained"));
    let restore = home.restore_db_instance_to_point_in_time().set_source_dbi_resource_id(resource);
    let restore = restore.target_db_instance_identifier("back").use_latest_restorable_time(true);
    restore.vpc_security_group_ids("sg-any").send().await?;
    let back = instance_when(&home, "back", "available").await?;
    assert_eq!(pupils(port(&back)?, &settings).await?, "ada");
    assert!(back.tag_list().is_empty(), "a source that is gone gives no tags");
    home.delete_db_instance().db_instance_identifier("back").skip_final_snapshot(true).send().await?;
    server.reached(HOME, "back", "deleted").await?;
    let left = home.describe_db_snapshots().db_instance_identifier("back").send().await?;
    assert!(left.db_snapshots().is_empty(), "automated snapshots go with their instance");
    assert_eq!(
        home.describe_db_snapshots().db_snapshot_identifier("mine").send().await?.db_snapshots().len(),
        1
    );
    Ok(())
}

#[tokio::test]
async fn replicated_automated_backups_bring_the_database_back_when_its_region_is_gone() -> Outcome<()> {
    let server = RdsServer::start().await?;
    let settings = school(&server).await?;
    let (home, away) = (server.client(HOME), server.client(AWAY));
    let source = instance(&home, "classboard").await?;
    let start = away.start_db_instance_automated_backups_replication();
    let start = start.set_source_db_instance_arn(source.db_instance_arn().map(str::to_owned));
    assert!(start.clone().send().await.is_err(), "what is encrypted needs a key of the destination");
    start.kms_key_id(key(AWAY, "1")).send().await?;
    add_pupil(port(&source)?, &settings, "bob").await?;
    let wanted = restorable(&home, "classboard").await?;

    let begun = Instant::now();
    let replica = loop {
        let found = away.describe_db_instance_automated_backups().send().await?;
        let replica = found.db_instance_automated_backups().first().ok_or("none")?.clone();
        let latest = replica.restore_window().and_then(|window| window.latest_time().copied());
        if replica.status() == Some("replicating") && latest.is_some_and(|latest| latest > wanted) {
            break replica;
        }
        if begun.elapsed() > SOON {
            return Err(format!("{replica:?} never has {wanted}").into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(replica.region(), Some(HOME));
    server.lose_region(HOME, Gone::Unavailable);
    assert!(home.describe_db_instances().send().await.is_err());
    let restore = away.restore_db_instance_to_point_in_time().use_latest_restorable_time(true);
    let restore = restore.set_source_db_instance_automated_backups_arn(
        replica.db_instance_automated_backups_arn().map(str::to_owned),
    );
    restore.target_db_instance_identifier("classboard").vpc_security_group_ids("sg-west").send().await?;
    let back = instance_when(&away, "classboard", "available").await?;
    assert_eq!(pupils(port(&back)?, &settings).await?, "ada bob");
    assert!(server.failures().is_empty(), "{:?}", server.failures());
    Ok(())
}

#[tokio::test]
async fn faults_come_as_they_are_told_and_lost_answers_have_been_carried_out() -> Outcome<()> {
    let server = RdsServer::start().await?;
    school(&server).await?;
    let (home, away) = (server.client(HOME), server.client(AWAY));
    server.fail(When::action("DescribeDBInstances").times(2), Fault::THROTTLING);
    assert_eq!(home.describe_db_instances().send().await?.db_instances().len(), 1, "the SDK tries again");
    assert_eq!(server.taken(), 2);
    server.fail(When::any().in_region(AWAY), Fault::EXPIRED);
    assert_eq!(away.describe_db_instances().send().await.unwrap_err().code(), Some("ExpiredToken"));
    server.heal();

    let create = home.create_db_snapshot().db_instance_identifier("classboard");
    server.fail(When::action("CreateDBSnapshot").times(1), Fault::LoseAnswer);
    let again = create.clone().db_snapshot_identifier("one").send().await.unwrap_err();
    assert_eq!(again.code(), Some("DBSnapshotAlreadyExists"), "the SDK asked again for what was done");

    server.hide_new_for(1);
    server.ends_as(HOME, "two", "failed");
    server.hold(HOME, "two", "creating");
    create.clone().db_snapshot_identifier("two").send().await?;
    let hidden = home.describe_db_snapshots().db_snapshot_identifier("two").send().await.unwrap_err();
    assert_eq!(hidden.code(), Some("DBSnapshotNotFound"));
    server.reached(HOME, "two", "creating").await?;
    snapshot_when(&home, "two", "creating").await?;
    server.let_go(HOME, "two", "creating");
    snapshot_when(&home, "two", "failed").await?;

    server.show(HOME, "classboard", &["modifying", "backing-up"]);
    for status in ["modifying", "backing-up", "available"] {
        assert_eq!(instance(&home, "classboard").await?.db_instance_status(), Some(status));
    }
    server.set_status(HOME, "classboard", "storage-full")?;
    let refused = create.db_snapshot_identifier("three").send().await.unwrap_err();
    assert_eq!(refused.code(), Some("InvalidDBInstanceState"));
    server.lose_region(HOME, Gone::Reset);
    assert!(home.describe_db_instances().send().await.is_err());
    assert!(away.describe_db_instances().send().await.is_ok(), "the other region is not affected");
    Ok(())
}

#[tokio::test]
async fn copies_of_one_instance_wait_for_each_other_and_fail_without_their_source() -> Outcome<()> {
    let server = RdsServer::start().await?;
    school(&server).await?;
    let (home, away) = (server.client(HOME), server.client(AWAY));
    for id in ["one", "two"] {
        home.create_db_snapshot()
            .db_instance_identifier("classboard")
            .db_snapshot_identifier(id)
            .send()
            .await?;
        snapshot_when(&home, id, "available").await?;
    }
    let copy = |id: &str| {
        let copy = away.copy_db_snapshot().source_db_snapshot_identifier(arn(HOME, "snapshot", id));
        copy.target_db_snapshot_identifier(id).kms_key_id(key(AWAY, "1")).send()
    };
    server.hold(AWAY, "one", "copying");
    copy("one").await?;
    server.reached(AWAY, "one", "copying").await?;
    copy("two").await?;
    let waits = snapshot_when(&away, "two", "pending").await?;
    assert_eq!(waits.percent_progress(), None, "what waits shows no progress");
    server.take_snapshot_away(HOME, "two")?;
    server.let_go(AWAY, "one", "copying");
    snapshot_when(&away, "one", "available").await?;
    snapshot_when(&away, "two", "failed").await?;
    Ok(())
}
