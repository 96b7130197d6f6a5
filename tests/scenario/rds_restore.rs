//! Instances that are made of what RDS keeps.

use std::time::Duration;

use drctl::platform::{Clock as _, SystemClock};

use super::support::Outcome;
use super::support::classboard::{AWAY, Classboard, HOME};
use super::support::rds::{Call, Fault, Gone, Timing, When, key};
use super::support::secrets_manager::SecretsManager;
use super::support::system::until;

fn identity(board: &Classboard) -> String {
    board.system.operational.display().to_string()
}

/// The id of the newest backup.
async fn back_up(board: &Classboard) -> Outcome<String> {
    board.system.expect(0, &["backup", "instance"]).await?;
    Ok(board.backups().pop().ok_or("no backup")?)
}

#[tokio::test]
async fn with_its_region_gone_a_snapshot_is_restored_elsewhere_ready_to_serve() -> Outcome<()> {
    let board = Classboard::start(Timing::default()).await?;
    let backup = back_up(&board).await?;
    board.admit("late").await?;
    board.server.lose_region(HOME, Gone::Unavailable);
    let key = identity(&board);
    let restore = [
        "restore",
        "instance",
        "--backup",
        &backup,
        "--to-instance",
        "classboard-new",
        "--from",
        AWAY,
        "-i",
        &key,
    ];
    let run = board.system.expect(0, &restore).await?;
    run.says("restored")?.says("usable")?.says("hydrated")?;
    assert_eq!(board.pupils(AWAY, "classboard-new").await?, "ada");

    let made = board.server.look_up(AWAY, "classboard-new")?;
    let (was, is) = (&board.settings, &made.settings);
    assert_eq!(is.subnet_group, "school-west");
    assert_eq!(is.security_groups, ["sg-west"]);
    assert_eq!(is.parameter_group, "school-west-pg15");
    assert_eq!((is.multi_az, is.deletion_protection), (was.multi_az, was.deletion_protection));
    assert_eq!((&is.class, is.iam_authentication), (&was.class, was.iam_authentication));
    assert_eq!((is.backup_retention, &is.log_exports), (was.backup_retention, &was.log_exports));
    assert_eq!(
        (is.max_allocated_storage, is.monitoring_interval),
        (was.max_allocated_storage, was.monitoring_interval)
    );
    assert_eq!(is.maintenance_window, was.maintenance_window);
    assert_eq!(is.performance_insights, was.performance_insights);
    assert_eq!((is.insights_mode.as_str(), was.insights_mode.as_str()), ("advanced", "advanced"));
    Ok(())
}

