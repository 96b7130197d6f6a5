use chrono::{DateTime, TimeDelta, Utc};

use super::wal_header::{CONTINUED, Fields, GIVEN_UP, LONG, PAGE_HEADER, SEGMENT_HEADER, SegmentHeader};
use crate::model::Lsn;

/// Bytes at a record's begin that hold what is asked of a commit.
const HEAD: usize = 48;
/// Bytes before a record's own contents.
const RECORD_HEADER: usize = 24;
/// The resource manager of transactions.
const TRANSACTIONS: u8 = 1;
/// Of a record's info, what was done.
const OPERATION: u8 = 0x70;
const COMMIT: u8 = 0x00;
const COMMIT_PREPARED: u8 = 0x30;
/// 2000-01-01, in seconds since 1970.
const EPOCH: i64 = 946_684_800;

/// Finds the newest commit in a segment, as its bytes go by, or in several that follow one another. A commit
/// whose record ends in the next segment is not in this one, and in the next only where both are seen.
///
/// It believes what it reads: a server that archives the file has written it, and checks it when it reads
/// it again.
#[derive(Clone, Debug)]
pub struct CommitScan {
    little_endian: bool,
    magic: u16,
    page_size: usize,
    /// Where the next page belongs.
    address: Lsn,
    /// Bytes of the record under way that are still to come.
    left: usize,
    /// What its begin says; `None` where it began before the scan did.
    head: Option<([u8; HEAD], usize)>,
    /// Nothing was seen yet.
    fresh: bool,
    ended: bool,
    newest: Option<DateTime<Utc>>,
    end: Lsn,
}

impl CommitScan {
    pub fn new(header: &SegmentHeader) -> Self {
        Self {
            little_endian: header.little_endian,
            magic: header.magic,
            page_size: header.page_size,
            address: header.begin,
            left: 0,
            head: None,
            fresh: true,
            ended: false,
            newest: None,
            end: header.begin,
        }
    }

    /// Takes the next bytes: whole pages, but for the last of the file.
    pub fn take(&mut self, bytes: &[u8]) {
        for page in bytes.chunks(self.page_size) {
            if self.ended {
                return;
            }
            // What does not go on as log does is what the file held before.
            self.ended = self.page(page).is_none();
            self.address.0 += self.page_size as u64;
        }
    }

    /// When the newest commit was, by the server's clock.
    pub fn newest(&self) -> Option<DateTime<Utc>> {
        self.newest
    }

    /// Whether the log ended before the bytes did, as where a segment was ended early. Otherwise the next
    /// segment goes on with the record that is under way.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Where the last whole record ends: there is nothing behind it.
    pub fn end(&self) -> Lsn {
        self.end
    }

    /// `None`: the log ends here.
    fn page(&mut self, page: &[u8]) -> Option<()> {
        let fields = Fields { bytes: page, little_endian: self.little_endian };
        if page.len() < PAGE_HEADER || fields.u16(0) != self.magic || fields.u64(8) != self.address.0 {
            return None;
        }
        let info = fields.u16(2);
        let continued = if info & CONTINUED == 0 { 0 } else { fields.u32(16) as usize };
        if self.fresh || info & GIVEN_UP != 0 {
            (self.left, self.head) = (continued, None);
        } else if self.left != continued {
            return None;
        }
        self.fresh = false;
        let mut at = if info & LONG == 0 { PAGE_HEADER } else { SEGMENT_HEADER };
        while at < page.len() {
            if self.left == 0 {
                at = at.next_multiple_of(8);
                if at >= page.len() {
                    break;
                }
                let length = fields.u32(at) as usize;
                if length < RECORD_HEADER {
                    return None;
                }
                (self.left, self.head) = (length, Some(([0; HEAD], 0)));
            }
            let there = self.left.min(page.len() - at);
            if let Some((head, have)) = &mut self.head {
                let wanted = there.min(HEAD - *have);
                head[*have..*have + wanted].copy_from_slice(&page[at..at + wanted]);
                *have += wanted;
            }
            at += there;
            self.left -= there;
            if self.left == 0 {
                self.end = Lsn(self.address.0 + at as u64);
                if let Some((head, have)) = self.head.take() {
                    self.newest = self.newest.max(self.commit_time(&head[..have]));
                }
            }
        }
        Some(())
    }

