use std::time::Duration;

use thiserror::Error;
use tokio::time::Instant;

use super::{AwsFailure, FailureKind};
use crate::event::{Event, Events};
use crate::platform::CancellationToken;
use crate::policy::AwsLocation;
use crate::text::{error_chain, format_duration};

/// How often to poll AWS during a job, and for how long.
///
/// Not the SDK's own waiters: they wait for up to half an hour between two polls, take some final states for
/// running, and give up at the first unknown error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Poll {
    /// The interval between two polls; a quarter of it is random, so that hosts do not poll together.
    pub every: Duration,
    /// For the whole wait.
    pub deadline: Duration,
}

/// Consecutive failures to tolerate: five minutes of trouble at the usual interval.
const TROUBLE: u32 = 15;
/// Consecutive "not found" responses to tolerate: a single one may come from a lagging server.
const ABSENCES: u32 = 3;
/// How long a new object may not be found, since AWS is eventually consistent.
const NOT_FOUND: Duration = Duration::from_secs(120);

/// The result of a poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolledState<T> {
    Done(T),
    /// It is still running.
    Working(PollProgress),
    /// It is in a state that it does not leave by itself.
    Failed(PollProgress),
    /// It does not exist.
    Absent,
}

/// Progress as reported by AWS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PollProgress {
    /// As in AWS's API: `creating`, `available`.
    pub status: String,
    pub percent: Option<u8>,
    /// The reason, as reported by AWS.
    pub detail: Option<String>,
}

/// Why a wait ended without success. The job continues in AWS.
#[derive(Debug, Error)]
pub enum PollError {
    #[error("failed to query the status of {subject} {TROUBLE} times in a row")]
    Trouble { subject: String, source: AwsFailure },
    #[error("{subject} is `{status}`{}", .detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default())]
    Failed { subject: String, status: String, detail: Option<String> },
    #[error("{subject} was deleted while drctl waited for it")]
    Gone { subject: String },
    #[error("{subject} was started, and AWS does not find it")]
    NeverCame { subject: String },
    #[error("{subject} is still `{status}` after {}; AWS continues it", format_duration(*.waited))]
    Deadline { subject: String, status: String, waited: Duration },
    #[error("interrupted while {subject} was `{status}`; AWS continues it")]
    Interrupted { subject: String, status: String },
    #[error("failed to query {subject}")]
    Refused { subject: String, source: AwsFailure },
}

impl From<&AwsLocation> for Poll {
    fn from(location: &AwsLocation) -> Self {
        Self { every: location.poll, deadline: location.deadline }
    }
}

/// A run that waits for AWS.
#[derive(Clone, Copy, Debug)]
pub struct Waiter<'a> {
    pub poll: Poll,
    pub events: &'a Events,
    pub cancel: &'a CancellationToken,
}

impl Waiter<'_> {
    /// Waits until AWS finds something, and `sees` calls it done.
    pub async fn until<T>(
        &self,
        subject: &str,
        mut find: impl AsyncFnMut() -> Result<Option<T>, AwsFailure>,
        mut sees: impl FnMut(T) -> PolledState<T>,
    ) -> Result<T, PollError> {
        self.ask(subject, async || Ok(find().await?.map_or(PolledState::Absent, &mut sees))).await
    }

    /// Waits until `query` answers that it is done.
    pub async fn ask<T>(
        &self,
        subject: &str,
        query: impl AsyncFnMut() -> Result<PolledState<T>, AwsFailure>,
    ) -> Result<T, PollError> {
        self.poll.wait(subject, self.events, self.cancel, query).await
    }

    /// Repeats a call that AWS refuses because of what it is doing with the thing meanwhile. `ready` waits until that is
    /// over; `tries`: refusals after which the last one is an error.
    pub async fn repeat<E: From<AwsFailure>>(
        &self,
        mut tries: u32,
        mut ready: impl AsyncFnMut() -> Result<(), E>,
        mut call: impl AsyncFnMut() -> Result<(), AwsFailure>,
    ) -> Result<(), E> {
        loop {
            match call().await {
                Err(failure) if failure.kind == FailureKind::State && tries > 0 => {
                    tries -= 1;
                    tracing::info!("{}", error_chain(&failure));
                    tokio::time::sleep(self.poll.every).await;
                    ready().await?;
                }
                done => return Ok(done?),
            }
        }
    }
}

