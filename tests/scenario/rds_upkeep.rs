//! What AWS keeps, looked after: where we stand, what is verified, what doctor finds, what is replicated and reaped.

use std::time::Duration;

use aws_sdk_rds::types::Tag;

use super::support::Outcome;
use super::support::classboard::{AWAY, Classboard, HOME};
use super::support::rds::{Fault, Gone, Settings, Timing, When};
use super::support::system::{contents, until};

/// With automated backups replicated to the other region.
async fn replicated() -> Outcome<Classboard> {
    let board = Classboard::start(Timing::default()).await?;
    board.system.rewrite("subnet_group = ", "automated_backups = true\nsubnet_group = ")?;
    board.system.expect(0, &["rds", "replicate-automated-backups", "instance", "--apply"]).await?;
    Ok(board)
}

fn tags(pairs: &[(&str, &str)]) -> Settings {
    let tags = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Settings { tags, backup_retention: 0, ..Settings::default() }
}

/// Calls that change something.
fn changes(board: &Classboard) -> Vec<String> {
    let reads = ["Describe", "List", "Get", "Simulate"];
    let calls = board.server.calls().into_iter();
    let changing = calls.filter(|call| !reads.iter().any(|word| call.action.starts_with(word)));
    changing.map(|call| call.action.clone()).collect()
}

#[tokio::test]
async fn status_says_of_each_region_what_it_could_give_back() -> Outcome<()> {
    let board = replicated().await?;
    board.system.expect(0, &["backup", "instance"]).await?;
    let both = async || -> Outcome<bool> {
        let run = board.system.drctl(&["status", "--output", "json"]).await?;
        let document = run.document()?;
        let places = document["sources"][0]["places"].as_array().cloned().unwrap_or_default();
        Ok(places.len() == 2 && places.iter().all(|place| place["automated"].is_object()))
    };
    let begun = std::time::Instant::now();
    while !both().await? {
        assert!(begun.elapsed() < Duration::from_secs(30), "no region has automated backups");
    }
    let run = board.system.expect(0, &["status"]).await?;
    run.says("region us-east-1")?.says("region us-west-2")?.says("and automated backups")?;
    run.says("if us-east-1 burned now with instance, you would lose")?.says("(restored from us-west-2)")?;
    run.says("every region could give back")?;
    // The repositories hold only its profile, so they are no rows.
    assert!(!format!("{run:?}").contains("primary"), "{run:#?}");

    board.server.lose_region(AWAY, Gone::Unavailable);
    let run = board.system.expect(3, &["status"]).await?;
    run.says("failed to query RDS in us-west-2 about instance")?.says("not reached")?;
    run.says("you would have us-west-2, which could not be queried")?;
    board.server.find_region_again(AWAY);

    board.server.fail(When::any(), Fault::DENIED);
    let run = board.system.drctl(&["status", "--offline"]).await?;
    run.says("`--offline` does not ask AWS")?.says("region us-west-2")?;
    Ok(())
}

#[tokio::test]
async fn a_snapshot_that_is_gone_failed_or_lost_its_tags_is_a_fault() -> Outcome<()> {
    let board = Classboard::start(Timing::default()).await?;
    board.system.expect(0, &["backup", "instance"]).await?;
    let run = board.system.expect(0, &["verify"]).await?;
    run.says("there")?.says("in us-east-1, arn")?.says("in us-west-2, arn")?;
    let id = board.snapshots(HOME).pop().ok_or("no snapshot")?;
    let listed = board.system.expect(0, &["list"]).await?;
    listed.says("is kept by AWS in us-east-1 and us-west-2")?;
    let shown = board.system.expect(0, &["show", &board.backups()[0]]).await?;
    shown.says(&format!("snapshot:{id}"))?.says("with key")?;

    let arn = super::support::rds::arn(AWAY, "snapshot", &id);
    let client = board.server.client(AWAY);
    client.remove_tags_from_resource().resource_name(&arn).tag_keys("drctl:backup").send().await?;
    let run = board.system.expect(1, &["verify"]).await?;
    run.says("its tags do not say that it is this backup")?;

    board.server.take_snapshot_away(AWAY, &id)?;
    let run = board.system.expect(1, &["verify"]).await?;
    run.says("AWS does not have it any more")?.says("us-west-2")?;
    let status = board.system.drctl(&["status", "--output", "json"]).await?;
    let places = status.document()?["sources"][0]["places"].clone();
    assert_eq!(places[1]["verdict"], "nothing", "{places:#}");

    board.server.fail(When::action("DescribeDBSnapshots").in_region(AWAY), Fault::DENIED);
    let run = board.system.expect(3, &["verify"]).await?;
    run.says("unknown")?.says("AccessDenied")?;
    Ok(())
}

