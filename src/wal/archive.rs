use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use super::fault::WalFault;
use crate::model::{
    Ancestor, Checkpoint, Digest, Lsn, Manifest, Sha256Hex, SourceName, SystemIdentifier, SystemName,
    Timeline, WalName,
};
use crate::postgres::{Checkpoints, Notable};
use crate::repository::layout;

/// The suffixes of a file's key: files written before encryption was configured stay unencrypted.
pub(super) const SUFFIXES: [&str; 2] = [".zst.age", ".zst"];

/// The WAL archive of one cluster, in any repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    pub system: SystemName,
    pub source: SourceName,
    pub cluster: SystemIdentifier,
}

impl Archive {
    /// Returns the archive of the cluster that a base backup is of; `None` where it does not record the
    /// cluster.
    pub fn from_manifest(manifest: &Manifest) -> Option<Self> {
        let (system, source) = (manifest.system.clone(), manifest.source.clone());
        Some(Self { system, source, cluster: manifest.cluster()? })
    }

    /// Returns the key of a file; `suffix` is that of the recipe.
    pub fn key(&self, name: WalName, suffix: &str) -> String {
        layout::wal_file(&self.system, &self.source, self.cluster, name, suffix)
    }

    /// Returns the folder of a timeline, with a trailing `/`.
    pub fn timeline(&self, timeline: Timeline) -> String {
        layout::wal_timeline(&self.system, &self.source, self.cluster, timeline)
    }

    /// Returns the folder of all its timelines, with a trailing `/`.
    pub fn folder(&self) -> String {
        layout::wal_system(&self.system, &self.source, self.cluster)
    }
}

/// The metadata of a stored file, unencrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentTags {
    /// The digest of the file.
    pub plain: Digest,
    /// The digest of the object; absent where it was too large to be sealed before it was sent.
    pub stored: Option<Sha256Hex>,
    /// When the file was complete at the latest, by the clock of the archiving host.
    pub completed: DateTime<Utc>,
    /// Whether it was completed at that time: false where the file may be a copy, and `completed` the time of
    /// that.
    pub witnessed: bool,
    /// For a received file: everything committed before is in it or in an earlier one, according to the
    /// server.
    pub known_until: Option<DateTime<Utc>>,
    /// The newest commit in it, by the server's clock.
    pub newest_commit: Option<DateTime<Utc>>,
    /// For a segment: the kinds of records in it that a restore has to know. `None`: it was not inspected.
    pub notable: Option<Notable>,
    /// For a segment: where it was damaged before it was archived, so that recovery ends there.
    pub damaged: Option<Lsn>,
    /// For a segment: where WAL begins that was written with `wal_level = minimal`, so that recovery fails
    /// there.
    pub minimal: Option<Lsn>,
    /// For a segment: the checkpoints in it. `None`: it was not inspected for them.
    pub checkpoints: Option<Checkpoints>,
    /// For a history file: the timeline it forked from.
    pub parent: Option<Ancestor>,
}

const PLAIN: &str = "plain-sha256";
const SIZE: &str = "plain-size";
const STORED: &str = "stored-sha256";
const COMPLETED: &str = "completed";
const UNWITNESSED: &str = "unwitnessed";
const COMPLETE_UNTIL: &str = "complete-until";
const NEWEST_COMMIT: &str = "newest-commit";
const NOTABLE: &str = "notable-records";
const DAMAGED: &str = "damaged-at";
const MINIMAL: &str = "minimal-at";
const CHECKPOINTS: &str = "checkpoints";
const PARENT: &str = "parent";

/// The words of a list.
const NONE: &str = "none";
const MORE: &str = "more";

/// The names of kinds of records.
const TABLESPACE: &str = "tablespace";
const RESTORE_POINT: &str = "restore-point";
const PARAMETERS: &str = "parameter-change";

/// How much earlier than the file's completion a commit may be that is not in it: other sessions commit while
/// the server syncs the file.
pub(super) const WHILE_WRITTEN: TimeDelta = TimeDelta::seconds(10);

