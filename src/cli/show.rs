use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Context;
use super::catalog_view::{CatalogView, Freshness, state_word, word_style};
use super::error::CommandError;
use super::exit::Exit;
use super::list::{FUTURE, age_of};
use super::style;
use super::table::{Cell, TextTable};
use crate::catalog::{BackupEntry, RepositoryEntry};
use crate::model::{
    CheckDepth, CloudBackupCopy, CopyCheck, Manifest, Protection, RepositoryName, SourceName,
};
use crate::recoverability::assess::KnownRepository;
use crate::recoverability::missing_wal::MissingWal;
use crate::repository::journal::Tombstones;
use crate::repository::layout;
use crate::text::{approximate_duration, count, format_size, format_time};

/// Show everything about one backup, and how to restore it manually
#[derive(Debug, clap::Args)]
#[command(after_help = super::exit::HELP)]
pub struct ShowArgs {
    /// The backup's id, or as much of it as tells it from the others
    #[arg(value_name = "ID")]
    backup: String,
    #[command(flatten)]
    freshness: Freshness,
}

pub(super) async fn run(args: ShowArgs, context: &Context) -> Result<Exit, CommandError> {
    let known = CatalogView::open(context, args.freshness.offline).await?;
    let entry = known.find(&args.backup).await?;
    let stores = known.catalog.repositories().await?;
    let places = known.places();
    let lacking = known.missing_wal(&[&entry], &known.entries().await?).await;
    let removed = Tombstones::new(&known.catalog.runs(None).await?);
    let is_removed = |held: &CloudBackupCopy| removed.has_cloud_copy(entry.id(), &held.arn);
    if context.output.is_json() {
        let mut document = document(&entry, &places, &stores, &lacking);
        let held = entry.manifest.managed.iter().flat_map(|managed| &managed.held);
        document.removed = held.filter(|held| is_removed(held)).collect();
        context.output.document("backup", &document);
    } else {
        let mut entry = entry.clone();
        if let Some(managed) = &mut entry.manifest.managed {
            managed.held.retain(|held| !is_removed(held));
        }
        show(context, &entry, &places, &stores, &lacking);
    }
    known.catalog.close().await;
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct ShowDocument<'a> {
    manifest: &'a Manifest,
    copies: Vec<CopyDetailRow<'a>>,
    /// What the manifest names, and retention removed since.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    removed: Vec<&'a CloudBackupCopy>,
}

#[derive(Serialize)]
struct CopyDetailRow<'a> {
    repository: &'a RepositoryName,
    state: &'static str,
    /// What it lacks for a restore from there.
    #[serde(skip_serializing_if = "Option::is_none")]
    lacking: Option<String>,
    location: Option<&'a str>,
    folder: String,
    vanished: Option<DateTime<Utc>>,
    last_check: Option<&'a CopyCheck>,
}

fn document<'a>(
    entry: &'a BackupEntry,
    places: &'a [KnownRepository],
    stores: &'a [RepositoryEntry],
    lacking: &'a MissingWal,
) -> ShowDocument<'a> {
    let copy = |place: &'a KnownRepository| {
        let copy = entry.copy(&place.name);
        CopyDetailRow {
            repository: &place.name,
            state: state_word(entry, place, lacking),
            lacking: lacking.reason(entry.id(), &place.name),
            location: location(stores, &place.name),
            folder: layout::backup(&entry.manifest.system, entry.id()),
            vanished: copy.and_then(|copy| copy.vanished),
            last_check: copy.and_then(|copy| copy.last_check.as_ref()),
        }
    };
    ShowDocument { manifest: &entry.manifest, copies: places.iter().map(copy).collect(), removed: vec![] }
}

fn location<'a>(stores: &'a [RepositoryEntry], name: &RepositoryName) -> Option<&'a str> {
    stores.iter().find(|store| store.name == *name).map(|store| store.location.as_str())
}

fn show(
    context: &Context,
    entry: &BackupEntry,
    places: &[KnownRepository],
    stores: &[RepositoryEntry],
    lacking: &MissingWal,
) {
    let output = &context.output;
    let manifest = &entry.manifest;
    let strong = style::STRONG;
    output.line(format!("{strong}{}{strong:#}", manifest.id));
    output.line("");
    facts(context, manifest).lines().iter().for_each(|line| output.line(format!("  {line}")));
    output.line("");
    artifacts(manifest).lines().iter().for_each(|line| output.line(format!("  {line}")));
    output.line("");
    copies(entry, places, stores, lacking).lines().iter().for_each(|line| output.line(format!("  {line}")));
    for place in places {
        if let Some(reason) = lacking.reason(entry.id(), &place.name) {
            let word = state_word(entry, place, lacking);
            output.line(format!("  From {} it is {word}: {reason}.", place.name));
        }
    }
    output.line("");
    output.line("To restore it manually, in a copy of the folder:");
    output.line("");
    for command in &manifest.by_hand {
        output.line(format!("  {command}"));
    }
}

