//! Clusters that are made of what RDS keeps, with the instances without which nobody could log in.

use std::time::Duration;

use super::support::Outcome;
use super::support::classboard::{AWAY, HOME};
use super::support::rds::{Fault, Gone, Quotas, Settings, Timing, When, key};
use super::support::school::School;
use super::support::system::{System, until};
use drctl::platform::{Clock as _, SystemClock};

#[tokio::test]
async fn with_its_region_gone_an_aurora_cluster_is_restored_elsewhere_with_its_instances() -> Outcome<()> {
    let school = School::aurora(Timing::default()).await?;
    let backup = school.back_up().await?;
    school.sql(HOME, "school", "INSERT INTO pupils VALUES (2, 'late')").await?;
    school.server.lose_region(HOME, Gone::Unavailable);
    let key_file = school.identity();
    let restore =
        ["restore", "cluster", "--backup", &backup, "--to-instance", "new", "--from", AWAY, "-i", &key_file];
    let plan = school.system.expect(0, &[&restore[..], &["--plan"]].concat()).await?;
    plan.says("a new cluster `new`")?.says("`new-1`, db.m6g.large")?.says("`new-2`, db.m6g.large")?;
    assert!(school.server.look_up_cluster(AWAY, "new").is_err(), "a plan makes nothing");

    let run = school.system.expect(0, &restore).await?;
    run.says("restored")?.says("usable")?.says("new-1, new-2")?.says("Aurora fetches no blocks")?;
    assert_eq!(school.pupils(AWAY, "new").await?, "ada");
    let (was, is) = (&school.settings, school.server.look_up_cluster(AWAY, "new")?.settings);
    assert_eq!(is.subnet_group, "school-west");
    assert_eq!(is.security_groups, ["sg-west"]);
    assert_eq!(is.parameter_group, "school-west-aurora15");
    assert_eq!(is.kms_key, Some(key(AWAY, "1")));
    assert_eq!(is.engine_version, was.engine_version);
    assert_eq!((is.deletion_protection, is.iam_authentication), (true, true));
    assert_eq!((is.backup_retention, &is.log_exports), (was.backup_retention, &was.log_exports));
    assert_eq!((&is.backup_window, &is.maintenance_window), (&was.backup_window, &was.maintenance_window));
    assert_eq!(is.tags.get("env"), Some(&"prod".to_owned()));
    assert_eq!(school.members(AWAY, "new"), ["new-1", "new-2"]);
    let member = school.server.look_up(AWAY, "new-2")?;
    assert_eq!(member.settings.class, was.class);
    assert_eq!(member.settings.tags.get("drctl:restored-from"), is.tags.get("drctl:restored-from"));

    assert_eq!(school.server.failures(), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn to_a_time_between_two_commits_a_cluster_has_the_data_of_then() -> Outcome<()> {
    let copying = Duration::from_millis(1200);
    let school = School::aurora(Timing { copying, ..Timing::default() }).await?;
    school.back_up().await?;
    school.sql(HOME, "school", "INSERT INTO pupils VALUES (2, 'grace')").await?;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let then = SystemClock.now().format("%FT%TZ").to_string();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    school.sql(HOME, "school", "INSERT INTO pupils VALUES (3, 'mistake')").await?;
    let key_file = school.identity();
    let restore = ["restore", "cluster", "--point-in-time", &then, "--to-instance", "then", "-i", &key_file];
    let mut run = school.system.drctl(&restore).await?;
    // RDS can restore to a moment only some time after it.
    for _ in 0..100 {
        if run.code != Some(10) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        run = school.system.drctl(&restore).await?;
    }
    assert_eq!(run.code, Some(0), "{run:#?}");
    assert_eq!(school.pupils(HOME, "then").await?, "ada grace");
    assert_eq!(school.members(HOME, "then"), ["then-1", "then-2"]);

    let latest = ["restore", "cluster", "--latest", "--to-instance", "latest", "-i", &key_file];
    school.system.expect(0, &latest).await?.says("RDS's automated backups of `school` (cluster-")?;
    assert_eq!(school.pupils(HOME, "latest").await?, "ada grace mistake");
    // Of a copy RDS says when it was copied: it must not pass for newer than what it is a copy of.
    let away = ["restore", "cluster", "--latest", "--to-instance", "away", "--from", AWAY, "-i", &key_file];
    let copy = school.system.expect(0, &away).await?;
    let (_, until) = copy.stdout.split_once("data until ").ok_or("it says no time")?;
    let until = until.lines().next().unwrap_or_default();
    let taken = school.server.cluster_snapshots(HOME).into_iter().find(|one| one.id.starts_with("drctl-"));
    let taken = taken.and_then(|one| one.created).ok_or("no snapshot")?.format("%T").to_string();
    assert!(until.contains(&taken), "{until}, not {taken}");

    let early = ["restore", "cluster", "--point-in-time", "2020-01-01T00:00:00Z", "--to-instance", "never"];
    school.system.expect(10, &early).await?.says("nothing restores `cluster` to 2020-01-01T00:00:00Z")?;
    Ok(())
}

#[tokio::test]
async fn a_multi_az_cluster_is_restored_and_makes_its_own_instances() -> Outcome<()> {
    let settings =
        Settings { parameter_group: "default.postgres15".to_owned(), ..Settings::production(HOME) };
    let members = ["school-1", "school-2", "school-3"];
    let school = School::start(Timing::default(), settings, &members, "").await?;
    let backup = school.back_up().await?;
    let key_file = school.identity();
    let restore = ["restore", "cluster", "--backup", &backup, "--to-instance", "new", "-i", &key_file];
    school.system.expect(0, &restore).await?.says("restored")?.says("usable")?;
    assert_eq!(school.pupils(HOME, "new").await?, "ada");
    assert_eq!(school.members(HOME, "new").len(), 3);
    assert_eq!(school.made("CreateDBInstance", "new"), 0);
    let is = school.server.look_up_cluster(HOME, "new")?.settings;
    assert_eq!((&is.class, &is.storage_type), (&school.settings.class, &school.settings.storage_type));
    assert_eq!(is.security_groups, school.settings.security_groups);
    Ok(())
}

#[tokio::test]
async fn a_restore_of_a_cluster_that_was_killed_is_gone_on_with_and_makes_nothing_twice() -> Outcome<()> {
    let some = Duration::from_millis(1000);
    let school = School::aurora(Timing { creating: some, modifying: some, ..Timing::default() }).await?;
    let backup = school.back_up().await?;
    let key_file = school.identity();
    for (name, of, status) in [
        ("new-a", "new-a", "creating"),
        ("new-b", "new-b", "available"),
        ("new-c", "new-c-1", "creating"),
        ("new-d", "new-d-1", "available"),
        ("new-e", "new-e-2", "creating"),
        ("new-f", "new-f-2", "available"),
    ] {
        let restore = ["restore", "cluster", "--backup", &backup, "--to-instance", name, "-i", &key_file];
        let mut run = school.system.start(&restore)?;
        school.server.reached(HOME, of, status).await?;
        run.kill()?;
        if (of, status) == (name, "available") {
            // Between the cluster and its instances.
            assert!(school.pupils(HOME, name).await.is_err(), "no login works yet");
        }
        let again = school.system.drctl(&restore).await?;
        // When the last instance is there, it may have come to its end before it was killed.
        let words = if again.code == Some(0) { "resuming" } else { "was restored already" };
        again.says(words)?;
        assert!(again.code == Some(0) || of == "new-f-2", "{again:#?}");
        assert_eq!(school.pupils(HOME, name).await?, "ada");
        let members = school.members(HOME, name);
        assert_eq!(members, [format!("{name}-1"), format!("{name}-2")], "{of} {status}");
        assert_eq!(school.made("RestoreDBClusterFromSnapshot", name), 1, "{of} {status}");
        for member in &members {
            assert_eq!(school.made("CreateDBInstance", member), 1, "{member}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_cluster_that_could_not_be_used_is_not_begun_or_is_no_success() -> Outcome<()> {
    let school = School::aurora(Timing::default()).await?;
    let backup = school.back_up().await?;
    let key_file = school.identity();
    let run = async |code: i32, to: &str| {
        let restore = ["restore", "cluster", "--backup", &backup, "--to-instance", to, "-i", &key_file];
        school.system.expect(code, &restore).await
    };
    run(1, "school").await?.says("there is a cluster `school` in us-east-1 already")?;
    let member = school.server.client(HOME).create_db_instance().db_instance_identifier("mine-2");
    let member = member.db_cluster_identifier("school").engine("aurora-postgresql");
    member.db_instance_class("db.r6g.large").send().await?;
    run(1, "mine").await?.says("there is an instance `mine-2` in us-east-1 already")?;
    assert!(school.server.look_up_cluster(HOME, "mine").is_err(), "nothing was begun");

    school.server.ends_as(HOME, "broken-1", "incompatible-network");
    run(1, "broken")
        .await?
        .says("is `incompatible-network`")?
        .says("it is in a terminal state and still billed")?;
    school.server.fail(When::action("CreateDBInstance").times(1), Fault::LoseAnswer);
    school.server.hide_new_for(2);
    run(0, "lost").await?;
    assert_eq!(school.members(HOME, "lost"), ["lost-1", "lost-2"]);
    school.server.heal();
    school.server.fail(
        When::action("CreateDBInstance"),
        Fault::Error(400, "InstanceQuotaExceeded", "Instance quota exceeded"),
    );
    run(1, "many").await?.says("InstanceQuotaExceeded")?.says("the same command resumes it")?;
    school.server.heal();
    run(0, "many").await?.says("resuming")?;
    assert_eq!(school.pupils(HOME, "many").await?, "ada");
    Ok(())
}

#[tokio::test]
async fn an_aurora_cluster_that_had_no_instance_is_not_restored_into_one_nobody_can_use() -> Outcome<()> {
    let school = School::start(Timing::default(), Settings::aurora(HOME), &[], "").await?;
    let backup = school.back_up().await?;
    let key_file = school.identity();
    let restore = ["restore", "cluster", "--backup", &backup, "--to-instance", "new", "-i", &key_file];
    let refused = school.system.expect(1, &restore).await?;
    refused.says("the instances that the cluster had are not recorded")?.says("drctl show")?;
    assert!(school.server.look_up_cluster(HOME, "new").is_err(), "nothing was begun");
    Ok(())
}

#[tokio::test]
async fn a_cluster_made_for_a_while_says_so_with_its_instances() -> Outcome<()> {
    let school = School::aurora(Timing::default()).await?;
    let backup = school.back_up().await?;
    let key_file = school.identity();
    let restore = ["restore", "cluster", "--backup", &backup, "--to-instance", "brief", "--expires", "1h"];
    school.system.expect(0, &[&restore[..], &["-i", &key_file]].concat()).await?;
    let cluster = school.server.look_up_cluster(HOME, "brief")?.settings;
    assert!(!cluster.deletion_protection, "what is to go again can be removed");
    let member = school.server.look_up(HOME, "brief-1")?.settings;
    for tags in [&cluster.tags, &member.tags] {
        assert!(tags.contains_key("drctl:expires") && !tags.contains_key("env"), "{tags:?}");
    }
    Ok(())
}

/// AWS has no room for the instances when the cluster stands: the same command goes on with another class.
#[tokio::test]
async fn a_cluster_whose_instances_are_refused_gets_others_by_the_same_command() -> Outcome<()> {
    let school = School::aurora(Timing::default()).await?;
    let backup = school.back_up().await?;
    school.server.fail(
        When::action("CreateDBInstance").with("db.m6g.large"),
        Fault::Error(400, "InsufficientDBInstanceCapacity", "no capacity"),
    );
    let identity = school.identity();
    let restore = ["restore", "cluster", "--backup", &backup, "--to-instance", "school-new", "-i", &identity];
    let run = school.system.expect(1, &restore).await?;
    run.says("the same command resumes it")?.says("`--set class=CLASS`")?;
    let set = ["--set", "class=db.r7g.large", "--set", "zone=us-east-1c", "--set", "ca=rds-ca-rsa4096-g1"];
    let run = school.system.expect(0, &[&restore[..], &set].concat()).await?;
    run.says("class=db.r7g.large, and not db.m6g.large")?.says("usable")?;
    assert_eq!(school.made("RestoreDBClusterFromSnapshot", "school-new"), 1, "the cluster is made once");
    for name in ["school-new-1", "school-new-2"] {
        let is = school.server.look_up(HOME, name)?.settings;
        assert_eq!(is.class, "db.r7g.large");
        assert_eq!(is.availability_zone.as_deref(), Some("us-east-1c"));
        assert_eq!(is.ca_certificate, "rds-ca-rsa4096-g1");
    }
    Ok(())
}

#[tokio::test]
async fn a_cluster_is_made_under_another_key_and_version() -> Outcome<()> {
    let school = School::aurora(Timing::default()).await?;
    let backup = school.back_up().await?;
    school.server.fail(
        When::action("RestoreDBClusterFromSnapshot").with("15.12"),
        Fault::Error(400, "InvalidParameterCombination", "Cannot find version 15.12 for aurora-postgresql"),
    );
    let identity = school.identity();
    let restore = ["restore", "cluster", "--backup", &backup, "--to-instance", "school-new", "-i", &identity];
    let other = key(HOME, "2");
    let of_key = format!("kms_key={other}");
    let run = school.system.expect(1, &restore).await?;
    run.says("`--set engine_version=default`")?;
    let set = ["--set", &of_key, "--set", "engine_version=15.13"];
    let run = school.system.expect(0, &[&restore[..], &set].concat()).await?;
    run.says("engine_version=15.13")?;
    let is = school.server.look_up_cluster(HOME, "school-new")?.settings;
    assert_eq!((is.kms_key, is.engine_version.as_str()), (Some(other), "15.13"));
    Ok(())
}

/// So many that RDS takes them only in several calls, one of which a start is needed for.
fn parameters() -> Vec<(String, String)> {
    let some = (0..24).map(|number| (format!("school.setting_{number:02}"), number.to_string()));
    some.chain([("max_connections".to_owned(), "41".to_owned())]).collect()
}

#[tokio::test]
async fn the_parameter_groups_of_a_cluster_and_of_its_instances_are_made_anew_where_they_are_not()
-> Outcome<()> {
    let settings = Settings {
        parameter_group: "school-aurora15".to_owned(),
        parameters: parameters().into_iter().collect(),
        ..Settings::aurora(HOME)
    };
    let copy_to = format!(
        "[sources.cluster.copy_to.{AWAY}]\nkms_key = \"{}\"\nsubnet_group = \"school-west\"\nsecurity_groups = [\"sg-west\"]",
        key(AWAY, "1")
    );
    let members = ["school-a", "school-b"];
    let school = School::start(Timing::default(), settings.clone(), &members, &copy_to).await?;
    school.server.add_subnet_group(AWAY, "school-west");
    for member in members {
        school.server.set_parameter_group(HOME, member, "school-members", &[("work_mem", "8192")])?;
    }
    let backup = school.back_up().await?;
    school.server.lose_region(HOME, Gone::Unavailable);
    let key_file = school.identity();
    let onto = |to: &'static str| {
        ["restore", "cluster", "--backup", &backup, "--to-instance", to, "-i", &key_file].map(str::to_owned)
    };
    let run = async |code: i32, to: &'static str| {
        let arguments = onto(to);
        school.system.expect(code, &arguments.each_ref().map(String::as_str)).await
    };
    // Killed when only some of the parameters are set.
    school.server.fail(
        When::action("ModifyDBClusterParameterGroup").after(1).times(1),
        Fault::Error(400, "InvalidDBParameterGroupState", "The parameter group is in use."),
    );
    run(1, "new").await?.says("ModifyDBClusterParameterGroup in us-west-2 failed")?;
    assert!(school.server.look_up_cluster(AWAY, "new").is_err(), "nothing was begun");
    let made = run(0, "new").await?;
    made.says("cluster parameter group `school-aurora15` (aurora-postgresql15) with 25 parameters")?;
    made.says("parameter group `school-members` (aurora-postgresql15) with 1 parameters")?;
    let group = school.server.group(AWAY, "school-aurora15", true).ok_or("no group")?;
    assert_eq!(group.parameters, settings.parameters);
    assert_eq!(group.tags.get("drctl:managed").map(String::as_str), Some("true"));
    assert_eq!(school.server.look_up_cluster(AWAY, "new")?.settings.parameter_group, "school-aurora15");
    let group = school.server.group(AWAY, "school-members", false).ok_or("no group")?;
    assert_eq!(group.parameters.get("work_mem").map(String::as_str), Some("8192"));
    for member in ["new-1", "new-2"] {
        assert_eq!(school.server.look_up(AWAY, member)?.settings.parameter_group, "school-members");
    }
    assert_eq!(school.sql(AWAY, "new", "SHOW max_connections").await?, "41");

    // They are there now, and another restore makes none.
    let made = |action: &str| school.made(action, "school-aurora15") + school.made(action, "school-members");
    let before = made("CreateDBClusterParameterGroup") + made("CreateDBParameterGroup");
    run(0, "other").await?;
    assert_eq!(made("CreateDBClusterParameterGroup") + made("CreateDBParameterGroup"), before);
    // What somebody else made of that name is left as it is, and said.
    school.server.add_parameter_group(AWAY, "school-members", &[("work_mem", "1")]);
    run(0, "third").await?.says("`school-members` there does not set what was recorded: work_mem")?;
    let group = school.server.group(AWAY, "school-members", false).ok_or("no group")?;
    assert_eq!(group.parameters.get("work_mem").map(String::as_str), Some("1"));
    assert_eq!(school.server.failures(), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn of_a_cluster_that_was_deleted_what_rds_kept_is_restored_to_a_time() -> Outcome<()> {
    let school = School::aurora(Timing::default()).await?;
    school.back_up().await?;
    school.sql(HOME, "school", "INSERT INTO pupils VALUES (2, 'grace')").await?;
    let clock = "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') FROM pg_sleep(1)";
    let then = school.sql(HOME, "school", clock).await?;
    school.sql(HOME, "school", "INSERT INTO pupils SELECT 3, 'mistake' FROM pg_sleep(1.1)").await?;
    let client = school.server.client(HOME);
    let mistaken = SystemClock.now();
    let reaches = async || -> Outcome<bool> {
        let found = client.describe_db_clusters().db_cluster_identifier("school").send().await?;
        let latest = found.db_clusters().first().and_then(|one| one.latest_restorable_time());
        Ok(latest.is_some_and(|latest| latest.secs() > mistaken.timestamp()))
    };
    let begun = std::time::Instant::now();
    while !reaches().await? {
        assert!(begun.elapsed() < Duration::from_secs(60), "the log is not archived");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let open = client.modify_db_cluster().db_cluster_identifier("school").deletion_protection(false);
    open.apply_immediately(true).send().await?;
    for member in ["school-a", "school-b"] {
        client.delete_db_instance().db_instance_identifier(member).send().await?;
    }
    let delete = client.delete_db_cluster().db_cluster_identifier("school").skip_final_snapshot(true);
    delete.delete_automated_backups(false).send().await?;
    school.server.reached(HOME, "school", "deleted").await?;

    school.system.expect(0, &["status"]).await?.says("and automated backups")?;
    let key_file = school.identity();
    let restore = ["restore", "cluster", "--point-in-time", &then, "--to-instance", "then", "-i", &key_file];
    school.system.expect(0, &restore).await?.says("RDS's automated backups of `school` (cluster-")?;
    assert_eq!(school.pupils(HOME, "then").await?, "ada grace");
    assert_eq!(school.members(HOME, "then"), ["then-1", "then-2"]);
    let latest = ["restore", "cluster", "--latest", "--to-instance", "latest", "-i", &key_file];
    school.system.expect(0, &latest).await?;
    assert_eq!(school.pupils(HOME, "latest").await?, "ada grace mistake");

    // Another cluster of that name is no reason to forget the one that was backed up.
    school.server.cluster(HOME, "school", school.settings.clone(), &["school-a"]).await?;
    let again = ["restore", "cluster", "--point-in-time", &then, "--to-instance", "again", "-i", &key_file];
    school.system.expect(0, &again).await?;
    assert_eq!(school.pupils(HOME, "again").await?, "ada grace");
    school
        .system
        .expect(1, &["restore", "cluster", "--latest", "--to-instance", "torn", "-i", &key_file])
        .await?
        .says("is another than the one that was backed up")?;

    // Whose role may not list them still restores what is there.
    school.back_up().await?;
    school.server.fail(When::action("DescribeDBClusterAutomatedBackups"), Fault::DENIED);
    let denied = ["restore", "cluster", "--backup", "latest", "--to-instance", "denied", "-i", &key_file];
    school.system.expect(0, &denied).await?;
    let denied = ["restore", "cluster", "--latest", "--to-instance", "live", "-i", &key_file];
    let denied = school.system.expect(0, &denied).await?;
    denied.says("it is not known which backups of deleted clusters us-east-1 has")?;
    assert_eq!(school.server.failures(), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn a_backup_of_a_cluster_that_was_killed_is_gone_on_with_and_makes_nothing_twice() -> Outcome<()> {
    let some = Duration::from_millis(1500);
    let slow = Timing { snapshot_creating: some, copy_pending: some, copying: some, ..Timing::default() };
    for killed_in in ["creating", "copying", "committing"] {
        let school = School::aurora(slow.clone()).await?;
        let own = |region: &str| -> Vec<String> {
            let snapshots = school.server.cluster_snapshots(region).into_iter();
            snapshots.map(|one| one.id).filter(|id| id.starts_with("drctl-")).collect()
        };
        let mut run = school.system.start(&["backup", "cluster"])?;
        match killed_in {
            "creating" => until("a snapshot is begun", || !own(HOME).is_empty()).await?,
            "copying" => until("a copy is begun", || !own(AWAY).is_empty()).await?,
            _ => until("the details are stored", || school.has_stored("details.json")).await?,
        }
        run.kill()?;
        System::expire_leases(&school.system.repository("primary"))?;
        let again = school.system.expect(0, &["backup", "cluster"]).await?;
        let backups = school.backups();
        // A run that was killed when its manifest stood was not unfinished.
        let most = if killed_in == "committing" { 2 } else { 1 };
        assert!(!backups.is_empty() && backups.len() <= most, "{killed_in}: {backups:?} {again:#?}");
        assert_eq!(own(HOME).len(), backups.len(), "{killed_in}");
        assert_eq!(own(AWAY), own(HOME), "{killed_in}");
    }
    Ok(())
}

#[tokio::test]
async fn a_quota_of_snapshots_of_clusters_that_is_reached_is_told_and_not_waited_for() -> Outcome<()> {
    let school = School::aurora(Timing::default()).await?;
    let most = |manual_cluster_snapshots| Quotas { manual_cluster_snapshots, ..Quotas::default() };
    school.server.set_quotas(HOME, most(1));
    school.server.set_quotas(AWAY, most(0));
    let run = school.system.expect(3, &["backup", "cluster"]).await?;
    run.says("1 of 1 manual snapshots of clusters are used in us-east-1")?;
    run.says("SnapshotQuotaExceeded")?.says("request a quota increase")?;
    let asked = school.server.calls().iter().filter(|call| call.action == "CopyDBClusterSnapshot").count();
    assert_eq!(asked, 1, "it is not asked for again and again");
    Ok(())
}
