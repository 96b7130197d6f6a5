use std::collections::BTreeSet;

use super::calendar;
use super::view::RetentionView;
use crate::cli::Context;
use crate::cli::catalog_view::lock_words;
use crate::cli::error::CommandError;
use crate::cli::exit::Exit;
use crate::cli::output::Output;
use crate::cli::style;
use crate::cli::table::{Cell, TextTable};
use crate::model::{BackupKind, RepositoryName, RunId, SourceName};
use crate::platform::seed;
use crate::recoverability::immutability::Immutability;
use crate::retention::{Fate, LeftAlone, Leftover, Proof, Refusal, RefusalCode, RetentionPlan, SourcePlan};
use crate::text::{count, format_size, format_time};

/// Lines of what goes that are shown; programs get all of them.
const SHOWN: usize = 20;

pub(super) async fn run(context: &Context) -> Result<Exit, CommandError> {
    let own = RunId::new(context.clock.now(), seed());
    let view = RetentionView::open(context, &own).await?;
    let (plan, output) = (&view.plan, &context.output);
    if output.is_json() {
        output.document("retention-plan", &document(&view));
    } else {
        show_locks(output, plan, &view.immutability);
        show_costs(output, &view);
        show(output, plan, &view.surveyed.leftovers);
    }
    view.catalog.close().await;
    let blocked: Vec<&Refusal> = plan
        .sources
        .iter()
        .filter(|source| source.removes_anything())
        .flat_map(|source| plan.refusals_of(source, true))
        .collect();
    let unknown = plan.sources.iter().filter(|one| one.location.is_region() && !one.removes_anything());
    let of_regions = unknown.flat_map(|source| &source.refusals);
    let incomplete = plan.repositories.iter().flat_map(|(_, refusals)| refusals).chain(of_regions).next();
    if let Some(refusal) = blocked.first().copied().or(incomplete) {
        output.reason(format!("{}: {}", refusal.code.as_str(), refusal.message));
        return Ok(Exit::Partly);
    }
    Ok(Exit::Done)
}

#[derive(serde::Serialize)]
struct MonthlyCost<'a> {
    source: &'a SourceName,
    repository: &'a RepositoryName,
    before: f64,
    after: f64,
    currency: &'a str,
}

/// Shows what each repository costs a month, as far as the policy has prices.
fn show_costs(output: &Output, view: &RetentionView) {
    let Some(prices) = &view.policy.prices else { return };
    for repository in &view.policy.repositories {
        let of_it = view.plan.sources.iter();
        let of_it = of_it.filter(|source| source.location.repository() == Some(&repository.name));
        let (before, after) = of_it.fold((0, 0), |(before, after), source| {
            (before + source.before.bytes, after + source.after.bytes)
        });
        let cost = |bytes| prices.stored(&repository.name, bytes);
        if let Some((before, after)) = cost(before).zip(cost(after)) {
            let (name, currency, as_of) = (&repository.name, &prices.currency, prices.as_of);
            output.line(format!(
                "{name}: {before:.2} {currency} a month before, {after:.2} after (prices of {as_of})"
            ));
        }
    }
}

fn document(view: &RetentionView) -> impl serde::Serialize + '_ {
    #[derive(serde::Serialize)]
    struct PlanDocument<'a> {
        removes_anything: bool,
        /// Estimated, a month, by the policy's prices.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        costs: Vec<MonthlyCost<'a>>,
        #[serde(flatten)]
        plan: &'a RetentionPlan,
        leftovers: &'a [Leftover],
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        immutability: &'a [Immutability],
    }
    let costs = view.plan.sources.iter().filter_map(|source| {
        let repository = source.location.repository()?;
        let prices = view.policy.prices.as_ref()?;
        Some(MonthlyCost {
            source: &source.source,
            repository,
            before: prices.stored(repository, source.before.bytes)?,
            after: prices.stored(repository, source.after.bytes)?,
            currency: &prices.currency,
        })
    });
    PlanDocument {
        costs: costs.collect(),
        removes_anything: view.plan.removes_anything(),
        plan: &view.plan,
        leftovers: &view.surveyed.leftovers,
        immutability: &view.immutability,
    }
}

/// What is known of the locks, and how many the next `apply` extends or looks at.
fn show_locks(output: &Output, plan: &RetentionPlan, known: &[Immutability]) {
    for Immutability { repository, state } in known {
        let follow = plan.locks.iter().filter(|lock| lock.repository == *repository).count() as u64;
        let follow = match follow {
            0 => String::new(),
            number => format!("; {} locked as long as the rules keep it", count(number, "backup")),
        };
        output.line(format!("{repository}: {}{follow}", lock_words(state)));
    }
}

