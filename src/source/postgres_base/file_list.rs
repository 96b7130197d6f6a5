use std::fmt::Write as _;
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};
use tempfile::SpooledTempFile;

use super::backup_manifest::WalRange;

/// The part of the list that is held in memory: about a hundred thousand files.
const IN_MEMORY: usize = 16 << 20;
/// The first major whose manifests have the system identifier.
const NAMES_CLUSTER: u32 = 17;

/// A `backup_manifest` being written, in the format of `pg_verifybackup`.
#[derive(Debug)]
pub(super) struct FileList {
    text: SpooledTempFile,
    sha256: Sha256,
    files: u64,
}

impl FileList {
    /// Begins a manifest for a server of this major.
    pub(super) fn begin(major: u32, system_identifier: &str) -> io::Result<Self> {
        let text = SpooledTempFile::new(IN_MEMORY);
        let mut list = Self { text, sha256: Sha256::new(), files: 0 };
        let head = if major >= NAMES_CLUSTER {
            format!(
                "{{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n\"System-Identifier\": {system_identifier},\n"
            )
        } else {
            "{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n".to_owned()
        };
        list.write(&format!("{head}\"Files\": ["))?;
        Ok(list)
    }

    /// Adds a file by its path relative to the data directory.
    pub(super) fn add(
        &mut self,
        path: &Path,
        size: u64,
        modified: DateTime<Utc>,
        crc32c: u32,
    ) -> io::Result<()> {
        let mut line = if self.files == 0 { "\n".to_owned() } else { ",\n".to_owned() };
        let bytes = path.as_os_str().as_bytes();
        match path.to_str() {
            Some(text) => {
                let quoted = serde_json::to_string(text).map_err(io::Error::other)?;
                let _written = write!(line, "{{ \"Path\": {quoted}");
            }
            None => {
                let _written = write!(line, "{{ \"Encoded-Path\": \"{}\"", hex::encode(bytes));
            }
        }
        let modified = modified.format("%Y-%m-%d %H:%M:%S GMT");
        let sum = hex::encode(crc32c.to_ne_bytes());
        let _written = write!(
            line,
            ", \"Size\": {size}, \"Last-Modified\": \"{modified}\", \"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": \"{sum}\" }}"
        );
        self.files += 1;
        self.write(&line)
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        self.sha256.update(text.as_bytes());
        self.text.write_all(text.as_bytes())
    }

    /// Returns the size of the complete manifest, and a reader of it.
    pub(super) fn finish(mut self, range: WalRange) -> io::Result<(u64, impl Read)> {
        self.write(&format!(
            "\n],\n\"WAL-Ranges\": [\n{{ \"Timeline\": {}, \"Start-LSN\": \"{}\", \"End-LSN\": \"{}\" }}\n],\n",
            range.timeline, range.start, range.stop
        ))?;
        let sum = hex::encode(self.sha256.finalize());
        self.text.write_all(format!("\"Manifest-Checksum\": \"{sum}\"}}\n").as_bytes())?;
        let size = self.text.stream_position()?;
        self.text.seek(SeekFrom::Start(0))?;
        Ok((size, self.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Lsn, Timeline};
    use crate::source::postgres_base::backup_manifest::wal_range;

    #[test]
    fn what_is_written_is_a_manifest() {
        let mut list = FileList::begin(17, "7300000000000000001").unwrap();
        let noon = "2026-11-20T12:00:00Z".parse().unwrap();
        list.add(Path::new("base/1/1259"), 8192, noon, 0x0102_0304).unwrap();
        list.add(Path::new("it's \"quoted\""), 0, noon, 0).unwrap();
        let range = WalRange { timeline: Timeline::FIRST, start: Lsn(0x28), stop: Lsn(0x1_0000_0100) };
        let (size, mut read) = list.finish(range).unwrap();
        let mut text = String::new();
        read.read_to_string(&mut text).unwrap();
        assert_eq!(size, text.len() as u64);
        let parsed: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(parsed["System-Identifier"], 7_300_000_000_000_000_001_u64);
        assert_eq!(parsed["Files"][1]["Path"], "it's \"quoted\"");
        assert_eq!(parsed["Files"][0]["Last-Modified"], "2026-11-20 12:00:00 GMT");
        assert_eq!(wal_range(text.as_bytes()).unwrap(), range);
        let (signed, _) = text.split_once("\"Manifest-Checksum\"").unwrap();
        assert_eq!(parsed["Manifest-Checksum"], hex::encode(Sha256::digest(signed.as_bytes())));
    }
}
