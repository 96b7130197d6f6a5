//! Reads the archived log again that base backups are brought on with, in every repository.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures_util::StreamExt as _;

use super::Run;
use crate::catalog::BackupEntry;
use crate::event::{Event, Phase, told};
use crate::model::{BackupId, Manifest, Physical, RepositoryName, SourceName, WalName};
use crate::pipeline::Identities;
use crate::repository::{Lost, Repository};
use crate::wal::{Archive, Checked, Follow, Holdings, ListError, Position, Stop};
use crate::wal::{check, first_segment, holdings, moment};

/// Files on their way at a time: each may be a whole segment in memory.
const AT_ONCE: usize = 4;
const TOLD_EVERY: Duration = Duration::from_millis(250);

/// The log in one repository from a base backup on, to be read.
#[derive(Clone, Debug, PartialEq)]
pub struct LogItem {
    pub repository: RepositoryName,
    pub base: BackupId,
    archive: Archive,
    physical: Physical,
}

/// Of each repository and cluster the log from the oldest of these base backups on that the repository holds.
/// `only`: in this repository.
pub fn plan(entries: &[BackupEntry], only: Option<&RepositoryName>) -> Vec<LogItem> {
    let mut bases: Vec<&BackupEntry> =
        entries.iter().filter(|entry| entry.manifest.physical.is_some()).collect();
    bases.sort_by_key(|entry| entry.manifest.physical.as_ref().map(|physical| physical.start));
    let mut items: Vec<LogItem> = Vec::new();
    for entry in bases {
        let Some((archive, physical)) = archive_of(&entry.manifest) else { continue };
        for copy in entry.copies.iter().filter(|copy| copy.is_held()) {
            let is_planned =
                items.iter().any(|item| item.repository == copy.repository && item.archive == archive);
            if !is_planned && only.is_none_or(|only| *only == copy.repository) {
                items.push(LogItem {
                    repository: copy.repository.clone(),
                    base: entry.id().clone(),
                    archive: archive.clone(),
                    physical: physical.clone(),
                });
            }
        }
    }
    items
}

fn archive_of(manifest: &Manifest) -> Option<(Archive, &Physical)> {
    let cluster = manifest.server.as_ref()?.system_identifier.as_ref()?.parse().ok()?;
    let (system, source) = (manifest.system.clone(), manifest.source.clone());
    Some((Archive { system, source, cluster }, manifest.physical.as_ref()?))
}

/// What was found about the log in one repository.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogFinding {
    /// Files that agree with what was archived.
    pub good: u64,
    /// Of these, such whose plain bytes were compared.
    pub decrypted: u64,
    /// Files that could be read, and nothing is known of what they should be: only an identity could tell.
    pub unproven: u64,
    /// Everything committed before is in what was read, by the clock of the host that archived it.
    pub until: Option<DateTime<Utc>>,
    /// What keeps the log from being used.
    pub faults: Vec<String>,
    /// What could not be read for reasons that are not its own.
    pub unread: Vec<String>,
}

impl LogFinding {
    pub fn is_good(&self) -> bool {
        self.faults.is_empty() && self.unread.is_empty() && self.unproven == 0
    }

    pub fn is_bad(&self) -> bool {
        !self.faults.is_empty()
    }

    fn unread(reason: String) -> Self {
        Self { unread: vec![reason], ..Self::default() }
    }
}

impl LogItem {
    pub fn source(&self) -> &SourceName {
        &self.archive.source
    }
}

