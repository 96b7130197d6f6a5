use chrono::{DateTime, TimeDelta, Utc};

use super::wal_header::{Fields, PAGE_HEADER};
use crate::model::{Checkpoint, Lsn, Timeline};

/// Bytes at the beginning of a record that contain the facts of a commit.
pub(super) const HEAD: usize = 48;
/// Bytes of a record's header.
pub(super) const HEADER: usize = 24;
/// Offset of a record's checksum in its header.
pub(super) const CHECKSUM: usize = 20;
/// The resource manager of the WAL itself.
const LOG: u8 = 0;
/// The resource manager of transactions.
pub(super) const TRANSACTIONS: u8 = 1;
/// The resource manager of tablespaces.
const TABLESPACES: u8 = 5;
/// Mask of the operation in a transaction's info.
const OPERATION: u8 = 0x70;
/// Mask of the operation in any other record's info.
const INFO: u8 = 0xF0;
pub(super) const COMMIT: u8 = 0x00;
const ABORT: u8 = 0x20;
const COMMIT_PREPARED: u8 = 0x30;
const ABORT_PREPARED: u8 = 0x40;
const CHECKPOINT_SHUTDOWN: u8 = 0x00;
const CHECKPOINT_ONLINE: u8 = 0x10;
const PARAMETER_CHANGE: u8 = 0x60;
const RESTORE_POINT: u8 = 0x70;
const TABLESPACE_CREATE: u8 = 0x00;
/// 2000-01-01, in seconds since 1970.
pub(super) const EPOCH: i64 = 946_684_800;

/// Records that a restore needs to know, besides the times of commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// It creates a tablespace at its original path.
    Tablespace,
    /// It names its position.
    RestorePoint,
    /// The server limits that recovery requires, and `wal_level`.
    Parameters,
    /// A checkpoint.
    Checkpoint,
}

impl RecordKind {
    pub(super) fn from_header(manager: u8, info: u8) -> Option<Self> {
        match (manager, info & INFO) {
            (TABLESPACES, TABLESPACE_CREATE) => Some(Self::Tablespace),
            (LOG, RESTORE_POINT) => Some(Self::RestorePoint),
            (LOG, PARAMETER_CHANGE) => Some(Self::Parameters),
            (LOG, CHECKPOINT_SHUTDOWN | CHECKPOINT_ONLINE) => Some(Self::Checkpoint),
            _ => None,
        }
    }
}

/// The kinds of records in some WAL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notable {
    pub tablespace: bool,
    pub restore_point: bool,
    pub parameters: bool,
}

impl Notable {
    pub(super) fn note(&mut self, kind: RecordKind) {
        match kind {
            RecordKind::Tablespace => self.tablespace = true,
            RecordKind::RestorePoint => self.restore_point = true,
            RecordKind::Parameters => self.parameters = true,
            RecordKind::Checkpoint => {}
        }
    }
}

/// A record that creates a tablespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeTablespace {
    pub at: Lsn,
    pub oid: u32,
    /// Empty if it is created inside the data directory.
    pub path: String,
}

