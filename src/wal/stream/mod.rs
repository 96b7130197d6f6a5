//! Following a server: `pg_receivewal` takes its log into a directory, and what is there is shipped.
//!
//! *Invariants.*
//! - A segment leaves the directory only when every repository that must have it has confirmed it, and the
//!   newest file always stays, so that a receiver knows where it stopped.
//! - What the server no longer has is not asked for again and again: what was received before is put aside and
//!   archived, and the gap is said.
//! - What was received of a timeline that the server left before it is put aside and archived likewise, and the
//!   server is followed on the one it is on.
//! - A piece holds bytes that were there a moment before they were read: nothing before its end is still
//!   to be written.
//! - Up to when what was received is complete is what the server said when it was asked where its log was, and no
//!   time of this host: a receiver may be hours behind.
//! - One process streams into a directory. A receiver that a killed one left behind is ended first.
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
use crate::policy::RepositoryConfig;
use crate::postgres::ConnectionParameters;
use crate::repository::write_options;
use spool::Directory;

/// How long what is there may take to be shipped after the end was asked for.
const LAST_WITHIN: Duration = Duration::from_secs(20);

/// Why a server is not followed.
#[derive(Debug, Error)]
pub enum StreamError {
    #[error("failed to prepare `{path}`")]
    Prepare { path: PathBuf, source: std::io::Error },
    #[error("another drctl streams into `{0}`")]
    Taken(PathBuf),
    #[error("`{path}` holds the WAL of system identifier {found}, and the server has {server}")]
    OtherCluster { path: PathBuf, found: SystemIdentifier, server: SystemIdentifier },
}

/// What the server has said of where its log was.
type LsnSamples = watch::Receiver<Arc<LsnTimeline>>;

/// A server that is followed.
pub struct WalStream {
    pub parameters: ConnectionParameters,
    /// Where to look for `pg_receivewal` first.
    pub tools: Option<PathBuf>,
    pub slot: String,
    /// What is received lies here until it is archived.
    pub directory: PathBuf,
    /// Its own token ends a push that is on its way; `cancel` of [`WalStream::run`] does not.
    pub pusher: Pusher,
    /// What its options are made of anew from time to time: objects may be locked for so long from when they
    /// are written.
    pub repositories: Vec<RepositoryConfig>,
    /// Between pieces of a segment that is being written.
    pub every: Duration,
    pub events: Events,
}

impl WalStream {
    /// Follows the server until `cancel`, through whatever happens to it and to the repositories.
    ///
    /// # Errors
    /// Only what waiting does not mend.
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

    /// The pusher, with options of now and what the server has said until now.
    fn pusher(&self, horizon: &LsnSamples) -> Pusher {
        let given = &self.pusher;
        Pusher {
            system: given.system.clone(),
            source: given.source.clone(),
            repositories: given.repositories.clone(),
            options: write_options(&self.repositories, given.clock.now()),
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