/// Reads everything from the base backup on to where a server would come.
///
/// A gap, and what the base backup needs and is not there, are faults; that the log ends is none.
pub async fn read(run: &Run, item: &LogItem, identities: &Identities) -> LogFinding {
    let Some(repository) = run.repositories.find(&item.repository) else {
        let lost = run.repositories.lost().iter().find(|lost| lost.name == item.repository);
        return LogFinding::unread(lost.map_or_else(|| "it is not in use".to_owned(), Lost::reason));
    };
    run.events.emit(&Event::PhaseBegan { phase: Phase::Verify });
    let first = first_segment(&item.physical);
    let held = match holdings(&*repository.store, &item.archive, Some(first), identities).await {
        Ok(held) => held,
        Err(error) if error.is_of_no_log() => {
            return LogFinding { faults: vec![told(&error)], ..LogFinding::default() };
        }
        Err(error) => return LogFinding::unread(told(&error)),
    };
    let mut finding = LogFinding::default();
    finding.faults.extend(held.lacks(&item.physical).map(|lacking| format!("{}: {lacking}", item.base)));
    match stretch(run, repository, item, &held, &mut finding).await {
        Ok(names) => read_all(run, repository, item, &names, identities, &mut finding).await,
        Err(error) => finding.unread.push(told(&error)),
    }
    finding
}

/// The files that a server would ask for.
async fn stretch(
    run: &Run,
    repository: &Repository,
    item: &LogItem,
    held: &Holdings,
    finding: &mut LogFinding,
) -> Result<Vec<WalName>, ListError> {
    let begin = Position { timeline: item.physical.timeline, lsn: item.physical.start };
    let reach = held.reach(begin, Follow::Latest);
    match reach.stop {
        Stop::End => {}
        Stop::Gap(gap) => {
            let more = if gap.count == 1 { String::new() } else { format!(" and {} more", gap.count - 1) };
            finding.faults.push(format!("segment {}{more} is missing, and later ones are there", gap.first));
        }
        Stop::NoHistory(timeline) => {
            finding.faults.push(format!("{}.history is missing or cannot be read", timeline.in_names()));
        }
        // A base backup of a timeline that was left; its log is read as far as it goes.
        Stop::NotAChild(_) => {}
    }
    let reach = match reach.stop {
        Stop::NotAChild(_) => held.reach(begin, Follow::Timeline(begin.timeline)),
        _ => reach,
    };
    let moment = moment(&*repository.store, &item.archive, &reach).await.map_err(ListError::Store)?;
    finding.until = moment.complete;
    let mut names: Vec<_> = reach.backwards().map(WalName::Segment).collect();
    names.reverse();
    let histories = held.histories().filter(|timeline| *timeline <= reach.end.timeline);
    names.extend(histories.map(WalName::History));
    if let Some((segment, pieces)) = &reach.pieces {
        let piece = |&(begin, end)| WalName::Piece { segment: *segment, begin, end };
        names.extend(pieces.iter().map(piece));
    }
    if run.cancel.is_cancelled() {
        finding.unread.push("the run was interrupted".to_owned());
        names.clear();
    }
    Ok(names)
}

async fn read_all(
    run: &Run,
    repository: &Repository,
    item: &LogItem,
    names: &[WalName],
    identities: &Identities,
    finding: &mut LogFinding,
) {
    let subject = format!("{} log of {}", item.repository, item.source());
    let checks =
        names.iter().map(|name| async { (*name, check(repository, &item.archive, *name, identities).await) });
    let mut checks = futures_util::stream::iter(checks).buffered(AT_ONCE);
    let segment = item.physical.segment_size.bytes();
    let (mut done, mut told_at) = (0, None::<Instant>);
    while let Some((name, checked)) = checks.next().await {
        if run.cancel.is_cancelled() {
            finding.unread.push("the run was interrupted".to_owned());
            return;
        }
        match checked {
            Ok(Checked::Plain) => {
                (finding.good, finding.decrypted) = (finding.good + 1, finding.decrypted + 1)
            }
            Ok(Checked::Stored) => finding.good += 1,
            Ok(Checked::Nothing) => finding.unproven += 1,
            Err(error) if error.is_damage() || error.is_absence() => finding.faults.push(told(&error)),
            Err(error) => finding.unread.push(format!("{name}: {}", told(&error))),
        }
        done += segment;
        if told_at.is_none_or(|at| at.elapsed() >= TOLD_EVERY) {
            told_at = Some(Instant::now());
            let total = Some(names.len() as u64 * segment);
            run.events.emit(&Event::Progress {
                subject: subject.clone(),
                bytes: done,
                total,
                estimated: true,
            });
        }
    }
}
