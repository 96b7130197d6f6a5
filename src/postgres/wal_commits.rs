use chrono::{DateTime, Utc};
use crc_fast::{CrcAlgorithm, Digest};

use super::wal_header::{CONTINUED, Fields, GIVEN_UP, LONG, PAGE_HEADER, SEGMENT_HEADER, SegmentHeader};
use super::wal_record::{CHECKSUM, HEAD, HEADER, Notable, RecordKind, WalRecord};
use crate::model::{Checkpoint, Lsn};

/// Records of a notable kind are shorter than this.
const LONGEST: usize = 2048;

/// Finds the newest commit in a segment and its records of a notable kind, while its bytes are streamed; or
/// in several consecutive segments. A commit whose record ends in the next segment is not in this one, and is
/// found only if both are scanned.
///
/// Also finds where WAL is damaged: a record with a wrong checksum, or pages that do not continue a record,
/// followed by intact WAL. Without any after it, it is where the server stopped writing.
#[derive(Clone, Debug)]
pub struct CommitScan {
    little_endian: bool,
    magic: u16,
    page_size: usize,
    /// The address of the next page.
    address: Lsn,
    /// Missing bytes of the current record.
    left: usize,
    /// Where the current record begins; `None` if that was before the scan.
    begins: Option<Lsn>,
    length: usize,
    /// The beginning of the current record, or all of it.
    head: Vec<u8>,
    /// No page was scanned yet.
    fresh: bool,
    ended: bool,
    newest: Option<DateTime<Utc>>,
    notable: Notable,
    end: Lsn,
    /// Checksum of the current record so far, without its header.
    contents: Digest,
    /// Where the first record begins that is not intact.
    suspect: Option<Lsn>,
    damaged: Option<Lsn>,
    minimal: Option<Lsn>,
    /// `None`: the layout of the records is not known.
    checkpoints: Option<Checkpoints>,
}

/// Checkpoints that are remembered of a segment: its newest ones.
const CHECKPOINTS: usize = 12;

/// The checkpoints whose records are completely in some WAL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoints {
    /// Oldest first.
    pub newest: Vec<Checkpoint>,
    /// Whether there are older ones.
    pub has_older: bool,
}

impl Checkpoints {
    fn note(&mut self, checkpoint: Checkpoint) {
        if self.newest.len() == CHECKPOINTS {
            self.newest.remove(0);
            self.has_older = true;
        }
        self.newest.push(checkpoint);
    }
}

impl CommitScan {
    pub fn new(header: &SegmentHeader) -> Self {
        Self {
            little_endian: header.little_endian,
            magic: header.magic,
            page_size: header.page_size,
            address: header.begin,
            left: 0,
            begins: None,
            length: 0,
            head: Vec::with_capacity(LONGEST),
            fresh: true,
            ended: false,
            newest: None,
            notable: Notable::default(),
            end: header.begin,
            contents: Digest::new(CrcAlgorithm::Crc32Iscsi),
            suspect: None,
            damaged: None,
            minimal: None,
            checkpoints: header.major().map(|_| Checkpoints::default()),
        }
    }

    /// Scans the next bytes: complete pages, except the last of the file.
    pub fn take(&mut self, bytes: &[u8]) {
        self.records(bytes, |_| {});
    }

