//! What is compared, and what it should come to.

use crate::table::Aim;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    Dump,
    DumpToTwo,
    DumpPipe,
    DumpScript,
    DumpRestore,
    DumpRestorePipe,
    BaseReplication,
    BaseFiles,
    BasePipe,
    BaseRestore,
    BaseRestorePipe,
    LogSegment,
    LogDrained,
    LogPipe,
}

/// What is measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// A database's dump and its restore.
    Dump,
    /// A cluster's physical copy and its restore.
    Base,
    /// Segments of write-ahead log.
    Wal,
}

impl Group {
    pub(crate) const ALL: [Self; 3] = [Self::Dump, Self::Base, Self::Wal];

    pub(crate) fn named(word: &str) -> Option<Self> {
        match word {
            "dump" => Some(Self::Dump),
            "base" => Some(Self::Base),
            "wal" => Some(Self::Wal),
            _ => None,
        }
    }

    /// In the order in which they take turns: what is restored was backed up before.
    pub(crate) fn contenders(self) -> &'static [Contender] {
        use Contender::*;
        match self {
            Self::Dump => &[Dump, DumpToTwo, DumpPipe, DumpScript, DumpRestore, DumpRestorePipe],
            Self::Base => &[BaseReplication, BaseFiles, BasePipe, BaseRestore, BaseRestorePipe],
            Self::Wal => &[LogSegment, LogDrained, LogPipe],
        }
    }

    pub(crate) fn aims(self) -> Vec<Aim> {
        use Contender::*;
        let aim = |of, against, at_most| Aim { of, against, at_most: Some(at_most) };
        let compare = |of, against| Aim { of, against, at_most: None };
        match self {
            Self::Dump => vec![
                aim(Dump, DumpPipe, 0.8),
                aim(DumpToTwo, DumpPipe, 1.1),
                compare(Dump, DumpScript),
                compare(DumpToTwo, DumpScript),
                aim(DumpRestore, DumpRestorePipe, 0.9),
                compare(DumpToTwo, Dump),
            ],
            Self::Base => vec![
                aim(BaseReplication, BasePipe, 0.6),
                aim(BaseFiles, BasePipe, 0.6),
                compare(BaseFiles, BaseReplication),
                aim(BaseRestore, BaseRestorePipe, 0.9),
            ],
            // wal-rus, measured beside the pipe, took 75 ms a segment to its 425.
            Self::Wal => vec![aim(LogSegment, LogPipe, 0.18), aim(LogDrained, LogPipe, 0.09)],
        }
    }
}

impl Contender {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Dump => "drctl backup, one repository",
            Self::DumpToTwo => "drctl backup, two repositories",
            Self::DumpPipe => "pg_dump | zstd | age | aws",
            Self::DumpScript => "pg_dump > file, gzip file",
            Self::DumpRestore => "drctl restore --jobs 2",
            Self::DumpRestorePipe => "aws | age | zstd > file, pg_restore",
            Self::BaseReplication => "drctl backup, over replication",
            Self::BaseFiles => "drctl backup, from the files",
            Self::BasePipe => "pg_basebackup | zstd | age | aws",
            Self::BaseRestore => "drctl restore --latest",
            Self::BaseRestorePipe => "aws | age | zstd | tar, sync",
            Self::LogSegment => "drctl wal push, a segment",
            Self::LogDrained => "drctl wal push, one of many",
            Self::LogPipe => "zstd | age | aws, a segment",
        }
    }

    /// Whether the command is drctl itself, and not a shell that starts others.
    pub(crate) fn is_drctl(self) -> bool {
        use Contender::*;
        matches!(self, Dump | DumpToTwo | DumpRestore | BaseReplication | BaseFiles | BaseRestore)
    }

    /// Whether its memory counts. What else is in the tree of a loop is smaller.
    pub(crate) fn is_of_drctl(self) -> bool {
        self.is_drctl() || matches!(self, Self::LogSegment | Self::LogDrained)
    }

    /// Whether it brings a database back.
    pub(crate) fn restores_database(self) -> bool {
        matches!(self, Self::DumpRestore | Self::DumpRestorePipe)
    }

    /// Whether it brings the cluster back.
    pub(crate) fn restores_cluster(self) -> bool {
        matches!(self, Self::BaseRestore | Self::BaseRestorePipe)
    }
}
