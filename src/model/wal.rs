use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a text is not what it was taken for.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum WalError {
    #[error("`{0}` is not an LSN (like `16/B374D848`)")]
    Lsn(String),
    #[error("`{0}` is not a timeline (a number from 1)")]
    Timeline(String),
    #[error("`{0}` is not the name of a WAL file (like `000000010000001600000B37`)")]
    Name(String),
    #[error("{0} is not a WAL segment size (a power of two from 1 MiB to 1 GiB)")]
    SegmentSize(u64),
    #[error("`{0}` is not a system identifier (a number, as `pg_controldata` shows it)")]
    SystemIdentifier(String),
    #[error("line {line} of the history of timeline {timeline} is not `parent, position, reason`")]
    History { timeline: Timeline, line: usize },
}

/// The number that tells one cluster from another, made by its initdb. A copy of a cluster has its
/// original's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct SystemIdentifier(pub u64);

impl fmt::Display for SystemIdentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for SystemIdentifier {
    type Err = WalError;

    fn from_str(text: &str) -> Result<Self, WalError> {
        // As it is printed only: it is a folder's name.
        let parsed = text.parse().ok().map(Self).filter(|identifier| identifier.to_string() == text);
        parsed.ok_or_else(|| WalError::SystemIdentifier(text.to_owned()))
    }
}

impl TryFrom<String> for SystemIdentifier {
    type Error = WalError;

    fn try_from(text: String) -> Result<Self, WalError> {
        text.parse()
    }
}

impl From<SystemIdentifier> for String {
    fn from(value: SystemIdentifier) -> String {
        value.to_string()
    }
}

/// A position in the write-ahead log: bytes since the cluster was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Lsn(pub u64);

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF))
    }
}

impl FromStr for Lsn {
    type Err = WalError;

