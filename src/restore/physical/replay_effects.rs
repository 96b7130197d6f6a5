//! What the WAL to be replayed contains that has to be known before anything is written: tablespaces that
//! recovery would create outside of the directory, the limits it requires, the names of restore points.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::stream::{self, StreamExt as _};

use super::select::BaseBackup;
use super::wal_scan::{content, is_of};
use super::wal_survey::{ASKED_AT_ONCE, WalArchives, files};
use super::{PhysicalRestoreError, PhysicalRestoreRequest, RecoveryTarget};
use crate::model::{Lsn, Segment, SegmentSize, Tablespace, WalName};
use crate::postgres::{CommitScan, MadeTablespace, Notable, WalRecord};
use crate::run::RunContext;
use crate::wal::{ReplayRange, SegmentTags};

/// Segments without recorded metadata that are read for it: reading all of a long archive would take as long
/// as the recovery, which inspects each of them anyway.
pub(super) const READ_AT_MOST: usize = 1024;
/// Segments that are inspected without reporting it.
const MANY: usize = 32;
/// Plain bytes that are in memory at a time.
const IN_MEMORY: u64 = 64 << 20;
/// How much earlier than its predecessor a commit may appear without the clock having been set back.
const OUT_OF_ORDER: TimeDelta = TimeDelta::minutes(1);

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ReplayEffects {
    /// Those that recovery creates.
    pub(super) tablespaces: Vec<MadeTablespace>,
    /// Records of the same kind that are in the files, beyond the end of recovery.
    pub(super) behind: Vec<Lsn>,
    /// Of all these, the ones whose record crosses a segment boundary.
    pub(super) across: Vec<Lsn>,
    /// The largest value of each.
    pub(super) limits: BTreeMap<&'static str, i64>,
    /// Segments that were not inspected.
    pub(super) unread: usize,
    pub(super) set_back: Option<SetBack>,
    /// Where WAL begins that was written with `wal_level = minimal`, before recovery stops.
    pub(super) minimal: Option<Lsn>,
    /// For a named target: the positions on the path that have this name.
    pub(super) named: Vec<Lsn>,
}

/// Evidence that the server's clock was set back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SetBack {
    pub(super) segment: Segment,
    pub(super) from: DateTime<Utc>,
    pub(super) to: DateTime<Utc>,
}

/// A segment, or its partial segments, and the metadata stored with it.
struct WalFileSource {
    segment: Segment,
    names: Vec<WalName>,
    tags: Option<SegmentTags>,
}

impl WalFileSource {
    /// Returns what the metadata records; `None`: nothing.
    fn notable(&self) -> Option<Notable> {
        self.tags.as_ref().and_then(|tags| tags.notable)
    }
}

impl ReplayEffects {
    /// Returns the positions of the records that `restore_command` neutralizes.
    pub(super) fn mapped(&self) -> Vec<Lsn> {
        let made = self.tablespaces.iter().map(|made| made.at);
        made.chain(self.behind.iter().copied()).collect()
    }

    /// Returns all tablespaces of the result: those of the backup, and those created during replay.
    pub(super) fn all_tablespaces(&self, base: &BaseBackup) -> Vec<Tablespace> {
        let mut all = base.physical.tablespaces.clone();
        for made in &self.tablespaces {
            if all.iter().all(|space| space.oid != made.oid) {
                all.push(Tablespace { oid: made.oid, location: made.path.clone() });
            }
        }
        all
    }
}

/// Returns the first segment with a commit after a time, by the metadata of all segments: where a clock was
/// set back, an early one may have it.
fn first_after(found: &[WalFileSource], time: DateTime<Utc>) -> Option<Segment> {
    let is_after = |tags: &SegmentTags| tags.newest_commit.is_some_and(|newest| newest > time);
    found.iter().find(|file| file.tags.as_ref().is_some_and(is_after)).map(|file| file.segment)
}

