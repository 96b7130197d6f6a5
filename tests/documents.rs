//! What the repository shows its users is true: every policy in it loads, and every command in its documents
//! is one that drctl has.

use std::error::Error;
use std::path::{Path, PathBuf};

use clap::{CommandFactory as _, Parser as _};
use drctl::cli::Cli;
use drctl::monitor::FAMILIES;
use drctl::policy::{self, Policy};
use drctl::schedule::{ExportFormat, ExportRequest, export};

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
    let text = uncommented
        .join("\n")
        .replace("p4 = [\"mail\"]", "p4 = [\"topic\", \"hook\", \"ticket\", \"alerts\", \"log\"]");
    // Settings of a method that is not asked for are refused, too.
    let text = text.replace("methods = [\"logical\"]", "methods = [\"logical\", \"base\", \"wal\"]");
    let policy = policy::parse(&path, &text).unwrap();
    let kinds: Vec<&str> = policy.sources.iter().map(|source| source.config.kind()).collect();
    assert_eq!(
        kinds,
        ["postgres", "rds", "aws-backup", "sqlite", "chroma", "redis", "files", "git", "bucket", "command"],
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

/// The documents for users: README, changelog, runbooks.
fn documents() -> std::io::Result<Vec<(PathBuf, String)>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = vec![root.join("README.md"), root.join("CHANGELOG.md")];
    for entry in std::fs::read_dir(root.join("runbooks"))? {
        paths.push(entry?.path());
    }
    paths.sort();
    paths.into_iter().map(|path| std::fs::read_to_string(&path).map(|text| (path, text))).collect()
}

/// The words of a command line whose quotes are plain.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// The commands of a document's shell examples, without comments.
fn examples(text: &str) -> Vec<&str> {
    let mut inside = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if let Some(language) = line.strip_prefix("```") {
            inside = language == "sh";
        } else if inside {
            lines.push(line.split(" #").next().unwrap_or_default().trim());
        }
    }
    lines
}

#[test]
fn every_example_in_the_documents_is_a_command_line_drctl_takes() {
    let mut checked = 0;
    for (path, text) in documents().unwrap() {
        for line in examples(&text).into_iter().filter(|line| line.starts_with("drctl ")) {
            if let Err(error) = Cli::try_parse_from(words(line)) {
                panic!("{}: `{line}`: {error}", path.display());
            }
            checked += 1;
        }
    }
    assert!(checked > 15, "{checked} examples");
}

#[test]
fn every_verb_the_documents_mention_exists_and_every_verb_is_in_the_readme() {
    let root = Cli::command();
    for (path, text) in documents().unwrap() {
        // What stands between backticks, outside of the examples.
        for span in text.split('`').skip(1).step_by(2).filter_map(|span| span.strip_prefix("drctl ")) {
            let mut command = &root;
            for word in
                span.split_whitespace().take_while(|word| word.chars().all(|c| c.is_ascii_lowercase()))
            {
                let known = command.find_subcommand(word);
                assert!(known.is_some() || !command.has_subcommands(), "{}: `drctl {span}`", path.display());
                command = known.unwrap_or(command);
            }
        }
    }
    let (_, readme) = documents().unwrap().into_iter().find(|(path, _)| path.ends_with("README.md")).unwrap();
    for verb in root.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        assert!(
            readme.contains(&format!("| `drctl {}", verb.get_name())),
            "{} is not in the README",
            verb.get_name()
        );
    }
}

#[test]
fn the_readme_has_every_exit_status() {
    let (_, readme) = documents().unwrap().into_iter().find(|(path, _)| path.ends_with("README.md")).unwrap();
    let statuses = drctl::cli::exit::HELP.lines().filter_map(|line| line.trim().split_once("  "));
    let mut rows = 0;
    for (number, meaning) in statuses.filter(|(number, _)| number.parse::<u8>().is_ok()) {
        let row = format!("| {number} | {} |", meaning.trim());
        assert!(readme.contains(&row), "{row}");
        rows += 1;
    }
    assert!(rows > 9, "{rows}");
}

