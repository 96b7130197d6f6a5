use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::Serialize;
use thiserror::Error;
use tokio::sync::{Mutex, OnceCell};

use super::hook::{resume, run_hook};
use super::marker::{FoundMarker, HeldMarker, PauseMarker};
use crate::event::Events;
use crate::model::{RunId, SystemName};
use crate::platform::CancellationToken;
use crate::policy::PauseHooks;
use crate::text::{format_duration, format_time};

/// Why the application could not be paused.
#[derive(Debug, Error)]
pub enum PauseError {
    #[error("failed to pause the application: {reason}{}", not_resumed(.still_paused))]
    Hook {
        reason: String,
        /// Why it could not be resumed, either.
        still_paused: Option<String>,
    },
    #[error("run {run} has paused the application since {}, and is at work", format_time(*.since))]
    InUse { run: RunId, since: DateTime<Utc> },
    #[error("run {run} left the application paused at {}, and it cannot be resumed", format_time(*.since))]
    LeftPaused { run: RunId, since: DateTime<Utc> },
    #[error("failed to note that the application is paused")]
    Marker(#[source] std::io::Error),
}

fn not_resumed(reason: &Option<String>) -> String {
    reason.as_ref().map(|reason| format!("; AND IT COULD NOT BE RESUMED: {reason}")).unwrap_or_default()
}

/// What a pause is begun for.
#[derive(Clone, Copy, Debug)]
pub struct PauseFacts<'a> {
    /// The host's state directory.
    pub state: &'a Path,
    pub system: &'a SystemName,
    pub run: &'a RunId,
    pub since: DateTime<Utc>,
}

/// Why the application was resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResumedBecause {
    /// What it was paused for is done.
    Done,
    Deadline,
    Interrupted,
}

/// How a pause ended.
#[derive(Clone, Debug, PartialEq)]
pub struct PauseEnd {
    pub because: ResumedBecause,
    /// From the start of `pause` to the end of `resume`.
    pub paused: Duration,
    /// Why the application is still paused.
    pub failed: Option<String>,
}

/// An application that is paused.
#[derive(Debug)]
pub struct Pause {
    shared: Arc<Shared>,
    done: CancellationToken,
}

#[derive(Debug)]
struct Shared {
    hooks: PauseHooks,
    marker: Mutex<Option<HeldMarker>>,
    is_in_effect: AtomicBool,
    end: OnceCell<PauseEnd>,
    begun: Instant,
    events: Events,
}

impl Pause {
    /// Pauses the application. Where that fails, it is resumed.
    pub async fn begin(
        hooks: &PauseHooks,
        facts: PauseFacts<'_>,
        events: &Events,
        cancel: &CancellationToken,
    ) -> Result<Self, PauseError> {
        let PauseFacts { state, system, run, since } = facts;
        let marker =
            PauseMarker { system: system.clone(), run: run.clone(), since, resume: hooks.resume.clone() };
        let created = HeldMarker::create(state, marker).map_err(PauseError::Marker)?;
        let Some(marker) = created else {
            return Err(match HeldMarker::find(state, system).map_err(PauseError::Marker)? {
                FoundMarker::InUse(PauseMarker { run, since, .. }) => PauseError::InUse { run, since },
                FoundMarker::Orphaned(held) => {
                    PauseError::LeftPaused { run: held.marker.run, since: held.marker.since }
                }
                FoundMarker::Absent => PauseError::Hook {
                    reason: "another run resumed it at the same time".to_owned(),
                    still_paused: None,
                },
            });
        };
        let shared = Arc::new(Shared {
            hooks: hooks.clone(),
            marker: Mutex::new(Some(marker)),
            is_in_effect: AtomicBool::new(false),
            end: OnceCell::new(),
            begun: Instant::now(),
            events: events.clone(),
        });
        events.notice(format!("pausing the application: {}", hooks.pause.join(" ")));
        if let Err(reason) = run_hook(&hooks.pause, hooks.deadline, cancel).await {
            let end = shared.end(ResumedBecause::Done).await;
            return Err(PauseError::Hook { reason, still_paused: end.failed });
        }
        shared.is_in_effect.store(true, Ordering::SeqCst);
        let done = CancellationToken::new();
        tokio::spawn(watch(Arc::clone(&shared), done.clone(), cancel.clone()));
        Ok(Self { shared, done })
    }

    /// Returns whether the application has been paused until now.
    pub fn is_in_effect(&self) -> bool {
        self.shared.is_in_effect.load(Ordering::SeqCst)
    }

    /// Resumes the application, unless the deadline or an interruption did.
    pub async fn end(&self) -> PauseEnd {
        self.done.cancel();
        self.shared.end(ResumedBecause::Done).await
    }
}

/// Resumes at the deadline, and when the run is interrupted.
async fn watch(shared: Arc<Shared>, done: CancellationToken, cancel: CancellationToken) {
    let left = shared.hooks.deadline.saturating_sub(shared.begun.elapsed());
    let because = tokio::select! {
        biased;
        () = done.cancelled() => return,
        () = cancel.cancelled() => ResumedBecause::Interrupted,
        () = tokio::time::sleep(left) => ResumedBecause::Deadline,
    };
    shared.end(because).await;
}

impl Shared {
    /// Resumes once, whoever asks first; everybody waits for that.
    async fn end(&self, because: ResumedBecause) -> PauseEnd {
        self.end.get_or_init(async || self.resume(because).await).await.clone()
    }

