//! One suite for every store: a directory, S3 in this process, S3 by radosgw. Beside it what only some can
//! do, and what each does when the network or the server fails.

#![expect(clippy::expect_used, reason = "the cases are tests; that several tests share them hides it")]

#[path = "../support/mod.rs"]
mod support;

mod directory;
mod faults;
mod gateway;
mod in_process;
mod leases;
mod memory;
mod probes;
mod protection;
mod suite;
