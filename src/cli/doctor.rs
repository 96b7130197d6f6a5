use std::time::Duration;

use chrono::TimeDelta;
use serde::Serialize;

use super::Context;
use super::catalog_view::{brought_up, warn_lost};
use super::error::CommandError;
use super::exit::Exit;
use super::iam::RoleArg;
use super::style;
use crate::catalog::Catalog;
use crate::doctor;
use crate::doctor::{DoctorFinding, Examined, FindingSeverity};
use crate::model::Outcome;
use crate::platform::state_directory;
use crate::policy::Policy;
use crate::recoverability::immutability::{ImmutabilityState, immutability};
use crate::repository::Repositories;
use crate::repository::journal::{DOCTOR, Detail, LockProof};
use crate::run::RunContext;
use crate::text::count;

/// Check that this host can do what the policy asks, by trying it
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER)]
pub struct DoctorArgs {
    /// Also show what is good
    #[arg(long)]
    all: bool,
    /// The role to compare this host's AWS permissions with
    #[arg(long, value_name = "ROLE", default_value = "writer")]
    role: RoleArg,
}

/// A proof that is younger is not recorded again.
const KNOWN_FOR: TimeDelta = TimeDelta::days(7);
const TAKING_BACK: Duration = Duration::from_secs(10);

const AFTER: &str = "\
Writes small objects below `.drctl-probe` in each repository and deletes them again, where it is
allowed to. Only reads the databases.

Exit status:
  0    nothing wrong
  1    a backup or a restore will fail
  2    the command line or the policy is wrong
  3    works, with warnings";

#[derive(Serialize)]
struct DoctorDocument<'a> {
    worst: FindingSeverity,
    findings: &'a [DoctorFinding],
}

pub(super) async fn run(args: DoctorArgs, context: &Context) -> Result<Exit, CommandError> {
    let policy = context.policy()?;
    let (catalog, repositories) = context.recall(&policy).await;
    let state = state_directory();
    let (clock, role) = (&*context.clock, args.role.into());
    let examining = doctor::examine(&policy, &repositories, &state, clock, role, &context.cancel);
    tokio::pin!(examining);
    let Examined { findings, locks } = tokio::select! {
        examined = &mut examining => examined,
        () = context.cancel.cancelled() => {
            // Objects written to try a store are deleted first.
            let _swept = tokio::time::timeout(TAKING_BACK, examining).await;
            return Err(CommandError::new(Exit::Interrupted, "interrupted during the checks"));
        }
    };
    if !locks.is_empty() {
        keep(context, &policy, (catalog, repositories.clone()), locks).await;
    }
    let worst = findings.iter().map(|finding| finding.severity).max().unwrap_or(FindingSeverity::Good);
    if context.output.is_json() {
        context.output.document("doctor", &DoctorDocument { worst, findings: &findings });
    } else {
        for finding in &findings {
            if finding.severity > FindingSeverity::Good || args.all {
                show(finding, context);
            }
        }
        summary(&findings, context);
    }
    for finding in findings.iter().filter(|finding| finding.severity > FindingSeverity::Note) {
        context.output.reason(told(finding));
    }
    Ok(match worst {
        FindingSeverity::Good | FindingSeverity::Note => Exit::Done,
        FindingSeverity::Warning => Exit::Partly,
        FindingSeverity::Fault => Exit::Failed,
    })
}

/// Records what is new about locks: only a lock that was tried counts, and only as long as the last attempt held.
async fn keep(
    context: &Context,
    policy: &Policy,
    (catalog, repositories): (Option<Catalog>, Repositories),
    mut locks: Vec<LockProof>,
) {
    let repositories = repositories.for_reading(&policy.system, None).await;
    let Ok((catalog, _)) = brought_up(context, policy, catalog, &repositories).await else { return };
    let now = context.clock.now();
    let runs = catalog.runs(None).await.unwrap_or_default();
    let known = immutability(&policy.repositories, &runs, now);
    locks.retain(|proof| {
        let known = known.iter().find(|known| known.repository == proof.repository);
        match known.map(|known| &known.state) {
            Some(ImmutabilityState::Proven { at }) => proof.refuted.is_some() || now - *at > KNOWN_FOR,
            Some(ImmutabilityState::Refuted { at, .. }) => proof.refuted.is_none() || now - *at > KNOWN_FOR,
            Some(ImmutabilityState::Outdated { .. } | ImmutabilityState::Untried) | None => true,
        }
    });
    // What is not a repository yet has nothing to protect.
    if locks.is_empty() || repositories.writable().next().is_none() {
        catalog.close().await;
        return;
    }
    let run = RunContext::begin(
        policy.system.clone(),
        repositories,
        Some(catalog),
        context.clock.clone(),
        context.output.events(),
        context.cancel.clone(),
    );
    let detail = Detail { locks, ..Detail::default() };
    let unrecorded = run.conclude(DOCTOR, Outcome::Succeeded, detail).await;
    unrecorded.iter().for_each(|lost| warn_lost(context, lost));
    run.close().await;
}

/// Returns the area and the subject, in one line.
fn told(finding: &DoctorFinding) -> String {
    let area = finding.area.as_str();
    let subject = if finding.subject.is_empty() { String::new() } else { format!(" {}", finding.subject) };
    format!("{area}{subject}: {}", finding.message)
}

fn show(finding: &DoctorFinding, context: &Context) {
    let (word, colour) = match finding.severity {
        FindingSeverity::Good => ("good", style::GOOD),
        FindingSeverity::Note => ("note", style::NAME),
        FindingSeverity::Warning => ("warning", style::WARN),
        FindingSeverity::Fault => ("fault", style::BAD),
    };
    context.output.line(format!("{colour}{word:>7}{colour:#}  {}", told(finding)));
    if let Some(remedy) = &finding.remedy {
        context.output.line(format!("         {remedy}"));
    }
}

fn summary(findings: &[DoctorFinding], context: &Context) {
    let of = |severity| findings.iter().filter(|finding| finding.severity == severity).count() as u64;
    context.output.line(format!(
        "{} good, {}, {}, {}",
        of(FindingSeverity::Good),
        count(of(FindingSeverity::Note), "note"),
        count(of(FindingSeverity::Warning), "warning"),
        count(of(FindingSeverity::Fault), "fault"),
    ));
}
