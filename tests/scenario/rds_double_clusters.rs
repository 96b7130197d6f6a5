//! The clusters of the control plane that plays RDS, and what its account answers.

use std::time::{Duration, Instant};

use aws_sdk_rds::Client;
use aws_sdk_rds::error::ProvideErrorMetadata as _;
use aws_sdk_rds::primitives::DateTime;
use aws_sdk_rds::types::DbCluster;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, postgres::PgConnectOptions};

use super::support::Outcome;
use super::support::rds::{RdsServer, Settings, arn, key};

const HOME: &str = "us-east-1";
const AWAY: &str = "us-west-2";
const SOON: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_millis(10);

async fn cluster(client: &Client, id: &str) -> Outcome<DbCluster> {
    let found = client.describe_db_clusters().db_cluster_identifier(id).send().await?;
    Ok(found.db_clusters().first().ok_or("it is not listed")?.clone())
}

/// One value, read or written as the master user.
async fn sql(cluster: &DbCluster, settings: &Settings, statement: &str) -> Outcome<String> {
    let options = PgConnectOptions::new_without_pgpass()
        .host(cluster.endpoint().ok_or("no endpoint")?)
        .port(u16::try_from(cluster.port().ok_or("no port")?)?)
        .username(&settings.master_user)
        .password(&settings.master_password)
        .database(settings.database.as_deref().unwrap_or("postgres"));
    let mut connection = options.connect().await?;
    let value: Option<String> =
        sqlx::query_scalar(AssertSqlSafe(statement.to_owned())).fetch_optional(&mut connection).await?;
    connection.close().await?;
    Ok(value.unwrap_or_default())
}

/// A cluster with one instance, a table and a row.
async fn school(server: &RdsServer, settings: &Settings) -> Outcome<DbCluster> {
    server.cluster(HOME, "school", settings.clone(), &["school-1"]).await?;
    let school = cluster(&server.client(HOME), "school").await?;
    sql(&school, settings, "CREATE TABLE pupils AS SELECT text 'ada' AS name").await?;
    Ok(school)
}

async fn snapshot_is(client: &Client, id: &str, status: &str) -> Outcome<()> {
    let begun = Instant::now();
    loop {
        let found = client.describe_db_cluster_snapshots().db_cluster_snapshot_identifier(id).send().await?;
        let is = found.db_cluster_snapshots()[0].status().unwrap_or_default();
        if is == status {
            return Ok(());
        }
        if begun.elapsed() > SOON {
            return Err(format!("{id} is {is}, never {status}").into());
        }
        tokio::time::sleep(STEP).await;
    }
}