fn set_back(files: &[WalFileSource]) -> Option<SetBack> {
    let mut newest: Option<DateTime<Utc>> = None;
    for file in files {
        let Some(here) = file.tags.as_ref().and_then(|tags| tags.newest_commit) else { continue };
        if let Some(from) = newest.filter(|newest| here + OUT_OF_ORDER < *newest) {
            return Some(SetBack { segment: file.segment, from, to: here });
        }
        newest = newest.max(Some(here));
    }
    None
}

/// Inspects the WAL that recovery will replay. `after`: the first segment with a commit after the target
/// time; returned corrected.
pub(super) async fn look(
    run: &RunContext,
    request: &PhysicalRestoreRequest,
    log: &WalArchives,
    base: &BaseBackup,
    reach: &ReplayRange,
    after: Option<Segment>,
    time: Option<DateTime<Utc>>,
) -> Result<(ReplayEffects, Option<Segment>), PhysicalRestoreError> {
    let size = log.together.segment_size();
    let all = every_file(log, reach).await?;
    let mut way = ReplayEffects { set_back: set_back(&all), ..ReplayEffects::default() };
    let earlier = time.and_then(|time| first_after(&all, time));
    let number = |segment: Segment| segment.number(size);
    let after = [after, earlier].into_iter().flatten().min_by_key(|segment| number(*segment));
    // The latest position where recovery stops.
    let last = match (&request.target, after) {
        (RecoveryTarget::Time(_), Some(after)) => number(after),
        // The record after the position may be in the next segment.
        (RecoveryTarget::Lsn(lsn), _) => Some(size.number_of(*lsn) + 1),
        _ => None,
    };
    let on_the_way: Vec<&WalFileSource> =
        all.iter().filter(|file| last.is_none_or(|last| number(file.segment) <= Some(last))).collect();
    let chosen = chosen(&on_the_way, |notable| notable.tablespace || notable.parameters, size);
    way.unread = chosen.unread;
    let mut sees = Visibility { request, size, way, begins: base.physical.start, stopped: false };
    sees.look(run, log, reach, &chosen.files).await?;
    // Where a name or a transaction is can be found only by reading all of the WAL.
    let is_open = matches!(request.target, RecoveryTarget::Name(_) | RecoveryTarget::Transaction(_));
    if let (true, Some(made)) = (is_open && !sees.stopped, sees.way.tablespaces.last()) {
        let last = size.number_of(made.at) + 1;
        let begin: Vec<&WalFileSource> =
            on_the_way.iter().copied().filter(|file| number(file.segment) <= Some(last)).collect();
        if begin.len() <= READ_AT_MOST {
            let limits = sees.way.limits.clone();
            let way = ReplayEffects {
                limits,
                unread: sees.way.unread,
                set_back: sees.way.set_back,
                ..ReplayEffects::default()
            };
            sees = Visibility { way, ..sees };
            sees.look(run, log, reach, &begin).await?;
        }
    }
    Ok((sees.way, after))
}

/// Returns the names of restore points on the path, in order, with their positions. `None`: not everything
/// was inspected.
pub(super) async fn names_given(
    run: &RunContext,
    log: &WalArchives,
    reach: &ReplayRange,
) -> Result<Option<Vec<(String, Lsn)>>, PhysicalRestoreError> {
    let all = every_file(log, reach).await?;
    let all: Vec<&WalFileSource> = all.iter().collect();
    let chosen = chosen(&all, |notable| notable.restore_point, log.together.segment_size());
    let mut found = Vec::new();
    tell(run, &chosen.files);
    each_record(run, log, reach, &chosen.files, |record| {
        found.extend(record.restore_point().map(|name| (name, record.begins)));
        false
    })
    .await?;
    Ok((chosen.unread == 0).then_some(found))
}

struct Visibility<'r> {
    request: &'r PhysicalRestoreRequest,
    size: SegmentSize,
    way: ReplayEffects,
    /// The position where recovery begins.
    begins: Lsn,
    /// Recovery does not reach what follows.
    stopped: bool,
}

