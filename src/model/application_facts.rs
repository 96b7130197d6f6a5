//! What is recorded, encrypted, of an application's stores beside its PostgreSQL database.

use serde::{Deserialize, Serialize};

/// The contents of a SQLite database, read in its copy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SqliteFacts {
    pub page_size: u64,
    pub pages: u64,
    /// `PRAGMA user_version`: often that of the application's schema.
    pub user_version: i64,
    pub tables: Vec<SqliteTable>,
    /// `None` where they cannot be checked.
    pub foreign_key_violations: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SqliteTable {
    pub name: String,
    /// `None` where only the application can read it.
    pub rows: Option<u64>,
}

impl SqliteFacts {
    pub fn rows(&self) -> u64 {
        self.tables.iter().filter_map(|table| table.rows).sum()
    }
}

/// The contents of a directory of ChromaDB.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChromaFacts {
    pub database: SqliteFacts,
    pub collections: Vec<ChromaCollection>,
    /// The files beside the SQLite database, by their path in the directory.
    pub files: Vec<ChromaFile>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChromaCollection {
    pub name: String,
    pub embeddings: u64,
    /// The segment with its vector index: the name of its directory, which is there once the index was written.
    pub segment: Option<String>,
    /// Up to which entry of the log the index is complete; absent where it was never written.
    pub max_seq_id: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChromaFile {
    pub path: String,
    pub size: u64,
}

/// The contents of a dump of Redis.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedisFacts {
    /// `redis_version`, e.g. `7.0.15`.
    pub version: String,
    /// Of the file format.
    pub rdb_version: u32,
    /// Counted in the dump; `None` where it has a type of value that this version of drctl does not know.
    pub databases: Option<Vec<RedisDatabase>>,
    /// What the server used for its data (`used_memory`), in bytes: so much a server needs to load it.
    pub memory: u64,
    /// How many libraries of functions it has.
    pub functions: u64,
    /// Settings that differ from server to server, name to value, without passwords.
    pub settings: Vec<(String, String)>,
}

/// The keys of one database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedisDatabase {
    pub number: u64,
    pub keys: u64,
    /// Of these, keys with a time to live.
    pub expiring: u64,
}
