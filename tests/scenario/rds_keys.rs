//! KMS keys of snapshots, of their copies and of what is replicated.

use super::support::Outcome;
use super::support::classboard::{AWAY, Classboard};
use super::support::rds::{Fault, Timing, When, key};

#[tokio::test]
async fn an_alias_is_replicated_under_as_the_key_that_it_means() -> Outcome<()> {
    let board = Classboard::start(Timing::default()).await?;
    board.system.rewrite("subnet_group = ", "automated_backups = true\nsubnet_group = ")?;
    board.system.rewrite(&format!("kms_key = \"{}\"", key(AWAY, "1")), "kms_key = \"alias/school\"")?;
    let replicate = ["rds", "replicate-automated-backups", "instance", "--apply"];
    // What it means is not known: nothing is asked of RDS, which takes no alias for that.
    let run = board.system.expect(3, &replicate).await?;
    run.says("there is no key `alias/school`")?.says("aws kms describe-key --key-id alias/school")?;
    board.server.fail(When::action("DescribeKey"), Fault::Error(400, "AccessDeniedException", "not you"));
    let run = board.system.expect(3, &replicate).await?;
    run.says("not you")?.says("aws kms describe-key --key-id alias/school --region us-west-2")?;
    board.server.heal();
    assert!(!board.server.calls().iter().any(|call| call.action.starts_with("Start")));

    board.server.alias(AWAY, "alias/school", &key(AWAY, "7"));
    let run = board.system.expect(0, &replicate).await?;
    run.says(&key(AWAY, "7"))?;
    let started = board.server.calls().into_iter().find(|call| call.action.starts_with("Start"));
    let started = started.ok_or("nothing was asked for")?.parameters;
    assert_eq!(started.get("KmsKeyId"), Some(&key(AWAY, "7")));
    assert_eq!(board.server.failures(), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn what_is_under_a_key_of_aws_is_foreseen_and_never_tried_to_be_shared() -> Outcome<()> {
    let board = Classboard::start(Timing::default()).await?;
    board.system.rewrite("poll = ", "share_with = [\"444455556666\"]\npoll = ")?;
    let own = board.settings.kms_key.clone().ok_or("it has no key")?;
    board.server.manage_key(&own);
    let doctor = board.system.drctl(&["doctor"]).await?;
    doctor.says("is encrypted with the AWS-managed key")?.says("take `share_with` from the source")?;
    let run = board.system.expect(3, &["backup", "instance"]).await?;
    run.says("account 444455556666 does not have it")?.says("can never be shared")?;
    let shared = || board.server.calls().into_iter().any(|call| call.action == "ModifyDBSnapshotAttribute");
    assert!(!shared());

    // Whoever may not ask KMS is not kept from sharing what can be.
    board.server.fail(When::action("DescribeKey"), Fault::Error(400, "AccessDeniedException", "not you"));
    let doctor = board.system.drctl(&["doctor"]).await?;
    doctor.says("whether snapshots of `classboard` can be shared is not known")?.says("not you")?;
    board.system.expect(3, &["backup", "instance"]).await?.says("default key of the account")?;
    assert!(shared());
    Ok(())
}
