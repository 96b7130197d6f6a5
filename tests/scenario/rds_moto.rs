//! The calls of RDS and AWS Backup against moto, which others wrote: its rules for what a request has to say
//! are not ours. There is no server behind its instances, so nobody can log in to one.

use std::time::Duration;

use aws_sdk_rds::types::{ApplyMethod, DbInstance, DbSnapshot, Parameter, Tag};
use drctl::aws::backup::AwsBackup;
use drctl::aws::rds::{Changes, Rds, SnapshotId};
use drctl::aws::{AwsFailure, FailureKind};
use drctl::policy::{AwsLocation, Credentials};

use super::support::Outcome;
use super::support::moto::{ACCOUNT, Moto};
use super::support::system::{Place, System, write_private};

pub(super) const HOME: &str = "us-east-1";
pub(super) const AWAY: &str = "us-west-2";
const OTHER_ACCOUNT: &str = "210987654321";

pub(super) struct Stage {
    pub(super) moto: Moto,
    pub(super) system: System,
}

impl Stage {
    /// An instance of which nothing is a default, source `instance` of a policy with a copy in `AWAY`.
    pub(super) async fn start() -> Outcome<Self> {
        let moto = Moto::start().await?;
        let home = moto.rds(HOME);
        for (region, group) in [(HOME, "private"), (AWAY, "school-west")] {
            let subnets = moto.subnets(region).await?;
            let call = moto.rds(region).create_db_subnet_group().db_subnet_group_name(group);
            call.db_subnet_group_description("of the school").set_subnet_ids(Some(subnets)).send().await?;
        }
        let group = home.create_db_parameter_group().db_parameter_group_name("school-pg15");
        group.db_parameter_group_family("postgres15").description("of the school").send().await?;
        let parameter = Parameter::builder().parameter_name("work_mem").parameter_value("8192");
        let parameter = parameter.apply_method(ApplyMethod::Immediate).build();
        let call = home.modify_db_parameter_group().db_parameter_group_name("school-pg15");
        call.parameters(parameter).send().await?;
        let (key, key_away) = (moto.new_key(HOME).await?, moto.new_key(AWAY).await?);
        home.create_db_instance()
            .db_instance_identifier("classboard")
            .db_instance_class("db.m6g.large")
            .engine("postgres")
            .engine_version("15.18")
            .db_name("school")
            .master_username("postgres")
            .master_user_password("the masters pass-word")
            .allocated_storage(400)
            .max_allocated_storage(1000)
            .storage_type("gp3")
            .storage_encrypted(true)
            .kms_key_id(key)
            .multi_az(true)
            .publicly_accessible(false)
            .db_subnet_group_name("private")
            .vpc_security_group_ids("sg-0app")
            .db_parameter_group_name("school-pg15")
            .enable_iam_database_authentication(true)
            .enable_cloudwatch_logs_exports("postgresql")
            .monitoring_interval(60)
            .monitoring_role_arn(format!("arn:aws:iam::{ACCOUNT}:role/rds-monitoring"))
            .deletion_protection(true)
            .copy_tags_to_snapshot(true)
            .backup_retention_period(7)
            .preferred_backup_window("01:10-01:40")
            .preferred_maintenance_window("tue:04:00-tue:04:30")
            .tags(Tag::builder().key("env").value("prod").build())
            .send()
            .await?;
        let source = format!(
            r#"[sources.instance]
kind = "rds"
region = "{HOME}"
instance = "classboard"
endpoint = "{}"
credentials = {{ access_key_id = "env:AWS_KEY", secret_access_key = "env:AWS_SECRET" }}
poll = "20ms"
deadline = "60s"
share_with = ["{OTHER_ACCOUNT}"]

[sources.instance.copy_to.{AWAY}]
kms_key = "{key_away}"
subnet_group = "school-west"
security_groups = ["sg-west"]
"#,
            moto.url()
        );
        let mut system = System::of(&source, &[Place::Directory])?;
        system.set("AWS_KEY", "AKIDEXAMPLE");
        system.set("AWS_SECRET", "secret");
        Ok(Self { moto, system })
    }

    pub(super) async fn back_up(&self) -> Outcome<String> {
        let run = self.system.expect(0, &["backup", "instance", "--output", "json"]).await?;
        let stored = &run.document()?["sources"][0];
        assert_eq!(stored["outcome"], "stored", "{run:#?}");
        Ok(stored["backup"].as_str().ok_or("no id")?.to_owned())
    }

    pub(super) async fn snapshots(&self, region: &str) -> Outcome<Vec<DbSnapshot>> {
        let answer = self.moto.rds(region).describe_db_snapshots().snapshot_type("manual").send().await?;
        Ok(answer.db_snapshots.unwrap_or_default())
    }

