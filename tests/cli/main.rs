//! What a user sees: stdout, stderr and exit code of each verb, as snapshots.

#[path = "../support/mod.rs"]
mod support;

mod catalog;
mod copies;
mod drill;
mod iam;
mod init;
mod keys;
mod list;
mod monitor;
mod output;
mod policy;
mod repositories;
mod restore;
mod runbook;
mod sandbox;
mod schedule;
mod shop;
mod status;
mod verify;
