//! Inspects segments where their names do not say enough.

use std::io::Read as _;

use chrono::{DateTime, Utc};

use super::PhysicalRestoreError;
use super::wal_survey::{WalArchives, files};
use crate::model::{Encoding, Lsn, Segment, WalName};
use crate::pipeline::unseal;
use crate::postgres::{CommitScan, SEGMENT_HEADER, SegmentHeader};
use crate::run::RunContext;
use crate::store::StoreErrorKind;
use crate::text::error_chain;
use crate::wal::{ReplayRange, SegmentTags};

/// More than any segment.
const LIMIT: u64 = 2 << 30;

/// Returns the newest commit before the fork in the segment in which the timeline is left.
pub(super) async fn newest_before_leaving(
    run: &RunContext,
    log: &WalArchives,
    reach: &ReplayRange,
) -> Result<Option<DateTime<Utc>>, PhysicalRestoreError> {
    let (_, remaining_in) = files(reach);
    let Some(segment) = remaining_in.first().and_then(|name| is_of(*name)) else { return Ok(None) };
    let (bytes, header) = content(run, log, reach, segment, &remaining_in).await?;
    let mut scan = CommitScan::new(&header);
    scan.take(&bytes);
    Ok(scan.newest())
}

/// Returns the first of these consecutive segments in which a commit after `time` ends.
pub(super) async fn commit_after(
    run: &RunContext,
    log: &WalArchives,
    reach: &ReplayRange,
    names: &[WalName],
    time: DateTime<Utc>,
) -> Result<Option<Segment>, PhysicalRestoreError> {
    let size = log.together.segment_size();
    let mut scan: Option<(CommitScan, Option<Lsn>)> = None;
    for some in names.chunk_by(|one, other| is_of(*one).is_some() && is_of(*one) == is_of(*other)) {
        let Some(number) = some.first().and_then(|name| is_of(*name)) else { continue };
        run.check_interruption()?;
        let (bytes, header) = content(run, log, reach, number, some).await?;
        let goes_on =
            |(scan, next): &(CommitScan, Option<Lsn>)| !scan.has_ended() && *next == number.begin(size);
        let (mut reading, _) =
            scan.filter(goes_on).unwrap_or_else(|| (CommitScan::new(&header), number.begin(size)));
        reading.take(&bytes);
        if reading.newest().is_some_and(|newest| newest > time) {
            return Ok(Some(number));
        }
        scan = Some((reading, number.begin(size).map(|begin| Lsn(begin.0 + size.bytes()))));
    }
    Ok(None)
}

/// Returns the scan of a complete segment; `None`: it could not be read.
pub(super) async fn scanned(run: &RunContext, log: &WalArchives, number: Segment) -> Option<CommitScan> {
    let (bytes, header) = segment(run, log, number).await.ok()?;
    let mut scan = CommitScan::new(&header);
    scan.take(&bytes);
    Some(scan)
}

pub(super) fn is_of(name: WalName) -> Option<Segment> {
    match name {
        WalName::Segment(segment) | WalName::Piece { segment, .. } => Some(segment),
        _ => None,
    }
}

/// Returns the part of a segment that is replayed; `files`: the segment or its partial segments.
pub(super) async fn content(
    run: &RunContext,
    log: &WalArchives,
    reach: &ReplayRange,
    number: Segment,
    files: &[WalName],
) -> Result<(Vec<u8>, SegmentHeader), PhysicalRestoreError> {
    let (mut bytes, header) = match files {
        [WalName::Segment(whole)] => segment(run, log, *whole).await?,
        pieces => put_together(run, log, number, pieces).await?,
    };
    if let Some(begin) = number.begin(log.together.segment_size()) {
        bytes.truncate(usize::try_from(reach.end.lsn.0.saturating_sub(begin.0)).unwrap_or(usize::MAX));
    }
    Ok((bytes, header))
}

/// Assembles a segment that was still being written.
async fn put_together(
    run: &RunContext,
    log: &WalArchives,
    segment: Segment,
    pieces: &[WalName],
) -> Result<(Vec<u8>, SegmentHeader), PhysicalRestoreError> {
    let mut bytes = Vec::new();
    for name in pieces {
        let WalName::Piece { begin, .. } = *name else { continue };
        let piece = read(run, log, *name).await?;
        let begin = begin as usize;
        bytes.resize(bytes.len().max(begin + piece.len()), 0);
        bytes[begin..begin + piece.len()].copy_from_slice(&piece);
    }
    // Pages are read whole; the bytes after the last one are zeros, as in the server's own file.
    bytes.resize(bytes.len().next_multiple_of(1 << 16), 0);
    header(log, segment, bytes)
}

async fn segment(
    run: &RunContext,
    log: &WalArchives,
    segment: Segment,
) -> Result<(Vec<u8>, SegmentHeader), PhysicalRestoreError> {
    header(log, segment, read(run, log, WalName::Segment(segment)).await?)
}

/// A segment that does not match its name would hide commits.
fn header(
    log: &WalArchives,
    segment: Segment,
    bytes: Vec<u8>,
) -> Result<(Vec<u8>, SegmentHeader), PhysicalRestoreError> {
    let not_it =
        |reason: String| PhysicalRestoreError::NotUnderstood { artifact: segment.to_string(), reason };
    let header = SegmentHeader::parse(&bytes[..SEGMENT_HEADER.min(bytes.len())])
        .and_then(|header| header.check(segment).map(|()| header))
        .map_err(|error| not_it(error_chain(&error)))?;
    if header.system_identifier != log.archive.cluster {
        return Err(not_it(format!("it is of the cluster {}", header.system_identifier)));
    }
    Ok((bytes, header))
}

/// Reads a WAL file in full from the first repository that has it; from one with an intact copy, if any.
async fn read(run: &RunContext, log: &WalArchives, name: WalName) -> Result<Vec<u8>, PhysicalRestoreError> {
    let mut tries = Vec::new();
    let mut damaged = None;
    for (repository, _) in &log.holders {
        for (suffix, encoding) in
            [(".zst.age", &[Encoding::Zstd, Encoding::Age][..]), (".zst", &[Encoding::Zstd])]
        {
            let (stored, metadata) = match repository.store.get(&log.archive.key(name, suffix), LIMIT).await {
                Ok((stored, info)) => (stored, info.metadata),
                Err(error) if error.kind == StoreErrorKind::NotFound => continue,
                Err(error) => {
                    tries.push((repository.name.clone(), error_chain(&error)));
                    continue;
                }
            };
            let identities = run.identities.clone();
            let opened = tokio::task::spawn_blocking(move || {
                let mut plain = Vec::new();
                let stream =
                    unseal(&stored[..], encoding, &identities, None).map_err(|error| error_chain(&error))?;
                stream.take(LIMIT).read_to_end(&mut plain).map_err(|error| error_chain(&error))?;
                Ok(plain)
            });
            match opened.await.map_err(PhysicalRestoreError::Worker)? {
                Ok(plain) => match SegmentTags::from_metadata(&metadata).and_then(|tags| tags.damaged) {
                    Some(_) => damaged = damaged.or(Some(plain)),
                    None => return Ok(plain),
                },
                Err(reason) => tries.push((repository.name.clone(), reason)),
            }
        }
    }
    if let Some(damaged) = damaged {
        return Ok(damaged);
    }
    Err(PhysicalRestoreError::Fetch { artifact: name.to_string(), tries })
}
