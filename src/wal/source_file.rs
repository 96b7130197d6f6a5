use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use chrono::{DateTime, Utc};
use thiserror::Error;

use super::SegmentTags;
use super::archive_status_trust::archive_status_is_authoritative;
use crate::model::{
    Ancestor, Digest, History, Segment, SegmentSize, Sha256Hex, SystemIdentifier, Timeline, WalError, WalName,
};
use crate::pipeline::{PipelineError, Recipe, digest_whole, seal_whole};
use crate::postgres::{CommitScan, HeaderError, SEGMENT_HEADER, SegmentHeader};

/// More than any history file or backup label.
const SMALL: u64 = 1 << 20;

/// Why a file of this host cannot be archived.
#[derive(Debug, Error)]
pub enum FileError {
    #[error("`{0}` names no file")]
    NoName(PathBuf),
    #[error("failed to archive `{path}`")]
    Name { path: PathBuf, source: WalError },
    #[error("failed to read `{path}`")]
    Read { path: PathBuf, source: io::Error },
    #[error("failed to seal `{path}`")]
    Seal { path: PathBuf, source: PipelineError },
    #[error("the header of `{path}` does not match its name")]
    Header { path: PathBuf, source: HeaderError },
    #[error("`{path}` has {found} bytes, and a segment of its cluster has {expected}")]
    Size { path: PathBuf, found: u64, expected: u64 },
    #[error("`{path}` has {found} bytes, more than a file of its kind can have")]
    Large { path: PathBuf, found: u64 },
    #[error("failed to parse `{path}`")]
    History { path: PathBuf, source: WalError },
    #[error("cannot determine the system identifier of `{0}`: there is no WAL segment in its directory")]
    Alone(PathBuf),
    #[error("`{0}` may still be in use: archive_status has neither a .ready nor a .done file for it")]
    Unfinished(PathBuf),
    #[error("`{0}` changed while it was read")]
    Changed(PathBuf),
}

/// A WAL file on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalFile {
    pub path: PathBuf,
    pub name: WalName,
}

/// The system identifier and segment size of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalOrigin {
    pub cluster: SystemIdentifier,
    pub segment_size: SegmentSize,
}

/// A file's sealed bytes and their metadata.
#[derive(Clone, Debug)]
pub struct SealedFile {
    pub name: WalName,
    pub bytes: bytes::Bytes,
    pub tags: SegmentTags,
}

