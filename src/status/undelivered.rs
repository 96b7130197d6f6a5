//! Whether people hear of what is wrong. Pure.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::catalog::ToldNotice;
use crate::policy::Notify;
use crate::text::{count, format_time};

/// A channel that does not take what it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UndeliveredConcern {
    pub channel: String,
    /// When it was last tried.
    pub at: DateTime<Utc>,
    /// What it was not told.
    pub notices: Vec<String>,
    /// Those of them that no channel was told.
    pub reached_no_channel: Vec<String>,
    pub message: String,
}

/// Returns the channels of the policy that did not take their last message. `told`: what was told and is not over.
pub fn undelivered_concerns(notify: &Notify, told: &[ToldNotice]) -> Vec<UndeliveredConcern> {
    let mut failed: BTreeMap<&str, Vec<&ToldNotice>> = BTreeMap::new();
    for row in told.iter().filter(|row| row.failed.is_some() && notify.channel(&row.channel).is_some()) {
        failed.entry(row.channel.as_str()).or_default().push(row);
    }
    let concern = |(channel, rows): (&str, Vec<&ToldNotice>)| {
        let last = rows.iter().filter_map(|row| row.failed.as_ref()).max_by_key(|failed| failed.at)?;
        let keys = |rows: &[&ToldNotice]| rows.iter().map(|row| row.notice.key.clone()).collect::<Vec<_>>();
        let is_told = |row: &&&ToldNotice| {
            told.iter().any(|other| other.notice.key == row.notice.key && other.told.is_some())
        };
        let reached_no_channel: Vec<&ToldNotice> = rows.iter().filter(|row| !is_told(row)).copied().collect();
        let lost = match reached_no_channel.len() {
            0 => String::new(),
            1 => ", of which one reached no channel".to_owned(),
            many => format!(", of which {many} reached no channel"),
        };
        let message = format!(
            "channel `{channel}` did not take {}{lost}: {} (last tried at {})",
            count(rows.len() as u64, "notice"),
            last.reason,
            format_time(last.at)
        );
        let (notices, reached_no_channel) = (keys(&rows), keys(&reached_no_channel));
        Some(UndeliveredConcern {
            channel: channel.to_owned(),
            at: last.at,
            notices,
            reached_no_channel,
            message,
        })
    };
    failed.into_iter().filter_map(concern).collect()
}
