use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::host::DirectoryState;
use super::preflight::{parts, sizes};
use super::preload::{self, PreloadLibrary};
use super::select::{BaseBackup, abandoned_timelines};
use super::survey::PhysicalSurvey;
use super::tablespaces::{TablespacePlan, tablespace_directories};
use super::target::{shown, whole_transaction};
use super::window::{restorable, why};
use super::{PhysicalRestoreRequest, RecoveryTarget, RestoreCommand, Start, preflight};
use crate::event::Phase;
use crate::model::{
    Artifact, BackupId, ClusterFacts, Lsn, Manifest, Physical, RepositoryName, SourceName, SubscriptionFacts,
    SystemIdentifier, Timeline,
};
use crate::policy::PostgresSource;
use crate::postgres::{Tools, identifier};
use crate::restore::{PlanSummary, Refusal, RestorePlan};
use crate::wal::{DamagedWal, ReplayEnd, ReplayPosition, WalFault};

/// Where PostgreSQL is configured to stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "at", content = "value")]
pub enum ResolvedTarget {
    /// The end of the archive, which may have grown by then.
    End,
    /// The end of the archive as of now: no later WAL is supplied.
    Until(Lsn),
    Time(DateTime<Utc>),
    Lsn(Lsn),
    /// Without the epoch, as the setting takes it.
    Transaction(u32),
    Name(String),
}

impl ResolvedTarget {
    /// Returns whether PostgreSQL logs that it stopped at this target.
    pub(super) fn is_named(&self) -> bool {
        !matches!(self, Self::End | Self::Until(_))
    }
}

/// What will be done, in every detail that an operator may want to know first.
#[derive(Clone, Debug, Serialize)]
pub struct PhysicalRestorePlan {
    pub backup: BackupId,
    /// The backups it is based on, the full one first, which are combined with it. Empty: it is a full
    /// backup.
    pub chain: Vec<BackupId>,
    pub source: SourceName,
    pub system_identifier: SystemIdentifier,
    /// The time whose data the backup contains without WAL.
    pub recovery_point: DateTime<Utc>,
    /// In the order they are tried.
    pub repositories: Vec<RepositoryName>,
    pub target: RecoveryTarget,
    pub exclusive: bool,
    pub goal: ResolvedTarget,
    pub timeline: Timeline,
    pub begins: ReplayPosition,
    /// The position up to which the WAL is verified.
    pub proven: ReplayPosition,
    /// Every transaction committed before is in the verified WAL, by the clock of the archiving host.
    pub complete_until: Option<DateTime<Utc>>,
    pub newest_commit: Option<DateTime<Utc>>,
    /// Segments to replay, as far as that is known, and their bytes.
    pub segments: u64,
    pub log_bytes: u64,
    /// WAL beyond this is not supplied to the server.
    pub until: Option<Lsn>,
    /// The repositories to read WAL from; empty: all.
    pub log_from: Vec<RepositoryName>,
    pub to: PathBuf,
    pub tablespaces: Vec<TablespacePlan>,
    /// Where `pg_wal` goes; absent where it is in the data directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wal_directory: Option<PathBuf>,
    pub stored_bytes: u64,
    pub plain_bytes: u64,
    /// The extra space that a chain takes until it is combined.
    pub scratch_bytes: u64,
    pub major: u32,
    pub owner: Option<String>,
    pub start: bool,
    pub replaces_left_over: bool,
    /// Its files are there already, from an earlier restore whose recovery did not complete.
    pub resumes: bool,
    /// An existing data directory is changed into the backup.
    pub changes: bool,
    /// The libraries that the backed-up server loads at start, and what is done with each. Absent: the backup
    /// does not record them, as its role could not read the setting, and they are read from the restored
    /// files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub libraries: Option<Vec<PreloadLibrary>>,
    /// Notes for the operator before the restore.
    pub notes: Vec<String>,
    #[serde(skip)]
    pub(super) steps: PhysicalRestoreSteps,
}

