//! What this host keeps of a backup of content, to tell what is new in the next one: the stored copy is encrypted, and
//! this host cannot read it.
//!
//! A text of lines: the backup and a digest of the settings it was taken with, what the kind records, and a digest of all
//! of it. A state that is not exactly that is not used, and the next backup is a full one.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::incremental::{BasePlan, BaseScope, FullBackupReason};
use crate::event::Events;
use crate::model::{BackupId, Hasher, Sha256Hex};

const FORMAT: &str = "drctl-state/1";
/// Used until the backup is committed, which gives it its name.
const UNFINISHED: &str = "unfinished";
/// A longer line is none that was written.
const LINE: u64 = 1 << 20;

/// Writes a state, under a name that the commit of the backup replaces.
pub(super) struct StateWriter {
    file: BufWriter<File>,
    hasher: Hasher,
}

impl StateWriter {
    /// `settings`: what of the policy makes its data comparable.
    pub(super) fn begin(path: &Path, backup: &BackupId, settings: &str) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(0o600);
        let file = BufWriter::new(options.open(path.with_extension(UNFINISHED))?);
        let mut writer = Self { file, hasher: Hasher::default() };
        writer.line(header(backup, settings).as_bytes())?;
        Ok(writer)
    }

    /// Writes a line; it has no line feed.
    pub(super) fn line(&mut self, line: &[u8]) -> io::Result<()> {
        for part in [line, b"\n"] {
            self.file.write_all(part)?;
            self.hasher.update(part);
        }
        Ok(())
    }

    pub(super) fn end(self) -> io::Result<()> {
        let Self { mut file, hasher } = self;
        writeln!(file, "{}", hasher.digest().sha256)?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    }
}

fn header(backup: &BackupId, settings: &str) -> String {
    format!("{FORMAT} {backup} {}", Sha256Hex::digest(settings.as_bytes()))
}

/// Passes each line of what the kind recorded to `see`. `Err`: why the state cannot be used, as text that follows the id of
/// its backup; what was seen by then does not count.
pub(super) fn read_state(
    path: &Path,
    backup: &BackupId,
    settings: &str,
    mut see: impl FnMut(&[u8]) -> Result<(), String>,
) -> Result<(), String> {
    let shown = path.display();
    let failed = |error: io::Error| format!("its state `{shown}` cannot be read: {error}");
    let altered = || format!("its state `{shown}` is not what was written");
    let opened = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("this host does not keep its state (`{shown}`)"),
        _ => failed(error),
    });
    let mut file = BufReader::new(opened?);
    let (mut line, mut before): (Vec<u8>, Option<Vec<u8>>) = (Vec::new(), None);
    let (mut hasher, mut is_first) = (Hasher::default(), true);
    loop {
        line.clear();
        let count = file.by_ref().take(LINE).read_until(b'\n', &mut line).map_err(failed)?;
        if count == 0 {
            break;
        }
        if line.pop() != Some(b'\n') {
            return Err(altered());
        }
        // The last line is the digest of those before it.
        if let Some(seen) = before.replace(line.clone()) {
            hasher.update(&seen);
            hasher.update(b"\n");
            match std::mem::take(&mut is_first) {
                false => see(&seen)?,
                true if seen == header(backup, settings).as_bytes() => {}
                true if seen.starts_with(format!("{FORMAT} {backup} ").as_bytes()) => {
                    return Err("the policy's settings of the source have changed since".to_owned());
                }
                true => return Err(altered()),
            }
        }
    }
    match before {
        Some(digest) if !is_first && digest == hasher.digest().sha256.to_string().into_bytes() => Ok(()),
        _ => Err(altered()),
    }
}

/// Tells why a backup is a full one, or what it builds on.
pub(super) fn announce(plan: &BasePlan, events: &Events) {
    match &plan.scope {
        BaseScope::Full(Some(why)) if why.is_silent() => {}
        BaseScope::Full(Some(why)) if why.is_due() => events.notice(format!("taking a full backup: {why}")),
        BaseScope::Full(Some(why)) => {
            events.warning(format!("taking a full backup in place of an incremental one: {why}"));
        }
        BaseScope::Full(None) => {}
        BaseScope::Incremental { since, passed_over } => {
            passed_over.iter().map(FullBackupReason::to_string).for_each(|why| events.warning(why));
            events.notice(format!("taking what is new since {}", since.manifest.id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::BackupKind;

    fn backup(seed: u32) -> BackupId {
        BackupId::new(
            "2026-11-20T12:00:00Z".parse().unwrap(),
            &"code".parse().unwrap(),
            BackupKind::Git,
            seed,
        )
    }

    fn read(path: &Path, backup: &BackupId, settings: &str) -> Result<Vec<String>, String> {
        let mut lines = vec![];
        read_state(path, backup, settings, |line| {
            lines.push(String::from_utf8(line.to_vec()).unwrap());
            Ok(())
        })?;
        Ok(lines)
    }

    #[test]
    fn a_state_is_used_only_if_it_is_exactly_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/x.state");
        let mut writer = StateWriter::begin(&path, &backup(1), "a remote").unwrap();
        for line in ["one", "two", ""] {
            writer.line(line.as_bytes()).unwrap();
        }
        writer.end().unwrap();
        assert!(read(&path, &backup(1), "a remote").is_err(), "it is not committed");
        std::fs::rename(path.with_extension(UNFINISHED), &path).unwrap();
        assert_eq!(read(&path, &backup(1), "a remote").unwrap(), ["one", "two", ""]);
        assert!(read(&path, &backup(1), "another").unwrap_err().contains("settings"));
        assert!(read(&path, &backup(2), "a remote").is_err());
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(read(&path, &backup(1), "a remote").is_err(), "cut after {length} bytes");
        }
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            std::fs::write(&path, &flipped).unwrap();
            assert!(read(&path, &backup(1), "a remote").is_err(), "byte {at}");
        }
    }
}
