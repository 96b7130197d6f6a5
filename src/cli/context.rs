use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::error::CommandError;
use super::exit::Exit;
use super::global::Global;
use super::output::Output;
use crate::aws::S3Timeouts;
use crate::catalog::{Catalog, CatalogLocation};
use crate::model::RepositoryName;
use crate::pipeline::{Identities, IdentityError, IdentityFile, LockedFile};
use crate::platform::{
    CancellationToken, Clock, SystemClock, ask_hidden, hangup_is_ignored, state_directory,
};
use crate::policy;
use crate::policy::{Policy, RepositoryConfig, RepositoryLocation};
use crate::repository::{Repositories, Repository, nested};
use crate::store::directory::DirectoryStore;
use crate::store::s3::S3Store;
use crate::store::{AsOf, Store};

/// Where a policy is searched when none is named.
const POLICY_PLACES: [&str; 2] = ["drctl.toml", "/etc/drctl/policy.toml"];

/// How often a passphrase may be mistyped.
const PASSPHRASES: u32 = 3;

/// Returns why the command line refuses these words, which follow `drctl`.
pub type RefuseWords = fn(&[String]) -> Option<String>;

/// The context of every verb: the global options, the output, the clock, and the token that Ctrl-C, SIGTERM
/// and SIGHUP cancel.
pub struct Context {
    pub global: Global,
    pub output: Output,
    pub clock: Arc<dyn Clock>,
    pub cancel: CancellationToken,
    /// For documents that name commands.
    pub refuse_words: RefuseWords,
}

impl Context {
    /// Starts to listen for signals; must be called on the runtime.
    pub fn new(global: Global, output: Output, refuse_words: RefuseWords) -> Self {
        start_log(global.verbose);
        let cancel = CancellationToken::new();
        listen(cancel.clone(), output.clone());
        Self { global, output, clock: Arc::new(SystemClock), cancel, refuse_words }
    }

    /// Returns the policy file that `--policy`, `DRCTL_POLICY` or the usual paths name.
    pub fn policy_path(&self) -> Result<PathBuf, CommandError> {
        if let Some(path) = &self.global.policy {
            return Ok(path.clone());
        }
        POLICY_PLACES.iter().map(Path::new).find(|path| path.exists()).map(Path::to_owned).ok_or_else(|| {
            CommandError::usage(format!("no policy found at {}", POLICY_PLACES.join(" or ")))
                .hint("Name one with `--policy FILE` or DRCTL_POLICY, or create one with `drctl init`.")
        })
    }

    /// Loads the policy, or reports all its faults.
    pub fn policy(&self) -> Result<Policy, CommandError> {
        let path = self.policy_path()?;
        policy::load(&path)
            .map_err(|faults| CommandError::usage(faults).hint("`drctl policy schema` describes every key."))
    }

    /// Reads the identities in these files. Prompts for a passphrase where one is needed and there is a
    /// terminal.
    pub async fn identities(&self, paths: &[PathBuf]) -> Result<Identities, CommandError> {
        let mut all = Identities::default();
        for path in paths {
            match IdentityFile::read(path).map_err(no_identity)? {
                IdentityFile::Open(found) => all.add(found),
                IdentityFile::Locked(locked) => all.add(self.unlocked(&locked).await?),
            }
        }
        Ok(all)
    }

    async fn unlocked(&self, locked: &LockedFile) -> Result<Identities, CommandError> {
        let path = locked.path();
        let mut left = PASSPHRASES;
        while std::io::stderr().is_terminal() && left > 0 {
            let Some(passphrase) =
                ask_hidden(&format!("Passphrase for {}", path.display()), &self.cancel).await
            else {
                if self.cancel.is_cancelled() {
                    return Err(CommandError::new(Exit::Interrupted, "interrupted at a prompt"));
                }
                break;
            };
            left -= 1;
            // It takes a second by design.
            match tokio::task::block_in_place(|| locked.open(passphrase)) {
                Err(error @ IdentityError::WrongPassphrase { .. }) if left > 0 => {
                    self.output.warn(error.to_string())
                }
                outcome => return outcome.map_err(no_identity),
            }
        }
        Err(no_identity(IdentityError::Locked { path: path.to_owned() }))
    }

    /// Opens every repository of the policy; those that cannot be opened are unavailable.
    pub async fn repositories(&self, policy: &Policy) -> Repositories {
        self.repositories_with(policy, S3Timeouts::within(policy.transfer.stall)).await
    }

    /// Opens every repository of the policy with other timeouts.
    pub async fn repositories_with(&self, policy: &Policy, patience: S3Timeouts) -> Repositories {
        let opened =
            Repositories::open(&policy.repositories, |config| Box::pin(open_store(config, patience))).await;
        let policy = policy.clone();
        // Readers report a file system that does not answer.
        let looking = tokio::task::spawn_blocking(move || nested(&policy));
        match tokio::time::timeout(PATHS_WITHIN, looking).await {
            Ok(Ok(found)) => opened.with_misplaced(found),
            _ => opened,
        }
    }

