//! Restoring a backup into a new database.
//!
//! ```text
//! survey ─▶ plan ─▶ globals ─▶ fetch ─▶ create ─▶ load ─▶ analyze ─▶ compare ─▶ publish
//! ```
//!
//! [`DumpRestoreRequest`] is the entry point.
//!
//! *Invariants.*
//! - Nothing is changed before the plan is complete, and all refusals are reported at once.
//! - The database is loaded under a name that identifies it as unfinished. It gets its final name only after
//!   it was compared with the facts recorded with the dump; on any earlier failure it is dropped. The
//!   leftovers of a killed restore are recognized by name and comment. On request it has the final name from
//!   the beginning, and a comment that identifies it as unfinished until it was compared.
//! - A database that was loaded and compared is never dropped: if it cannot be renamed, it is kept.
//! - On request, objects that do not load are skipped. What is missing then is in the report, and the
//!   database is published under another name, with a comment that says so.
//! - A database with any contents is never replaced. An empty one is, after it was checked again.
//! - With several jobs the dump is verified before anything is loaded. Streamed, it is verified before it is
//!   published.
//! - No job of a scheduler that drctl knows is active in a restored database, unless that is requested.
//! - Existing roles are never altered.
//! - Memory does not grow with the dump, except for the archive's table of contents.
//!
//! *Not here.* Reading and verifying bytes ([`crate::repository::reader`], [`crate::pipeline`]); which server
//! a policy means; restoring anything but a dump.

mod archive_toc;
mod compare;
mod contents;
mod database;
mod destination;
mod error;
mod error_cause;
mod estimate;
mod exclusion;
mod execute;
mod existing_database;
mod fetch;
mod foreseen;
mod globals;
mod globals_sql;
mod inactive_jobs;
mod inspect;
mod large_objects;
mod load;
mod loading;
mod marks;
mod names;
mod notes;
mod passes;
mod pg_restore_errors;
mod plan;
mod preflight;
mod progress;
mod properties;
mod publish;
mod query;
mod report;
mod request;
mod roles;
mod scheduled_jobs;
mod select;
mod selection;
mod server_directory;
mod situation;
mod survey;
mod target;
mod teardown;

use chrono::{DateTime, Utc};

use super::{CreatedObject, Executed, Method, Refusal, RestoreProgress, Restorer};
use crate::run::RunContext;

pub use compare::{Compared, Difference, OTHER_CONTENTS};
pub use contents::ArchiveSummary;
pub use destination::{DestinationError, destination};
pub use error::DumpRestoreError;
pub use estimate::{LoadCost, Rates};
pub use exclusion::Exclusion;
pub use existing_database::ExistingDatabase;
pub use globals::{GlobalsPlan, TablespaceLocation};
pub use loading::{DumpTransfer, LoadsInto};
pub use plan::{DumpRestorePlan, plan};
pub use report::{DumpAftermath, DumpCleanup, DumpDetails};
pub use request::{BackupSelector, CatalogHints, DumpRestoreRequest, SuspectCopies};
pub use selection::EntrySelection;
pub use server_directory::ServerDirectory;
pub use situation::DumpSurvey;
pub use target::{DatabaseServerFacts, LeftoverDatabase};

impl Restorer for DumpRestoreRequest {
    const METHOD: Method = Method::Logical;
    type Survey = DumpSurvey;
    type Plan = DumpRestorePlan;
    type Details = DumpDetails;
    type Error = DumpRestoreError;
    type Aftermath = DumpAftermath;

    async fn survey(&self, run: &RunContext) -> Result<DumpSurvey, DumpRestoreError> {
        survey::survey(run, self).await
    }

    fn plan(
        &self,
        survey: DumpSurvey,
        now: DateTime<Utc>,
        seed: u32,
    ) -> Result<DumpRestorePlan, Vec<Refusal>> {
        plan::plan(self, survey, now, seed)
    }

    async fn execute(
        run: &RunContext,
        plan: &DumpRestorePlan,
        progress: &mut RestoreProgress<'_>,
    ) -> Executed<Self> {
        execute::execute(run, plan, progress).await
    }

