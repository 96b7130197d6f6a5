//! Notices and messages for tests.

use chrono::{DateTime, TimeZone as _, Utc};

use super::message::{Message, MessageState};
use crate::catalog::Notice;
use crate::policy::Severity;

pub(super) fn noon() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 20, 12, 0, 0).unwrap()
}

pub(super) fn notice(key: &str, severity: Severity) -> Notice {
    Notice {
        key: key.to_owned(),
        event: "backup.failed".to_owned(),
        severity,
        source: None,
        headline: format!("{key} failed"),
        impact: "32m of orders exist only in it.".to_owned(),
        action: "`drctl backup`".to_owned(),
        run: None,
    }
}

pub(super) fn message(notice: Notice) -> Message {
    Message {
        state: MessageState::Firing,
        system: "shop".parse().unwrap(),
        host: "host".to_owned(),
        at: noon(),
        notice,
        lines: vec![],
        link: None,
    }
}
