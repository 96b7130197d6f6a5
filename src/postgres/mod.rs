//! Talking to PostgreSQL: connections, the `pg_*` programs that match a server, what a database holds.
