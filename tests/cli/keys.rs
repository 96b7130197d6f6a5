use super::sandbox::Sandbox;

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