#[tokio::test]
async fn automated_backups_are_replicated_on_request_only() -> Outcome<()> {
    let board = Classboard::start(Timing::default()).await?;
    let replicate = ["rds", "replicate-automated-backups", "instance"];
    let run = board.system.expect(2, &replicate).await?;
    run.says("has `automated_backups = true`")?;
    board.system.rewrite("subnet_group = ", "automated_backups = true\nsubnet_group = ")?;
    let run = board.system.expect(0, &replicate).await?;
    run.says("us-west-2: replication to be started, kept 7 days")?.says("Nothing was changed")?;
    assert_eq!(changes(&board), Vec::<String>::new());
    let applied = [&replicate[..], &["--apply"]].concat();
    board.system.expect(0, &applied).await?.says("The first copy takes a while")?;
    assert_eq!(changes(&board), ["StartDBInstanceAutomatedBackupsReplication"]);
    // Again: it stands, and is left as it is.
    board.system.expect(0, &applied).await?.says("RDS replicates to it")?;
    assert_eq!(changes(&board).len(), 1);
    board.system.rewrite("kms_key = ", "# kms_key = ")?;
    board.system.expect(0, &applied).await?;
    assert_eq!(board.server.failures(), Vec::<String>::new());
    Ok(())
}

/// Everything in both regions that looks like drctl's and is not, or is and may stay, is offered to it.
#[tokio::test]
async fn only_what_is_ours_and_expired_is_reaped() -> Outcome<()> {
    let board = Classboard::start(Timing::default()).await?;
    board.system.expect(0, &["backup", "instance"]).await?;
    let (managed, system) = (("drctl:managed", "true"), ("drctl:system", "shop"));
    let (past, future) =
        (("drctl:expires", "2026-01-01T00:00:00Z"), ("drctl:expires", "2999-01-01T00:00:00Z"));
    let owner = ("drctl:owner", "ada");
    let foreign: [(&str, &[(&str, &str)]); 7] = [
        ("drctl-drill-unmanaged", &[system, past]),
        ("drctl-drill-other", &[managed, ("drctl:system", "shopping"), past]),
        ("drctl-drill-lasting", &[managed, system]),
        ("drctl-drill-young", &[managed, system, future, owner]),
        ("drctl-drill-odd", &[managed, system, ("drctl:expires", "soon")]),
        ("drctl-drill-protected", &[managed, system, past]),
        // Made by somebody of what drctl made: RDS gives it the tags of that.
        ("adas-own", &[managed, system, past, owner, ("drctl:name", "drctl-drill-left")]),
    ];
    for (name, pairs) in foreign {
        let mut settings = Settings { deletion_protection: name.ends_with("protected"), ..tags(pairs) };
        settings.tags.entry("drctl:name".to_owned()).or_insert_with(|| name.to_owned());
        board.server.instance(AWAY, name, settings).await?;
    }
    let left = [managed, system, past, owner, ("drctl:name", "drctl-drill-left")];
    board.server.instance(AWAY, "drctl-drill-left", tags(&left)).await?;
    // Somebody keeps what is in it; RDS can be told to give snapshots the tags of their instance.
    let client = board.server.client(AWAY);
    let keep = client.create_db_snapshot().db_snapshot_identifier("kept-by-ada");
    let tagged = left.map(|(key, value)| Tag::builder().key(key).value(value).build());
    keep.db_instance_identifier("drctl-drill-left").set_tags(Some(tagged.into())).send().await?;
    until("it is there", || {
        let known = board.server.snapshots(AWAY).into_iter();
        known.into_iter().any(|one| one.id == "kept-by-ada" && one.status == "available")
    })
    .await?;
    let before = changes(&board);

    let run = board.system.expect(0, &["rds", "cleanup"]).await?;
    run.says("drctl-drill-left")?.says("ada")?.says("expired")?.says("Nothing was changed")?;
    run.says("deletion protection is on")?.says("it expires at 2999")?;
    run.says("adas-own in us-west-2: its tag `drctl:name` says `drctl-drill-left`")?;
    for hidden in ["unmanaged", "other", "lasting", "kept-by-ada"] {
        assert!(!format!("{run:?}").contains(hidden), "{hidden}: {run:#?}");
    }
    assert_eq!(changes(&board), before);

    let run = board.system.expect(0, &["rds", "cleanup", "--apply"]).await?;
    run.says("deleting")?;
    let deletions: Vec<_> = changes(&board).split_off(before.len());
    assert_eq!(deletions, ["DeleteDBInstance"]);
    let is_gone = || !board.server.instances(AWAY).iter().any(|one| one.id == "drctl-drill-left");
    until("the leftover is gone", is_gone).await?;
    let left: Vec<_> = board.server.instances(AWAY).into_iter().map(|one| one.id).collect();
    for (name, _) in foreign {
        assert!(left.iter().any(|id| id == name), "{name} is gone: {left:?}");
    }
    assert_eq!(board.server.instances(HOME).len(), 1);
    assert_eq!((board.snapshots(HOME).len(), board.snapshots(AWAY).len()), (1, 1));
    assert!(board.server.snapshots(AWAY).iter().any(|one| one.id == "kept-by-ada"));
    // Nothing is left to do.
    board.system.expect(0, &["rds", "cleanup", "--apply"]).await?;
    assert_eq!(changes(&board).len(), before.len() + 1);
    Ok(())
}