    /// Opens the store of every repository as it is, without asking what is in it; those that cannot be opened are left
    /// out.
    pub async fn stores(&self, policy: &Policy) -> Vec<(RepositoryName, Arc<dyn Store>)> {
        let patience = S3Timeouts::within(policy.transfer.stall);
        let mut stores = Vec::new();
        for config in &policy.repositories {
            match open_store(config, patience).await {
                Ok(store) => stores.push((config.name.clone(), store)),
                Err(error) => {
                    let reason = crate::text::error_chain(&*error);
                    self.output.warn(format!("failed to open repository `{}`: {reason}", config.name));
                }
            }
        }
        stores
    }

    /// Returns these stores as repositories that are only read, as they were at `time`.
    pub fn repositories_as_of(
        stores: &[(RepositoryName, Arc<dyn Store>)],
        time: DateTime<Utc>,
    ) -> Repositories {
        let repository = |(name, store): &(RepositoryName, Arc<dyn Store>)| {
            let store = Arc::new(AsOf::new(Arc::clone(store), time));
            Repository { name: name.clone(), store }
        };
        Repositories::new(stores.iter().map(repository).collect())
    }

    /// Opens the catalog that the policy names, or the one in the state directory.
    pub async fn catalog(&self, policy: &Policy) -> Result<Catalog, CommandError> {
        open_catalog(policy).await
    }

    /// Opens the catalog, or warns, and adds its facts to the repositories.
    pub async fn recall(&self, policy: &Policy) -> (Option<Catalog>, Repositories) {
        let repositories = self.repositories(policy).await;
        let Some(catalog) = self.catalog_if_possible(policy).await else { return (None, repositories) };
        match catalog.remember(&repositories).await {
            Ok((catalog, remembered)) => (Some(catalog), repositories.remembering(remembered)),
            Err(error) => {
                self.output.warn(format!("continuing without the catalog: {}", CommandError::from(error)));
                (None, repositories)
            }
        }
    }

    /// Opens the catalog, or warns: for verbs that work without one.
    pub async fn catalog_if_possible(&self, policy: &Policy) -> Option<Catalog> {
        match self.catalog(policy).await {
            Ok(catalog) => Some(catalog),
            Err(error) => {
                self.output.warn(format!("continuing without the catalog: {error}"));
                None
            }
        }
    }
}

/// The time limit for resolving the links of a few directories.
const PATHS_WITHIN: Duration = Duration::from_secs(5);

/// Returns the error for a file without an identity, with its hint.
pub(super) fn no_identity(error: IdentityError) -> CommandError {
    let hint = error.hint();
    hint.into_iter().fold(CommandError::usage(error), CommandError::hint)
}

/// Opens the catalog that the policy names, or the one in the state directory.
pub(super) async fn open_catalog(policy: &Policy) -> Result<Catalog, CommandError> {
    Ok(Catalog::open(&catalog_location(policy).await?, &policy.system).await?)
}

/// Resolves the location of the policy's catalog.
pub(super) async fn catalog_location(policy: &Policy) -> Result<CatalogLocation, CommandError> {
    let password =
        match &policy.catalog_password {
            Some(reference) => Some(reference.resolve().await.map_err(|error| {
                CommandError::failed(error).context("failed to read the catalog's password")
            })?),
            None => None,
        };
    CatalogLocation::resolve(policy.catalog.as_deref(), password.as_ref(), &state_directory())
        .map_err(CommandError::usage)
}

/// Opens the store of a repository. The only place that knows the implementation for each location.
async fn open_store(
    config: &RepositoryConfig,
    patience: S3Timeouts,
) -> Result<Arc<dyn Store>, Box<dyn std::error::Error + Send + Sync>> {
    Ok(match &config.place {
        RepositoryLocation::Directory(root) if config.mount => Arc::new(DirectoryStore::open_mounted(root)),
        RepositoryLocation::Directory(root) => Arc::new(DirectoryStore::open(root)),
        RepositoryLocation::S3(place) => Arc::new(S3Store::open_with(place, patience).await?),
    })
}

fn start_log(verbose: u8) {
    use tracing_subscriber::EnvFilter;
    let level = match verbose {
        0 => "error",
        1 => "drctl=info,error",
        2 => "drctl=debug,info",
        _ => "debug",
    };
    let asked = std::env::var("DRCTL_LOG").ok().filter(|text| !text.is_empty());
    let filter =
        asked.and_then(|text| EnvFilter::try_new(text).ok()).unwrap_or_else(|| EnvFilter::new(level));
    // The same rule as for every other line on stderr.
    let colours = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .with_target(false);
    // A second logger (in tests) is rejected, which is fine.
    let _already = log.try_init();
}

fn listen(cancel: CancellationToken, output: Output) {
    use tokio::signal::unix::{SignalKind, signal};
    let mut kinds = vec![SignalKind::interrupt(), SignalKind::terminate()];
    if !hangup_is_ignored() {
        kinds.push(SignalKind::hangup());
    }
    for kind in kinds {
        let Ok(mut signals) = signal(kind) else { continue };
        let (cancel, output) = (cancel.clone(), output.clone());
        tokio::spawn(async move {
            if signals.recv().await.is_some() {
                output.note("Interrupted: stopping and rolling back incomplete work.");
                cancel.cancel();
            }
        });
    }
}
