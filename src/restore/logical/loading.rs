//! Into what a dump is loaded, and how its bytes get there.

use std::path::PathBuf;

use serde::Serialize;

use super::{DatabaseServerFacts, DumpRestoreRequest, ExistingDatabase, LeftoverDatabase};
use crate::model::Artifact;

/// The extension that is in one database of a server only, by its name.
pub(super) const PG_CRON: &str = "pg_cron";
/// Beside the unpacked dump itself.
const SCRATCH_MARGIN: u64 = 16 << 20;

/// How the dump gets into `pg_restore`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "mode")]
pub enum DumpTransfer {
    /// Unpacked into a file without a name, and proven, before anything is loaded.
    Scratch { directory: PathBuf, needed: u64, free: u64 },
    /// Straight into its standard input; proven when the last byte went by, before it is published.
    Stream,
}

/// What the dump is loaded into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoadsInto {
    /// A new database under a temporary name.
    Temporary,
    /// A new database under the final name.
    New,
    /// The empty database that has the final name.
    Existing,
}

/// The database that has the final name when the load begins.
pub(super) fn standing<'a>(
    request: &DumpRestoreRequest,
    target: &'a DatabaseServerFacts,
) -> Option<&'a ExistingDatabase> {
    let is_dropped = request.drop_leftovers
        && left_under_the_name(request, target).is_some_and(LeftoverDatabase::may_be_dropped);
    target.existing.as_ref().filter(|_| !is_dropped)
}

/// What a restore that did not end has left under the final name.
pub(super) fn left_under_the_name<'a>(
    request: &DumpRestoreRequest,
    target: &'a DatabaseServerFacts,
) -> Option<&'a LeftoverDatabase> {
    target.leftovers.iter().find(|leftover| leftover.database == request.database)
}

pub(super) fn loads_into(request: &DumpRestoreRequest, target: &DatabaseServerFacts) -> LoadsInto {
    match (request.keeps_name, standing(request, target)) {
        (false, _) => LoadsInto::Temporary,
        (true, None) => LoadsInto::New,
        (true, Some(_)) => LoadsInto::Existing,
    }
}

pub(super) fn route(
    request: &DumpRestoreRequest,
    dump: &Artifact,
    into: LoadsInto,
    free: u64,
) -> DumpTransfer {
    // Choosing tables takes the archive's contents, and those may come only with its last byte. And into what
    // cannot be dropped again nothing is loaded before it is proven.
    if request.jobs <= 1 && request.is_everything() && into != LoadsInto::Existing {
        return DumpTransfer::Stream;
    }
    let needed = dump.plain.size.saturating_add(SCRATCH_MARGIN);
    DumpTransfer::Scratch { directory: request.scratch.clone(), needed, free }
}
