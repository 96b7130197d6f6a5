//! The calls of clusters against moto, whose rules for what a request has to say are not ours. Its snapshots of
//! clusters do not say of which cluster they are, so that no backup is made of one: the calls are made one by one.

use std::time::Duration;

use aws_sdk_rds::types::{ApplyMethod, Parameter};
use drctl::aws::rds::{
    Changes, Database, DeleteRefusal, NewCluster, NewInstance, NewMember, Origin, Rds, Removal, RemovedBy,
    SnapshotId,
};
use drctl::aws::{AwsTags, EXPIRES, MANAGED, NAME, SYSTEM};
use drctl::platform::{Clock as _, SystemClock};
use drctl::policy::{AwsLocation, Credentials, RdsDatabase};

use super::support::Outcome;
use super::support::moto::Moto;
use super::support::system::write_private;

const HOME: &str = "us-east-1";

/// An Aurora cluster with two instances, and groups of its own for it and for them.
async fn school(moto: &Moto) -> Outcome<()> {
    let home = moto.rds(HOME);
    let subnets = home.create_db_subnet_group().db_subnet_group_name("private");
    let subnets = subnets.set_subnet_ids(Some(moto.subnets(HOME).await?));
    subnets.db_subnet_group_description("of the school").send().await?;
    let parameter = |name: &str, value: &str| {
        let parameter = Parameter::builder().parameter_name(name).parameter_value(value);
        parameter.apply_method(ApplyMethod::Immediate).build()
    };
    let group = home.create_db_cluster_parameter_group().db_cluster_parameter_group_name("school-cluster");
    group.db_parameter_group_family("aurora-postgresql15").description("of the school").send().await?;
    let call = home.modify_db_cluster_parameter_group().db_cluster_parameter_group_name("school-cluster");
    call.parameters(parameter("log_min_duration_statement", "500")).send().await?;
    let group = home.create_db_parameter_group().db_parameter_group_name("school-members");
    group.db_parameter_group_family("aurora-postgresql15").description("of the school").send().await?;
    let call = home.modify_db_parameter_group().db_parameter_group_name("school-members");
    call.parameters(parameter("work_mem", "8192")).send().await?;
    home.create_db_cluster()
        .db_cluster_identifier("school")
        .engine("aurora-postgresql")
        .engine_version("15.5")
        .database_name("school")
        .master_username("postgres")
        .master_user_password("the masters pass-word")
        .db_subnet_group_name("private")
        .vpc_security_group_ids("sg-0app")
        .db_cluster_parameter_group_name("school-cluster")
        .backup_retention_period(7)
        .send()
        .await?;
    for member in ["school-a", "school-b"] {
        let call = home.create_db_instance().db_instance_identifier(member).engine("aurora-postgresql");
        let call = call.db_cluster_identifier("school").db_instance_class("db.r6g.large");
        call.db_parameter_group_name("school-members").send().await?;
    }
    Ok(())
}

/// drctl's own way there.
async fn rds(moto: &Moto, folder: &std::path::Path) -> Outcome<Rds> {
    let word = |name: &str, text: &str| -> Outcome<_> {
        let path = folder.join(name);
        write_private(&path, text)?;
        Ok(format!("file:{}", path.display()).parse()?)
    };
    let place = AwsLocation {
        region: HOME.to_owned(),
        endpoint: Some(moto.url().parse()?),
        credentials: Credentials::Keys {
            access_key_id: word("key", "AKIDEXAMPLE")?,
            secret_access_key: word("secret", "secret")?,
            session_token: None,
        },
        poll: Duration::from_millis(20),
        deadline: Duration::from_secs(60),
        patience: Duration::from_secs(15),
    };
    Ok(Rds::connect(&place).await?)
}

fn cluster(name: &str) -> RdsDatabase {
    RdsDatabase::Cluster(name.to_owned())
}

fn members(database: &Database) -> Vec<&str> {
    let members = database.profile.cluster.iter().flat_map(|cluster| &cluster.members);
    members.map(|member| member.identifier.as_str()).collect()
}

