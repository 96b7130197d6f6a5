//! Pausing the application while its data is backed up.
//!
//! [`Pause::begin`] runs the policy's `pause`; `resume` is run when [`Pause::end`] is called, at the deadline, and when the
//! run is interrupted, whichever comes first. A marker in the state directory stands for a pause from before `pause` is
//! run until `resume` succeeded: [`resume_leftover`] resumes what a killed run left paused.
//!
//! *Invariants.*
//! - `resume` is run once for every `pause` that was started, whether or not that one succeeded, and again where it fails.
//! - Nothing counts as paused from the moment at which `resume` is started.
//! - A marker is held by a lock of the process that made it: one that nobody holds is of a killed run.
//!
//! *Not here.* What is backed up meanwhile: [`crate::backup`].

mod hook;
mod leftover;
mod marker;
mod pausing;

pub use leftover::{LeftoverPause, PauseState, pause_state, resume_leftover};
pub use marker::PauseMarker;
pub use pausing::{Pause, PauseEnd, PauseError, PauseFacts, ResumedBecause};