/// What only the execution needs.
#[derive(Clone, Debug)]
pub(super) struct PhysicalRestoreSteps {
    pub(super) manifest: Manifest,
    /// The backups it is based on, the full one first, and their holders.
    pub(super) parents: Vec<BaseBackup>,
    pub(super) combining: Option<Tools>,
    pub(super) physical: Physical,
    pub(super) facts: ClusterFacts,
    pub(super) owner: Option<(u32, u32)>,
    pub(super) start: Option<Start>,
    pub(super) server: Option<Tools>,
    /// How the policy logs in to the source's own server.
    pub(super) login: Option<Box<PostgresSource>>,
    pub(super) command: RestoreCommand,
    /// The WAL on the path ends at a fork of its timeline.
    pub(super) leaves: bool,
    /// For an LSN target: when the transaction ended whose end record is there; the server does not count it.
    pub(super) stop_commit: Option<DateTime<Utc>>,
    /// The positions of records whose tablespaces are created at a different path than recorded.
    pub(super) mapped: Vec<Lsn>,
    /// The minimum values of server settings that recovery requires.
    pub(super) limits: BTreeMap<&'static str, i64>,
    /// The existing contents of the `pg_wal` destination are kept.
    pub(super) keeps_wal_directory: bool,
    /// The libraries to load at start, where given.
    pub(super) preload: Option<String>,
}

impl RestorePlan for PhysicalRestorePlan {
    fn summary(&self) -> PlanSummary {
        PlanSummary {
            source: self.source.clone(),
            backup: Some(self.backup.clone()),
            subject: format!("`{}`", self.backup),
            to: self.to.display().to_string(),
            changed: vec![],
        }
    }

    fn phases(&self, validates: bool) -> Vec<Phase> {
        let mut steps = vec![Phase::Prepare];
        if self.resumes {
            steps.push(Phase::Settings);
        } else {
            steps.push(Phase::Fetch);
            steps.extend((!self.chain.is_empty()).then_some(Phase::Combine));
            steps.extend([Phase::Settings, Phase::Publish]);
        }
        steps.extend(self.start.then_some(Phase::Recover));
        steps.extend(validates.then_some(Phase::Validate));
        steps
    }

    fn without_checks(&self) -> Option<&'static str> {
        (!self.start).then_some("no server was started (`--start`)")
    }
}

impl PhysicalRestorePlan {
    /// Returns the tablespaces that are in the backup.
    pub(super) fn backed_up(&self) -> impl Iterator<Item = &TablespacePlan> {
        self.tablespaces.iter().filter(|space| space.made_at.is_none())
    }
}

/// Makes the plan, or returns every reason against it at once.
pub fn plan(
    request: &PhysicalRestoreRequest,
    situation: PhysicalSurvey,
    now: DateTime<Utc>,
) -> Result<PhysicalRestorePlan, Vec<Refusal>> {
    let PhysicalSurvey { base, reach, here, .. } = &situation;
    let (manifest, physical) = (&base.manifest, &base.physical);
    let mut refusals = Vec::new();
    let goal = match goal(request, &situation, now) {
        Ok(goal) => Some(goal),
        Err(refusal) => {
            refusals.push(refusal);
            None
        }
    };
    if goal.is_some() {
        refusals.extend(situation.parted.clone());
    }
    let major = manifest.server.as_ref().map_or(0, |server| server.major);
    let tablespaces: Vec<TablespacePlan> = tablespace_directories(request, &situation.tablespaces)
        .into_iter()
        .zip(&here.tablespaces)
        .map(|((space, _), place)| {
            let parts = parts(&situation);
            let bytes = parts.filter_map(|part| Some(of_tablespace(part, space.oid)?.plain.size)).sum();
            TablespacePlan {
                oid: space.oid,
                was: space.location.clone(),
                to: place.path.clone(),
                made_at: made_at(&situation, space.oid),
                bytes,
                scratch_bytes: if situation.parents.is_empty() { 0 } else { bytes },
            }
        })
        .collect();
    let (plain_bytes, scratch_bytes) = sizes(&situation);
    refusals.extend(preflight::objections(request, &situation, &tablespaces, major));
    let server = here.servers.iter().find(|tools| tools.major == major).cloned();
    let Some(goal) = goal.filter(|_| refusals.is_empty()) else { return Err(refusals) };
    let until = match &goal {
        ResolvedTarget::Until(lsn) => Some(*lsn),
        _ => reach.remaining_in().map(|_| reach.end.lsn),
    };
    let size = physical.segment_size;
    let stops_at = match (&goal, situation.after) {
        (ResolvedTarget::Time(_), Some(after)) => after.number(size),
        (ResolvedTarget::Lsn(lsn), _) => Some(size.number_of(*lsn)),
        _ => None,
    };
    let begin = size.number_of(physical.start);
    let segments = stops_at.map_or(reach.segments(), |last| last.saturating_sub(begin) + 1);
    Ok(PhysicalRestorePlan {
        backup: manifest.id.clone(),
        chain: situation.parents.iter().map(|parent| parent.manifest.id.clone()).collect(),
        source: manifest.source.clone(),
        system_identifier: base.cluster,
        recovery_point: manifest.recovery_point,
        repositories: base.holders.clone(),
        target: request.target.clone(),
        exclusive: request.exclusive,
        // There may be too little WAL of the newest timeline to begin it.
        timeline: if until.is_some() { reach.end.timeline } else { situation.timeline },
        until,
        begins: base.begins(),
        proven: reach.end,
        complete_until: situation.moment.complete,
        newest_commit: situation.moment.newest_commit,
        segments,
        log_bytes: segments * size.bytes(),
        log_from: log_from(request, &situation),
        to: here.to.path.clone(),
        stored_bytes: parts(&situation).map(Manifest::stored_size).sum(),
        plain_bytes,
        scratch_bytes,
        major,
        owner: request.owner.as_ref().map(|owner| owner.name.clone()),
        start: request.start.is_some(),
        replaces_left_over: request.drop_leftovers,
        resumes: preflight::resumes(request, &situation),
        wal_directory: here.wal.as_ref().map(|place| place.path.clone()).or(here.wal_link.clone()),
        changes: here.reusable.is_some() || matches!(here.to.standing, DirectoryState::Changed(_)),
        libraries: libraries(request, &situation.facts),
        notes: notes(request, &situation, &goal, server.is_some(), major),
        steps: PhysicalRestoreSteps {
            manifest: manifest.clone(),
            parents: situation.parents.clone(),
            combining: here.combining.clone(),
            physical: physical.clone(),
            facts: situation.facts.clone(),
            owner: request.owner.as_ref().map(|owner| (owner.user, owner.group)),
            start: request.start.clone(),
            server,
            login: request.login.clone(),
            command: request.command.clone(),
            leaves: reach.remaining_in().is_some() && !matches!(reach.stop, ReplayEnd::Damaged(_)),
            stop_commit: situation.stop_record.and_then(|record| record.ended).filter(|_| !request.exclusive),
            mapped: situation.way.mapped(),
            limits: situation.way.limits.clone(),
            keeps_wal_directory: here.wal.is_none(),
            preload: request.preload.clone(),
        },
        tablespaces,
        goal,
    })
}

