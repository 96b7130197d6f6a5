//! The control plane that plays RDS, driven through the SDK: what drctl's tests stand on.

use std::time::{Duration, Instant};

use aws_sdk_rds::Client;
use aws_sdk_rds::error::ProvideErrorMetadata as _;
use aws_sdk_rds::types::{DbInstance, DbSnapshot, Tag};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, postgres::PgConnectOptions};

use super::support::Outcome;
use super::support::rds::{RdsServer, Settings, arn, key};

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
