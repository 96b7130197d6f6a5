//! What a server says about its archiving: its settings and statistics, what waits to be archived, and what it holds up.

pub mod backlog;
pub mod facts;
pub mod last_archived;
pub mod stall;
