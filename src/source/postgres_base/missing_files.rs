use std::fmt;

/// A path that PostgreSQL needs and a copy lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingFiles {
    /// Relative to the data directory.
    pub path: String,
    /// The database that it belongs to, if any.
    pub database: Option<String>,
    /// Why it counts as missing.
    pub why: &'static str,
}

impl fmt::Display for MissingFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.database {
            Some(name) => write!(f, "database `{name}`: `{}` {}", self.path, self.why),
            None => write!(f, "`{}` {}", self.path, self.why),
        }
    }
}
