//! How plans and reports look on a terminal.

pub mod restore_aws_backup;
pub mod restore_logical;
pub mod restore_physical;
pub mod restore_rds;
