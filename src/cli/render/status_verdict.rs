//! What a verdict of `drctl status` means, and what helps.

use crate::policy::Policy;
use crate::status::{LocationStatus, ObjectiveVerdict, SourceStatus};
use crate::text::format_duration;

/// Explains the worst verdict.
pub(in crate::cli) fn told_verdict(
    policy: &Policy,
    standings: &[SourceStatus],
    worst: ObjectiveVerdict,
) -> String {
    let rpo = format_duration(policy.objectives.rpo);
    match worst {
        ObjectiveVerdict::Ok => format!("every {} could give back data of the last {rpo}", kinds(standings)),
        ObjectiveVerdict::Late => {
            format!("three quarters of {rpo} are gone since the newest data that could be restored")
        }
        ObjectiveVerdict::Behind => {
            format!("within {rpo} everywhere, but not every {} has the newest backup", kinds(standings))
        }
        ObjectiveVerdict::MissingCopy => {
            format!(
                "within {rpo} everywhere, but not every {} has every backup that was taken",
                kinds(standings)
            )
        }
        ObjectiveVerdict::BadCopy => format!(
            "within {rpo} everywhere, but there are backups that cannot be counted on: the last `drctl verify` found them bad, they hold damaged pages, or the archived WAL is of another server"
        ),
        ObjectiveVerdict::NoMarker => {
            "a repository has lost its marker: no backup is written to it".to_owned()
        }
        ObjectiveVerdict::WrongClock => {
            "a clock is wrong, so that it is not known how much a restore would lose".to_owned()
        }
        ObjectiveVerdict::DamagedPages => {
            "the base backup that a restore would use holds damaged pages, and there is no other".to_owned()
        }
        ObjectiveVerdict::NoBase => {
            "the policy asks for base backups and WAL, and no base backup can be restored".to_owned()
        }
        ObjectiveVerdict::Stalled => {
            format!("within {rpo} everywhere, but no WAL arrives from the server any more")
        }
        ObjectiveVerdict::NotReached => format!("not every {} could be queried", kinds(standings)),
        ObjectiveVerdict::Gap => "WAL is missing: what is archived after it cannot be recovered".to_owned(),
        ObjectiveVerdict::BadLog => {
            "WAL was bad when it was last read: what is archived after it cannot be recovered".to_owned()
        }
        ObjectiveVerdict::Lost => "WAL that the server counts as archived is in no repository".to_owned(),
        ObjectiveVerdict::ObjectiveMissed => missed(standings, &rpo.to_string()),
        ObjectiveVerdict::OtherCluster if is_replaced(standings) => {
            "what could be restored is of another database than the one that has the name now".to_owned()
        }
        ObjectiveVerdict::OtherCluster => {
            "what could be restored is of another cluster than the server of the policy".to_owned()
        }
        ObjectiveVerdict::Nothing => "a source has no backup that could be restored".to_owned(),
    }
}

/// Returns hints to complete the copies that are behind. AWS-managed backups are copied only by the run that
/// created them.
pub(in crate::cli) fn copying(standings: &[SourceStatus], too_old: bool) -> Vec<&'static str> {
    let is_behind =
        |is_region| places(standings).any(|place| place.behind && place.location.is_region() == is_region);
    let mut hints = Vec::new();
    if is_behind(false) {
        hints.push(match too_old {
            true => "hint: `drctl copies sync` completes the copies; `drctl backup` takes a new backup.",
            false => "hint: `drctl copies sync` completes the copies.",
        });
    }
    if is_behind(true) {
        hints.push("hint: A failed cross-region copy cannot be retried. Fix what `drctl doctor` reports, then run `drctl backup` to take a new backup and copy it to every region.");
    }
    hints
}

/// Returns hints where the backups are of another cluster or database than the existing one.
pub(in crate::cli) fn others(standings: &[SourceStatus]) -> Vec<&'static str> {
    let mut hints = Vec::new();
    if is_replaced(standings) {
        hints.push("hint: Run `drctl backup`: only a new backup protects the database that has the name now. `drctl restore --backup` or `--point-in-time` restores the former one. Where the name is of the wrong database, fix the source's `instance` or `cluster` in the policy.");
    }
    if places(standings)
        .any(|place| place.stranger.is_some() && place.verdict == ObjectiveVerdict::OtherCluster)
    {
        hints.push("hint: Let the policy's `url` lead to the server that was backed up. A re-initialised or upgraded cluster has a new system identifier and needs its own source in the policy.");
    }
    hints
}

fn is_replaced(standings: &[SourceStatus]) -> bool {
    places(standings).any(|place| place.replaced.is_some() && place.verdict == ObjectiveVerdict::OtherCluster)
}

pub(in crate::cli) fn has_regions(standings: &[SourceStatus]) -> bool {
    places(standings).any(|place| place.location.is_region())
}

/// Describes the kinds of locations.
fn kinds(standings: &[SourceStatus]) -> &'static str {
    let has_repositories = places(standings).any(|place| !place.location.is_region());
    match (has_regions(standings), has_repositories) {
        (true, true) => "region and repository",
        (true, false) => "region",
        (false, _) => "repository",
    }
}

pub(in crate::cli) fn places(standings: &[SourceStatus]) -> impl Iterator<Item = &LocationStatus> {
    standings.iter().flat_map(|standing| &standing.places)
}

/// Describes which repositories would lose too much, if each were the only one left.
fn missed(standings: &[SourceStatus], rpo: &str) -> String {
    let misses = |place: &LocationStatus| {
        matches!(place.verdict, ObjectiveVerdict::ObjectiveMissed | ObjectiveVerdict::Nothing)
    };
    let deciding = || standings.iter().flat_map(SourceStatus::deciding);
    if deciding().all(misses) {
        return format!("a restore now would lose more than the last {rpo}");
    }
    let mut names: Vec<_> = deciding().filter(|place| misses(place)).map(|place| &place.location).collect();
    names.sort();
    names.dedup();
    let names = names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" or ");
    format!("a restore from {names} alone would lose more than the last {rpo}")
}

pub(in crate::cli) fn has_damaged(standings: &[SourceStatus]) -> bool {
    places(standings).any(|place| !place.damaged.is_empty())
}
