//! Looks into segments, where their names do not say enough.

use std::io::Read as _;

use super::log::Log;
use super::{RecoveryError, Run};
use crate::event::told;
use crate::model::{Encoding, Lsn, Segment, WalName};
use crate::pipeline::open;
use crate::postgres::{CommitScan, SEGMENT_HEADER, SegmentHeader};
use crate::repository::StoreErrorKind;
use crate::wal::Reach;

/// More than any segment.
const LIMIT: u64 = 2 << 30;

/// Whether a record begins at a position or after it, as a server needs one to stop there. The end of a
/// segment may hold none: it was ended early.
pub(super) async fn goes_on(run: &Run, log: &Log, reach: &Reach, lsn: Lsn) -> Result<bool, RecoveryError> {
    let Some(last) = reach.backwards().next() else { return Ok(reach.covers(lsn)) };
    let size = log.together.segment_size();
    // In any segment but the last there is a later one with records.
    if !reach.covers(lsn) || reach.pieces.is_some() || last.begin(size).is_none_or(|begin| lsn < begin) {
        return Ok(true);
    }
    let bytes = read(run, log, last).await?;
    let Ok(header) = SegmentHeader::parse(&bytes[..SEGMENT_HEADER.min(bytes.len())]) else { return Ok(true) };
    let mut scan = CommitScan::new(&header);
    scan.take(&bytes);
    Ok(lsn < scan.end())
}

/// A whole segment, from the first repository that has it.
async fn read(run: &Run, log: &Log, segment: Segment) -> Result<Vec<u8>, RecoveryError> {
    let name = WalName::Segment(segment);
    let mut tries = Vec::new();
    for (repository, _) in &log.holders {
        for (suffix, encoding) in
            [(".zst.age", &[Encoding::Zstd, Encoding::Age][..]), (".zst", &[Encoding::Zstd])]
        {
            let stored = match repository.store.get(&log.archive.key(name, suffix), LIMIT).await {
                Ok((stored, _)) => stored,
                Err(error) if error.kind == StoreErrorKind::NotFound => continue,
                Err(error) => {
                    tries.push((repository.name.clone(), told(&error)));
                    continue;
                }
            };
            let identities = run.identities.clone();
            let opened = tokio::task::spawn_blocking(move || {
                let mut plain = Vec::new();
                let stream = open(&stored[..], encoding, &identities, None).map_err(|error| told(&error))?;
                stream.take(LIMIT).read_to_end(&mut plain).map_err(|error| told(&error))?;
                Ok(plain)
            });
            match opened.await.map_err(RecoveryError::Worker)? {
                Ok(plain) => return Ok(plain),
                Err(reason) => tries.push((repository.name.clone(), reason)),
            }
        }
    }
    Err(RecoveryError::Fetch { artifact: name.to_string(), tries })
}
