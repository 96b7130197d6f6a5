/// The options of every connection of PostgreSQL's programs: a server that stopped answering is noticed after two
/// minutes, rather than after libpq's two hours.
pub(super) const KEEPALIVES: &str = "keepalives_idle=60 keepalives_interval=15 keepalives_count=4";
