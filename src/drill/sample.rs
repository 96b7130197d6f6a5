//! Which backup a drill restores. Pure.

use chrono::{DateTime, TimeDelta, Utc};

use super::{PassedOver, Scenario};
use crate::model::{BackupId, BackupKind, Lsn, RepositoryName};
use crate::policy::Pick;
use crate::restore::physical::RecoveryTarget;

/// A backup that may be restored.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Candidate {
    pub(super) id: BackupId,
    pub(super) recovery_point: DateTime<Utc>,
    /// The repositories in use that hold it.
    pub(super) holders: Vec<RepositoryName>,
    /// Where a base backup becomes consistent.
    pub(super) stop: Option<Lsn>,
    /// Why it is not restored: a check found it bad everywhere, a parent is missing, …
    pub(super) obstacle: Option<String>,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct SampleRequest {
    pub scenario: Scenario,
    pub pick: Pick,
    /// Of the kinds that are restored into a sandbox; `None`: what loses least.
    pub kind: Option<BackupKind>,
    /// The prefix of the id of the one that was asked for.
    pub backup: Option<String>,
    pub target: Option<DateTime<Utc>>,
    pub seed: u32,
}

/// What can be restored by WAL, in the repositories in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReplayWindow {
    pub(super) from: DateTime<Utc>,
    pub(super) until: DateTime<Utc>,
}

/// What is restored.
#[derive(Clone, Debug, PartialEq)]
pub enum SampledRestore {
    Dump(BackupId),
    /// A cluster; `None`: the base backup that fits the target.
    Cluster {
        backup: Option<BackupId>,
        target: RecoveryTarget,
    },
}

impl SampledRestore {
    /// Returns the backup, where it is chosen before the restore.
    pub fn backup(&self) -> Option<&BackupId> {
        match self {
            Self::Dump(backup) => Some(backup),
            Self::Cluster { backup, .. } => backup.as_ref(),
        }
    }
}

/// The choice, and how it was made.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    pub restore: SampledRestore,
    pub method: &'static str,
    /// Whether the seed decided.
    pub is_random: bool,
    pub candidates: usize,
    pub passed_over: Vec<PassedOver>,
    pub target: Option<DateTime<Utc>>,
}

impl Choice {
    /// Returns whether nothing newer could have been restored.
    pub(super) fn is_newest(&self) -> bool {
        self.method == NEWEST
    }
}

/// The method of a choice that leaves nothing newer.
const NEWEST: &str = "newest";

