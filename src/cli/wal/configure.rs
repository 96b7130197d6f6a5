use std::path::Path;

use serde::Serialize;

use super::super::Context;
use super::super::error::CommandError;
use super::super::exit::Exit;
use super::super::style;
use crate::configure::{
    Applied, DesiredSettings, Effect, FindingWeight, Fix, ServerSession, SettingFinding, SettingState, apply,
    plan, push_command,
};
use crate::model::SourceName;
use crate::policy::{Policy, PostgresSource, Source};
use crate::postgres::{ConnectionParameters, close};
use crate::text::count;

const HELP: &str = "\
Changes nothing without --apply. pg_hba.conf is never written: a line for it is shown.

Exit status:
  0    nothing is missing
  1    failed
  2    the command line or the policy is wrong
  3    something is missing, or waits for a restart of the server";

/// Check the server's settings against the policy, and set what is missing
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct ConfigureArgs {
    /// The source, where the policy archives more than one
    source: Option<SourceName>,
    /// Set what SQL can set (ALTER SYSTEM, GRANT, the slot), and reload the server
    #[arg(long)]
    apply: bool,
    /// Also replace an archive_command or archive_library that is not drctl's
    #[arg(long, requires = "apply")]
    replace: bool,
    /// Connect as this role, e.g. a superuser; its password comes from PGPASSWORD or ~/.pgpass
    #[arg(long = "as", value_name = "ROLE")]
    administrator: Option<String>,
}

#[derive(Serialize)]
struct ConfigureDocument<'a> {
    source: &'a SourceName,
    server: String,
    findings: &'a [SettingFinding],
    applied: &'a [Applied],
    open: usize,
    waits_for_restart: Vec<&'static str>,
}

pub(super) async fn run(args: ConfigureArgs, context: &Context) -> Result<Exit, CommandError> {
    let policy = context.policy()?;
    let (source, _) = super::archived(&policy, args.source.as_ref())?;
    let postgres = postgres(&policy, source)?;
    let parameters = ConnectionParameters::resolve(postgres).await.map_err(CommandError::failed)?;
    let push = push_line(&policy, source, context)?;
    let wanted = DesiredSettings::for_source(&policy, source, postgres, &parameters, push);
    let server =
        ServerSession { parameters, administrator: args.administrator, tools: postgres.tools.clone() };
    let mut connection = server.connect().await.map_err(failed)?;
    let facts = server.facts(&mut connection, &wanted, &context.cancel).await.map_err(failed)?;
    let mut findings = plan(&facts, &wanted);
    let mut applied = vec![];
    if args.apply && findings.iter().any(SettingFinding::is_open) {
        let outcome =
            apply(&server, &mut connection, &wanted, &findings, args.replace, &context.cancel).await;
        (applied, findings) = outcome.map_err(failed)?;
    }
    close(connection).await;
    if context.cancel.is_cancelled() {
        return Err(CommandError::new(Exit::Interrupted, "interrupted during the checks"));
    }
    let open = findings.iter().filter(|finding| finding.is_open()).count();
    if context.output.is_json() {
        let waits = findings.iter().filter(|finding| finding.state == SettingState::WaitsForRestart);
        let document = ConfigureDocument {
            source,
            server: server.parameters.to_string(),
            findings: &findings,
            applied: &applied,
            open,
            waits_for_restart: waits.map(|finding| finding.name).collect(),
        };
        context.output.document("wal-configure", &document);
    } else {
        show(context, &findings, &applied, open);
        if facts.is_standby {
            context.output.note("The server is a standby: configure its primary, by the primary's url.");
        }
        if open > 0 && !args.apply && can_be_applied(&findings) {
            context.output.note("`drctl wal configure --apply` does what SQL can do here.");
        }
    }
    Ok(if open == 0 { Exit::Done } else { Exit::Partly })
}

fn postgres<'p>(policy: &'p Policy, source: &SourceName) -> Result<&'p PostgresSource, CommandError> {
    let postgres = policy.source(source).and_then(Source::postgres);
    postgres.ok_or_else(|| CommandError::usage(format!("{source} is not PostgreSQL")))
}

/// Returns the command that the server should run: this program, with this policy.
fn push_line(policy: &Policy, source: &SourceName, context: &Context) -> Result<String, CommandError> {
    let own = |error: std::io::Error| {
        CommandError::failed(error).context("failed to find the paths of this drctl and its policy")
    };
    let program = std::env::current_exe().map_err(own)?;
    let path = std::path::absolute(Path::new(&context.policy_path()?)).map_err(own)?;
    let archived = policy.sources.iter().filter(|source| source.wal().is_some());
    let is_one_of_many = archived.count() > 1;
    Ok(push_command(&program, &path, is_one_of_many.then_some(source)))
}

