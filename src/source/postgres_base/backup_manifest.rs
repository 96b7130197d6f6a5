use serde::Deserialize;
use thiserror::Error;

use crate::model::{Lsn, Timeline};

/// The WAL that a copy needs to become consistent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WalRange {
    pub(super) timeline: Timeline,
    pub(super) start: Lsn,
    pub(super) stop: Lsn,
}

/// Why the WAL that a copy needs is unknown.
#[derive(Debug, Error)]
pub enum RangeError {
    #[error("its `backup_manifest` names no WAL")]
    None,
    #[error("failed to parse the WAL range of its `backup_manifest`")]
    Json(#[source] serde_json::Error),
    #[error("the server changed to another timeline while it was copied; try again")]
    Several,
}

#[derive(Deserialize)]
struct ManifestEntry {
    #[serde(rename = "Timeline")]
    timeline: Timeline,
    #[serde(rename = "Start-LSN")]
    start: Lsn,
    #[serde(rename = "End-LSN")]
    stop: Lsn,
}

/// Reads the part after the list of files, so the end of a manifest is sufficient.
pub(super) fn wal_range(tail: &[u8]) -> Result<WalRange, RangeError> {
    const KEY: &str = "\"WAL-Ranges\":";
    let text = String::from_utf8_lossy(tail);
    let (_, rest) = text.rsplit_once(KEY).ok_or(RangeError::None)?;
    let mut ranges = serde_json::Deserializer::from_str(rest).into_iter::<Vec<ManifestEntry>>();
    let ranges = ranges.next().ok_or(RangeError::None)?.map_err(RangeError::Json)?;
    match ranges.as_slice() {
        [] => Err(RangeError::None),
        [ManifestEntry { timeline, start, stop }] => {
            Ok(WalRange { timeline: *timeline, start: *start, stop: *stop })
        }
        _ => Err(RangeError::Several),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_read_from_the_end_of_a_manifest() {
        let tail = |ranges: &str| {
            format!(
                "\"Checksum\": \"d2d3\" }}\n],\n\"WAL-Ranges\": [\n{ranges}\n],\n\"Manifest-Checksum\": \"00ff\"}}\n"
            )
        };
        let one = "{ \"Timeline\": 3, \"Start-LSN\": \"1/2000028\", \"End-LSN\": \"1/2000100\" }";
        let range = wal_range(tail(one).as_bytes()).unwrap();
        assert_eq!(
            (range.timeline.number(), range.start, range.stop),
            (3, Lsn(0x1_0200_0028), Lsn(0x1_0200_0100))
        );
        let several = tail(&format!("{one},\n{one}"));
        assert!(matches!(wal_range(several.as_bytes()), Err(RangeError::Several)));
        assert!(matches!(wal_range(tail("").as_bytes()), Err(RangeError::None)));
        assert!(matches!(wal_range(b"\"Files\": ["), Err(RangeError::None)));
    }
}
