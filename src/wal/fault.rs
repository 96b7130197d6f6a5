use serde::Serialize;

/// Why records are not replayed, although they are archived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WalFault {
    /// They are not readable.
    Damaged,
    /// They were written with `wal_level = minimal`: changes are missing from them, and PostgreSQL refuses to
    /// replay them.
    Minimal,
}
