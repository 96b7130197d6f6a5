//! Rules of a bucket that contradict the policy: they remove what it keeps. Pure.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::model::{RepositoryName, SystemName};
use crate::policy::Retention;
use crate::repository::layout;
use crate::store::{LifecycleRemoval, LifecycleRule};
use crate::text::{count, format_duration, format_time};

/// What the rules of a bucket have to leave alone.
#[derive(Clone, Debug)]
pub struct LifecycleNeeds {
    /// For so many days the longest rule of the policy keeps a backup; `None`: only the newest are kept, however old.
    pub longest_days: Option<u64>,
    /// The backup that took longest; `None`: there is none yet.
    pub longest_backup: Option<Duration>,
}

impl LifecycleNeeds {
    /// Returns what one repository needs by the policy; without retention nothing is ever removed there.
    pub fn new(
        retention: Option<&Retention>,
        repository: &RepositoryName,
        longest_backup: Option<Duration>,
    ) -> Self {
        let rules = retention.map(|retention| retention.all_for(repository)).unwrap_or_default();
        let days: Option<Vec<u64>> = rules.iter().map(|rules| rules.longest_days()).collect();
        Self { longest_days: days.and_then(|days| days.into_iter().max()), longest_backup }
    }
}

/// A rule that removes what the policy keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LifecycleConflict {
    /// The name of the rule.
    pub rule: String,
    pub message: String,
    /// Backups are lost by it; otherwise only what protects them.
    pub loses_backups: bool,
    /// It reaches only some objects, by their tags or sizes.
    pub is_partial: bool,
    /// It reaches only what someone gave a tag.
    pub is_of_tags: bool,
}

/// Returns the rules that contradict the policy.
pub fn lifecycle_conflicts(
    rules: &[LifecycleRule],
    system: &SystemName,
    needs: &LifecycleNeeds,
) -> Vec<LifecycleConflict> {
    rules
        .iter()
        .filter(|rule| reaches_backups(rule, system))
        .filter_map(|rule| conflict(rule, needs))
        .collect()
}

/// What is below another prefix, of probes, or of leases, is no backup. Without its marker a repository takes none.
fn reaches_backups(rule: &LifecycleRule, system: &SystemName) -> bool {
    let (prefix, own) = (rule.prefix.as_str(), layout::system(system));
    let is_lease = prefix.starts_with(&format!("{own}leases/"));
    own.starts_with(prefix) || layout::MARKER.starts_with(prefix) || (prefix.starts_with(&own) && !is_lease)
}

fn conflict(rule: &LifecycleRule, needs: &LifecycleNeeds) -> Option<LifecycleConflict> {
    let days = |days: u32| count(days.into(), "day");
    let kept = match needs.longest_days {
        Some(longest) => format!("the policy keeps backups for {}", count(longest, "day")),
        None => "the policy keeps the newest backups however old they are".to_owned(),
    };
    let is_kept_longer = |days: u32| needs.longest_days.is_none_or(|longest| longest >= u64::from(days));
    let below = match rule.prefix.as_str() {
        "" => String::new(),
        prefix => format!(" below `{prefix}`"),
    };
    let some = match rule.is_partial {
        _ if rule.is_of_tags => "objects that have a tag",
        true => "some objects",
        false => "objects",
    };
    let (what, loses_backups) = match rule.removes {
        LifecycleRemoval::Objects { days: after } if is_kept_longer(after) => {
            (format!("deletes {some}{below} {} after they were written, and {kept}", days(after)), true)
        }
        // Beyond every rule it reaches the records, holds, and the last backups there are.
        LifecycleRemoval::Objects { days: after } => {
            let what = format!(
                "deletes {some}{below} {} after they were written, on hold or the last there are",
                days(after)
            );
            (what, false)
        }
        LifecycleRemoval::AllObjects { from } => {
            (format!("deletes {some}{below} from {} on, and {kept}", told(from)), true)
        }
        LifecycleRemoval::OldVersions { days: after } if is_kept_longer(after) => {
            let what = format!(
                "deletes what is overwritten or hidden{below} after {}: so long an intruder's work can be undone, and {kept}",
                days(after)
            );
            (what, false)
        }
        LifecycleRemoval::Uploads { days: after } => {
            let longest = needs.longest_backup?;
            // Twice, since the next one may take longer.
            if longest * 2 < Duration::from_secs(u64::from(after) * 86_400) {
                return None;
            }
            let what = format!(
                "aborts uploads {} after they were begun, and a backup took {}",
                days(after),
                format_duration(longest)
            );
            (what, false)
        }
        LifecycleRemoval::OldVersions { .. } => return None,
    };
    let message = format!("the bucket's lifecycle rule `{}` {what}", rule.id);
    // What drctl writes has no tags.
    let loses_backups = loses_backups && !rule.is_of_tags;
    Some(LifecycleConflict {
        rule: rule.id.clone(),
        message,
        loses_backups,
        is_partial: rule.is_partial,
        is_of_tags: rule.is_of_tags,
    })
}

