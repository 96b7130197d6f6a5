//! What of a listing is new since the parent. Pure, but for the spools.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::inventory::{LeftOut, ObjectRecord};
use crate::store::s3::ListedObject;

/// What is to be done about an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Planned {
    /// Its bytes are read.
    Read(ListedObject),
    /// As it is in the parent, or as it cannot be read.
    Keep(Box<ObjectRecord>),
}

/// Compares listings that are in the order of their keys.
pub(super) struct Comparison<L> {
    listed: L,
    next: Option<ListedObject>,
}

impl<L: Iterator<Item = std::io::Result<ListedObject>>> Comparison<L> {
    pub(super) fn begin(mut listed: L) -> std::io::Result<Self> {
        let next = listed.next().transpose()?;
        Ok(Self { listed, next })
    }

    /// Takes the parent's next record, and passes on what is known of the listing then.
    pub(super) fn before(
        &mut self,
        record: ObjectRecord,
        mut plan: impl FnMut(Planned) -> std::io::Result<()>,
    ) -> std::io::Result<()> {
        loop {
            let order = match &self.next {
                Some(listed) => listed.key.cmp(&record.object.key),
                None => Ordering::Greater,
            };
            match order {
                Ordering::Less => self.new_one(&mut plan)?,
                Ordering::Equal if self.next.as_ref().is_some_and(|listed| record.is_still(listed)) => {
                    self.next = self.listed.next().transpose()?;
                    return plan(Planned::Keep(Box::new(record)));
                }
                Ordering::Equal => return self.new_one(&mut plan),
                Ordering::Greater => {
                    let gone = ObjectRecord { left_out: Some(LeftOut::Deleted), ..record };
                    return plan(Planned::Keep(Box::new(gone)));
                }
            }
        }
    }

    /// Passes on what comes after the parent's last record.
    pub(super) fn rest(
        mut self,
        mut plan: impl FnMut(Planned) -> std::io::Result<()>,
    ) -> std::io::Result<()> {
        while self.next.is_some() {
            self.new_one(&mut plan)?;
        }
        Ok(())
    }

    fn new_one(&mut self, plan: &mut impl FnMut(Planned) -> std::io::Result<()>) -> std::io::Result<()> {
        let Some(listed) = self.next.take() else { return Ok(()) };
        self.next = self.listed.next().transpose()?;
        let record = ObjectRecord::listed(listed);
        plan(match record.is_archived() {
            true => Planned::Keep(Box::new(ObjectRecord { left_out: Some(LeftOut::Archived), ..record })),
            false => Planned::Read(record.object),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::model::{BackupId, BackupKind};
    use crate::source::bucket::StoredIn;

    fn listed(key: &str, content: u8) -> ListedObject {
        ListedObject {
            key: key.to_owned(),
            version: None,
            etag: format!("\"{content}\""),
            size: u64::from(content),
            modified: "2026-11-20T12:00:00Z".parse().unwrap(),
            class: (content == 0).then(|| "GLACIER".to_owned()),
        }
    }

    fn record(key: &str, content: u8) -> ObjectRecord {
        let backup = BackupId::new(
            "2026-11-20T12:00:00Z".parse().unwrap(),
            &"media".parse().unwrap(),
            BackupKind::Bucket,
            1,
        );
        let stored =
            StoredIn { backup, archive: "objects-001.tar".to_owned(), entry: "objects/1".to_owned() };
        ObjectRecord { stored: Some(stored), ..ObjectRecord::listed(listed(key, content)) }
    }

    fn compare(now: &BTreeMap<String, u8>, then: &BTreeMap<String, u8>) -> Vec<Planned> {
        let mut planned = vec![];
        let all = now.iter().map(|(key, content)| Ok(listed(key, *content)));
        let mut comparison = Comparison::begin(all).unwrap();
        for (key, content) in then {
            comparison
                .before(record(key, *content), |one| {
                    planned.push(one);
                    Ok(())
                })
                .unwrap();
        }
        comparison
            .rest(|one| {
                planned.push(one);
                Ok(())
            })
            .unwrap();
        planned
    }

    proptest! {
        /// Every object of the bucket is there once, read unless it is exactly as it was; what is gone is recorded.
        #[test]
        fn nothing_is_lost_between_a_listing_and_the_parent(
            now in prop::collection::btree_map("[a-c/.]{1,3}", 0_u8..3, 0..12),
            then in prop::collection::btree_map("[a-c/.]{1,3}", 0_u8..3, 0..12),
        ) {
            let planned = compare(&now, &then);
            let mut seen = BTreeMap::new();
            let mut deleted = vec![];
            for one in planned {
                match one {
                    Planned::Read(object) => {
                        prop_assert!(now[&object.key] != 0 && then.get(&object.key) != Some(&now[&object.key]));
                        prop_assert!(seen.insert(object.key, "read").is_none());
                    }
                    Planned::Keep(record) => match record.left_out {
                        None => {
                            prop_assert_eq!(then.get(&record.object.key), now.get(&record.object.key));
                            prop_assert!(seen.insert(record.object.key, "kept").is_none());
                        }
                        Some(LeftOut::Archived) => {
                            prop_assert_eq!(now[&record.object.key], 0);
                            prop_assert!(seen.insert(record.object.key, "archived").is_none());
                        }
                        _ => deleted.push(record.object.key),
                    },
                }
            }
            prop_assert!(seen.keys().eq(now.keys()));
            let gone: Vec<_> = then.keys().filter(|key| !now.contains_key(*key)).cloned().collect();
            prop_assert_eq!(deleted, gone);
        }
    }
}