#[tokio::test]
async fn a_cluster_restored_in_another_region_has_nothing_to_connect_to_before_its_first_instance()
-> Outcome<()> {
    let server = RdsServer::start().await?;
    let settings = Settings::aurora(HOME);
    school(&server, &settings).await?;
    let (home, away) = (server.client(HOME), server.client(AWAY));
    let create = home.create_db_cluster_snapshot().db_cluster_identifier("school");
    create.db_cluster_snapshot_identifier("one").send().await?;
    snapshot_is(&home, "one", "available").await?;

    let copy = away.copy_db_cluster_snapshot().target_db_cluster_snapshot_identifier("one");
    let copy = copy.source_db_cluster_snapshot_identifier(arn(HOME, "cluster-snapshot", "one"));
    assert_eq!(copy.clone().send().await.unwrap_err().code(), Some("InvalidParameterCombination"));
    copy.kms_key_id(key(AWAY, "1")).send().await?;
    snapshot_is(&away, "one", "available").await?;

    let restore =
        away.restore_db_cluster_from_snapshot().snapshot_identifier("one").engine("aurora-postgresql");
    restore.db_cluster_identifier("drill").vpc_security_group_ids("sg-drill").send().await?;
    server.reached(AWAY, "drill", "available").await?;
    let drill = cluster(&away, "drill").await?;
    assert!(drill.db_cluster_members().is_empty());
    assert!(sql(&drill, &settings, "SELECT 'in'").await.is_err());
    let instance = away.create_db_instance().db_instance_identifier("drill-1").db_cluster_identifier("drill");
    let wrong =
        instance.clone().engine("postgres").db_instance_class("db.r6g.large").send().await.unwrap_err();
    assert_eq!(wrong.code(), Some("InvalidParameterCombination"));
    instance.engine("aurora-postgresql").db_instance_class("db.r6g.large").send().await?;
    server.reached(AWAY, "drill-1", "available").await?;
    let drill = cluster(&away, "drill").await?;
    assert_eq!(sql(&drill, &settings, "SELECT name FROM pupils").await?, "ada");
    assert_eq!(drill.db_cluster_parameter_group(), Some("default.aurora-postgresql15"));

    let modify = away.modify_db_cluster().db_cluster_identifier("drill").apply_immediately(true);
    modify.master_user_password("quite another").send().await?;
    server.reached(AWAY, "drill", "modifying").await?;
    let begun = Instant::now();
    while cluster(&away, "drill").await?.status() != Some("available") {
        assert!(begun.elapsed() < SOON, "the modification does not end");
        tokio::time::sleep(STEP).await;
    }
    assert!(sql(&drill, &settings, "SELECT 'in'").await.is_err(), "the old password is no more");
    let settings = Settings { master_password: "quite another".to_owned(), ..settings };
    assert_eq!(sql(&drill, &settings, "SELECT 'in'").await?, "in");

    let delete = away.delete_db_cluster().db_cluster_identifier("drill").skip_final_snapshot(true);
    assert_eq!(delete.clone().send().await.unwrap_err().code(), Some("InvalidDBClusterStateFault"));
    away.delete_db_instance().db_instance_identifier("drill-1").send().await?;
    server.reached(AWAY, "drill-1", "deleted").await?;
    delete.send().await?;
    server.reached(AWAY, "drill", "deleted").await?;
    assert_eq!(cluster(&home, "school").await?.status(), Some("available"));
    assert!(server.failures().is_empty(), "{:?}", server.failures());
    Ok(())
}

#[tokio::test]
async fn a_cluster_is_restored_to_a_time_between_two_commits() -> Outcome<()> {
    let server = RdsServer::start().await?;
    let settings = Settings::aurora(HOME);
    let school = school(&server, &settings).await?;
    let home = server.client(HOME);
    // The database's own clock, in milliseconds: what comes next is committed after it.
    let clock = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint::text FROM pg_sleep(0.005)";
    let between = DateTime::from_millis(sql(&school, &settings, clock).await?.parse()?);
    sql(&school, &settings, "INSERT INTO pupils VALUES ('mallory') RETURNING pg_sleep(0.005)::text").await?;
    let begun = Instant::now();
    while cluster(&home, "school").await?.latest_restorable_time() <= Some(&between) {
        assert!(begun.elapsed() < SOON, "the log is not archived");
        tokio::time::sleep(STEP).await;
    }
    let restore = home.restore_db_cluster_to_point_in_time().source_db_cluster_identifier("school");
    let restore = restore.db_cluster_identifier("back").vpc_security_group_ids("sg-back");
    let both =
        restore.clone().restore_to_time(between).use_latest_restorable_time(true).send().await.unwrap_err();
    assert_eq!(both.code(), Some("InvalidParameterCombination"));
    restore.restore_to_time(between).send().await?;
    let instance = home.create_db_instance().db_instance_identifier("back-1").db_cluster_identifier("back");
    instance.engine("aurora-postgresql").db_instance_class("db.r6g.large").send().await?;
    server.reached(HOME, "back-1", "available").await?;
    let back = cluster(&home, "back").await?;
    assert_eq!(sql(&back, &settings, "SELECT string_agg(name, ' ') FROM pupils").await?, "ada");
    assert!(server.failures().is_empty(), "{:?}", server.failures());
    Ok(())
}

