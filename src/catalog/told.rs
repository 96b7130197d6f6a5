//! What people were told, and is not over.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Catalog, CatalogError};
use crate::model::{RunId, SourceName};
use crate::policy::Severity;

/// Something that people are told. Nothing of it is secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// What it is about: the same one until it is over, like `backup/database/logical`.
    pub key: String,
    /// What happened, like `backup.failed`.
    pub event: String,
    pub severity: Severity,
    pub source: Option<SourceName>,
    /// What happened to what.
    pub headline: String,
    /// What it means for the data.
    pub impact: String,
    /// What to do now.
    pub action: String,
    pub run: Option<RunId>,
}

/// A notice and one channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldNotice {
    pub channel: String,
    pub notice: Notice,
    /// The key of the message that said it: the notice's own, or that of a summary.
    pub message: String,
    /// When the channel last took it; `None`: never.
    pub told: Option<DateTime<Utc>>,
    /// It is over, and the channel has not taken that yet.
    pub is_over: bool,
    /// Why the channel did not take the last message, and when that was.
    pub failed: Option<FailedDelivery>,
}

/// Why a channel did not take a message. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedDelivery {
    pub at: DateTime<Utc>,
    pub reason: String,
}

/// A change of what is known to have been told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToldChange {
    Keep(Box<ToldNotice>),
    Forget { channel: String, key: String },
}

impl Catalog {
    /// Returns what was told and is not over. A record that cannot be read is left out: it is told again.
    pub async fn told(&self) -> Result<Vec<ToldNotice>, CatalogError> {
        let rows = sqlx::query("SELECT record FROM told WHERE system = $1 ORDER BY channel, notice")
            .bind(self.name.as_str())
            .fetch_all(&self.pool)
            .await
            .map_err(self.failed("list the notices sent"))?;
        let texts = rows.iter().map(|row| self.column::<String>(row, "record"));
        let texts = texts.collect::<Result<Vec<_>, _>>()?;
        Ok(texts.iter().filter_map(|text| serde_json::from_str(text).ok()).collect())
    }

    /// Records what was told, and what is over.
    pub async fn record_told(&self, changes: &[ToldChange]) -> Result<(), CatalogError> {
        if changes.is_empty() {
            return Ok(());
        }
        let failed = self.failed("record the notices sent");
        let mut transaction = self.pool.begin().await.map_err(&failed)?;
        for change in changes {
            match change {
                ToldChange::Keep(told) => {
                    let text = serde_json::to_string(told).map_err(|error| self.damaged(error))?;
                    sqlx::query(
                        "INSERT INTO told (system, channel, notice, record) VALUES ($1, $2, $3, $4)
                         ON CONFLICT (system, channel, notice) DO UPDATE SET record = excluded.record",
                    )
                    .bind(self.name.as_str())
                    .bind(&told.channel)
                    .bind(&told.notice.key)
                    .bind(text)
                    .execute(&mut *transaction)
                    .await
                    .map_err(&failed)?;
                }
                ToldChange::Forget { channel, key } => {
                    sqlx::query("DELETE FROM told WHERE system = $1 AND channel = $2 AND notice = $3")
                        .bind(self.name.as_str())
                        .bind(channel)
                        .bind(key)
                        .execute(&mut *transaction)
                        .await
                        .map_err(&failed)?;
                }
            }
        }
        transaction.commit().await.map_err(&failed)
    }
}