impl SegmentTags {
    /// Returns the time before which every commit is in the file or in an earlier one; `None`: unknown.
    pub fn complete_until(&self) -> Option<DateTime<Utc>> {
        // A commit cannot be later than its file, unless the clocks differ.
        let newest = self.newest_commit.map(|newest| newest.min(self.completed));
        if self.fault().is_some() {
            return newest;
        }
        newest.max(self.witnessed.then_some(self.completed - WHILE_WRITTEN)).max(self.known_until)
    }

    /// Returns where recovery ends in a segment that is what was archived, and why.
    pub fn fault(&self) -> Option<(Lsn, WalFault)> {
        let damaged = self.damaged.map(|at| (at, WalFault::Damaged));
        let minimal = self.minimal.map(|at| (at, WalFault::Minimal));
        damaged.into_iter().chain(minimal).min_by_key(|(at, _)| *at)
    }

    pub fn to_metadata(&self) -> BTreeMap<String, String> {
        let time = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Micros, true);
        let parent = |parent: Ancestor| format!("{} {}", parent.timeline, parent.until);
        [
            (PLAIN, Some(self.plain.sha256.to_string())),
            (SIZE, Some(self.plain.size.to_string())),
            (STORED, self.stored.map(|stored| stored.to_string())),
            (COMPLETED, Some(time(self.completed))),
            (UNWITNESSED, (!self.witnessed).then(|| "true".to_owned())),
            (COMPLETE_UNTIL, self.known_until.map(time)),
            (NEWEST_COMMIT, self.newest_commit.map(time)),
            (NOTABLE, self.notable.map(in_words)),
            (DAMAGED, self.damaged.map(|at| at.to_string())),
            (MINIMAL, self.minimal.map(|at| at.to_string())),
            (CHECKPOINTS, self.checkpoints.as_ref().map(listed)),
            (PARENT, self.parent.map(parent)),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
    }

    /// Parses the metadata; `None` where it is missing (a directory that was copied without it) or not
    /// drctl's.
    pub fn from_metadata(metadata: &BTreeMap<String, String>) -> Option<Self> {
        let parent = |text: &String| {
            let (timeline, until) = text.split_once(' ')?;
            Some(Ancestor { timeline: timeline.parse().ok()?, until: until.parse().ok()? })
        };
        Some(Self {
            plain: Digest {
                size: metadata.get(SIZE)?.parse().ok()?,
                sha256: metadata.get(PLAIN)?.parse().ok()?,
            },
            stored: metadata.get(STORED).and_then(|text| text.parse().ok()),
            completed: metadata.get(COMPLETED)?.parse().ok()?,
            witnessed: !metadata.contains_key(UNWITNESSED),
            known_until: metadata.get(COMPLETE_UNTIL).and_then(|text| text.parse().ok()),
            newest_commit: metadata.get(NEWEST_COMMIT).and_then(|text| text.parse().ok()),
            notable: metadata.get(NOTABLE).map(|words| of_words(words)),
            damaged: metadata.get(DAMAGED).and_then(|text| text.parse().ok()),
            minimal: metadata.get(MINIMAL).and_then(|text| text.parse().ok()),
            checkpoints: metadata.get(CHECKPOINTS).and_then(|text| of_list(text)),
            parent: metadata.get(PARENT).and_then(parent),
        })
    }
}

fn in_words(notable: Notable) -> String {
    let kinds = [
        (notable.tablespace, TABLESPACE),
        (notable.restore_point, RESTORE_POINT),
        (notable.parameters, PARAMETERS),
    ];
    let words: Vec<_> = kinds.iter().filter(|(is_there, _)| *is_there).map(|(_, word)| *word).collect();
    if words.is_empty() { NONE.to_owned() } else { words.join(",") }
}

fn of_words(words: &str) -> Notable {
    let has = |word| words.split(',').any(|other| other == word);
    Notable { tablespace: has(TABLESPACE), restore_point: has(RESTORE_POINT), parameters: has(PARAMETERS) }
}

fn listed(checkpoints: &Checkpoints) -> String {
    let each = checkpoints.newest.iter().map(|Checkpoint { at, redo, timeline, time }| {
        format!("{at} {redo} {timeline} {}", time.timestamp())
    });
    let older = checkpoints.has_older.then(|| MORE.to_owned());
    let words: Vec<_> = older.into_iter().chain(each).collect();
    if words.is_empty() { NONE.to_owned() } else { words.join(",") }
}