    fn from_str(text: &str) -> Result<Self, WalError> {
        let half = |text: &str| {
            let digits = (1..=8).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
            digits.then(|| u32::from_str_radix(text, 16).ok()).flatten()
        };
        let (high, low) = text.split_once('/').ok_or_else(|| WalError::Lsn(text.to_owned()))?;
        match (half(high), half(low)) {
            (Some(high), Some(low)) => Ok(Self(u64::from(high) << 32 | u64::from(low))),
            _ => Err(WalError::Lsn(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Lsn {
    type Error = WalError;

    fn try_from(text: String) -> Result<Self, WalError> {
        text.parse()
    }
}

impl From<Lsn> for String {
    fn from(value: Lsn) -> String {
        value.to_string()
    }
}

/// One line of a cluster's life. A promotion begins a new one; numbers only grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "u32", try_from = "u32")]
pub struct Timeline(u32);

impl Timeline {
    pub const FIRST: Self = Self(1);

    pub fn new(number: u32) -> Option<Self> {
        (number > 0).then_some(Self(number))
    }

    pub fn number(self) -> u32 {
        self.0
    }

    /// Eight hexadecimal digits, as names of files have it.
    pub fn in_names(self) -> String {
        format!("{:08X}", self.0)
    }

    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// For people; names have [`Timeline::in_names`].
impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Timeline {
    type Err = WalError;

    fn from_str(text: &str) -> Result<Self, WalError> {
        text.parse().ok().and_then(Self::new).ok_or_else(|| WalError::Timeline(text.to_owned()))
    }
}

impl TryFrom<u32> for Timeline {
    type Error = WalError;

    fn try_from(number: u32) -> Result<Self, WalError> {
        Self::new(number).ok_or_else(|| WalError::Timeline(number.to_string()))
    }
}

impl From<Timeline> for u32 {
    fn from(value: Timeline) -> u32 {
        value.0
    }
}

/// A cluster's `wal_segment_size`, bytes. The names of segments mean something only with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u64", try_from = "u64")]
pub struct SegmentSize(u32);

impl SegmentSize {
    pub const DEFAULT: Self = Self(16 << 20);

    pub fn new(bytes: u64) -> Result<Self, WalError> {
        let refused = || WalError::SegmentSize(bytes);
        let size = u32::try_from(bytes).map_err(|_| refused())?;
        let known = size.is_power_of_two() && (1 << 20..=1 << 30).contains(&size);
        if known { Ok(Self(size)) } else { Err(refused()) }
    }

    pub fn bytes(self) -> u64 {
        u64::from(self.0)
    }

    /// Segments with the same middle part of their names.
    fn per_log(self) -> u64 {
        (1 << 32) / self.bytes()
    }

    /// The number of the segment that holds the byte at `lsn`.
    pub fn number_of(self, lsn: Lsn) -> u64 {
        lsn.0 / self.bytes()
    }

    /// Where the segment of this number begins.
    pub fn begin_of(self, number: u64) -> Lsn {
        Lsn(number.saturating_mul(self.bytes()))
    }
}

impl TryFrom<u64> for SegmentSize {
    type Error = WalError;

    fn try_from(bytes: u64) -> Result<Self, WalError> {
        Self::new(bytes)
    }
}

impl From<SegmentSize> for u64 {
    fn from(value: SegmentSize) -> u64 {
        value.bytes()
    }
}

/// The name of a segment, as far as it means something without the size of segments. Names of a timeline
/// sort as their segments do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Segment {
    pub timeline: Timeline,
    log: u32,
    in_log: u32,
}

impl Segment {
    /// The segment of this number, counted from the cluster's first.
    pub fn new(timeline: Timeline, number: u64, size: SegmentSize) -> Self {
        let part = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        Self { timeline, log: part(number / size.per_log()), in_log: part(number % size.per_log()) }
    }

    /// The segment that holds the byte at `lsn`.
    pub fn holding(timeline: Timeline, lsn: Lsn, size: SegmentSize) -> Self {
        Self::new(timeline, size.number_of(lsn), size)
    }

    /// `None`: with segments of that size there is no such name.
    pub fn number(self, size: SegmentSize) -> Option<u64> {
        let in_log = u64::from(self.in_log);
        (in_log < size.per_log()).then(|| u64::from(self.log) * size.per_log() + in_log)
    }

    pub fn begin(self, size: SegmentSize) -> Option<Lsn> {
        self.number(size).map(|number| size.begin_of(number))
    }

    /// The one `count` after it on the same timeline.
    pub fn after(self, count: u64, size: SegmentSize) -> Option<Self> {
        self.number(size).map(|number| Self::new(self.timeline, number + count, size))
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}{:08X}{:08X}", self.timeline.in_names(), self.log, self.in_log))
    }
}

impl FromStr for Segment {
    type Err = WalError;

    fn from_str(text: &str) -> Result<Self, WalError> {
        let parse = || {
            let (timeline, rest) = text.split_at_checked(8)?;
            let (log, in_log) = rest.split_at_checked(8)?;
            let timeline = Timeline::new(eight(timeline)?)?;
            Some(Self { timeline, log: eight(log)?, in_log: eight(in_log)? })
        };
        parse().ok_or_else(|| WalError::Name(text.to_owned()))
    }
}

/// A number of just eight digits, upper case.
fn eight(text: &str) -> Option<u32> {
    let digits = text.len() == 8 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F'));
    digits.then(|| u32::from_str_radix(text, 16).ok()).flatten()
}

/// A file of write-ahead log, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WalName {
    /// `000000010000000000000001`
    Segment(Segment),
    /// `000000010000000000000001.partial`: the last of a timeline that was left, archived by the server
    /// that left it.
    Partial(Segment),
    /// `000000010000000000000001.00000000-0000C000.partial`: bytes of a segment that is still being
    /// written, as `drctl wal stream` ships them.
    Piece { segment: Segment, begin: u32, end: u32 },
    /// `00000002.history`: where the timeline came from.
    History(Timeline),
    /// `000000010000000000000001.00000028.backup`: what a base backup left in the log.
    BackupLabel { segment: Segment, offset: u32 },
}

impl WalName {
    pub fn timeline(self) -> Timeline {
        match self {
            Self::History(timeline) => timeline,
            Self::Segment(segment)
            | Self::Partial(segment)
            | Self::Piece { segment, .. }
            | Self::BackupLabel { segment, .. } => segment.timeline,
        }
    }

    /// The segment if it is a whole one.
    pub fn as_segment(self) -> Option<Segment> {
        if let Self::Segment(segment) = self { Some(segment) } else { None }
    }
}

impl fmt::Display for WalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&match self {
            Self::Segment(segment) => segment.to_string(),
            Self::Partial(segment) => format!("{segment}.partial"),
            Self::Piece { segment, begin, end } => format!("{segment}.{begin:08X}-{end:08X}.partial"),
            Self::History(timeline) => format!("{}.history", timeline.in_names()),
            Self::BackupLabel { segment, offset } => format!("{segment}.{offset:08X}.backup"),
        })
    }
}

