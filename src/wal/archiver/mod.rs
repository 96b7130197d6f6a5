//! What a server says about its archiving: its settings and statistics, what its `archive_command` does, what waits to
//! be archived, and what it holds up.

pub(super) mod archive_command;
pub(super) mod backlog;
mod command_line;
pub(super) mod facts;
pub(super) mod last_archived;
pub(super) mod server_host;
pub(super) mod stall;
