use super::error::BaseError;
use super::prepare::BaseBackupCapture;
use super::replication;
use super::replication::StartedCopy;
use crate::event::Events;
use crate::model::Manifest;
use crate::platform::{CancellationToken, ProcessError};
use crate::postgres::Tools;
use crate::source::incremental::{BasePlan, BaseScope, Candidate, FullBackupReason};
use crate::text::error_chain;

/// Begins the planned copy; a full one where the server does not provide the changes. Returns its parents,
/// the full one first; empty for a full one.
pub(super) async fn begin<'a>(
    prepared: &BaseBackupCapture,
    tools: &Tools,
    plan: &'a BasePlan,
    events: &Events,
    stop: &CancellationToken,
) -> Result<(StartedCopy, &'a [Manifest]), BaseError> {
    match &plan.scope {
        BaseScope::Full(None) => {}
        BaseScope::Full(Some(why)) => report_full(why, events),
        BaseScope::Incremental { since, passed_over } => {
            match replication::begin(prepared, tools, Some(&since.list), stop).await {
                Ok(begun) => {
                    if let Some(passed_over) = passed_over {
                        events.warning(passed_over.to_string());
                    }
                    events.notice(format!("copying what changed since {}", since.manifest.id));
                    return Ok((begun, since.chain.as_deref().unwrap_or_default()));
                }
                // The server has read the parent's manifest, and has rejected it before anything was stored.
                Err(BaseError::Start { source: ProcessError::Failed { stderr, .. }, .. })
                    if !stderr.is_empty() =>
                {
                    let why = denied(since, &stderr);
                    if plan.is_strict {
                        return Err(BaseError::NoIncremental {
                            server: prepared.parameters.to_string(),
                            why,
                        });
                    }
                    report_full(&why, events);
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok((replication::begin(prepared, tools, None, stop).await?, &[]))
}

fn denied(since: &Candidate, stderr: &[String]) -> FullBackupReason {
    // It also warns that the rejected backup is not complete.
    let words = stderr.iter().filter(|line| !line.starts_with("WARNING:")).map(|line| line.trim());
    let words = words.collect::<Vec<_>>().join(" ");
    FullBackupReason::Denied { backup: since.manifest.id.clone(), words }
}

fn report_full(why: &FullBackupReason, events: &Events) {
    if why.is_silent() {
        return;
    }
    let text = error_chain(why);
    if why.is_due() {
        events.notice(format!("taking a full base backup: {text}"));
    } else {
        events.warning(format!("taking a full base backup in place of an incremental one: {text}"));
    }
}