/// Decides what is done with the server's libraries, where the backup records which it loads.
fn libraries(request: &PhysicalRestoreRequest, facts: &ClusterFacts) -> Option<Vec<PreloadLibrary>> {
    let recorded = facts.server_settings.iter().find(|(name, _)| name == preload::SETTING);
    let asked = request.preload.as_deref();
    let value = recorded.map(|(_, value)| value.as_str()).or(asked.map(|_| ""))?;
    Some(preload::decide(value, asked))
}

/// Returns where a tablespace that is not in the backup is created during replay.
fn made_at(situation: &PhysicalSurvey, oid: u32) -> Option<Lsn> {
    let is_backed_up = situation.base.physical.tablespaces.iter().any(|space| space.oid == oid);
    let made = situation.way.tablespaces.iter().find(|made| made.oid == oid);
    made.filter(|_| !is_backed_up).map(|made| made.at)
}

/// Returns the target to configure in PostgreSQL, if the WAL leads there.
fn goal(
    request: &PhysicalRestoreRequest,
    situation: &PhysicalSurvey,
    now: DateTime<Utc>,
) -> Result<ResolvedTarget, Refusal> {
    let PhysicalSurvey { base, reach, moment, .. } = situation;
    let target = request.target.to_string();
    let windows = restorable(&situation.windows);
    let is_damaged = matches!(reach.stop, ReplayEnd::Damaged(_));
    let gap = |why: String| match reach.stop {
        ReplayEnd::Damaged(damaged) => damaged_wal(&target, damaged, situation),
        _ => Refusal::nothing("gap", format!("the WAL does not lead to {target}: {why}{windows}")),
    };
    let too_late = |why: String| {
        Refusal::nothing("too-late", format!("{target} is later than what is known: {why}{windows}"))
    };
    let ends_there = why(&reach.stop);
    match &request.target {
        RecoveryTarget::Latest | RecoveryTarget::Name(_) | RecoveryTarget::Transaction(_)
            if ends_there.is_some() && !(is_damaged && situation.is_met) =>
        {
            Err(gap(ends_there.unwrap_or_default()))
        }
        // WAL past the fork belongs to the abandoned branch and is not needed.
        RecoveryTarget::Latest if reach.remaining_in().is_some() => Ok(ResolvedTarget::Until(reach.end.lsn)),
        RecoveryTarget::Latest => Ok(ResolvedTarget::End),
        RecoveryTarget::Name(name) => Ok(ResolvedTarget::Name(name.clone())),
        RecoveryTarget::Transaction(given) => {
            let whole = whole_transaction(*given, base.physical.next_transaction);
            // The setting takes no epoch.
            Ok(ResolvedTarget::Transaction(u32::try_from(whole & 0xFFFF_FFFF).unwrap_or_default()))
        }
        RecoveryTarget::Lsn(lsn) if reach.covers(*lsn) => Ok(if situation.stop_record.is_some() {
            ResolvedTarget::Lsn(*lsn)
        } else {
            ResolvedTarget::Until(reach.end.lsn)
        }),
        RecoveryTarget::Lsn(_) => Err(match ends_there {
            Some(why) => gap(why),
            None => too_late(format!("the archive ends at position {}", reach.end.lsn)),
        }),
        RecoveryTarget::Time(time) if situation.after.is_some() => Ok(ResolvedTarget::Time(*time)),
        RecoveryTarget::Time(time) if moment.complete.is_some_and(|complete| *time <= complete) => {
            Ok(ResolvedTarget::Until(reach.end.lsn))
        }
        RecoveryTarget::Time(time) => Err(match (ends_there, moment.complete) {
            (Some(why), _) => gap(why),
            (None, _) if *time > now => too_late(format!("it is {} now", shown(now))),
            (None, Some(until)) => too_late(format!(
                "the archive is complete until {}, and what was committed between then and the target is unknown",
                shown(until)
            )),
            (None, None) => {
                too_late("the repositories do not say when the last segments were written".to_owned())
            }
        }),
    }
}

