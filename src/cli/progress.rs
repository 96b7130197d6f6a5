use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::style;
use crate::event::{Event, Observer};
use crate::text::{approximate_duration, format_size};

/// A run shown on stderr: a line for each event, and on a terminal a moving line for the current phase.
pub(super) struct ProgressTerminal {
    bar: Mutex<Option<ActiveBar>>,
    interactive: bool,
}

struct ActiveBar {
    subject: String,
    begun: Instant,
    bar: ProgressBar,
}

/// Phases that end sooner get no moving line.
const QUIET_FOR: Duration = Duration::from_millis(250);

impl ProgressTerminal {
    pub(super) fn new(interactive: bool) -> Self {
        Self { bar: Mutex::new(None), interactive }
    }

    fn say(&self, label: &str, colour: anstyle::Style, text: &str) {
        let line = format!("{colour}{label:>12}{colour:#} {text}");
        let bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        let show = || {
            use std::io::Write as _;
            let _gone = writeln!(anstream::stderr(), "{line}");
        };
        match &*bar {
            Some(moving) => moving.bar.suspend(show),
            None => show(),
        }
    }

    fn end_bar(&self) {
        if let Some(moving) = self.bar.lock().unwrap_or_else(PoisonError::into_inner).take() {
            moving.bar.finish_and_clear();
        }
    }

    fn progress(&self, subject: &str, bytes: u64, total: Option<u64>, estimated: bool) {
        if !self.interactive {
            return;
        }
        let mut slot = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.as_ref().is_none_or(|moving| moving.subject != subject) {
            if let Some(old) = slot.take() {
                old.bar.finish_and_clear();
            }
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
            if let Ok(style) = ProgressStyle::with_template("{prefix:>12.cyan} {msg}") {
                bar.set_style(style);
            }
            bar.set_prefix(subject.to_owned());
            *slot = Some(ActiveBar { subject: subject.to_owned(), begun: Instant::now(), bar });
        }
        let Some(moving) = slot.as_ref() else { return };
        let elapsed = moving.begun.elapsed();
        if elapsed > QUIET_FOR && moving.bar.is_hidden() {
            moving.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        let rate = bytes as f64 / elapsed.as_secs_f64().max(0.001);
        let mut text = format!("{}, {}/s", format_size(bytes), format_size(rate as u64));
        if let Some(total) = total.filter(|total| *total >= bytes && rate > 0.0) {
            let left = Duration::from_secs_f64((total - bytes) as f64 / rate);
            let about = if estimated { "about " } else { "" };
            text = format!(
                "{} of {about}{}, {}/s, {} left",
                format_size(bytes),
                format_size(total),
                format_size(rate as u64),
                approximate_duration(left)
            );
        }
        moving.bar.set_message(text);
    }
}

impl Observer for ProgressTerminal {
    fn observe(&self, event: &Event) {
        match event {
            Event::Progress { subject, bytes, total, estimated } => {
                self.progress(subject, *bytes, *total, *estimated);
            }
            Event::RunBegan { run, verb } => tracing::info!("{verb} run {run}"),
            Event::SourceBegan { source, backup } => {
                self.say("Backing up", style::GOOD, &format!("{source} as {backup}"));
            }
            Event::PhaseBegan { phase } => tracing::info!("{} begins", phase.as_str()),
            Event::PhaseEnded { phase, seconds } => {
                self.end_bar();
                tracing::info!("{} took {seconds:.1} s", phase.as_str());
            }
            Event::Status { subject, status, percent, detail } => {
                let mut text = format!("{subject}: {status}");
                if let Some(percent) = percent {
                    text.push_str(&format!(", {percent} %"));
                }
                if let Some(detail) = detail {
                    text.push_str(&format!(" ({detail})"));
                }
                self.say("AWS", style::NAME, &text);
            }
            Event::ArtifactStored { artifact, plain_bytes, stored_bytes, .. } => {
                self.end_bar();
                let text =
                    format!("{artifact}: {} from {}", format_size(*stored_bytes), format_size(*plain_bytes));
                self.say("Stored", style::GOOD, &text);
            }
            Event::RepositoryLost { repository, reason } => {
                self.say("Lost", style::BAD, &format!("repository {repository}: {reason}"));
            }
            Event::BackupStored { backup, repositories } => {
                self.end_bar();
                let names: Vec<_> = repositories.iter().map(|name| name.as_str()).collect();
                self.say("Committed", style::GOOD, &format!("{backup} in {}", names.join(", ")));
            }
            Event::SourceFailed { source, reason } => {
                self.end_bar();
                self.say("Failed", style::BAD, &format!("{source}: {reason}"));
            }
            Event::ObjectChecked { repository, backup, object, good } => {
                if *good {
                    tracing::info!("{repository}: {backup}/{object} is good");
                } else {
                    self.say("Bad", style::BAD, &format!("{repository}: {backup}/{object}"));
                }
            }
            Event::Notice { message } => self.say("Note", style::NAME, message),
            Event::Warning { message } => self.say("Warning", style::WARN, message),
        }
    }
}
