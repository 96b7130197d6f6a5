use std::time::{Duration, Instant};

use super::branch::{BranchState, standing};
use super::slot::{has_segment, slot_facts};
use super::spool::Directory;
use super::{StreamError, WalStream};
use crate::platform::{CancellationToken, ProcessError, Program, end_left_behind};
use crate::postgres::{Tools, close, server_major};
use crate::text::{error_chain, format_duration};
use crate::wal::server_facts;

/// The delay after a failure, doubled with each further one up to the maximum.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_AT_MOST: Duration = Duration::from_secs(30);
/// A receiver that ran for this long counts as healthy.
const WELL: Duration = Duration::from_secs(60);
/// It runs until it is terminated.
const NEVER: Duration = Duration::from_secs(100 * 365 * 86_400);
const SLOT_WITHIN: Duration = Duration::from_secs(30);
const STATUS_EVERY: &str = "--status-interval=5";
/// Detects a server that disappeared without closing the connection.
const KEEPALIVES: &str = "keepalives=1 keepalives_idle=10 keepalives_interval=5 keepalives_count=3";

/// The server's message for WAL that it has removed.
const REMOVED: &str = "has already been removed";

/// Why a receiver does not run, as text; waiting may fix it.
type ReceiveError = String;

/// What a receiver starts with.
struct PreparedReceiver {
    /// The programs of the server's version.
    tools: Tools,
    slot_is_there: bool,
    /// Nothing was received before.
    is_first: bool,
}

