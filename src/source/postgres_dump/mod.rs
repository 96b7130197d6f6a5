//! A dump of one database by `pg_dump`, with what it held, as of one snapshot.

pub mod capture;
pub mod manual_restore;
pub mod privileges;
pub mod program;
