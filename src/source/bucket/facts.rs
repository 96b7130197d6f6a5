use super::inventory::{LeftOut, ObjectRecord};
use crate::model::BucketFacts;
use crate::store::s3::Replication;
use crate::text::count;

/// Counts an object.
pub(super) fn add(facts: &mut BucketFacts, record: &ObjectRecord, is_new: bool) {
    match record.left_out {
        None => {
            facts.objects += 1;
            facts.bytes += record.object.size;
            facts.read += u64::from(is_new);
            facts.tagged += u64::from(record.tags);
            facts.replication_pending += u64::from(record.replication == Some(Replication::Pending));
            facts.replication_failed += u64::from(record.replication == Some(Replication::Failed));
        }
        Some(LeftOut::Archived) => facts.archived += 1,
        Some(LeftOut::Changing) => facts.changing += 1,
        Some(LeftOut::Gone) => facts.gone += 1,
        Some(LeftOut::Deleted) => facts.deleted += 1,
    }
}

/// Returns what makes the run degraded. Without keys.
pub(super) fn warnings(facts: &BucketFacts) -> Vec<String> {
    let mut warnings = vec![];
    if facts.archived > 0 {
        let number = count(facts.archived, "object");
        warnings.push(format!(
            "{number} in archive classes cannot be read until restored in the store, and left out"
        ));
    }
    if facts.changing > 0 {
        let number = count(facts.changing, "object");
        warnings.push(format!("{number} changed at each attempt to read, and left out"));
    }
    if facts.changed > 0 {
        let number = count(facts.changed, "object");
        warnings.push(format!("{number} changed after the listing: stored as they were when they were read"));
    }
    if facts.replication_failed > 0 {
        let number = count(facts.replication_failed, "object");
        warnings.push(format!(
            "the store's replication failed for {number} and does not try again: write them again, or replicate them by S3 Batch"
        ));
    }
    if facts.deleted >= 10 && facts.deleted > facts.objects {
        let number = count(facts.deleted, "object");
        warnings.push(format!(
            "{number} of the backup before are not in the bucket any more, and {} are: the backup before still has them",
            facts.objects
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_degrades_a_run_is_counted_and_a_usual_day_is_silent() {
        let usual = BucketFacts {
            objects: 100,
            deleted: 9,
            gone: 2,
            replication_pending: 5,
            ..BucketFacts::default()
        };
        assert_eq!(warnings(&usual), Vec::<String>::new());
        let bad = BucketFacts {
            archived: 1,
            changing: 2,
            changed: 3,
            replication_failed: 4,
            deleted: 100,
            ..usual.clone()
        };
        assert_eq!(warnings(&bad).len(), 4);
        let emptied = BucketFacts { objects: 0, deleted: 100, ..usual };
        assert!(warnings(&emptied)[0].contains("100 objects"));
    }
}
