//! Entries in the repositories and on this host.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use thiserror::Error;

use super::chain::{IncidentCopy, Merged, decode, link, merge};
use super::incident::{ENTRY_FORMAT, Entry, Incident, IncidentEvent, IncidentId, StoredEntry};
use crate::model::SystemName;
use crate::platform::Clock;
use crate::repository::{Repositories, Repository, Unavailable, layout};
use crate::store::{PutOptions, Store, StoreError, StoreErrorKind, list_all};
use crate::text::error_chain;

const ENTRY_LIMIT: u64 = 4 << 20;
/// A store that does not answer must not hold up the incident.
const ANSWERS_WITHIN: Duration = Duration::from_secs(15);
/// How long a store that did not answer is left alone.
const REST: Duration = Duration::from_secs(30);

#[derive(Debug, Error)]
pub enum IncidentError {
    #[error("failed to encode an entry of the incident")]
    Encode(#[source] serde_json::Error),
    #[error("no repository and no directory of this host took an entry of the incident")]
    NotRecorded(#[source] std::io::Error),
    #[error("{by} leads the incident on {host} at the same time, as its record in {location} says")]
    OtherLeader { by: String, host: String, location: String },
    #[error("there is no incident `{0}`")]
    Unknown(String),
    #[error("`{0}` may be several incidents: {1}")]
    Ambiguous(String, String),
    #[error("the record of incident {0} does not begin with its opening")]
    NoOpening(IncidentId),
}

/// The incidents of a system, as far as they could be read.
#[derive(Debug, Default)]
pub struct Incidents {
    /// The oldest first.
    pub all: BTreeMap<IncidentId, Merged>,
    /// The copies of each that hold less than is known.
    copies: BTreeMap<IncidentId, Vec<IncidentCopy>>,
    pub unread: Vec<Unavailable>,
}

impl Incidents {
    /// Reads what the repositories and this host have. `spool`: of the system, on this host.
    pub async fn read(repositories: &Repositories, system: &SystemName, spool: &Path) -> Self {
        let mut incidents = Self { unread: repositories.lost().to_vec(), ..Self::default() };
        let read = repositories.iter().map(async |repository| {
            let copies = read_store(&*repository.store, system).await;
            (repository, copies)
        });
        for (repository, copies) in join_all(read).await {
            match copies {
                Ok(copies) => incidents.add(&format!("`{}`", repository.name), copies),
                Err(error) => incidents.unread.push(Unavailable::new(repository, error)),
            }
        }
        let mut own = read_spool(spool);
        own.values_mut().for_each(|copy| copy.is_of_host = true);
        incidents.add("this host's directory", own);
        for (id, copies) in &incidents.copies {
            incidents.all.insert(id.clone(), merge(id, copies));
        }
        incidents
    }

    fn add(&mut self, name: &str, copies: BTreeMap<IncidentId, IncidentCopy>) {
        for (id, copy) in copies {
            self.copies.entry(id).or_default().push(IncidentCopy { name: name.to_owned(), ..copy });
        }
    }

    /// Finds the incident with this id, or a prefix of it; the newest where none is given.
    ///
    /// # Errors
    /// [`IncidentError::Unknown`], [`IncidentError::Ambiguous`], and where its opening is not there.
    pub fn find(&self, text: Option<&str>) -> Result<Incident, IncidentError> {
        let unknown = || IncidentError::Unknown(text.unwrap_or("latest").to_owned());
        let (id, merged) = match text {
            None => self.all.iter().next_back().ok_or_else(unknown)?,
            Some(text) => {
                let is_named = |id: &IncidentId| {
                    let shown = id.to_string();
                    shown.starts_with(text) || shown["inc-".len()..].starts_with(text)
                };
                let mut named = self.all.iter().filter(|(id, _)| is_named(id));
                let first = named.next().ok_or_else(unknown)?;
                if let Some((second, _)) = named.next() {
                    let all = format!("{}, {second}, …", first.0);
                    return Err(IncidentError::Ambiguous(text.to_owned(), all));
                }
                first
            }
        };
        let incident = merged.incident(id);
        match incident.opening() {
            Some(_) => Ok(incident),
            None => Err(IncidentError::NoOpening(id.clone())),
        }
    }
}

async fn read_store(
    store: &dyn Store,
    system: &SystemName,
) -> Result<BTreeMap<IncidentId, IncidentCopy>, StoreError> {
    let mut copies: BTreeMap<IncidentId, IncidentCopy> = BTreeMap::new();
    for object in list_all(store, &layout::incidents(system)).await? {
        let parsed = layout::parse_incident_entry(system, &object.key);
        let Some((id, seq)) = parsed.and_then(|(id, seq)| Some((id.parse::<IncidentId>().ok()?, seq))) else {
            continue;
        };
        let read = match store.get(&object.key, ENTRY_LIMIT).await {
            Ok((bytes, _)) => decode(&id, seq, bytes),
            Err(error) if error.kind == StoreErrorKind::NotFound => continue,
            Err(error) => Err(format!("entry {seq}: {}", error_chain(&error))),
        };
        let copy = copies.entry(id).or_default();
        match read {
            Ok(stored) => copy.entries.push(stored),
            Err(why) => copy.unreadable.push(why),
        }
    }
    Ok(copies)
}

/// Reads what this host has; what cannot be read is not there.
fn read_spool(spool: &Path) -> BTreeMap<IncidentId, IncidentCopy> {
    let mut copies: BTreeMap<IncidentId, IncidentCopy> = BTreeMap::new();
    for folder in std::fs::read_dir(spool).into_iter().flatten().flatten() {
        let Ok(id) = folder.file_name().to_string_lossy().parse::<IncidentId>() else { continue };
        let mut files: Vec<PathBuf> = std::fs::read_dir(folder.path())
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        files.sort();
        for file in files {
            let seq = file.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
            let is_entry = file.extension().is_some_and(|extension| extension == "json");
            let Some(seq) = seq.filter(|_| is_entry) else { continue };
            let Ok(bytes) = std::fs::read(&file) else { continue };
            // One that a kill cut short was written nowhere else.
            if let Ok(stored) = decode(&id, seq, bytes.into()) {
                copies.entry(id.clone()).or_default().entries.push(stored);
            }
        }
    }
    copies
}

/// A repository, and how many entries it has.
#[derive(Debug)]
struct Place {
    repository: Repository,
    stored: usize,
    /// It did not answer.
    rests_until: Option<Instant>,
    /// It has an entry of another chain, and takes none of this one.
    is_diverged: bool,
}

/// Appends entries to one incident.
#[derive(Debug)]
pub struct Recorder<'c> {
    system: SystemName,
    id: IncidentId,
    by: String,
    host: String,
    clock: &'c dyn Clock,
    begun: chrono::DateTime<chrono::Utc>,
    entries: Vec<StoredEntry>,
    places: Vec<Place>,
    folder: PathBuf,
}

/// Where an entry is.
#[derive(Debug, Default)]
pub struct Appended {
    /// Repositories that do not have it, and why.
    pub missing: Vec<Unavailable>,
    /// How many have it.
    pub stored: usize,
}

impl<'c> Recorder<'c> {
    /// Begins to append to an incident that has these entries. `spool`: of the system, on this host.
    pub fn new(
        repositories: &Repositories,
        system: &SystemName,
        id: &IncidentId,
        known: Option<&Merged>,
        spool: &Path,
        (by, host): (&str, &str),
        clock: &'c dyn Clock,
    ) -> Self {
        let place = |repository: &Repository| Place {
            repository: repository.clone(),
            stored: 0,
            rests_until: None,
            is_diverged: false,
        };
        Self {
            system: system.clone(),
            id: id.clone(),
            by: by.to_owned(),
            host: host.to_owned(),
            clock,
            begun: clock.now(),
            entries: known.map(|merged| merged.entries.clone()).unwrap_or_default(),
            places: repositories.writable().map(place).collect(),
            folder: spool.join(id.to_string()),
        }
    }

