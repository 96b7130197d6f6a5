//! The only access to ambient state: the clock, randomness, child processes, secrets, the host's name.
//!
//! *Invariants.* Nothing above this module calls `Utc::now`, spawns a process or reads the environment on its
//! own (`.clippy.toml` forbids the first). A child always has a deadline or a cancellation, runs in its own
//! process group so that its own children end with it, and its stderr is kept. A secret never implements
//! `Display`, and is never an argument of a child.
//!
//! *Not here.* What to run and what its output means: [`crate::postgres`], [`crate::source`].

mod accounts;
mod beneath;
mod clock;
mod file_exposure;
mod hidden_text;
mod home;
mod host;
mod https;
mod orphan_processes;
mod owner;
mod pipe_stdin;
mod private_scratch;
mod process;
mod process_alive;
mod prompt;
mod resolved_path;
mod script;
mod secret;
mod secrets_manager;
mod server_process;
mod sighup;
mod signing;
mod web;

pub use accounts::Accounts;
pub use beneath::{open_beneath, split_name};
pub use clock::{Clock, FixedClock, SystemClock, seed};
pub use file_exposure::exposed;
pub use home::{HomeError, expand_home};
pub use host::{available_memory, free_space, host_name, scratch_directory, state_directory};
pub use https::{HttpsError, Trust, https};
pub use orphan_processes::end_left_behind;
pub use owner::give_to_folder_owner;
pub use pipe_stdin::PipeStdinError;
pub use private_scratch::PrivateScratch;
pub use process::{Piped, ProcessError, ProcessOutcome, Program};
pub use process_alive::is_alive;
pub use prompt::ask_hidden;
pub use resolved_path::resolved_path;
pub use script::{OnLine, ScriptEnd};
pub use secret::{SecretError, SecretRef};
pub use secrets_manager::SecretsManagerError;
pub use server_process::server_process;
pub use sighup::hangup_is_ignored;
pub use signing::{UnusableKey, Usable};
pub use web::{WebError, read_authorities, web_client};

pub use secrecy::{ExposeSecret, SecretString};
pub use tokio_util::sync::CancellationToken;
