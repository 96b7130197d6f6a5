//! Streaming from a server: `pg_receivewal` receives its WAL into a directory, from where it is uploaded.
//!
//! *Invariants.*
//! - A segment is removed from the directory only when every required repository has confirmed it, and the
//!   newest file always stays, so that a receiver knows where it stopped.
//! - WAL that the server has removed is not requested again and again: what was received before is set aside
//!   and archived, and the gap is reported.
//! - WAL received of a timeline that the server forked off before it is set aside and archived likewise, and
//!   streaming continues on the server's timeline.
//! - A partial segment holds bytes that were there a moment before they were read: nothing before its end is
//!   still to be written.
//! - The completeness time of received WAL comes from the server's answer about its flush position, and from
//!   no time of this host: a receiver may be hours behind.
//! - One process streams into a directory. A receiver left running by a killed one is terminated first.
//!
//! *Not here.* Sealing and storing: [`super::Pusher`].

mod branch;
mod lsn_poller;
mod receiver;
mod slot;
mod spool;
mod uploader;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::watch;

use super::{LsnTimeline, Pusher};
use crate::event::{Event, Events};
use crate::model::SystemIdentifier;
use crate::platform::CancellationToken;
use crate::policy::{RepositoryConfig, RuleTerms};
use crate::postgres::ConnectionParameters;
use crate::repository::write_options;
use spool::Directory;

/// How long the upload of the remaining files may take after the end was requested.
const LAST_WITHIN: Duration = Duration::from_secs(20);

/// Why a server cannot be followed.
#[derive(Debug, Error)]
pub enum StreamError {
    #[error("failed to prepare `{path}`")]
    Prepare { path: PathBuf, source: std::io::Error },
    #[error("another drctl streams into `{0}`")]
    Taken(PathBuf),
    #[error("`{path}` holds the WAL of system identifier {found}, and the server has {server}")]
    OtherCluster { path: PathBuf, found: SystemIdentifier, server: SystemIdentifier },
}

/// The server's flush positions over time.
type LsnSamples = watch::Receiver<Arc<LsnTimeline>>;

/// A server that WAL is streamed from.
pub struct WalStream {
    pub parameters: ConnectionParameters,
    /// Where to look for `pg_receivewal` first.
    pub tools: Option<PathBuf>,
    pub slot: String,
    /// The directory of received files until they are archived.
    pub directory: PathBuf,
    /// Its own token cancels a push in progress; `cancel` of [`WalStream::run`] does not.
    pub pusher: Pusher,
    /// Its options are rebuilt from these from time to time: objects may be locked for a certain time from
    /// their creation on.
    pub repositories: Vec<RepositoryConfig>,
    /// How long the rules of retention keep the WAL.
    pub terms: RuleTerms,
    /// The interval between partial segments of the current segment.
    pub every: Duration,
    pub events: Events,
}

impl WalStream {
    /// Streams from the server until `cancel`, through outages of it and of the repositories.
    ///
    /// # Errors
    /// Only errors that waiting does not fix.
    pub async fn run(&self, cancel: &CancellationToken) -> Result<(), StreamError> {
        let directory = Directory::open(&self.directory)?;
        let receiving = cancel.child_token();
        let (sightings, horizon) = watch::channel(Arc::default());
        let ship = self.ship(&directory, &horizon, &receiving);
        let receive = async {
            let outcome = self.receive(&directory, &receiving).await;
            receiving.cancel();
            outcome
        };
        let watch = self.watch_slot(&receiving);
        let sight = self.sight(&sightings, &receiving);
        let (outcome, shipped, (), ()) = tokio::join!(receive, ship, watch, sight);
        if tokio::time::timeout(LAST_WITHIN, self.ship_last(&directory, &horizon, shipped)).await.is_err() {
            self.pusher.cancel.cancel();
            self.warn("some received WAL is not archived yet: the next `drctl wal stream` archives it");
        }
        outcome
    }

    /// Returns the pusher with current options and the server's flush history.
    fn pusher(&self, horizon: &LsnSamples) -> Pusher {
        let (given, now) = (&self.pusher, self.pusher.clock.now());
        Pusher {
            system: given.system.clone(),
            source: given.source.clone(),
            repositories: given.repositories.clone(),
            options: write_options(&self.repositories, now, |name| self.terms.of_wal(name, now)),
            optional_repositories: given.optional_repositories.clone(),
            recipe: given.recipe.clone(),
            parallel: given.parallel,
            clock: Arc::clone(&given.clock),
            cancel: given.cancel.clone(),
            horizon: Some(Arc::clone(&horizon.borrow())),
            known: Arc::clone(&given.known),
            memory: Arc::clone(&given.memory),
        }
    }

    fn warn(&self, message: impl Into<String>) {
        self.events.emit(&Event::Warning { message: message.into() });
    }

    fn note(&self, message: impl Into<String>) {
        self.events.emit(&Event::Notice { message: message.into() });
    }
}
