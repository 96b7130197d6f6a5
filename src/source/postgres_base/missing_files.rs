use std::fmt;

/// What PostgreSQL needs and a copy does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingFiles {
    /// From the data directory on.
    pub path: String,
    /// Whose files they are, where they are one's.
    pub database: Option<String>,
    /// What is known of it.
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
