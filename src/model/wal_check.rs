use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{RepositoryName, SourceName, SystemIdentifier, WalName};

/// The write-ahead log of one cluster in one repository, read again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalCheck {
    pub source: SourceName,
    pub repository: RepositoryName,
    pub system_identifier: SystemIdentifier,
    /// When it was done, by the clock of the host that did it.
    pub at: DateTime<Utc>,
    /// Where it began; `None`: nothing was read.
    pub since: Option<String>,
    /// Whether everything from there on was read.
    pub whole: bool,
    /// Files that are not what was stored.
    pub bad: Vec<String>,
}

/// Files that were bad when they were last read, and when that was. `checks`: of one log.
pub fn bad_files<'c>(checks: impl IntoIterator<Item = &'c WalCheck>) -> BTreeMap<String, DateTime<Utc>> {
    let mut checks: Vec<_> = checks.into_iter().collect();
    checks.sort_by_key(|check| check.at);
    let mut bad = BTreeMap::new();
    for check in checks {
        if let (true, Some(since)) = (check.whole, &check.since) {
            // Everything of a timeline sorts after its begin; histories are read with whatever is read.
            let is_read = |name: &String| {
                matches!(name.parse(), Ok(WalName::History(_))) || name.as_str() >= since.as_str()
            };
            bad.retain(|name, _| !is_read(name));
        }
        bad.extend(check.bad.iter().map(|name| (name.clone(), check.at)));
    }
    bad
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(minute: u32, since: Option<u32>, whole: bool, bad: &[&str]) -> WalCheck {
        WalCheck {
            source: "database".parse().unwrap(),
            repository: "west".parse().unwrap(),
            system_identifier: SystemIdentifier(7),
            at: format!("2026-11-20T12:{minute:02}:00Z").parse().unwrap(),
            since: since.map(|number| format!("0000000100000000{number:08X}")),
            whole,
            bad: bad.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn a_file_is_bad_until_it_was_read_again_and_was_good() {
        let (fifth, history) = ("000000010000000000000005", "00000002.history");
        let found = check(1, Some(3), true, &[fifth, history]);
        let names = |later: WalCheck| bad_files([&later, &found]).into_keys().collect::<Vec<_>>();
        assert_eq!(names(check(0, Some(1), true, &[])), [fifth, history]);
        assert_eq!(names(check(2, Some(3), true, &[])), [""; 0]);
        // One that did not come to its end, or that began later, says nothing about it.
        assert_eq!(names(check(2, Some(3), false, &[])), [fifth, history]);
        assert_eq!(names(check(2, None, true, &[])), [fifth, history]);
        assert_eq!(names(check(2, Some(6), true, &[])), [fifth]);
        assert_eq!(names(check(2, Some(4), true, &["000000010000000000000009"])).len(), 1);
    }
}
