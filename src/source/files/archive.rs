//! Writes the archives of a backup: small files are read by several threads, and all is written in the order of the list.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::File;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use super::changes::Listed;
use super::error::FilesError;
use super::index::{EntryKind, IndexEntry, Lines, PathBytes};
use super::read_entry::{Outcome, Reading, of_open};
use super::state::IndexWriter;
use super::tally::{Deleted, Tally};
use crate::platform::CancellationToken;
use crate::source::thread_producer::Chunks;

/// Threads that read small files: they wait for the disk more than they work.
const READERS: usize = 4;
/// Batches on their way.
const BATCHES: usize = 8;
/// What a batch holds at most, as planned.
const BATCH_BYTES: u64 = 1 << 20;
const BATCH_FILES: usize = 128;
const BATCH_ENTRIES: usize = 1024;

/// The work on a backup's archives, one after the other.
pub(super) struct Session {
    pub(super) reading: Arc<Reading>,
    list: Lines<File>,
    /// What was taken from the list, and belongs to the next archive.
    next: Option<Listed>,
    pub(super) index: IndexWriter,
    pub(super) deleted: Deleted,
    pub(super) tally: Tally,
    /// Files with several names of which not all were seen, by device and inode: at most as many as there are such files.
    names: HashMap<(u64, u64), FirstName>,
    /// This backup's place in its chain.
    backup: u32,
    /// What an archive holds at most, unless it is a single file.
    limit: u64,
    /// Directories that are stored although they are as they were.
    touched: HashSet<Vec<u8>>,
    folder: std::path::PathBuf,
}

/// The name of a file under which its bytes are in the archive.
struct FirstName {
    entry: IndexEntry,
    /// Names that are still to come.
    left: u64,
}

struct Job {
    listed: Vec<Listed>,
    reply: SyncSender<Batch>,
}

/// What a thread has read: members one after the other, and what became of each entry.
struct Batch {
    bytes: Vec<u8>,
    pieces: Vec<(usize, Listed, Outcome)>,
}

/// What a session works with.
pub(super) struct SessionParts {
    pub(super) reading: Arc<Reading>,
    pub(super) list: File,
    pub(super) index: IndexWriter,
    pub(super) deleted: Deleted,
    pub(super) tally: Tally,
    pub(super) backup: u32,
    pub(super) limit: u64,
    pub(super) touched: HashSet<Vec<u8>>,
    pub(super) folder: std::path::PathBuf,
}

impl Session {
    pub(super) fn new(parts: SessionParts) -> Self {
        let SessionParts { reading, list, index, deleted, tally, backup, limit, touched, folder } = parts;
        Self {
            reading,
            list: Lines::new(list),
            next: None,
            index,
            deleted,
            tally,
            names: HashMap::new(),
            backup,
            limit,
            touched,
            folder,
        }
    }

    fn failed(&self, source: std::io::Error) -> FilesError {
        FilesError::List { folder: self.folder.clone(), source }
    }

    /// Writes archive `number`. Returns whether the list has come to its end.
    pub(super) fn archive(
        &mut self,
        number: u32,
        out: &mut Chunks,
        cancel: &CancellationToken,
    ) -> Result<bool, FilesError> {
        let reading = Arc::clone(&self.reading);
        let (jobs, queue) = sync_channel::<Job>(BATCHES);
        let queue = Mutex::new(queue);
        let ended = std::thread::scope(|scope| {
            for _ in 0..READERS {
                scope.spawn(|| read_batches(&reading, &queue));
            }
            let ended = self.write(number, out, &jobs, cancel);
            drop(jobs);
            ended
        })?;
        out.zeros(1024).map_err(FilesError::Output)?;
        Ok(ended)
    }

    fn write(
        &mut self,
        number: u32,
        out: &mut Chunks,
        jobs: &SyncSender<Job>,
        cancel: &CancellationToken,
    ) -> Result<bool, FilesError> {
        let mut waiting: VecDeque<Receiver<Batch>> = VecDeque::new();
        let (mut planned, mut is_full, mut has_ended) = (0, false, false);
        loop {
            while waiting.len() < BATCHES && !is_full && !has_ended {
                let (listed, why) = self.batch(&mut planned)?;
                is_full = why == BatchEnd::ArchiveFull;
                has_ended = why == BatchEnd::ListEnded;
                if !listed.is_empty() {
                    let (reply, batch) = sync_channel(1);
                    jobs.send(Job { listed, reply }).map_err(|_| FilesError::Thread)?;
                    waiting.push_back(batch);
                }
            }
            let Some(batch) = waiting.pop_front() else { return Ok(has_ended) };
            let batch = batch.recv().map_err(|_| FilesError::Thread)?;
            if cancel.is_cancelled() {
                return Err(FilesError::Interrupted);
            }
            self.take(batch, number, out)?;
        }
    }

