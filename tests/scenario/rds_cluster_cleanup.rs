//! Clusters that were made for a while go with their instances, and nothing else does.

use std::time::Duration;

use aws_sdk_rds::types::Tag;

use super::support::Outcome;
use super::support::classboard::{AWAY, HOME};
use super::support::rds::{Fault, Settings, Timing, When, arn};
use super::support::school::School;
use super::support::system::until;

const MANAGED: (&str, &str) = ("drctl:managed", "true");
const SYSTEM: (&str, &str) = ("drctl:system", "shop");
const PAST: (&str, &str) = ("drctl:expires", "2026-01-01T00:00:00Z");
const FUTURE: (&str, &str) = ("drctl:expires", "2999-01-01T00:00:00Z");

fn aurora(tags: &[(&str, &str)]) -> Settings {
    let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Settings { tags, deletion_protection: false, ..Settings::aurora(AWAY) }
}

/// A cluster and its instances, each with its own name among its tags, as drctl makes them.
async fn make(school: &School, name: &str, settings: Settings, members: &[&str]) -> Outcome<()> {
    school.server.cluster(AWAY, name, settings, members).await?;
    let client = school.server.client(AWAY);
    let databases = members.iter().map(|member| ("db", *member)).chain([("cluster", name)]);
    for (kind, database) in databases {
        let tag = Tag::builder().key("drctl:name").value(database).build();
        client.add_tags_to_resource().resource_name(arn(AWAY, kind, database)).tags(tag).send().await?;
    }
    Ok(())
}

/// What was deleted, in the order of the calls that RDS carried out.
fn deleted(school: &School) -> Vec<String> {
    let calls = school.server.calls().into_iter();
    let calls = calls.filter(|call| call.action.starts_with("Delete") && call.error.is_none());
    let name = |call: super::support::rds::Call| {
        ["DBInstanceIdentifier", "DBClusterIdentifier"]
            .iter()
            .find_map(|key| call.parameters.get(*key).cloned())
    };
    calls.filter_map(name).collect()
}

fn left(school: &School, region: &str) -> Vec<String> {
    school.server.instances(region).into_iter().map(|one| one.id).collect()
}