/// Chooses. `candidates`: of the source, newest first; `windows`: newest first.
///
/// # Errors
/// Why there is nothing to restore.
pub(super) fn choose(
    request: &SampleRequest,
    candidates: &[Candidate],
    windows: &[ReplayWindow],
) -> Result<Choice, String> {
    let of_kind = |kind: BackupKind| request.kind.is_none_or(|asked| asked == kind);
    let eligible: Vec<&Candidate> = candidates.iter().filter(|one| of_kind(one.id.kind())).collect();
    let passed_over = |chosen: Option<&Candidate>| {
        let newer = eligible.iter().take_while(|one| chosen.is_none_or(|chosen| one.id != chosen.id));
        let passed = newer.filter_map(|one| Some((one.id.clone(), one.obstacle.clone()?)));
        passed.map(|(backup, reason)| PassedOver { backup, reason }).collect::<Vec<_>>()
    };
    let good: Vec<&Candidate> = eligible.iter().copied().filter(|one| one.obstacle.is_none()).collect();
    if request.scenario == Scenario::PointInTime || request.target.is_some() {
        return point_in_time(request, windows, eligible.len());
    }
    let (chosen, method, is_random) = if let Some(prefix) = &request.backup {
        let found: Vec<_> =
            eligible.iter().copied().filter(|one| one.id.as_str().starts_with(prefix)).collect();
        match found[..] {
            [one] => (one, "named", false),
            [] => return Err(format!("no backup has an id that begins with `{prefix}`")),
            _ => return Err(format!("several backups have an id that begins with `{prefix}`")),
        }
    } else {
        let random = request.scenario == Scenario::Random && request.pick != Pick::Oldest;
        let chosen = match () {
            () if random || request.pick == Pick::Random => {
                good.get(request.seed as usize % good.len().max(1)).map(|one| (*one, "random", true))
            }
            () if request.pick == Pick::Oldest => good.last().map(|one| (*one, "oldest", false)),
            () => good.first().map(|one| (*one, NEWEST, false)),
        };
        chosen.ok_or_else(|| nothing(&eligible))?
    };
    let passed_over = passed_over(Some(chosen));
    let is_newest = method == NEWEST;
    // The WAL of the newest base backup leads farther than the newest dump, unless it was not archived for long.
    let replayed = windows.iter().map(|window| window.until).max().filter(|_| of_kind(BackupKind::Base));
    let restore = match (chosen.id.kind(), replayed) {
        (_, Some(until)) if is_newest && until >= chosen.recovery_point => {
            SampledRestore::Cluster { backup: None, target: RecoveryTarget::Latest }
        }
        (BackupKind::Base, _) => SampledRestore::Cluster {
            backup: Some(chosen.id.clone()),
            target: chosen.stop.map_or(RecoveryTarget::Latest, RecoveryTarget::Lsn),
        },
        _ => SampledRestore::Dump(chosen.id.clone()),
    };
    Ok(Choice { restore, method, is_random, candidates: eligible.len(), passed_over, target: None })
}

fn point_in_time(
    request: &SampleRequest,
    windows: &[ReplayWindow],
    candidates: usize,
) -> Result<Choice, String> {
    let (target, method, is_random) = match request.target {
        Some(target) => (target, "named", false),
        None => (random_moment(windows, request.seed)?, "random", true),
    };
    Ok(Choice {
        restore: SampledRestore::Cluster { backup: None, target: RecoveryTarget::Time(target) },
        method,
        is_random,
        candidates,
        passed_over: vec![],
        target: Some(target),
    })
}

