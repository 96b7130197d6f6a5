use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Context;
use super::catalog_view::{CatalogView, GONE_HINT, warn_lost};
use super::error::CommandError;
use super::exit::Exit;
use super::notify::{Concluded, around};
use super::output::Output;
use super::style;
use crate::catalog::BackupEntry;
use crate::model::{BackupId, CheckDepth, RepositoryName, SourceName};
use crate::notify::findings::{self, Occasion, VerifiedScope};
use crate::policy::{Job, Policy};
use crate::run::RunContext;
use crate::text::{format_size, format_time};
use crate::verify::backups::{VerifyReport, execute, place};
use crate::verify::cloud::{CloudCopy, CloudFinding};
use crate::verify::finding::{CopyVerdict, VerifyFinding};
use crate::verify::plan::{VerifyItem, VerifyScope, plan};
use crate::verify::wal::{WalFinding, WalItem};

/// Read backups and archived WAL again, every byte in every copy, and compare
///
/// For base backups, also reads the WAL that recovery would replay. For AWS-managed backups, checks only that they
/// exist with the expected tags and key: only a restore proves their bytes.
#[derive(Debug, clap::Args)]
#[command(after_help = super::exit::HELP)]
pub struct VerifyArgs {
    /// Backups, by id or prefix [default: all]
    #[arg(value_name = "ID")]
    backups: Vec<String>,
    /// Backups of this source only
    #[arg(long, value_name = "SOURCE", conflicts_with = "backups")]
    source: Option<SourceName>,
    /// The newest backup of each source and kind only
    #[arg(long, conflicts_with = "backups")]
    latest: bool,
    /// In this repository only
    #[arg(long, value_name = "REPOSITORY")]
    from: Option<RepositoryName>,
    /// Decrypt and unpack, too, with the identities in this file; may be given more than once
    #[arg(long, short, value_name = "FILE", value_parser = super::path_arg::path())]
    identity: Vec<PathBuf>,
}

pub(super) async fn run(args: VerifyArgs, context: &Context) -> Result<Exit, CommandError> {
    let policy = context.policy()?;
    around(Job::Verify, context, &policy, work(args, context, &policy)).await
}

async fn work(args: VerifyArgs, context: &Context, policy: &Policy) -> Result<Concluded, CommandError> {
    let identities = context.identities(&args.identity).await?;
    let known = CatalogView::open(context, false).await?;
    if let Some(name) = &args.from
        && !known.policy.repositories.iter().any(|config| config.name == *name)
    {
        return Err(CommandError::usage(format!("the policy has no repository `{name}`")));
    }
    let verified = verified_scope(&args, policy);
    let scope =
        VerifyScope { prefixes: args.backups, source: args.source, latest: args.latest, only: args.from };
    let rejected = known.refreshed.iter().flat_map(|refreshed| &refreshed.refused);
    let mut found = scope.rejected(rejected);
    let all = known.entries().await?;
    let named = named(&scope.prefixes, &known, &found).await?;
    let chosen = if scope.prefixes.is_empty() { scope.select(&all) } else { named.iter().collect() };
    // A rejected manifest is not missing.
    let mut missing = scope.missing(&known.missing, &chosen);
    let is_rejected = |copy: &VerifyFinding| {
        found.iter().any(|found| (&found.backup, &found.repository) == (&copy.backup, &copy.repository))
    };
    missing.retain(|copy| !is_rejected(copy));
    found.extend(missing);
    let unmarked: Vec<_> = known.repositories.unmarked().to_vec();
    let unread = known.refreshed.iter().flat_map(|refreshed| refreshed.unread.clone()).collect::<Vec<_>>();
    let plan = plan(&chosen, &all, found, scope.only.as_ref());
    if plan.is_empty() {
        return Err(CommandError::new(Exit::Nothing, "there is no backup to verify"));
    }
    let items = plan.copies.clone();
    let run = RunContext::begin(
        known.policy.system.clone(),
        known.repositories,
        Some(known.catalog),
        context.clock.clone(),
        context.output.events(),
        context.cancel.clone(),
    );
    let report = execute(&run, plan, &known.policy.sources, &identities).await;
    run.clone().close().await;
    for lost in &report.unrecorded {
        warn_lost(context, lost);
    }
    if context.output.is_json() {
        context.output.document("verify", &document(&report, &unread));
    } else {
        show(context, &report, &items);
        show_kept(&context.output, &report.kept);
    }
    reasons(&report).iter().for_each(|reason| context.output.reason(reason));
    unmarked.iter().for_each(|unmarked| context.output.reason(unmarked.reason()));
    unread.iter().for_each(|reason| context.output.reason(format!("the journal: {reason}")));
    let occasion = Occasion { policy, run: &run.id, now: context.clock.now() };
    let findings = findings::verify(&report, verified.as_ref(), occasion);
    let exit = match exit(&report) {
        Exit::Done if !unmarked.is_empty() || !unread.is_empty() => Exit::Partly,
        exit => exit,
    };
    Ok(Concluded { exit, findings })
}

