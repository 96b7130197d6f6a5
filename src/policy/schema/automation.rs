use std::path::PathBuf;

use schemars::JsonSchema;

use crate::model::{RepositoryName, SourceName};
use crate::platform::SecretRef;
use crate::policy::address::S3Endpoint;
use crate::policy::decode::{Decode, Diagnostics, KeyedTable, Node, OneOrMany, Spanned};
use crate::policy::macros::table;
use crate::policy::value::{KeepSpan, Period, WholeNumber, Zone};
use crate::policy::{CronLine, Pick};

table! {
    /// How long backups are kept: whatever any rule keeps. The newest good backup, and everything that a kept backup
    /// needs, is kept in any case. `drctl retention plan` shows what that means, `drctl retention apply` removes the
    /// rest.
    RetentionTable {
        required {}
        optional {
            /// The newest good backups, however old, of each source in each repository. 3 unless given.
            keep_last: WholeNumber<1, 10_000>,
            /// The newest good backups that can be restored without another one, however old: an incremental backup
            /// is none. 2 unless given, and never more than `keep_last` then.
            minimum_redundancy: WholeNumber<1, 1_000>,
            /// Every backup that is younger, like `48h`. A number alone is days.
            keep_within: KeepSpan<'d'>,
            /// One backup a day (UTC) for so long, like `30d`. A number alone is days.
            daily: KeepSpan<'d'>,
            /// One backup an ISO week (UTC) for so long, like `6mo`. A number alone is weeks.
            weekly: KeepSpan<'w'>,
            /// One backup a month (UTC) for so long, like `1y`. A number alone is months.
            monthly: KeepSpan<'m'>,
            /// One backup a year (UTC) for so long, like `7y`. A number alone is years.
            yearly: KeepSpan<'y'>,
            /// The window of point-in-time recovery, where a source archives continuously, like `7d`. Without it WAL
            /// is kept from the oldest base backup on.
            pitr: Period,
            /// Rules that replace the ones above for one source.
            sources: KeyedTable<SourceName, SourceRulesTable>,
            /// Rules that replace the ones above in one repository: `primary` or a copy.
            copies: KeyedTable<RepositoryName, RulesTable>,
        }
    }
}

table! {
    /// Rules for one source, in place of the policy's.
    SourceRulesTable {
        required {}
        optional {
            /// The newest good backups, however old, of each source in each repository. 3 unless given.
            keep_last: WholeNumber<1, 10_000>,
            /// The newest good backups that can be restored without another one, however old: an incremental backup
            /// is none. 2 unless given, and never more than `keep_last` then.
            minimum_redundancy: WholeNumber<1, 1_000>,
            /// Every backup that is younger, like `48h`. A number alone is days.
            keep_within: KeepSpan<'d'>,
            /// One backup a day (UTC) for so long, like `30d`. A number alone is days.
            daily: KeepSpan<'d'>,
            /// One backup an ISO week (UTC) for so long, like `6mo`. A number alone is weeks.
            weekly: KeepSpan<'w'>,
            /// One backup a month (UTC) for so long, like `1y`. A number alone is months.
            monthly: KeepSpan<'m'>,
            /// One backup a year (UTC) for so long, like `7y`. A number alone is years.
            yearly: KeepSpan<'y'>,
            /// The window of point-in-time recovery, where a source archives continuously, like `7d`. Without it WAL
            /// is kept from the oldest base backup on.
            pitr: Period,
            /// Rules that replace these in one repository: `primary` or a copy.
            copies: KeyedTable<RepositoryName, RulesTable>,
        }
    }
}

table! {
    /// Rules in one repository, in place of those of the table above it.
    RulesTable {
        required {}
        optional {
            /// The newest good backups, however old, of each source in each repository. 3 unless given.
            keep_last: WholeNumber<1, 10_000>,
            /// The newest good backups that can be restored without another one, however old: an incremental backup
            /// is none. 2 unless given, and never more than `keep_last` then.
            minimum_redundancy: WholeNumber<1, 1_000>,
            /// Every backup that is younger, like `48h`. A number alone is days.
            keep_within: KeepSpan<'d'>,
            /// One backup a day (UTC) for so long, like `30d`. A number alone is days.
            daily: KeepSpan<'d'>,
            /// One backup an ISO week (UTC) for so long, like `6mo`. A number alone is weeks.
            weekly: KeepSpan<'w'>,
            /// One backup a month (UTC) for so long, like `1y`. A number alone is months.
            monthly: KeepSpan<'m'>,
            /// One backup a year (UTC) for so long, like `7y`. A number alone is years.
            yearly: KeepSpan<'y'>,
            /// The window of point-in-time recovery, where a source archives continuously, like `7d`. Without it WAL
            /// is kept from the oldest base backup on.
            pitr: Period,
        }
    }
}

