//! The names of files in a restored data directory, PostgreSQL's and drctl's.

/// Has another name until everything else is durable: without it no server starts.
pub(super) const CONTROL: &str = "global/pg_control";
pub(super) const CONTROL_KEPT: &str = "global/pg_control.drctl";
pub(super) const MANIFEST: &str = "backup_manifest";
pub(super) const TABLESPACES: &str = "pg_tblspc";
pub(super) const CONFIGURATION: &str = "postgresql.conf";
/// Written by ALTER SYSTEM, and by drctl.
pub(super) const AUTO_CONFIGURATION: &str = "postgresql.auto.conf";
/// In a directory that is being restored, until it is complete.
pub(super) const MARKER: &str = "drctl-unfinished.json";
/// In a restored directory as long as it is a copy: records which run restored it, so that teardown
/// recognizes it.
pub(super) const RESTORED: &str = "drctl-restored.json";
/// In a restored directory, until its recovery is verified.
pub(super) const RESUME_STATE: &str = "drctl-recovery.json";
/// How to do the same without drctl.
pub(super) const MANUAL_RESTORE: &str = "RECOVER-BY-HAND.txt";
/// What the server logs during recovery.
pub(super) const SERVER_LOG: &str = "drctl-recovery.log";