/// The calendars, then what goes, then the proof.
pub(super) fn show(output: &Output, plan: &RetentionPlan, leftovers: &[Leftover]) {
    for source in &plan.sources {
        show_source(output, source);
    }
    show_leftovers(output, leftovers);
    for (name, why) in &plan.lifecycle_unknown {
        output
            .note(format!("note: by which rules the bucket of `{name}` removes objects is not known: {why}"));
    }
    for (_, refusals) in &plan.repositories {
        refusals.iter().for_each(|refusal| show_refusal(output, refusal));
    }
    plan.refusals.iter().for_each(|refusal| show_refusal(output, refusal));
    let strong = style::STRONG;
    if !plan.removes_anything() {
        output.line("Nothing goes: every backup is kept by a rule.");
        if plan.refusals.iter().any(|refusal| refusal.code == RefusalCode::RulesChanged) {
            let digest = &plan.digest;
            output.line(format!(
                "`{strong}drctl retention apply --confirm {digest}{strong:#}` confirms the rules."
            ));
        }
        return;
    }
    let needs =
        |source: &SourcePlan| plan.refusals_of(source, false).any(|refusal| refusal.code.can_be_confirmed());
    let confirm = plan.sources.iter().filter(|source| source.removes_anything()).any(needs);
    let command = match confirm {
        true => format!("drctl retention apply --confirm {}", plan.digest),
        false => "drctl retention apply".to_owned(),
    };
    output.line(format!("Nothing was removed. `{strong}{command}{strong:#}` removes what goes."));
}

fn show_source(output: &Output, plan: &SourcePlan) {
    let (strong, faint) = (style::STRONG, style::FAINT);
    let rules = plan.rules.as_deref().unwrap_or("not in the policy: everything stays");
    output.line(format!("{strong}{} in {}{strong:#}  {faint}{rules}{faint:#}", plan.source, plan.location));
    let kinds: BTreeSet<BackupKind> = plan.restorable_here().map(|backup| backup.id.kind()).collect();
    for kind in kinds {
        calendar::lines(plan.restorable_here(), kind).iter().for_each(|line| output.line(line));
    }
    show_removals(output, plan);
    show_manifests(output, plan);
    if plan.location.is_region() {
        let mut table = TextTable::head(["", "BACKUPS", "RESTORABLE", "OLDEST", "NEWEST"].map(Cell::new));
        table.row(region_row("  before", &plan.before));
        table.row(region_row("  after", &plan.after));
        table.lines().iter().for_each(|line| output.line(line));
    } else if plan.before.backups > 0 || !plan.wal.is_empty() || plan.manifests().next().is_none() {
        let head = ["", "BACKUPS", "RESTORABLE", "OLDEST", "NEWEST", "ANY TIME FROM", "WAL FILES", "SIZE"];
        let mut table = TextTable::head(head.map(Cell::new));
        table.row(proof_row("  before", &plan.before));
        table.row(proof_row("  after", &plan.after));
        table.lines().iter().for_each(|line| output.line(line));
    }
    show_quota(output, plan);
    for LeftAlone { what, why, is_in_policy } in &plan.left {
        let named = if *is_in_policy { "" } else { ", which the policy does not name any more" };
        let warn = style::WARN;
        output.line(format!("  {warn}left alone{warn:#}: {what}{named}: {why}"));
        output.line("    hint: the permissions are those of `drctl iam show retention`; what is there stays, and is not counted");
    }
    plan.refusals.iter().for_each(|refusal| show_refusal(output, refusal));
    output.line("");
}