    fn commit_time(&self, record: &[u8]) -> Option<DateTime<Utc>> {
        let operation = record.get(16)? & OPERATION;
        if *record.get(17)? != TRANSACTIONS || !matches!(operation, COMMIT | COMMIT_PREPARED) {
            return None;
        }
        // A commit touches no blocks: what comes first is where it came from, if it was replicated, and the
        // length of the rest, which begins with the time.
        let mut at = RECORD_HEADER;
        loop {
            at += match record.get(at)? {
                253 => 3,
                252 => 5,
                255 => break at += 2,
                254 => break at += 5,
                _ => return None,
            };
        }
        record.get(at..at + 8)?;
        let microseconds = Fields { bytes: record, little_endian: self.little_endian }.i64(at);
        DateTime::from_timestamp(EPOCH, 0)?.checked_add_signed(TimeDelta::microseconds(microseconds))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{SegmentSize, SystemIdentifier, Timeline};

    const PAGE: usize = 8192;
    const MAGIC: u16 = 0xD110;

    fn segment_header() -> SegmentHeader {
        SegmentHeader {
            magic: MAGIC,
            little_endian: true,
            timeline: Timeline::FIRST,
            begin: Lsn(1 << 24),
            system_identifier: SystemIdentifier(1),
            segment_size: SegmentSize::DEFAULT,
            page_size: PAGE,
        }
    }

    fn record(rmid: u8, info: u8, contents: &[u8]) -> Vec<u8> {
        let mut record = vec![0; RECORD_HEADER];
        (record[16], record[17]) = (info, rmid);
        record.extend_from_slice(contents);
        let length = u32::try_from(record.len()).unwrap();
        record[..4].copy_from_slice(&length.to_le_bytes());
        record
    }

    fn commit(microseconds: i64, replicated: bool) -> Vec<u8> {
        let mut contents = if replicated { vec![253, 1, 0, 252, 9, 0, 0, 0] } else { vec![] };
        contents.extend([255, 12]);
        contents.extend(microseconds.to_le_bytes());
        contents.extend([1; 4]);
        record(TRANSACTIONS, COMMIT | 0x80, &contents)
    }

    /// Lays records onto pages, as the server does; the first page begins with `rest` bytes of one before.
    fn pages(rest: usize, records: &[Vec<u8>]) -> Vec<u8> {
        let mut log = Vec::new();
        let page_header = |log: &mut Vec<u8>, continued: usize| {
            let address = (1_u64 << 24) + log.len() as u64;
            let (info, header) = if log.is_empty() { (LONG, SEGMENT_HEADER) } else { (0, PAGE_HEADER) };
            let info = if continued > 0 { info | CONTINUED } else { info };
            let begin = log.len();
            log.extend(MAGIC.to_le_bytes());
            log.extend(info.to_le_bytes());
            log.extend(1_u32.to_le_bytes());
            log.extend(address.to_le_bytes());
            log.extend(u32::try_from(continued).unwrap().to_le_bytes());
            log.resize(begin + header, 0);
        };
        page_header(&mut log, rest);
        let put = |log: &mut Vec<u8>, record: &[u8]| {
            let mut left = record;
            while !left.is_empty() {
                if log.len().is_multiple_of(PAGE) {
                    page_header(log, left.len());
                }
                let (now, later) = left.split_at(left.len().min(PAGE - log.len() % PAGE));
                log.extend_from_slice(now);
                left = later;
            }
            while !log.len().is_multiple_of(8) {
                log.push(0);
            }
        };
        put(&mut log, &vec![7; rest]);
        for record in records {
            if log.len().is_multiple_of(PAGE) {
                page_header(&mut log, 0);
            }
            put(&mut log, record);
        }
        log
    }

    fn scanned(log: &[u8], chunk: usize) -> CommitScan {
        let mut scan = CommitScan::new(&segment_header());
        log.chunks(chunk * PAGE).for_each(|chunk| scan.take(chunk));
        scan
    }

    #[test]
    fn the_newest_commit_is_found_and_what_the_file_held_before_is_not() {
        let mut log =
            pages(100, &[commit(1_000_000, false), commit(3_000_000, true), commit(2_000_000, false)]);
        let end = log.len();
        log.resize(PAGE, 0);
        // A recycled file: the next page is of long ago.
        log.extend(pages(0, &[commit(9_000_000, false)]));
        let scan = scanned(&log, 8);
        assert_eq!(scan.newest(), Some("2000-01-01T00:00:03Z".parse().unwrap()));
        assert!(scan.end().0 - (1 << 24) <= end as u64 && scan.end().0 + 8 > (1 << 24) + end as u64);
    }

    #[test]
    fn an_abort_is_no_commit_and_neither_is_half_a_record() {
        let mut contents = vec![255, 8];
        contents.extend(5_i64.to_le_bytes());
        let abort = record(TRANSACTIONS, 0x20, &contents);
        let cut = PAGE - SEGMENT_HEADER - abort.len().next_multiple_of(8) - 24;
        let log = pages(0, &[abort, record(10, 0, &vec![0; cut - RECORD_HEADER]), commit(1, false)]);
        assert!(log.len() > PAGE);
        assert_eq!(scanned(&log[..PAGE], 1).newest(), None);
        assert!(scanned(&log, 1).newest().is_some());
    }

    proptest! {
        #[test]
        fn commits_are_found_wherever_they_lie(
            rest in 0_usize..20_000, sizes in prop::collection::vec(0_usize..9_000, 1..40), chunk in 1_usize..5,
            commits in prop::collection::vec(any::<prop::sample::Index>(), 1..5),
        ) {
            let mut records: Vec<_> = sizes.iter().map(|size| record(10, 0, &vec![255; *size])).collect();
            for (n, at) in commits.iter().enumerate() {
                records.insert(at.index(records.len()), commit(1_000_000 * (n as i64 + 1), n % 2 == 0));
            }
            let found = scanned(&pages(rest, &records), chunk).newest();
            prop_assert_eq!(found.map(|time| time.timestamp() - EPOCH), Some(commits.len() as i64));
        }

        #[test]
        fn no_bytes_make_it_panic(mut log in prop::collection::vec(any::<u8>(), 0..20_000), at in any::<prop::sample::Index>()) {
            let good = pages(0, &[commit(1, false), record(10, 0, &[0; 5000])]);
            let place = at.index(log.len() + 1);
            log.splice(..place, good);
            let _any = scanned(&log, 1).newest();
        }
    }
}
