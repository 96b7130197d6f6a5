use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Context;
use super::catalog_view::{CatalogView, Freshness, GONE_HINT, prefix_length, state_word, word_style};
use super::error::CommandError;
use super::exit::Exit;
use super::points;
use super::style;
use super::table::{Cell, TextTable};
use super::undelete;
use crate::catalog::BackupEntry;
use crate::copies::{HiddenItem, HiddenSurvey};
use crate::model::{
    AssuranceLevel, BackupId, BackupKind, CloudBackupCopy, RepositoryName, SourceName, parent,
};
use crate::recoverability::assess::KnownRepository;
use crate::recoverability::missing_copies::MissingCopy;
use crate::recoverability::missing_wal::MissingWal;
use crate::repository::journal::Tombstones;
use crate::text::{approximate_duration, count, format_size};

/// List the backups, newest first, and where each is
#[derive(Debug, clap::Args)]
#[command(after_help = super::exit::HELP)]
pub struct ListArgs {
    /// Of this source only
    #[arg(value_name = "SOURCE")]
    source: Option<SourceName>,
    /// At most so many
    #[arg(long, short = 'n', value_name = "NUMBER")]
    limit: Option<usize>,
    /// The recovery points instead: what was backed up as one, how well it fits together, and which repository could give
    /// all of it back
    #[arg(long, conflicts_with_all = ["source", "include_hidden"])]
    points: bool,
    /// Also say what delete markers hide and what is overwritten, in buckets that keep versions
    #[arg(long, conflicts_with = "offline")]
    include_hidden: bool,
    #[command(flatten)]
    freshness: Freshness,
}

pub(super) async fn run(args: ListArgs, context: &Context) -> Result<Exit, CommandError> {
    let known = CatalogView::open(context, args.freshness.offline).await?;
    if args.points {
        return points::list(context, known, args.limit).await;
    }
    if let Some(source) = &args.source {
        check_source(source, &known).await?;
    }
    let all = known.entries_with_lost().await?;
    let mut ids: Vec<_> = all.iter().map(|entry| entry.id().clone()).collect();
    ids.sort();
    let wanted = |entry: &BackupEntry| args.source.as_ref().is_none_or(|name| entry.manifest.source == *name);
    let chosen: Vec<_> = all.iter().filter(|entry| wanted(entry)).collect();
    let shown = &chosen[..args.limit.unwrap_or(chosen.len()).min(chosen.len())];
    let places = known.places();
    let lacking = known.missing_wal(shown, &all).await;
    let removed = Tombstones::new(&known.catalog.runs(None).await?);
    let hidden = match args.include_hidden {
        true => Some(undelete::hidden(context, &known.policy, &known.catalog, &known.opened).await?),
        false => None,
    };
    if context.output.is_json() {
        let mut document = document(&known, shown, &places, &ids, (&lacking, &removed));
        document.hidden = hidden.as_ref().map(|hidden| hidden.items.as_slice());
        context.output.document("backups", &document);
    } else {
        show(context, shown, chosen.len(), &places, &ids, (&lacking, &removed));
        hidden.iter().for_each(|hidden| show_hidden(context, hidden, places.len()));
    }
    let is_hidden_known = hidden.as_ref().is_none_or(|hidden| hidden.unknown.is_empty());
    for (name, why) in hidden.iter().flat_map(|hidden| &hidden.unknown) {
        context.output.warn(format!("what is hidden in `{name}` is not known: {why}"));
    }
    // Only if all repositories were queried, it is certain that there is none.
    let all_asked = places.iter().all(|place| place.reached);
    if known.missing.iter().any(MissingCopy::is_gone) {
        context.output.note(GONE_HINT);
    }
    let is_done = known.is_whole() && is_hidden_known && (all_asked || !all.is_empty());
    known.catalog.close().await;
    Ok(if is_done { Exit::Done } else { Exit::Partly })
}

