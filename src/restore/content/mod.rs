//! Restoring what an application has beside its PostgreSQL database: files, SQLite databases, Redis, Git
//! repositories, buckets, what a command wrote.
//!
//! ```text
//! survey ─▶ plan ─▶ load ─▶ compare
//! ```
//!
//! [`ContentRestoreRequest`] is the entry point. `ContentMethod` is what one kind of backup has of its own, in a module
//! of its own; `kinds::of_kind` is the only place that matches on the kinds.
//!
//! *Invariants.*
//! - Nothing is changed before the plan is complete, and all refusals are reported at once.
//! - Nothing that exists is overwritten, unless the request says so (`--delta`); the target has its name only when it
//!   is complete and compared, where the kind allows that.
//! - An increment is restored with everything it builds on, from the full backup on.
//! - An artifact is read from the next repository, from its beginning, where one fails: what a `ContentMethod` does with
//!   an artifact may begin again.
//!
//! *Not here.* Dumps and clusters of PostgreSQL ([`super::logical`], [`super::physical`]).

mod bucket;
mod chroma;
mod command;
mod error;
mod execute;
mod fetch;
mod files;
mod git;
mod kinds;
mod method;
mod new_directory;
mod plan;
mod redis;
mod report;
mod request;
mod select;
mod sqlite;
mod survey;
mod surveyed;
mod target;

use chrono::{DateTime, Utc};

use super::{CreatedObject, Executed, Method, Refusal, RestoreProgress, Restorer};
use crate::run::RunContext;

pub use error::ContentRestoreError;
pub use plan::ContentRestorePlan;
pub use report::{ContentAftermath, ContentDetails};
pub use request::{ContentRestoreRequest, ContentSelector, ContentTarget};
pub use surveyed::ContentSurvey;

impl Restorer for ContentRestoreRequest {
    const METHOD: Method = Method::Content;
    type Survey = ContentSurvey;
    type Plan = ContentRestorePlan;
    type Details = ContentDetails;
    type Error = ContentRestoreError;
    type Aftermath = ContentAftermath;

    async fn survey(&self, run: &RunContext) -> Result<ContentSurvey, ContentRestoreError> {
        survey::survey(run, self).await
    }

    fn plan(
        &self,
        survey: ContentSurvey,
        now: DateTime<Utc>,
        _seed: u32,
    ) -> Result<ContentRestorePlan, Vec<Refusal>> {
        plan::plan(self, survey, now)
    }

    async fn execute(
        run: &RunContext,
        plan: &ContentRestorePlan,
        progress: &mut RestoreProgress<'_>,
    ) -> Executed<Self> {
        execute::execute(run, plan, progress).await
    }

    async fn remove(&self, run: &RunContext, object: &CreatedObject) -> Result<(), String> {
        match kinds::of_kind(self.kind) {
            Some(method) => method.remove(run, object).await,
            None => Err(super::teardown::not_of_this_method()),
        }
    }
}