/// What came of a call that starts something under a name of its own.
#[derive(Debug)]
pub enum Start<T> {
    /// AWS works on it.
    Begun,
    /// The call failed, and what it was to start is there: an earlier call, or one whose answer was lost, began it.
    Found(T),
    /// `is_absent`: AWS says that nothing was started; otherwise nothing is known.
    Failed { failure: AwsFailure, is_absent: bool },
}

/// Starts something, or adopts what an earlier call began. The caller checks whose the adopted one is.
pub async fn start_or_adopt<T>(
    start: impl Future<Output = Result<(), AwsFailure>>,
    find: impl Future<Output = Result<Option<T>, AwsFailure>>,
) -> Start<T> {
    match start.await {
        Ok(()) => Start::Begun,
        // The answer to an earlier attempt was lost; whose it is, is seen once it can be seen.
        Err(failure) if failure.kind == FailureKind::Exists => Start::Begun,
        Err(failure) => match find.await {
            Ok(Some(found)) => Start::Found(found),
            found => Start::Failed { failure, is_absent: found.is_ok() },
        },
    }
}

impl Poll {
    /// Polls until it is done or cannot be done any more. Emits every change of its state.
    ///
    /// `subject`: what is polled, for messages: "snapshot `x` in us-east-1".
    pub async fn wait<T, F>(
        &self,
        subject: &str,
        events: &Events,
        cancel: &CancellationToken,
        mut ask: F,
    ) -> Result<T, PollError>
    where
        F: AsyncFnMut() -> Result<PolledState<T>, AwsFailure>,
    {
        let begun = Instant::now();
        let mut last = PollProgress { status: "begun".to_owned(), ..PollProgress::default() };
        let mut seen_once = false;
        let (mut trouble, mut absences) = (0, 0);
        let named = || subject.to_owned();
        loop {
            match ask().await {
                Ok(PolledState::Done(value)) => return Ok(value),
                Ok(PolledState::Failed(progress)) => {
                    tell(subject, &progress, events);
                    return Err(PollError::Failed {
                        subject: named(),
                        status: progress.status,
                        detail: progress.detail,
                    });
                }
                Ok(PolledState::Working(progress)) => {
                    (seen_once, trouble, absences) = (true, 0, 0);
                    if progress != last {
                        tell(subject, &progress, events);
                        last = progress;
                    }
                }
                Ok(PolledState::Absent) if seen_once => {
                    (trouble, absences) = (0, absences + 1);
                    if absences >= ABSENCES {
                        return Err(PollError::Gone { subject: named() });
                    }
                }
                Ok(PolledState::Absent) if begun.elapsed() > self.not_found() => {
                    return Err(PollError::NeverCame { subject: named() });
                }
                Ok(PolledState::Absent) => trouble = 0,
                Err(source) if source.kind.may_pass() || source.kind == FailureKind::Other => {
                    trouble += 1;
                    if trouble >= TROUBLE {
                        return Err(PollError::Trouble { subject: named(), source });
                    }
                    tracing::info!("querying {subject}: {}", error_chain(&source));
                }
                Err(source) => return Err(PollError::Refused { subject: named(), source }),
            }
            if begun.elapsed() > self.deadline {
                let (status, waited) = (last.status, self.deadline);
                return Err(PollError::Deadline { subject: named(), status, waited });
            }
            tokio::select! {
                () = tokio::time::sleep(self.pause()) => {}
                () = cancel.cancelled() => {
                    return Err(PollError::Interrupted { subject: named(), status: last.status });
                }
            }
        }
    }

    fn pause(&self) -> Duration {
        self.every.mul_f64(0.875 + 0.25 * fastrand::f64())
    }

    /// Returns two minutes at the usual interval; a hundred polls at a shorter one.
    fn not_found(&self) -> Duration {
        NOT_FOUND.min(self.every * 100)
    }
}

