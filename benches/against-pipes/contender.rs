//! What is compared, and what it should come to.

use crate::peers::Peer;
use crate::table::Aim;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    Dump,
    DumpToTwo,
    DumpPipe,
    DumpScript,
    DumpRestore,
    DumpRestorePipe,
    CheckedRestore,
    Drill,
    BaseReplication,
    BaseFiles,
    BasePipe,
    BaseWalRus,
    BasePgBackRest,
    BaseRestore,
    BaseRestorePipe,
    BaseRestoreWalRus,
    BaseRestorePgBackRest,
    LogSegment,
    LogPipe,
    LogWalRus,
    LogPgBackRest,
    LogDrained,
    LogDrainedPipe,
    LogDrainedWalRus,
    LogDrainedPgBackRest,
    Files,
    FilesRestic,
    FilesPipe,
    FilesAgain,
    FilesAgainRestic,
    FilesRestore,
    FilesRestoreRestic,
    FilesRestorePipe,
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
    /// Files, a second backup after 1 % of them changed, and their restore.
    Files,
    /// A drill, and a restore of the same dump with the same checks.
    Drill,
}

impl Group {
    pub(crate) const ALL: [Self; 5] = [Self::Dump, Self::Base, Self::Wal, Self::Drill, Self::Files];

    pub(crate) fn named(word: &str) -> Option<Self> {
        match word {
            "dump" => Some(Self::Dump),
            "base" => Some(Self::Base),
            "wal" => Some(Self::Wal),
            "drill" => Some(Self::Drill),
            "files" => Some(Self::Files),
            _ => None,
        }
    }