impl FromStr for WalName {
    type Err = WalError;

    fn from_str(text: &str) -> Result<Self, WalError> {
        let parse = || {
            if let Some(timeline) = text.strip_suffix(".history") {
                return Some(Self::History(Timeline::new(eight(timeline)?)?));
            }
            let (segment, rest) = text.split_at_checked(24)?;
            let segment = segment.parse().ok()?;
            if rest.is_empty() {
                return Some(Self::Segment(segment));
            }
            if rest == ".partial" {
                return Some(Self::Partial(segment));
            }
            let rest = rest.strip_prefix('.')?;
            if let Some(offset) = rest.strip_suffix(".backup") {
                return Some(Self::BackupLabel { segment, offset: eight(offset)? });
            }
            let (begin, end) = rest.strip_suffix(".partial")?.split_once('-')?;
            let (begin, end) = (eight(begin)?, eight(end)?);
            (begin < end).then_some(Self::Piece { segment, begin, end })
        };
        parse().ok_or_else(|| WalError::Name(text.to_owned()))
    }
}

/// Where a timeline came from: its ancestors, the oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    pub timeline: Timeline,
    pub ancestors: Vec<Ancestor>,
}

/// A timeline that was left, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ancestor {
    pub timeline: Timeline,
    /// The first position that is not of it any more.
    pub until: Lsn,
}