/// The limits of the server that wrote the WAL, by the names of its settings.
pub type Parameters = [(&'static str, i64); 5];

/// A record, or its beginning.
#[derive(Clone, Copy, Debug)]
pub struct WalRecord<'r> {
    pub begins: Lsn,
    pub ends: Lsn,
    pub(super) length: usize,
    pub(super) bytes: &'r [u8],
    pub(super) little_endian: bool,
}

impl WalRecord<'_> {
    pub fn kind(&self) -> Option<RecordKind> {
        RecordKind::from_header(*self.bytes.get(17)?, *self.bytes.get(16)?)
    }

    /// Returns the ID of its transaction, without the epoch.
    pub fn transaction(&self) -> u32 {
        self.fields().u32(4)
    }

    /// Returns when it ended a transaction, and whether by a commit.
    pub fn transaction_end(&self) -> Option<(DateTime<Utc>, bool)> {
        let operation = self.bytes.get(16)? & OPERATION;
        let ends = matches!(operation, COMMIT | COMMIT_PREPARED | ABORT | ABORT_PREPARED);
        if *self.bytes.get(17)? != TRANSACTIONS || !ends {
            return None;
        }
        let at = self.contents()?;
        self.bytes.get(at..at + 8)?;
        let time = DateTime::from_timestamp(EPOCH, 0)?;
        let time = time.checked_add_signed(TimeDelta::microseconds(self.fields().i64(at)))?;
        Some((time, matches!(operation, COMMIT | COMMIT_PREPARED)))
    }

    /// Returns the tablespace that it creates. `None` also if its checksum is wrong: no server replays it.
    pub fn tablespace(&self) -> Option<MadeTablespace> {
        if self.kind()? != RecordKind::Tablespace || !self.is_intact() {
            return None;
        }
        let at = self.contents()?;
        let path = self.bytes.get(at + 4..)?;
        let path = path.split(|byte| *byte == 0).next().unwrap_or_default();
        let path = String::from_utf8_lossy(path).into_owned();
        Some(MadeTablespace { at: self.begins, oid: self.fields().u32(at), path })
    }

    /// Returns the name that it gives to its position.
    pub fn restore_point(&self) -> Option<String> {
        if self.kind()? != RecordKind::RestorePoint || !self.is_intact() {
            return None;
        }
        let name = self.bytes.get(self.contents()? + 8..)?;
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        Some(String::from_utf8_lossy(name).into_owned())
    }

    /// Returns whether the WAL after it was written with `wal_level = minimal`: recovery fails at it.
    pub fn is_minimal(&self) -> bool {
        const MINIMAL: u32 = 0;
        let level = self.parameter_contents().filter(|at| self.bytes.get(at + 20..at + 24).is_some());
        level.is_some_and(|at| self.fields().u32(at + 20) == MINIMAL)
    }

    /// Returns the checkpoint that it is. The layout is that of PostgreSQL 13 to 18.
    pub(super) fn checkpoint(&self) -> Option<Checkpoint> {
        if self.kind()? != RecordKind::Checkpoint || !self.is_intact() {
            return None;
        }
        let at = self.contents()?;
        self.bytes.get(at..at + 72)?;
        let fields = self.fields();
        Some(Checkpoint {
            at: self.begins,
            redo: Lsn(fields.u64(at)),
            timeline: Timeline::new(fields.u32(at + 8))?,
            time: DateTime::from_timestamp(fields.i64(at + 64), 0)?,
        })
    }

    /// Returns where the contents of a change of parameters begin.
    fn parameter_contents(&self) -> Option<usize> {
        (self.kind()? == RecordKind::Parameters && self.is_intact()).then(|| self.contents())?
    }

    pub fn parameters(&self) -> Option<Parameters> {
        let at = self.parameter_contents()?;
        self.bytes.get(at..at + 20)?;
        let value = |n: usize| i64::from(self.fields().u32(at + 4 * n).cast_signed());
        Some([
            ("max_connections", value(0)),
            ("max_worker_processes", value(1)),
            ("max_wal_senders", value(2)),
            ("max_prepared_transactions", value(3)),
            ("max_locks_per_transaction", value(4)),
        ])
    }

    /// Returns the bytes to overwrite, with their positions, so that a tablespace is created inside the data
    /// directory: there, a server accepts an existing directory or link in its place.
    pub fn moved_inside(&self, page_size: usize) -> Vec<(Lsn, Vec<u8>)> {
        let Some(at) = self.tablespace().and_then(|_| self.contents()) else { return vec![] };
        let mut bytes = self.bytes.to_vec();
        bytes[at + 4..].fill(0);
        let sum = checksum(&bytes);
        let sum = if self.little_endian { sum.to_le_bytes() } else { sum.to_be_bytes() };
        bytes[CHECKSUM..HEADER].copy_from_slice(&sum);
        self.laid_out(&bytes, page_size as u64)
    }

    /// Splits a record's bytes by pages.
    fn laid_out(&self, bytes: &[u8], page_size: u64) -> Vec<(Lsn, Vec<u8>)> {
        let (mut at, mut rest, mut parts) = (self.begins.0, bytes, Vec::new());
        while !rest.is_empty() {
            let room = usize::try_from(page_size - at % page_size).unwrap_or(usize::MAX).min(rest.len());
            let (here, later) = rest.split_at(room);
            parts.push((Lsn(at), here.to_vec()));
            at = (at / page_size + 1) * page_size + PAGE_HEADER as u64;
            rest = later;
        }
        parts
    }

    fn fields(&self) -> Fields<'_> {
        Fields { bytes: self.bytes, little_endian: self.little_endian }
    }

    /// Returns where a record that touches no blocks has its contents. They follow its replication origin, if
    /// any, and their length.
    fn contents(&self) -> Option<usize> {
        let mut at = HEADER;
        loop {
            at += match self.bytes.get(at)? {
                253 => 3,
                252 => 5,
                255 => return Some(at + 2),
                254 => return Some(at + 5),
                _ => return None,
            };
        }
    }

    fn is_intact(&self) -> bool {
        self.bytes.len() == self.length
            && self.length >= HEADER
            && checksum(self.bytes) == self.fields().u32(CHECKSUM)
    }
}

/// Computes the checksum of a complete record, as in its header.
pub(super) fn checksum(record: &[u8]) -> u32 {
    let (header, contents) = record.split_at(HEADER.min(record.len()));
    crc_fast::crc32_iscsi(&[contents, header.get(..CHECKSUM).unwrap_or_default()].concat())
}
