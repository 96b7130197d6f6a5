//! A folder of write-ahead log to be archived, as a server has it.

use std::ops::Range;
use std::path::Path;

use crate::support::Outcome;

const SEGMENT: u64 = 16 << 20;
const PAGE: usize = 8192;
/// Of a page's place in the log, in its header.
const ADDRESS: Range<usize> = 8..16;
/// The number of the first segment in the folder: none of the server's own is as high.
const FIRST: u64 = 0x1000;

/// How many segments each way of archiving gets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    /// Pushed one after the other.
    pub(crate) single: u64,
    /// That wait all at once.
    pub(crate) waiting: u64,
}

impl Counts {
    pub(crate) fn singles(self) -> Vec<String> {
        (0..self.single).map(name).collect()
    }

    pub(crate) fn waiting(self) -> Vec<String> {
        (self.single..self.single + self.waiting).map(name).collect()
    }

    /// One that nobody is measured with: whoever archives the first of all begins the repository.
    pub(crate) fn first(self) -> String {
        name(self.single + self.waiting)
    }

    fn all(self) -> u64 {
        self.single + self.waiting + 1
    }
}

fn name(number: u64) -> String {
    let number = FIRST + number;
    format!("{:08X}{:08X}{:08X}", 1, number / 0x100, number % 0x100)
}

/// Fills `folder` with what a server wrote into `pg_wal`, over and over, each time further on in the log.
pub(crate) fn write(pg_wal: &Path, folder: &Path, counts: Counts) -> Outcome<()> {
    let mut written = Vec::new();
    for entry in std::fs::read_dir(pg_wal.join("archive_status"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        written.extend(name.strip_suffix(".done").filter(|name| name.len() == 24).map(str::to_owned));
    }
    written.sort();
    // The first are of the cluster's making, and so like no other.
    let written = written.get(2..).filter(|written| !written.is_empty()).ok_or("the server kept no log")?;
    std::fs::create_dir_all(folder.join("archive_status"))?;
    for number in 0..counts.all() {
        let from = &written[usize::try_from(number)? % written.len()];
        let mut bytes = std::fs::read(pg_wal.join(from))?;
        let begins = (FIRST + number) * SEGMENT;
        for (page, header) in bytes.chunks_exact_mut(PAGE).enumerate() {
            // What was never written has none.
            if header[..2] != [0, 0] {
                let address = begins + (page * PAGE) as u64;
                header[ADDRESS].copy_from_slice(&address.to_ne_bytes());
            }
        }
        std::fs::write(folder.join(name(number)), bytes)?;
    }
    Ok(())
}
