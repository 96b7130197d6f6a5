use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::decode::{VerifiedSegment, check, place};
use super::{Archive, WalFile};
use crate::model::{RepositoryName, Segment, SegmentSize, WalName};
use crate::pipeline::digest_whole;
use crate::postgres::SEGMENT_HEADER;

/// Next to the file that the server requests, so that taking one from here is a rename.
const FOLDER: &str = ".drctl-ahead";
const STATE: &str = "next";
const PREFERRED: &str = "from";
/// The maximum size in bytes of its contents.
const MOST_BYTES: u64 = 256 << 20;

/// Segments that were fetched before the server requested them. They are verified again when they are taken:
/// a crash may have truncated them.
///
/// They are a cache only: a segment that is not here is requested from the repositories.
#[derive(Clone, Debug)]
pub(super) struct Prefetch {
    folder: PathBuf,
    most: usize,
}

/// The state that a call leaves for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PrefetchState {
    next: Segment,
    window: usize,
    size: SegmentSize,
}

impl Prefetch {
    pub(super) fn beside(target: &Path, most: usize) -> Self {
        Self { folder: target.parent().unwrap_or(Path::new("")).join(FOLDER), most }
    }

    /// Moves the segment to its destination if it is here and intact.
    pub(super) fn take(&self, archive: &Archive, segment: Segment, target: &Path) -> Option<VerifiedSegment> {
        let path = self.find(segment)?;
        let taken = prove(&path, archive, segment).filter(|_| place(&path, target).is_ok());
        if taken.is_none() {
            let _gone = fs::remove_file(&path);
        }
        taken
    }

    fn find(&self, segment: Segment) -> Option<PathBuf> {
        let begin = format!("{segment}-");
        let mut entries = fs::read_dir(&self.folder).ok()?.flatten();
        entries
            .find(|entry| entry.file_name().to_string_lossy().starts_with(&begin))
            .map(|entry| entry.path())
    }

    /// Returns the segments to prefetch along with this one: more the longer the server has requested
    /// consecutive ones.
    pub(super) fn plan(&self, segment: Segment) -> Vec<Segment> {
        let Some(state) = self.state().filter(|state| state.next == segment) else { return vec![] };
        let fit = usize::try_from(MOST_BYTES / state.size.bytes()).unwrap_or(1);
        let count = state.window.min(self.most).min(fit) as u64;
        (1..=count).filter_map(|n| segment.after(n, state.size)).filter(|s| self.find(*s).is_none()).collect()
    }

    /// Records that the segment was returned. A failure only costs time.
    pub(super) fn note(&self, segment: Segment, size: SegmentSize, fetched_ahead: usize) {
        if self.most == 0 {
            return;
        }
        let before = self.state();
        let (Some(next), in_order) =
            (segment.after(1, size), before.is_some_and(|state| state.next == segment))
        else {
            return;
        };
        let window = match before {
            Some(state) if in_order && fetched_ahead > 0 => state.window * 2,
            Some(state) if in_order => state.window,
            _ => 1,
        };
        let _made = fs::create_dir(&self.folder);
        let text = format!("{next} {} {}\n", window.min(self.most), size.bytes());
        let _noted = fs::write(self.folder.join(STATE), text);
    }

    fn state(&self) -> Option<PrefetchState> {
        let text = fs::read_to_string(self.folder.join(STATE)).ok()?;
        let mut words = text.split_whitespace();
        let (next, window) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(PrefetchState { next, window, size: SegmentSize::new(words.next()?.parse().ok()?).ok()? })
    }

    /// Returns the repository that was the first with an intact file when others failed.
    pub(super) fn preferred(&self) -> Option<RepositoryName> {
        fs::read_to_string(self.folder.join(PREFERRED)).ok()?.trim().parse().ok()
    }

    pub(super) fn prefer(&self, repository: &RepositoryName) {
        if self.most > 0 {
            let _made = fs::create_dir(&self.folder);
            let _noted = fs::write(self.folder.join(PREFERRED), format!("{repository}\n"));
        }
    }

    /// Returns the path that a segment is written to while it is fetched.
    pub(super) fn draft(&self, segment: Segment) -> io::Result<PathBuf> {
        match fs::create_dir(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        Ok(self.folder.join(format!("{segment}.part")))
    }

    /// Keeps a verified draft.
    pub(super) fn keep(&self, draft: &Path, segment: Segment, proven: &VerifiedSegment) -> io::Result<()> {
        fs::rename(draft, self.folder.join(format!("{segment}-{}", proven.plain.sha256)))
    }

    /// Removes everything that does not follow `segment`.
    pub(super) fn sweep(&self, segment: Segment) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let of = name.get(..24).and_then(|name| name.parse::<Segment>().ok());
            let is_to_come = of.is_some_and(|of| of.timeline == segment.timeline && of > segment);
            if ![STATE, PREFERRED].contains(&&*name) && (!is_to_come || name.contains(".part")) {
                let _gone = fs::remove_file(entry.path());
            }
        }
    }

    /// Removes everything: the server has reached the end.
    pub(super) fn clear(&self) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let _gone = fs::remove_file(entry.path());
        }
        let _gone = fs::remove_dir(&self.folder);
    }
}

fn prove(path: &Path, archive: &Archive, segment: Segment) -> Option<VerifiedSegment> {
    let (_, expected) = path.file_name()?.to_str()?.split_once('-')?;
    let file = WalFile { path: path.to_owned(), name: WalName::Segment(segment) };
    let mut file = File::open(&file.path).ok()?;
    let mut begin = [0; SEGMENT_HEADER];
    file.read_exact(&mut begin).ok()?;
    let header = check(&begin, segment, archive, "").ok()?;
    io::Seek::rewind(&mut file).ok()?;
    let plain = digest_whole(file, |_| Ok(())).ok()?;
    let whole = plain.size == header.segment_size.bytes() && plain.sha256.to_string() == expected;
    whole.then_some(VerifiedSegment { plain, header: Some(header), damaged: None })
}
