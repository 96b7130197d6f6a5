use super::sandbox::Sandbox;
use crate::shop::Shop;
use crate::support::Outcome;

#[test]
fn a_pair_of_keys_is_made_and_what_to_do_with_each_is_said() {
    let sandbox = Sandbox::new().unwrap();
    let arguments = ["keys", "generate", "--operational", "host/op.key", "--escrow", "safe/escrow.key"];
    insta::assert_snapshot!(sandbox.run(&arguments).unwrap());
    insta::assert_snapshot!("again", sandbox.run(&arguments).unwrap());
}

#[test]
fn an_identity_is_never_shown() {
    let sandbox = Sandbox::new().unwrap();
    let output = sandbox
        .output(&["-vv", "keys", "generate", "--operational", "host/op.key", "--escrow", "safe/escrow.key"])
        .unwrap();
    let written = std::fs::read_to_string(sandbox.path().join("host/op.key")).unwrap();
    let identity = written.lines().find(|line| line.starts_with("AGE-SECRET-KEY-1")).unwrap();
    let shown = [output.stdout, output.stderr].concat();
    assert!(!String::from_utf8(shown).unwrap().contains(&identity[16..]));
}

#[test]
fn both_in_one_place_is_refused_unless_asked_for() {
    let sandbox = Sandbox::new().unwrap();
    let arguments = ["keys", "generate", "--operational", "host/op.key", "--escrow", "host/escrow.key"];
    insta::assert_snapshot!(sandbox.run(&arguments).unwrap());
    assert!(std::fs::read_dir(sandbox.path().join("host")).unwrap().next().is_none(), "nothing was made");
    let asked = [arguments.as_slice(), &["--danger-same-place"]].concat();
    assert_eq!(sandbox.output(&asked).unwrap().status.code(), Some(0));
}

/// As Kubernetes and Docker give a container its secrets: in memory, mounted read-only, for everyone in it to read.
#[tokio::test]
async fn an_identity_that_a_container_platform_mounts_is_taken_and_one_that_lies_about_is_not() -> Outcome<()>
{
    let shop = Shop::new().await?;
    let mount = shop.system.path().join("mounted");
    std::fs::create_dir(&mount)?;
    let (key, drctl) = (shop.system.operational.display(), env!("CARGO_BIN_EXE_drctl"));
    let at = mount.display();
    let given = format!("mount -t tmpfs none {at} && cp {key} {at}/key && chmod 444 {at}/key");
    let script = format!(
        "set -e; {given}; {drctl} verify -i {at}/key || echo $?; mount -o remount,ro {at}; {drctl} verify -i {at}/key || echo $?"
    );
    let environment = shop.system.command(&[]);
    let mut command = tokio::process::Command::new("unshare");
    let known = environment.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let output = command.args(["--mount", "sh", "-c", &script]).env_clear().envs(known).output().await?;
    // There is no backup to verify, which is looked for once the identity was read.
    assert_eq!(String::from_utf8(output.stdout)?, "2\n10\n", "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
