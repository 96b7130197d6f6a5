//! The entries of an incident from several copies, put together. Pure.

use std::collections::BTreeMap;

use super::incident::{Entry, Incident, IncidentId, StoredEntry};
use crate::model::Sha256Hex;

/// What one copy has of an incident.
#[derive(Clone, Debug, Default)]
pub struct IncidentCopy {
    /// A repository, or this host.
    pub name: String,
    pub entries: Vec<StoredEntry>,
    /// Objects that are no entries of it, and why.
    pub unreadable: Vec<String>,
    /// It has only what was written on this host.
    pub is_of_host: bool,
}

/// An incident, and what does not hold in its copies.
#[derive(Clone, Debug, Default)]
pub struct Merged {
    pub entries: Vec<StoredEntry>,
    /// What was changed, removed or forged, or written by two leaders at once; one line each.
    pub damage: Vec<String>,
}

impl Merged {
    pub fn incident(&self, id: &IncidentId) -> Incident {
        Incident { id: id.clone(), entries: self.entries.iter().map(|stored| stored.entry.clone()).collect() }
    }
}

/// Follows the links from the first entry on. Of branches the longest counts, and of equally long ones the one that
/// was written last: a leader who could not read the newest entry of another host began the other.
pub fn merge(id: &IncidentId, copies: &[IncidentCopy]) -> Merged {
    let mut all: BTreeMap<Sha256Hex, &StoredEntry> = BTreeMap::new();
    let mut damage = Vec::new();
    for copy in copies {
        damage.extend(copy.unreadable.iter().map(|why| format!("incident {id} in {}: {why}", copy.name)));
        for stored in copy.entries.iter().filter(|stored| stored.entry.incident == *id) {
            all.insert(stored.sha256(), stored);
        }
    }
    let depth_of = |digest: &Sha256Hex| -> Option<u32> {
        let (mut at, mut depth) = (*all.get(digest)?, 1);
        while let Some(previous) = at.entry.previous {
            at = *all.get(&previous)?;
            depth += 1;
            if depth > at.entry.seq + all.len() as u32 {
                return None;
            }
        }
        (at.entry.seq == 1).then_some(depth)
    };
    let chained = all.iter().filter(|(digest, stored)| depth_of(digest) == Some(stored.entry.seq));
    let last = chained.max_by_key(|(digest, stored)| (stored.entry.seq, stored.entry.at, **digest));
    let mut entries: Vec<StoredEntry> = Vec::new();
    let mut at = last.map(|(digest, _)| *digest);
    while let Some(stored) = at.and_then(|digest| all.get(&digest)) {
        entries.push((*stored).clone());
        at = stored.entry.previous;
    }
    entries.reverse();
    for copy in copies {
        for stored in &copy.entries {
            let seq = stored.entry.seq;
            let counts = entries.get(seq.saturating_sub(1) as usize);
            if counts.is_none_or(|counts| counts.sha256() != stored.sha256()) {
                damage.push(match copy.is_of_host {
                    true => format!(
                        "entry {seq} of incident {id} in {} is in no repository: another host resumed the incident without it",
                        copy.name
                    ),
                    false => format!(
                    "entry {seq} of incident {id} in {} is not one of the chain: it was changed or forged, or two led the incident at once",
                    copy.name
                    ),
                });
            }
        }
        if copy.is_of_host {
            continue;
        }
        let newest = copy.entries.iter().map(|stored| stored.entry.seq).max().unwrap_or(0);
        for seq in 1..newest {
            if !copy.entries.iter().any(|stored| stored.entry.seq == seq) {
                damage.push(format!("entry {seq} of incident {id} was removed from {}", copy.name));
            }
        }
    }
    Merged { entries, damage }
}

/// Returns the link to the newest entry, for the one that follows.
pub(super) fn link(entries: &[StoredEntry]) -> (u32, Option<Sha256Hex>) {
    let seq = entries.last().map_or(0, |last: &StoredEntry| last.entry.seq);
    (seq + 1, entries.last().map(StoredEntry::sha256))
}