impl Visibility<'_> {
    async fn look(
        &mut self,
        run: &RunContext,
        log: &WalArchives,
        reach: &ReplayRange,
        files: &[&WalFileSource],
    ) -> Result<(), PhysicalRestoreError> {
        tell(run, files);
        each_record(run, log, reach, files, |record| {
            self.see(record);
            false
        })
        .await
    }

    fn see(&mut self, record: &WalRecord<'_>) {
        if record.begins < self.begins {
            return;
        }
        self.stopped |= stops_before(&self.request.target, self.request.exclusive, record);
        if let Some(made) = record.tablespace().filter(|made| !made.path.is_empty()) {
            let last = Lsn(record.ends.0.saturating_sub(1));
            if self.size.number_of(record.begins) != self.size.number_of(last) {
                self.way.across.push(made.at);
            }
            if self.stopped { self.way.behind.push(made.at) } else { self.way.tablespaces.push(made) }
        }
        if record.is_minimal() && !self.stopped {
            self.way.minimal = self.way.minimal.or(Some(record.begins));
        }
        // A value logged later than the target does no harm.
        for (name, value) in record.parameters().into_iter().flatten() {
            let largest = self.way.limits.entry(name).or_insert(value);
            *largest = (*largest).max(value);
        }
        if let RecoveryTarget::Name(name) = &self.request.target
            && record.restore_point().as_ref() == Some(name)
        {
            self.way.named.push(record.begins);
        }
        self.stopped |= stops_with(&self.request.target, self.request.exclusive, record);
    }
}

/// Returns whether a server with this target stops before a record, as PostgreSQL does.
fn stops_before(target: &RecoveryTarget, exclusive: bool, record: &WalRecord<'_>) -> bool {
    match target {
        RecoveryTarget::Time(time) => record
            .transaction_end()
            .is_some_and(|(ended, _)| if exclusive { ended >= *time } else { ended > *time }),
        RecoveryTarget::Lsn(lsn) => exclusive && record.begins >= *lsn,
        RecoveryTarget::Transaction(number) => exclusive && ends(*number, record),
        RecoveryTarget::Name(_) | RecoveryTarget::Latest => false,
    }
}

/// Returns whether it stops after replaying the record.
fn stops_with(target: &RecoveryTarget, exclusive: bool, record: &WalRecord<'_>) -> bool {
    match target {
        RecoveryTarget::Lsn(lsn) => !exclusive && record.begins >= *lsn,
        RecoveryTarget::Transaction(number) => !exclusive && ends(*number, record),
        RecoveryTarget::Name(name) => record.restore_point().as_ref() == Some(name),
        RecoveryTarget::Time(_) | RecoveryTarget::Latest => false,
    }
}

fn ends(transaction: u64, record: &WalRecord<'_>) -> bool {
    u64::from(record.transaction()) == transaction & 0xFFFF_FFFF && record.transaction_end().is_some()
}

fn every_segment(reach: &ReplayRange) -> Vec<WalFileSource> {
    let (mut names, remaining_in) = files(reach);
    names.extend(remaining_in);
    let mut found = Vec::new();
    for some in names.chunk_by(|one, other| is_of(*one).is_some() && is_of(*one) == is_of(*other)) {
        let Some(segment) = some.first().and_then(|name| is_of(*name)) else { continue };
        found.push(WalFileSource { segment, names: some.to_vec(), tags: None });
    }
    found
}

/// Returns all files on the path, with the metadata stored with them.
async fn every_file(
    log: &WalArchives,
    reach: &ReplayRange,
) -> Result<Vec<WalFileSource>, PhysicalRestoreError> {
    let mut found = every_segment(reach);
    let whole: Vec<usize> =
        (0..found.len()).filter(|n| matches!(found[*n].names[..], [WalName::Segment(_)])).collect();
    for some in whole.chunks(ASKED_AT_ONCE) {
        let names: Vec<WalName> = some.iter().map(|n| found[*n].names[0]).collect();
        for (n, mut tags) in some.iter().zip(log.tags_of(&names).await?) {
            // Its newest commit may be past the fork of the timeline.
            if reach.remaining_in() == Some(found[*n].segment)
                && let Some(tags) = &mut tags
            {
                tags.newest_commit = None;
            }
            found[*n].tags = tags;
        }
    }
    Ok(found)
}

