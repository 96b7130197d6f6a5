//! What is wrong with a runbook as a whole: names, conditions, variables, links, commands. Pure: files and the command
//! line are what the caller gives.

use std::collections::{BTreeMap, BTreeSet};

use super::anchor::anchors_of;
use super::model::{Changes, Runbook, RunbookFault, Step, StepAction, variable};
use super::shell::{DrctlCommand, UsedVariable, drctl_commands, template_variables, used_variables};
use crate::text::suggest;

/// What every step has, beside its parameters and decisions.
pub const BUILT_IN: [&str; 4] = ["DRCTL_POLICY", "SYSTEM", "INCIDENT", "ELAPSED"];
/// What a login shell has.
const OF_HOST: [&str; 8] = ["HOME", "PATH", "USER", "TMPDIR", "PWD", "HOSTNAME", "DRCTL_IDENTITY", "LOGNAME"];
/// What PostgreSQL's and AWS's programs read.
const OF_PROGRAMS: [&str; 2] = ["PG", "AWS_"];
/// In place of what only a run would know.
const PLACEHOLDERS: [&str; 4] = ["x", "1", "2026-01-01T00:00:00Z", "20260101T000000Z-database-logical-2222"];

/// What the caller knows and a runbook refers to.
pub trait References {
    /// Returns why the program's command line refuses these words, which follow `drctl`.
    fn refuse_command(&self, words: &[String]) -> Option<String>;

    /// Returns what is at a path, relative to the runbook's folder.
    fn file(&self, path: &str) -> LinkedFile;
}

/// What a link leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkedFile {
    Missing,
    /// It is there, or cannot be looked up here.
    Present,
    Markdown(String),
}

/// Returns every fault of a runbook that was read, in the order of its lines.
pub fn check(runbook: &Runbook, references: &dyn References) -> Vec<RunbookFault> {
    let mut faults = Vec::new();
    names(runbook, &mut faults);
    let mut known: BTreeSet<String> = runbook.header.parameters.keys().map(|name| variable(name)).collect();
    for step in &runbook.steps {
        condition(runbook, step, &mut faults);
        match &step.action {
            StepAction::Run { script, .. } => {
                variables(step, used_variables(script), &known, true, &mut faults);
                commands(runbook, step, script, references, &mut faults);
            }
            StepAction::Tell { template, .. } => {
                variables(step, template_variables(template), &known, false, &mut faults);
            }
            StepAction::Manual { text } => {
                variables(step, template_variables(text), &known, true, &mut faults);
            }
            StepAction::Decide { .. } => {
                known.insert(variable(&step.name));
            }
        }
    }
    unused_parameters(runbook, &mut faults);
    for link in &runbook.links {
        if let Some((message, hint)) = broken_link(runbook, &link.target, references) {
            faults.push(RunbookFault { line: link.line, message, hint });
        }
    }
    faults.sort();
    faults
}

fn fault(step: &Step, line: usize, message: String, hint: impl Into<String>) -> RunbookFault {
    RunbookFault { line, message: format!("step `{}`: {message}", step.name), hint: hint.into() }
}

fn names(runbook: &Runbook, faults: &mut Vec<RunbookFault>) {
    let mut seen: BTreeMap<&str, &Step> = BTreeMap::new();
    for step in &runbook.steps {
        if let Some(first) = seen.get(step.name.as_str()) {
            let message = format!("there is another step of this name in line {}", first.line);
            faults.push(fault(step, step.line, message, "the record of an incident names steps: rename one"));
        }
        seen.entry(&step.name).or_insert(step);
    }
    for name in runbook.header.parameters.keys() {
        let taken = variable(name);
        let is_decision =
            |step: &&Step| matches!(step.action, StepAction::Decide { .. }) && variable(&step.name) == taken;
        if BUILT_IN.contains(&taken.as_str()) || OF_HOST.contains(&taken.as_str()) {
            let message = format!("parameter `{name}` would replace `${taken}`, which every step has");
            faults.push(RunbookFault { line: 1, message, hint: "give it another name".to_owned() });
        } else if let Some(step) = runbook.steps.iter().find(is_decision) {
            let message = format!("its answer would replace parameter `{name}`");
            faults.push(fault(step, step.line, message, "rename one of them"));
        }
    }
}