/// Reads an entry, which must be of this incident and have this number.
pub(super) fn decode(id: &IncidentId, seq: u32, bytes: bytes::Bytes) -> Result<StoredEntry, String> {
    let entry: Entry = serde_json::from_slice(&bytes).map_err(|error| format!("entry {seq}: {error}"))?;
    let major = |text: &str| text.rsplit_once('/').map(|(_, version)| version.to_owned());
    if major(&entry.format) != major(super::incident::ENTRY_FORMAT) {
        return Err(format!("entry {seq}: its format `{}` is unknown", entry.format));
    }
    if entry.incident != *id || entry.seq != seq {
        return Err(format!("entry {seq}: it is entry {} of {}", entry.seq, entry.incident));
    }
    Ok(StoredEntry { entry, bytes })
}

#[cfg(test)]
mod tests {
    use super::super::incident::{ENTRY_FORMAT, IncidentEvent};
    use super::*;

    fn chain(id: &IncidentId, before: &[StoredEntry], words: &[&str]) -> Vec<StoredEntry> {
        let mut entries = before.to_vec();
        for word in words {
            let (seq, previous) = link(&entries);
            let entry = Entry {
                format: ENTRY_FORMAT.to_owned(),
                incident: id.clone(),
                seq,
                at: id.run().begun() + chrono::TimeDelta::seconds(seq.into()),
                by: "ann".into(),
                host: "a".into(),
                previous,
                event: IncidentEvent::Paused { why: (*word).to_owned() },
            };
            entries.push(StoredEntry::encode(entry).unwrap());
        }
        entries
    }

    fn copy(name: &str, entries: &[StoredEntry]) -> IncidentCopy {
        IncidentCopy { name: name.to_owned(), entries: entries.to_vec(), ..IncidentCopy::default() }
    }

    #[test]
    fn the_longest_chain_counts_and_what_is_not_in_it_is_named() {
        let id = IncidentId::new("2026-11-30T03:00:00Z".parse().unwrap(), 7);
        let two = chain(&id, &[], &["a", "b"]);
        // The copy was lost while the third was written, and the primary while another host led.
        let (primary, west) = (chain(&id, &two, &["c"]), chain(&id, &two, &["x", "y"]));
        let merged = merge(&id, &[copy("`primary`", &primary), copy("`west`", &west)]);
        assert_eq!(merged.entries, west);
        assert_eq!(merged.damage.len(), 1, "{:?}", merged.damage);
        assert!(merged.damage[0].contains("entry 3") && merged.damage[0].contains("`primary`"));
        // What another host began is not in this host's directory.
        let own = IncidentCopy { is_of_host: true, ..copy("this host", &west[2..]) };
        assert!(merge(&id, &[copy("`west`", &west), own]).damage.is_empty());
        // One that lags is no damage.
        let merged = merge(&id, &[copy("`primary`", &two), copy("`west`", &west)]);
        assert!(merged.damage.is_empty() && merged.entries == west);
    }

    #[test]
    fn a_changed_and_a_removed_entry_are_named_and_the_intact_copy_counts() {
        let id = IncidentId::new("2026-11-30T03:00:00Z".parse().unwrap(), 7);
        let all = chain(&id, &[], &["a", "b", "c"]);
        let mut changed = all.clone();
        let text = String::from_utf8(changed[1].bytes.to_vec()).unwrap().replace("\"b\"", "\"B\"");
        changed[1] = decode(&id, 2, text.into()).unwrap();
        let merged = merge(&id, &[copy("`primary`", &changed), copy("`west`", &all)]);
        assert_eq!(merged.entries, all);
        assert!(merged.damage.len() == 1 && merged.damage[0].contains("entry 2"), "{:?}", merged.damage);
        let removed = [all[0].clone(), all[2].clone()];
        let merged = merge(&id, &[copy("`primary`", &removed)]);
        assert_eq!(merged.entries, all[..1]);
        assert!(merged.damage.iter().any(|line| line.contains("entry 2") && line.contains("removed")));
        assert!(decode(&id, 3, all[0].bytes.clone()).is_err());
    }
}