table! {
    /// When `drctl run-due` does what recurs.
    ScheduleTable {
        required {}
        optional {
            /// Time zone of every cron line here, of the IANA database. `UTC` unless given.
            timezone: Zone,
            /// When each source is backed up: cron lines, or cron lines for each of its methods, like
            /// `{ logical = "15 * * * *", base = "0 2 * * *" }`.
            sources: KeyedTable<SourceName, ScheduleEntry>,
            /// When the sources of `recovery_point` are backed up as one; those with several methods by their dump.
            recovery_point: OneOrMany<CronLine>,
            /// When the newest backup of each source and kind is read again and compared.
            verify: OneOrMany<CronLine>,
            /// When `retention` is applied.
            retention: OneOrMany<CronLine>,
        }
    }
}

/// Cron lines, or cron lines for each method.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged)]
pub(in crate::policy) enum ScheduleEntry {
    All(OneOrMany<CronLine>),
    ByMethod(KeyedTable<String, OneOrMany<CronLine>>),
}

impl Decode for ScheduleEntry {
    const EXAMPLE: &'static str = "\"15 3 * * *\"";

    fn read(node: &Node<'_>, log: &mut Diagnostics<'_>) -> Option<Self> {
        if node.value.is_table() {
            return KeyedTable::read(node, log).map(Self::ByMethod);
        }
        OneOrMany::read(node, log).map(Self::All)
    }
}

table! {
    /// What `drctl drill run` restores into a sandbox, and its checks. The queries among these are run after every
    /// restore, too.
    DrillTable {
        required {}
        optional {
            /// Cron lines, in the schedule's time zone. By hand only unless given.
            schedule: OneOrMany<CronLine>,
            /// What is restored; the policy's only source unless given.
            source: SourceName,
            /// The repository it is restored from: `primary` or a copy. The farthest unless given.
            from: RepositoryName,
            /// Which backup is taken. `latest` unless given.
            pick: Pick,
            /// The age identity it decrypts with, by reference.
            identity: SecretRef,
            /// How long it may take before it has failed; the RTO unless given.
            deadline: Period,
            /// The application's role: the checks ask as it does. Without one, they ask as a superuser, to whom a missing
            /// grant does not matter.
            role: String,
            /// The database that the checks ask; the source's unless given.
            database: String,
            /// How long it may take until an operator has noticed and decided; part of the RTO.
            detect: Period,
            /// How long it may take until the application uses what was restored; part of the RTO.
            cut_over: Period,
            /// Where drills restore to on their host; a directory in TMPDIR or `/var/tmp` unless given.
            directory: PathBuf,
            /// A runbook whose own steps restore: those of its phases Recovery and Verification that change no production.
            runbook: String,
            /// Values of the runbook's parameters and decisions, by name. `source`, `target`, `backup`, `from` and `identity`
            /// are those of the drill, and a decision has its first answer unless given.
            runbook_parameters: KeyedTable<String, String>,
            /// Drill also on a host that cannot isolate what is restored from the network.
            danger_unverified_isolation: bool,
            /// What must be true of what was restored.
            checks: Vec<Spanned<CheckTable>>,
        }
    }
}

table! {
    /// Something that must be true of what was restored: one of `sql`, `command`, `http`.
    CheckTable {
        required {
            /// For the report.
            name: String,
        }
        optional {
            /// A query that gives one value.
            sql: String,
            /// A program and its arguments, no shell; it passes with exit status 0.
            command: Vec<Spanned<String>>,
            /// A URL of the restored application; it passes with a status of 200 to 299.
            http: S3Endpoint,
            /// The query's value, as text.
            equals: String,
            /// The query's value is a number and at least this.
            at_least: WholeNumber<{ i64::MIN }, { i64::MAX }>,
            /// The query's value is a number and at most this.
            at_most: WholeNumber<{ i64::MIN }, { i64::MAX }>,
            /// The query's value is a time, and no older than this before the recovery point.
            newer_than: Period,
        }
    }
}
