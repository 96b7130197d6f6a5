use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{RepositoryName, SourceName, SystemIdentifier, WalName};

/// The verification of one cluster's WAL in one repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalCheck {
    pub source: SourceName,
    pub repository: RepositoryName,
    pub system_identifier: SystemIdentifier,
    /// When it was done, by the clock of the verifying host.
    pub at: DateTime<Utc>,
    /// The first file read; `None`: nothing was read.
    pub since: Option<String>,
    /// Whether everything from there on was read.
    pub whole: bool,
    /// Files that are not what was stored.
    pub bad: Vec<String>,
}

/// Returns the files that were bad when last read, with the time of that check. `checks`: of one cluster.
pub fn bad_files<'c>(checks: impl IntoIterator<Item = &'c WalCheck>) -> BTreeMap<String, DateTime<Utc>> {
    let mut checks: Vec<_> = checks.into_iter().collect();
    checks.sort_by_key(|check| check.at);
    let mut bad = BTreeMap::new();
    for check in checks {
        if let (true, Some(since)) = (check.whole, &check.since) {
            // All later files of a timeline sort after its first; histories are read with whatever is read.
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
        // An incomplete check, or one that began later, says nothing about it.
        assert_eq!(names(check(2, Some(3), false, &[])), [fifth, history]);
        assert_eq!(names(check(2, None, true, &[])), [fifth, history]);
        assert_eq!(names(check(2, Some(6), true, &[])), [fifth]);
        assert_eq!(names(check(2, Some(4), true, &["000000010000000000000009"])).len(), 1);
    }
}
