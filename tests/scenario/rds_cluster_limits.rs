//! What RDS takes of an instance and not of a cluster: long identifiers of snapshots, another key for a copy of
//! what is not encrypted, and snapshots of its instances.

use super::support::Outcome;
use super::support::classboard::{AWAY, HOME};
use super::support::rds::{Settings, Timing, key};
use super::support::school::School;
use super::support::system::System;

/// As long as a source's name may be.
const LONG: &str = "cluster-of-the-school-in-production-east";

#[tokio::test]
async fn a_source_of_a_long_name_has_snapshots_of_its_cluster_too() -> Outcome<()> {
    assert_eq!(LONG.len(), 40);
    let school = School::aurora(Timing::default()).await?;
    school.system.rewrite("[sources.cluster]", &format!("[sources.{LONG}]"))?;
    school.system.rewrite("[sources.cluster.", &format!("[sources.{LONG}."))?;
    school.system.expect(0, &["backup", LONG]).await?;
    let own = |region: &str| {
        let all = school.server.cluster_snapshots(region).into_iter().map(|snapshot| snapshot.id);
        all.filter(|id| id.starts_with("drctl-shop-")).collect::<Vec<_>>()
    };
    let [id] = &own(HOME)[..] else { return Err(format!("{:?}", own(HOME)).into()) };
    assert!(id.len() <= 63 && own(AWAY) == [id.clone()], "{id}, {:?}", own(AWAY));
    // It is known again: by status, by verify, by a restore, and by a run that comes after a killed one.
    school.system.expect(0, &["verify"]).await?.says("there")?;
    let status = school.system.expect(0, &["status"]).await?;
    status.says("region us-west-2")?;
    let key_file = school.identity();
    let restore = ["restore", LONG, "--backup", "latest", "--to-instance", "new", "--from", AWAY];
    school.system.expect(0, &[&restore[..], &["-i", &key_file]].concat()).await?.says("usable: after")?;

    let mut run = school.system.start(&["backup", LONG])?;
    super::support::system::until("another is begun", || own(HOME).len() == 2).await?;
    run.kill()?;
    System::expire_leases(&school.system.repository("primary"))?;
    school.system.expect(0, &["backup", LONG]).await?;
    assert_eq!((own(HOME).len(), own(AWAY).len()), (2, 2));
    assert_eq!(school.server.failures(), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn an_unencrypted_cluster_is_copied_as_it_is_and_encrypted_by_a_restore() -> Outcome<()> {
    let copy_to = format!(
        "[sources.cluster.copy_to.{AWAY}]\nkms_key = \"{}\"\nsubnet_group = \"school-west\"\n\
         security_groups = [\"sg-west\"]\n",
        key(AWAY, "1"),
    );
    let settings = Settings { kms_key: None, ..Settings::aurora(HOME) };
    let school = School::start(Timing::default(), settings, &["school-a"], &copy_to).await?;
    school.server.add_subnet_group(AWAY, "school-west");
    let doctor = school.system.drctl(&["doctor"]).await?;
    doctor.says("neither `school` nor its snapshots are encrypted")?.says("--set kms_key=")?;
    doctor.says("the copies in us-west-2 are not encrypted")?;
    assert!(!doctor.stdout.contains("`kms_key` under `copy_to` makes one"), "{doctor:#?}");

    let run = school.system.expect(0, &["backup", "cluster"]).await?;
    run.says("the copy in us-west-2 is not encrypted")?;
    let copy = school.server.cluster_snapshots(AWAY).pop().ok_or("no copy")?;
    assert_eq!(copy.settings.kms_key, None);

    let key_file = school.identity();
    let other = format!("kms_key={}", key(AWAY, "1"));
    let restore = ["restore", "cluster", "--backup", "latest", "--from", AWAY, "-i", &key_file];
    let to = |name: &'static str| ["--to-instance", name, "--set", &other].map(str::to_owned);
    let encrypted = to("encrypted");
    let encrypted: Vec<&str> = restore.into_iter().chain(encrypted.iter().map(String::as_str)).collect();
    school.system.expect(0, &encrypted).await?.says("usable: after")?;
    assert_eq!(school.server.look_up_cluster(AWAY, "encrypted")?.settings.kms_key, Some(key(AWAY, "1")));
    // RDS takes no key for a moment of a cluster that has none.
    let latest =
        ["restore", "cluster", "--latest", "--from", HOME, "--to-instance", "then", "-i", &key_file, "--set"];
    let refused = school.system.expect(1, &[&latest[..], &[&other]].concat()).await?;
    refused.says("`--set kms_key=…` does not go with it")?.says("`--backup`")?;
    assert_eq!(school.server.failures(), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn an_instance_of_a_cluster_is_no_source_and_the_cluster_is_named() -> Outcome<()> {
    let school = School::aurora(Timing::default()).await?;
    school.system.rewrite("cluster = \"school\"", "instance = \"school-a\"")?;
    let run = school.system.expect(1, &["backup", "cluster"]).await?;
    run.says("`school-a` is an instance of cluster `school`")?.says("`cluster = \"school\"`")?;
    let doctor = school.system.drctl(&["doctor"]).await?;
    assert_ne!(doctor.code, Some(0), "{doctor:#?}");
    doctor.says("`school-a` is an instance of cluster `school`")?.says("`cluster = \"school\"`")?;
    let calls = school.server.calls();
    assert!(!calls.iter().any(|call| call.action == "CreateDBSnapshot"), "{calls:#?}");
    Ok(())
}