fn facts(context: &Context, manifest: &Manifest) -> TextTable {
    let mut table = TextTable::default();
    let mut fact = |name: &str, text: String| {
        table.row([Cell::new(name).style(style::FAINT), Cell::new(text)]);
    };
    let ago = match age_of(manifest.recovery_point, context.clock.now()) {
        Some(age) => format!("{age} ago"),
        None => FUTURE.to_owned(),
    };
    let took = (manifest.ended - manifest.begun).to_std().unwrap_or_default();
    fact("source", format!("{} ({})", manifest.source, manifest.kind));
    fact("data of", format!("{}, {ago}", format_time(manifest.recovery_point)));
    fact(
        "taken",
        format!("on {}, in {}, by run {}", manifest.host, approximate_duration(took), manifest.run),
    );
    if let Some(point) = &manifest.point {
        let members: Vec<_> = point.members.iter().map(SourceName::as_str).collect();
        fact("point", format!("{}, {}: {}", manifest.run, point.mode, members.join(", ")));
    }
    if let Some(server) = &manifest.server {
        let at = server.address.as_ref().map(|address| format!(" at {address}")).unwrap_or_default();
        fact("server", format!("PostgreSQL {}{at}", server.version));
        if let Some(replaces) = &server.replaces {
            fact(
                "replaces",
                format!("the cluster with system identifier {replaces}, accepted when it was taken"),
            );
        }
    }
    if let Some(physical) = &manifest.physical {
        let checked = match (physical.page_checksums, physical.damaged.len()) {
            (false, _) => "; pages have no checksums".to_owned(),
            (true, 0) => String::new(),
            (true, damaged) => format!("; {} when it was copied", count(damaged as u64, "damaged page")),
        };
        fact(
            "WAL",
            format!("{} to {} of timeline {}{checked}", physical.start, physical.stop, physical.timeline),
        );
        if let Some(parent) = &physical.parent {
            fact("changes", format!("since {parent}, which a restore needs too"));
        }
        for page in &physical.damaged {
            let block = page.block.map_or_else(|| "more blocks".to_owned(), |block| format!("block {block}"));
            fact("damaged", format!("{}, {block}", page.file));
        }
        for file in &physical.missing_files {
            fact(
                "missing",
                format!("{file}, which the cluster's catalog names, was not there when it was copied"),
            );
        }
        for tablespace in &physical.tablespaces {
            fact("tablespace", format!("{}, was at {}", tablespace.oid, tablespace.location));
        }
        for left in &physical.left_out {
            fact("left out", left.to_string());
        }
    }
    if let Some(managed) = &manifest.managed {
        let room = managed.allocated_gib.map(|gib| format!(", storage of {gib} GiB")).unwrap_or_default();
        let encrypted = if managed.encrypted { "encrypted" } else { "not encrypted" };
        fact("kept by", format!("AWS, {encrypted}{room}; the repositories hold how it was set up"));
        for held in &managed.held {
            let vault = held.vault.as_ref().map(|vault| format!(", in vault {vault}")).unwrap_or_default();
            fact("in", format!("{}: {}{vault}", held.region, held.arn));
            if let Some(key) = &held.kms_key {
                fact("", format!("{}  with key {key}", " ".repeat(held.region.len())));
            }
        }
    }
    fact("tools", format!("drctl {}, {}", manifest.tool.drctl, manifest.tool.producer));
    fact("opened by", opened_by(&manifest.protection));
    fact(
        "size",
        format!("{}, {} stored", format_size(manifest.plain_size()), format_size(manifest.stored_size())),
    );
    table
}

fn opened_by(protection: &Protection) -> String {
    let Protection::Age { recipients } = protection else { return "anyone: it is not encrypted".to_owned() };
    let named = recipients.iter().map(|print| match &print.holder {
        Some(holder) => format!("{holder} ({})", print.recipient),
        None => print.recipient.clone(),
    });
    named.collect::<Vec<_>>().join(", ")
}

fn artifacts(manifest: &Manifest) -> TextTable {
    let [artifact, data, stored, objects, plain] =
        ["ARTIFACT", "DATA", "STORED", "OBJECTS", "SHA-256 OF THE DATA"].map(Cell::new);
    let mut table = TextTable::head([artifact, data.right(), stored.right(), objects.right(), plain]);
    for artifact in &manifest.artifacts {
        table.row([
            Cell::new(&artifact.name),
            Cell::new(format_size(artifact.plain.size)).right(),
            Cell::new(format_size(artifact.stored_size())).right(),
            Cell::new(artifact.objects.len().to_string()).right(),
            Cell::new(artifact.plain.sha256.to_string()).style(style::FAINT),
        ]);
    }
    table
}

fn copies(
    entry: &BackupEntry,
    places: &[KnownRepository],
    stores: &[RepositoryEntry],
    lacking: &MissingWal,
) -> TextTable {
    let mut table = TextTable::head(["REPOSITORY", "STATE", "LAST CHECK", "WHERE"].map(Cell::new));
    let folder = layout::backup(&entry.manifest.system, entry.id());
    for place in places {
        let copy = entry.copy(&place.name);
        let word = state_word(entry, place, lacking);
        let name = match place.reached {
            true => place.name.to_string(),
            false => format!("{} (not reached)", place.name),
        };
        let at = location(stores, &place.name).unwrap_or("an unknown place");
        table.row([
            Cell::new(name),
            Cell::new(word).style(word_style(word)),
            Cell::new(copy.map_or_else(|| "never".to_owned(), |copy| last_check(copy.last_check.as_ref()))),
            Cell::new(format!("{folder} in {at}")),
        ]);
    }
    table
}

fn last_check(check: Option<&CopyCheck>) -> String {
    let Some(check) = check else { return "never".to_owned() };
    let found = match (check.faults.as_slice(), check.depth) {
        ([], CheckDepth::Stored) => "stored bytes are good".to_owned(),
        ([], CheckDepth::Plain) => "decrypted, all good".to_owned(),
        ([fault], _) => format!("{} is {}", fault.object, fault.fault.as_str()),
        ([fault, others @ ..], _) => {
            format!("{} is {}, and {} more", fault.object, fault.fault.as_str(), others.len())
        }
    };
    format!("{}: {found}", check.at.format("%Y-%m-%d %H:%M"))
}