/// Recovery would end where the WAL is damaged, or fail, and only on arriving there.
fn damaged_wal(target: &str, damaged: DamagedWal, situation: &PhysicalSurvey) -> Refusal {
    let last = situation.moment.newest_commit.unwrap_or_default().max(situation.base.manifest.recovery_point);
    let last = shown(last);
    let (code, everywhere) = match damaged.fault {
        WalFault::Damaged => ("damaged-wal", " in every repository that has it"),
        WalFault::Minimal => ("minimal-wal", ""),
    };
    let message = format!(
        "the WAL does not lead to {target}: {damaged}{everywhere}, and everything until {last} is before that"
    );
    Refusal::nothing(code, message).with("at", damaged.at).with("last", last)
}

/// Returns the repositories that the restored server reads from; empty where it may use all: one that cannot
/// be read now would keep it from ever reaching the end.
fn log_from(request: &PhysicalRestoreRequest, situation: &PhysicalSurvey) -> Vec<RepositoryName> {
    if request.from.is_none() && situation.lost.is_empty() {
        return vec![];
    }
    situation.holders.clone()
}

fn notes(
    request: &PhysicalRestoreRequest,
    situation: &PhysicalSurvey,
    goal: &ResolvedTarget,
    has_server: bool,
    major: u32,
) -> Vec<String> {
    let PhysicalSurvey { base, reach, timeline, .. } = situation;
    let mut notes = Vec::new();
    match (&request.target, goal) {
        (RecoveryTarget::Time(time), ResolvedTarget::Until(lsn)) => notes.push(format!(
            "nothing was committed after {} in the archive, which is complete until later: recovery goes to the end of what is proven now, {lsn}",
            shown(*time)
        )),
        (RecoveryTarget::Lsn(_), ResolvedTarget::Until(lsn)) => notes.push(format!(
            "no record begins there: the segment was ended early. Recovery goes to the end of what is proven now, {lsn}"
        )),
        (RecoveryTarget::Transaction(_) | RecoveryTarget::Name(_), _) => notes.push(
            "whether the WAL has it is known only when it is replayed: PostgreSQL then stops with an error, and does not go past it"
                .to_owned(),
        ),
        _ => {}
    }
    notes.extend(on_the_way(request, situation));
    for (backup, why) in &situation.passed {
        notes.push(format!("{backup} is not used: {why}"));
    }
    let needed = match goal {
        ResolvedTarget::Lsn(lsn) => *lsn,
        ResolvedTarget::Time(_) => {
            situation.after.and_then(|s| s.begin(base.physical.segment_size)).unwrap_or_default()
        }
        _ => Lsn(reach.end.lsn.0.saturating_sub(1)),
    };
    for (name, alone) in &situation.alone {
        if !alone.covers(needed) {
            let why = why(&alone.stop).map(|why| format!(", where {why}")).unwrap_or_default();
            notes.push(format!(
                "{name} alone leads to {} only{why}; the rest is fetched from the others",
                alone.end.lsn
            ));
        }
    }
    if !situation.lost.is_empty() {
        let names: Vec<_> = situation.lost.iter().map(|name| name.as_str()).collect();
        notes.push(format!("{} cannot be used and may have newer WAL", names.join(", ")));
    }
    for other in abandoned_timelines(*timeline, &situation.log) {
        notes.push(format!(
            "timeline {other} went on after timeline {timeline} left it: `--timeline {other}` recovers along that one"
        ));
    }
    if reach.end.timeline != *timeline && reach.stop == ReplayEnd::End {
        notes.push(format!("of timeline {timeline} nothing but its history is archived"));
    }
    notes.extend(situation.facts.subscriptions.iter().map(slot_note));
    if !base.physical.damaged.is_empty() {
        let (first, count) = (&base.physical.damaged[0], base.physical.damaged.len());
        notes.push(format!("{count} pages were damaged when they were copied, the first in {}", first.file));
    }
    if let Some(first) = base.physical.missing_files.first() {
        let count = base.physical.missing_files.len();
        notes.push(format!("{count} files of tables or indexes were missing on the server when it was copied, the first `{first}`"));
    }
    if !has_server {
        notes.push(format!(
            "the server programs of PostgreSQL {major} are not on this host; they are needed to start it"
        ));
    }
    if !request.command.environment.is_empty() {
        let names = request.command.environment.join(", ");
        notes.push(format!(
            "the server must be started with {names} in the environment, for `restore_command`"
        ));
    }
    if request.delta {
        notes.extend(changing(situation));
    }
    if situation.here.is_root && request.owner.is_none() {
        notes.push("the files will belong to root, whom PostgreSQL does not run as: `--owner postgres` gives them to its user".to_owned());
    }
    notes
}

