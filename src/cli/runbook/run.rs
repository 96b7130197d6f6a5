use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::closing::conclude;
use super::incidents::IncidentView;
use super::known::{library, of_policy, read, spool};
use super::operator::StdinOperator;
use super::plan;
use super::stakeholders::Stakeholders;
use crate::cli::Context;
use crate::cli::catalog_view::warn_lost;
use crate::cli::error::CommandError;
use crate::cli::exit::Exit;
use crate::cli::hold::person;
use crate::platform::{OnLine, host_name, seed};
use crate::policy::Policy;
use crate::report::plain;
use crate::runbook::{
    Appended, Incident, IncidentError, IncidentEvent, IncidentId, Led, Means, NoReply, Opening, Recorder,
    Runbook, lead, parse, variable,
};
use crate::text::{count, suggest};

#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    /// The runbook
    #[arg(value_name = "NAME", required_unless_present = "resume", conflicts_with = "resume")]
    name: Option<String>,
    /// A value of a parameter; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = parameter)]
    set: Vec<(String, String)>,
    /// Show every step with its values, and stop
    #[arg(long, conflicts_with = "resume")]
    plan: bool,
    /// Resume this incident, by id or prefix
    #[arg(long, value_name = "ID", conflicts_with_all = ["set", "rehearse", "since"])]
    resume: Option<String>,
    /// Rehearse it: what changes production is not run, and nothing is sent
    #[arg(long)]
    rehearse: bool,
    /// Run without asking what changes no production and needs no person
    #[arg(long)]
    yes: bool,
    /// Who leads [default: USER@HOST]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// When what led here happened, like `2026-11-30T02:10:00Z`, for the RTO and RPO [default: now]
    #[arg(long, value_name = "TIME")]
    since: Option<DateTime<Utc>>,
}