    /// Scans the next bytes and passes on each complete record, in order: all of one of a notable kind, and
    /// the beginning of any other.
    pub fn records(&mut self, bytes: &[u8], mut each: impl FnMut(&WalRecord<'_>)) {
        for page in bytes.chunks(self.page_size) {
            if self.ended {
                // A recycled segment has pages with other addresses after the end.
                if self.is_in_place(page) {
                    self.damaged = self.damaged.or(self.suspect).or(Some(self.end));
                }
            } else {
                self.ended = self.page(page, &mut each).is_none();
            }
            self.address.0 += self.page_size as u64;
        }
    }

    /// Returns the time of the newest commit, by the server's clock.
    pub fn newest(&self) -> Option<DateTime<Utc>> {
        self.newest
    }

    /// Returns whether the WAL ended before the bytes did, as after a segment switch. Otherwise the next
    /// segment continues the current record.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Returns the end of the last complete record.
    pub fn end(&self) -> Lsn {
        self.end
    }

    /// Returns where recovery would end early: the first record that is not intact although intact WAL
    /// follows.
    pub fn damaged(&self) -> Option<Lsn> {
        self.damaged
    }

    /// Returns where WAL begins that was written with `wal_level = minimal`: recovery fails there.
    pub fn minimal(&self) -> Option<Lsn> {
        self.minimal
    }

    /// Returns the checkpoints; `None`: they cannot be read in WAL of this version.
    pub fn checkpoints(&self) -> Option<&Checkpoints> {
        self.checkpoints.as_ref()
    }

    /// Returns the notable kinds of the records, certain or possible, that are completely or partly in it.
    pub fn notable(&self) -> Notable {
        let mut notable = self.notable;
        if let Some((_, kind)) = self.cut() {
            notable.note(kind);
        }
        notable
    }

    /// Returns the begin of the incomplete record, and its kind if that is known and notable.
    pub fn cut(&self) -> Option<(Lsn, RecordKind)> {
        let kind = RecordKind::from_header(*self.head.get(17)?, *self.head.get(16)?)?;
        (self.left > 0 && !self.ended).then_some((self.begins?, kind))
    }

    /// Returns how many bytes of the current record are needed.
    fn wanted(&self) -> usize {
        let is_notable = self.length <= LONGEST
            && self.head.len() >= HEADER
            && RecordKind::from_header(self.head[17], self.head[16]).is_some();
        self.length.min(if is_notable { LONGEST } else { HEAD })
    }

    /// Returns whether a page has the header of this address.
    fn is_in_place(&self, page: &[u8]) -> bool {
        let fields = Fields { bytes: page, little_endian: self.little_endian };
        page.len() >= PAGE_HEADER && fields.u16(0) == self.magic && fields.u64(8) == self.address.0
    }

    /// Scans a page. Returns `None` if the WAL ends here.
    fn page(&mut self, page: &[u8], each: &mut impl FnMut(&WalRecord<'_>)) -> Option<()> {
        if !self.is_in_place(page) {
            return None;
        }
        let fields = Fields { bytes: page, little_endian: self.little_endian };
        let info = fields.u16(2);
        let continued = if info & CONTINUED == 0 { 0 } else { fields.u32(16) as usize };
        let mut at = if info & LONG == 0 { PAGE_HEADER } else { SEGMENT_HEADER };
        if self.fresh || info & GIVEN_UP != 0 {
            (self.left, self.begins) = (continued, None);
            if self.fresh && continued <= LONGEST {
                self.note_rest(page.get(at..).unwrap_or_default().get(..continued).unwrap_or_default());
            }
        } else if self.left != continued {
            self.damaged = self.damaged.or(self.suspect).or(self.begins).or(Some(self.end));
            return None;
        }
        self.fresh = false;
        while at < page.len() {
            if self.left == 0 {
                at = at.next_multiple_of(8);
                if at >= page.len() {
                    break;
                }
                let length = fields.u32(at) as usize;
                if length < HEADER {
                    return None;
                }
                (self.left, self.length) = (length, length);
                self.begins = Some(Lsn(self.address.0 + at as u64));
                self.head.clear();
                self.contents.reset();
            }
            let end = at + self.left.min(page.len() - at);
            if self.begins.is_some() {
                let mut from = at;
                // Twice: only the header determines how many bytes are needed.
                for _ in 0..2 {
                    let more = self.wanted().saturating_sub(self.head.len()).min(end - from);
                    self.head.extend_from_slice(&page[from..from + more]);
                    from += more;
                }
            }
            if self.begins.is_some() {
                let of_header = HEADER.saturating_sub(self.length - self.left).min(end - at);
                self.contents.update(&page[at + of_header..end]);
            }
            self.left -= end - at;
            at = end;
            if self.left == 0 {
                self.end = Lsn(self.address.0 + at as u64);
                if let Some(begins) = self.begins.take() {
                    self.whole(begins, each);
                }
            }
        }
        Some(())
    }

    /// Verifies the checksum of a complete record.
    fn verify(&mut self, begins: Lsn) {
        self.contents.update(self.head.get(..CHECKSUM).unwrap_or_default());
        let expected = Fields { bytes: &self.head, little_endian: self.little_endian }.u32(CHECKSUM);
        if self.contents.finalize() == u64::from(expected) {
            self.damaged = self.damaged.or(self.suspect);
        } else {
            self.suspect = self.suspect.or(Some(begins));
        }
    }

    fn whole(&mut self, begins: Lsn, each: &mut impl FnMut(&WalRecord<'_>)) {
        self.verify(begins);
        let head = std::mem::take(&mut self.head);
        let record = WalRecord {
            begins,
            ends: self.end,
            length: self.length,
            bytes: &head,
            little_endian: self.little_endian,
        };
        if let Some(kind) = record.kind() {
            self.notable.note(kind);
        }
        // Recovery ends at the first record that is not intact, and where `wal_level` was `minimal`.
        if self.suspect.is_none() {
            if record.is_minimal() {
                self.minimal = self.minimal.or(Some(begins));
            }
            if let (Some(checkpoints), Some(checkpoint)) = (&mut self.checkpoints, record.checkpoint()) {
                checkpoints.note(checkpoint);
            }
        }
        if let (None, None, Some((time, true))) = (self.suspect, self.minimal, record.transaction_end()) {
            self.newest = self.newest.max(Some(time));
        }
        each(&record);
        self.head = head;
    }

    /// Notes the kind of a record whose header may begin before the scan: 8 or 16 bytes of it are missing.
    fn note_rest(&mut self, rest: &[u8]) {
        for before in [8, 16] {
            if let (Some(info), Some(manager)) = (rest.get(16 - before), rest.get(17 - before))
                && let Some(kind) = RecordKind::from_header(*manager, *info)
            {
                self.notable.note(kind);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{SegmentSize, SystemIdentifier, Timeline};
    use crate::postgres::wal_record::{COMMIT, EPOCH, HEADER, TRANSACTIONS};

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
        let mut record = vec![0; HEADER];
        (record[16], record[17]) = (info, rmid);
        record.extend_from_slice(contents);
        let length = u32::try_from(record.len()).unwrap();
        record[..4].copy_from_slice(&length.to_le_bytes());
        let checksum = crate::postgres::wal_record::checksum(&record).to_le_bytes();
        record[CHECKSUM..HEADER].copy_from_slice(&checksum);
        record
    }

    fn commit(microseconds: i64, replicated: bool) -> Vec<u8> {
        let mut contents = if replicated { vec![253, 1, 0, 252, 9, 0, 0, 0] } else { vec![] };
        contents.extend([255, 12]);
        contents.extend(microseconds.to_le_bytes());
        contents.extend([1; 4]);
        record(TRANSACTIONS, COMMIT | 0x80, &contents)
    }

    /// Writes records into pages as the server does; the first page begins with `rest` bytes of an earlier
    /// record.
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
        // A recycled file: the next page has an old address.
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
        let log = pages(0, &[abort, record(10, 0, &vec![0; cut - HEADER]), commit(1, false)]);
        assert!(log.len() > PAGE);
        assert_eq!(scanned(&log[..PAGE], 1).newest(), None);
        assert!(scanned(&log, 1).newest().is_some());
    }

    fn checkpoint(redo: u64, time: i64) -> Vec<u8> {
        let mut fields = [0; 88];
        fields[..8].copy_from_slice(&redo.to_le_bytes());
        fields[8..12].copy_from_slice(&1_u32.to_le_bytes());
        fields[64..72].copy_from_slice(&time.to_le_bytes());
        record(0, 0x10, &[&[255, 88][..], &fields].concat())
    }

    /// A change of parameters; `wal_level`: 0 is `minimal`.
    fn parameters(wal_level: u32) -> Vec<u8> {
        let fields = [100, 8, 10, 0, 64, wal_level];
        let fields: Vec<u8> = fields.iter().flat_map(|field: &u32| field.to_le_bytes()).collect();
        record(0, 0x60, &[&[255, 26][..], &fields, &[0, 0]].concat())
    }

    #[test]
    fn the_newest_checkpoints_are_listed() {
        let found = scanned(&pages(0, &[commit(1, false), checkpoint(7, 1000)]), 1);
        let first = found.checkpoints().unwrap().newest[0];
        assert_eq!((first.redo, first.timeline, first.time.timestamp()), (Lsn(7), Timeline::FIRST, 1000));
        assert!(first.at > Lsn(1 << 24) && !found.checkpoints().unwrap().has_older);
        let many: Vec<_> = (0..20).map(|n| checkpoint(n, 1000)).collect();
        let found = scanned(&pages(0, &many), 1);
        let listed = found.checkpoints().unwrap();
        let redo: Vec<u64> = listed.newest.iter().map(|checkpoint| checkpoint.redo.0).collect();
        assert!(redo == (8..20).collect::<Vec<_>>() && listed.has_older, "{redo:?}");
        // One whose sum is not right is none, and so is what follows.
        let mut bad = checkpoint(7, 1000);
        bad[40] ^= 1;
        let found = scanned(&pages(0, &[bad, checkpoint(8, 1000)]), 1);
        assert_eq!(found.checkpoints(), Some(&Checkpoints::default()));
    }

    #[test]
    fn what_was_committed_with_a_minimal_level_does_not_count() {
        let log =
            pages(0, &[commit(1_000_000, false), parameters(0), commit(2_000_000, false), parameters(1)]);
        let found = scanned(&log, 1);
        assert_eq!(found.newest(), Some("2000-01-01T00:00:01Z".parse().unwrap()));
        assert!(found.minimal().is_some_and(|at| at < found.end()) && found.notable().parameters);
        let other = scanned(&pages(0, &[parameters(1), parameters(2), commit(1, false)]), 1);
        assert_eq!((other.minimal(), other.damaged()), (None, None));
    }

    fn tablespace(path: &str) -> Vec<u8> {
        let mut contents = vec![255, u8::try_from(path.len() + 5).unwrap()];
        contents.extend(16_401_u32.to_le_bytes());
        contents.extend(path.as_bytes());
        contents.push(0);
        record(5, 0, &contents)
    }

    #[test]
    fn a_tablespace_is_found_wherever_its_record_lies() {
        let path = "/srv/".to_owned() + &"deep/".repeat(40);
        for before in (0..9000_usize).step_by(8) {
            let log = pages(0, &[record(10, 0, &vec![3; before]), tablespace(&path), commit(1, false)]);
            let mut scan = CommitScan::new(&segment_header());
            let mut found = Vec::new();
            scan.records(&log, |record| found.extend(record.tablespace()));
            assert_eq!(found.len(), 1, "{before}");
            assert_eq!((found[0].oid, found[0].path.as_str()), (16_401, path.as_str()), "{before}");
            assert!(scan.notable().tablespace && !scan.notable().restore_point);
            if log.len() <= PAGE {
                continue;
            }
            // If the WAL is cut, one of both parts reports that there may be one.
            let mut some = CommitScan::new(&segment_header());
            some.take(&log[..PAGE]);
            let mut rest =
                CommitScan::new(&SegmentHeader { begin: Lsn((1 << 24) + PAGE as u64), ..segment_header() });
            rest.take(&log[PAGE..]);
            assert!(some.notable().tablespace || rest.notable().tablespace, "{before}");
        }
    }

    #[test]
    fn a_tablespace_whose_sum_is_not_right_is_none() {
        let mut bad = tablespace("/srv/ts");
        bad[32] ^= 1;
        let mut found = 0;
        CommitScan::new(&segment_header()).records(&pages(0, &[bad]), |record| {
            found += usize::from(record.tablespace().is_some());
        });
        assert_eq!(found, 0);
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
        fn damage_is_found_where_intact_wal_follows_it_and_only_there(
            rest in 0_usize..20_000, sizes in prop::collection::vec(0_usize..9_000, 2..40), chunk in 1_usize..5,
            at in any::<prop::sample::Index>(), bit in 0_u8..8,
        ) {
            let records: Vec<_> = sizes.iter().map(|size| record(10, 0, &vec![255; *size])).collect();
            let mut log = pages(rest, &records);
            log.resize(log.len().next_multiple_of(PAGE) + 2 * PAGE, 0);
            prop_assert_eq!(scanned(&log, chunk).damaged(), None);
            let mut placed = Vec::new();
            let mut scan = CommitScan::new(&segment_header());
            scan.records(&log, |record| placed.push(record.begins));
            let damaged = placed[at.index(placed.len() - 1)];
            // A bit of its checksum, and one of its length.
            for offset in [CHECKSUM, 0] {
                let place = usize::try_from(damaged.0 - (1 << 24)).unwrap() + offset;
                if place % PAGE < offset { continue; }
                let mut bad = log.clone();
                bad[place] ^= 1 << bit;
                let found = scanned(&bad, chunk).damaged();
                let is_cut_off = offset == 0 && bad.len() - place < 3 * PAGE;
                prop_assert!(is_cut_off || found.is_some_and(|found| found <= damaged), "{:?}", (found, damaged, offset));
            }
            // The last record: the server stopped writing here.
            let last = usize::try_from(placed[placed.len() - 1].0 - (1 << 24)).unwrap();
            if last % PAGE + HEADER <= PAGE {
                log[last + CHECKSUM] ^= 1 << bit;
                prop_assert_eq!(scanned(&log, chunk).damaged(), None);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(mut log in prop::collection::vec(any::<u8>(), 0..20_000), at in any::<prop::sample::Index>()) {
            let good = pages(0, &[commit(1, false), record(10, 0, &[0; 5000])]);
            let place = at.index(log.len() + 1);
            log.splice(..place, good);
            let scan = scanned(&log, 1);
            let _any = (scan.newest(), scan.notable(), scan.damaged());
        }
    }
}
