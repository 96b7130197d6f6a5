//! A restored cluster takes production's place, and its instances take the names that are known.

use std::time::Duration;

use super::support::Outcome;
use super::support::classboard::{AWAY, HOME};
use super::support::rds::{Call, Fault, Gone, Settings, Timing, When, arn};
use super::support::school::School;
use super::support::system::until;

const PROMOTE: [&str; 4] = ["rds", "promote", "cluster", "fresh"];

fn applied() -> Vec<&'static str> {
    [&PROMOTE[..], &["--apply"]].concat()
}

/// A school with a restored cluster `fresh`, data that came later, and hooks that say when they ran.
async fn restored(timing: Timing) -> Outcome<School> {
    let school = School::aurora(timing).await?;
    let backup = school.back_up().await?;
    let key_file = school.identity();
    let restore = ["restore", "cluster", "--backup", &backup, "--to-instance", "fresh", "--expires", "1h"];
    school.system.expect(0, &[&restore[..], &["-i", &key_file]].concat()).await?;
    school.sql(HOME, "school", "INSERT INTO pupils VALUES (2, 'late')").await?;
    let log = school.system.path().join("hooks.log");
    let hook = |name: &str| {
        format!(
            r#"{name} = ["/bin/sh", "-c", "echo {name} $DRCTL_INSTANCE:$DRCTL_PORT >> {}"]"#,
            log.display()
        )
    };
    let hooks = ["freeze", "redirect", "reopen"].map(hook).join("\n");
    school.system.append(&format!("[sources.cluster.promote]\n{hooks}"))?;
    Ok(school)
}

fn hooks(school: &School) -> String {
    std::fs::read_to_string(school.system.path().join("hooks.log")).unwrap_or_default()
}

fn changes(school: &School) -> Vec<Call> {
    let calls = school.server.calls().into_iter();
    calls.filter(|call| call.action.starts_with("Modify") || call.action.starts_with("Delete")).collect()
}