impl WalFile {
    /// Opens the path that PostgreSQL passes to an `archive_command`.
    pub fn at(path: &Path) -> Result<Self, FileError> {
        let name = path.file_name().ok_or_else(|| FileError::NoName(path.to_owned()))?;
        let name = name
            .to_string_lossy()
            .parse()
            .map_err(|source| FileError::Name { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), name })
    }

    fn folder(&self) -> &Path {
        self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    /// Returns the cluster that it belongs to: from a segment's own header; for any other file from the
    /// segments next to it.
    pub fn whose(&self) -> Result<WalOrigin, FileError> {
        if self.segment().is_some() {
            return self.read_segment_header();
        }
        let entries = std::fs::read_dir(self.folder());
        for entry in entries.map_err(|source| self.unreadable(source))?.flatten() {
            // Recycled segments have new names and old headers: they are skipped.
            if let Ok(neighbour) = Self::at(&entry.path())
                && neighbour.segment().is_some()
                && let Ok(whose) = neighbour.read_segment_header()
            {
                return Ok(whose);
            }
        }
        Err(FileError::Alone(self.path.clone()))
    }

    fn read_segment_header(&self) -> Result<WalOrigin, FileError> {
        let segment = self.segment().ok_or_else(|| FileError::Alone(self.path.clone()))?;
        let header = self.header(&mut self.open()?, segment)?;
        Ok(WalOrigin { cluster: header.system_identifier, segment_size: header.segment_size })
    }

    /// Reads it completely, and returns its digest.
    pub fn digest(&self) -> Result<Digest, FileError> {
        let mut reading = SourceReader::begin(self)?;
        // A comparison does not need the commits.
        reading.commits = None;
        let file = reading.file.try_clone().map_err(|source| self.unreadable(source))?;
        let plain = digest_whole(file, |_| Ok(())).map_err(|error| self.unsealed(error))?;
        reading.whole(plain)
    }

    /// Reads it completely, and returns its metadata without sealing it.
    pub fn inspect(&self) -> Result<SegmentTags, FileError> {
        let mut reading = SourceReader::begin(self)?;
        let file = reading.file.try_clone().map_err(|source| self.unreadable(source))?;
        let plain = digest_whole(file, |chunk| reading.see(chunk)).map_err(|error| self.unsealed(error))?;
        reading.end(plain, None)
    }

    /// Seals it in memory.
    pub fn seal(&self, recipe: &Recipe) -> Result<SealedFile, FileError> {
        let mut reading = SourceReader::begin(self)?;
        let file = reading.file.try_clone().map_err(|source| self.unreadable(source))?;
        let size = usize::try_from(reading.size).unwrap_or_default();
        let sealed = seal_whole(file, size, recipe, |chunk| reading.see(chunk))
            .map_err(|error| self.unsealed(error))?;
        let tags = reading.end(sealed.plain, Some(sealed.stored))?;
        Ok(SealedFile { name: self.name, bytes: sealed.bytes.into(), tags })
    }

    /// Returns its size in bytes.
    pub fn size(&self) -> Result<u64, FileError> {
        Ok(std::fs::metadata(&self.path).map_err(|source| self.unreadable(source))?.len())
    }

    pub(super) fn open(&self) -> Result<File, FileError> {
        File::open(&self.path).map_err(|source| self.unreadable(source))
    }

    /// Returns the path of its `.ready` file in `archive_status`: it waits to be archived.
    pub(super) fn ready(&self) -> PathBuf {
        let status = self.path.parent().unwrap_or(Path::new("")).join("archive_status");
        status.join(format!("{}.ready", self.name))
    }

    /// Returns the path of its `.done` file in `archive_status`: it was archived.
    pub(super) fn done(&self) -> PathBuf {
        self.ready().with_extension("done")
    }

    /// Refuses a segment that its server may still write: archived files are never overwritten, so a partial
    /// one would block the complete one. `archive_status` records which segments are complete; without that
    /// folder, the caller vouches for the file.
    pub(super) fn refuse_unfinished(&self) -> Result<(), FileError> {
        let note = self.ready();
        let lacks = |note: &Path| matches!(note.try_exists(), Ok(false));
        let is_noted_there = note.parent().is_some_and(Path::is_dir) && self.path.exists();
        let is_segment = matches!(self.name, WalName::Segment(_));
        if is_segment && is_noted_there && lacks(&note) && lacks(&self.done()) {
            return Err(FileError::Unfinished(self.path.clone()));
        }
        Ok(())
    }

    /// Returns the history file of a timeline next to this file, where `archive_status` has neither a
    /// `.ready` nor a `.done` file for it.
    pub(super) fn unarchived_history_file(&self, timeline: Timeline) -> Option<Self> {
        let name = WalName::History(timeline);
        let history = Self { path: self.path.with_file_name(name.to_string()), name };
        let is_noted = || history.ready().exists() || history.done().exists();
        let is_forgotten =
            timeline > Timeline::FIRST && self.ready().exists() && history.path.exists() && !is_noted();
        is_forgotten.then_some(history)
    }

    fn segment(&self) -> Option<Segment> {
        match self.name {
            WalName::Segment(segment) | WalName::Partial(segment) => Some(segment),
            _ => None,
        }
    }

    fn header(&self, file: &mut File, segment: Segment) -> Result<SegmentHeader, FileError> {
        let bad = |source| FileError::Header { path: self.path.clone(), source };
        let mut bytes = Vec::with_capacity(SEGMENT_HEADER);
        let reading = file.take(SEGMENT_HEADER as u64).read_to_end(&mut bytes);
        reading.map_err(|source| self.unreadable(source))?;
        let header = SegmentHeader::parse(&bytes).map_err(bad)?;
        header.check(segment).map_err(bad)?;
        Ok(header)
    }

    fn unreadable(&self, source: io::Error) -> FileError {
        FileError::Read { path: self.path.clone(), source }
    }

    fn unsealed(&self, source: PipelineError) -> FileError {
        FileError::Seal { path: self.path.clone(), source }
    }
}