#[tokio::test]
async fn an_expired_cluster_goes_with_its_instances_and_nothing_else_does() -> Outcome<()> {
    let school = School::aurora(Timing::default()).await?;
    let all = [MANAGED, SYSTEM, PAST];
    let foreign: [(&str, &[(&str, &str)]); 4] = [
        ("unmanaged", &[SYSTEM, PAST]),
        ("other", &[MANAGED, ("drctl:system", "shopping"), PAST]),
        ("lasting", &[MANAGED, SYSTEM]),
        ("young", &[MANAGED, SYSTEM, FUTURE]),
    ];
    for (name, tags) in foreign {
        make(&school, name, aurora(tags), &[&format!("{name}-1")]).await?;
    }
    let protected = Settings { deletion_protection: true, ..aurora(&all) };
    make(&school, "protected", protected, &["protected-1"]).await?;
    // One of its instances is somebody's who did not say that it may go.
    make(&school, "shared", aurora(&all), &["shared-1", "shared-2"]).await?;
    let client = school.server.client(AWAY);
    let call = client.remove_tags_from_resource().resource_name(arn(AWAY, "db", "shared-2"));
    call.tag_keys("drctl:expires").send().await?;
    // A promotion that was killed has taken the expiry from the cluster, and not yet from its instances.
    make(&school, "promoted", aurora(&all), &["promoted-1"]).await?;
    let call = client.remove_tags_from_resource().resource_name(arn(AWAY, "cluster", "promoted"));
    call.tag_keys("drctl:expires").send().await?;
    make(&school, "brief", aurora(&all), &["brief-1", "brief-2"]).await?;

    let shown = school.system.expect(0, &["rds", "cleanup"]).await?;
    shown.says("brief in us-west-2 has the instances brief-2, brief-1")?.says("Nothing was changed")?;
    shown.says("protected in us-west-2: deletion protection is on")?;
    for hidden in ["unmanaged", "other", "lasting", "promoted"] {
        assert!(!format!("{shown:?}").contains(hidden), "{hidden}: {shown:#?}");
    }
    assert_eq!(deleted(&school), Vec::<String>::new());

    let applied = school.system.expect(0, &["rds", "cleanup", "--apply"]).await?;
    applied.says("its instance `shared-2` is not deleted: it has no tag `drctl:expires`")?;
    assert_eq!(deleted(&school), ["brief-2", "brief-1", "brief"], "those that read, the one that writes, it");
    until("the cluster is gone", || school.server.look_up_cluster(AWAY, "brief").is_err()).await?;
    for name in ["unmanaged", "other", "lasting", "young", "protected", "shared", "promoted"] {
        assert!(school.server.look_up_cluster(AWAY, name).is_ok(), "{name} is gone");
        assert!(left(&school, AWAY).contains(&format!("{name}-1")), "{name}-1 is gone");
    }
    assert_eq!(left(&school, HOME), ["school-a", "school-b"]);
    assert_eq!(school.server.failures(), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn what_was_restored_for_a_while_is_reaped_when_its_time_is_over() -> Outcome<()> {
    let school = School::aurora(Timing::default()).await?;
    let backup = school.back_up().await?;
    let key_file = school.identity();
    let restore = ["restore", "cluster", "--backup", &backup, "--to-instance", "brief", "--expires", "1s"];
    school.system.expect(0, &[&restore[..], &["-i", &key_file]].concat()).await?;
    // A fast restore is over before its second is.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    school.system.expect(0, &["rds", "cleanup", "--apply"]).await?.says("brief")?;
    until("the cluster is gone", || school.server.look_up_cluster(HOME, "brief").is_err()).await?;
    assert_eq!(left(&school, HOME), ["school-a", "school-b"]);
    assert_eq!(deleted(&school).len(), 3, "{:?}", deleted(&school));
    Ok(())
}

#[tokio::test]
async fn a_reap_of_a_cluster_that_was_killed_or_refused_is_gone_on_with() -> Outcome<()> {
    let slow = Timing { deleting: Duration::from_millis(1500), ..Timing::default() };
    let school = School::aurora(slow).await?;
    let all = [MANAGED, SYSTEM, PAST];
    for (name, killed_at) in [("first", "first-2"), ("second", "second-1"), ("third", "third")] {
        let members = [format!("{name}-1"), format!("{name}-2")];
        make(&school, name, aurora(&all), &members.each_ref().map(String::as_str)).await?;
        let mut run = school.system.start(&["rds", "cleanup", "--apply"])?;
        school.server.reached(AWAY, killed_at, "deleting").await?;
        run.kill()?;
        school.system.drctl(&["rds", "cleanup", "--apply"]).await?;
        until("the cluster is gone", || school.server.look_up_cluster(AWAY, name).is_err()).await?;
        let own = deleted(&school).into_iter().filter(|one| one.starts_with(name)).count();
        assert_eq!(own, 3, "{name}: {:?}", deleted(&school));
    }
    // Where RDS does not take a cluster whose instances are still being deleted, it is asked again.
    make(&school, "last", aurora(&all), &["last-1"]).await?;
    let words = "Cluster cannot be deleted, it still contains DB instances in non-deleting state.";
    let refused = Fault::Error(400, "InvalidDBClusterStateFault", words);
    school.server.fail(When::action("DeleteDBCluster").times(3), refused);
    school.system.expect(0, &["rds", "cleanup", "--apply"]).await?.says("deleting")?;
    until("the cluster is gone", || school.server.look_up_cluster(AWAY, "last").is_err()).await?;
    assert_eq!(left(&school, AWAY), Vec::<String>::new());
    assert_eq!(school.server.failures(), Vec::<String>::new());
    Ok(())
}
