use std::path::Path;

use chrono::DateTime;
use sqlx::PgConnection;

use super::error::BaseError;
use super::prepare::ask;
use crate::model::{ClusterFacts, ConfigurationFile};

/// More than any configuration file that a person wrote.
const FILE_LIMIT: i64 = 1 << 20;

// A setting from the file or the command line is what a restored server has to be given.
const SETTINGS: &str = "
SELECT name, setting || coalesce(unit, '') FROM pg_settings
 WHERE source NOT IN ('default', 'override', 'session', 'client') AND context <> 'internal'
 ORDER BY name";

const DATABASES: &str = "SELECT datname::text FROM pg_database WHERE datallowconn ORDER BY 1";

const FILES: &str = "
SELECT name, setting FROM pg_settings
 WHERE name IN ('config_file', 'hba_file', 'ident_file') AND setting IS NOT NULL
   AND NOT starts_with(setting, (SELECT setting FROM pg_settings WHERE name = 'data_directory') || '/')
 ORDER BY name";

/// What a copy of the data directory leaves out. `local`: files may be read from this host's disk.
pub(super) async fn read(
    connection: &mut PgConnection,
    server: &str,
    local: bool,
) -> Result<ClusterFacts, BaseError> {
    let server_settings = ask(server, sqlx::query_as(SETTINGS).fetch_all(&mut *connection)).await?;
    let databases = ask(server, sqlx::query_scalar(DATABASES).fetch_all(&mut *connection)).await?;
    // Nothing where the role may not see where they are.
    let named: Vec<(String, String)> = ask(server, sqlx::query_as(FILES).fetch_all(&mut *connection)).await?;
    let mut files = Vec::new();
    for (setting, path) in named {
        let text = match sqlx::query_scalar("SELECT pg_read_file($1, 0, $2, true)")
            .bind(&path)
            .bind(FILE_LIMIT)
            .fetch_one(&mut *connection)
            .await
        {
            Ok(text) => text,
            Err(_) if local => read_here(Path::new(&path)),
            Err(_) => None,
        };
        let name = match setting.as_str() {
            "hba_file" => "pg_hba.conf",
            "ident_file" => "pg_ident.conf",
            _ => "postgresql.conf",
        };
        files.extend(text.map(|text: String| ConfigurationFile { name: name.to_owned(), path, text }));
    }
    Ok(ClusterFacts { stop_time: DateTime::default(), databases, server_settings, files })
}

fn read_here(path: &Path) -> Option<String> {
    let is_small =
        std::fs::metadata(path).is_ok_and(|file| i64::try_from(file.len()).is_ok_and(|n| n <= FILE_LIMIT));
    if is_small { std::fs::read_to_string(path).ok() } else { None }
}