/// Returns what is read; `None`: backups that are named one by one.
fn verified_scope(args: &VerifyArgs, policy: &Policy) -> Option<VerifiedScope> {
    if !args.backups.is_empty() {
        return None;
    }
    let part = |latest: bool, from: Option<&RepositoryName>| match (latest, from) {
        (false, None) => None,
        (true, None) => Some("latest".to_owned()),
        (false, Some(from)) => Some(format!("in-{from}")),
        (true, Some(from)) => Some(format!("latest-in-{from}")),
    };
    let places = policy.repositories.iter().map(|config| Some(&config.name)).chain([None]);
    let parts = places.flat_map(|from| [part(false, from), part(true, from)]).flatten().collect();
    let sources = policy.sources.iter().map(|source| source.name.clone());
    let sources = sources.filter(|source| args.source.as_ref().is_none_or(|only| only == source));
    Some(VerifiedScope { sources: sources.collect(), part: part(args.latest, args.from.as_ref()), parts })
}

/// Returns the named backups. `found`: those whose manifests were rejected.
async fn named(
    prefixes: &[String],
    known: &CatalogView,
    found: &[VerifyFinding],
) -> Result<Vec<BackupEntry>, CommandError> {
    let mut entries: Vec<BackupEntry> = Vec::new();
    for prefix in prefixes {
        let is_named = |id: &BackupId| !prefix.is_empty() && id.as_str().starts_with(prefix.as_str());
        let entry = match known.find(prefix).await {
            Ok(entry) => entry,
            // It exists only where its manifest was rejected, or no repository has it any more.
            Err(_)
                if found.iter().any(|finding| is_named(&finding.backup))
                    || known.missing.iter().any(|copy| copy.is_lost && is_named(&copy.backup)) =>
            {
                continue;
            }
            Err(error) => return Err(error),
        };
        if !entries.iter().any(|named| named.id() == entry.id()) {
            entries.push(entry);
        }
    }
    Ok(entries)
}

fn exit(report: &VerifyReport) -> Exit {
    let kept = &report.kept;
    let any = |test: fn(&VerifyFinding) -> bool| report.findings.iter().any(test);
    let any_log = |test: fn(&WalFinding) -> bool| report.logs.iter().any(|(_, finding)| test(finding));
    match () {
        () if report.interrupted => Exit::Interrupted,
        () if any(|finding| finding.is_bad()) || any_log(WalFinding::is_bad) => Exit::Failed,
        () if kept.iter().any(CloudFinding::is_bad) => Exit::Failed,
        () if kept.iter().any(|finding| !finding.is_good()) => Exit::Partly,
        () if any(|finding| !finding.is_good()) || any_log(|finding| !finding.is_good()) => Exit::Partly,
        () if any(|finding| finding.not_opened) => Exit::CannotDecrypt,
        () if !report.unrecorded.is_empty() => Exit::Partly,
        () => Exit::Done,
    }
}