/// Warns what a restored subscription does to the original's replication slot once it is released or dropped.
fn slot_note(subscription: &SubscriptionFacts) -> String {
    let SubscriptionFacts { database, name, slot } = subscription;
    let quoted = identifier(name);
    format!(
        "subscription `{name}` in database `{database}` has the replication slot `{slot}` of production on its publisher: once the copy is released and restarted, it connects there and takes changes that production then lacks, and DROP SUBSCRIPTION drops the slot; in the copy run `ALTER SUBSCRIPTION {quoted} DISABLE; ALTER SUBSCRIPTION {quoted} SET (slot_name = NONE)` first"
    )
}

/// Returns notes on the WAL to be replayed that an operator should know.
fn on_the_way(request: &PhysicalRestoreRequest, situation: &PhysicalSurvey) -> Vec<String> {
    let way = &situation.way;
    let mut notes = Vec::new();
    if let Some(why) = situation.unproven {
        notes.push(format!(
            "whether the archived WAL is of the server that the backup was taken from is not known ({why}): where it is not, recovery does not begin"
        ));
    }
    if way.unread > 0 {
        notes.push(format!(
            "{} segments were archived without a note of their records, and are not read before: if one of them creates a tablespace, recovery stops before it, and the same command resumes",
            way.unread
        ));
    }
    if let (Some(back), RecoveryTarget::Time(_)) = (&way.set_back, &request.target) {
        notes.push(format!(
            "the server's clock was set back, from {} to {}, in or before segment {}: a time may be in the WAL twice, and recovery stops at the first commit that is later; `--to-lsn` and `--to-xid` name one position only",
            shown(back.from),
            shown(back.to),
            back.segment
        ));
    }
    if let [first, .., last] = &way.named[..] {
        notes.push(format!(
            "{} restore points on the way have that name: recovery stops at the first, {first}; `--to-lsn {last}` reaches the last",
            way.named.len()
        ));
    }
    if situation.here.wal_link.is_some() {
        notes.push("`pg_wal` is a link to another directory, and stays one: its WAL is kept there as `pg_wal.before-RUN`".to_owned());
    }
    notes
}

/// Describes what a delta restore does to the existing data directory.
fn changing(situation: &PhysicalSurvey) -> Vec<String> {
    let here = &situation.here;
    if here.reusable.is_none() && !matches!(here.to.standing, DirectoryState::Changed(_)) {
        return vec![];
    }
    let mut notes = vec![format!(
        "{} is overwritten. Its pg_wal is kept as `pg_wal.before-RUN`: transactions that were never archived exist only there",
        here.to.path.display()
    )];
    let unarchived = here.reusable.as_ref().map_or(0, |standing| standing.unarchived);
    if unarchived > 0 {
        notes.push(format!(
            "{unarchived} complete segments of it were never archived: their transactions are not recovered unless `drctl wal push` archives the segments first"
        ));
    }
    notes.push(
        "files that are not in the backup are removed at the end, so that tables which were rewritten since need room twice"
            .to_owned(),
    );
    notes
}

pub(super) fn of_tablespace(manifest: &Manifest, oid: u32) -> Option<&Artifact> {
    manifest.artifact_of(&format!("{oid}.tar"))
}
