//! Whether archived WAL is of the server that a base backup was taken from. A copy of a server that is run beside it
//! has its system identifier, its timeline and its positions, and writes other WAL. Pure.

use std::fmt;

use super::SegmentTags;
use crate::model::{Checkpoint, Lsn, Physical, Segment};
use crate::postgres::Checkpoints;

/// Bytes before the end of a segment in which a checkpoint's record may begin that ends in the next one.
const RECORD: u64 = 512;

/// What the archived WAL says of a base backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// It has the checkpoint that the backup was taken after.
    Same,
    /// It has no such checkpoint: it is of another server, or of one that went back to an earlier state.
    Other(OtherHistory),
    Unknown(UnknownProvenance),
}

/// A checkpoint of a base backup's server that the archived WAL does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherHistory {
    pub segment: Segment,
    pub at: Lsn,
}

impl fmt::Display for OtherHistory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the archived WAL is of another server with the same system identifier: segment {} does not have the checkpoint at {} that it was taken after",
            self.segment, self.at
        )
    }
}

/// Why it cannot be determined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownProvenance {
    /// The backup does not record its checkpoint: the role may not query it, or drctl was older.
    NotRecorded,
    /// The segment was archived without a list of its checkpoints, or is not complete yet.
    NotListed(Segment),
}

impl fmt::Display for UnknownProvenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRecorded => f.write_str("it does not record the checkpoint that it was taken after"),
            Self::NotListed(segment) => {
                write!(
                    f,
                    "segment {segment} is not complete yet, or was archived without a list of its checkpoints"
                )
            }
        }
    }
}

/// Returns the segment with the record of the checkpoint that a base backup was taken after; `None`: it is not
/// recorded.
pub fn checkpoint_segment(physical: &Physical) -> Option<Segment> {
    let Checkpoint { at, timeline, .. } = physical.checkpoint?;
    Some(Segment::holding(timeline, at, physical.segment_size))
}

impl Provenance {
    /// Judges by the metadata of the [`checkpoint_segment`].
    pub fn of(physical: &Physical, tags: Option<&SegmentTags>) -> Self {
        let listed = tags.and_then(|tags| Some((tags.checkpoints.as_ref()?, tags.damaged)));
        Self::judge(physical, listed)
    }

    /// Judges by the checkpoints in the [`checkpoint_segment`], and where that is damaged.
    pub fn judge(physical: &Physical, listed: Option<(&Checkpoints, Option<Lsn>)>) -> Self {
        let (Some(checkpoint), Some(segment)) = (physical.checkpoint, checkpoint_segment(physical)) else {
            return Self::Unknown(UnknownProvenance::NotRecorded);
        };
        let not_listed = Self::Unknown(UnknownProvenance::NotListed(segment));
        let Some((listed, damaged)) = listed else { return not_listed };
        if listed.newest.contains(&checkpoint) {
            return Self::Same;
        }
        let is_before_listed =
            listed.has_older && listed.newest.first().is_none_or(|oldest| checkpoint.at < oldest.at);
        let is_behind_damage = damaged.is_some_and(|damaged| damaged <= checkpoint.at);
        let size = physical.segment_size;
        let end = size.begin_of(size.number_of(checkpoint.at)).0 + size.bytes();
        let may_be_cut = checkpoint.at.0 + RECORD > end;
        if is_before_listed || is_behind_damage || may_be_cut {
            return not_listed;
        }
        Self::Other(OtherHistory { segment, at: checkpoint.at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Digest, SegmentSize, Timeline};

    const SIZE: SegmentSize = SegmentSize::DEFAULT;

    fn checkpoint(offset: u64) -> Checkpoint {
        Checkpoint {
            at: Lsn(SIZE.begin_of(5).0 + offset),
            redo: Lsn(SIZE.begin_of(5).0 + 0x28),
            timeline: Timeline::FIRST,
            time: "2026-11-20T12:00:00Z".parse().unwrap(),
        }
    }

    fn tags(checkpoints: Option<Checkpoints>) -> SegmentTags {
        SegmentTags {
            plain: Digest::compute(b""),
            stored: None,
            completed: "2026-11-20T12:00:00Z".parse().unwrap(),
            witnessed: true,
            known_until: None,
            newest_commit: None,
            notable: None,
            damaged: None,
            minimal: None,
            checkpoints,
            parent: None,
        }
    }

    fn judged(own: Checkpoint, tags: &SegmentTags) -> Provenance {
        let start = Lsn(SIZE.begin_of(5).0 + 0x28);
        let physical =
            Physical { checkpoint: Some(own), ..Physical::sample(1, start, Lsn(SIZE.begin_of(6).0 + 300)) };
        Provenance::of(&physical, Some(tags))
    }

    #[test]
    fn a_backup_is_joined_with_wal_that_has_its_checkpoint_and_no_other() {
        let own = checkpoint(0x60);
        let listed =
            |newest: &[Checkpoint], has_older| tags(Some(Checkpoints { newest: newest.to_vec(), has_older }));
        assert_eq!(judged(own, &listed(&[own, checkpoint(0x2000)], false)), Provenance::Same);
        // A clone's: none there, another one there, or one at another time.
        let later = Checkpoint { time: own.time + chrono::TimeDelta::seconds(1), ..own };
        for other in [&[][..], &[checkpoint(0x900)], &[later]] {
            assert!(matches!(judged(own, &listed(other, false)), Provenance::Other(_)), "{other:?}");
        }
    }

    #[test]
    fn what_is_not_listed_proves_nothing() {
        let is_unknown = |own, tags: &SegmentTags| {
            matches!(judged(own, tags), Provenance::Unknown(UnknownProvenance::NotListed(_)))
        };
        let own = checkpoint(0x60);
        assert!(is_unknown(own, &tags(None)));
        let some = Checkpoints { newest: vec![checkpoint(0x900)], has_older: true };
        assert!(is_unknown(own, &tags(Some(some.clone()))));
        // It would be listed if it were there.
        assert!(!is_unknown(checkpoint(0x1000), &tags(Some(some))));
        let none = || Some(Checkpoints::default());
        assert!(is_unknown(own, &SegmentTags { damaged: Some(Lsn(own.at.0 - 8)), ..tags(none()) }));
        // Its record may be in two segments, and is listed in neither.
        assert!(is_unknown(checkpoint(SIZE.bytes() - 100), &tags(none())));
        let old = Physical::sample(1, Lsn(40), Lsn(300));
        assert_eq!(
            Provenance::of(&old, Some(&tags(none()))),
            Provenance::Unknown(UnknownProvenance::NotRecorded)
        );
    }
}