/// Returns why the exit status is not 0: a line for each copy, WAL range and AWS-managed backup with a
/// defect.
fn reasons(report: &VerifyReport) -> Vec<String> {
    let copies = report.findings.iter().filter(|finding| !finding.is_good() || finding.not_opened);
    let copies = copies.map(|finding| {
        let why = match (&finding.verdict, &finding.broken) {
            (CopyVerdict::Undetermined { reasons }, _) => {
                format!("is not known to be good: {}", reasons.join("; "))
            }
            (CopyVerdict::Unaccepted { reason }, _) => format!("is bad: {reason}"),
            (CopyVerdict::Missing { reason }, _) => format!("is missing: {reason}"),
            (CopyVerdict::Checked(check), _) if !check.is_good() => {
                let told = |fault: &crate::model::ObjectFault| {
                    format!("{} is {}", fault.object, fault.fault.as_str())
                };
                format!("is bad: {}", check.faults.iter().map(told).collect::<Vec<_>>().join("; "))
            }
            (CopyVerdict::Checked(_), Some(broken)) => format!("cannot be restored from there: {broken}"),
            (CopyVerdict::Checked(_), None) => "was not opened by any identity given".to_owned(),
        };
        format!("{} in {} {why}", finding.backup, finding.repository)
    });
    let logs = report.logs.iter().filter(|(_, finding)| !finding.is_good());
    let logs = logs.map(|(item, finding)| {
        let word = if finding.is_bad() { "is bad" } else { "is not known to be good" };
        let why: Vec<_> = finding.faults.iter().chain(&finding.unread).cloned().collect();
        format!("the WAL of {} in {} {word}: {}", item.source, item.repository, why.join("; "))
    });
    let kept = report.kept.iter().filter(|finding| !finding.is_good());
    let kept = kept.map(|finding| {
        let why = finding.why().map(|why| format!(": {why}")).unwrap_or_default();
        format!("{} in {} is not as it should be{why}", finding.backup, finding.region)
    });
    copies.chain(logs).chain(kept).collect()
}

