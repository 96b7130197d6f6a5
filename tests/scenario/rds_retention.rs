//! Retention of RDS's snapshots, on the control plane that drctl's tests stand on and on moto's: what no rule keeps goes
//! from every region, and what drctl did not make survives.

use std::collections::BTreeSet;

use serde_json::Value;

use super::rds_moto::{AWAY as MOTO_AWAY, HOME as MOTO_HOME, Stage};
use super::support::Outcome;
use super::support::classboard::{AWAY, Classboard, HOME};
use super::support::rds::{Fault, Timing, When, arn};
use super::support::school::School;
use super::support::system::{Run, System, until};

const RULES: &str = "[retention]\nkeep_last = 1";

async fn plan(system: &System) -> Outcome<Value> {
    system.expect(0, &["retention", "plan", "--output", "json"]).await?.document()
}

/// Applies what the plan shows now.
async fn apply(system: &System, code: i32) -> Outcome<Run> {
    let document = system.drctl(&["retention", "plan", "--output", "json"]).await?.document()?;
    let digest = document["digest"].as_str().ok_or("no digest")?.to_owned();
    system.expect(code, &["retention", "apply", "--confirm", &digest]).await
}

/// What a plan removes from a region or repository.
fn removed<'d>(document: &'d Value, place: &str, name: &str) -> BTreeSet<&'d str> {
    let sources = document["sources"].as_array().into_iter().flatten();
    let own = sources.filter(|source| source[place] == name);
    let backups = own.flat_map(|source| source["backups"].as_array().into_iter().flatten());
    backups.filter(|backup| !backup["remove"].is_null()).filter_map(|backup| backup["id"].as_str()).collect()
}

fn all_of(board: &Classboard, region: &str) -> BTreeSet<String> {
    board.server.snapshots(region).into_iter().map(|snapshot| snapshot.id).collect()
}

async fn with_three() -> Outcome<Classboard> {
    let board = Classboard::start(Timing::default()).await?;
    board.system.append(RULES)?;
    for _ in 0..3 {
        board.system.expect(0, &["backup", "instance"]).await?;
    }
    Ok(board)
}

/// Snapshots that drctl did not make: an operator's own, and one of the same database with all of drctl's tags.
async fn foreign(client: &aws_sdk_rds::Client, instance: &str, of: &str) -> Outcome<()> {
    let found = client.describe_db_snapshots().db_snapshot_identifier(of).send().await?;
    let tags = found.db_snapshots().first().ok_or("it is not listed")?.tag_list().to_vec();
    let call = client.create_db_snapshot().db_snapshot_identifier("before-the-migration");
    call.db_instance_identifier(instance).send().await?;
    let call = client.create_db_snapshot().db_snapshot_identifier("kept-by-ada");
    call.db_instance_identifier(instance).set_tags(Some(tags)).send().await?;
    Ok(())
}

