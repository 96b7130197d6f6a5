//! The only door to ambient state: the clock, randomness, child processes, secrets, the host's name.
//!
//! *Invariants.* Nothing above this module calls `Utc::now`, spawns a process or reads the environment
//! on its own (`.clippy.toml` forbids the first). A child always has a deadline or a cancellation, runs
//! in its own process group so that its own children go with it, and its stderr is kept.
//! A secret never implements `Display`, and is never an argument of a child.
//!
//! *Not here.* What to run and what its output means: [`crate::postgres`], [`crate::source`].

mod alive;
mod ask;
mod clock;
mod feed;
mod hangup;
mod home;
mod host;
mod https;
mod left_behind;
mod owner;
mod private;
mod process;
mod secret;
mod secrets_manager;
mod signing;

pub use alive::is_alive;
pub use ask::ask_hidden;
pub use clock::{Clock, FixedClock, SystemClock, seed};
pub use feed::FeedError;
pub use hangup::hangup_is_ignored;
pub use home::{HomeError, expand_home};
pub use host::{available_memory, free_space, host_name, scratch_directory, state_directory};
pub use https::{HttpsError, Trust, https};
pub use left_behind::end_left_behind;
pub use owner::give_to_folder_owner;
pub use private::exposed;
pub use process::{Finished, Piped, ProcessError, Program};
pub use secret::{SecretError, SecretRef};
pub use secrets_manager::SecretsManagerError;
pub use signing::{UnusableKey, Usable};

pub use secrecy::{ExposeSecret, SecretString};
pub use tokio_util::sync::CancellationToken;