    async fn resume(&self, because: ResumedBecause) -> PauseEnd {
        self.is_in_effect.store(false, Ordering::SeqCst);
        if because == ResumedBecause::Deadline {
            let deadline = format_duration(self.hooks.deadline);
            self.events.warning(format!(
                "the application was paused for {deadline}, its deadline: it is resumed before everything is backed up"
            ));
        }
        let failed = resume(&self.hooks.resume, &self.events).await.err();
        match &failed {
            None => {
                self.events.notice(format!("the application is resumed: {}", self.hooks.resume.join(" ")));
                let marker = self.marker.lock().await.take();
                if let Some(Err(error)) = marker.map(HeldMarker::remove) {
                    self.events.warning(format!("the next run will resume the application again: {error}"));
                }
            }
            Some(reason) => self.events.warning(format!("THE APPLICATION IS STILL PAUSED: {reason}")),
        }
        PauseEnd { because, paused: self.begun.elapsed(), failed }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{PauseState, pause_state, resume_leftover};
    use super::*;

    struct Host {
        root: tempfile::TempDir,
        system: SystemName,
        run: RunId,
    }

    impl Host {
        fn new() -> Self {
            let now = "2026-11-30T12:00:00Z".parse().unwrap();
            let (system, run) = ("shop".parse().unwrap(), RunId::new(now, 1));
            Self { root: tempfile::tempdir().unwrap(), system, run }
        }

        /// Hooks that write a line each, and fail while a file of their name is there.
        fn hooks(&self, deadline: Duration) -> PauseHooks {
            let log = self.root.path().join("log");
            let script = |word: &str| {
                let script = format!(
                    "echo {word} >> {log}; test ! -e {fail}",
                    log = log.display(),
                    fail = self.root.path().join(word).display()
                );
                ["/bin/sh", "-c", &script].map(str::to_owned).to_vec()
            };
            PauseHooks { pause: script("pause"), resume: script("resume"), deadline }
        }

        fn fail(&self, word: &str) {
            std::fs::write(self.root.path().join(word), "").unwrap();
        }

        fn mend(&self, word: &str) {
            std::fs::remove_file(self.root.path().join(word)).unwrap();
        }

        fn log(&self) -> String {
            std::fs::read_to_string(self.root.path().join("log")).unwrap_or_default().replace('\n', " ")
        }

        async fn begin(&self, deadline: Duration, cancel: &CancellationToken) -> Result<Pause, PauseError> {
            let since = self.run.begun();
            let facts = PauseFacts { state: self.root.path(), system: &self.system, run: &self.run, since };
            Pause::begin(&self.hooks(deadline), facts, &Events::default(), cancel).await
        }

        fn state(&self) -> PauseState {
            pause_state(self.root.path(), &self.system)
        }
    }

    const LONG: Duration = Duration::from_secs(600);

    #[tokio::test]
    async fn a_pause_ends_once_and_leaves_nothing() {
        let (host, cancel) = (Host::new(), CancellationToken::new());
        let pause = host.begin(LONG, &cancel).await.unwrap();
        assert!(pause.is_in_effect() && matches!(host.state(), PauseState::Paused(_)));
        assert!(matches!(host.begin(LONG, &cancel).await, Err(PauseError::InUse { .. })));
        let end = pause.end().await;
        assert_eq!((end.because, end.failed.clone()), (ResumedBecause::Done, None));
        assert!(!pause.is_in_effect());
        assert_eq!(pause.end().await, end);
        assert_eq!((host.state(), host.log().as_str()), (PauseState::NotPaused, "pause resume "));
    }

    #[tokio::test]
    async fn the_deadline_and_an_interruption_resume_whatever_is_at_work() {
        for is_interrupted in [false, true] {
            let (host, cancel) = (Host::new(), CancellationToken::new());
            let deadline = if is_interrupted { LONG } else { Duration::from_millis(300) };
            let pause = host.begin(deadline, &cancel).await.unwrap();
            if is_interrupted {
                cancel.cancel();
            }
            let begun = Instant::now();
            while host.state() != PauseState::NotPaused {
                assert!(begun.elapsed() < Duration::from_secs(30), "it is not resumed");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert!(!pause.is_in_effect());
            let expected =
                if is_interrupted { ResumedBecause::Interrupted } else { ResumedBecause::Deadline };
            assert_eq!(pause.end().await.because, expected);
            assert_eq!(host.log(), "pause resume ");
        }
    }

    #[tokio::test]
    async fn a_pause_that_fails_is_resumed() {
        let (host, cancel) = (Host::new(), CancellationToken::new());
        host.fail("pause");
        let error = host.begin(LONG, &cancel).await.unwrap_err();
        assert!(matches!(error, PauseError::Hook { still_paused: None, .. }), "{error}");
        assert_eq!((host.state(), host.log().as_str()), (PauseState::NotPaused, "pause resume "));
    }

    #[tokio::test]
    async fn what_is_left_paused_is_resumed_by_the_next_run() {
        let (host, cancel, events) = (Host::new(), CancellationToken::new(), Events::default());
        host.fail("resume");
        let pause = host.begin(LONG, &cancel).await.unwrap();
        assert!(pause.end().await.failed.is_some());
        drop(pause);
        assert_eq!(host.log(), "pause resume resume resume ");
        assert!(matches!(host.state(), PauseState::LeftPaused(_)), "{:?}", host.state());
        host.mend("resume");
        assert!(matches!(host.begin(LONG, &cancel).await, Err(PauseError::LeftPaused { .. })));
        let left = resume_leftover(host.root.path(), &host.system, &events).await.unwrap().unwrap();
        assert_eq!((left.run, left.failed), (host.run.clone(), None));
        assert_eq!(host.state(), PauseState::NotPaused);
        assert!(resume_leftover(host.root.path(), &host.system, &events).await.unwrap().is_none());
        assert_eq!(host.log(), "pause resume resume resume resume ");
    }
}