#[tokio::test]
async fn a_multi_az_cluster_brings_its_instances_along_and_its_snapshots_are_not_copied() -> Outcome<()> {
    let server = RdsServer::start().await?;
    let settings =
        Settings { parameter_group: "default.postgres15".to_owned(), ..Settings::production(HOME) };
    school(&server, &settings).await?;
    let (home, away) = (server.client(HOME), server.client(AWAY));
    let create = home.create_db_cluster_snapshot().db_cluster_identifier("school");
    create.db_cluster_snapshot_identifier("one").send().await?;
    snapshot_is(&home, "one", "available").await?;
    let copy = away.copy_db_cluster_snapshot().target_db_cluster_snapshot_identifier("one");
    let copy = copy.source_db_cluster_snapshot_identifier(arn(HOME, "cluster-snapshot", "one"));
    let refused = copy.kms_key_id(key(AWAY, "1")).send().await.unwrap_err();
    assert_eq!(refused.code(), Some("InvalidDBClusterSnapshotStateFault"));
    let restore = home.restore_db_cluster_from_snapshot().snapshot_identifier("one").engine("postgres");
    let restore = restore.db_cluster_identifier("drill").vpc_security_group_ids("sg-drill");
    restore.db_cluster_instance_class("db.m6gd.large").send().await?;
    server.reached(HOME, "drill-instance-3", "available").await?;
    let drill = cluster(&home, "drill").await?;
    assert_eq!(drill.db_cluster_members().len(), 3);
    assert_eq!(sql(&drill, &settings, "SELECT name FROM pupils").await?, "ada");
    Ok(())
}

#[tokio::test]
async fn lists_come_in_pages_and_quotas_and_permissions_are_told() -> Outcome<()> {
    let server = RdsServer::start().await?;
    for number in 10..50 {
        server.add_subnet_group(HOME, &format!("group-{number}"));
    }
    let home = server.client(HOME);
    let first = home.describe_db_subnet_groups().max_records(20).send().await?;
    assert_eq!((first.db_subnet_groups().len(), first.marker()), (20, Some("group-28")));
    let all = home.describe_db_subnet_groups().into_paginator().page_size(20).items().send();
    assert_eq!(all.collect::<Result<Vec<_>, _>>().await?.len(), 41);
    let quotas = home.describe_account_attributes().send().await?;
    let manual =
        quotas.account_quotas().iter().find(|quota| quota.account_quota_name() == Some("ManualSnapshots"));
    assert_eq!(manual.and_then(|quota| quota.max()), Some(100));
    let versions = home.describe_db_engine_versions().engine("postgres").engine_version("15").send().await?;
    assert_eq!(versions.db_engine_versions().len(), 2);
    assert!(home.describe_source_regions().send().await?.source_regions().len() > 2);
    assert!(
        home.describe_pending_maintenance_actions().send().await?.pending_maintenance_actions().is_empty()
    );

    let unknown = home.describe_db_proxies().send().await.unwrap_err();
    assert_eq!(unknown.code(), Some("InvalidAction"));
    let version = home.describe_db_engine_versions().list_supported_timezones(true).send().await.unwrap_err();
    assert_eq!(version.code(), Some("UnsupportedOperation"), "a parameter nobody knows is not ignored");

    server.deny("rds:DeleteDBSnapshot");
    let config = aws_sdk_iam::Config::builder()
        .behavior_version(aws_sdk_iam::config::BehaviorVersion::latest())
        .region(aws_sdk_iam::config::Region::new(HOME))
        .credentials_provider(aws_sdk_iam::config::Credentials::new(
            "AKIDEXAMPLE",
            "secret",
            None,
            None,
            "test",
        ))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .endpoint_url(server.url());
    let iam = aws_sdk_iam::Client::from_conf(config.build());
    let simulate =
        iam.simulate_principal_policy().policy_source_arn("arn:aws:iam::123456789012:role/drctl-backup");
    let simulate =
        simulate.action_names("rds:CreateDBSnapshot").action_names("rds:DeleteDBSnapshot").send().await?;
    let decisions: Vec<&str> =
        simulate.evaluation_results().iter().map(|one| one.eval_decision().as_str()).collect();
    assert_eq!(decisions, ["allowed", "implicitDeny"]);
    Ok(())
}
