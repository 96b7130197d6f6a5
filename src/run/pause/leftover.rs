use std::path::Path;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::hook::resume;
use super::marker::{FoundMarker, HeldMarker, PauseMarker};
use crate::event::Events;
use crate::model::{RunId, SystemName};
use crate::text::format_time;

/// A pause that a killed run left.
#[derive(Clone, Debug, Serialize)]
pub struct LeftoverPause {
    pub run: RunId,
    pub since: DateTime<Utc>,
    /// The program that resumes the application, with its arguments.
    pub resume: String,
    /// Why the application is still paused; absent where it was resumed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// Whether an application is paused for a backup, as far as this host knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PauseState {
    NotPaused,
    /// By a run that is at work.
    Paused(PauseMarker),
    /// By a run that was killed, or could not resume it.
    LeftPaused(PauseMarker),
    /// The marker cannot be read: why.
    Unknown(String),
}

/// Returns whether the application is paused. Changes nothing.
pub fn pause_state(state: &Path, system: &SystemName) -> PauseState {
    match HeldMarker::find(state, system) {
        Ok(FoundMarker::Absent) => PauseState::NotPaused,
        Ok(FoundMarker::InUse(marker)) => PauseState::Paused(marker),
        Ok(FoundMarker::Orphaned(held)) => PauseState::LeftPaused(held.marker),
        Err(error) => PauseState::Unknown(error.to_string()),
    }
}

/// Resumes the application where a killed run left it paused, or one could not resume it. `None`: it was not left so.
///
/// # Errors
/// The marker cannot be read, so that this is not known.
pub async fn resume_leftover(
    state: &Path,
    system: &SystemName,
    events: &Events,
) -> Result<Option<LeftoverPause>, std::io::Error> {
    let FoundMarker::Orphaned(held) = HeldMarker::find(state, system)? else { return Ok(None) };
    let PauseMarker { run, since, resume: words, .. } = held.marker.clone();
    events.warning(format!(
        "run {run} paused the application at {} and did not resume it: resuming it now",
        format_time(since)
    ));
    let failed = resume(&words, events).await.err();
    if failed.is_none() {
        events.notice(format!("the application is resumed: it was paused since {}", format_time(since)));
        if let Err(error) = held.remove() {
            events.warning(format!("the application will be resumed once more: its marker is left: {error}"));
        }
    }
    Ok(Some(LeftoverPause { run, since, resume: words.join(" "), failed }))
}