#[tokio::test]
async fn the_swap_of_a_cluster_is_shown_first_and_keeps_the_old_one_and_the_names_of_instances() -> Outcome<()>
{
    let school = restored(Timing::default()).await?;
    let before = changes(&school).len();
    let was = school.server.look_up(HOME, "school-a")?.resource_id;
    let shown = school.system.expect(0, &PROMOTE).await?;
    shown.says("rename production `school` to `school-old`")?.says("nothing was changed")?;
    shown
        .says("rename production's instances: `school-a` to `school-old-a`, `school-b` to `school-old-b`")?;
    shown.says("which restarts them: `fresh-1` to `school-a`, `fresh-2` to `school-b`")?;
    shown.says("custom endpoints")?;
    assert_eq!((changes(&school).len(), hooks(&school)), (before, String::new()));

    let promoted = school.system.expect(0, &applied()).await?;
    promoted.says("promoted")?.says("tables")?;
    assert_eq!(school.pupils(HOME, "school").await?, "ada");
    assert_eq!(school.pupils(HOME, "school-old").await?, "ada late");
    assert_eq!(school.members(HOME, "school"), ["school-a", "school-b"]);
    assert_eq!(school.members(HOME, "school-old"), ["school-old-a", "school-old-b"]);
    assert_eq!(school.server.look_up(HOME, "school-old-a")?.resource_id, was, "renamed, not made");
    let now = school.server.look_up_cluster(HOME, "school")?.settings;
    assert!(now.deletion_protection, "production is protected");
    assert_eq!(now.tags.get("env").map(String::as_str), Some("prod"));
    for tags in [now.tags, school.server.look_up(HOME, "school-b")?.settings.tags] {
        for mark in ["drctl:expires", "drctl:promoted-from", "drctl:promoted-over"] {
            assert!(!tags.contains_key(mark), "{mark}: {tags:?}");
        }
    }
    let lines: Vec<_> = hooks(&school).lines().map(str::to_owned).collect();
    let [freeze, redirect, reopen] = &lines[..] else { return Err(format!("{lines:?}").into()) };
    assert!(freeze.starts_with("freeze school:") && redirect.starts_with("redirect school:"), "{lines:?}");
    let port = |line: &str| line.rsplit_once(':').map(|(_, port)| port.to_owned());
    assert!(port(redirect) == port(reopen) && port(redirect) != port(freeze), "{lines:?}");

    // The new production is backed up like the old one, and promoted only once.
    school.system.expect(0, &["backup", "cluster"]).await?;
    school.system.expect(1, &applied()).await?.says("there is no cluster `fresh` in us-east-1")?;
    assert!(school.server.calls().iter().all(|call| !call.action.starts_with("Delete")));
    assert_eq!(school.server.failures(), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn a_promotion_of_a_cluster_that_was_killed_in_any_state_is_gone_on_with() -> Outcome<()> {
    let slow = Timing { modifying: Duration::from_millis(1500), ..Timing::default() };
    // In the middle of each rename, and when it has just ended.
    for (name, status) in [
        ("school-a", "renaming"),
        ("school", "renaming"),
        ("school-old", "available"),
        ("school-b", "renaming"),
        ("school-old-b", "available"),
        ("fresh", "renaming"),
        ("fresh-1", "renaming"),
        ("fresh-2", "gone"),
    ] {
        let school = restored(slow.clone()).await?;
        let seen = school.server.history(HOME, name).len();
        let mut run = school.system.start(&applied())?;
        let reached = || school.server.history(HOME, name).iter().skip(seen).any(|known| known == status);
        let begun = match (name, status) {
            (_, "gone") => {
                let has_its_name = || school.members(HOME, "school").contains(&"school-b".to_owned());
                until("the last instance has its name", has_its_name).await
            }
            _ => until(&format!("{name} is {status}"), reached).await,
        };
        run.kill()?;
        if let Err(error) = begun {
            return Err(format!("{error}: {:#?}", run.end().await?).into());
        }
        let again = school.system.drctl(&applied()).await?;
        assert_eq!(again.code, Some(0), "{name} {status}: {again:#?}");
        assert_eq!(school.pupils(HOME, "school").await?, "ada", "{name} {status}");
        assert_eq!(school.pupils(HOME, "school-old").await?, "ada late", "{name} {status}");
        assert_eq!(school.members(HOME, "school"), ["school-a", "school-b"], "{name} {status}");
        assert_eq!(school.members(HOME, "school-old"), ["school-old-a", "school-old-b"], "{name} {status}");
        let tags = school.server.look_up_cluster(HOME, "school")?.settings.tags;
        assert!(!tags.contains_key("drctl:promoted-from"), "{name} {status}: {tags:?}");
        assert_eq!(school.server.failures(), Vec::<String>::new());
    }
    Ok(())
}

#[tokio::test]
async fn no_cluster_takes_productions_place_but_a_finished_restore_of_it() -> Outcome<()> {
    let school = restored(Timing::default()).await?;
    let before = changes(&school).len();
    let promote = async |name: &str, more: &[&str]| {
        let arguments = [&["rds", "promote", "cluster", name, "--apply"], more].concat();
        school.system.expect(1, &arguments).await
    };
    school.server.cluster(HOME, "foreign", school.settings.clone(), &["foreign-1"]).await?;
    promote("foreign", &[]).await?.says("was not restored from `cluster`")?;
    promote("school", &[]).await?.says("has the name of production already")?;
    // An instance of a restored cluster does not take the cluster's name.
    promote("fresh-1", &[]).await?.says("there is no cluster `fresh-1` in us-east-1")?;
    promote("fresh", &["--put-aside-as", "foreign"])
        .await?
        .says("a cluster `foreign`, the name that the old one would get, already exists")?;
    promote("fresh", &["--put-aside-as", "bad_name"]).await?.says("`bad_name` is not an identifier")?;
    let client = school.server.client(HOME);
    let member =
        client.create_db_instance().db_instance_identifier("gone-a").db_cluster_identifier("foreign");
    member.engine("aurora-postgresql").db_instance_class("db.r6g.large").send().await?;
    promote("fresh", &["--put-aside-as", "gone"])
        .await?
        .says("an instance `gone-a`, the name that the old one would get, already exists")?;
    let tags = client.remove_tags_from_resource().resource_name(arn(HOME, "cluster", "fresh"));
    tags.tag_keys("drctl:restored-until").send().await?;
    promote("fresh", &[]).await?.says("the restore of `fresh` did not finish")?;
    assert_eq!(changes(&school).len(), before, "{:#?}", changes(&school));
    assert_eq!(
        (school.pupils(HOME, "school").await?, hooks(&school)),
        ("ada late".to_owned(), String::new())
    );
    Ok(())
}

#[tokio::test]
async fn a_rename_that_is_refused_ends_the_swap_and_the_same_command_goes_on() -> Outcome<()> {
    let school = restored(Timing::default()).await?;
    school.server.fail(When::action("ModifyDBInstance").with("school-b"), Fault::DENIED);
    let refused = school.system.expect(1, &applied()).await?;
    refused.says("the steps after it were not executed")?.says("AccessDenied")?;
    assert!(school.server.look_up_cluster(HOME, "school").is_err(), "nothing has production's name yet");
    assert!(!hooks(&school).contains("reopen"), "{}", hooks(&school));
    school.server.heal();
    // RDS does one thing at a time to a cluster, and a lost answer is no failure.
    let busy = Fault::Error(400, "InvalidDBInstanceState", "Instance is not in available state.");
    school.server.fail(When::action("ModifyDBInstance").times(3), busy);
    school.server.fail(When::action("ModifyDBCluster").times(1), Fault::LoseAnswer);
    school.system.expect(0, &applied()).await?.says("resuming an earlier run")?;
    assert_eq!(school.members(HOME, "school"), ["school-a", "school-b"]);
    assert_eq!(school.pupils(HOME, "school").await?, "ada");
    Ok(())
}

#[tokio::test]
async fn with_its_region_gone_a_cluster_takes_the_name_elsewhere_and_leaves_what_is_foreign_there()
-> Outcome<()> {
    let school = restored(Timing::default()).await?;
    let backup = school.backups().pop().ok_or("no backup")?;
    let key_file = school.identity();
    let foreign = Settings { tags: Default::default(), ..Settings::aurora(AWAY) };
    school.server.cluster(AWAY, "school-old", foreign, &["school-b"]).await?;
    school.server.lose_region(HOME, Gone::Unavailable);
    let restore = ["restore", "cluster", "--backup", &backup, "--to-instance", "west", "-i", &key_file];
    school.system.expect(0, &restore).await?;
    let promote = ["rds", "promote", "cluster", "west", "--region", AWAY, "--apply"];
    let promoted = school.system.expect(0, &promote).await?;
    promoted.says("promoted")?.says("instance `west-2` keeps its name: there is a `school-b`")?;
    assert_eq!(school.pupils(AWAY, "school").await?, "ada");
    assert_eq!(school.members(AWAY, "school"), ["school-a", "west-2"]);
    assert_eq!(school.members(AWAY, "school-old"), ["school-b"]);

    // What has the name there and is nobody's restore is not put aside.
    let restore = ["restore", "cluster", "--backup", &backup, "--to-instance", "again", "-i", &key_file];
    school.system.expect(0, &restore).await?;
    let client = school.server.client(AWAY);
    let tags = client.remove_tags_from_resource().resource_name(arn(AWAY, "cluster", "school"));
    tags.tag_keys("drctl:source").send().await?;
    let promote = ["rds", "promote", "cluster", "again", "--region", AWAY, "--apply"];
    school
        .system
        .expect(1, &promote)
        .await?
        .says("`school` in us-west-2 is neither what this policy backs up")?;
    Ok(())
}

#[tokio::test]
async fn the_instances_of_a_multi_az_cluster_keep_their_names_when_it_is_promoted() -> Outcome<()> {
    let settings =
        Settings { parameter_group: "default.postgres15".to_owned(), ..Settings::production(HOME) };
    let members = ["school-1", "school-2", "school-3"];
    let school = School::start(Timing::default(), settings, &members, "").await?;
    let backup = school.back_up().await?;
    let key_file = school.identity();
    let restore = ["restore", "cluster", "--backup", &backup, "--to-instance", "fresh", "-i", &key_file];
    school.system.expect(0, &restore).await?;
    let promote = [&PROMOTE[..], &["--writers-stopped", "--apply"]].concat();
    let promoted = school.system.expect(0, &promote).await?;
    promoted.says("its instances keep the names that RDS gave them")?;
    assert_eq!(school.pupils(HOME, "school").await?, "ada");
    assert_eq!(school.members(HOME, "school-old"), members);
    assert!(changes(&school).iter().all(|call| call.action != "ModifyDBInstance"), "{:#?}", changes(&school));
    Ok(())
}