    pub fn incident(&self) -> Incident {
        let entries = self.entries.iter().map(|stored| stored.entry.clone()).collect();
        Incident { id: self.id.clone(), entries }
    }

    /// Writes an entry to this host, then to every repository, with those before it that it lacks. One repository
    /// that is away does not hold up the incident, nor do all of them.
    ///
    /// # Errors
    /// Where nothing took it, and where another host leads the incident meanwhile.
    pub async fn append(&mut self, event: IncidentEvent) -> Result<Appended, IncidentError> {
        let (seq, previous) = link(&self.entries);
        let entry = Entry {
            format: ENTRY_FORMAT.to_owned(),
            incident: self.id.clone(),
            seq,
            at: self.clock.now(),
            by: self.by.clone(),
            host: self.host.clone(),
            previous,
            event,
        };
        let stored = StoredEntry::encode(entry).map_err(IncidentError::Encode)?;
        let spooled = self.spool(seq, &stored.bytes);
        self.entries.push(stored);
        let appended = self.complete().await?;
        match spooled {
            Err(error) if appended.stored == 0 => Err(IncidentError::NotRecorded(error)),
            Err(error) => {
                tracing::info!("{}: {error}", self.folder.display());
                Ok(appended)
            }
            Ok(()) => Ok(appended),
        }
    }