/// Returns `None` where any of it is not understood: a checkpoint that is not listed counts as absent.
fn of_list(text: &str) -> Option<Checkpoints> {
    let mut checkpoints = Checkpoints::default();
    for word in text.split(',') {
        match word {
            NONE => {}
            MORE => checkpoints.has_older = true,
            _ => {
                let mut words = word.split(' ');
                checkpoints.newest.push(Checkpoint {
                    at: words.next()?.parse().ok()?,
                    redo: words.next()?.parse().ok()?,
                    timeline: words.next()?.parse().ok()?,
                    time: DateTime::from_timestamp(words.next()?.parse().ok()?, 0)?,
                });
            }
        }
    }
    Some(checkpoints)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint(number: u64) -> Checkpoint {
        Checkpoint {
            at: Lsn(number << 24 | 0x60),
            redo: Lsn(number << 24 | 0x28),
            timeline: Timeline::FIRST,
            time: "2026-11-20T12:00:00Z".parse().unwrap(),
        }
    }

    #[test]
    fn tags_are_read_back_as_they_were_written() {
        let full = SegmentTags {
            plain: Digest::compute(b"plain"),
            stored: Some(Sha256Hex::digest(b"stored")),
            completed: "2026-11-20T12:00:00.123456Z".parse().unwrap(),
            witnessed: true,
            known_until: Some("2026-11-20T11:59:45Z".parse().unwrap()),
            newest_commit: Some("2026-11-20T11:59:59.5Z".parse().unwrap()),
            notable: Some(Notable { tablespace: true, parameters: true, ..Notable::default() }),
            damaged: Some("0/3000060".parse().unwrap()),
            minimal: Some("0/3000080".parse().unwrap()),
            checkpoints: Some(Checkpoints { newest: vec![checkpoint(1), checkpoint(2)], has_older: true }),
            parent: Some(Ancestor { timeline: Timeline::FIRST, until: "0/3000060".parse().unwrap() }),
        };
        let bare = SegmentTags {
            witnessed: false,
            stored: None,
            known_until: None,
            newest_commit: None,
            notable: None,
            damaged: None,
            minimal: None,
            checkpoints: None,
            parent: None,
            ..full.clone()
        };
        let none = SegmentTags {
            notable: Some(Notable::default()),
            checkpoints: Some(Checkpoints::default()),
            ..bare.clone()
        };
        for tags in [full, bare, none] {
            assert_eq!(SegmentTags::from_metadata(&tags.to_metadata()), Some(tags));
        }
        assert_eq!(SegmentTags::from_metadata(&BTreeMap::new()), None);
        // What is not understood is not taken for none.
        for text in ["0/3000060", "0/3000060 0/3000028 1 soon", ""] {
            assert_eq!(of_list(text), None, "{text}");
        }
    }

    #[test]
    fn a_copy_says_nothing_of_when_its_file_was_complete() {
        let commit = "2026-11-20T11:00:00Z".parse().ok();
        let tags = |witnessed, newest_commit| SegmentTags {
            plain: Digest::compute(b""),
            stored: None,
            completed: "2026-11-20T12:00:00Z".parse().unwrap(),
            witnessed,
            known_until: None,
            newest_commit,
            notable: None,
            damaged: None,
            minimal: None,
            checkpoints: None,
            parent: None,
        };
        let received =
            SegmentTags { known_until: "2026-11-20T11:30:00Z".parse().ok(), ..tags(false, commit) };
        assert_eq!(received.complete_until(), received.known_until);
        assert_eq!(tags(true, commit).complete_until(), "2026-11-20T11:59:50Z".parse().ok());
        assert_eq!(tags(false, commit).complete_until(), commit);
        assert_eq!(tags(false, None).complete_until(), None);
        let damaged = SegmentTags { damaged: Some(Lsn(1)), ..tags(true, commit) };
        assert_eq!(damaged.complete_until(), commit);
        let minimal = SegmentTags { minimal: Some(Lsn(1)), ..tags(true, commit) };
        assert_eq!(minimal.complete_until(), commit);
        assert_eq!(minimal.fault(), Some((Lsn(1), WalFault::Minimal)));
        let both = SegmentTags { damaged: Some(Lsn(2)), ..minimal };
        assert_eq!(both.fault(), Some((Lsn(1), WalFault::Minimal)));
    }
}