/// Returns a whole second of the windows, each as likely as any other.
fn random_moment(windows: &[ReplayWindow], seed: u32) -> Result<DateTime<Utc>, String> {
    let seconds =
        |window: &ReplayWindow| u64::try_from((window.until - window.from).num_seconds()).unwrap_or(0);
    let all: u64 = windows.iter().map(seconds).sum();
    if windows.is_empty() {
        return Err("no base backup with WAL can be restored to a point in time".to_owned());
    }
    // Spreads seeds that are neighbours.
    let mut left = (u64::from(seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20) % all.max(1);
    for window in windows {
        let length = seconds(window);
        if left < length.max(1) || all == 0 {
            return Ok(window.until - TimeDelta::seconds(i64::try_from(left).unwrap_or(0)));
        }
        left -= length;
    }
    Ok(windows[0].until)
}

fn nothing(eligible: &[&Candidate]) -> String {
    match eligible.iter().find_map(|one| Some((&one.id, one.obstacle.as_ref()?))) {
        Some((id, why)) => {
            format!("none of {} backups can be restored; the newest is `{id}`: {why}", eligible.len())
        }
        None => "there is no backup that could be restored into a sandbox".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: u32) -> DateTime<Utc> {
        format!("2026-11-20T{hour:02}:00:00Z").parse().unwrap()
    }

    fn candidate(hour: u32, kind: BackupKind) -> Candidate {
        Candidate {
            id: format!("20261120T{hour:02}0000Z-database-{kind}-2222").parse().unwrap(),
            recovery_point: at(hour),
            holders: vec!["west".parse().unwrap()],
            stop: (kind == BackupKind::Base).then_some(Lsn(u64::from(hour) << 24)),
            obstacle: None,
        }
    }

    fn request(scenario: Scenario) -> SampleRequest {
        SampleRequest { scenario, pick: Pick::Latest, kind: None, backup: None, target: None, seed: 5 }
    }

    fn all() -> Vec<Candidate> {
        use BackupKind::{Base, Logical};
        [(12, Logical), (8, Base), (6, Logical), (2, Base)].map(|(hour, kind)| candidate(hour, kind)).into()
    }

    #[test]
    fn what_loses_least_is_restored() {
        let newest = request(Scenario::Newest);
        let latest = SampledRestore::Cluster { backup: None, target: RecoveryTarget::Latest };
        let window = |until| [ReplayWindow { from: at(2), until: at(until) }];
        assert_eq!(choose(&newest, &all(), &window(13)).unwrap().restore, latest);
        // The WAL ends before the newest dump.
        let dump = SampledRestore::Dump(all()[0].id.clone());
        assert_eq!(choose(&newest, &all(), &window(9)).unwrap().restore, dump);
        assert_eq!(choose(&newest, &all(), &[]).unwrap().restore, dump);
        let dumps = SampleRequest { kind: Some(BackupKind::Logical), ..request(Scenario::Newest) };
        assert_eq!(choose(&dumps, &all(), &window(13)).unwrap().restore, dump);
        let bases = SampleRequest { kind: Some(BackupKind::Base), ..request(Scenario::Newest) };
        assert_eq!(choose(&bases, &all(), &window(9)).unwrap().restore, latest);
    }

    #[test]
    fn a_bad_backup_is_passed_over_and_named() {
        let mut bad = all();
        bad[0].obstacle = Some("found bad".to_owned());
        let chosen = choose(&request(Scenario::RegionLoss), &bad, &[]).unwrap();
        let SampledRestore::Cluster { backup: Some(id), target: RecoveryTarget::Lsn(_) } = &chosen.restore
        else {
            panic!("{chosen:?}")
        };
        assert_eq!((id, chosen.passed_over.len(), chosen.candidates), (&bad[1].id, 1, 4));
        bad.iter_mut().for_each(|one| one.obstacle = Some("found bad".to_owned()));
        let why = choose(&request(Scenario::Newest), &bad, &[]).unwrap_err();
        assert!(why.contains("none of 4") && why.contains("found bad"), "{why}");
        assert!(choose(&request(Scenario::Newest), &[], &[]).is_err());
        // One that was asked for by name is tried in any case.
        let named = SampleRequest { backup: Some(bad[2].id.to_string()), ..request(Scenario::Newest) };
        assert_eq!(choose(&named, &bad, &[]).unwrap().restore, SampledRestore::Dump(bad[2].id.clone()));
    }

    #[test]
    fn the_same_seed_chooses_the_same_and_every_moment_is_in_a_window() {
        let windows =
            [ReplayWindow { from: at(8), until: at(9) }, ReplayWindow { from: at(2), until: at(3) }];
        let mut hours = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let asked = SampleRequest { seed, ..request(Scenario::PointInTime) };
            let chosen = choose(&asked, &all(), &windows).unwrap();
            assert_eq!(choose(&asked, &all(), &windows).unwrap(), chosen);
            let target = chosen.target.unwrap();
            let within = windows.iter().any(|window| (window.from..=window.until).contains(&target));
            assert!(within && chosen.is_random, "{target}");
            hours.insert(target.format("%H:%M").to_string());
            let random = SampleRequest { seed, ..request(Scenario::Random) };
            assert!(choose(&random, &all(), &windows).is_ok());
        }
        assert!(hours.len() > 15, "{hours:?}");
        let oldest = SampleRequest { pick: Pick::Oldest, ..request(Scenario::Random) };
        assert_eq!(choose(&oldest, &all(), &windows).unwrap().method, "oldest");
        assert!(choose(&request(Scenario::PointInTime), &all(), &[]).is_err());
    }
}