/// Between the listing and the deletion somebody makes it theirs.
#[tokio::test]
async fn what_was_taken_over_meanwhile_is_left() -> Outcome<()> {
    let board = Classboard::start(Timing::default()).await?;
    let pairs = [
        ("drctl:managed", "true"),
        ("drctl:system", "shop"),
        ("drctl:name", "drctl-drill-left"),
        ("drctl:expires", "2026-01-01T00:00:00Z"),
    ];
    board.server.instance(AWAY, "drctl-drill-left", tags(&pairs)).await?;
    // Listing asks for all of them, the look before the deletion for the one.
    let slow = Fault::Delay(Duration::from_secs(3));
    board.server.fail(When::action("DescribeDBInstances").in_region(AWAY).with("drctl-drill-left"), slow);
    let run = async { board.system.drctl(&["rds", "cleanup", "--apply"]).await };
    let take_over = async {
        until("the look before the deletion waits", || board.server.taken() > 0).await?;
        let client = board.server.client(AWAY);
        let arn = super::support::rds::arn(AWAY, "db", "drctl-drill-left");
        client.remove_tags_from_resource().resource_name(arn).tag_keys("drctl:expires").send().await?;
        Outcome::Ok(())
    };
    let (run, taken) = tokio::join!(run, take_over);
    taken?;
    run?.says("it is not temporary")?;
    assert!(!changes(&board).contains(&"DeleteDBInstance".to_owned()));
    assert_eq!(board.server.instances(AWAY).len(), 1);
    Ok(())
}

#[tokio::test]
async fn doctor_says_what_falls_short_of_the_policy() -> Outcome<()> {
    let board = Classboard::start(Timing::default()).await?;
    let run = board.system.drctl(&["doctor", "--all"]).await?;
    run.says("`classboard` in us-east-1 is postgres 15")?.says("for 7 days")?;
    run.says("subnet group `school-west` exists in us-west-2")?
        .says("authenticated to AWS as arn:aws:sts")?;
    run.says("permissions that the writer needs")?
        .says("it may delete backups or their keys, which the writer must not")?;

    board
        .system
        .rewrite("subnet_group = \"school-west\"", "automated_backups = true\nsubnet_group = \"gone\"")?;
    board.server.deny("rds:CopyDBSnapshot");
    for action in ["rds:DeleteDBSnapshot", "rds:DeleteDBClusterSnapshot", "s3:DeleteObjectVersion"] {
        board.server.deny(action);
    }
    let run = board.system.expect(1, &["doctor"]).await?;
    run.says("there is no subnet group `gone` in us-west-2")?;
    run.says("RDS does not replicate there")?
        .says("drctl rds replicate-automated-backups instance --apply")?;
    run.says("it lacks permissions that the writer needs: rds:CopyDBSnapshot")?
        .says("drctl iam show writer")?;
    assert!(!format!("{run:?}").contains("may delete backups or their keys"), "{run:#?}");

    board.server.fail(When::action("SimulatePrincipalPolicy"), Fault::DENIED);
    let run = board.system.expect(1, &["doctor"]).await?;
    run.says("cannot be simulated")?.says("SimulatePrincipalPolicy")?;
    board.server.heal();

    board.system.rewrite("instance = \"classboard\"", "instance = \"clasboard\"")?;
    board.system.expect(1, &["doctor"]).await?.says("there is no instance `clasboard` in us-east-1")?;
    assert_eq!(changes(&board), Vec::<String>::new());
    Ok(())
}

