//! Whether the received WAL is part of the server's history.

use std::time::Duration;

use super::WalStream;
use crate::model::{History, Lsn, Segment, Timeline};
use crate::platform::CancellationToken;
use crate::postgres::Tools;
use crate::text::error_chain;
use crate::wal::ArchiverFacts;

const HISTORY_WITHIN: Duration = Duration::from_secs(30);

/// The relation of the next segment to receive to the server's timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BranchState {
    /// The server's history passes through it.
    OnTheWay,
    /// The server's timeline forked from the received one before it; `None`: it is not a descendant.
    Abandoned { left: Option<Lsn> },
    /// The server is on the same timeline, at an earlier position than what was received.
    SetBack,
    /// The server is on an ancestor of the received timeline.
    Older,
}

/// Determines the relation. Pure. `next`: what a receiver requests first; `history`: of the server's
/// timeline, where that is another one and was available.
pub(super) fn standing(next: Segment, server: &ArchiverFacts, history: Option<&History>) -> BranchState {
    let Some(begin) = next.begin(server.segment_size) else { return BranchState::OnTheWay };
    // A standby may be behind its primary, and will get there.
    if server.is_standby {
        return BranchState::OnTheWay;
    }
    if next.timeline == server.timeline {
        return if begin > server.lsn { BranchState::SetBack } else { BranchState::OnTheWay };
    }
    if next.timeline > server.timeline {
        return BranchState::Older;
    }
    let Some(history) = history else { return BranchState::OnTheWay };
    match history.ancestors.iter().find(|ancestor| ancestor.timeline == next.timeline) {
        None => BranchState::Abandoned { left: None },
        Some(ancestor) if begin > ancestor.until => BranchState::Abandoned { left: Some(ancestor.until) },
        Some(_) => BranchState::OnTheWay,
    }
}

impl WalStream {
    /// Queries the history of the server's timeline, over the same kind of connection as its receiver.
    pub(super) async fn history(&self, tools: &Tools, timeline: Timeline) -> Result<History, String> {
        let psql = tools.program("psql").map_err(|error| error_chain(&error))?;
        let psql = psql.args(["--no-psqlrc", "--no-password", "--quiet", "--tuples-only", "--no-align"]);
        let psql = psql.arg(format!("--command=TIMELINE_HISTORY {timeline}"));
        let psql = self.parameters.apply(psql.arg("--dbname=replication=true")).await;
        let psql = psql.map_err(|error| error_chain(&error))?;
        let finished = psql.run(HISTORY_WITHIN, &CancellationToken::new()).await;
        let text = finished.map_err(|error| error_chain(&error))?.stdout;
        // The file's name precedes its contents.
        let (_, text) =
            text.split_once('|').ok_or_else(|| format!("`{}` is not a timeline history", text.trim()))?;
        History::parse(timeline, text).map_err(|error| error_chain(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{SegmentSize, SystemIdentifier};

    const SIZE: SegmentSize = SegmentSize::DEFAULT;

    fn server(timeline: u32, lsn: Lsn) -> ArchiverFacts {
        ArchiverFacts {
            asked: "2026-11-20T12:00:00Z".parse().unwrap(),
            system_identifier: SystemIdentifier(7),
            timeline: Timeline::new(timeline).unwrap(),
            lsn,
            segment_size: SIZE,
            is_standby: false,
            archive_mode: "off".to_owned(),
            archive_command: None,
            host: crate::wal::ServerHost::ELSEWHERE,
            archive_timeout: Duration::ZERO,
            last_archived: None,
            last_archived_file: None,
            failed_count: 0,
            last_failed: None,
            last_failed_file: None,
            slots: vec![],
            backlog: crate::wal::Waiting::default(),
        }
    }

    fn next(timeline: u32, number: u64) -> Segment {
        Segment::new(Timeline::new(timeline).unwrap(), number, SIZE)
    }

    #[test]
    fn what_was_received_past_the_place_a_timeline_was_left_at_is_abandoned() {
        let at = |number: u64, offset: u64| Lsn(SIZE.begin_of(number).0 + offset);
        let history = |text: &str| History::parse(Timeline::new(3).unwrap(), text).unwrap();
        let third = server(3, at(9, 0));
        let from_second = history("1\t0/5000060\tno recovery target specified\n\n2\t0/7000000\tbefore\n");
        let stands = |segment| standing(segment, &third, Some(&from_second));
        // Where a promoted standby goes on, in the very segment, and at its border.
        assert_eq!(stands(next(1, 5)), BranchState::OnTheWay);
        assert_eq!(stands(next(2, 7)), BranchState::OnTheWay);
        assert_eq!(stands(next(1, 6)), BranchState::Abandoned { left: Some(at(5, 0x60)) });
        assert_eq!(stands(next(2, 8)), BranchState::Abandoned { left: Some(at(7, 0)) });
        // A sibling of the server's own parent.
        let from_first = history("1\t0/5000060\n");
        assert_eq!(standing(next(2, 5), &third, Some(&from_first)), BranchState::Abandoned { left: None });
        // Without a history nothing is said, and the server has the last word.
        assert_eq!(standing(next(1, 6), &third, None), BranchState::OnTheWay);
        assert_eq!(standing(next(4, 6), &third, None), BranchState::Older);
    }

    #[test]
    fn a_server_that_was_set_back_on_its_timeline_is_told_from_a_standby_that_is_behind() {
        let begin = SIZE.begin_of(6);
        assert_eq!(standing(next(1, 6), &server(1, begin), None), BranchState::OnTheWay);
        let behind = server(1, Lsn(begin.0 - 8));
        assert_eq!(standing(next(1, 6), &behind, None), BranchState::SetBack);
        let standby = ArchiverFacts { is_standby: true, ..behind };
        assert_eq!(standing(next(1, 6), &standby, None), BranchState::OnTheWay);
    }
}
