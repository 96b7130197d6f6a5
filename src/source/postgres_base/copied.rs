use super::backup_manifest::WalRange;
use super::completeness::Completeness;
use super::missing_files::MissingFiles;
use crate::model::{Artifact, DamagedPage, Digest, Excluded};

/// The artifact of the data directory, without the suffixes of its encoding. Those of tablespaces are
/// `<oid>.tar`.
pub const BASE: &str = "base.tar";

/// A copy that was stored completely.
pub(super) struct BaseBackupCopy {
    /// `base.tar` and those of the tablespaces.
    pub(super) artifacts: Vec<Artifact>,
    pub(super) range: WalRange,
    pub(super) damaged: Vec<DamagedPage>,
    /// What the data directory has and the copy lacks.
    pub(super) left_out: Vec<Excluded>,
    /// The part of it that PostgreSQL needs.
    pub(super) lacking: Vec<MissingFiles>,
    pub(super) presence: Completeness,
    /// The program that produced it, with its version.
    pub(super) producer: String,
    /// The digest of its `backup_manifest`, where that was cached.
    pub(super) kept: Option<Digest>,
}
