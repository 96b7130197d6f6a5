//! Restores that AWS refuses as they were recorded, and that go on with what somebody sets instead.

use super::support::Outcome;
use super::support::classboard::{AWAY, Classboard, HOME};
use super::support::rds::{Fault, Gone, Timing, When};
use super::support::system::Run;

/// Restores the backup as `classboard-<to>`, and insists on how that ends.
async fn restore(board: &Classboard, backup: &str, to: &str, code: i32, more: &[&str]) -> Outcome<Run> {
    let identity = board.system.operational.display().to_string();
    let to = format!("classboard-{to}");
    let common = ["restore", "instance", "--backup", backup, "--to-instance", &to, "-i", &identity];
    board.system.expect(code, &[&common[..], more].concat()).await
}

async fn back_up(board: &Classboard) -> Outcome<String> {
    board.system.expect(0, &["backup", "instance"]).await?;
    Ok(board.backups().pop().ok_or("no backup")?)
}

const RESTORE: &str = "RestoreDBInstanceFromDBSnapshot";

#[tokio::test]
async fn what_aws_refuses_is_named_with_the_setting_that_goes_on() -> Outcome<()> {
    let board = Classboard::start(Timing::default()).await?;
    let backup = back_up(&board).await?;
    // The value that is refused, AWS's word and message, and what leads on.
    let refusals = [
        ("db.m6g.large", "InsufficientDBInstanceCapacity", "no capacity", "`--set class=CLASS`"),
        ("db.m6g.large", "InsufficientDBInstanceCapacity", "no capacity", "`--set multi_az=no`"),
        (
            "db.m6g.large",
            "InvalidParameterCombination",
            "RDS does not support creating a DB instance with the following combination: DBInstanceClass=db.m6g.large, Engine=postgres",
            "--engine postgres --engine-version 15",
        ),
        ("rds-ca-ecc384-g1", "CertificateNotFound", "no such certificate", "`--set ca=default`"),
        (
            "rds-ca-ecc384-g1",
            "InvalidParameterValue",
            "Invalid CA certificate identifier",
            "`--set ca=default`",
        ),
        ("school-pg15", "DBParameterGroupNotFound", "gone", "`--set parameter_group=default`"),
        ("school-options", "OptionGroupNotFoundFault", "gone", "`--set option_group=default`"),
        ("private", "DBSubnetGroupDoesNotCoverEnoughAZs", "one zone", "`--set subnet_group=NAME"),
        ("private", "DBSubnetGroupDoesNotCoverEnoughAZs", "one zone", "`--set multi_az=no`"),
        ("gp3", "StorageTypeNotSupported", "not there", "`--set storage_type=gp3`"),
        ("classboard-refused", "StorageQuotaExceeded", "too much", "`--from us-west-2`"),
        ("classboard-refused", "KMSKeyNotAccessibleFault", "pending deletion", "`--from us-west-2`"),
        ("classboard-refused", "InvalidParameterValue", "something else", "`engine_version`, `kms_key`"),
    ];
    for (value, code, message, hint) in refusals {
        board.server.fail(When::action(RESTORE).with(value), Fault::Error(400, code, message));
        let run = restore(&board, &backup, "refused", 1, &[]).await?;
        run.says(code)?.says("no instance was made")?.says(hint)?;
        board.server.heal();
    }
    assert!(board.server.look_up(HOME, "classboard-refused").is_err());
    Ok(())
}

