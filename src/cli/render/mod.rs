//! Human-readable plans and reports.

mod duration;
pub(super) mod restore;
pub(super) mod restore_application;
mod restore_aws_backup;
mod restore_content;
mod restore_logical;
mod restore_physical;
mod restore_rds;
pub(super) mod status_places;
pub(super) mod status_verdict;
