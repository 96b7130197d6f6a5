use std::io;

use thiserror::Error;

use crate::model::BackupId;

#[derive(Debug, Error)]
pub enum CatalogError {
    #[error("failed to open the catalog in {location}")]
    Reach { location: String, source: crate::postgres::ConnectError },
    #[error("failed to understand the catalog's URL: use `sqlite:/path/file.db` or `postgres://…`")]
    Location,
    #[error("failed to create the catalog in {location}")]
    Create { location: String, source: io::Error },
    #[error("failed to open the catalog in {location}")]
    Open { location: String, source: sqlx::Error },
    #[error("failed to read the catalog in {location}: it is damaged")]
    Damaged { location: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("failed to open the catalog in {location}: a newer version of drctl made it")]
    Newer { location: String },
    #[error("failed to bring the catalog in {location} up to date")]
    Migrate { location: String, source: sqlx::migrate::MigrateError },
    #[error("failed to {action} in the catalog in {location}")]
    Query { action: &'static str, location: String, source: sqlx::Error },
    #[error("failed to find backup `{0}`")]
    Unknown(String),
    #[error("failed to choose a backup: `{text}` could be {}", candidates(.found, *.more))]
    Ambiguous { text: String, found: Vec<BackupId>, more: bool },
}

fn candidates(found: &[BackupId], more: bool) -> String {
    let names: Vec<_> = found.iter().map(|id| format!("`{id}`")).collect();
    format!("{}{}", names.join(", "), if more { ", …" } else { "" })
}