impl WalStream {
    /// Keeps a receiver running until `stop`.
    pub(super) async fn receive(
        &self,
        directory: &Directory,
        stop: &CancellationToken,
    ) -> Result<(), StreamError> {
        let mut mark = std::ffi::OsString::from("--directory=");
        mark.push(&directory.path);
        let mut wait = AGAIN;
        let mut is_removed = false;
        loop {
            let ended = end_left_behind("pg_receivewal", &mark).await;
            if ended > 0 {
                self.note("terminated an orphaned receiver");
            }
            let begun = Instant::now();
            let outcome = tokio::select! {
                prepared = self.prepare(directory, is_removed) => prepared?,
                () = stop.cancelled() => return Ok(()),
            };
            let outcome = match outcome {
                Ok(prepared) => self.follow(&prepared, &mark, stop).await,
                Err(trouble) => Err(trouble),
            };
            if stop.is_cancelled() {
                return Ok(());
            }
            if begun.elapsed() > WELL {
                wait = AGAIN;
            }
            let words = match outcome {
                Ok(()) => "the server closed the connection".to_owned(),
                Err(trouble) => trouble,
            };
            is_removed = words.contains(REMOVED);
            self.warn(format!("{words}; retrying in {}", format_duration(wait)));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stop.cancelled() => return Ok(()),
            }
            wait = (wait * 2).min(AGAIN_AT_MOST);
        }
    }

    /// Prepares the directory for a receiver. `is_removed`: the server reported that it has removed the
    /// requested WAL.
    async fn prepare(
        &self,
        directory: &Directory,
        is_removed: bool,
    ) -> Result<Result<PreparedReceiver, ReceiveError>, StreamError> {
        let mut connection = match self.parameters.connect().await {
            Ok(connection) => connection,
            Err(error) => return Ok(Err(error_chain(&error))),
        };
        let asked = async {
            let (_, major) = server_major(&mut connection).await.map_err(|error| error_chain(&error))?;
            let facts = server_facts(&mut connection).await.map_err(|error| error_chain(&error))?;
            let slot = slot_facts(&mut connection, &self.slot).await.map_err(|error| error_chain(&error))?;
            let tools =
                Tools::find_of(self.tools.as_deref(), major).await.map_err(|error| error_chain(&error))?;
            let next = directory.next(facts.segment_size).map_err(|error| error_chain(&error))?;
            let history = match next.filter(|next| next.timeline < facts.timeline) {
                Some(_) => self.history(&tools, facts.timeline).await.map(Some),
                None => Ok(None),
            };
            // The receiver reports what is wrong with it.
            let history = history.unwrap_or_else(|words| {
                self.warn(format!("failed to fetch the history of timeline {}: {words}", facts.timeline));
                None
            });
            let stands = next.map(|next| standing(next, &facts, history.as_ref()));
            let has = match next.filter(|_| !is_removed) {
                Some(next) => {
                    has_segment(&mut connection, next, &facts).await.map_err(|error| error_chain(&error))?
                }
                None => None,
            };
            Ok((facts, slot, tools, next, has.unwrap_or(!is_removed), stands))
        };
        let asked: Result<_, ReceiveError> = asked.await;
        close(connection).await;
        let (facts, slot, tools, next, has_next, stands) = match asked {
            Ok(asked) => asked,
            Err(trouble) => return Ok(Err(trouble)),
        };
        let server = facts.system_identifier;
        if let Some(found) = directory.cluster().filter(|found| *found != server) {
            return Err(StreamError::OtherCluster { path: directory.path.clone(), found, server });
        }
        let failed = |source| StreamError::Prepare { path: directory.path.clone(), source };
        directory.mend(facts.segment_size).map_err(failed)?;
        if slot.as_ref().is_some_and(|slot| slot.wal_status.as_deref() == Some("lost")) {
            return Ok(Err(format!(
                "slot `{}` is lost: run `drctl wal configure` to recreate it, then take a base backup",
                self.slot
            )));
        }
        let now = facts.timeline;
        match next.zip(stands) {
            Some((received, BranchState::Abandoned { left })) => {
                let _turn = directory.turn.lock().await;
                directory.set_aside().map_err(failed)?;
                let of = received.timeline;
                let left = left.map_or_else(
                    || format!("which did not fork from timeline {of}"),
                    |left| format!("which forked from timeline {of} at {left}"),
                );
                self.warn(format!(
                    "the server is on timeline {now}, {left}, before the end of the received WAL: it was recovered to an earlier point in time, or promoted before it had everything. The received WAL of timeline {of} is set aside and still archived, and timeline {now} is followed from the start of slot `{}`; a base backup is needed (`drctl backup --kind base`)",
                    self.slot
                ));
                return Ok(Ok(PreparedReceiver { tools, slot_is_there: slot.is_some(), is_first: false }));
            }
            Some((received, BranchState::SetBack)) => {
                return Ok(Err(format!(
                    "the server is at {} of timeline {now}, before the end of the received WAL at {received}: it was set back without a recovery, and its new WAL cannot follow the archived WAL. `drctl restore` recovers it onto a timeline of its own",
                    facts.lsn
                )));
            }
            Some((received, BranchState::Older)) => {
                return Ok(Err(format!(
                    "the server is on timeline {now}, and timeline {} was received: it is another server, or was set back. Point the policy's `url` to the one that was promoted",
                    received.timeline
                )));
            }
            Some((_, BranchState::OnTheWay)) | None => {}
        }
        if let Some(missed) = next.filter(|_| !has_next) {
            let _turn = directory.turn.lock().await;
            directory.set_aside().map_err(failed)?;
            self.warn(format!(
                "the server no longer has {missed}, which comes next: the WAL has a gap from there to the start of slot `{}`, and a base backup is needed (`drctl backup --kind base`)",
                self.slot
            ));
        }
        Ok(Ok(PreparedReceiver { tools, slot_is_there: slot.is_some(), is_first: next.is_none() }))
    }

    /// Runs one receiver to its end.
    async fn follow(
        &self,
        prepared: &PreparedReceiver,
        mark: &std::ffi::OsStr,
        stop: &CancellationToken,
    ) -> Result<(), ReceiveError> {
        let trouble = |error: ProcessError| error_chain(&error);
        let program = async || -> Result<Program, ReceiveError> {
            let program = prepared.tools.program("pg_receivewal").map_err(|error| error_chain(&error))?;
            let program = program.arg(format!("--slot={}", self.slot)).arg("--no-password");
            let program = self.parameters.apply(program.arg(format!("--dbname={KEEPALIVES}"))).await;
            program.map_err(|error| error_chain(&error))
        };
        if !prepared.slot_is_there {
            let create = program().await?.args(["--create-slot", "--if-not-exists"]);
            create.run(SLOT_WITHIN, stop).await.map_err(trouble)?;
            if prepared.is_first {
                self.warn(format!(
                    "created the missing slot `{}`: WAL before it is not streamed, so a base backup is needed",
                    self.slot
                ));
            } else {
                self.note(format!("created the missing slot `{}`", self.slot));
            }
        }
        self.note(format!("following {} through slot `{}`", self.parameters, self.slot));
        let receive = program().await?.args(["--synchronous", "--no-loop", STATUS_EVERY]).arg(mark);
        receive.run(NEVER, stop).await.map(drop).map_err(trouble)
    }
}
