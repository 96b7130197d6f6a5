use std::collections::HashSet;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::spool::{Directory, Received, cut_piece, next_piece};
use super::{LsnSamples, WalStream};
use crate::model::{Segment, WalName};
use crate::platform::CancellationToken;
use crate::text::error_chain;
use crate::wal::flush_history::LONGEST_PIECE;
use crate::wal::{Pusher, WalFile};

/// The interval between two polls.
const LOOK: Duration = Duration::from_millis(500);
/// The delay after a failure, doubled with each further one up to the maximum.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_AT_MOST: Duration = Duration::from_secs(30);
/// Bytes older than this are visible to every reader.
const SETTLE: Duration = Duration::from_millis(20);

/// What need not be uploaded or queried again.
#[derive(Default)]
pub(super) struct UploadResult {
    /// Complete files that are archived and stay.
    kept: HashSet<WalName>,
    /// How far the current segment has been uploaded.
    segment: Option<Segment>,
    until: u32,
}

impl WalStream {
    /// Archives received files, until `stop`.
    pub(super) async fn ship(
        &self,
        directory: &Directory,
        horizon: &LsnSamples,
        stop: &CancellationToken,
    ) -> UploadResult {
        let mut shipped = UploadResult::default();
        let mut piece_at = Instant::now();
        let mut wait = AGAIN;
        while !stop.is_cancelled() {
            let is_due = piece_at.elapsed() >= self.every;
            let good = self.round(directory, horizon, &mut shipped, is_due).await;
            if is_due {
                piece_at = Instant::now();
            }
            let pause = if good { LOOK } else { wait };
            wait = if good { AGAIN } else { (wait * 2).min(AGAIN_AT_MOST) };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => {}
            }
        }
        shipped
    }

    /// Runs one more round after the receiver has ended.
    pub(super) async fn ship_last(
        &self,
        directory: &Directory,
        horizon: &LsnSamples,
        mut shipped: UploadResult,
    ) {
        self.round(directory, horizon, &mut shipped, true).await;
    }

    /// Archives complete files, and then a partial segment of the current one. Returns false where anything
    /// failed.
    async fn round(
        &self,
        directory: &Directory,
        horizon: &LsnSamples,
        shipped: &mut UploadResult,
        with_piece: bool,
    ) -> bool {
        let _turn = directory.turn.lock().await;
        // Taken before any file is read: what was received by then is read.
        let pusher = self.pusher(horizon);
        let received = match directory.read() {
            Ok(received) => received,
            Err(error) => {
                self.warn(format!("`{}` cannot be read: {error}", directory.path.display()));
                return false;
            }
        };
        let whole = self.archive(&pusher, &received, shipped).await;
        let ended = self.ship_ended(&pusher, &received).await;
        let piece = match &received.current {
            Some(current) if with_piece => self.ship_piece(&pusher, current, shipped).await,
            _ => true,
        };
        whole && ended && piece
    }

    /// Uploads the beginnings of segments that will never be complete here, and releases them.
    async fn ship_ended(&self, pusher: &Pusher, received: &Received) -> bool {
        let mut good = true;
        for file in &received.ended {
            let is_shipped = self.ship_piece(pusher, file, &mut UploadResult::default()).await;
            good &= is_shipped && self.delete(file);
        }
        good
    }

    async fn archive(&self, pusher: &Pusher, received: &Received, shipped: &mut UploadResult) -> bool {
        let mut good = true;
        let (stayed, waiting): (Vec<_>, Vec<_>) =
            received.whole.iter().partition(|file| shipped.kept.contains(&file.name));
        // Files kept for a receiver are released once there is a newer one.
        for file in stayed {
            good &= self.forget(file, received, shipped);
        }
        for files in waiting.chunks(pusher.parallel.max(1)) {
            let outcomes = join_all(files.iter().map(|file| pusher.push(&file.path))).await;
            for (file, outcome) in files.iter().zip(outcomes) {
                match outcome {
                    Ok(pushed) => {
                        for lost in &pushed.behind {
                            self.warn(format!(
                                "`{}` is not in `{}`: {}",
                                file.name,
                                lost.name,
                                lost.reason()
                            ));
                        }
                        if !pushed.stored.is_empty() {
                            self.note(format!("{} is archived", file.name));
                        }
                        good &= self.forget(file, received, shipped);
                    }
                    Err(error) => {
                        self.warn(error_chain(&error));
                        good = false;
                    }
                }
            }
            if !good {
                break;
            }
        }
        good
    }

    /// Deletes an archived file, unless a receiver needs it.
    fn forget(&self, file: &WalFile, received: &Received, shipped: &mut UploadResult) -> bool {
        if Some(file.name) == received.newest || matches!(file.name, WalName::History(_)) {
            shipped.kept.insert(file.name);
            return true;
        }
        let is_gone = self.delete(file);
        if is_gone {
            shipped.kept.remove(&file.name);
        }
        is_gone
    }

    fn delete(&self, file: &WalFile) -> bool {
        match std::fs::remove_file(&file.path) {
            Ok(()) => true,
            Err(error) => {
                self.warn(format!("`{}` is archived and cannot be deleted: {error}", file.path.display()));
                false
            }
        }
    }

    async fn ship_piece(&self, pusher: &Pusher, current: &WalFile, shipped: &mut UploadResult) -> bool {
        let WalName::Partial(segment) = current.name else { return true };
        if shipped.segment != Some(segment) {
            (shipped.segment, shipped.until) = (Some(segment), 0);
        }
        // A receiver may rename it at any moment: then it is complete, and archived as such.
        let is_gone = |error: &std::io::Error| error.kind() == std::io::ErrorKind::NotFound;
        loop {
            let piece = match next_piece(current, shipped.until) {
                Ok(Some(piece)) => piece,
                Ok(None) => return true,
                Err(error) if is_gone(&error) => return true,
                Err(error) => {
                    self.warn(format!("`{}` cannot be read: {error}", current.path.display()));
                    return false;
                }
            };
            tokio::time::sleep(SETTLE).await;
            let (_, begin, end) = piece;
            let path = match cut_piece(current, segment, begin, end) {
                Ok(path) => path,
                Err(error) if is_gone(&error) => return true,
                Err(error) => {
                    self.warn(format!(
                        "no partial segment of `{}` can be created: {error}",
                        current.path.display()
                    ));
                    return false;
                }
            };
            let outcome = pusher.push(&path).await;
            let _gone = std::fs::remove_file(&path);
            match outcome {
                Ok(pushed) => {
                    tracing::info!("{} is uploaded", pushed.name);
                    shipped.until = end;
                    // What was written meanwhile is in the next partial segment, when that is due.
                    if end - begin < LONGEST_PIECE {
                        return true;
                    }
                }
                Err(error) => {
                    self.warn(error_chain(&error));
                    return false;
                }
            }
        }
    }
}
