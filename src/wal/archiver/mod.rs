//! What a server says about its archiving: its settings and statistics, what waits to be archived, and what it holds up.

pub(super) mod backlog;
pub(super) mod facts;
pub(super) mod last_archived;
pub(super) mod stall;
