//! Compares the keys of a server with those that were counted in the dump.

use std::collections::BTreeMap;

use crate::checks::CheckResult;
use crate::model::{Cause, RedisDatabase};
use crate::text::count;

pub(super) const KEYS: &str = "keys";

/// Compares per database. A key whose time to live has ended since is not loaded.
pub(super) fn compare(recorded: Option<&[RedisDatabase]>, found: &BTreeMap<u64, u64>) -> CheckResult {
    let Some(recorded) = recorded else {
        return CheckResult::undetermined(
            KEYS,
            Cause::Tool,
            "not-counted",
            format!("the backup does not say how many keys there were; {} are there", total(found)),
        );
    };
    let numbers = recorded.iter().map(|database| database.number).chain(found.keys().copied());
    let numbers: std::collections::BTreeSet<u64> = numbers.collect();
    let mut differ = vec![];
    for number in numbers {
        let of_it = recorded.iter().find(|database| database.number == number).copied();
        let RedisDatabase { keys, expiring, .. } = of_it.unwrap_or_default();
        let has = found.get(&number).copied().unwrap_or_default();
        if has > keys || has < keys.saturating_sub(expiring) {
            differ.push(format!("database {number} has {}, and had {keys}", count(has, "key")));
        }
    }
    match differ.is_empty() {
        true => CheckResult::passed(KEYS, total(found)),
        false => CheckResult::failed(KEYS, Cause::Backup, "other-counts", differ.join("; ")),
    }
}

/// Returns how many keys are not there since their time to live has ended.
pub(super) fn expired(recorded: Option<&[RedisDatabase]>, found: &BTreeMap<u64, u64>) -> u64 {
    let had: u64 = recorded.into_iter().flatten().map(|database| database.keys).sum();
    had.saturating_sub(found.values().sum())
}

/// `12 keys in 2 databases`
pub(super) fn total(found: &BTreeMap<u64, u64>) -> String {
    format!("{} in {}", count(found.values().sum(), "key"), count(found.len() as u64, "database"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_with_a_time_to_live_may_be_gone() {
        let recorded = [RedisDatabase { number: 3, keys: 10, expiring: 4 }];
        for (keys, passes) in [(10, true), (6, true), (5, false), (11, false)] {
            let found = BTreeMap::from([(3, keys)]);
            assert_eq!(compare(Some(&recorded), &found).has_passed(), passes, "{keys}");
            assert_eq!(expired(Some(&recorded), &found), 10u64.saturating_sub(keys));
        }
        assert!(!compare(Some(&recorded), &BTreeMap::from([(3, 10), (4, 1)])).has_passed());
        assert!(!compare(Some(&recorded), &BTreeMap::new()).has_passed());
        assert!(!compare(None, &BTreeMap::new()).has_passed());
        assert!(compare(Some(&[]), &BTreeMap::new()).has_passed());
    }
}