fn can_be_applied(findings: &[SettingFinding]) -> bool {
    let by_sql = |finding: &SettingFinding| {
        finding.state == SettingState::Missing && matches!(finding.remedy, Some(Fix::Sql { .. }))
    };
    findings.iter().any(by_sql)
}

fn show(context: &Context, findings: &[SettingFinding], applied: &[Applied], open: usize) {
    let output = &context.output;
    for Applied { statement, error } in applied {
        match error {
            None => output.line(format!("{good}   done{good:#}  {statement};", good = style::GOOD)),
            Some(error) => {
                output.line(format!("{bad}refused{bad:#}  {statement};", bad = style::BAD));
                output.line(format!("         {error}"));
            }
        }
    }
    for finding in findings {
        let (word, colour) = match (finding.state, finding.weight) {
            (SettingState::Fine, _) => ("good", style::GOOD),
            (SettingState::Idle, _) => ("idle", style::WARN),
            (SettingState::WaitsForRestart, _) => ("restart", style::WARN),
            (SettingState::Missing, FindingWeight::Needed) => ("missing", style::BAD),
            (SettingState::Missing, FindingWeight::Advised) => ("advised", style::WARN),
            (SettingState::Foreign, _) => ("foreign", style::BAD),
            (SettingState::Unknown, _) => ("unknown", style::WARN),
        };
        output.line(format!("{colour}{word:>7}{colour:#}  {}: {}", finding.name, finding.found));
        if finding.is_open() {
            output.line(format!("         needed: {}", finding.wanted));
            remedy(finding).iter().for_each(|line| output.line(format!("         {line}")));
        }
    }
    let waiting: Vec<_> = findings
        .iter()
        .filter(|f| f.state == SettingState::WaitsForRestart)
        .map(|f| format!("`{}`", f.name))
        .collect();
    if !waiting.is_empty() {
        output.line(format!("Takes effect after a restart of the server: {}.", waiting.join(", ")));
    }
    match open {
        0 if findings.iter().any(|finding| finding.state == SettingState::Idle) => output
            .line("Nothing is missing in the server, but the slot is inactive: start `drctl wal stream`."),
        0 => output.line("Nothing is missing."),
        open => output.line(format!("{} to be done.", count(open as u64, "thing"))),
    }
}

fn remedy(finding: &SettingFinding) -> Vec<String> {
    let when = |takes: Effect| format!("takes effect {}", takes.as_str());
    let mut lines = match &finding.remedy {
        None => vec![],
        Some(Fix::Sql { statements, takes }) => {
            let mut lines: Vec<_> = statements.iter().map(|statement| format!("{statement};")).collect();
            lines.push(when(*takes));
            lines
        }
        Some(Fix::ByHand { lines, place, takes }) => {
            let mut words = vec![format!("in {place}:")];
            words.extend(lines.iter().map(|line| format!("  {line}")));
            words.push(when(*takes));
            words
        }
    };
    if finding.state == SettingState::Foreign && matches!(finding.remedy, Some(Fix::Sql { .. })) {
        lines.push("Only `--apply --replace` replaces it.".to_owned());
    }
    lines
}

fn failed(error: crate::configure::ConfigureError) -> CommandError {
    CommandError::failed(error)
        .hint("Check that the server runs, and the url, password and TLS settings of the source.")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use clap::Parser as _;

    use crate::cli::Cli;
    use crate::wal::{CommandVerdict, PushTarget, ServerHost, judge};

    #[test]
    fn a_push_is_judged_by_the_arguments_that_drctl_takes() {
        let source = "database".parse().unwrap();
        let target = PushTarget {
            policy: PathBuf::from("/p"),
            system: "shop".parse().unwrap(),
            sources: vec!["database".parse().unwrap()],
            repositories: [].into(),
        };
        for line in [
            "drctl wal push %p",
            "drctl -p /p wal push database %p",
            "drctl -p/p wal push --drain=3 %p",
            "drctl wal push --drain 3 %p --output json -qv",
            "drctl wal push --policy=/p --quiet --verbose -- %p",
            "drctl wal push",
            "drctl wal push database %p more",
            "drctl wal push %p --drain",
            "drctl --polcy /p wal push %p",
            "drctl wal push -x %p",
            "drctl wal pull %p",
        ] {
            let is_taken = Cli::try_parse_from(line.split(' ')).is_ok();
            let verdict = judge(line, &source, &target, &ServerHost::ELSEWHERE);
            assert_eq!(verdict == CommandVerdict::Archives, is_taken, "{line}: {verdict:?}");
        }
    }
}
