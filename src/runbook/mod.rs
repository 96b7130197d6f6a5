//! Runbooks: Markdown that people read and drctl runs, step by step, with a record of every step in the journal.
//!
//! ```text
//! Markdown ─▶ parse ─▶ check ─▶ next (pure) ─▶ run one step ─▶ entry in every repository ─▶ next … ─▶ report
//! ```
//!
//! *Invariants.*
//! - An entry is written before a step begins and after it has ended, and is never changed: a run that was killed is
//!   resumed from the entries alone, on another host too, with the text of the runbook that it began with.
//! - What began and never ended is asked about, and never run again by itself.
//! - A step that changes production is asked about each time.
//! - No secret stands in an entry.
//!
//! *Not here.* Questions to a person: [`crate::cli`]. Pages about an incident: [`crate::report`].

mod anchor;
mod announce;
mod chain;
mod check;
mod command;
mod fill;
mod header;
mod incident;
mod lead;
#[cfg(test)]
mod lead_tests;
mod library;
mod model;
mod next;
mod parse;
mod redact;
mod rehearsal;
mod shell;
mod store;

pub use announce::Announcer;
pub use chain::{IncidentCopy, Merged, merge};
pub use check::{BUILT_IN, LinkedFile, References, check, example_values};
pub use command::{CommandRun, StepCommand};
pub use fill::fill;
pub use incident::{
    CommandEnd, Delivery, Entry, Incident, IncidentEvent, IncidentId, Opening, RestoredFacts, SeverityWord,
};
pub use lead::{Led, Means, NoReply, Operator, Question, QuestionKind, Reply, lead};
pub use library::{CommandLine, Document, Library, Origin};
pub use model::{
    Changes, Condition, Expectation, Header, Link, Parameter, Runbook, RunbookFault, RunbookFaults,
    RunbookPhase, Step, StepAction, variable,
};
pub use next::{Next, StepState, decisions, next, states, values};
pub use parse::parse;
pub use redact::{Redactor, holds_password};
pub use rehearsal::{Rehearsal, Rehearsed, Reviewed, rehearsals};
pub use store::{Appended, IncidentError, Incidents, Recorder, spool_directory};

/// The verb of records of incidents and rehearsals.
pub const RUNBOOK: &str = "runbook";
