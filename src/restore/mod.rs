//! Bringing data back: one module for each way.
//!
//! | module | from | into |
//! |---|---|---|
//! | [`logical`] | a dump | a new database |
//! | [`physical`] | a base backup and the WAL after it | a data directory, at any point in time |
//! | [`rds`] | a snapshot or automated backups of RDS | a new RDS instance or Aurora cluster |
//! | [`aws_backup`] | a recovery point of AWS Backup | a new resource |
//!
//! Each has the same road: `survey` reads everything that the decision needs and changes nothing, `plan` decides and is
//! pure, `execute` carries out the plan and nothing else.

pub mod aws_backup;
pub mod logical;
pub mod physical;
pub mod rds;
