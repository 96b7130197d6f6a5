use std::path::{Path, PathBuf};

use serde::Serialize;

use super::PhysicalRestoreRequest;
use crate::model::{Lsn, Tablespace};

/// The destination of a tablespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TablespacePlan {
    pub oid: u32,
    pub was: String,
    pub to: PathBuf,
    /// The position of the record that creates it; absent where it is in the backup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub made_at: Option<Lsn>,
    pub bytes: u64,
    /// The extra space that a chain takes there until it is combined.
    pub scratch_bytes: u64,
}

/// Returns the directory next to the data directory that holds tablespaces without a mapping.
pub(super) fn beside(to: &Path) -> PathBuf {
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push("-tablespaces");
    to.with_file_name(name)
}

/// Returns the destination of each tablespace: as mapped, or next to the data directory.
pub(super) fn tablespace_directories<'p>(
    request: &PhysicalRestoreRequest,
    tablespaces: &'p [Tablespace],
) -> Vec<(&'p Tablespace, PathBuf)> {
    let beside = beside(&request.to);
    let place = |space: &Tablespace| {
        let mapped = request.tablespaces.iter().find(|mapping| {
            mapping.which == space.oid.to_string() || Path::new(&mapping.which) == Path::new(&space.location)
        });
        mapped.map_or_else(|| beside.join(space.oid.to_string()), |mapping| mapping.directory.clone())
    };
    tablespaces.iter().map(|space| (space, place(space))).collect()
}
