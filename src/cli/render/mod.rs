//! How plans and reports look on a terminal.

pub(super) mod restore_aws_backup;
pub(super) mod restore_logical;
pub(super) mod restore_physical;
pub(super) mod restore_rds;