#[tokio::test]
async fn what_was_set_instead_is_shown_made_and_reported() -> Outcome<()> {
    let board = Classboard::start(Timing::default()).await?;
    let backup = back_up(&board).await?;
    for value in ["db.m6g.large", "rds-ca-ecc384-g1", "school-options"] {
        let fault = Fault::Error(400, "InvalidParameterValue", "not today");
        board.server.fail(When::action(RESTORE).with(value), fault);
    }
    let set = [
        "--set",
        "class=db.r6g.xlarge",
        "--set",
        "ca=default",
        "--set",
        "option_group=default",
        "--set",
        "multi_az=no",
        "--set",
        "zone=us-east-1b",
        "--set",
        "security_groups=sg-0app,sg-0new",
    ];
    let plan = restore(&board, &backup, "new", 0, &[&set[..], &["--plan"]].concat()).await?;
    plan.says("Changed by you")?.says("class=db.r6g.xlarge, and not db.m6g.large")?;
    plan.says("ca=default, and not rds-ca-ecc384-g1")?.says("security_groups=sg-0app,sg-0new")?;
    assert!(board.server.look_up(HOME, "classboard-new").is_err(), "a plan makes nothing");

    let run = restore(&board, &backup, "new", 0, &[&set[..], &["--output", "json"]].concat()).await?;
    let changed = run.document()?["details"]["changed"].clone();
    assert_eq!(changed.as_array().map(Vec::len), Some(6), "{run:#?}");
    assert_eq!(changed[1]["key"], "class", "{changed:#}");
    assert_eq!(changed[1]["was"], "db.m6g.large", "{changed:#}");
    let is = board.server.look_up(HOME, "classboard-new")?.settings;
    assert_eq!(is.class, "db.r6g.xlarge");
    assert_ne!(is.ca_certificate, board.settings.ca_certificate);
    assert_ne!(is.option_group, board.settings.option_group);
    assert_eq!((is.multi_az, is.availability_zone.as_deref()), (false, Some("us-east-1b")));
    assert_eq!(is.security_groups, ["sg-0app", "sg-0new"]);
    // What nobody set is as it was recorded.
    assert_eq!((&is.parameter_group, &is.subnet_group), (&"school-pg15".to_owned(), &"private".to_owned()));
    assert_eq!(board.pupils(HOME, "classboard-new").await?, "ada");
    let repository = board.system.repository("primary");
    let records = super::support::system::contents(&repository)?.into_keys();
    let mut told = false;
    for record in records.filter(|path| path.to_string_lossy().contains("journal")) {
        told |= std::fs::read_to_string(repository.join(record))?.contains("class=db.r6g.xlarge");
    }
    assert!(told, "the journal does not say it");
    assert_eq!(board.server.failures(), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_set_is_refused_before_anything_is_asked() -> Outcome<()> {
    let board = Classboard::start(Timing::default()).await?;
    let backup = back_up(&board).await?;
    let run = restore(&board, &backup, "new", 2, &["--set", "clas=db.r6g.large"]).await?;
    run.says("`clas` is nothing that a restore can set")?.says("`class`")?.says("`zone`")?;
    let run = restore(&board, &backup, "new", 2, &["--set", "class=r6g.large"]).await?;
    run.says("a class begins with `db.`")?;
    let run = restore(&board, &backup, "new", 1, &["--set", "kms_key=k", "--set", "zone=eu-west-1a"]).await?;
    run.says("the key of its snapshot")?.says("zone `eu-west-1a` is not in us-east-1")?;
    let run = restore(&board, &backup, "new", 1, &["--set", "parameter_group=gone"]).await?;
    run.says("us-east-1 has no parameter group `gone`")?.says("--set parameter_group=")?;
    // Without `--to-instance` there is nothing that it could be set of.
    let other = ["restore", "instance", "--to", "other", "--set", "class=db.r6g.large"];
    board.system.expect(2, &other).await?.says("--set goes only with `--to-instance`")?;
    board.system.expect(1, &other[..4]).await?.says("`--to-instance NAME` makes an instance")?;
    let calls = board.server.calls();
    assert!(calls.iter().all(|call| !call.action.starts_with("Restore")), "{calls:#?}");
    Ok(())
}

/// Elsewhere, where the policy's own group was forgotten.
#[tokio::test]
async fn a_group_that_the_policy_lacks_is_set_for_one_restore() -> Outcome<()> {
    let board = Classboard::start(Timing::default()).await?;
    board.system.rewrite("subnet_group = ", "# subnet_group = ")?;
    let backup = back_up(&board).await?;
    board.server.lose_region(HOME, Gone::Unavailable);
    let run = restore(&board, &backup, "new", 1, &["--from", AWAY]).await?;
    run.says("the policy names no `subnet_group` for us-west-2")?.says("--set subnet_group=NAME")?;
    let set = ["--from", AWAY, "--set", "subnet_group=school-west"];
    restore(&board, &backup, "new", 0, &set).await?.says("subnet_group=school-west")?;
    assert_eq!(board.server.look_up(AWAY, "classboard-new")?.settings.subnet_group, "school-west");
    Ok(())
}

#[tokio::test]
async fn what_was_begun_otherwise_is_said_and_stays() -> Outcome<()> {
    let some = std::time::Duration::from_millis(1500);
    let board = Classboard::start(Timing { creating: some, ..Timing::default() }).await?;
    let backup = back_up(&board).await?;
    let identity = board.system.operational.display().to_string();
    let name = "classboard-new";
    let begin = ["restore", "instance", "--backup", &backup, "--to-instance", name, "-i", &identity];
    let set = ["--set", "class=db.r6g.large"];
    let mut run = board.system.start(&[&begin[..], &set].concat())?;
    board.server.reached(HOME, name, "creating").await?;
    run.kill()?;
    let again = restore(&board, &backup, "new", 0, &["--set", "class=db.r6g.xlarge"]).await?;
    again.says("resuming")?;
    again.says("was begun with class db.r6g.large, and not db.r6g.xlarge: it stays so")?;
    assert_eq!(board.server.look_up(HOME, name)?.settings.class, "db.r6g.large");
    Ok(())
}

#[tokio::test]
async fn a_name_that_the_restorer_s_role_may_not_make_is_said_beforehand() -> Outcome<()> {
    let board = Classboard::start(Timing::default()).await?;
    let backup = back_up(&board).await?;
    let identity = board.system.operational.display().to_string();
    let plan = async |name: &str, region: &str| {
        let plan = ["restore", "instance", "--backup", &backup, "--to-instance", name, "--from", region];
        board.system.expect(0, &[&plan[..], &["-i", &identity, "--plan"]].concat()).await
    };
    plan("new", HOME).await?.says("may make only `drctl-*` or `classboard-*` in us-east-1")?;
    for (name, region) in [("classboard-new", HOME), ("drctl-new", HOME), ("classboard", AWAY)] {
        let said = format!("{:?}", plan(name, region).await?);
        assert!(!said.contains("may make only"), "{name} {region}: {said}");
    }
    Ok(())
}
