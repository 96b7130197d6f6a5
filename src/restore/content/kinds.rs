//! The methods by kind of backup.

use super::bucket::BucketObjects;
use super::chroma::ChromaDirectory;
use super::command::CommandOutput;
use super::files::FilesTree;
use super::git::GitRepository;
use super::method::ContentMethod;
use super::redis::RedisDump;
use super::sqlite::SqliteDatabase;
use crate::model::BackupKind;

/// The implementation for a kind; `None` for kinds with a method of restore of their own.
pub(super) fn of_kind(kind: BackupKind) -> Option<Box<dyn ContentMethod>> {
    match kind {
        BackupKind::Sqlite => Some(Box::new(SqliteDatabase)),
        BackupKind::Chroma => Some(Box::new(ChromaDirectory)),
        BackupKind::Redis => Some(Box::new(RedisDump)),
        BackupKind::Files => Some(Box::new(FilesTree)),
        BackupKind::Git => Some(Box::new(GitRepository)),
        BackupKind::Bucket => Some(Box::new(BucketObjects)),
        BackupKind::Command => Some(Box::new(CommandOutput)),
        _ => None,
    }
}
