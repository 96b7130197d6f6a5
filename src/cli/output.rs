use std::io::{self, IsTerminal as _, Write};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::error::CommandError;
use super::exit::{CallerTerminal, Exit};
use super::global::{Format, Global};
use super::progress::ProgressTerminal;
use super::style;
use crate::event::{Event, Events, Observer};

/// The version of the JSON documents. A field may be added without a new one.
const DOCUMENT_VERSION: u32 = 1;

/// The two streams of a command, in the requested format.
#[derive(Clone)]
pub struct Output {
    format: Format,
    quiet: bool,
    heard: Arc<Mutex<CountedWarnings>>,
    /// Where warnings go instead of stderr, and nothing else goes anywhere.
    collected: Option<Arc<Mutex<Vec<String>>>>,
}

/// The state of the output.
#[derive(Debug, Default)]
struct CountedWarnings {
    /// Why a line of the result could not be written.
    unwritten: Option<io::Error>,
    /// Whether the reason for a non-zero exit status was written to stderr.
    reason: bool,
}

impl Output {
    pub fn new(global: &Global) -> Self {
        Self::with(global.output, global.quiet)
    }

    /// Creates the output for a command line that cannot be parsed, in the format of its error.
    pub fn with(format: Format, quiet: bool) -> Self {
        Self { format, quiet, heard: Arc::default(), collected: None }
    }

    /// Creates an output that writes nothing and keeps the warnings, for work that a program of its own shows.
    pub(super) fn collecting() -> Self {
        Self { collected: Some(Arc::default()), ..Self::with(Format::Human, true) }
    }

    /// Returns the warnings that were kept, each once.
    pub(super) fn collected(&self) -> Vec<String> {
        let Some(collected) = &self.collected else { return vec![] };
        let mut all = collected.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut seen = std::collections::BTreeSet::new();
        all.retain(|text| seen.insert(text.clone()));
        all
    }

    fn keep(&self, text: &str) -> bool {
        let Some(collected) = &self.collected else { return false };
        collected.lock().unwrap_or_else(PoisonError::into_inner).push(text.to_owned());
        true
    }

    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    pub(super) fn is_html(&self) -> bool {
        self.format == Format::Html
    }

    /// Writes a line of the result. A closed pipe (`| head`) is not an error; any other failure to write is
    /// reported by `Output::end`.
    pub fn line(&self, text: impl AsRef<str>) {
        if self.collected.is_some() {
            return;
        }
        let written = writeln!(anstream::stdout(), "{}", text.as_ref());
        let Err(error) = written else { return };
        if error.kind() != io::ErrorKind::BrokenPipe {
            self.heard().unwritten.get_or_insert(error);
        }
    }

    /// Reports why the exit status will not be 0, for readers of stderr alone, such as cron's mail. Without
    /// `--quiet` and for people, the events or the result have shown it.
    pub fn reason(&self, text: impl AsRef<str>) {
        self.heard().reason = true;
        if self.collected.is_none() && (self.quiet || self.is_json()) {
            let (bad, text) = (style::BAD, text.as_ref().replace('\n', "\n  "));
            let _gone = writeln!(anstream::stderr(), "{bad}error:{bad:#} {text}");
        }
    }

    /// Returns the exit status of the command: a failure always has a reason on stderr, and a result that
    /// could not be written is a failure. PostgreSQL reads no result, and must not see such a failure.
    pub(super) fn end(&self, exit: Exit, caller: CallerTerminal) -> ExitCode {
        if caller != CallerTerminal::Anyone {
            return exit.into();
        }
        if exit != Exit::Done && !self.heard().reason {
            self.reason(exit.meaning());
        }
        let Some(error) = self.heard().unwritten.take() else { return exit.into() };
        let mut stderr = anstream::stderr().lock();
        let (bad, warn, name) = (style::BAD, style::WARN, style::NAME);
        let _gone = writeln!(stderr, "{bad}error:{bad:#} failed to write the result to stdout");
        let _gone = writeln!(stderr, "{warn}caused by:{warn:#} {error}");
        let _gone = writeln!(
            stderr,
            "{name}hint:{name:#} Only the output is incomplete: the command itself ended with `{}`.",
            exit.meaning()
        );
        if exit == Exit::Done { Exit::Failed.into() } else { exit.into() }
    }

