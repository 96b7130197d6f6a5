//! Tablespaces that replay of a segment would create outside of the data directory.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::model::{Lsn, Segment, SegmentSize};
use crate::postgres::{CommitScan, MadeTablespace, RecordKind, SEGMENT_HEADER, SegmentHeader};

/// Complete pages, whatever their size.
const CHUNK: usize = 1 << 20;

/// Why a segment is not passed to the server that requests it.
#[derive(Debug, Error)]
pub enum Unconfined {
    #[error("failed to inspect it")]
    Read(#[source] io::Error),
    #[error("failed to change it")]
    Write(#[source] io::Error),
    #[error(
        "its record at {} creates tablespace {} at `{}`, which this recovery was not prepared for",
        .0.at, .0.oid, .0.path
    )]
    Tablespace(MadeTablespace),
    #[error(
        "its record at {0} creates a tablespace, and ends in the next segment; this recovery was not prepared for it"
    )]
    Cut(Lsn),
}

/// Confines the effects of a segment to the data directory: a tablespace whose record is at one of `mapped`
/// is created where the data directory has a link or a directory named after its OID, and any other is
/// refused.
///
/// A server creates a tablespace at the path in the record, which is that of the live one, regardless of any
/// link there. One whose record has no path is created in the data directory, using what exists there.
pub(super) fn confine(path: &Path, segment: Segment, mapped: &[Lsn]) -> Result<(), Unconfined> {
    let header = header(path).map_err(Unconfined::Read)?;
    let (mut found, mut patches) = (Vec::new(), Vec::new());
    let mut scan = CommitScan::new(&header);
    let looking = each_record(path, &mut scan, |record| {
        if let Some(made) = record.tablespace().filter(is_outside) {
            if mapped.contains(&made.at) {
                patches.extend(record.moved_inside(header.page_size));
            }
            found.push(made);
        }
    });
    looking.map_err(Unconfined::Read)?;
    if let Some((at, RecordKind::Tablespace)) = scan.cut()
        && !mapped.contains(&at)
    {
        return Err(Unconfined::Cut(at));
    }
    if scan.notable().tablespace && found.is_empty() {
        // Its begin may be the end of a record whose header is in the previous segment: the server has just
        // read that.
        found.extend(across(path, segment, &header));
    }
    if let Some(made) = found.into_iter().find(|made| !mapped.contains(&made.at)) {
        return Err(Unconfined::Tablespace(made));
    }
    if patches.is_empty() {
        return Ok(());
    }
    let written = OpenOptions::new().write(true).open(path).and_then(|file| {
        for (at, bytes) in patches {
            file.write_all_at(&bytes, at.0 - header.begin.0)?;
        }
        file.sync_all()
    });
    written.map_err(Unconfined::Write)
}

fn is_outside(made: &MadeTablespace) -> bool {
    !made.path.is_empty()
}

/// Returns the tablespaces whose record begins in the previous segment, which is next to this one.
fn across(path: &Path, segment: Segment, header: &SegmentHeader) -> Vec<MadeTablespace> {
    let mut found = Vec::new();
    let Some(before) = before(path, segment, header.segment_size) else { return found };
    let Ok(earlier) = self::header(&before) else { return found };
    let mut scan = CommitScan::new(&earlier);
    if each_record(&before, &mut scan, |_| {}).is_ok() && !scan.has_ended() {
        let _as_far_as_it_goes = each_record(path, &mut scan, |record| {
            found.extend(record.tablespace().filter(|made| is_outside(made) && made.at < header.begin));
        });
    }
    found
}

/// Returns the previous segment, of this timeline or of an ancestor.
fn before(path: &Path, segment: Segment, size: SegmentSize) -> Option<PathBuf> {
    let number = segment.number(size)?.checked_sub(1)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let names = std::fs::read_dir(folder).ok()?.flatten();
    let segments = names.filter_map(|name| name.file_name().to_str()?.parse::<Segment>().ok());
    let before = segments.filter(|other| other.number(size) == Some(number));
    let newest = before.filter(|other| other.timeline <= segment.timeline).max()?;
    Some(folder.join(newest.to_string()))
}

fn header(path: &Path) -> io::Result<SegmentHeader> {
    let mut bytes = [0; SEGMENT_HEADER];
    File::open(path)?.read_exact(&mut bytes)?;
    SegmentHeader::parse(&bytes).map_err(io::Error::other)
}

fn each_record(
    path: &Path,
    scan: &mut CommitScan,
    mut each: impl FnMut(&crate::postgres::WalRecord<'_>),
) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; CHUNK];
    loop {
        let mut filled = 0;
        while filled < CHUNK {
            match file.read(&mut buffer[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        scan.records(&buffer[..filled], &mut each);
        if filled < CHUNK || scan.has_ended() {
            return Ok(());
        }
    }
}