    async fn instance(&self, region: &str, name: &str) -> Outcome<DbInstance> {
        let call = self.moto.rds(region).describe_db_instances().db_instance_identifier(name);
        let instances = call.send().await?.db_instances.unwrap_or_default();
        Ok(instances.into_iter().next().ok_or("no such instance")?)
    }

    /// Of everything that was asked, it lacks only the call that quotas are warned of by.
    pub(super) fn only_lacks_quotas(&self) -> Outcome<()> {
        let broke_at = self.moto.broke_at()?;
        let [one] = &broke_at[..] else { return Err(format!("{broke_at:#?}").into()) };
        assert!(one.contains("describe_account_attributes"), "{one}");
        Ok(())
    }

    fn identity(&self) -> Outcome<&str> {
        Ok(self.system.operational.to_str().ok_or("the path of the identity")?)
    }
}

/// drctl's own way there.
fn place(moto: &Moto, folder: &std::path::Path, region: &str) -> Outcome<AwsLocation> {
    let word = |name: &str, text: &str| -> Outcome<_> {
        let path = folder.join(name);
        if !path.exists() {
            write_private(&path, text)?;
        }
        Ok(format!("file:{}", path.display()).parse()?)
    };
    Ok(AwsLocation {
        region: region.to_owned(),
        endpoint: Some(moto.url().parse()?),
        credentials: Credentials::Keys {
            access_key_id: word("key", "AKIDEXAMPLE")?,
            secret_access_key: word("secret", "secret")?,
            session_token: None,
        },
        poll: Duration::from_millis(20),
        deadline: Duration::from_secs(60),
        patience: Duration::from_secs(15),
    })
}

fn tag<'t>(tags: Option<&'t Vec<Tag>>, key: &str) -> Option<&'t str> {
    tags?.iter().find(|tag| tag.key() == Some(key))?.value()
}

#[tokio::test]
async fn a_snapshot_is_taken_copied_shared_and_listed() -> Outcome<()> {
    let stage = Stage::start().await?;
    let backup = stage.back_up().await?;
    for region in [HOME, AWAY] {
        let snapshots = stage.snapshots(region).await?;
        let [snapshot] = &snapshots[..] else { return Err(format!("{region}: {snapshots:?}").into()) };
        assert_eq!(tag(snapshot.tag_list.as_ref(), "drctl:managed"), Some("true"), "{region}");
        assert_eq!(tag(snapshot.tag_list.as_ref(), "drctl:backup"), Some(&*backup), "{region}");
        assert_eq!(snapshot.encrypted, Some(true), "{region}");
        assert!(snapshot.kms_key_id().is_some_and(|key| key.contains(region)), "{snapshot:?}");
    }
    let own = stage.snapshots(HOME).await?.remove(0).db_snapshot_identifier.ok_or("no identifier")?;
    let rds = Rds::connect(&place(&stage.moto, stage.system.path(), HOME)?).await?;
    assert_eq!(rds.shared_with(&SnapshotId::Instance(own)).await?, [OTHER_ACCOUNT]);
    stage.system.expect(0, &["list"]).await?.says(&backup)?;
    let shown = stage.system.expect(0, &["show", &backup]).await?;
    shown.says(HOME)?.says(AWAY)?.says("aws rds restore-db-instance-from-db-snapshot")?;
    let second = stage.back_up().await?;
    assert_eq!(stage.snapshots(AWAY).await?.len(), 2, "{backup} {second}");
    stage.only_lacks_quotas()?;
    Ok(())
}

