use std::path::Path;

use super::sandbox::Sandbox;

fn with(policy: &str) -> std::io::Result<Sandbox> {
    let sandbox = Sandbox::new()?;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("policies/{policy}.toml"));
    std::fs::copy(file, sandbox.path().join("drctl.toml"))?;
    Ok(sandbox)
}

/// What it prints is what IAM takes: parsed, and of the length that is promised.
fn whole(sandbox: &Sandbox, arguments: &[&str]) -> std::io::Result<String> {
    let arguments = [&["iam", "show"], arguments].concat();
    let output = sandbox.output(&arguments)?;
    let document: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(document["Version"], "2012-10-17");
    let statements = document["Statement"].as_array();
    let has_sid = |statement: &serde_json::Value| statement["Sid"].is_string();
    assert!(statements.is_some_and(|statements| statements.iter().all(has_sid)));
    sandbox.run(&arguments)
}

#[test]
fn every_role_of_a_policy_with_rds_and_vaults() {
    let sandbox = with("classboard").unwrap();
    for role in ["writer", "restorer", "retention", "auditor", "break-glass"] {
        insta::assert_snapshot!(format!("classboard-{role}"), whole(&sandbox, &[role]).unwrap());
    }
}

#[test]
fn the_writer_of_each_other_reference_policy() {
    for policy in ["ai-study-companion", "insightshop", "personal-assistant-tdah"] {
        insta::assert_snapshot!(
            format!("{policy}-writer"),
            whole(&with(policy).unwrap(), &["writer", "--account", "210987654321"]).unwrap()
        );
    }
}

#[test]
fn a_policy_with_nothing_in_aws_needs_no_role_there() {
    let sandbox = with("course-companion-fte").unwrap();
    insta::assert_snapshot!(sandbox.run(&["iam", "show", "writer"]).unwrap());
}

#[test]
fn an_account_that_the_policy_does_not_say_is_asked_for() {
    insta::assert_snapshot!(with("insightshop").unwrap().run(&["iam", "show", "retention"]).unwrap());
}

#[test]
fn parts_fit_a_managed_policy_and_are_all_of_it_together() {
    let sandbox = with("classboard").unwrap();
    let document = |arguments: &[&str]| -> serde_json::Value {
        let arguments = [&["iam", "show", "restorer"], arguments].concat();
        serde_json::from_slice(&sandbox.output(&arguments).unwrap().stdout).unwrap()
    };
    let statements = |document: &serde_json::Value| document["Statement"].as_array().unwrap().clone();
    let mut together = Vec::new();
    for part in ["1", "2"] {
        let part = document(&["--part", part]);
        let text = serde_json::to_string(&part).unwrap();
        assert!(text.chars().filter(|c| !c.is_whitespace()).count() <= 6_144);
        together.extend(statements(&part));
    }
    assert_eq!(together, statements(&document(&[])));
    let beyond = sandbox.output(&["iam", "show", "restorer", "--part", "9"]).unwrap();
    assert_eq!(beyond.status.code(), Some(2));
}