    /// In the order in which they take turns: what is restored was backed up before.
    pub(crate) fn contenders(self) -> &'static [Contender] {
        use Contender::*;
        match self {
            Self::Dump => &[Dump, DumpToTwo, DumpPipe, DumpScript, DumpRestore, DumpRestorePipe],
            Self::Base => &[
                BaseReplication,
                BaseFiles,
                BasePipe,
                BaseWalRus,
                BasePgBackRest,
                BaseRestore,
                BaseRestorePipe,
                BaseRestoreWalRus,
                BaseRestorePgBackRest,
            ],
            Self::Drill => &[Dump, CheckedRestore, Drill],
            // What was restored is of the first backup of the pipe, and of the second of the others.
            Self::Files => &[
                Files,
                FilesRestic,
                FilesPipe,
                FilesAgain,
                FilesAgainRestic,
                FilesRestore,
                FilesRestoreRestic,
                FilesRestorePipe,
            ],
            Self::Wal => &[
                LogSegment,
                LogPipe,
                LogWalRus,
                LogPgBackRest,
                LogDrained,
                LogDrainedPipe,
                LogDrainedWalRus,
                LogDrainedPgBackRest,
            ],
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
                aim(BaseFiles, BaseWalRus, 1.0),
                aim(BaseFiles, BasePgBackRest, 0.6),
                compare(BaseFiles, BaseReplication),
                aim(BaseRestore, BaseRestorePipe, 0.9),
                aim(BaseRestore, BaseRestoreWalRus, 0.9),
                aim(BaseRestore, BaseRestorePgBackRest, 0.9),
            ],
            Self::Drill => vec![aim(Drill, CheckedRestore, 1.1)],
            Self::Files => vec![
                aim(Files, FilesRestic, 0.8),
                compare(Files, FilesPipe),
                aim(FilesAgain, FilesAgainRestic, 1.2),
                aim(FilesRestore, FilesRestoreRestic, 0.8),
                compare(FilesRestore, FilesRestorePipe),
            ],
            Self::Wal => vec![
                compare(LogSegment, LogPipe),
                aim(LogSegment, LogWalRus, 1.0),
                compare(LogSegment, LogPgBackRest),
                compare(LogDrained, LogDrainedPipe),
                aim(LogDrained, LogDrainedWalRus, 0.5),
                compare(LogDrained, LogDrainedPgBackRest),
            ],
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
            Self::CheckedRestore => "drctl restore, checked",
            Self::Drill => "drctl drill run",
            Self::DumpRestorePipe => "aws | age | zstd > file, pg_restore",
            Self::BaseReplication => "drctl backup, over replication",
            Self::BaseFiles => "drctl backup, from the files",
            Self::BasePipe => "pg_basebackup | zstd | age | aws",
            Self::BaseRestore => "drctl restore --latest",
            Self::BaseRestorePipe => "aws | age | zstd | tar, sync",
            Self::BaseWalRus => "wal-rus backup-push",
            Self::BasePgBackRest => "pgBackRest backup, to a directory",
            Self::BaseRestoreWalRus => "wal-rus backup-fetch, sync",
            Self::BaseRestorePgBackRest => "pgBackRest restore, of a directory",
            Self::LogSegment => "drctl wal push, a segment",
            Self::LogPipe => "zstd | age | aws, a segment",
            Self::LogWalRus => "wal-rus wal-push, a segment",
            Self::LogPgBackRest => "pgBackRest to a directory, a segment",
            Self::LogDrained => "drctl wal push, one of many",
            Self::LogDrainedPipe => "zstd | age | aws, one of many",
            Self::LogDrainedWalRus => "wal-rus wal-push, one of many",
            Self::LogDrainedPgBackRest => "pgBackRest to a directory, one of many",
            Self::Files => "drctl backup, of files",
            Self::FilesRestic => "restic backup",
            Self::FilesPipe => "tar | zstd | age | aws",
            Self::FilesAgain => "drctl backup, 1 % changed",
            Self::FilesAgainRestic => "restic backup, 1 % changed",
            Self::FilesRestore => "drctl restore, of files",
            Self::FilesRestoreRestic => "restic restore, sync",
            Self::FilesRestorePipe => "aws | age | zstd | tar, sync",
        }
    }

    /// Whose program it takes.
    pub(crate) fn peer(self) -> Option<Peer> {
        use Contender::*;
        match self {
            BaseWalRus | BaseRestoreWalRus | LogWalRus | LogDrainedWalRus => Some(Peer::WalRus),
            BasePgBackRest | BaseRestorePgBackRest | LogPgBackRest | LogDrainedPgBackRest => {
                Some(Peer::PgBackRest)
            }
            FilesRestic | FilesAgainRestic | FilesRestoreRestic => Some(Peer::Restic),
            _ => None,
        }
    }

    /// Whether it archives segments that wait all at once.
    pub(crate) fn drains(self) -> bool {
        use Contender::*;
        matches!(self, LogDrained | LogDrainedPipe | LogDrainedWalRus | LogDrainedPgBackRest)
    }

    /// Whether it archives segments one after the other.
    pub(crate) fn archives_singly(self) -> bool {
        use Contender::*;
        matches!(self, LogSegment | LogPipe | LogWalRus | LogPgBackRest)
    }

    /// Whether the command is drctl itself, and not a shell that starts others.
    pub(crate) fn is_drctl(self) -> bool {
        use Contender::*;
        matches!(
            self,
            Dump | DumpToTwo
                | DumpRestore
                | CheckedRestore
                | Drill
                | BaseReplication
                | BaseFiles
                | BaseRestore
                | Files
                | FilesAgain
                | FilesRestore
        )
    }

    /// Whether files are written again before it.
    pub(crate) fn follows_changes(self) -> bool {
        self == Self::FilesAgain
    }

    /// Whether it restores files.
    pub(crate) fn restores_files(self) -> bool {
        matches!(self, Self::FilesRestore | Self::FilesRestoreRestic | Self::FilesRestorePipe)
    }

    /// Whether its memory counts. What else is in the tree of a loop is smaller.
    pub(crate) fn is_of_drctl(self) -> bool {
        self.is_drctl() || matches!(self, Self::LogSegment | Self::LogDrained)
    }

    /// Whether it brings a database back.
    pub(crate) fn restores_database(self) -> bool {
        matches!(self, Self::DumpRestore | Self::DumpRestorePipe | Self::CheckedRestore)
    }

    /// Whether it brings the cluster back.
    pub(crate) fn restores_cluster(self) -> bool {
        use Contender::*;
        matches!(self, BaseRestore | BaseRestorePipe | BaseRestoreWalRus | BaseRestorePgBackRest)
    }
}