#[tokio::test]
async fn an_instance_is_made_in_either_region_and_nobody_claims_that_it_can_be_used() -> Outcome<()> {
    let stage = Stage::start().await?;
    let backup = stage.back_up().await?;
    for (region, subnet_group, security_group) in
        [(HOME, "private", "sg-0app"), (AWAY, "school-west", "sg-west")]
    {
        let identity = stage.identity()?;
        let restore = ["restore", "instance", "--backup", &backup, "--to-instance", "new", "--from", region];
        let run = stage.system.expect(22, &[&restore[..], &["-i", identity]].concat()).await?;
        run.says("login not verified: the policy has no `url`")?;
        let new = stage.instance(region, "new").await?;
        assert_eq!(new.db_instance_class(), Some("db.m6g.large"), "{region}");
        assert_eq!(new.db_subnet_group().and_then(|group| group.db_subnet_group_name()), Some(subnet_group));
        let groups = new.vpc_security_groups();
        assert_eq!(groups.first().and_then(|group| group.vpc_security_group_id()), Some(security_group));
        let groups = new.db_parameter_groups();
        assert_eq!(groups.first().and_then(|group| group.db_parameter_group_name()), Some("school-pg15"));
        assert_eq!((new.multi_az, new.deletion_protection), (Some(true), Some(true)), "{region}");
        assert_eq!(new.iam_database_authentication_enabled, Some(true), "{region}");
        assert_eq!((new.backup_retention_period, new.max_allocated_storage), (Some(7), Some(1000)));
        assert_eq!(new.preferred_maintenance_window(), Some("tue:04:00-tue:04:30"), "{region}");
        assert_eq!(new.monitoring_interval, Some(60), "{region}");
        assert_eq!(tag(new.tag_list.as_ref(), "env"), Some("prod"), "{region}");
        assert!(tag(new.tag_list.as_ref(), "drctl:restored-from").is_some(), "{region}");
    }
    // The other region's group is made of what was recorded.
    let call = stage.moto.rds(AWAY).describe_db_parameters().db_parameter_group_name("school-pg15");
    let parameters = call.send().await?.parameters.unwrap_or_default();
    let work_mem = parameters.iter().find(|parameter| parameter.parameter_name() == Some("work_mem"));
    assert_eq!(work_mem.and_then(|parameter| parameter.parameter_value()), Some("8192"), "{parameters:?}");

    let identity = stage.identity()?;
    let latest = ["restore", "instance", "--latest", "--to-instance", "newest", "-i", identity];
    stage.system.expect(22, &latest).await?.says(&backup)?;
    // moto has no window of what RDS can restore.
    let then = ["restore", "instance", "--point-in-time", "2100-01-01T00:00:00Z", "--to-instance", "then"];
    let refused = stage.system.expect(10, &then).await?;
    refused
        .says("there are no automated backups")?
        .says(&format!("the nearest snapshot before it is {backup}"))?;
    stage.only_lacks_quotas()?;
    Ok(())
}

#[tokio::test]
async fn an_instance_of_defaults_is_restored_to_defaults() -> Outcome<()> {
    let stage = Stage::start().await?;
    let small = stage.moto.rds(HOME).create_db_instance().db_instance_identifier("small");
    let small = small.db_instance_class("db.t4g.micro").engine("postgres").engine_version("15.18");
    let small = small.db_parameter_group_name("default.postgres15").allocated_storage(20);
    small.master_username("postgres").master_user_password("pass-word").send().await?;
    stage.system.rewrite("instance = \"classboard\"", "instance = \"small\"")?;
    let backup = stage.back_up().await?;
    for region in [HOME, AWAY] {
        let identity = stage.identity()?;
        let restore = ["restore", "instance", "--backup", &backup, "--to-instance", "new", "--from", region];
        stage.system.expect(22, &[&restore[..], &["-i", identity]].concat()).await?;
        let new = stage.instance(region, "new").await?;
        let groups = new.db_parameter_groups();
        assert_eq!(
            groups.first().and_then(|group| group.db_parameter_group_name()),
            Some("default.postgres15")
        );
    }
    stage.only_lacks_quotas()?;
    Ok(())
}

#[tokio::test]
async fn a_restored_instance_takes_productions_place_and_nobody_claims_that_it_serves() -> Outcome<()> {
    let stage = Stage::start().await?;
    let backup = stage.back_up().await?;
    let restore =
        ["restore", "instance", "--backup", &backup, "--to-instance", "fresh", "-i", stage.identity()?];
    stage.system.expect(22, &restore).await?;
    let promote = ["rds", "promote", "instance", "fresh", "--writers-stopped"];
    let shown = stage.system.expect(0, &promote).await?;
    shown.says("login not verified: the policy has no `url`")?.says("nothing was changed")?;
    let applied = stage.system.expect(22, &[&promote[..], &["--apply"]].concat()).await?;
    applied.says("promoted")?.says("login not verified")?;
    let now = stage.instance(HOME, "classboard").await?;
    let from = tag(now.tag_list.as_ref(), "drctl:restored-from");
    assert!(from.is_some_and(|from| from.contains(":snapshot:drctl-")), "{now:?}");
    assert_eq!(now.deletion_protection, Some(true));
    let old = stage.instance(HOME, "classboard-old").await?;
    assert_eq!(tag(old.tag_list.as_ref(), "drctl:restored-from"), None);
    stage.only_lacks_quotas()
}