/// The files to read.
struct SelectedSegments<'f> {
    files: Vec<&'f WalFileSource>,
    unread: usize,
}

/// Selects the files that contain what is searched, or may contain it, with their neighbours: a record may
/// cross a boundary.
fn chosen<'f>(
    all: &[&'f WalFileSource],
    wanted: impl Fn(Notable) -> bool,
    size: SegmentSize,
) -> SelectedSegments<'f> {
    let unsaid = all.iter().filter(|file| file.notable().is_none()).count();
    let reads_unsaid = unsaid <= READ_AT_MOST;
    let is_wanted = |file: &WalFileSource| file.notable().map_or(reads_unsaid, &wanted);
    let near = |one: &WalFileSource, other: &WalFileSource| {
        let numbers = one.segment.number(size).zip(other.segment.number(size));
        numbers.is_some_and(|(one, other)| one.abs_diff(other) <= 1)
    };
    let mut files = Vec::new();
    for (n, file) in all.iter().enumerate() {
        let beside = &all[n.saturating_sub(1)..(n + 2).min(all.len())];
        if beside.iter().any(|other| is_wanted(other) && near(file, other)) {
            files.push(*file);
        }
    }
    SelectedSegments { files, unread: if reads_unsaid { 0 } else { unsaid } }
}

fn tell(run: &RunContext, files: &[&WalFileSource]) {
    if files.len() > MANY {
        run.events.notice(format!(
            "reading {} segments for what recovery will create and demand, which takes a while",
            files.len()
        ));
    }
}

/// Reads the range in order, and passes on each complete record until `each` returns true.
pub(super) async fn each_record_of(
    run: &RunContext,
    log: &WalArchives,
    reach: &ReplayRange,
    each: impl FnMut(&WalRecord<'_>) -> bool,
) -> Result<(), PhysicalRestoreError> {
    let all = every_segment(reach);
    let all: Vec<&WalFileSource> = all.iter().collect();
    each_record(run, log, reach, &all, each).await
}

/// The record at which a server with an LSN target stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StopRecord {
    /// For a record that ends a transaction: when.
    pub(super) ended: Option<DateTime<Utc>>,
}

/// Returns the first record that begins at a position or after it, as a server needs one to stop there. The last
/// segment may hold none: it was ended early.
pub(super) async fn record_at(
    run: &RunContext,
    log: &WalArchives,
    reach: &ReplayRange,
    lsn: Lsn,
) -> Result<Option<StopRecord>, PhysicalRestoreError> {
    if !reach.covers(lsn) {
        return Ok(None);
    }
    let size = log.together.segment_size();
    let first = size.number_of(lsn);
    let all = every_segment(reach);
    let all: Vec<&WalFileSource> =
        all.iter().filter(|file| file.segment.number(size).is_some_and(|number| number >= first)).collect();
    let mut found = None;
    each_record(run, log, reach, &all, |record| {
        if record.begins >= lsn {
            found = Some(StopRecord { ended: record.transaction_end().map(|(ended, _)| ended) });
        }
        found.is_some()
    })
    .await?;
    Ok(found)
}

/// Returns where the record that ends a transaction begins, among those from `from` on.
pub(super) async fn end_of_transaction(
    run: &RunContext,
    log: &WalArchives,
    reach: &ReplayRange,
    from: Lsn,
    number: u64,
) -> Result<Option<Lsn>, PhysicalRestoreError> {
    let mut found = None;
    each_record_of(run, log, reach, |record| {
        found = (record.begins >= from && ends(number, record)).then_some(record.begins);
        found.is_some()
    })
    .await?;
    Ok(found)
}

