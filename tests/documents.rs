//! What the repository shows its users is true: every policy in it loads.

use std::error::Error;
use std::path::{Path, PathBuf};

use drctl::policy::{self, Policy};

const POLICIES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/policies");

fn policies() -> Result<Vec<(PathBuf, Policy)>, Box<dyn Error>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(POLICIES)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let policy = policy::load(&path)?;
            all.push((path, policy));
        }
    }
    all.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(all)
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

#[test]
fn every_policy_loads_and_there_is_one_for_each_reference_system() {
    let names: Vec<String> = policies().unwrap().iter().map(|(path, _)| stem(path)).collect();
    assert_eq!(
        names,
        [
            "ai-study-companion",
            "classboard",
            "course-companion-fte",
            "insightshop",
            "personal-assistant-tdah",
            "template",
        ]
    );
}

#[test]
fn a_policy_is_called_after_its_system_and_has_keys_of_its_own() {
    let mut keys: Vec<String> = Vec::new();
    for (path, policy) in policies().unwrap() {
        let name = if stem(&path) == "template" { "my-application".to_owned() } else { stem(&path) };
        assert_eq!(policy.system.as_str(), name);
        let policy::Encryption::Age { recipients } = policy.encryption else { panic!("{name}") };
        for recipient in recipients {
            assert!(!keys.contains(&recipient.key), "{name}: a key of another policy");
            keys.push(recipient.key);
        }
    }
}

#[test]
fn no_policy_here_is_one_to_be_warned_of() {
    for (path, policy) in policies().unwrap() {
        let keys: Vec<String> = policy::lint(&policy).into_iter().map(|lint| lint.key).collect();
        // R2 has no object lock, and the policy says so.
        let known: &[&str] = if stem(&path) == "course-companion-fte" { &["repository"] } else { &[] };
        assert_eq!(keys, known, "{}", path.display());
    }
}

#[test]
fn what_the_template_has_in_comments_is_valid_too() {
    let path = Path::new(POLICIES).join("template.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let is_setting = |rest: &str| rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '[');
    let mut settings = 0;
    let uncommented: Vec<&str> = text
        .lines()
        .map(|line| match line.strip_prefix('#').filter(|rest| is_setting(rest)) {
            Some(setting) => {
                settings += 1;
                setting
            }
            None => line,
        })
        .collect();
    assert!(settings > 60, "{settings} settings in comments");
    // Channels that nobody is told by are refused: the examples are told of P4.
    let text = uncommented.join("\n").replace("p4 = [\"mail\"]", "p4 = [\"topic\", \"hook\"]");
    let policy = policy::parse(&path, &text).unwrap();
    let kinds: Vec<&str> = policy.sources.iter().map(|source| source.config.kind()).collect();
    assert_eq!(
        kinds,
        ["postgres", "rds", "aws-backup", "files", "sqlite", "redis", "git", "bucket", "command"],
        "the template shows every kind"
    );
}

#[test]
fn every_policy_agrees_with_the_schema() {
    // The reader and the schema are made from one list; this proves it for what the policies use.
    let schema = serde_json::to_value(policy::schema()).unwrap();
    for (path, _) in policies().unwrap() {
        let text = std::fs::read_to_string(&path).unwrap();
        let value: serde_json::Value = toml::from_str(&text).unwrap();
        let mut wrong = Vec::new();
        check(&schema, &schema, &value, "", &mut wrong);
        assert!(wrong.is_empty(), "{}: {wrong:?}", path.display());
    }
}

/// As much of JSON Schema as policies need: types, constants, known and required keys, choices.
fn check(
    root: &serde_json::Value,
    schema: &serde_json::Value,
    value: &serde_json::Value,
    at: &str,
    wrong: &mut Vec<String>,
) {
    use serde_json::Value;
    if let Some(target) = schema["$ref"].as_str() {
        check(root, &root[&"$defs"][target.trim_start_matches("#/$defs/")], value, at, wrong);
    }
    let kind = match value {
        Value::String(_) => "string",
        Value::Number(_) => "integer",
        Value::Bool(_) => "boolean",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
        Value::Null => "null",
    };
    if schema["type"].as_str().is_some_and(|wanted| wanted != kind) {
        wrong.push(format!("{at}: {kind} for {}", schema["type"]));
    }
    if schema.get("const").is_some_and(|constant| constant != value) {
        wrong.push(format!("{at}: {value} for {}", schema["const"]));
    }
    if let Some(choices) = schema["anyOf"].as_array().or(schema["oneOf"].as_array()) {
        let fits = |choice: &&Value| {
            let mut wrong = Vec::new();
            check(root, choice, value, at, &mut wrong);
            wrong.is_empty()
        };
        if choices.iter().filter(fits).count() == 0 {
            wrong.push(format!("{at}: none of the choices"));
        }
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        check(root, &schema["items"], item, &format!("{at}[{index}]"), wrong);
    }
    let Some(table) = value.as_object().filter(|_| schema["type"] == "object") else { return };
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !table.contains_key(name) {
            wrong.push(format!("{at}: no {name}"));
        }
    }
    for (name, value) in table {
        let at = format!("{at}.{name}");
        match schema["properties"].get(name) {
            Some(property) => check(root, property, value, &at, wrong),
            None if schema["additionalProperties"] == false => wrong.push(format!("{at}: unknown")),
            None => check(root, &schema["additionalProperties"], value, &at, wrong),
        }
    }
}