fn show(context: &Context, report: &VerifyReport, items: &[VerifyItem]) {
    let output = &context.output;
    for finding in &report.findings {
        let manifest = items.iter().map(|item| &item.manifest).find(|manifest| manifest.id == finding.backup);
        let (word, style, lines) = match &finding.verdict {
            CopyVerdict::Undetermined { reasons } => ("unknown", style::WARN, reasons.clone()),
            CopyVerdict::Unaccepted { reason } => ("bad", style::BAD, vec![reason.clone()]),
            CopyVerdict::Missing { reason } => ("missing", style::BAD, vec![reason.clone()]),
            CopyVerdict::Checked(check) if check.is_good() && finding.broken.is_some() => {
                ("broken", style::BAD, vec![])
            }
            CopyVerdict::Checked(check) if check.is_good() => ("good", style::GOOD, vec![]),
            CopyVerdict::Checked(check) => {
                let told = |fault: &crate::model::ObjectFault| {
                    let key =
                        manifest.map_or_else(|| fault.object.clone(), |known| place(known, &fault.object));
                    let detail =
                        if fault.detail.is_empty() { String::new() } else { format!(": {}", fault.detail) };
                    format!("{key} is {}{detail}", fault.fault.as_str())
                };
                ("bad", style::BAD, check.faults.iter().map(told).collect())
            }
        };
        let bytes = manifest.filter(|_| !matches!(finding.verdict, CopyVerdict::Missing { .. }));
        let bytes =
            bytes.map(|manifest| format!(", {}", format_size(manifest.stored_size()))).unwrap_or_default();
        let depth = match &finding.verdict {
            CopyVerdict::Checked(check) if check.depth == CheckDepth::Plain => ", decrypted",
            _ => "",
        };
        output.line(format!(
            "{style}{word:<7}{style:#} {} in {}{bytes}{depth}",
            finding.backup, finding.repository
        ));
        lines.iter().for_each(|line| output.line(format!("        {line}")));
        if let Some(broken) = &finding.broken {
            output.line(format!("        it cannot be restored from there: {broken}"));
        }
        if finding.not_opened {
            output.line("        no identity given opens it: only the stored bytes were compared");
        }
    }
    report.logs.iter().for_each(|(item, finding)| show_log(output, item, finding));
    let is_missing = |finding: &&VerifyFinding| matches!(finding.verdict, CopyVerdict::Missing { .. });
    let missing = report.findings.iter().filter(is_missing).count();
    let good = report.findings.iter().filter(|finding| finding.is_good()).count();
    let bad = report.findings.iter().filter(|finding| finding.is_bad()).count();
    let copies = report.findings.len() - missing;
    let faint = style::FAINT;
    let summary = match (copies - good - bad, good == copies) {
        (_, true) if report.logs.iter().all(|(_, finding)| finding.is_good()) => {
            format!("{} read, all good", count_copies(copies))
        }
        (_, true) if report.logs.iter().any(|(_, finding)| finding.is_bad()) => {
            format!("{} read and good; the WAL is not", count_copies(copies))
        }
        (_, true) => format!("{} read and good; the WAL could not be checked", count_copies(copies)),
        (0, false) => format!("{} read, {good} good", count_copies(copies)),
        (unknown, false) => {
            format!("{} looked at: {good} good, {bad} bad, {unknown} unknown", count_copies(copies))
        }
    };
    let summary = match missing {
        0 => summary,
        missing => format!("{summary}; {missing} missing"),
    };
    output.line(format!("{faint}{summary}{faint:#}"));
    if missing > 0 {
        output.note(GONE_HINT);
    }
    if report.logs.iter().any(|(_, finding)| finding.is_bad()) {
        output.note(
            "hint: `drctl copies sync` brings missing WAL from a copy that has it; delete altered WAL there \
             first. Where no copy has it, take a new base backup: `drctl backup --kind base`.",
        );
    }
    if report.findings.iter().any(|finding| finding.is_bad()) {
        output.note(
            "hint: `drctl restore --from` takes another copy. `drctl copies sync` repairs a copy from one that is intact.",
        );
    }
}

/// Shows AWS-managed backups, one per line.
fn show_kept(output: &Output, kept: &[CloudFinding]) {
    for finding in kept {
        let (word, style) = match &finding.kept {
            CloudCopy::There => ("there", style::GOOD),
            CloudCopy::Unshared { .. } => ("there", style::WARN),
            CloudCopy::Unfit { .. } | CloudCopy::Altered { .. } => ("bad", style::BAD),
            CloudCopy::Gone => ("gone", style::BAD),
            CloudCopy::Unknown { .. } => ("unknown", style::WARN),
        };
        let CloudFinding { backup, region, arn, .. } = finding;
        let why = finding.why().map(|why| format!(": {why}")).unwrap_or_default();
        output.line(format!("{style}{word:<7}{style:#} {backup} in {region}, {arn}{why}"));
    }
    if kept.iter().any(CloudFinding::is_bad) {
        output.note(
            "hint: Restore from a region that has it. `drctl backup` makes another; find out who removed or changed this one.",
        );
    }
    for finding in kept {
        if let CloudCopy::Unshared { command, .. } = &finding.kept {
            output.note(format!("hint: `{command}` shares it again."));
        }
    }
}