    async fn remove(&self, run: &RunContext, object: &CreatedObject) -> Result<(), String> {
        teardown::remove(run, self, object).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Artifact, BackupId, BackupKind, DatabaseFacts, Digest, Encoding, Extension, Manifest, Protection,
        RunId, TableFacts, TableKind, ToolFacts,
    };
    use crate::postgres::{ConnectionParameters, Tools};

    /// Returns a request for the latest backup of `database` into `restored`, with two jobs.
    pub(super) fn request() -> DumpRestoreRequest {
        DumpRestoreRequest {
            source: "database".parse().unwrap(),
            backup: BackupSelector::Latest,
            from: None,
            target: ConnectionParameters::from_url(
                &"postgres://postgres@localhost/restored".parse().unwrap(),
            )
            .unwrap(),
            tools: None,
            database: "restored".to_owned(),
            jobs: 2,
            selection: EntrySelection::default(),
            exclusion: Exclusion::default(),
            locale: None,
            globals: false,
            owners: true,
            tablespaces: true,
            keeps_name: false,
            incomplete: None,
            active_jobs: false,
            scratch: "/tmp".into(),
            drop_leftovers: false,
            known: CatalogHints::default(),
        }
    }

    /// Returns a backup of two tables, and a server on this host that is able to take it.
    pub(super) fn situation() -> DumpSurvey {
        let table = |name: &str, rows| TableFacts {
            schema: "public".to_owned(),
            name: name.to_owned(),
            kind: TableKind::Table,
            rows: Some(rows),
            belongings: vec![],
            content: None,
        };
        let hstore =
            Extension { name: "hstore".to_owned(), version: "1.8".to_owned(), schema: "public".to_owned() };
        let recorded = DatabaseFacts {
            owner: "app".to_owned(),
            major: 15,
            encoding: "UTF8".to_owned(),
            collate: "de_DE.UTF-8".to_owned(),
            ctype: "de_DE.UTF-8".to_owned(),
            locale_provider: "libc".to_owned(),
            tablespace: "pg_default".to_owned(),
            schemas: vec!["public".to_owned()],
            roles: vec!["app".to_owned()],
            tablespaces: vec!["fast".to_owned()],
            tables: vec![table("orders", 3), table("items", 4)],
            extensions: vec![hstore],
            ..DatabaseFacts::default()
        };
        let owned = contents::tests::entry(1, "TABLE", "orders", "app", "");
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let target = DatabaseServerFacts {
            server: "localhost:5432".to_owned(),
            version: "15.18".to_owned(),
            major: 15,
            role: "postgres".to_owned(),
            superuser: true,
            may_create_databases: true,
            may_create_roles: true,
            roles: names(&["postgres", "app"]),
            tablespaces: names(&["pg_default", "fast"]),
            extensions: [("hstore".to_owned(), "1.8".to_owned())].into(),
            ..DatabaseServerFacts::default()
        };
        DumpSurvey {
            manifest: manifest(),
            repositories: vec!["primary".parse().unwrap(), "west".parse().unwrap()],
            recorded,
            contents: Some(ArchiveSummary { entries: vec![owned] }),
            globals: None,
            target,
            tools: Tools {
                directory: "/usr/bin".into(),
                major: 15,
                version: "pg_dump (PostgreSQL) 15.18".to_owned(),
            },
            scratch_free: 1 << 40,
            rates: Rates::default(),
        }
    }

    fn manifest() -> Manifest {
        let begun = "2026-11-20T22:02:51Z".parse().unwrap();
        let source: crate::model::SourceName = "database".parse().unwrap();
        Manifest {
            format: "1.0".to_owned(),
            repository_id: String::new(),
            system: "shop".parse().unwrap(),
            id: BackupId::new(begun, &source, BackupKind::Logical, 1),
            source,
            kind: BackupKind::Logical,
            run: RunId::new(begun, 1),
            recovery_point: begun,
            begun,
            ended: begun,
            host: String::new(),
            tool: ToolFacts { drctl: String::new(), producer: "pg_dump (PostgreSQL) 15.18".to_owned() },
            server: None,
            physical: None,
            parent: None,
            point: None,
            managed: None,
            protection: Protection::None,
            artifacts: vec![Artifact {
                name: "database.dump.zst".to_owned(),
                plain: Digest { size: 1 << 20, ..Digest::compute(b"") },
                encoding: vec![Encoding::Zstd],
                objects: vec![],
            }],
            by_hand: vec![],
        }
    }
}