#[test]
fn the_policy_in_the_readme_is_valid() {
    let (path, readme) =
        documents().unwrap().into_iter().find(|(path, _)| path.ends_with("README.md")).unwrap();
    let (_, rest) = readme.split_once("```toml\n").unwrap();
    let (text, _) = rest.split_once("```").unwrap();
    policy::parse(&path, text).unwrap();
}

#[test]
fn links_between_documents_lead_somewhere() {
    for (path, text) in documents().unwrap() {
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if !target.starts_with("http") {
                let file = path.parent().unwrap().join(target);
                assert!(file.exists(), "{}: {target}", path.display());
            }
        }
    }
}

#[test]
fn the_readme_has_every_metric() {
    let (_, readme) = documents().unwrap().into_iter().find(|(path, _)| path.ends_with("README.md")).unwrap();
    let row = |family: &drctl::monitor::Family| {
        format!("| `{}` | {} | {} |", family.name, family.labels.join(", "), family.help)
    };
    let missing: Vec<String> = FAMILIES.iter().map(row).filter(|row| !readme.contains(row)).collect();
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    let rows = readme.lines().filter(|line| line.starts_with("| `drctl_")).count();
    assert_eq!(rows, FAMILIES.len(), "no other is named");
}

/// The names of metrics in an expression or a rule.
fn metrics(text: &str) -> Vec<&str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !is_word(c)).filter(|word| word.starts_with("drctl_")).collect()
}

fn deployed(file: &str) -> std::io::Result<String> {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file))
}

#[test]
fn rules_and_the_dashboard_name_metrics_that_exist_and_each_rule_has_a_test() {
    let is_known = |name: &&str| FAMILIES.iter().any(|family| family.name == *name);
    let rules = deployed("prometheus/drctl-alerts.yml").unwrap();
    let tests = deployed("prometheus/drctl-alerts-test.yml").unwrap();
    let (mut alerts, mut seen) = (0, 0);
    for line in rules.lines().map(str::trim) {
        if let Some(alert) = line.strip_prefix("- alert: ") {
            assert!(tests.contains(&format!("alertname: {alert}\n")), "{alert} has no test");
            alerts += 1;
        } else if let Some(expression) = line.strip_prefix("expr: ") {
            let unknown: Vec<_> = metrics(expression).into_iter().filter(|name| !is_known(name)).collect();
            assert!(unknown.is_empty() && !metrics(expression).is_empty(), "{expression}: {unknown:?}");
            seen += 1;
        }
    }
    assert!(alerts == seen && alerts > 15, "{alerts} alerts, {seen} expressions");
    let dashboard: serde_json::Value =
        serde_json::from_str(&deployed("grafana/drctl.json").unwrap()).unwrap();
    let mut expressions = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            expressions.push(target["expr"].as_str().unwrap());
        }
    }
    expressions.push(dashboard["templating"]["list"][1]["query"].as_str().unwrap());
    assert!(expressions.len() > 20, "{expressions:?}");
    for expression in expressions {
        let unknown: Vec<_> = metrics(expression).into_iter().filter(|name| !is_known(name)).collect();
        assert!(unknown.is_empty() && !metrics(expression).is_empty(), "{expression}: {unknown:?}");
    }
}

/// `DRCTL_UPDATE=1` writes them.
#[test]
fn what_wakes_drctl_in_deploy_is_what_it_exports() {
    let request = |format| ExportRequest {
        format,
        system: "my-application".parse().unwrap(),
        program: "/usr/local/bin/drctl".into(),
        policy: "/etc/drctl/policies/my-application.toml".into(),
        user: Some("drctl".to_owned()),
        writes: vec![],
        image: Some("drctl".to_owned()),
        namespace: None,
    };
    let mut files = 0;
    for (folder, format) in [("systemd", ExportFormat::Systemd), ("kubernetes", ExportFormat::Kubernetes)] {
        for file in export(&request(format)).unwrap() {
            let name = format!("{folder}/{}", file.name);
            if std::env::var_os("DRCTL_UPDATE").is_some() {
                let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(&name);
                std::fs::write(path, &file.contents).unwrap();
            }
            assert_eq!(deployed(&name).unwrap(), file.contents, "{name}");
            files += 1;
        }
    }
    assert_eq!(files, 5);
}
