//! What the host keeps of a backup: its index, and a line at its end that says whose it is and that it is intact.

use std::fs::File;
use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Take, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::index::{IndexEntry, Lines};
use crate::model::{BackupId, Digest, Hasher};

/// The longest last line.
const LONGEST_END: u64 = 4096;

/// The last line of a kept index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct KeptEnd {
    pub(super) backup: BackupId,
    /// Of what the policy says to back up.
    pub(super) fingerprint: String,
    /// When the reading began, in nanoseconds since 1970, by the host's clock.
    pub(super) begun: i64,
    /// Of the lines before.
    pub(super) lines: Digest,
    pub(super) entries: u64,
}

/// Writes an index.
pub(super) struct IndexWriter {
    file: BufWriter<File>,
    hasher: Hasher,
    entries: u64,
    line: Vec<u8>,
}

impl IndexWriter {
    pub(super) fn new(file: File) -> Self {
        let file = BufWriter::with_capacity(128 << 10, file);
        Self { file, hasher: Hasher::default(), entries: 0, line: Vec::new() }
    }

    pub(super) fn write(&mut self, entry: &IndexEntry) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, entry)?;
        self.line.push(b'\n');
        self.hasher.update(&self.line);
        self.entries += 1;
        self.file.write_all(&self.line)
    }

    /// Ends it. Returns the file, and how many of its bytes are the index.
    pub(super) fn end(mut self, backup: &BackupId, fingerprint: &str, begun: i64) -> io::Result<(File, u64)> {
        let lines = self.hasher.digest();
        let (backup, fingerprint) = (backup.clone(), fingerprint.to_owned());
        let mut end =
            serde_json::to_vec(&KeptEnd { backup, fingerprint, begun, lines, entries: self.entries })?;
        end.push(b'\n');
        self.file.write_all(&end)?;
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        Ok((file, lines.size))
    }
}

/// Opens a new file that only its owner may read.
pub(super) fn private(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Opens a kept index, without reading what is in it.
pub(super) fn open(path: &Path) -> io::Result<(KeptEnd, Lines<Take<File>>)> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let from = size.saturating_sub(LONGEST_END);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    (&mut file).take(LONGEST_END).read_to_end(&mut tail)?;
    let cut = || io::Error::new(io::ErrorKind::InvalidData, "it has no end");
    let Some((b'\n', text)) = tail.split_last() else { return Err(cut()) };
    let begin = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let end: KeptEnd = serde_json::from_slice(&text[begin..]).map_err(|_| cut())?;
    if end.lines.size != from + begin as u64 {
        return Err(cut());
    }
    file.seek(SeekFrom::Start(0))?;
    let size = end.lines.size;
    Ok((end, Lines::new(file.take(size))))
}

/// Returns why the index kept of a backup cannot be used; reads it to its end.
pub(super) fn check(path: &Path, backup: &BackupId, fingerprint: &str) -> Result<(), String> {
    let shown = path.display();
    let (end, _) = match open(path) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(format!("the list of its files is not kept on this host (`{shown}`)"));
        }
        Err(error) => return Err(format!("the list of its files, `{shown}`, cannot be read: {error}")),
    };
    if end.backup != *backup {
        return Err(format!("the list of its files, `{shown}`, is of {}", end.backup));
    }
    if end.fingerprint != fingerprint {
        return Err("the policy said to back up other files then".to_owned());
    }
    let digest = File::open(path).and_then(|file| hash(file.take(end.lines.size)));
    match digest {
        Ok(digest) if digest == end.lines => Ok(()),
        Ok(_) => Err(format!("the list of its files, `{shown}`, is not what it was")),
        Err(error) => Err(format!("the list of its files, `{shown}`, cannot be read: {error}")),
    }
}

fn hash(mut file: Take<File>) -> io::Result<Digest> {
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hasher.digest()),
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::files::index::PathBytes;

    #[test]
    fn what_was_kept_is_used_and_what_is_doubtful_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.index");
        let id = |minute: u32| {
            let at = format!("2026-11-20T12:{minute:02}:00Z").parse().unwrap();
            BackupId::new(at, &"uploads".parse().unwrap(), crate::model::BackupKind::Files, 7)
        };
        assert!(check(&path, &id(1), "f").unwrap_err().contains("not kept on this host"));
        let mut writer = IndexWriter::new(File::create(&path).unwrap());
        for name in ["a", "a/b"] {
            let path = PathBytes(name.as_bytes().to_vec());
            writer.write(&IndexEntry { path, ..IndexEntry::default() }).unwrap();
        }
        writer.end(&id(1), "f", 5).unwrap();
        assert_eq!(check(&path, &id(1), "f"), Ok(()));
        let (end, mut lines) = open(&path).unwrap();
        assert_eq!((end.begun, end.entries), (5, 2));
        assert!(
            lines.next_line::<IndexEntry>().unwrap().is_some()
                && lines.next_line::<IndexEntry>().unwrap().is_some()
        );
        assert_eq!(lines.next_line::<IndexEntry>().unwrap(), None);
        assert!(check(&path, &id(2), "f").is_err(), "of another backup");
        assert!(check(&path, &id(1), "g").unwrap_err().contains("other files"), "of another policy");
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert!(check(&path, &id(1), "f").is_err(), "cut at {cut}");
        }
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            std::fs::write(&path, &flipped).unwrap();
            // What a bit of `begun` says is not in the digest: it may only make it read more, or be caught.
            if flipped[..usize::try_from(end.lines.size).unwrap()]
                != whole[..usize::try_from(end.lines.size).unwrap()]
            {
                assert!(check(&path, &id(1), "f").is_err(), "flipped at {at}");
            }
        }
    }
}