/// `all`: the number of repositories.
fn show_hidden(context: &Context, hidden: &HiddenSurvey, all: usize) {
    let (output, bad) = (&context.output, style::BAD);
    for item in &hidden.items {
        let end = match (item.is_removed, item.can_be_brought_back()) {
            (true, _) => "removed on purpose",
            (false, true) => "can be brought back",
            (false, false) => "not every object has an intact version",
        };
        output.line(format!("{bad}hidden{bad:#} {}; {end}", undelete::words(item)));
    }
    if hidden.items.is_empty() {
        let nothing = undelete::nothing_found(hidden.unversioned.len(), hidden.unknown.len(), all);
        nothing.into_iter().for_each(|nothing| output.line(nothing));
    }
    for name in &hidden.unversioned {
        output.note(format!("note: `{name}` keeps no versions: what is gone from it is gone"));
    }
    if hidden.items.iter().any(|item| !item.is_removed) {
        output.note("hint: `drctl copies undelete` shows what brings it back.");
    }
}

/// Rejects a source that neither the policy nor any backup knows, as a typo.
async fn check_source(source: &SourceName, known: &CatalogView) -> Result<(), CommandError> {
    let is_held = known.entries().await?.iter().any(|entry| entry.manifest.source == *source);
    if is_held || known.policy.source(source).is_some() {
        return Ok(());
    }
    let names: Vec<_> = known.policy.sources.iter().map(|source| format!("`{}`", source.name)).collect();
    Err(CommandError::usage(format!("there is no source `{source}` in the policy, and no backup of one"))
        .hint(format!("The policy has {}.", names.join(", "))))
}

fn show(
    context: &Context,
    shown: &[&BackupEntry],
    total: usize,
    places: &[KnownRepository],
    ids: &[BackupId],
    (lacking, removed): (&MissingWal, &Tombstones),
) {
    let output = &context.output;
    if shown.is_empty() {
        return output.line(match places.iter().all(|place| place.reached) {
            true => "There are no backups.",
            false => "No backup is known, and not every repository could be queried.",
        });
    }
    let titles = ["BACKUP", "AGE", "DATA", "STORED"].map(Cell::new);
    let [backup, age, data, stored] = titles;
    let names = places.iter().map(|place| {
        let unreached = if place.reached { "" } else { " (not reached)" };
        Cell::new(format!("{}{unreached}", place.name))
    });
    let mut table =
        TextTable::head([backup, age.right(), data.right(), stored.right()].into_iter().chain(names));
    let now = context.clock.now();
    for entry in shown {
        let manifest = &entry.manifest;
        let cells = [
            Cell::new(manifest.id.as_str()).strong(prefix_length(&manifest.id, ids)),
            Cell::new(age_of(manifest.recovery_point, now).unwrap_or_else(|| FUTURE.to_owned())).right(),
            Cell::new(format_size(manifest.plain_size())).right(),
            Cell::new(format_size(manifest.stored_size())).right(),
        ];
        let states = places.iter().map(|place| {
            let word = state_word(entry, place, lacking);
            Cell::new(word).style(word_style(word))
        });
        table.row(cells.into_iter().chain(states));
    }
    table.lines().iter().for_each(|line| output.line(line));
    for entry in shown {
        // The bytes of these are in no repository.
        let Some(managed) = &entry.manifest.managed else { continue };
        let held = managed.held.iter().filter(|held| !removed.has_cloud_copy(entry.id(), &held.arn));
        let regions: Vec<_> = held.map(|held| held.region.as_str()).collect();
        output.line(match regions.is_empty() {
            true => format!("{} was removed from every region", entry.id()),
            false => format!("{} is kept by AWS in {}", entry.id(), regions.join(" and ")),
        });
    }
    for (entry, place) in shown.iter().flat_map(|entry| places.iter().map(move |place| (entry, place))) {
        if let Some(reason) = lacking.reason(entry.id(), &place.name) {
            let prefix = &entry.id().as_str()[..prefix_length(entry.id(), ids)];
            let word = state_word(entry, place, lacking);
            context.output.warn(format!("{prefix} in `{}` is {word}: {reason}", place.name));
        }
    }
    let stored = shown.iter().map(|entry| entry.manifest.stored_size()).sum();
    let faint = style::FAINT;
    let of = if total > shown.len() { format!(" of {total}") } else { String::new() };
    let backups = count(shown.len() as u64, "backup");
    output.line(format!("{faint}{backups}{of}, {} stored{faint:#}", format_size(stored)));
}