fn condition(runbook: &Runbook, step: &Step, faults: &mut Vec<RunbookFault>) {
    let Some(condition) = &step.when else { return };
    let decisions: Vec<&Step> = runbook
        .steps
        .iter()
        .take_while(|before| before.line < step.line)
        .filter(|before| matches!(before.action, StepAction::Decide { .. }))
        .collect();
    let names: Vec<&str> = decisions.iter().map(|decision| decision.name.as_str()).collect();
    let Some(answers) =
        names.contains(&condition.decision.as_str()).then(|| runbook.answers(&condition.decision)).flatten()
    else {
        let message = format!("`when={condition}` names no decision above it");
        let hint = match names.is_empty() {
            true => "decide above it: a block that begins with ```text step=NAME decision=A|B".to_owned(),
            false => suggest("the decisions above it", &condition.decision, &names),
        };
        faults.push(fault(step, step.line, message, hint));
        return;
    };
    if !answers.contains(&condition.answer) {
        let message = format!("`{}` is no answer of decision `{}`", condition.answer, condition.decision);
        let answers: Vec<&str> = answers.iter().map(String::as_str).collect();
        faults.push(fault(step, step.line, message, suggest("its answers", &condition.answer, &answers)));
    }
}

fn variables(
    step: &Step,
    used: Vec<UsedVariable>,
    known: &BTreeSet<String>,
    is_script: bool,
    faults: &mut Vec<RunbookFault>,
) {
    for UsedVariable { name, line, has_default } in used {
        let is_of_programs = is_script && OF_PROGRAMS.iter().any(|prefix| name.starts_with(prefix));
        let is_known = known.contains(&name)
            || BUILT_IN.contains(&name.as_str())
            || (is_script && OF_HOST.contains(&name.as_str()))
            || is_of_programs
            || has_default;
        if !is_known {
            let all: Vec<&str> = known.iter().map(String::as_str).chain(BUILT_IN).collect();
            let hint = suggest("parameters, decisions above it, and what every step has", &name, &all);
            faults.push(fault(step, step.line + line, format!("unknown variable `${name}`"), hint));
        }
    }
}

fn unused_parameters(runbook: &Runbook, faults: &mut Vec<RunbookFault>) {
    for name in runbook.header.parameters.keys() {
        let variable = variable(name);
        let uses = |step: &Step| match &step.action {
            StepAction::Run { script: text, .. }
            | StepAction::Tell { template: text, .. }
            | StepAction::Manual { text } => {
                template_variables(text).iter().any(|used| used.name == variable)
            }
            StepAction::Decide { .. } => false,
        };
        if !runbook.steps.iter().any(uses) {
            let message = format!("no step uses parameter `{name}`");
            let hint = format!("refer to it as `${variable}`, or remove it");
            faults.push(RunbookFault { line: 1, message, hint });
        }
    }
}

/// Returns the values that a command is checked with.
pub fn example_values(runbook: &Runbook) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for (name, parameter) in &runbook.header.parameters {
        let value = parameter.example.clone().or_else(|| parameter.default.clone());
        values.insert(variable(name), value.unwrap_or_default());
    }
    for step in &runbook.steps {
        if let StepAction::Decide { answers } = &step.action {
            values.insert(variable(&step.name), answers.first().cloned().unwrap_or_default());
        }
    }
    let built_in = ["/etc/drctl/policy.toml", "shop", "inc-20260101T000000Z-2222", "10m"];
    values.extend(BUILT_IN.map(str::to_owned).into_iter().zip(built_in.map(str::to_owned)));
    values
}

fn commands(
    runbook: &Runbook,
    step: &Step,
    script: &str,
    references: &dyn References,
    faults: &mut Vec<RunbookFault>,
) {
    for command in drctl_commands(script, &example_values(runbook)) {
        let line = step.line + command.line;
        let shown = shown(&command);
        if let Some(why) = refused(&command, references) {
            let why = why.trim_end_matches('.');
            let hint = "`drctl --help`, and that of each verb, lists what there is";
            faults.push(fault(step, line, format!("`{shown}` is no command of this drctl: {why}"), hint));
        } else if let StepAction::Run { changes: Changes::Nothing, .. } = step.action
            && let Some(what) = changing(&command)
        {
            let message = format!("`{shown}` {what}, and the step does not say so");
            let hint =
                "add `changes=production`, or `changes=target` where nothing that is in use is written to";
            faults.push(fault(step, line, message, hint));
        }
    }
}