    fn spool(&self, seq: u32, bytes: &Bytes) -> std::io::Result<()> {
        use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let (path, new) = (self.folder.join(format!("{seq:06}.json")), self.folder.join("new"));
        let mut file =
            std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(new, path)
    }

    /// Returns whether a repository has every entry so far.
    pub fn is_recorded(&self) -> bool {
        self.places.iter().any(|place| place.stored == self.entries.len())
    }

    /// Writes what repositories lack of the entries so far.
    ///
    /// # Errors
    /// [`IncidentError::OtherLeader`]
    pub async fn complete(&mut self) -> Result<Appended, IncidentError> {
        let (entries, system, id, begun) = (&self.entries, &self.system, &self.id, self.begun);
        let written = self.places.iter_mut().map(async |place| {
            let now = Instant::now();
            if place.is_diverged || place.rests_until.is_some_and(|until| until > now) {
                return Ok(None);
            }
            let putting = put(place, entries, system, id, begun);
            match tokio::time::timeout(ANSWERS_WITHIN, putting).await {
                Ok(Ok(())) => Ok(None),
                Ok(Err(PutError::Other(error))) => Err(error),
                Ok(Err(PutError::Store(error))) => {
                    place.rests_until = Some(now + REST);
                    Ok(Some(Unavailable::new(&place.repository, error)))
                }
                Ok(Err(PutError::Diverged)) => {
                    place.is_diverged = true;
                    let why = "it has another entry in its place, which another host wrote before this one resumed the incident";
                    Ok(Some(Unavailable::new(&place.repository, why)))
                }
                Err(_) => {
                    place.rests_until = Some(now + REST);
                    Ok(Some(Unavailable::new(&place.repository, "it did not respond in time")))
                }
            }
        });
        let mut appended = Appended::default();
        for one in join_all(written).await {
            appended.missing.extend(one?);
        }
        appended.stored = self.places.iter().filter(|place| place.stored == self.entries.len()).count();
        Ok(appended)
    }
}

enum PutError {
    Store(StoreError),
    /// It has another entry of an earlier leader.
    Diverged,
    Other(IncidentError),
}

async fn put(
    place: &mut Place,
    entries: &[StoredEntry],
    system: &SystemName,
    id: &IncidentId,
    begun: chrono::DateTime<chrono::Utc>,
) -> Result<(), PutError> {
    let store = &*place.repository.store;
    while let Some(stored) = entries.get(place.stored) {
        let key = layout::incident_entry(system, &id.to_string(), stored.entry.seq);
        match store.put(&key, stored.bytes.clone(), &PutOptions::absent()).await {
            Ok(_) => {}
            Err(error) if error.kind == StoreErrorKind::Exists => {
                let (bytes, _) = store.get(&key, ENTRY_LIMIT).await.map_err(PutError::Store)?;
                if bytes != stored.bytes {
                    return Err(match decode(id, stored.entry.seq, bytes) {
                        Ok(other) if other.entry.at >= begun => PutError::Other(IncidentError::OtherLeader {
                            by: other.entry.by,
                            host: other.entry.host,
                            location: format!("`{}`", place.repository.name),
                        }),
                        _ => PutError::Diverged,
                    });
                }
            }
            Err(error) => return Err(PutError::Store(error)),
        }
        place.stored += 1;
    }
    Ok(())
}

/// Returns the directory of incidents of a system below the state directory.
pub fn spool_directory(state: &Path, system: &SystemName) -> PathBuf {
    state.join("incidents").join(system.as_str())
}
