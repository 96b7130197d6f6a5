use std::path::Path;

use super::sandbox::Sandbox;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn a_valid_policy_is_said_to_be() {
    let sandbox = Sandbox::new().unwrap();
    std::fs::copy(Path::new(ROOT).join("policies/template.toml"), sandbox.path().join("drctl.toml")).unwrap();
    insta::assert_snapshot!(sandbox.run(&["policy", "check"]).unwrap());
}

#[test]
fn warnings_are_shown_and_are_no_failure() {
    let sandbox = Sandbox::new().unwrap();
    let policy = Path::new(ROOT).join("policies/course-companion-fte.toml");
    std::fs::copy(policy, sandbox.path().join("r2.toml")).unwrap();
    insta::assert_snapshot!(sandbox.run(&["policy", "check", "r2.toml"]).unwrap());
}

#[test]
fn every_fault_of_every_file_is_shown_and_the_status_is_2() {
    let sandbox = Sandbox::new().unwrap();
    std::fs::write(sandbox.path().join("a.toml"), "[system]\nname = \"a b\"\n").unwrap();
    std::fs::write(sandbox.path().join("b.toml"), "[system\n").unwrap();
    insta::assert_snapshot!(sandbox.run(&["policy", "check", "a.toml", "b.toml", "c.toml"]).unwrap());
}

#[test]
fn faults_are_a_document_for_programs() {
    let sandbox = Sandbox::new().unwrap();
    std::fs::write(sandbox.path().join("a.toml"), "[system]\nnmae = \"a\"\n").unwrap();
    let output = sandbox.output(&["--output", "json", "policy", "check", "a.toml"]).unwrap();
    assert_eq!(output.status.code(), Some(2));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["kind"], "policy-check");
    let faults = document["policies"][0]["faults"].as_array().unwrap();
    let misspelt = faults.iter().find(|fault| fault["key"] == "system.nmae").unwrap();
    assert_eq!(misspelt["at"], serde_json::json!({ "line": 2, "column": 1 }));
    assert_eq!(misspelt["hint"], "did you mean `name`?");
}

#[test]
fn what_a_policy_comes_to_is_shown_with_its_defaults() {
    let sandbox = Sandbox::new().unwrap();
    let policy = Path::new(ROOT).join("policies/personal-assistant-tdah.toml");
    std::fs::copy(policy, sandbox.path().join("drctl.toml")).unwrap();
    insta::assert_snapshot!(sandbox.run(&["policy", "show"]).unwrap());
    let output = sandbox.output(&["--output", "json", "policy", "show"]).unwrap();
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["objectives"]["rpo_seconds"], 3600);
    assert_eq!(document["repositories"][1]["region"], "us-west-2");
}

/// Valid, and followed to the letter it loses more than it promises: nobody may take it for fine.
#[test]
fn a_schedule_that_cannot_meet_the_objective_is_not_called_valid() {
    let sandbox = Sandbox::new().unwrap();
    let policy = Path::new(ROOT).join("policies/personal-assistant-tdah.toml");
    let text = std::fs::read_to_string(policy).unwrap();
    // A dump every six hours, and an hour that may be lost.
    let (before, rest) = text.split_once("# The replica carries").unwrap();
    let (_, after) = rest.split_once("[sources.sessions]").unwrap();
    let dumps_only = format!("{before}[sources.sessions]{after}")
        .replace(r#"methods = ["logical", "base", "wal"]"#, r#"methods = ["logical"]"#)
        .replace(r#"{ logical = "15 * * * *", base = "30 3 * * *" }"#, r#""15 */6 * * *""#)
        // Without WAL it is a fault of its own.
        .replace("pitr = \"7d\"\n", "");
    std::fs::write(sandbox.path().join("drctl.toml"), dumps_only).unwrap();
    insta::assert_snapshot!(sandbox.run(&["policy", "check"]).unwrap());
}

#[test]
fn a_verb_that_needs_a_policy_shows_its_faults() {
    let sandbox = Sandbox::new().unwrap();
    std::fs::write(sandbox.path().join("drctl.toml"), "[system]\nname = \"shop\"\n").unwrap();
    insta::assert_snapshot!(sandbox.run(&["policy", "show"]).unwrap());
}

#[test]
fn the_schema_that_is_printed_is_the_one_beside_the_policies() {
    let sandbox = Sandbox::new().unwrap();
    let output = sandbox.output(&["policy", "schema"]).unwrap();
    let committed = std::fs::read(Path::new(ROOT).join("policies/drctl-policy.schema.json")).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout == committed, "run `drctl policy schema > policies/drctl-policy.schema.json`");
}
