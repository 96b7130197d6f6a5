use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::event::Events;
use crate::platform::{CancellationToken, OnLine, Program, ScriptEnd};
use crate::text::{error_chain, format_duration};

/// How many lines of a program's output are in the reason why it failed.
const LINES: usize = 5;

/// How long one attempt to resume may take.
const RESUME_WITHIN: Duration = Duration::from_secs(60);
/// The pauses between attempts to resume.
const AGAIN_AFTER: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];

/// Runs a hook to its end; `Err`: why it failed, with the last lines of its output.
pub(super) async fn run_hook(
    words: &[String],
    limit: Duration,
    cancel: &CancellationToken,
) -> Result<(), String> {
    let [path, arguments @ ..] = words else { return Err("no program is named".to_owned()) };
    let lines: Arc<Mutex<VecDeque<String>>> = Arc::default();
    let kept = Arc::clone(&lines);
    let keep: OnLine = Arc::new(move |line: &str| {
        let Ok(mut kept) = kept.lock() else { return };
        if kept.len() == LINES {
            kept.pop_front();
        }
        kept.push_back(line.to_owned());
    });
    let program = Program::new(path).args(arguments);
    let ended = program.run_lines(limit, cancel, keep).await.map_err(|error| error_chain(&error))?;
    let how = match ended {
        ScriptEnd::Exited(0) => return Ok(()),
        ScriptEnd::Exited(status) => format!("`{path}` ended with exit status {status}"),
        ScriptEnd::Killed(signal) => format!("`{path}` was ended by signal {signal}"),
        ScriptEnd::Deadline => format!("`{path}` did not end within {}", format_duration(limit)),
        ScriptEnd::Interrupted => format!("`{path}` was interrupted"),
    };
    let said = lines.lock().map(|lines| lines.iter().cloned().collect::<Vec<_>>()).unwrap_or_default();
    Err(if said.is_empty() { how } else { format!("{how}: {}", said.join("\n    ")) })
}

/// Resumes the application, in several attempts. Cannot be interrupted.
pub(super) async fn resume(words: &[String], events: &Events) -> Result<(), String> {
    let never = CancellationToken::new();
    let mut again = AGAIN_AFTER.into_iter();
    loop {
        let reason = match run_hook(words, RESUME_WITHIN, &never).await {
            Ok(()) => return Ok(()),
            Err(reason) => reason,
        };
        let Some(wait) = again.next() else { return Err(reason) };
        let next = format_duration(wait);
        events
            .warning(format!("the application is not resumed, and the next attempt is in {next}: {reason}"));
        tokio::time::sleep(wait).await;
    }
}
