//! The names of what a restored data directory has, PostgreSQL's and drctl's.

/// Under this name until everything else is durable: without it no server starts.
pub(super) const CONTROL: &str = "global/pg_control";
pub(super) const CONTROL_KEPT: &str = "global/pg_control.drctl";
pub(super) const MANIFEST: &str = "backup_manifest";
pub(super) const TABLESPACES: &str = "pg_tblspc";
pub(super) const CONFIGURATION: &str = "postgresql.conf";
/// What ALTER SYSTEM writes, and drctl.
pub(super) const AUTO_CONFIGURATION: &str = "postgresql.auto.conf";
/// In a directory that is being restored, until it is whole.
pub(super) const MARKER: &str = "drctl-unfinished.json";
/// In a directory that was restored, for as long as it is a copy: which run restored it, so that teardown knows it.
pub(super) const RESTORED: &str = "drctl-restored.json";
/// In a directory that was restored, until its recovery is proven.
pub(super) const RESUME_STATE: &str = "drctl-recovery.json";
/// How to do the same without drctl.
pub(super) const MANUAL_RESTORE: &str = "RECOVER-BY-HAND.txt";
/// What the server says while it recovers.
pub(super) const SERVER_LOG: &str = "drctl-recovery.log";