    fn heard(&self) -> std::sync::MutexGuard<'_, CountedWarnings> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a line in addition to the result; omitted with `--quiet`.
    pub fn note(&self, text: impl AsRef<str>) {
        if !self.quiet {
            let _gone = writeln!(anstream::stderr(), "{}", text.as_ref());
        }
    }

    pub fn warn(&self, text: impl AsRef<str>) {
        if self.keep(text.as_ref()) {
            return;
        }
        let _gone =
            writeln!(anstream::stderr(), "{}warning:{:#} {}", style::WARN, style::WARN, text.as_ref());
    }

    /// Writes the result as a versioned document: `{"drctl": 1, "kind": …, …}` with the fields of `data`.
    pub fn document(&self, kind: &str, data: &impl Serialize) {
        match document_text(kind, data) {
            Ok(text) => self.line(text),
            Err(error) => self.warn(format!("failed to write the {kind} document: {error}")),
        }
    }

    /// Shows an error, and returns the process's exit status, which is `status`.
    pub fn fail(&self, error: &CommandError, status: u8) -> ExitCode {
        let chain = error.chain();
        if self.is_json() {
            let data = serde_json::json!({
                "exit": status, "error": chain.first(), "causes": chain.get(1..), "hints": error.hints,
            });
            self.document("error", &data);
        }
        let mut stderr = anstream::stderr().lock();
        for (position, text) in chain.iter().enumerate() {
            let (label, style) =
                if position == 0 { ("error", style::BAD) } else { ("caused by", style::WARN) };
            let text = text.replace('\n', "\n  ");
            let _gone = writeln!(stderr, "{style}{label}:{style:#} {text}");
        }
        for hint in &error.hints {
            let _gone = writeln!(stderr, "{}hint:{:#} {hint}", style::NAME, style::NAME);
        }
        ExitCode::from(status)
    }

    /// Returns the observers of a long run: lines and progress on stderr for people, or one JSON object per
    /// line on stdout.
    pub fn events(&self) -> Events {
        let mut observers: Vec<Box<dyn Observer>> = Vec::new();
        if self.collected.is_some() {
            observers.push(Box::new(WarningObserver(self.clone())));
        } else if self.is_json() {
            observers.push(Box::new(LineObserver(self.clone())));
        } else if !self.quiet {
            observers.push(Box::new(ProgressTerminal::new(std::io::stderr().is_terminal())));
        }
        Events::to(observers)
    }
}

/// Returns a versioned document as text.
pub(super) fn document_text(kind: &str, data: &impl Serialize) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Document<'a, T> {
        drctl: u32,
        kind: &'a str,
        #[serde(flatten)]
        data: &'a T,
    }
    serde_json::to_string(&Document { drctl: DOCUMENT_VERSION, kind, data })
}

/// Keeps the warnings among the events.
struct WarningObserver(Output);

impl Observer for WarningObserver {
    fn observe(&self, event: &Event) {
        if let Event::Warning { message } = event {
            self.0.warn(message);
        }
    }
}

/// Writes events as JSON, one per line.
struct LineObserver(Output);

impl Observer for LineObserver {
    fn observe(&self, event: &Event) {
        #[derive(Serialize)]
        struct Line<'a> {
            drctl: u32,
            #[serde(flatten)]
            event: &'a Event,
        }
        if let Ok(text) = serde_json::to_string(&Line { drctl: DOCUMENT_VERSION, event }) {
            self.0.line(text);
        }
    }
}
