//! What a policy file may hold. These tables are the reader and, by their doc comments, the JSON Schema
//! that `drctl policy schema` prints: one list of settings for both.
//!
//! *Invariants.* Every setting is an option here, required or not, so that reading goes on after a
//! fault. [`super::resolve`] turns a table into intent, and finds what only several settings together
//! show to be wrong.

mod automation;
mod notify;
mod recovery_point;
mod repository;
mod source;

pub(super) use automation::{
    CheckTable, DrillTable, RetentionTable, RulesTable, ScheduleEntry, ScheduleTable, SourceRulesTable,
};
pub(super) use notify::{ChannelTable, HeartbeatEntry, NotifyTable};
pub(super) use recovery_point::{RecoveryPointTable, ReferenceTable};
pub(super) use repository::{
    CredentialsTable, EncryptionTable, RecipientEntry, RepositoriesTable, RepositoryTable, SseWord,
};
pub(super) use source::{
    AuthenticationWord, AwsBackupTable, BaseTable, BaseWord, BucketTable, ChromaTable, CommandTable,
    FilesTable, GitTable, LogicalTable, MethodWord, PostgresTable, RdsMethodWord, RdsRegionTable, RdsTable,
    RedisTable, SourceTable, SqliteTable, WalTable, WalWord,
};

use std::path::PathBuf;

use super::address::CatalogUrl;
use super::decode::KeyedTable;
use super::macros::table;
use super::value::{Day, Period, Quantity, Size, WholeNumber};
use crate::model::{RepositoryName, SourceName, SystemName};
use crate::platform::SecretRef;

table! {
    /// A drctl policy: one application, where its backups go, and how good they must be.
    PolicyTable {
        required {
            /// The application that is protected.
            system: SystemTable,
            /// What a recovery must achieve.
            objectives: ObjectivesTable,
            /// Where backups are kept.
            repository: RepositoriesTable,
            /// Who can read the backups.
            encryption: EncryptionTable,
            /// What is backed up, each by a name of its own. `journal` and `leases` are not names of sources.
            sources: KeyedTable<SourceName, SourceTable>,
        }
        optional {
            /// How backups are compressed.
            compression: CompressionTable,
            /// How bytes travel to the repositories.
            transfer: TransferTable,
            /// The database of what is in the repositories and of every run. It can always be rebuilt
            /// from the repositories.
            catalog: CatalogTable,
            /// Which sources belong together, and what keeps them from changing apart while they are backed up.
            recovery_point: RecoveryPointTable,
            /// How long backups are kept. Nothing is ever removed without this table, and nothing but by
            /// `drctl retention apply`.
            retention: RetentionTable,
            /// When backups are taken and verified, and retention is applied, by `drctl run-due`.
            schedule: ScheduleTable,
            /// What `drctl drill run` restores, and its checks.
            drill: DrillTable,
            /// Runbooks of your own, for `drctl runbook`.
            runbooks: RunbooksTable,
            /// What AWS charges, as you looked it up: for estimates of what a restore costs.
            prices: PricesTable,
            /// Who is told of what, by severity.
            notify: NotifyTable,
        }
    }
}

table! {
    /// The application that is protected.
    SystemTable {
        required {
            /// 1 to 40 of a-z, 0-9 and `-`: the first folder of everything that is stored.
            name: SystemName,
        }
        optional {
            /// For people.
            description: String,
            /// Who answers for it: a team, an address.
            owner: String,
        }
    }
}

table! {
    /// What a recovery must achieve.
    ObjectivesTable {
        required {
            /// From the disaster to a usable application, like `4h`.
            rto: Period,
            /// How much of the newest data may be lost, as time, like `1h`.
            rpo: Period,
        }
        optional {}
    }
}

table! {
    /// Runbooks of your own, beside those that drctl has.
    RunbooksTable {
        required {}
        optional {
            /// The directory of their Markdown files; one of the same name replaces drctl's.
            directory: PathBuf,
        }
    }
}

table! {
    /// What AWS charges. Without it a restore says nothing of its cost.
    PricesTable {
        required {
            /// The day they were looked up.
            as_of: Day,
            /// Like `USD`.
            currency: String,
        }
        optional {
            /// An hour of an instance in one zone, by its class: `{ "db.m7g.large" = 0.178 }`.
            classes: KeyedTable<String, Quantity>,
            /// A GiB of an instance's storage for a month, in one zone.
            storage: Quantity,
            /// A GiB that is stored for a month, by repository: `{ primary = 0.023, west = 0.0125 }`.
            stored: KeyedTable<RepositoryName, Quantity>,
        }
    }
}

table! {
    /// How backups are compressed, with zstd.
    CompressionTable {
        required {}
        optional {
            /// 1 (fast) to 19 (small). 3 unless given.
            level: WholeNumber<1, 19>,
            /// Threads that compress; 0 (the default) is one for each processor, up to four.
            threads: WholeNumber<0, 64>,
        }
    }
}

table! {
    /// How bytes travel to the repositories.
    TransferTable {
        required {}
        optional {
            /// Size of an upload's parts, 5 MiB to 64 MiB. `8MiB` unless given. Memory grows with it.
            part_size: Size,
            /// Parts on their way to one repository at a time, 1 to 32. 3 unless given. Memory grows with it.
            parallel: WholeNumber<1, 32>,
            /// Bytes a second to each repository, like `50MiB`. Unlimited unless given.
            bandwidth: Size,
            /// A repository that accepts or answers nothing for this long is given up. `2m` unless given.
            stall: Period,
            /// Size after which an artifact continues in another object, at most 10,000 parts. 9,000 parts
            /// unless given.
            object_size: Size,
        }
    }
}

table! {
    /// The database of what is in the repositories and of every run.
    CatalogTable {
        required {
            /// `sqlite:/path/file.db` or `postgres://user@host/database`.
            url: CatalogUrl,
        }
        optional {
            /// For PostgreSQL.
            password: SecretRef,
        }
    }
}