#[tokio::test]
async fn insights_that_are_refused_cost_no_restore_and_the_secret_keeps_its_key() -> Outcome<()> {
    let board = Classboard::start(Timing::default()).await?;
    let own = key(HOME, "22222222-2222-3333-4444-555555555555");
    let call = board.server.client(HOME).modify_db_instance().db_instance_identifier("classboard");
    let call = call.manage_master_user_password(true).master_user_secret_kms_key_id(&own);
    call.apply_immediately(true).send().await?;
    let kept = || board.server.look_up(HOME, "classboard").is_ok_and(|one| one.settings.secret_key.is_some());
    until("RDS keeps the password", kept).await?;
    board.system.rewrite("url = ", "# url = ")?;
    board.system.rewrite("password = ", "# password = ")?;
    let backup = back_up(&board).await?;
    board.server.fail(
        When::action("ModifyDBInstance").with("advanced"),
        Fault::Error(400, "InvalidParameterCombination", "Database Insights is not available for this class"),
    );
    let identity = identity(&board);
    let restore = ["restore", "instance", "--backup", &backup, "--to-instance", "fresh", "-i", &identity];
    let run = board.system.expect(22, &restore).await?;
    run.says("it has no Database Insights (`advanced`), which AWS refused")?;
    let is = board.server.look_up(HOME, "fresh")?.settings;
    assert_eq!(is.secret_key, Some(own));
    assert_eq!((is.insights_mode.as_str(), is.monitoring_interval), ("standard", 60));
    // Its key means nothing in another region.
    let away = ["restore", "instance", "--backup", &backup, "--to-instance", "away", "--from", AWAY];
    let run = board.system.expect(22, &[&away[..], &["-i", &identity]].concat()).await?;
    run.says("is encrypted with the account's key there")?;
    assert_eq!(board.server.look_up(AWAY, "away")?.settings.secret_key, None);
    assert_eq!(board.server.failures(), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn to_a_time_between_snapshots_the_data_is_that_of_then() -> Outcome<()> {
    let board = Classboard::start(Timing::default()).await?;
    back_up(&board).await?;
    board.admit("grace").await?;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let then = SystemClock.now();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    board.admit("mistake").await?;
    let key = identity(&board);
    let time = then.format("%FT%TZ").to_string();
    let restore = ["restore", "instance", "--point-in-time", &time, "--to-instance", "then", "-i", &key];
    let reachable =
        async || Ok::<_, Box<dyn std::error::Error + Send + Sync>>(board.system.drctl(&restore).await?);
    let mut run = reachable().await?;
    // RDS can restore to a moment only some time after it.
    for _ in 0..100 {
        if run.code != Some(10) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        run = reachable().await?;
    }
    assert_eq!(run.code, Some(0), "{run:#?}");
    assert_eq!(board.pupils(HOME, "then").await?, "ada grace");

    let early = [
        "restore",
        "instance",
        "--point-in-time",
        "2020-01-01T00:00:00Z",
        "--to-instance",
        "never",
        "-i",
        &key,
    ];
    let refused = board.system.expect(10, &early).await?;
    refused
        .says("nothing restores `instance` to 2020-01-01T00:00:00Z")?
        .says("no snapshot is from before it")?;
    assert!(board.server.look_up(HOME, "never").is_err());
    Ok(())
}

#[tokio::test]
async fn a_restore_that_was_killed_is_gone_on_with_and_makes_one_instance() -> Outcome<()> {
    let some = Duration::from_millis(1500);
    let slow =
        Timing { creating: some, backing_up: some, modifying: some, initializing: some, ..Timing::default() };
    let board = Classboard::start(slow).await?;
    let backup = back_up(&board).await?;
    let key = identity(&board);
    for (name, status) in [("new-a", "creating"), ("new-b", "modifying"), ("new-c", "available")] {
        let restore = ["restore", "instance", "--backup", &backup, "--to-instance", name, "-i", &key];
        let mut run = board.system.start(&restore)?;
        board.server.reached(HOME, name, status).await?;
        run.kill()?;
        let made = board.server.look_up(HOME, name)?.resource_id;
        let again = board.system.expect(0, &restore).await?;
        again.says("resuming")?;
        assert_eq!(board.server.look_up(HOME, name)?.resource_id, made, "{status}");
        assert_eq!(board.pupils(HOME, name).await?, "ada");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_not_what_it_should_be_is_no_success() -> Outcome<()> {
    let board = Classboard::start(Timing::default()).await?;
    let backup = back_up(&board).await?;
    let key = identity(&board);
    let restore = |to: &'static str| {
        vec![
            "restore".to_owned(),
            "instance".to_owned(),
            "--backup".to_owned(),
            backup.clone(),
            "--to-instance".to_owned(),
            to.to_owned(),
            "-i".to_owned(),
            key.clone(),
        ]
    };
    let run = async |code: i32, to: &'static str| {
        let arguments = restore(to);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        board.system.expect(code, &arguments).await
    };
    run(1, "classboard").await?.says("there is an instance `classboard` in us-east-1 already")?;
    run(1, "Bad_name").await?.says("is not an identifier for an instance")?;

    board.server.ends_as(HOME, "broken", "incompatible-network");
    run(1, "broken")
        .await?
        .says("is `incompatible-network`")?
        .says("it is in a terminal state and still billed")?;
    board.server.deafen(HOME, "deaf");
    run(1, "deaf").await?.says("the login failed")?;
    board.server.fail(
        When::action("RestoreDBInstanceFromDBSnapshot"),
        Fault::Error(400, "InstanceQuotaExceeded", "Instance quota exceeded"),
    );
    run(1, "many").await?.says("InstanceQuotaExceeded")?.says("no instance was made")?;
    board.server.heal();
    board.server.fail(When::action("RestoreDBInstanceFromDBSnapshot").times(1), Fault::LoseAnswer);
    board.server.hide_new_for(2);
    run(0, "lost").await?;
    board.server.heal();

    let arguments = ["restore", "instance", "--backup", &backup, "--to-instance", "keyless"];
    let keyless = board.system.expect(0, &arguments).await?;
    keyless.says("it is set up as the database is now")?;
    board.server.lose_region(HOME, Gone::Unavailable);
    let keyless = board
        .system
        .expect(1, &["restore", "instance", "--backup", &backup, "--to-instance", "keyless-b"])
        .await?;
    keyless.says("nothing says how the instance was set up")?.says("--identity")?;
    assert_eq!(board.server.failures(), Vec::<String>::new());
    let production = |call: &Call| call.touched.iter().any(|(name, _)| name.ends_with("classboard"));
    let changes = |call: &Call| !call.action.starts_with("Describe") && !call.action.starts_with("Create");
    let wrong: Vec<_> =
        board.server.calls().into_iter().filter(|call| production(call) && changes(call)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}

/// What is available and can be used may still lack what makes it worth anything.
#[tokio::test]
async fn what_must_be_true_of_the_data_is_asked_and_said() -> Outcome<()> {
    let board = Classboard::start(Timing::default()).await?;
    let backup = back_up(&board).await?;
    let key = identity(&board);
    let check = |name: &str, rest: &str| format!("\n[[drill.checks]]\nname = \"{name}\"\n{rest}\n");
    let holds = check("ada is there", "sql = \"SELECT name FROM pupils -- the first\"\nequals = \"ada\"");
    board.system.append(&format!("[drill]\nsource = \"instance\"\n{holds}"))?;
    let restore = |to: &'static str| {
        let words = ["restore", "instance", "--backup", &backup, "--to-instance", to, "-i", &key];
        words.map(str::to_owned)
    };
    let run = board.system.expect(0, &restore("sound").each_ref().map(String::as_str)).await?;
    run.says("validated: after")?.says("check `ada is there` passed: ada")?;

    board.system.append(&check("enough", "sql = \"SELECT count(*) FROM pupils\"\nat_least = 30"))?;
    let run = board.system.expect(20, &restore("short").each_ref().map(String::as_str)).await?;
    run.says("usable: after")?.says("check `enough` failed: it is 1, and should be at least 30")?;
    let promote = |to: &'static str| ["rds", "promote", "instance", to, "--writers-stopped"];
    let shown = board.system.expect(0, &promote("sound")).await?;
    shown.says("1 of 1 checks of its data passed")?;
    let refused = board.system.expect(1, &promote("short")).await?;
    refused
        .says("only 1 of the policy's 2 checks of the data in `short` passed")?
        .says("--ignore-failed-checks")?;
    let despite = [&promote("short")[..], &["--ignore-failed-checks"]].concat();
    board.system.expect(0, &despite).await?.says("1 of 2 checks of its data passed")?;

    board.system.rewrite("at_least = 30", "at_least = 1")?;
    // It was the check that was wrong.
    board
        .system
        .expect(0, &restore("short").each_ref().map(String::as_str))
        .await?
        .says("check `enough` passed")?;
    board.system.expect(0, &promote("short")).await?.says("2 of 2 checks of its data passed")?;
    board.system.append(&check("gone", "sql = \"SELECT count(*) FROM teachers\"\nat_least = 1"))?;
    let run = board.system.expect(22, &restore("unclear").each_ref().map(String::as_str)).await?;
    run.says("failed to run check `gone`")?.says("\"teachers\" does not exist")?;
    // A query that writes is refused by the database itself.
    board.system.rewrite("SELECT count(*) FROM teachers", "DELETE FROM pupils RETURNING 1")?;
    board.system.expect(22, &restore("unharmed").each_ref().map(String::as_str)).await?;
    assert_eq!(board.pupils(HOME, "unharmed").await?, "ada");
    Ok(())
}

/// What RDS calls available and nobody reaches: each reason is told once, while it is waited for.
#[tokio::test]
async fn an_instance_that_is_available_and_out_of_reach_is_not_called_usable() -> Outcome<()> {
    let mut board = Classboard::start(Timing::default()).await?;
    // So that what is tried for three seconds gets no answer twice.
    board.system.rewrite("poll = \"20ms\"", "poll = \"100ms\"")?;
    board.system.rewrite("classboard.invalid/school", "classboard.invalid/school?connect_timeout=2")?;
    let backup = back_up(&board).await?;
    let key = identity(&board);
    let restore = async |board: &Classboard, to: &str| {
        let restore = ["restore", "instance", "--backup", &backup, "--to-instance", to, "-i", &key];
        board.system.expect(1, &restore).await
    };
    // Nothing listens; nobody answers; the password is another.
    board.server.deafen(HOME, "classboard-deaf");
    board.server.mute(HOME, "classboard-mute");
    for (name, reason) in [("classboard-deaf", "onnection refused"), ("classboard-mute", "no answer")] {
        let run = restore(&board, name).await?;
        run.says("login failed, and is retried for")?.says(reason)?;
        run.says("the login failed in")?.says("security groups")?;
        run.says("the same command resumes it")?;
        let notices = run.stderr.matches("login failed, and is retried").count();
        assert_eq!(notices, 1, "{name}: {run:#?}");
        assert!(!run.stdout.contains("usable"), "{name}: {run:#?}");
    }
    board.system.set("RDS_PASSWORD", "not that one");
    let run = restore(&board, "classboard-other").await?;
    run.says("login failed, and is retried")?.says("password authentication failed")?;
    assert_eq!(board.server.look_up(HOME, "classboard-other")?.settings.class, board.settings.class);
    Ok(())
}

#[tokio::test]
async fn where_rds_keeps_the_masters_password_what_was_restored_can_be_used_and_promoted() -> Outcome<()> {
    let mut board = Classboard::start(Timing::default()).await?;
    let client = board.server.client(HOME);
    let call = client.modify_db_instance().db_instance_identifier("classboard");
    call.manage_master_user_password(true).apply_immediately(true).send().await?;
    let kept = || board.server.look_up(HOME, "classboard").is_ok_and(|one| one.settings.manages_password);
    until("RDS keeps the password", kept).await?;
    let found = client.describe_db_instances().db_instance_identifier("classboard").send().await?;
    let secret = found.db_instances().first().and_then(|one| one.master_user_secret()?.secret_arn());
    let secret = secret.ok_or("no secret")?.to_owned();
    let secrets = SecretsManager::of(board.server.kept_passwords()).await?;
    board.system.set("AWS_ENDPOINT_URL_SECRETS_MANAGER", &format!("http://{}", secrets.address));
    board.system.set("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE");
    board.system.set("AWS_SECRET_ACCESS_KEY", "secret");
    board.system.set("AWS_EC2_METADATA_DISABLED", "true");
    board.system.rewrite("env:RDS_PASSWORD", &format!("secretsmanager:{secret}#password"))?;
    board.system.expect(0, &["backup", "instance"]).await?;
    let backup = board.backups().pop().ok_or("no backup")?;

    // Whoever restores may not pass the role that writes the measurements, and needs the database all the same.
    let denied = "User: drctl is not authorized to perform: iam:PassRole on resource: rds-monitoring";
    let role = "arn:aws:iam::123456789012:role/rds-monitoring";
    board.server.fail(When::action("ModifyDBInstance").with(role), Fault::Error(403, "AccessDenied", denied));
    let key = board.system.operational.display().to_string();
    let restore = ["restore", "instance", "--backup", &backup, "--to-instance", "fresh", "-i", &key];
    let plan = board.system.expect(0, &[&restore[..], &["--plan"]].concat()).await?;
    plan.says("with the password that RDS creates for the new one")?;
    let run = board.system.expect(0, &restore).await?;
    run.says("logged in as the master with the password in arn:aws:secretsmanager")?;
    run.says("it has no Enhanced Monitoring, which AWS refused")?.says("--monitoring-interval 60")?;
    let fresh = board.server.look_up(HOME, "fresh")?.settings;
    assert!(fresh.manages_password && fresh.performance_insights && fresh.monitoring_interval == 0);

    let promote = ["rds", "promote", "instance", "fresh", "--writers-stopped", "--apply"];
    board.system.expect(0, &promote).await?.says("promoted")?.says("name it in the policy")?;
    Ok(())
}