fn parameter(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write `NAME=VALUE`")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(super) async fn run(
    args: RunArgs,
    directory: Option<&Path>,
    context: &Context,
) -> Result<Exit, CommandError> {
    if let Some(id) = &args.resume {
        return resume(id, &args, context).await;
    }
    let name = args.name.as_deref().unwrap_or_default();
    if args.plan {
        let runbook = read(&library(directory, context)?, name, context)?;
        let mut values = BTreeMap::new();
        for (name, value) in given(&runbook, &args.set)? {
            values.insert(variable(&name), value);
        }
        if let Ok(path) = context.policy_path() {
            values.insert("DRCTL_POLICY".to_owned(), path.display().to_string());
        }
        plan::show(context, &runbook, &values);
        return Ok(Exit::Done);
    }
    let policy = context.policy()?;
    let library = match directory {
        Some(_) => library(directory, context)?,
        None => of_policy(&policy)?,
    };
    let runbook = read(&library, name, context)?;
    let now = context.clock.now();
    if args.since.is_some_and(|since| since > now) {
        return Err(
            CommandError::usage("`--since` is a time to come").hint("Times are UTC, or say their zone.")
        );
    }
    let mut operator = StdinOperator::new(context.output.clone(), context.cancel.clone());
    let parameters = complete(&runbook, given(&runbook, &args.set)?, &operator).await?;
    let view = IncidentView::open(context, policy).await;
    let opening = Opening {
        system: view.policy.system.clone(),
        runbook: runbook.name.clone(),
        file: runbook.file.clone(),
        sha256: runbook.sha256,
        text: runbook.text.clone(),
        parameters,
        is_rehearsal: args.rehearse,
        since: args.since.unwrap_or(now),
        rto_seconds: view.policy.objectives.rto.as_secs(),
        rpo_seconds: view.policy.objectives.rpo.as_secs(),
        drctl_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let id = IncidentId::new(now, seed());
    let (spool, person, host) = (spool(&view.policy), person(args.by.clone()), host_name());
    let who = (person.as_str(), host.as_str());
    let mut recorder =
        Recorder::new(&view.repositories, &view.policy.system, &id, None, &spool, who, &*context.clock);
    let appended = recorder.append(IncidentEvent::Opened(Box::new(opening))).await.map_err(failed)?;
    say_opened(context, &id, &appended, &runbook);
    led(recorder, &runbook, &mut operator, view, args.yes, context).await
}

fn say_opened(context: &Context, id: &IncidentId, appended: &Appended, runbook: &Runbook) {
    context.output.note(format!("incident {id}: {}", plain(&runbook.title)));
    context.output.note(format!("hint: `drctl runbook run --resume {id}` resumes it, on another host too."));
    appended.missing.iter().for_each(|lost| warn_lost(context, lost));
    if appended.stored == 0 {
        context.output.warn("no repository has the record of the incident: it is on this host alone");
        context.output.note("hint: Another host cannot resume it until a repository can be written to.");
    }
}

async fn resume(id: &str, args: &RunArgs, context: &Context) -> Result<Exit, CommandError> {
    let view = IncidentView::open(context, context.policy()?).await;
    let incident = view.incidents.find(Some(id)).map_err(unknown)?;
    let runbook = runbook_of(&incident)?;
    let (spool, person, host) = (spool(&view.policy), person(args.by.clone()), host_name());
    let known = view.incidents.all.get(&incident.id);
    let who = (person.as_str(), host.as_str());
    let mut recorder = Recorder::new(
        &view.repositories,
        &view.policy.system,
        &incident.id,
        known,
        &spool,
        who,
        &*context.clock,
    );
    if incident.is_closed() {
        context.output.note(format!("incident {} has ended", incident.id));
        // A repository that was away is completed.
        let completed = recorder.complete().await.map_err(failed)?;
        completed.missing.iter().for_each(|lost| warn_lost(context, lost));
    } else {
        let before = incident.leader().to_owned();
        let from = (before != person).then_some(before);
        let appended = recorder.append(IncidentEvent::Resumed { from }).await.map_err(failed)?;
        say_opened(context, &incident.id, &appended, &runbook);
    }
    let mut operator = StdinOperator::new(context.output.clone(), context.cancel.clone());
    led(recorder, &runbook, &mut operator, view, args.yes, context).await
}

/// Returns the runbook that an incident began with.
pub(super) fn runbook_of(incident: &Incident) -> Result<Runbook, CommandError> {
    let opening = incident.opening().ok_or_else(|| unknown(IncidentError::NoOpening(incident.id.clone())))?;
    let (runbook, faults) = parse(&opening.runbook, &opening.file, &opening.text);
    let fault = faults.first().map(|fault| fault.message.clone()).unwrap_or_default();
    runbook.filter(|_| faults.is_empty()).ok_or_else(|| {
        CommandError::failed(format!(
            "this drctl does not read the runbook of incident {}: {fault}",
            incident.id
        ))
        .hint(format!("Version {} of drctl began it.", opening.drctl_version))
    })
}

pub(super) fn unknown(error: IncidentError) -> CommandError {
    CommandError::usage(error).hint("`drctl runbook status` lists the incidents that were not ended.")
}

fn failed(error: IncidentError) -> CommandError {
    let hint = match &error {
        IncidentError::OtherLeader { .. } => "One person leads an incident. `--resume` takes it over.",
        _ => "DRCTL_STATE_DIR names a directory of this host that can be written to.",
    };
    CommandError::failed(error).hint(hint)
}

/// Returns the values given, which must be of parameters, and the defaults.
fn given(runbook: &Runbook, set: &[(String, String)]) -> Result<BTreeMap<String, String>, CommandError> {
    let known = &runbook.header.parameters;
    let defaults =
        known.iter().filter_map(|(name, parameter)| Some((name.clone(), parameter.default.clone()?)));
    let mut values: BTreeMap<String, String> = defaults.collect();
    for (name, value) in set {
        if !known.contains_key(name) {
            let names: Vec<&str> = known.keys().map(String::as_str).collect();
            let message = format!("runbook `{}` has no parameter `{name}`", runbook.name);
            return Err(CommandError::usage(message).hint(suggest("its parameters", name, &names)));
        }
        values.insert(name.clone(), value.clone());
    }
    for (name, value) in &values {
        refuse_password(name, value)?;
    }
    Ok(values)
}

fn refuse_password(name: &str, value: &str) -> Result<(), CommandError> {
    if crate::runbook::holds_password(value) {
        let message = format!("the value of parameter `{name}` holds a password, and values are recorded");
        return Err(CommandError::usage(message)
            .hint("Let programs read it from `~/.pgpass` or from a variable of the environment."));
    }
    Ok(())
}

/// Asks for what has neither a value nor a default.
async fn complete(
    runbook: &Runbook,
    mut values: BTreeMap<String, String>,
    operator: &StdinOperator,
) -> Result<BTreeMap<String, String>, CommandError> {
    let missing: Vec<_> =
        runbook.header.parameters.iter().filter(|(name, _)| !values.contains_key(*name)).collect();
    if !missing.is_empty() && !std::io::stdin().is_terminal() {
        let names: Vec<String> = missing.iter().map(|(name, _)| format!("`--set {name}=…`")).collect();
        let message = format!("runbook `{}` needs {}", runbook.name, names.join(", "));
        return Err(CommandError::usage(message).hint("`drctl runbook show` says what each parameter is."));
    }
    for (name, parameter) in missing {
        let example = parameter.example.as_ref().map(|example| format!(", like `{example}`"));
        let prompt = format!("{name}: {}{} >", parameter.description, example.unwrap_or_default());
        let value = loop {
            let line = operator.line(&prompt).await.map_err(|why| match why {
                NoReply::Interrupted => CommandError::new(Exit::Interrupted, "interrupted at a prompt"),
                NoReply::NoOperator => CommandError::usage(format!("parameter `{name}` has no value")),
            })?;
            if !line.is_empty() {
                break line;
            }
        };
        refuse_password(name, &value)?;
        values.insert(name.clone(), value);
    }
    Ok(values)
}

/// Leads through it, and records how it ended.
async fn led(
    mut recorder: Recorder<'_>,
    runbook: &Runbook,
    operator: &mut StdinOperator,
    view: IncidentView,
    assume_yes: bool,
    context: &Context,
) -> Result<Exit, CommandError> {
    let announcer =
        Stakeholders { policy: &view.policy, clock: context.clock.clone(), output: context.output.clone() };
    let means = Means {
        announcer: &announcer,
        clock: &*context.clock,
        cancel: context.cancel.clone(),
        assume_yes,
        policy: absolute(&view.policy),
        drctl: std::env::current_exe()
            .map_err(|error| CommandError::failed(error).context("failed to find this drctl's own path"))?,
        on_line: on_line(context),
    };
    let led = lead(&mut recorder, runbook, operator, &means).await.map_err(failed)?;
    let incident = recorder.incident();
    let mut unrecorded = Vec::new();
    if incident.is_closed() {
        unrecorded = conclude(context, &view, runbook, &incident).await;
    }
    let is_recorded = unrecorded.is_empty() && recorder.is_recorded();
    view.close().await;
    unrecorded.iter().for_each(|lost| warn_lost(context, lost));
    Ok(told(context, &incident, &led, is_recorded))
}

fn absolute(policy: &Policy) -> std::path::PathBuf {
    std::path::absolute(&policy.path).unwrap_or_else(|_| policy.path.clone())
}

/// The output of commands is the result, for people; beside a JSON document it is not.
fn on_line(context: &Context) -> OnLine {
    let output = context.output.clone();
    Arc::new(move |line: &str| {
        // Lines of programs keep their colours; what moves the cursor is shown.
        let line: String = line.chars().filter(|c| !c.is_control() || matches!(c, '\t' | '\u{1b}')).collect();
        if output.is_json() { output.note(line) } else { output.line(line) }
    })
}

fn told(context: &Context, incident: &Incident, led: &Led, is_recorded: bool) -> Exit {
    let output = &context.output;
    let id = &incident.id;
    let (word, exit, reason) = match led {
        Led::Closed { skipped: 0 } if is_recorded => ("closed", Exit::Done, None),
        Led::Closed { skipped: 0 } => {
            ("closed", Exit::Partly, Some("not every repository has the record".to_owned()))
        }
        Led::Closed { skipped } => {
            ("closed", Exit::Partly, Some(format!("{} skipped", count(*skipped as u64, "step"))))
        }
        Led::Paused => ("paused", Exit::Partly, Some("the incident is paused".to_owned())),
        Led::NoOperator { step } => {
            let why =
                format!("step `{step}` needs a person, and there is no terminal and no answer on stdin");
            ("paused", Exit::Partly, Some(why))
        }
        Led::Interrupted => ("paused", Exit::Interrupted, Some("interrupted".to_owned())),
    };
    if output.is_json() {
        let data = serde_json::json!({ "incident": id, "state": word, "entries": incident.entries.len() });
        output.document("runbook-run", &data);
    } else {
        output.line(format!("incident {id} is {word}"));
    }
    if let Some(reason) = &reason {
        output.reason(reason);
        if !output.is_json() {
            output.note(reason);
        }
    }
    match word {
        "closed" => output.note(format!("hint: `drctl runbook report {id}` writes its report.")),
        _ => output.note(format!("hint: `drctl runbook run --resume {id}` resumes it.")),
    }
    exit
}
