//! Tells people: what happened, what it means for the data, and what to do now.
//!
//! `findings` turns the result of a run or of `drctl status` into notices, `route` decides what each channel is sent,
//! `tell` sends it and says what became of it.
//!
//! *Invariants.* Never silent: of every notice a channel of its severity took it, or took it within the interval in
//! which nothing is repeated, or took a summary of many a moment ago, or it is reported as undelivered and sent again by
//! the next run. Never twice: what a channel was told is kept in the catalog until it is over; where that is lost, it is
//! told again. No error, log or record holds a URL that is a secret, or a key. Whatever becomes of a notice changes no
//! run's result.
//!
//! *Not here.* Whether something is wrong: the use cases and [`crate::status`].

mod channel;
mod deliver;
pub mod findings;
#[cfg(test)]
mod fixtures;
pub mod heartbeat;
mod message;
mod refused;
mod route;
mod tell;
#[cfg(test)]
mod tell_tests;

pub use channel::Means;
pub use deliver::Limits;
pub use findings::{Findings, Over};
pub use heartbeat::{Heartbeat, HeartbeatEnd};
pub use message::{Message, MessageState};
pub use refused::{Refused, Retry};
pub use route::{Delivery, repeated_after, route};
pub use tell::{Teller, Told, test};