impl History {
    /// Reads the text of a history file.
    pub fn parse(timeline: Timeline, text: &str) -> Result<Self, WalError> {
        let mut ancestors: Vec<Ancestor> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let parse = || {
                let mut words = line.split_whitespace();
                let ancestor =
                    Ancestor { timeline: words.next()?.parse().ok()?, until: words.next()?.parse().ok()? };
                let older = ancestors.last().is_none_or(|last| last.timeline < ancestor.timeline);
                (older && ancestor.timeline < timeline).then_some(ancestor)
            };
            ancestors.push(parse().ok_or(WalError::History { timeline, line: index + 1 })?);
        }
        Ok(Self { timeline, ancestors })
    }

    /// The timeline it was begun from.
    pub fn parent(&self) -> Option<Ancestor> {
        self.ancestors.last().copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sizes() -> impl Strategy<Value = SegmentSize> {
        (20_u32..=30).prop_map(|power| SegmentSize::new(1 << power).unwrap())
    }

    #[test]
    fn names_are_postgresqls_own() {
        let size = SegmentSize::DEFAULT;
        let segment: Segment = "0000000100000016000000B3".parse().unwrap();
        assert_eq!(segment.begin(size), Some("16/B3000000".parse().unwrap()));
        assert_eq!(Segment::holding(Timeline::FIRST, "16/B374D848".parse().unwrap(), size), segment);
        let last: Segment = "0000000100000000000000FF".parse().unwrap();
        assert_eq!(last.after(1, size).unwrap().to_string(), "000000010000000100000000");
        let large = SegmentSize::new(1 << 30).unwrap();
        let last: Segment = "000000010000000000000003".parse().unwrap();
        assert_eq!(last.after(1, large).unwrap().to_string(), "000000010000000100000000");
        assert_eq!("000000010000000000000004".parse::<Segment>().unwrap().number(large), None);
    }

    #[test]
    fn every_kind_of_file_has_its_name_and_nothing_else_has_one() {
        for text in [
            "000000010000000000000001",
            "000000010000000000000001.partial",
            "000000010000000000000001.00000028.backup",
            "000000010000000000000001.00000000-0000C000.partial",
            "0000000A.history",
        ] {
            assert_eq!(text.parse::<WalName>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "00000001000000000000000",
            "0000000100000000000000010",
            "00000001000000000000000a",
            "000000000000000000000001",
            "000000010000000000000001.",
            "000000010000000000000001.partial.partial",
            "000000010000000000000001.28.backup",
            "000000010000000000000001.0000C000-0000C000.partial",
            "00000000.history",
            "1.history",
            ".history",
            "../000000010000000000000001",
            "00000001000000000000000é",
            "RECOVERYXLOG",
        ] {
            assert_eq!(text.parse::<WalName>(), Err(WalError::Name(text.to_owned())));
        }
    }

    #[test]
    fn a_history_names_its_ancestors_in_order() {
        let text = "1\t0/3000060\tno recovery target specified\n\n2\t0/50000A0\tbefore 2026-11-20\n";
        let third = Timeline::new(3).unwrap();
        let history = History::parse(third, text).unwrap();
        let ancestors: Vec<_> =
            history.ancestors.iter().map(|a| (a.timeline.number(), a.until.to_string())).collect();
        assert_eq!(ancestors, [(1, "0/3000060".to_owned()), (2, "0/50000A0".to_owned())]);
        assert_eq!(history.parent().unwrap().timeline.number(), 2);
        for bad in ["x\t0/1\ty", "1", "2\t0/1\tx\n1\t0/2\tx", "3\t0/1\tits own"] {
            assert!(History::parse(third, bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_position_and_its_segment_belong_together(lsn in any::<u64>(), size in sizes(), timeline in 1_u32..) {
            let timeline = Timeline::new(timeline).unwrap();
            let segment = Segment::holding(timeline, Lsn(lsn), size);
            let begin = segment.begin(size).unwrap();
            prop_assert!(begin.0 <= lsn && lsn - begin.0 < size.bytes());
            prop_assert_eq!(segment.to_string().parse::<Segment>().unwrap(), segment);
            prop_assert_eq!(Lsn(lsn).to_string().parse::<Lsn>().unwrap(), Lsn(lsn));
        }

        #[test]
        fn the_next_segment_begins_where_this_one_ends_and_sorts_after_it(
            number in 0_u64..1 << 34, count in 1_u64..1000, size in sizes()
        ) {
            let segment = Segment::new(Timeline::FIRST, number % (u64::MAX / size.bytes() / 2), size);
            let later = segment.after(count, size).unwrap();
            prop_assert_eq!(later.begin(size).unwrap().0 - segment.begin(size).unwrap().0, count * size.bytes());
            prop_assert!(later.to_string() > segment.to_string() && later > segment);
        }

        #[test]
        fn no_text_makes_it_panic_and_what_parses_prints_back(text in "[0-9A-Fa-f./é-]{0,60}(\\.(history|backup|partial))?") {
            if let Ok(name) = text.parse::<WalName>() {
                prop_assert_eq!(name.to_string(), text.clone());
            }
            let _any = (text.parse::<Lsn>(), text.parse::<Segment>(), History::parse(Timeline::FIRST, &text));
        }
    }
}