/// What the newest record of the journal says.
fn newest_record(board: &Classboard) -> Outcome<serde_json::Value> {
    let repository = board.system.repository("primary");
    let files = contents(&repository.join("shop/journal"))?;
    let newest = files.into_keys().max().ok_or("no record")?;
    Ok(serde_json::from_slice(&std::fs::read(newest)?)?)
}

#[tokio::test]
async fn what_verify_found_of_aws_is_in_the_journal() -> Outcome<()> {
    let board = Classboard::start(Timing::default()).await?;
    board.system.expect(0, &["backup", "instance"]).await?;
    board.system.expect(0, &["verify"]).await?;
    let record = newest_record(&board)?;
    assert_eq!((&record["verb"], &record["outcome"]), (&"verify".into(), &"succeeded".into()), "{record:#}");

    board.server.take_snapshot_away(AWAY, &board.snapshots(AWAY).remove(0))?;
    board.system.expect(1, &["verify"]).await?;
    let record = newest_record(&board)?;
    assert_eq!(record["outcome"], "failed", "{record:#}");
    let reason = record["detail"]["reasons"][0].as_str().unwrap_or_default();
    assert!(reason.starts_with("us-west-2: ") && reason.ends_with("does not have it any more"), "{record:#}");

    board.server.fail(When::action("DescribeDBSnapshots"), Fault::DENIED);
    board.system.expect(3, &["verify"]).await?;
    assert_eq!(newest_record(&board)?["outcome"], "degraded");
    Ok(())
}

#[tokio::test]
async fn a_snapshot_that_is_no_longer_shared_is_found_with_what_shares_it_again() -> Outcome<()> {
    let board = Classboard::start(Timing::default()).await?;
    let accounts = "share_with = [\"444455556666\", \"777788889999\"]\ninstance = ";
    board.system.rewrite("instance = ", accounts)?;
    board.system.expect(0, &["backup", "instance"]).await?;
    board.system.expect(0, &["verify"]).await?;
    let id = board.snapshots(HOME).remove(0);
    let call = board.server.client(HOME).modify_db_snapshot_attribute().db_snapshot_identifier(&id);
    call.attribute_name("restore").values_to_remove("777788889999").send().await?;
    let run = board.system.expect(3, &["verify"]).await?;
    run.says("it is not shared with 777788889999")?;
    run.says(&format!(
        "aws rds modify-db-snapshot-attribute --region us-east-1 --db-snapshot-identifier {id} --attribute-name restore --values-to-add 777788889999"
    ))?;
    assert!(!format!("{run:?}").contains("444455556666"), "{run:#?}");
    assert_eq!(newest_record(&board)?["outcome"], "degraded");
    board.server.fail(When::action("DescribeDBSnapshotAttributes"), Fault::DENIED);
    board.system.expect(3, &["verify"]).await?.says("with whom it is shared is not known")?;
    Ok(())
}

/// RDS keeps the name that the database had in a snapshot of it.
#[tokio::test]
async fn snapshots_of_a_database_that_was_renamed_are_still_its_own() -> Outcome<()> {
    let board = Classboard::start(Timing::default()).await?;
    board.system.expect(0, &["backup", "instance"]).await?;
    let before = board.backups();
    let call = board.server.client(HOME).modify_db_instance().db_instance_identifier("classboard");
    call.new_db_instance_identifier("school").apply_immediately(true).send().await?;
    board.server.reached(HOME, "school", "available").await?;
    board.system.rewrite("instance = \"classboard\"", "instance = \"school\"")?;

    let run = board.system.expect(0, &["verify"]).await?;
    assert!(!format!("{run:?}").contains("gone"), "{run:#?}");
    board.system.expect(0, &["status"]).await?.says(&before[0])?;
    let key = board.system.operational.display().to_string();
    let restore = ["restore", "instance", "--backup", &before[0], "--to-instance", "school-old", "-i", &key];
    board.system.expect(0, &restore).await?;
    assert_eq!(board.pupils(HOME, "school-old").await?, "ada");
    board.system.expect(0, &["backup", "instance"]).await?;
    assert_eq!((board.backups().len(), board.snapshots(HOME).len()), (2, 2));
    Ok(())
}
