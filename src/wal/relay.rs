//! Hands the WAL over to a server that has no network: its `restore_command` asks by a socket, and this process, which
//! has a network, fetches.
//!
//! The request and the answer are one line of JSON each; the bytes of the file follow the answer.

use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use super::{FetchError, Fetched, Fetcher};
use crate::model::{Lsn, RepositoryName, SystemIdentifier, WalName};
use crate::pipeline::OpenError;
use crate::platform::CancellationToken;
use crate::repository::{Repositories, Unavailable};
use crate::store::StoreErrorKind;
use crate::text::error_chain;

/// The maximum length of a request or an answer.
const LINE: u64 = 64 << 10;

/// What a server asks for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RelayRequest {
    pub file: String,
    pub cluster: Option<SystemIdentifier>,
    /// Empty: every repository of the relay.
    pub from: Vec<RepositoryName>,
    pub until: Option<Lsn>,
    pub mapped_tablespaces: Option<Vec<Lsn>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "answer")]
enum Answer {
    /// As many bytes follow.
    File {
        bytes: u64,
    },
    Absent,
    Failed {
        reason: String,
    },
}

/// Why a file was not handed over. None of these means that it does not exist.
#[derive(Debug, Error)]
pub enum RelayError {
    #[error("failed to reach the relay `{socket}`")]
    Connect { socket: PathBuf, source: io::Error },
    #[error("failed to talk with the relay")]
    Talk(#[source] io::Error),
    #[error("failed to understand the relay")]
    Json(#[from] serde_json::Error),
    #[error("failed to write `{path}`")]
    Write { path: PathBuf, source: io::Error },
    #[error("the relay failed: {0}")]
    Failed(String),
    #[error("the relay sent {found} of {expected} bytes")]
    Short { found: u64, expected: u64 },
}

/// Why a relay could not hand over a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayFailure {
    /// The WAL is damaged or missing, as opposed to out of reach.
    pub is_of_wal: bool,
    pub reason: String,
}

/// A relay that serves until it is dropped.
#[derive(Debug)]
pub struct WalRelay {
    served: Arc<AtomicU64>,
    failure: Arc<Mutex<Option<RelayFailure>>>,
    cancel: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl WalRelay {
    /// Listens at `socket`, which must not exist. `spool`: an existing directory for the files on their way; `owner`: the
    /// user and group that may connect beside this one's.
    pub fn start(
        fetcher: Fetcher,
        socket: &Path,
        spool: &Path,
        owner: Option<(u32, u32)>,
    ) -> io::Result<Self> {
        let listener = UnixListener::bind(socket)?;
        std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))?;
        if let Some((user, group)) = owner {
            chown(socket, Some(user), Some(group))?;
        }
        let served = Arc::<AtomicU64>::default();
        let failure = Arc::<Mutex<Option<RelayFailure>>>::default();
        let cancel = fetcher.cancel.child_token();
        let fetcher = Fetcher { cancel: cancel.clone(), ..fetcher };
        let (count, failed, spool) = (Arc::clone(&served), Arc::clone(&failure), spool.to_owned());
        let task = tokio::spawn(async move {
            let mut asked: u64 = 0;
            // Dropped with this task, and what it serves with it.
            let mut serving = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                while serving.try_join_next().is_some() {}
                asked += 1;
                let (fetcher, count, failed) = (fetcher.clone(), Arc::clone(&count), Arc::clone(&failed));
                let target = spool.join(format!("file-{asked}"));
                serving.spawn(async move {
                    let handed = serve(stream, &fetcher, &target, &failed).await;
                    let _gone = tokio::fs::remove_file(&target).await;
                    match handed {
                        Ok(bytes) => drop(count.fetch_add(bytes, Ordering::Relaxed)),
                        Err(error) => tracing::info!("{error}"),
                    }
                });
            }
        });
        Ok(Self { served, failure, cancel, task })
    }

    /// Returns why it last could not hand over a file.
    pub fn failure(&self) -> Option<RelayFailure> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns how many bytes it has handed over.
    pub fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }
}

impl Drop for WalRelay {
    fn drop(&mut self) {
        self.cancel.cancel();
        self.task.abort();
    }
}