fn tell(subject: &str, progress: &PollProgress, events: &Events) {
    let PollProgress { status, percent, detail } = progress.clone();
    events.emit(&Event::Status { subject: subject.to_owned(), status, percent, detail });
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Poll = Poll { every: Duration::from_millis(1), deadline: Duration::from_secs(5) };

    fn failure(kind: FailureKind) -> AwsFailure {
        let (operation, region) = ("DescribeDBSnapshots", "us-east-1".to_owned());
        AwsFailure { operation, region, kind, code: None, detail: "trouble".to_owned() }
    }

    fn working(status: &str) -> Result<PolledState<u8>, AwsFailure> {
        Ok(PolledState::Working(PollProgress { status: status.to_owned(), ..PollProgress::default() }))
    }

    async fn outcome(answers: Vec<Result<PolledState<u8>, AwsFailure>>) -> Result<u8, PollError> {
        let mut answers = answers.into_iter();
        let ask = async || answers.next().expect("asked too often");
        QUICK.wait("snapshot `x`", &Events::default(), &CancellationToken::new(), ask).await
    }

    #[tokio::test]
    async fn trouble_passes_and_what_flaps_comes_to_its_end() {
        let mut answers =
            vec![Ok(PolledState::Absent), working("creating"), working("available"), working("creating")];
        answers.extend((0..TROUBLE - 1).map(|_| Err(failure(FailureKind::Throttled))));
        answers.extend([
            working("creating"),
            Ok(PolledState::Absent),
            working("creating"),
            Ok(PolledState::Done(7)),
        ]);
        assert_eq!(outcome(answers).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn what_does_not_pass_is_told() {
        let trouble = (0..TROUBLE).map(|_| Err(failure(FailureKind::Unreachable))).collect();
        assert!(matches!(outcome(trouble).await, Err(PollError::Trouble { .. })));
        let refused = vec![working("creating"), Err(failure(FailureKind::Forbidden))];
        assert!(matches!(outcome(refused).await, Err(PollError::Refused { .. })));
        let gone = vec![
            working("creating"),
            Ok(PolledState::Absent),
            Ok(PolledState::Absent),
            Ok(PolledState::Absent),
        ];
        assert!(matches!(outcome(gone).await, Err(PollError::Gone { .. })));
        let never = (0..10_000).map(|_| Ok(PolledState::Absent)).collect();
        assert!(matches!(outcome(never).await, Err(PollError::NeverCame { .. })));
    }

    #[tokio::test]
    async fn a_wait_ends_when_it_must() {
        let poll = Poll { deadline: Duration::from_millis(20), ..QUICK };
        let ask = async || working("copying");
        let events = Events::default();
        let late = poll.wait("copy", &events, &CancellationToken::new(), ask).await.unwrap_err();
        assert!(late.to_string().contains("still `copying`"), "{late}");
        let cancel = CancellationToken::new();
        cancel.cancel();
        let stopped = QUICK.wait("copy", &events, &cancel, async || working("copying")).await.unwrap_err();
        assert!(matches!(stopped, PollError::Interrupted { .. }), "{stopped}");
    }

    #[tokio::test]
    async fn what_may_have_been_started_before_is_adopted() {
        let start = async |kind| start_or_adopt(async { Err(failure(kind)) }, async { Ok(Some(7)) }).await;
        assert!(matches!(start(FailureKind::Exists).await, Start::Begun));
        assert!(matches!(start(FailureKind::Unreachable).await, Start::Found(7)));
        let refused = async { Err(failure(FailureKind::Quota)) };
        let nothing = start_or_adopt::<u8>(refused, async { Ok(None) }).await;
        assert!(matches!(nothing, Start::Failed { is_absent: true, .. }));
        let refused = async { Err(failure(FailureKind::Unreachable)) };
        let unknown = start_or_adopt::<u8>(refused, async { Err(failure(FailureKind::Unreachable)) }).await;
        assert!(matches!(unknown, Start::Failed { is_absent: false, .. }));
    }

    #[tokio::test]
    async fn a_call_that_comes_between_is_repeated_once_it_may_be() {
        let (events, cancel) = (Events::default(), CancellationToken::new());
        let waiter = Waiter { poll: QUICK, events: &events, cancel: &cancel };
        let repeat = async |mut answers: Vec<Result<(), FailureKind>>, tries| {
            let mut readied = 0;
            let ready = async || {
                readied += 1;
                Ok::<_, AwsFailure>(())
            };
            let call = async || answers.remove(0).map_err(failure);
            let done = waiter.repeat(tries, ready, call).await;
            (done.map_err(|failure| failure.kind), readied)
        };
        let busy = Err(FailureKind::State);
        assert_eq!(repeat(vec![busy, busy, Ok(())], 2).await, (Ok(()), 2));
        assert_eq!(repeat(vec![busy, busy, Ok(())], 1).await, (Err(FailureKind::State), 1));
        assert_eq!(repeat(vec![Err(FailureKind::Quota)], 5).await, (Err(FailureKind::Quota), 0));
    }
}