#[tokio::test]
async fn a_cluster_is_described_restored_with_groups_made_anew_renamed_and_removed() -> Outcome<()> {
    let moto = Moto::start().await?;
    school(&moto).await?;
    let folder = crate::support::scratch::folder()?;
    let rds = rds(&moto, folder.path()).await?;
    let known = rds.database(&cluster("school")).await?.ok_or("no cluster")?;
    assert_eq!(members(&known), ["school-a", "school-b"]);
    let recorded = known.profile.cluster.clone().ok_or("no cluster's profile")?.members;
    let (groups, unread) = rds.parameters_of(&recorded).await?;
    assert_eq!((groups.len(), unread.len()), (1, 0), "{groups:?}");
    assert_eq!(
        (groups[0].name.as_str(), groups[0].family.as_deref()),
        ("school-members", Some("aurora-postgresql15"))
    );

    // Groups are made of what is recorded, each of its kind.
    let tags: AwsTags = [(MANAGED, "true"), (SYSTEM, "shop"), (EXPIRES, "2026-01-01T00:00:00Z")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into_iter()
        .collect();
    for (of_cluster, name) in [(true, "school-cluster"), (false, "school-members")] {
        let mut group = rds.parameters(name, of_cluster).await?;
        assert_eq!(group.parameters.len(), 1, "{group:?}");
        group.name = format!("{name}-anew");
        rds.create_parameter_group(&group, "aurora-postgresql15", of_cluster, &tags).await?;
        // Again, as a run that was killed does.
        rds.create_parameter_group(&group, "aurora-postgresql15", of_cluster, &tags).await?;
        assert!(rds.made_parameter_group(&group.name, of_cluster).await?, "{name}");
        assert!(!rds.made_parameter_group(name, of_cluster).await?, "{name} is somebody else's");
        let made = rds.parameters(&group.name, of_cluster).await?;
        assert_eq!((made.parameters, made.family), (group.parameters, group.family));
    }
    assert!(rds.has_cluster_parameter_group("school-cluster-anew").await?);
    assert!(rds.has_parameter_group("school-members-anew").await?);

    let snapshot = SnapshotId::Cluster("drctl-one".to_owned());
    rds.create_snapshot(&cluster("school"), &snapshot, &tags).await?;
    let new = NewInstance {
        identifier: "fresh".to_owned(),
        subnet_group: Some("private".to_owned()),
        security_groups: vec!["sg-0app".to_owned()],
        parameter_group: Some("school-cluster-anew".to_owned()),
        tags: tags.clone().with(NAME, "fresh"),
        ..NewInstance::default()
    };
    let engine = NewCluster { engine: "aurora-postgresql".to_owned(), ..NewCluster::default() };
    rds.restore_cluster(&Origin::Snapshot("drctl-one".to_owned()), &new, &engine).await?;
    let member = NewMember {
        identifier: "fresh-1".to_owned(),
        class: "db.r6g.large".to_owned(),
        parameter_group: Some("school-members-anew".to_owned()),
        ..NewMember::default()
    };
    let member_tags = tags.clone().with(NAME, "fresh-1");
    rds.create_member("fresh", "aurora-postgresql", &member, &member_tags).await?;
    let fresh = rds.database(&cluster("fresh")).await?.ok_or("no restored cluster")?;
    let group = fresh.profile.parameter_group.as_ref().map(|group| group.name.as_str());
    assert_eq!((members(&fresh), group), (vec!["fresh-1"], Some("school-cluster-anew")));
    let instance = RdsDatabase::Instance("fresh-1".to_owned());
    let member = rds.database(&instance).await?.ok_or("no instance")?;
    assert_eq!(member.cluster.as_deref(), Some("fresh"));

    // Clusters and their instances change names as an instance does.
    let renamed = |name: &str| Changes { identifier: Some(name.to_owned()), ..Changes::default() };
    rds.change(&cluster("school"), &renamed("school-old")).await?;
    assert!(rds.database(&cluster("school")).await?.is_none());
    // There its instances do not follow it.
    assert!(rds.database(&cluster("school-old")).await?.is_some());
    rds.change(&RdsDatabase::Instance("school-a".to_owned()), &renamed("school-old-a")).await?;
    let gone = rds.database(&RdsDatabase::Instance("school-a".to_owned())).await?;
    assert!(
        gone.is_none() && rds.database(&RdsDatabase::Instance("school-old-a".to_owned())).await?.is_some()
    );

    // Of the two clusters only the one that was made for a while is listed, and goes with its instance.
    let (system, by) = ("shop".parse()?, RemovedBy::Expiry(SystemClock.now()));
    let listed = rds.temporary(&system, true).await?;
    let [listed] =
        &listed.into_iter().filter(|one| matches!(one.id, RdsDatabase::Cluster(_))).collect::<Vec<_>>()[..]
    else {
        return Err("not one cluster".into());
    };
    assert_eq!((listed.id.identifier(), &listed.members[..]), ("fresh", &["fresh-1".to_owned()][..]));
    let others: drctl::model::SystemName = "other".parse()?;
    let refused = rds.remove(listed, &others, by).await?;
    assert_eq!(refused, Removal::Refused(DeleteRefusal::OtherSystem));
    assert_eq!(rds.remove(listed, &system, by).await?, Removal::Begun);
    assert!(rds.database(&cluster("fresh")).await?.is_none() && rds.database(&instance).await?.is_none());

    // What it does not have is a failure that names the call.
    let failed = rds.automated_backups(&cluster("school")).await;
    let Err(failure) = failed else { return Err("moto keeps backups of clusters now".into()) };
    let words = failure.to_string();
    assert!(words.contains("DescribeDBClusterAutomatedBackups in us-east-1 failed"), "{words}");
    Ok(())
}