/// Returns how many bytes of the file were sent.
async fn serve(
    stream: UnixStream,
    fetcher: &Fetcher,
    target: &Path,
    failed: &Mutex<Option<RelayFailure>>,
) -> io::Result<u64> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    BufReader::new(read.take(LINE)).read_line(&mut line).await?;
    let answer = match serde_json::from_str::<RelayRequest>(&line) {
        Ok(request) => fetch(fetcher, request, target, failed).await,
        Err(error) => Answer::Failed { reason: error.to_string() },
    };
    let mut text = serde_json::to_string(&answer)?;
    text.push('\n');
    write.write_all(text.as_bytes()).await?;
    let sent = match answer {
        Answer::File { .. } => tokio::io::copy(&mut tokio::fs::File::open(target).await?, &mut write).await?,
        Answer::Absent | Answer::Failed { .. } => 0,
    };
    write.shutdown().await?;
    Ok(sent)
}

async fn fetch(
    fetcher: &Fetcher,
    request: RelayRequest,
    target: &Path,
    failed_before: &Mutex<Option<RelayFailure>>,
) -> Answer {
    let failed = |reason: String| Answer::Failed { reason };
    let name: WalName = match request.file.parse() {
        Ok(name) => name,
        Err(error) => return failed(error_chain(&error)),
    };
    let mut fetcher =
        Fetcher { until: request.until, mapped_tablespaces: request.mapped_tablespaces, ..fetcher.clone() };
    if !request.from.is_empty() {
        let named = fetcher.repositories.iter().filter(|repository| request.from.contains(&repository.name));
        fetcher.repositories = Repositories::new(named.cloned().collect());
        if fetcher.repositories.is_empty() {
            return failed("none of the repositories it asks for is used".to_owned());
        }
    }
    match fetcher.fetch(request.cluster, name, target).await {
        Ok(Fetched::Absent) => Answer::Absent,
        Ok(Fetched::Placed { .. } | Fetched::Partly { .. }) => match tokio::fs::metadata(target).await {
            Ok(placed) => Answer::File { bytes: placed.len() },
            Err(error) => failed(error.to_string()),
        },
        Err(error) => {
            let reason = error_chain(&error);
            let is_of_wal = match &error {
                FetchError::Gap { .. } | FetchError::Pieces { .. } => true,
                FetchError::Unfetched { lost, .. } => !lost
                    .iter()
                    .map(Unavailable::reason)
                    .all(|reason| StoreErrorKind::is_of_access(&reason) || OpenError::is_of_key(&reason)),
                _ => false,
            };
            let failure = RelayFailure { is_of_wal, reason: reason.clone() };
            *failed_before.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
            failed(reason)
        }
    }
}

/// Asks a relay for a file, and writes it to `target`. Returns false where no repository has it.
pub async fn fetch_by(socket: &Path, request: &RelayRequest, target: &Path) -> Result<bool, RelayError> {
    let connect = |source| RelayError::Connect { socket: socket.to_owned(), source };
    let (read, mut write) = UnixStream::connect(socket).await.map_err(connect)?.into_split();
    let mut line = serde_json::to_string(request)?;
    line.push('\n');
    write.write_all(line.as_bytes()).await.map_err(RelayError::Talk)?;
    let mut read = BufReader::new(read);
    let mut line = String::new();
    (&mut read).take(LINE).read_line(&mut line).await.map_err(RelayError::Talk)?;
    let expected = match serde_json::from_str(&line)? {
        Answer::Absent => return Ok(false),
        Answer::Failed { reason } => return Err(RelayError::Failed(reason)),
        Answer::File { bytes } => bytes,
    };
    let written = async {
        let mut file = tokio::fs::File::create(target).await?;
        let found = tokio::io::copy(&mut read, &mut file).await?;
        file.sync_all().await?;
        Ok(found)
    };
    let written: io::Result<u64> = written.await;
    let outcome = match written {
        Ok(found) if found == expected => return Ok(true),
        Ok(found) => RelayError::Short { found, expected },
        Err(source) => RelayError::Write { path: target.to_owned(), source },
    };
    let _gone = tokio::fs::remove_file(target).await;
    Err(outcome)
}