    /// Takes the next entries of the list.
    fn batch(&mut self, planned: &mut u64) -> Result<(Vec<Listed>, BatchEnd), FilesError> {
        let (mut listed, mut bytes, mut reads) = (Vec::new(), 0, 0);
        while listed.len() < BATCH_ENTRIES && reads < BATCH_FILES && bytes < BATCH_BYTES {
            let next = match self.next.take() {
                Some(next) => Some(next),
                None => self.list.next_line().map_err(|source| self.failed(source))?,
            };
            let Some(mut next) = next else { return Ok((listed, BatchEnd::ListEnded)) };
            let is_directory = next.entry.kind == EntryKind::Directory && !next.entry.unread;
            if !next.read && is_directory && self.touched.contains(&next.entry.path.0) {
                next.read = true;
                next.earlier = Some(next.entry.clone());
            }
            let size = next.planned();
            if next.read && *planned > 0 && *planned + size > self.limit {
                self.next = Some(next);
                return Ok((listed, BatchEnd::ArchiveFull));
            }
            *planned += size;
            bytes += size;
            reads += usize::from(next.read);
            listed.push(next);
        }
        Ok((listed, BatchEnd::BatchFull))
    }

    fn take(&mut self, batch: Batch, number: u32, out: &mut Chunks) -> Result<(), FilesError> {
        let mut from = 0;
        for (to, listed, outcome) in batch.pieces {
            out.write(&batch.bytes[from..to]).map_err(FilesError::Output)?;
            from = to;
            let outcome = match outcome {
                Outcome::InTurn => self.in_turn(&listed, out).map_err(FilesError::Output)?,
                outcome => outcome,
            };
            self.record(listed, outcome, number)?;
        }
        Ok(())
    }

    /// Writes a large file, or a name of a file that has several.
    fn in_turn(&mut self, listed: &Listed, out: &mut Chunks) -> std::io::Result<Outcome> {
        let path = &listed.entry.path.0;
        let (file, stat) = match self.reading.open_file(path) {
            Ok(Some(opened)) => opened,
            Ok(None) => return Ok(Outcome::Vanished { replaced: true }),
            Err(error) => return Ok(of_open(error)),
        };
        let key = (stat.st_dev, stat.st_ino);
        if let Some(first) = self.names.get_mut(&key)
            && let Some(found) = IndexEntry::of(path.clone(), &stat)
            && found.is_same_as(&first.entry)
        {
            let link = first.entry.path.clone();
            let entry = IndexEntry { kind: EntryKind::HardLink, link, ..found };
            let mut head = Vec::new();
            self.reading.hard_link(&entry, &mut head);
            out.write(&head)?;
            first.left -= 1;
            if first.left == 0 {
                self.names.remove(&key);
            }
            return Ok(Outcome::Written(entry));
        }
        let outcome = self.reading.large_file(path, &file, out)?;
        let links = names_of(stat.st_nlink);
        if let Outcome::Written(entry) = &outcome
            && links > 1
            && !entry.changed
        {
            self.names.insert(key, FirstName { entry: entry.clone(), left: links - 1 });
        }
        Ok(outcome)
    }

    fn record(&mut self, listed: Listed, outcome: Outcome, number: u32) -> Result<(), FilesError> {
        let path = listed.entry.path.clone();
        let entry = match outcome {
            Outcome::Written(entry) => {
                self.tally.read += 1;
                if entry.changed {
                    self.tally.changed(&path.0);
                }
                Some(IndexEntry { backup: self.backup, archive: number, ..entry })
            }
            Outcome::Kept(entry) => Some(entry),
            Outcome::Vanished { replaced } => {
                if replaced {
                    self.tally.changed(&path.0);
                } else {
                    self.tally.vanished += 1;
                }
                if let Some(PathBytes(path)) = listed.earlier.map(|earlier| earlier.path) {
                    self.deleted.push(&path).map_err(|source| self.failed(source))?;
                }
                None
            }
            Outcome::Unreadable(error) => {
                self.tally.unreadable(&path.0, &error);
                listed.earlier.map(|earlier| IndexEntry { unread: true, ..earlier })
            }
            Outcome::InTurn => None,
        };
        if let Some(entry) = entry {
            self.tally.entry(&entry);
            self.index.write(&entry).map_err(|source| self.failed(source))?;
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum BatchEnd {
    BatchFull,
    ArchiveFull,
    ListEnded,
}

/// The type depends on the platform.
fn names_of(links: impl Into<u64>) -> u64 {
    links.into()
}

fn read_batches(reading: &Reading, queue: &Mutex<Receiver<Job>>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { listed, reply }) = job else { return };
        let (mut bytes, mut pieces) = (Vec::new(), Vec::with_capacity(listed.len()));
        for listed in listed {
            let outcome = reading.entry(&listed, &mut bytes);
            pieces.push((bytes.len(), listed, outcome));
        }
        // Where the writer has ended, it says why.
        let _taken = reply.send(Batch { bytes, pieces });
    }
}
