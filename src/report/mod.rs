//! What is read by people and by auditors: pages about drills, incidents and retention, as Markdown, HTML or lines. Pure:
//! data in, text out.
//!
//! *Invariants.* A page begins with its verdict. Markdown and HTML say the same. Nothing of a record is markup, and a
//! page loads nothing and runs nothing. A page says what was done and measured, and claims no conformity.
//!
//! *Not here.* What a drill does and records: [`crate::drill`]. The record of an incident: [`crate::runbook`]. Tables on a terminal: [`crate::cli`].

mod drill;
mod figures;
mod forecast;
mod html;
mod incident;
mod markdown;
mod page;
#[cfg(test)]
mod page_tests;
mod population;
mod retention;

pub use drill::{DrillReport, drill_page, recovery_time, repeat_command};
pub use figures::{against, lasting, outcome_tone, outcome_word};
pub use forecast::{forecast_sentence, forecast_tone};
pub use html::{content_policy, html_page};
pub use incident::{Achieved, achieved, incident_page};
pub use markdown::markdown;
pub use page::{
    Block, Calendar, CalendarDay, CalendarMonth, Cell, Chart, Column, Figure, Headline, Page, PhaseBar,
    Section, Table, Tone, plain, utc,
};
pub use population::{SystemDrills, population_page};
pub use retention::{SimulatedSource, simulation_page};
