/// The options of every connection of PostgreSQL's programs: a server that stopped answering is detected
/// after two minutes, instead of libpq's two hours.
pub(super) const KEEPALIVES: &str = "keepalives_idle=60 keepalives_interval=15 keepalives_count=4";