#[tokio::test]
async fn what_it_does_not_have_is_a_failure_that_names_the_call() -> Outcome<()> {
    let stage = Stage::start().await?;
    stage.system.rewrite("instance = \"classboard\"", "instance = \"clasboard\"")?;
    let run = stage.system.expect(1, &["backup", "instance"]).await?;
    run.says("there is no instance `clasboard` in us-east-1")?;
    let rds = Rds::connect(&place(&stage.moto, stage.system.path(), AWAY)?).await?;
    let arn = format!("arn:aws:rds:{HOME}:{ACCOUNT}:db:classboard");
    let failed = rds.replicate_automated_backups(&arn, 7, None).await;
    let Err(failure) = failed else { return Err("moto replicates automated backups now".into()) };
    let words = failure.to_string();
    assert!(words.contains("StartDBInstanceAutomatedBackupsReplication in us-west-2 failed"), "{words}");
    let none = rds.snapshot(&SnapshotId::Instance("none".to_owned())).await?;
    assert_eq!(none, None);
    assert!(!rds.has_parameter_group("none").await? && !rds.has_subnet_group("none").await?);
    let renamed = Changes { identifier: Some("board".to_owned()), ..Changes::default() };
    let home = Rds::connect(&place(&stage.moto, stage.system.path(), HOME)?).await?;
    home.change_instance("classboard", &renamed).await?;
    home.reboot_instance("board").await?;
    assert_eq!(home.instances().await?.len(), 1);
    let failed = home.reboot_instance("classboard").await;
    assert!(matches!(failed, Err(AwsFailure { kind: FailureKind::NotFound, .. })), "{failed:?}");
    Ok(())
}

#[tokio::test]
async fn vaults_plans_and_tags_of_aws_backup_are_read_and_jobs_are_refused_in_words() -> Outcome<()> {
    use aws_sdk_backup::types::{BackupPlanInput, BackupRuleInput};
    let moto = Moto::start().await?;
    for (region, vault) in [(HOME, "daily"), (AWAY, "away")] {
        let made = moto.backup(region).create_backup_vault().backup_vault_name(vault);
        made.backup_vault_tags("env", "prod").send().await?;
    }
    let lock = moto.backup(AWAY).put_backup_vault_lock_configuration().backup_vault_name("away");
    lock.min_retention_days(7).max_retention_days(90).send().await?;
    let rule = BackupRuleInput::builder().rule_name("daily").target_backup_vault_name("daily").build()?;
    let plan = BackupPlanInput::builder().backup_plan_name("school").rules(rule).build()?;
    moto.backup(HOME).create_backup_plan().backup_plan(plan).send().await?;

    let resource = "arn:aws:s3:::school-files";
    let source = format!(
        "[sources.files]\nkind = \"aws-backup\"\nresource = \"{resource}\"\nregion = \"{HOME}\"\nvault = \"daily\"\n\
         role = \"arn:aws:iam::{ACCOUNT}:role/backup\"\nendpoint = \"{}\"\npoll = \"20ms\"\n\
         credentials = {{ access_key_id = \"env:AWS_KEY\", secret_access_key = \"env:AWS_SECRET\" }}\n\
         copy_to = {{ {AWAY} = {{ vault = \"away\" }} }}",
        moto.url()
    );
    let mut system = System::of(&source, &[Place::Directory])?;
    system.set("AWS_KEY", "AKIDEXAMPLE");
    system.set("AWS_SECRET", "secret");
    let home = AwsBackup::connect(&place(&moto, system.path(), HOME)?).await?;
    let away = AwsBackup::connect(&place(&moto, system.path(), AWAY)?).await?;

    let daily = home.vault("daily").await?.ok_or("no vault `daily`")?;
    assert_eq!(daily.lock, None);
    let vault = away.vault("away").await?.ok_or("no vault `away`")?;
    let lock = vault.lock.ok_or("no lock")?;
    assert_eq!((lock.least_days, lock.most_days, lock.fixed_from), (Some(7), Some(90), None));
    assert_eq!(home.vault("away").await?, None);
    let tags = [("drill".to_owned(), "yes".to_owned())].into_iter().collect();
    home.tag(&daily.arn, &tags).await?;
    home.tags(&daily.arn).await?;
    let tags = moto.backup_tags(HOME, &daily.arn).await?;
    assert_eq!((tags["env"].as_str(), tags["drill"].as_str()), (Some("prod"), Some("yes")), "{tags}");
    assert_eq!(home.plan("none").await?, None);

    // Jobs, recovery points and what a plan takes are not there.
    let failed = home.plan("school").await;
    let Err(failure) = failed else { return Err("moto knows what a plan takes now".into()) };
    assert!(failure.to_string().contains("ListBackupSelections in us-east-1 failed"), "{failure}");
    let run = system.expect(1, &["backup", "files"]).await?;
    run.says("ListBackupJobs in us-east-1 failed: HTTP status 404")?.says("does not have this call")?;
    let lacks = "NotImplementedError: The list_backup_selections action has not been implemented";
    assert_eq!(moto.broke_at()?, [lacks]);
    Ok(())
}
