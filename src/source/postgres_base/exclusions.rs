//! The paths of a data directory that belong to a copy: the same as in PostgreSQL's own BASE_BACKUP.

use std::path::Path;

/// Directories of the data directory whose contents a server recreates.
const EMPTIED: [&str; 7] =
    ["pg_dynshmem", "pg_notify", "pg_replslot", "pg_serial", "pg_snapshots", "pg_stat_tmp", "pg_subtrans"];
/// Files of the data directory that belong to the running server, or to a copy: that of a standby must not
/// continue as one.
const LEFT_OUT: [&str; 9] = [
    "backup_label",
    "backup_manifest",
    "current_logfiles.tmp",
    "postgresql.auto.conf.tmp",
    "postmaster.opts",
    "postmaster.pid",
    "recovery.signal",
    "standby.signal",
    "tablespace_map",
];
const TEMPORARY: &str = "pgsql_tmp";
/// A cache that is recreated; a running server has it under longer names for a moment.
const RELATION_CACHE: &str = "pg_internal.init";

/// Paths that hold data, or metadata of it.
const NEEDED: [&str; 10] = [
    "PG_VERSION",
    "base",
    "global",
    "pg_commit_ts",
    "pg_logical",
    "pg_multixact",
    "pg_tblspc",
    "pg_twophase",
    "pg_xact",
    "postgresql.auto.conf",
];
/// A server recreates it, and would lose its counters.
const STATISTICS: &str = "pg_stat";

/// Returns whether a copy without this path, relative to the data directory, is unusable.
pub(super) fn is_needed(path: &Path) -> bool {
    path.components().next().is_some_and(|first| NEEDED.iter().any(|needed| first.as_os_str() == *needed))
}

/// Returns whether a link at this path is followed: it is PostgreSQL's own.
pub(super) fn is_followed(path: &Path) -> bool {
    is_needed(path) || path.components().next().is_some_and(|first| first.as_os_str() == STATISTICS)
}

/// Returns whether a file is a server's Unix socket, or its lock file.
pub(super) fn is_of_a_socket(name: &str) -> bool {
    name.starts_with(".s.PGSQL.")
}

/// Returns whether an entry is left out, by its name; `at_top`: it is in the data directory itself.
pub(super) fn is_left_out(name: &str, at_top: bool) -> bool {
    name.starts_with(TEMPORARY) || name.starts_with(RELATION_CACHE) || at_top && LEFT_OUT.contains(&name)
}

/// Returns whether a directory of the data directory is copied without its contents.
pub(super) fn is_emptied(name: &str) -> bool {
    EMPTIED.contains(&name)
}

/// A file of a relation: `16384`, `16384_vm`, `16384_init`, `16384.1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RelationFile<'a> {
    pub(super) number: &'a str,
    pub(super) is_init: bool,
    pub(super) segment: u32,
}

impl<'a> RelationFile<'a> {
    pub(super) fn parse(name: &'a str) -> Option<Self> {
        let (name, segment) = match name.split_once('.') {
            Some((name, segment)) => (name, number(segment)?.parse().ok()?),
            None => (name, 0),
        };
        let (relation, fork) = match name.split_once('_') {
            Some((relation, fork)) => (relation, Some(fork)),
            None => (name, None),
        };
        if fork.is_some_and(|fork| !matches!(fork, "fsm" | "vm" | "init")) {
            return None;
        }
        Some(Self { number: number(relation)?, is_init: fork == Some("init"), segment })
    }
}

/// Returns whether a file is of a temporary table: `t3_16384`, `t3_16384_fsm.1`.
pub(super) fn is_temporary_relation(name: &str) -> bool {
    name.strip_prefix('t')
        .and_then(|rest| rest.split_once('_'))
        .is_some_and(|(backend, rest)| number(backend).is_some() && RelationFile::parse(rest).is_some())
}

fn number(text: &str) -> Option<&str> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_leaves_out_is_left_out() {
        for name in
            ["postmaster.pid", "pgsql_tmp", "pgsql_tmp123.0", "pg_internal.init", "pg_internal.init.77"]
        {
            assert!(is_left_out(name, true), "{name}");
        }
        for name in ["PG_VERSION", "postgresql.conf", "pg_hba.conf", "1259", "pg_control"] {
            assert!(!is_left_out(name, true), "{name}");
        }
        assert!(!is_left_out("postmaster.pid", false));
        for path in ["base/5", "base/5/1259", "pg_multixact/offsets", "pg_tblspc/1/PG_15_1/5/1", "PG_VERSION"]
        {
            assert!(is_needed(Path::new(path)) && is_followed(Path::new(path)), "{path}");
        }
        for path in ["log", "conf.d/base", "server.key", "pg_wal", "postgresql.conf"] {
            assert!(!is_needed(Path::new(path)) && !is_followed(Path::new(path)), "{path}");
        }
        assert!(!is_needed(Path::new("pg_stat")) && is_followed(Path::new("pg_stat")));
        assert!(is_emptied("pg_replslot") && !is_emptied("pg_logical"));
    }

    #[test]
    fn files_of_relations_are_told_by_their_names() {
        let parsed = |name| RelationFile::parse(name).map(|file| (file.number, file.is_init, file.segment));
        assert_eq!(parsed("16384"), Some(("16384", false, 0)));
        assert_eq!(parsed("16384_fsm"), Some(("16384", false, 0)));
        assert_eq!(parsed("16384_init"), Some(("16384", true, 0)));
        assert_eq!(parsed("16384.12"), Some(("16384", false, 12)));
        assert_eq!(parsed("16384_vm.1"), Some(("16384", false, 1)));
        for name in ["PG_VERSION", "pg_filenode.map", "16384_x", "16384.", "t3_16384", "_vm"] {
            assert_eq!(parsed(name), None, "{name}");
        }
        assert!(is_temporary_relation("t3_16384") && is_temporary_relation("t12_16384_fsm.1"));
        assert!(!is_temporary_relation("16384") && !is_temporary_relation("table_1"));
    }
}
