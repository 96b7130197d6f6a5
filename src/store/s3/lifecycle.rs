//! Rules by which the bucket itself removes objects.

use aws_sdk_s3::types::{ExpirationStatus, LifecycleRule as SdkRule};
use chrono::DateTime;

use super::super::fault::StoreFault;
use super::super::{LifecycleRemoval, LifecycleRule, StoreErrorKind};
use super::bucket::S3Store;
use super::error::S3Error;

impl S3Store {
    pub(super) async fn lifecycle_rules(&self) -> Result<Vec<LifecycleRule>, StoreFault> {
        let answer = self.client.get_bucket_lifecycle_configuration().bucket(&self.place.bucket).send().await;
        match answer.map_err(S3Error::from) {
            Ok(answer) => Ok(reaching(answer.rules(), &self.place.prefix)),
            Err(refusal)
                if refusal.is("NoSuchLifecycleConfiguration")
                    || matches!(refusal.kind, StoreErrorKind::Unsupported | StoreErrorKind::NotFound) =>
            {
                Ok(vec![])
            }
            Err(refusal) => Err(refusal.into()),
        }
    }
}

/// Returns what the rules remove below `below`, the prefix of the repository in its bucket.
fn reaching(rules: &[SdkRule], below: &str) -> Vec<LifecycleRule> {
    let root = if below.is_empty() { String::new() } else { format!("{below}/") };
    let enabled = rules.iter().filter(|rule| *rule.status() == ExpirationStatus::Enabled);
    let mut found = Vec::new();
    for rule in enabled {
        let prefix = prefix(rule);
        let prefix = match prefix.strip_prefix(&root) {
            Some(rest) => rest.to_owned(),
            None if root.starts_with(prefix) => String::new(),
            None => continue,
        };
        let reached = |removes| LifecycleRule {
            id: rule.id().unwrap_or("without a name").to_owned(),
            prefix: prefix.clone(),
            is_partial: is_partial(rule),
            is_of_tags: is_of_tags(rule),
            removes,
        };
        found.extend(removals(rule).into_iter().map(reached));
    }
    found
}

fn prefix(rule: &SdkRule) -> &str {
    #[expect(deprecated, reason = "rules of before 2016 are still in force")]
    let old = rule.prefix();
    let filter = rule.filter();
    let both = filter.and_then(|filter| filter.and()).and_then(|and| and.prefix());
    filter.and_then(|filter| filter.prefix()).or(both).or(old).unwrap_or_default()
}

fn is_partial(rule: &SdkRule) -> bool {
    let Some(filter) = rule.filter() else { return false };
    let of_sizes = filter.object_size_greater_than().or(filter.object_size_less_than());
    let both = filter
        .and()
        .is_some_and(|and| and.object_size_greater_than().or(and.object_size_less_than()).is_some());
    of_sizes.is_some() || both || is_of_tags(rule)
}

fn is_of_tags(rule: &SdkRule) -> bool {
    let Some(filter) = rule.filter() else { return false };
    filter.tag().is_some() || filter.and().is_some_and(|and| !and.tags().is_empty())
}

fn removals(rule: &SdkRule) -> Vec<LifecycleRemoval> {
    let days = |days: Option<i32>| days.and_then(|days| u32::try_from(days).ok());
    let expiration = rule.expiration();
    let objects = days(expiration.and_then(|expiration| expiration.days()));
    let all = expiration.and_then(|expiration| expiration.date());
    let all = all.and_then(|date| DateTime::from_timestamp(date.secs(), 0));
    let old = rule.noncurrent_version_expiration().and_then(|old| days(old.noncurrent_days()));
    let uploads =
        rule.abort_incomplete_multipart_upload().and_then(|uploads| days(uploads.days_after_initiation()));
    [
        objects.map(|days| LifecycleRemoval::Objects { days }),
        all.map(|from| LifecycleRemoval::AllObjects { from }),
        old.map(|days| LifecycleRemoval::OldVersions { days }),
        uploads.map(|days| LifecycleRemoval::Uploads { days }),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::types::{LifecycleExpiration, LifecycleRuleAndOperator, LifecycleRuleFilter, Tag};

    use super::*;

    fn rule(id: &str, prefix: &str, status: ExpirationStatus) -> SdkRule {
        filtered(id, status, LifecycleRuleFilter::builder().prefix(prefix).build())
    }

    fn filtered(id: &str, status: ExpirationStatus, filter: LifecycleRuleFilter) -> SdkRule {
        SdkRule::builder()
            .id(id)
            .status(status)
            .filter(filter)
            .expiration(LifecycleExpiration::builder().days(30).build())
            .build()
            .unwrap()
    }

    #[test]
    fn a_rule_counts_where_it_reaches_the_repository_and_is_in_force() {
        let rules = [
            rule("all", "", ExpirationStatus::Enabled),
            rule("above", "dr", ExpirationStatus::Enabled),
            rule("same", "drctl/", ExpirationStatus::Enabled),
            rule("inside", "drctl/shop/db/wal/", ExpirationStatus::Enabled),
            rule("beside", "drctl-old/", ExpirationStatus::Enabled),
            rule("off", "", ExpirationStatus::Disabled),
        ];
        let found = reaching(&rules, "drctl");
        let shown: Vec<_> = found.iter().map(|rule| (rule.id.as_str(), rule.prefix.as_str())).collect();
        assert_eq!(shown, [("all", ""), ("above", ""), ("same", ""), ("inside", "shop/db/wal/")]);
        assert!(found.iter().all(|rule| rule.removes == LifecycleRemoval::Objects { days: 30 }));
        assert_eq!(reaching(&rules, "").len(), 5);
    }

    #[test]
    fn a_rule_for_tags_is_told_from_one_for_sizes() {
        let tag = || Tag::builder().key("team").value("web").build().unwrap();
        let both = |and: LifecycleRuleAndOperator| LifecycleRuleFilter::builder().and(and).build();
        for (filter, is_partial, is_of_tags) in [
            (LifecycleRuleFilter::builder().prefix("").build(), false, false),
            (LifecycleRuleFilter::builder().tag(tag()).build(), true, true),
            (both(LifecycleRuleAndOperator::builder().prefix("").tags(tag()).build()), true, true),
            (LifecycleRuleFilter::builder().object_size_greater_than(1).build(), true, false),
        ] {
            let rule = filtered("some", ExpirationStatus::Enabled, filter);
            let found = reaching(&[rule], "");
            assert_eq!((found[0].is_partial, found[0].is_of_tags), (is_partial, is_of_tags));
        }
    }
}