async fn each_record(
    run: &RunContext,
    log: &WalArchives,
    reach: &ReplayRange,
    files: &[&WalFileSource],
    mut each: impl FnMut(&WalRecord<'_>) -> bool,
) -> Result<(), PhysicalRestoreError> {
    let size = log.together.segment_size();
    let at_once = usize::try_from(IN_MEMORY / size.bytes()).unwrap_or(1).max(1);
    let reading = files.iter().map(async |file| {
        run.check_interruption()?;
        Ok::<_, PhysicalRestoreError>((
            file.segment,
            content(run, log, reach, file.segment, &file.names).await?,
        ))
    });
    let mut reading = std::pin::pin!(stream::iter(reading).buffered(at_once));
    let mut scan: Option<(CommitScan, Option<Lsn>)> = None;
    while let Some(read) = reading.next().await {
        let (segment, (bytes, header)) = read?;
        let begin = segment.begin(size);
        let goes_on = |(scan, next): &(CommitScan, Option<Lsn>)| !scan.has_ended() && *next == begin;
        let (mut scanning, _) = scan.take().filter(goes_on).unwrap_or((CommitScan::new(&header), begin));
        let mut enough = false;
        scanning.records(&bytes, |record| enough = enough || each(record));
        if enough {
            return Ok(());
        }
        scan = Some((scanning, begin.map(|begin| Lsn(begin.0 + size.bytes()))));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Digest, Timeline};

    fn file(n: u64, minute: Option<u32>, notable: Option<Notable>) -> WalFileSource {
        let segment = Segment::new(Timeline::FIRST, n, SegmentSize::DEFAULT);
        let tags = SegmentTags {
            plain: Digest::compute(b""),
            stored: None,
            completed: "2026-11-20T13:00:00Z".parse().unwrap(),
            witnessed: true,
            known_until: None,
            newest_commit: minute.map(at),
            notable,
            damaged: None,
            minimal: None,
            checkpoints: None,
            parent: None,
        };
        WalFileSource { segment, names: vec![WalName::Segment(segment)], tags: Some(tags) }
    }

    fn at(minute: u32) -> DateTime<Utc> {
        format!("2026-11-20T12:{minute:02}:00Z").parse().unwrap()
    }

    #[test]
    fn only_what_may_have_it_is_read_and_what_lies_beside_it() {
        let (none, made) = (Notable::default(), Notable { tablespace: true, ..Notable::default() });
        let files: Vec<WalFileSource> =
            [Some(none), Some(none), Some(made), Some(none), Some(none), None, Some(none)]
                .into_iter()
                .enumerate()
                .map(|(n, notable)| file(n as u64, None, notable))
                .collect();
        let files: Vec<&WalFileSource> = files.iter().collect();
        let size = SegmentSize::DEFAULT;
        let chosen = chosen(&files, |notable| notable.tablespace, size);
        let numbers: Vec<_> = chosen.files.iter().filter_map(|file| file.segment.number(size)).collect();
        assert_eq!((numbers, chosen.unread), (vec![1, 2, 3, 4, 5, 6], 0));
    }

    #[test]
    fn a_long_log_of_which_nothing_is_said_is_left_to_the_recovery() {
        let files: Vec<WalFileSource> = (0..=READ_AT_MOST as u64).map(|n| file(n, None, None)).collect();
        let files: Vec<&WalFileSource> = files.iter().collect();
        let chosen = chosen(&files, |notable| notable.tablespace, SegmentSize::DEFAULT);
        assert_eq!((chosen.files.len(), chosen.unread), (0, READ_AT_MOST + 1));
    }

    #[test]
    fn a_clock_that_was_set_back_is_seen() {
        let files = |minutes: &[Option<u32>]| -> Vec<WalFileSource> {
            minutes.iter().enumerate().map(|(n, minute)| file(n as u64, *minute, None)).collect()
        };
        let back = files(&[Some(10), None, Some(50), Some(20), Some(55)]);
        let found = set_back(&back).unwrap();
        assert_eq!((found.segment, found.from, found.to), (back[3].segment, at(50), at(20)));
        assert_eq!(set_back(&files(&[Some(10), Some(10), None, Some(11)])), None);
        assert_eq!(first_after(&back, at(30)), Some(back[2].segment));
    }
}
