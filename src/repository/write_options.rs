use chrono::{DateTime, Utc};

use crate::model::RepositoryName;
use crate::policy::{LockTerm, RepositoryConfig};
use crate::store::{Lock, PutOptions};

/// Returns the options for writes to each repository: never overwriting, and locked if the policy says so. `kept`: until
/// when the rules of retention keep what is written, where locks follow them; `None`: it is not locked.
pub fn write_options(
    configs: &[RepositoryConfig],
    now: DateTime<Utc>,
    kept: impl Fn(&RepositoryName) -> Option<DateTime<Utc>>,
) -> Vec<(RepositoryName, PutOptions)> {
    let lock = |config: &RepositoryConfig| {
        let lock = config.place.object_lock()?;
        let until = match lock.retain {
            LockTerm::For(retain) => now + retain,
            LockTerm::Rules => kept(&config.name).filter(|until| *until > now)?,
        };
        Some(Lock { mode: lock.mode, until })
    };
    let options = |config: &RepositoryConfig| PutOptions { lock: lock(config), ..PutOptions::absent() };
    configs.iter().map(|config| (config.name.clone(), options(config))).collect()
}
