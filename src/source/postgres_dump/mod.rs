//! A dump of one database by `pg_dump`, with the facts of its contents, from one snapshot.

pub mod capture;
pub mod manual_restore;
pub mod privileges;
pub mod program;