fn show_removals(output: &Output, plan: &SourcePlan) {
    let bad = style::BAD;
    let removed: Vec<_> = plan.restorable_here().filter(|backup| backup.is_removed()).collect();
    if !removed.is_empty() {
        let bytes = size_known(removed.iter().map(|backup| backup.bytes).sum());
        let all = count(removed.len() as u64, "backup");
        output.line(format!("  {bad}goes{bad:#}: {all}{bytes}"));
    }
    for backup in removed.iter().take(SHOWN) {
        let Fate::Remove(reason) = &backup.fate else { continue };
        let locked = backup.locked_until.map(|until| format!(", locked until {}", format_time(until)));
        let locked = locked.unwrap_or_default();
        let size = if plan.location.is_region() && backup.bytes == 0 {
            String::new()
        } else {
            format!("{:>9}  ", format_size(backup.bytes))
        };
        output.line(format!("    {} {size}{reason}{locked}", backup.id));
    }
    if removed.len() > SHOWN {
        output.line(format!("    and {} more (`--output json` names them)", removed.len() - SHOWN));
    }
    for wal in plan.wal.iter().filter(|wal| wal.removed_files > 0) {
        let files = count(wal.removed_files, "WAL file");
        output.line(format!(
            "  {bad}goes{bad:#}: {files} of system identifier {}, {}",
            wal.cluster,
            format_size(wal.removed_bytes)
        ));
        for range in wal.remove.iter().take(SHOWN) {
            output.line(format!("    {} to {}", range.first, range.last));
        }
        if wal.remove.len() > SHOWN {
            output.line(format!("    and {} more ranges", wal.remove.len() - SHOWN));
        }
        output.line(format!("    stays: {}", wal.reasons.join("; ")));
    }
}

/// Returns `, 4.0 KiB`; nothing where AWS does not say what it takes up.
fn size_known(bytes: u64) -> String {
    if bytes == 0 { String::new() } else { format!(", {}", format_size(bytes)) }
}

/// What a repository has of what AWS keeps: it stays and goes with that.
fn show_manifests(output: &Output, plan: &SourcePlan) {
    let all = plan.manifests().count();
    if all == 0 {
        return;
    }
    let going = plan.manifests().filter(|manifest| manifest.is_removed()).count() as u64;
    let stays = count(all as u64 - going, "manifest");
    output.line(format!("  {stays} of what stays in a region"));
    if going > 0 {
        let bad = style::BAD;
        output
            .line(format!("  {bad}goes{bad:#}: {} of what goes from every region", count(going, "manifest")));
    }
}

fn show_quota(output: &Output, plan: &SourcePlan) {
    let Some(quota) = plan.quota else { return };
    let removed = plan.removed().count() as u64;
    let left = quota.used.saturating_sub(removed);
    output.line(format!(
        "  manual snapshots of the account: {} of {} before, {left} after",
        quota.used, quota.most
    ));
    if quota.is_nearly_used_up(removed) {
        let warn = style::WARN;
        output.line(format!(
            "  {warn}warning{warn:#}: {left} of {} manual snapshots in {} would still be used: RDS takes none beyond that",
            quota.most, plan.location
        ));
        output.line("    hint: have AWS raise the quota, or keep fewer by `[retention.sources]`");
    }
}

fn region_row(name: &str, proof: &Proof) -> [Cell; 5] {
    let time = |time: Option<chrono::DateTime<chrono::Utc>>| time.map(format_time).unwrap_or_default();
    [
        Cell::new(name),
        Cell::new(proof.backups.to_string()).right(),
        Cell::new(proof.good_backups.to_string()).right(),
        Cell::new(time(proof.oldest_point)),
        Cell::new(time(proof.newest())),
    ]
}

fn proof_row(name: &str, proof: &Proof) -> [Cell; 8] {
    let time = |time: Option<chrono::DateTime<chrono::Utc>>| time.map(format_time).unwrap_or_default();
    let window = proof.windows.first();
    [
        Cell::new(name),
        Cell::new(proof.backups.to_string()).right(),
        Cell::new(proof.good_backups.to_string()).right(),
        Cell::new(time(proof.oldest_point)),
        Cell::new(time(proof.newest())),
        Cell::new(time(window.and_then(|window| window.from))),
        Cell::new(proof.wal_files.to_string()).right(),
        Cell::new(format_size(proof.bytes)).right(),
    ]
}

fn show_leftovers(output: &Output, leftovers: &[Leftover]) {
    for left in leftovers {
        let what = match (left.has_tombstone, left.is_due) {
            (true, _) => "a removal that was stopped; it goes",
            (false, true) => "it has no manifest; it goes",
            (false, false) => {
                "it has no manifest, and stays: a backup that lost it, or a run that may be resumed"
            }
        };
        let objects = count(left.objects.len() as u64, "object");
        output.line(format!(
            "{} in {}: {objects}, {}: {what}",
            left.backup,
            left.repository,
            format_size(left.bytes)
        ));
    }
}

pub(super) fn show_refusal(output: &Output, refusal: &Refusal) {
    let warn = style::WARN;
    output.line(format!("  {warn}refused{warn:#} ({}): {}", refusal.code.as_str(), refusal.message));
    output.line(format!("    hint: {}", refusal.hint));
}