fn show_log(output: &Output, item: &WalItem, finding: &WalFinding) {
    let (word, style) = match () {
        () if finding.is_bad() => ("bad", style::BAD),
        () if !finding.is_good() => ("unknown", style::WARN),
        () => ("good", style::GOOD),
    };
    let files = finding.good + finding.unproven;
    let until = finding.until.map(|until| format!(", until {}", format_time(until)));
    let depth = if files > 0 && finding.decrypted == files { ", decrypted" } else { "" };
    output.line(format!(
        "{style}{word:<7}{style:#} WAL of {} in {} since {}, {}{}{depth}",
        item.source,
        item.repository,
        item.since().map(BackupId::as_str).unwrap_or_default(),
        if files == 1 { "1 file".to_owned() } else { format!("{files} files") },
        until.unwrap_or_default()
    ));
    finding.faults.iter().chain(&finding.unread).for_each(|line| output.line(format!("        {line}")));
    if finding.unproven > 0 {
        output.line(format!(
            "        of {} of them it is not known what they should be: only `--identity` could tell",
            finding.unproven
        ));
    }
}

fn count_copies(copies: usize) -> String {
    if copies == 1 { "1 copy".to_owned() } else { format!("{copies} copies") }
}

#[derive(Serialize)]
struct VerifyDocument<'a> {
    good: bool,
    interrupted: bool,
    copies: Vec<FindingRow<'a>>,
    logs: Vec<WalVerifyRow<'a>>,
    /// AWS-managed backups, in each region recorded at their creation.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    kept: &'a [CloudFinding],
    /// Records of the journal that are not accepted.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    journal: &'a [String],
}

#[derive(Serialize)]
struct WalVerifyRow<'a> {
    source: &'a SourceName,
    repository: &'a RepositoryName,
    since: Option<&'a BackupId>,
    verdict: &'static str,
    files: u64,
    decrypted: u64,
    unproven: u64,
    until: Option<DateTime<Utc>>,
    faults: &'a [String],
    reasons: &'a [String],
}

#[derive(Serialize)]
struct FindingRow<'a> {
    backup: &'a BackupId,
    repository: &'a RepositoryName,
    verdict: &'static str,
    depth: Option<CheckDepth>,
    opened: bool,
    faults: &'a [crate::model::ObjectFault],
    reasons: &'a [String],
    /// A parent backup is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    broken: Option<String>,
}

fn document<'a>(report: &'a VerifyReport, unread: &'a [String]) -> VerifyDocument<'a> {
    let copies = report.findings.iter().map(|finding| {
        let row = FindingRow {
            backup: &finding.backup,
            repository: &finding.repository,
            verdict: "undetermined",
            depth: None,
            opened: !finding.not_opened,
            faults: &[],
            reasons: &[],
            broken: finding.broken.as_ref().map(ToString::to_string),
        };
        match &finding.verdict {
            CopyVerdict::Undetermined { reasons } => FindingRow { reasons, ..row },
            CopyVerdict::Unaccepted { reason } => {
                FindingRow { verdict: "bad", reasons: std::slice::from_ref(reason), ..row }
            }
            CopyVerdict::Missing { reason } => {
                FindingRow { verdict: "missing", reasons: std::slice::from_ref(reason), ..row }
            }
            CopyVerdict::Checked(check) => {
                let verdict = match (check.is_good(), &finding.broken) {
                    (true, None) => "good",
                    (true, Some(_)) => "broken",
                    (false, _) => "bad",
                };
                FindingRow { verdict, depth: Some(check.depth), faults: &check.faults, ..row }
            }
        }
    });
    let logs = report.logs.iter().map(|(item, finding)| WalVerifyRow {
        source: &item.source,
        repository: &item.repository,
        since: item.since(),
        verdict: match () {
            () if finding.is_bad() => "bad",
            () if finding.is_good() => "good",
            () => "undetermined",
        },
        files: finding.good + finding.unproven,
        decrypted: finding.decrypted,
        unproven: finding.unproven,
        until: finding.until,
        faults: &finding.faults,
        reasons: &finding.unread,
    });
    VerifyDocument {
        good: report.is_good() && unread.is_empty(),
        interrupted: report.interrupted,
        copies: copies.collect(),
        logs: logs.collect(),
        kept: &report.kept,
        journal: unread,
    }
}