fn shown(command: &DrctlCommand) -> String {
    let word = |word: &super::shell::ShellWord| match word.is_opaque {
        true => format!("{}…", word.text),
        false => word.text.clone(),
    };
    let words: Vec<String> = command.words.iter().map(word).collect();
    format!("drctl {}", words.join(" "))
}

/// A word that is known only in a run is whatever fits.
fn refused(command: &DrctlCommand, references: &dyn References) -> Option<String> {
    let is_opaque = command.words.iter().any(|word| word.is_opaque);
    let mut first = None;
    for placeholder in PLACEHOLDERS {
        let word = |word: &super::shell::ShellWord| match word.is_opaque {
            true => format!("{}{placeholder}", word.text),
            false => word.text.clone(),
        };
        let words: Vec<String> = command.words.iter().map(word).collect();
        let why = references.refuse_command(&words)?;
        first.get_or_insert(why);
        if !is_opaque {
            break;
        }
    }
    first
}

/// Returns what a command does that must be said.
fn changing(command: &DrctlCommand) -> Option<&'static str> {
    let words: Vec<&str> = command.words.iter().map(|word| word.text.as_str()).collect();
    let has = |option: &str| words.contains(&option);
    match words.iter().find(|word| !word.starts_with('-')) {
        Some(&"restore") if !has("--plan") && !has("--help") => Some("restores"),
        _ if has("--apply") => Some("changes something"),
        Some(&"retention") if has("apply") => Some("removes backups"),
        _ => None,
    }
}

fn broken_link(runbook: &Runbook, target: &str, references: &dyn References) -> Option<(String, String)> {
    let is_elsewhere = target.split_once(':').is_some_and(|(scheme, _)| {
        scheme.len() > 1 && scheme.chars().all(|c| c.is_ascii_alphanumeric() || c == '+')
    });
    if is_elsewhere {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let anchors = match path {
        "" => runbook.anchors.clone(),
        path => match references.file(path) {
            LinkedFile::Missing => {
                let message = format!("the link to `{target}` leads nowhere: there is no `{path}`");
                return Some((message, "paths are relative to the runbook".to_owned()));
            }
            LinkedFile::Present => return None,
            LinkedFile::Markdown(text) => anchors_of(&text),
        },
    };
    if anchor.is_empty() || anchors.iter().any(|known| known == anchor) {
        return None;
    }
    let known: Vec<&str> = anchors.iter().map(String::as_str).collect();
    let message = format!("the link to `{target}` leads nowhere: there is no heading `#{anchor}`");
    Some((message, suggest("the headings there", anchor, &known)))
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::*;

    pub(crate) struct Nothing;

    impl References for Nothing {
        fn refuse_command(&self, words: &[String]) -> Option<String> {
            let known = ["status", "restore", "list"];
            (!words.first().is_some_and(|word| known.contains(&word.as_str())))
                .then(|| "unrecognized subcommand".to_owned())
        }

        fn file(&self, path: &str) -> LinkedFile {
            match path {
                "other.md" => LinkedFile::Markdown("# There\n".to_owned()),
                _ => LinkedFile::Missing,
            }
        }
    }

    fn faults(text: &str) -> String {
        let (runbook, mut faults) = parse("broken", "broken.md", text);
        faults.extend(runbook.iter().flat_map(|runbook| check(runbook, &Nothing)));
        faults.sort();
        let line = |fault: &RunbookFault| format!("{}: {} ({})", fault.line, fault.message, fault.hint);
        faults.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_runbook_without_faults_has_none() {
        assert_eq!(faults(include_str!("../../tests/fixtures/runbooks/database-lost.md")), "");
    }

    #[test]
    fn every_fault_is_found_at_once_with_its_line() {
        insta::assert_snapshot!(faults(include_str!("../../tests/fixtures/runbooks-broken/broken.md")));
    }

    #[test]
    fn what_is_no_runbook_at_all_says_what_it_lacks() {
        insta::assert_snapshot!(faults("Only prose.\n"));
    }
}
