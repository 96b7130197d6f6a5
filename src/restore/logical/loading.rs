//! The database that a dump is loaded into, and the transfer of its bytes.

use std::path::PathBuf;

use serde::Serialize;

use super::{DatabaseServerFacts, DumpRestoreRequest, ExistingDatabase, LeftoverDatabase};
use crate::model::Artifact;

/// The extension that can be in only one database of a server, chosen by name.
pub(super) const PG_CRON: &str = "pg_cron";
/// In addition to the decoded dump itself.
const SCRATCH_MARGIN: u64 = 16 << 20;

/// How the dump is passed to `pg_restore`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "mode")]
pub enum DumpTransfer {
    /// Decoded into an unlinked file, and verified, before anything is loaded.
    Scratch { directory: PathBuf, needed: u64, free: u64 },
    /// Directly into its standard input; verified at the last byte, before the database is published.
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

/// Returns the database that has the final name when the load begins.
pub(super) fn standing<'a>(
    request: &DumpRestoreRequest,
    target: &'a DatabaseServerFacts,
) -> Option<&'a ExistingDatabase> {
    let is_dropped = request.drop_leftovers
        && left_under_the_name(request, target).is_some_and(LeftoverDatabase::may_be_dropped);
    target.existing.as_ref().filter(|_| !is_dropped)
}

/// Returns the leftover of an interrupted restore under the final name.
pub(super) fn left_under_the_name<'a>(
    request: &DumpRestoreRequest,
    target: &'a DatabaseServerFacts,
) -> Option<&'a LeftoverDatabase> {
    target.leftovers.iter().find(|leftover| leftover.database == request.database)
}

/// Returns whether the server allows pg_cron in the database that is loaded, whose setting not every role may
/// read.
pub(super) fn cron_may_be_in(request: &DumpRestoreRequest, target: &DatabaseServerFacts) -> bool {
    request.keeps_name
        && match &target.cron_database {
            Some(bound) => *bound == request.database,
            None => !target.superuser,
        }
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
    // Selecting tables requires the archive's contents, which may come only with its last byte. And a
    // database that cannot be dropped is loaded only from a verified dump.
    if request.jobs <= 1 && request.is_everything() && into != LoadsInto::Existing {
        return DumpTransfer::Stream;
    }
    let needed = dump.plain.size.saturating_add(SCRATCH_MARGIN);
    DumpTransfer::Scratch { directory: request.scratch.clone(), needed, free }
}