fn told(time: DateTime<Utc>) -> String {
    format_time(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(prefix: &str, removes: LifecycleRemoval, longest_days: Option<u64>) -> Option<(bool, String)> {
        let conflict = conflict_of(prefix, removes, longest_days, false);
        conflict.map(|conflict| (conflict.loses_backups, conflict.message))
    }

    fn conflict_of(
        prefix: &str,
        removes: LifecycleRemoval,
        longest_days: Option<u64>,
        is_of_tags: bool,
    ) -> Option<LifecycleConflict> {
        let (id, prefix) = ("tidy".to_owned(), prefix.to_owned());
        let rule = LifecycleRule { id, prefix, is_partial: is_of_tags, is_of_tags, removes };
        let needs = LifecycleNeeds { longest_days, longest_backup: Some(Duration::from_secs(20 * 3600)) };
        let system: SystemName = "shop".parse().unwrap();
        lifecycle_conflicts(&[rule], &system, &needs).into_iter().next()
    }

    #[test]
    fn what_removes_backups_before_the_policy_does_is_named_with_both_terms() {
        let objects = |days| LifecycleRemoval::Objects { days };
        let (loses, message) = found("", objects(30), Some(184)).unwrap();
        assert!(loses, "{message}");
        assert_eq!(
            message,
            "the bucket's lifecycle rule `tidy` deletes objects 30 days after they were written, and the policy keeps backups for 184 days"
        );
        assert!(found("", objects(184), Some(184)).unwrap().0, "it ends on the same day");
        assert!(!found("", objects(400), Some(184)).unwrap().0);
        assert!(found("shop/db/wal/", objects(400), None).unwrap().0);
        // Elsewhere, or nothing that is kept.
        for prefix in ["other/", ".drctl-probe/", "shop/leases/", "shopping/"] {
            assert_eq!(found(prefix, objects(1), Some(184)), None, "{prefix}");
        }
    }

    #[test]
    fn a_rule_for_tags_loses_nothing_that_has_none_and_one_for_the_marker_does() {
        let objects = LifecycleRemoval::Objects { days: 30 };
        let of_tags = conflict_of("", objects, Some(184), true).unwrap();
        assert!(of_tags.is_of_tags && !of_tags.loses_backups, "{of_tags:?}");
        assert!(of_tags.message.contains("deletes objects that have a tag 30 days"), "{of_tags:?}");
        assert!(found("drctl-", objects, Some(184)).unwrap().0);
        assert_eq!(found("drctl-other/", objects, Some(184)), None);
    }

    #[test]
    fn what_protects_backups_is_to_last_as_long_as_they_do() {
        let old = |days| LifecycleRemoval::OldVersions { days };
        assert!(!found("", old(30), Some(184)).unwrap().0);
        assert_eq!(found("", old(365), Some(184)), None);
        let uploads = |days| LifecycleRemoval::Uploads { days };
        assert!(found("", uploads(1), Some(184)).unwrap().1.contains("aborts uploads 1 day after"));
        assert_eq!(found("", uploads(7), Some(184)), None);
    }
}
