//! The state of a server's archiving: its settings and statistics, the effect of its `archive_command`, its
//! backlog, and stalls.

pub(super) mod archive_command;
pub(super) mod backlog;
mod command_line;
pub(super) mod facts;
pub(super) mod last_archived;
pub(super) mod server_host;
pub(super) mod stall;