/// For a time in the future: some clock is wrong.
pub(super) const FUTURE: &str = "in the future";

/// Formats an age as `3 h 2 min`; `None` for a time in the future.
pub(super) fn age_of(time: DateTime<Utc>, now: DateTime<Utc>) -> Option<String> {
    (now - time).to_std().ok().map(approximate_duration)
}

#[derive(Serialize)]
struct ListDocument<'a> {
    system: &'a str,
    /// Whether the repositories were queried.
    refreshed: bool,
    repositories: Vec<RepositoryRow>,
    backups: Vec<BackupRow<'a>>,
    /// What delete markers hide and what is overwritten; absent unless asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    hidden: Option<&'a [HiddenItem]>,
}

#[derive(Serialize)]
struct RepositoryRow {
    name: RepositoryName,
    reached: bool,
    problem: Option<String>,
}

#[derive(Serialize)]
struct BackupRow<'a> {
    id: &'a BackupId,
    /// The part of the id that distinguishes it from the others.
    prefix: &'a str,
    source: &'a SourceName,
    kind: BackupKind,
    /// The parent, which a restore needs, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<&'a BackupId>,
    recovery_point: DateTime<Utc>,
    begun: DateTime<Utc>,
    ended: DateTime<Utc>,
    host: &'a str,
    plain_bytes: u64,
    stored_bytes: u64,
    /// Of the best good copy.
    state: Option<AssuranceLevel>,
    copies: Vec<CopyRow>,
    /// Its regions according to the manifest, but for those that it was removed from; for AWS-managed backups only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    held: Vec<&'a CloudBackupCopy>,
}

#[derive(Serialize)]
struct CopyRow {
    repository: RepositoryName,
    state: &'static str,
    /// What it lacks for a restore from there.
    #[serde(skip_serializing_if = "Option::is_none")]
    lacking: Option<String>,
    checked_at: Option<DateTime<Utc>>,
}

fn document<'a>(
    known: &'a CatalogView,
    shown: &[&'a BackupEntry],
    places: &[KnownRepository],
    ids: &[BackupId],
    (lacking, removed): (&MissingWal, &Tombstones),
) -> ListDocument<'a> {
    let repository = |place: &KnownRepository| RepositoryRow {
        name: place.name.clone(),
        reached: place.reached,
        problem: known.problem(&place.name),
    };
    let backup = |entry: &&'a BackupEntry| {
        let manifest = &entry.manifest;
        let is_left = |held: &&CloudBackupCopy| !removed.has_cloud_copy(entry.id(), &held.arn);
        let copy = |place: &KnownRepository| {
            let copy = entry.copy(&place.name);
            CopyRow {
                repository: place.name.clone(),
                state: state_word(entry, place, lacking),
                lacking: lacking.reason(entry.id(), &place.name),
                checked_at: copy.and_then(|copy| copy.last_check.as_ref()).map(|check| check.at),
            }
        };
        BackupRow {
            id: &manifest.id,
            prefix: &manifest.id.as_str()[..prefix_length(&manifest.id, ids)],
            source: &manifest.source,
            kind: manifest.kind,
            parent: parent(manifest),
            recovery_point: manifest.recovery_point,
            begun: manifest.begun,
            ended: manifest.ended,
            host: &manifest.host,
            plain_bytes: manifest.plain_size(),
            stored_bytes: manifest.stored_size(),
            state: entry.state(),
            copies: places.iter().map(copy).collect(),
            held: manifest.managed.iter().flat_map(|managed| &managed.held).filter(is_left).collect(),
        }
    };
    ListDocument {
        system: known.policy.system.as_str(),
        refreshed: known.refreshed.is_some(),
        repositories: places.iter().map(repository).collect(),
        backups: shown.iter().map(backup).collect(),
        hidden: None,
    }
}