/// A file that is being read.
struct SourceReader<'f> {
    of: &'f WalFile,
    file: File,
    size: u64,
    completed: DateTime<Utc>,
    witnessed: bool,
    commits: Option<CommitScan>,
    text: Vec<u8>,
}

impl<'f> SourceReader<'f> {
    fn begin(of: &'f WalFile) -> Result<Self, FileError> {
        let mut file = of.open()?;
        let metadata = file.metadata().map_err(|source| of.unreadable(source))?;
        let size = metadata.len();
        let mut commits = None;
        if let Some(segment) = of.segment() {
            let header = of.header(&mut file, segment)?;
            let expected = header.segment_size.bytes();
            if size != expected {
                return Err(FileError::Size { path: of.path.clone(), found: size, expected });
            }
            commits = Some(CommitScan::new(&header));
            io::Seek::rewind(&mut file).map_err(|source| of.unreadable(source))?;
        } else if size > SMALL && !matches!(of.name, WalName::Piece { .. }) {
            return Err(FileError::Large { path: of.path.clone(), found: size });
        }
        // The server creates the `.ready` file when a file is complete; one without it was complete when it
        // was last written.
        let noted = std::fs::metadata(of.ready()).and_then(|note| note.modified());
        let written = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        // A lost `.ready` file is recreated with a later time; a complete file is not written any more.
        let completed = noted.map_or(written, |noted| noted.min(written)).into();
        let witnessed = archive_status_is_authoritative(of.folder());
        Ok(Self { of, file, size, completed, witnessed, commits, text: Vec::new() })
    }

    fn see(&mut self, chunk: &[u8]) -> io::Result<()> {
        if let Some(commits) = &mut self.commits {
            commits.take(chunk);
        }
        if matches!(self.of.name, WalName::History(_)) {
            self.text.extend_from_slice(chunk);
        }
        Ok(())
    }

    /// Returns the digest, if it covers the complete file.
    fn whole(&self, plain: Digest) -> Result<Digest, FileError> {
        if plain.size == self.size { Ok(plain) } else { Err(FileError::Changed(self.of.path.clone())) }
    }

    fn end(self, plain: Digest, stored: Option<Sha256Hex>) -> Result<SegmentTags, FileError> {
        Ok(SegmentTags {
            plain: self.whole(plain)?,
            stored,
            completed: self.completed,
            witnessed: self.witnessed,
            known_until: None,
            newest_commit: self.commits.as_ref().and_then(CommitScan::newest),
            notable: self.commits.as_ref().map(CommitScan::notable),
            damaged: self.commits.as_ref().and_then(CommitScan::damaged),
            minimal: self.commits.as_ref().and_then(CommitScan::minimal),
            checkpoints: self.commits.as_ref().and_then(CommitScan::checkpoints).cloned(),
            parent: parent(self.of, &self.text)?,
        })
    }
}

fn parent(file: &WalFile, text: &[u8]) -> Result<Option<Ancestor>, FileError> {
    let WalName::History(timeline) = file.name else { return Ok(None) };
    let history = History::parse(timeline, &String::from_utf8_lossy(text));
    Ok(history.map_err(|source| FileError::History { path: file.path.clone(), source })?.parent())
}