#[tokio::test]
async fn what_no_rule_keeps_goes_from_every_region_and_foreign_snapshots_survive() -> Outcome<()> {
    let board = with_three().await?;
    let backups = board.backups();
    let [first, second, third] = &backups[..] else { return Err(format!("{backups:?}").into()) };
    let oldest = board.snapshots(HOME).first().cloned().ok_or("no snapshot")?;
    foreign(&board.server.client(HOME), "classboard", &oldest).await?;
    board.server.automated_snapshot(HOME, "classboard").await?;
    until("they are there", || {
        board.server.snapshots(HOME).iter().all(|snapshot| snapshot.status == "available")
    })
    .await?;
    let before = all_of(&board, HOME);

    let document = plan(&board.system).await?;
    for (place, name) in [("region", HOME), ("region", AWAY), ("repository", "primary")] {
        assert_eq!(removed(&document, place, name), [first.as_str(), second].into(), "{name}: {document:#}");
    }
    let shown = board.system.expect(0, &["retention", "plan"]).await?;
    shown.says("instance in us-west-2")?.says("manual snapshots of the account")?;
    shown.says("of what goes from every region")?;
    // One of them is on hold.
    let held = board.system.expect(0, &["hold", "add", first, "--reason", "audit"]).await?;
    held.says(first)?;
    assert_eq!(removed(&plan(&board.system).await?, "region", HOME), [second.as_str()].into());
    let unseen = board.system.expect(1, &["retention", "apply"]).await?;
    unseen.says("rules-changed")?;
    assert_eq!(all_of(&board, HOME), before);

    let applied = apply(&board.system, 0).await?;
    applied.says(&format!("removed {second} from {HOME}"))?.says(&format!("removed {second} from {AWAY}"))?;
    applied.says(&format!("removed {second} from primary"))?;
    assert_eq!(board.backups(), [first.clone(), third.clone()]);
    let after = all_of(&board, HOME);
    let gone: Vec<&String> = before.difference(&after).collect();
    let [gone] = gone[..] else { return Err(format!("{gone:?}").into()) };
    assert!(gone.starts_with("drctl-"), "{gone}");
    assert!(after.contains("before-the-migration") && after.contains("kept-by-ada"));
    assert_eq!(board.snapshots(AWAY).len(), 2);
    // What was removed is not missed, and what stays can be restored.
    for again in [&["verify"][..], &["status"], &["retention", "apply"], &["copies", "sync"]] {
        board.system.expect(0, again).await?;
    }
    assert_eq!(plan(&board.system).await?["removes_anything"], false);
    board.system.expect(0, &["restore", "instance", "--backup", first, "--to-instance", "old"]).await?;
    assert_eq!(board.server.failures(), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn killed_between_tombstone_and_deletion_the_next_run_completes_it() -> Outcome<()> {
    let board = with_three().await?;
    let backups = board.backups();
    board.server.fail(When::action("DeleteDBSnapshot").in_region(AWAY), Fault::Hang);
    let digest = plan(&board.system).await?["digest"].as_str().ok_or("no digest")?.to_owned();
    let mut running = board.system.start(&["retention", "apply", "--confirm", &digest])?;
    until("a deletion hangs", || board.server.taken() > 0).await?;
    running.kill()?;
    for repository in ["primary", "west"] {
        System::expire_leases(&board.system.repository(repository))?;
    }
    board.server.heal();
    // In one region they are gone, in the other not: the manifests are there to find them.
    assert_eq!((board.snapshots(HOME).len(), board.snapshots(AWAY).len()), (1, 3));
    assert_eq!(board.backups(), backups);
    board.system.expect(0, &["verify"]).await?;
    apply(&board.system, 0).await?;
    assert_eq!((board.snapshots(HOME).len(), board.snapshots(AWAY).len()), (1, 1));
    assert_eq!(board.backups(), backups[2..]);
    Ok(())
}

#[tokio::test]
async fn what_rds_refuses_or_is_shared_stays_with_its_manifest_and_the_rest_goes() -> Outcome<()> {
    let board = with_three().await?;
    let backups = board.backups();
    let snapshots = board.snapshots(HOME);
    let [first, second, _] = &snapshots[..] else { return Err(format!("{snapshots:?}").into()) };
    let share = board.server.client(HOME).modify_db_snapshot_attribute().db_snapshot_identifier(first);
    share.attribute_name("restore").values_to_add("210987654321").send().await?;
    let document = plan(&board.system).await?;
    assert_eq!(removed(&document, "region", HOME), [backups[1].as_str()].into());
    assert_eq!(removed(&document, "repository", "primary"), [backups[1].as_str()].into());
    board.server.fail(When::action("DeleteDBSnapshot").with(second).in_region(HOME), Fault::DENIED);
    let applied = apply(&board.system, 3).await?;
    applied.says("AccessDenied")?.says("drctl iam show retention")?;
    assert_eq!(board.snapshots(HOME), snapshots);
    assert_eq!((board.snapshots(AWAY).len(), board.backups()), (1, backups.clone()));
    board.server.heal();
    apply(&board.system, 0).await?;
    assert_eq!(board.backups(), [backups[0].clone(), backups[2].clone()]);
    assert!(board.snapshots(HOME).contains(first));

    board.server.lose_region(AWAY, super::support::rds::Gone::Unavailable);
    let run = board.system.expect(3, &["retention", "apply"]).await?;
    run.says("what AWS keeps of instance in us-west-2 is not known")?;
    Ok(())
}

#[tokio::test]
async fn a_clusters_snapshots_go_too_and_one_that_lost_its_tags_stays_with_its_manifest() -> Outcome<()> {
    let school = School::aurora(Timing::default()).await?;
    school.system.append(RULES)?;
    let mut backups = Vec::new();
    for _ in 0..3 {
        backups.push(school.back_up().await?);
    }
    // RDS has automated ones beside them.
    let own = |region| -> Vec<String> {
        let all = school.server.cluster_snapshots(region).into_iter().map(|snapshot| snapshot.id);
        all.filter(|id| id.starts_with("drctl-")).collect()
    };
    let automated = school.server.cluster_snapshots(HOME).len() - own(HOME).len();
    let oldest = own(HOME).first().cloned().ok_or("no snapshot")?;
    let arn = arn(HOME, "cluster-snapshot", &oldest);
    let client = school.server.client(HOME);
    client.remove_tags_from_resource().resource_name(&arn).tag_keys("drctl:backup").send().await?;
    let shown = plan(&school.system).await?;
    assert_eq!(removed(&shown, "region", HOME), [backups[1].as_str()].into(), "{shown:#}");
    apply(&school.system, 0).await?;
    assert_eq!((own(HOME).len(), own(AWAY).len()), (2, 1));
    assert!(own(HOME).contains(&oldest));
    assert_eq!(school.server.cluster_snapshots(HOME).len() - own(HOME).len(), automated);
    assert_eq!(school.backups(), [backups[0].clone(), backups[2].clone()]);
    assert_eq!(school.server.failures(), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn moto_deletes_what_the_plan_says_and_foreign_snapshots_survive() -> Outcome<()> {
    let stage = Stage::start().await?;
    stage.system.append(RULES)?;
    let mut backups = Vec::new();
    for _ in 0..2 {
        backups.push(stage.back_up().await?);
    }
    let own = stage.snapshots(MOTO_HOME).await?;
    let oldest = own.first().and_then(|snapshot| snapshot.db_snapshot_identifier()).ok_or("no snapshot")?;
    foreign(&stage.moto.rds(MOTO_HOME), "classboard", oldest).await?;
    let applied = apply(&stage.system, 0).await?;
    applied.says(&format!("removed {} from {MOTO_AWAY}", backups[0]))?;
    let names = |snapshots: Vec<aws_sdk_rds::types::DbSnapshot>| -> BTreeSet<String> {
        snapshots.into_iter().filter_map(|snapshot| snapshot.db_snapshot_identifier).collect()
    };
    let home = names(stage.snapshots(MOTO_HOME).await?);
    assert!(home.contains("before-the-migration") && home.contains("kept-by-ada"), "{home:?}");
    assert_eq!((home.len(), names(stage.snapshots(MOTO_AWAY).await?).len()), (3, 1), "{home:?}");
    stage.system.expect(0, &["verify"]).await?;
    stage.only_lacks_quotas()?;
    Ok(())
}
