//! The choice of the backup and of the region.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use chrono::{DateTime, SubsecRound as _, Utc};

use super::restore_source::{RestoreSource, SelectedBackup};
use super::{RdsRestoreRequest, RdsTarget};
use crate::aws::rds::{Origin, RestoreMoment, RestoreWindow, Snapshot, SwitchedOver};
use crate::model::{BackupId, Manifest, RepositoryName};
use crate::policy::RdsDatabase;
use crate::restore::refusal::ambiguous;
use crate::restore::{Refusal, RefusalClass};
use crate::text::{format_duration, format_time};

/// The backups of the database in a queried region.
#[derive(Clone, Debug)]
pub(super) struct RegionBackups {
    pub(super) name: String,
    /// drctl's restorable snapshots, by their backup.
    pub(super) snapshots: Vec<(BackupId, Snapshot)>,
    /// One of each database that had the name: the existing one, and deleted ones.
    pub(super) automated: Vec<AutomatedBackups>,
}

/// RDS's own backups there.
#[derive(Clone, Debug)]
pub(super) struct AutomatedBackups {
    /// Its current name, or its last one.
    pub(super) identifier: String,
    pub(super) resource_id: String,
    /// To its latest restorable time.
    pub(super) origin: Origin,
    pub(super) window: RestoreWindow,
    pub(super) encrypted: bool,
}

/// The databases that had the name, by their permanent RDS resource ids.
#[derive(Clone, Debug, Default)]
pub(super) struct Lineage {
    /// The one that has it now; `None` where the query failed.
    pub(super) live: Option<String>,
    /// Those that were backed up, newest backup first.
    pub(super) backed_up: Vec<String>,
    /// Those of them whose name passed to the current one in a blue/green switchover, the last first.
    pub(super) switched: Vec<SwitchedOver>,
}

impl Lineage {
    fn knows(&self, resource_id: &str) -> bool {
        self.live.as_deref() == Some(resource_id) || self.backed_up.iter().any(|known| known == resource_id)
    }

    /// Returns whether RDS's backups of an instance belong to this source. Where nothing is known of it, its
    /// name and its region have to suffice.
    pub(super) fn holds(&self, resource_id: &str, has_name: bool, is_from_home: bool) -> bool {
        if self.live.is_none() && self.backed_up.is_empty() {
            return has_name && is_from_home;
        }
        self.knows(resource_id)
    }

    /// Returns the one with the newest data.
    fn current(&self) -> Option<&str> {
        self.live.as_deref().or(self.backed_up.first().map(String::as_str))
    }

    /// Describes whose data it is, where two databases have the point in time, or only another one than the
    /// current owner of the name.
    pub(super) fn note(
        &self,
        request: &RdsRestoreRequest,
        via: &RestoreSource,
        regions: &[RegionBackups],
    ) -> Option<String> {
        if let Some(before) =
            self.switched.iter().find(|before| Some(before.resource_id.as_str()) == via.resource_id())
        {
            let SwitchedOver { identifier, resource_id } = before;
            return Some(format!(
                "the data is of `{identifier}` ({resource_id}), which had the name until a blue/green switchover: what was committed to the database that has it now is not in it"
            ));
        }
        let (RdsTarget::Time(_), RestoreSource::Automated { identifier, resource_id, until, .. }) =
            (&request.target, via)
        else {
            return None;
        };
        let current = self.current()?;
        if current == resource_id {
            // Until a restore was promoted, another database was production.
            let mut others = regions.iter().flat_map(|region| &region.automated);
            let other = others.find(|one| one.resource_id != *resource_id && one.window.holds(*until))?;
            let command = match request.config.database {
                RdsDatabase::Instance(_) => "restore-db-instance-to-point-in-time --source-dbi-resource-id",
                RdsDatabase::Cluster(_) => {
                    "restore-db-cluster-to-point-in-time --source-db-cluster-resource-id"
                }
            };
            let (name, id) = (&other.identifier, &other.resource_id);
            return Some(format!(
                "`{name}` ({id}) has a state of this moment, too: if that one was in production then, and it is meant, `aws rds {command} {id}` restores it"
            ));
        }
        let whose = match self.live {
            Some(_) => "that is in production now",
            None => "that was backed up last",
        };
        Some(format!(
            "the data is of `{identifier}` ({resource_id}), and not of the database {whose} ({current}): that one's automated backups do not reach this moment"
        ))
    }

    /// Ranks databases that reach the same time: the current one first, then by the latest backup.
    fn rank(&self, resource_id: &str) -> usize {
        let backed_up = || self.backed_up.iter().position(|known| known == resource_id);
        match self.current() == Some(resource_id) {
            true => 0,
            false => backed_up().map_or(usize::MAX, |position| position + 1),
        }
    }

    /// Returns whether the current owner of the name is not the database that was backed up: it is ambiguous
    /// whose latest data is meant.
    fn is_ambiguous(&self) -> bool {
        let backed_up = |live: &String| self.backed_up.is_empty() || self.backed_up.contains(live);
        self.live.as_ref().is_some_and(|live| !backed_up(live)) && self.switched.is_empty()
    }
}

/// A backup whose manifest was read.
#[derive(Clone, Debug)]
pub(super) struct ManualSnapshot {
    pub(super) manifest: Manifest,
    pub(super) holders: Vec<RepositoryName>,
}

/// Selects the backup with the latest data, or for the exact time requested. The database's own region, the
/// first of `regions`, is preferred among equals.
pub(super) fn choose(
    request: &RdsRestoreRequest,
    regions: &[RegionBackups],
    stored: &[ManualSnapshot],
    lineage: &Lineage,
) -> Result<SelectedBackup, Refusal> {
    match &request.target {
        RdsTarget::Backup(prefix) => by_id(request, prefix, regions, stored),
        RdsTarget::Latest => latest(request, regions, lineage),
        // RDS counts in seconds; the fraction may be right before a mistake.
        RdsTarget::Time(time) => at(request, time.trunc_subsecs(0), regions, lineage),
    }
}

fn by_id(
    request: &RdsRestoreRequest,
    prefix: &str,
    regions: &[RegionBackups],
    stored: &[ManualSnapshot],
) -> Result<SelectedBackup, Refusal> {
    // Where no repository can be read, the snapshots' tags name their backups.
    let tagged = regions.iter().flat_map(|region| region.snapshots.iter().map(|(id, _)| id));
    let all: BTreeSet<&BackupId> = stored.iter().map(|backup| &backup.manifest.id).chain(tagged).collect();
    let found: Vec<_> = match prefix {
        "latest" => all.into_iter().next_back().into_iter().collect(),
        prefix => all.into_iter().filter(|id| id.as_str().starts_with(prefix)).collect(),
    };
    let id = match found[..] {
        [id] => id,
        [] => {
            let message = format!("`{}` has no backup that begins with `{prefix}`", request.source);
            return Err(Refusal::nothing("no-backup", message));
        }
        _ => {
            let found: Vec<_> = found.into_iter().cloned().collect();
            return Err(ambiguous(RefusalClass::NotReady, prefix, &found));
        }
    };
    let held = regions.iter().find_map(|region| {
        let (_, snapshot) = region.snapshots.iter().find(|(backup, _)| backup == id)?;
        of_snapshot(region, id, snapshot)
    });
    held.ok_or_else(|| {
        let asked: Vec<_> = regions.iter().map(|region| region.name.as_str()).collect();
        let message = format!("no snapshot of {id} can be restored in {}", asked.join(" or "));
        Refusal::nothing("no-backup", message)
    })
}

fn of_snapshot(region: &RegionBackups, backup: &BackupId, snapshot: &Snapshot) -> Option<SelectedBackup> {
    let via = RestoreSource::Snapshot {
        backup: backup.clone(),
        identifier: snapshot.id.as_str().to_owned(),
        arn: snapshot.arn.clone(),
        resource_id: snapshot.resource_id.clone(),
        recovery_point: snapshot.recovery_point()?,
        encrypted: snapshot.encrypted,
    };
    Some(SelectedBackup { region: region.name.clone(), via })
}

fn of_automated(
    region: &RegionBackups,
    automated: &AutomatedBackups,
    time: Option<DateTime<Utc>>,
) -> SelectedBackup {
    let moment = time.map_or(RestoreMoment::Latest, RestoreMoment::At);
    let origin = match &automated.origin {
        Origin::Automated { resource_id, .. } => {
            Origin::Automated { resource_id: resource_id.clone(), moment }
        }
        Origin::Replicated { arn, .. } => Origin::Replicated { arn: arn.clone(), moment },
        Origin::Live { identifier, resource_id, .. } => {
            Origin::Live { identifier: identifier.clone(), resource_id: resource_id.clone(), moment }
        }
        Origin::Snapshot(name) => Origin::Snapshot(name.clone()),
    };
    let until = time.unwrap_or(automated.window.latest);
    let via = RestoreSource::Automated {
        origin,
        identifier: automated.identifier.clone(),
        resource_id: automated.resource_id.clone(),
        until,
        encrypted: automated.encrypted,
    };
    SelectedBackup { region: region.name.clone(), via }
}

/// Returns everything of that database that can be restored as a whole, in the order of the regions; of any
/// database where none is named.
fn whole<'r>(regions: &'r [RegionBackups], of: Option<&'r str>) -> impl Iterator<Item = SelectedBackup> + 'r {
    regions.iter().flat_map(move |region| {
        let is_of = move |id: Option<&str>| of.is_none() || id.is_none() || of == id;
        let automated = region.automated.iter().filter(move |automated| is_of(Some(&automated.resource_id)));
        let automated = automated.map(|automated| of_automated(region, automated, None));
        let snapshots =
            region.snapshots.iter().filter(move |(_, snapshot)| is_of(snapshot.resource_id.as_deref()));
        let snapshots = snapshots.filter_map(|(backup, snapshot)| of_snapshot(region, backup, snapshot));
        automated.chain(snapshots)
    })
}

fn latest(
    request: &RdsRestoreRequest,
    regions: &[RegionBackups],
    lineage: &Lineage,
) -> Result<SelectedBackup, Refusal> {
    if lineage.is_ambiguous() {
        let message = format!(
            "the database that has the name `{}` now ({}) is another than the one that was backed up ({}), so that it cannot be said whose latest data is meant",
            request.config.database.identifier(),
            lineage.live.as_deref().unwrap_or_default(),
            lineage.backed_up.join(", ")
        );
        return Err(Refusal::not_ready("other-database", message));
    }
    // The first of several with the same time.
    let best = |of: Option<&str>| {
        whole(regions, of).reduce(|best, next| if next.via.until() > best.via.until() { next } else { best })
    };
    // A database renamed in a switchover keeps having backups, without new data: its snapshots come first.
    let before = || {
        let snapshots = |of: &str| {
            let all = whole(regions, Some(of)).filter(|chosen| chosen.via.is_snapshot());
            all.max_by_key(|chosen| chosen.via.until())
        };
        lineage
            .switched
            .iter()
            .find_map(|before| snapshots(&before.resource_id).or_else(|| best(Some(&before.resource_id))))
    };
    best(lineage.current()).or_else(before).ok_or_else(|| {
        let message = format!(
            "there is nothing to restore of `{}`: no snapshot of drctl's, and no automated backup",
            request.source
        );
        Refusal::nothing("no-backup", message)
    })
}

fn at(
    request: &RdsRestoreRequest,
    time: DateTime<Utc>,
    regions: &[RegionBackups],
    lineage: &Lineage,
) -> Result<SelectedBackup, Refusal> {
    let reaches = regions.iter().enumerate().flat_map(|(position, region)| {
        let automated = region.automated.iter().filter(|automated| automated.window.holds(time));
        automated.map(move |automated| (position, region, automated))
    });
    // One that was set aside continues, without what was written to its successor. Of several unknown ones,
    // the one whose backups end last is most likely the existing one.
    let best = reaches.min_by_key(|(position, _, automated)| {
        (lineage.rank(&automated.resource_id), *position, Reverse(automated.window.latest))
    });
    if let Some((_, region, automated)) = best {
        return Ok(of_automated(region, automated, Some(time)));
    }
    let windows: Vec<_> = regions
        .iter()
        .flat_map(|region| region.automated.iter().map(|automated| (region.name.as_str(), automated.window)))
        .collect();
    let before = whole(regions, None).filter(|chosen| chosen.via.is_snapshot());
    let before = before.filter(|chosen| chosen.via.until() <= time).max_by_key(|chosen| chosen.via.until());
    let nearest = before.and_then(|chosen| match chosen.via {
        RestoreSource::Snapshot { backup, recovery_point, .. } => Some((backup, recovery_point)),
        RestoreSource::Automated { .. } => None,
    });
    let message = format!(
        "nothing restores `{}` to {}: {}{}",
        request.source,
        format_time(time),
        describe_windows(&windows),
        describe_nearest(nearest, time)
    );
    Err(Refusal::nothing("out-of-reach", message))
}

fn describe_windows(windows: &[(&str, RestoreWindow)]) -> String {
    if windows.is_empty() {
        return "there are no automated backups".to_owned();
    }
    let one = |(region, window): &(&str, RestoreWindow)| {
        format!("{region} has {} to {}", format_time(window.earliest), format_time(window.latest))
    };
    windows.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn describe_nearest(nearest: Option<(BackupId, DateTime<Utc>)>, time: DateTime<Utc>) -> String {
    match nearest {
        None => "; no snapshot is from before it".to_owned(),
        Some((backup, point)) => format!(
            "; the nearest snapshot before it is {backup} of {}, which loses {}",
            format_time(point),
            format_duration(std::time::Duration::from_secs((time - point).num_seconds().unsigned_abs()))
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::AwsTags;
    use crate::aws::rds::SnapshotId;
    use crate::model::BackupKind;
    use crate::policy::{AwsLocation, Credentials, PromoteHooks, RdsSource};

    fn time(minute: u32) -> DateTime<Utc> {
        format!("2026-11-20T12:{minute:02}:00Z").parse().unwrap()
    }

    fn request(target: RdsTarget) -> RdsRestoreRequest {
        let place = AwsLocation {
            region: "us-east-1".to_owned(),
            endpoint: None,
            credentials: Credentials::Default,
            poll: std::time::Duration::from_secs(20),
            deadline: std::time::Duration::from_secs(60),
            patience: std::time::Duration::from_secs(15),
        };
        RdsRestoreRequest {
            system: "shop".parse().unwrap(),
            source: "instance".parse().unwrap(),
            config: RdsSource {
                place,
                database: RdsDatabase::Instance("shop".to_owned()),
                snapshots: true,
                login: None,
                regions: vec![],
                share_with: vec![],
                promote: PromoteHooks::default(),
            },
            target,
            region: None,
            to: "new".to_owned(),
            overrides: Default::default(),
            lifetime: None,
            prices: None,
            hydrate: true,
            backups_later: false,
        }
    }

    fn snapshot(minute: u32) -> (BackupId, Snapshot) {
        let id = BackupId::new(time(minute), &"instance".parse().unwrap(), BackupKind::Snapshot, minute);
        let name = format!("drctl-{minute}");
        let snapshot = Snapshot {
            id: SnapshotId::Instance(name.clone()),
            arn: format!("arn:{name}"),
            of: "shop".to_owned(),
            resource_id: Some("db-1".to_owned()),
            status: "available".to_owned(),
            percent: None,
            database_time: Some(time(minute)),
            created: None,
            engine: None,
            engine_version: None,
            encrypted: true,
            kms_key: None,
            allocated_gib: None,
            copied_from: None,
            tags: AwsTags::default(),
        };
        (id, snapshot)
    }

    fn automated(resource_id: &str, from: u32, to: u32) -> AutomatedBackups {
        AutomatedBackups {
            identifier: "shop".to_owned(),
            resource_id: resource_id.to_owned(),
            origin: Origin::Automated { resource_id: resource_id.to_owned(), moment: RestoreMoment::Latest },
            window: RestoreWindow { earliest: time(from), latest: time(to) },
            encrypted: true,
        }
    }

    fn region(name: &str, snapshots: &[u32], automated: Vec<AutomatedBackups>) -> RegionBackups {
        let snapshots = snapshots.iter().map(|minute| snapshot(*minute)).collect();
        RegionBackups { name: name.to_owned(), snapshots, automated }
    }

    fn chosen(target: RdsTarget, regions: &[RegionBackups]) -> (String, DateTime<Utc>) {
        let chosen = choose(&request(target), regions, &[], &Lineage::default()).unwrap();
        (chosen.region, chosen.via.until())
    }

    #[test]
    fn the_latest_is_what_reaches_furthest_wherever_it_is() {
        let east = |to| region("us-east-1", &[10], vec![automated("db-1", 0, to)]);
        let west = region("us-west-2", &[10, 30], vec![]);
        let latest = |regions: &[RegionBackups]| chosen(RdsTarget::Latest, regions);
        assert_eq!(latest(&[east(40), west.clone()]), ("us-east-1".to_owned(), time(40)));
        assert_eq!(latest(&[east(20), west.clone()]), ("us-west-2".to_owned(), time(30)));
        // The same in both is taken where the database is.
        let same = [region("us-east-1", &[30], vec![]), west];
        assert_eq!(latest(&same), ("us-east-1".to_owned(), time(30)));
        let nothing = choose(
            &request(RdsTarget::Latest),
            &[region("us-east-1", &[], vec![])],
            &[],
            &Lineage::default(),
        );
        assert_eq!(nothing.unwrap_err().code, "no-backup");
    }

    #[test]
    fn a_time_is_reached_exactly_or_not_at_all() {
        let east = region("us-east-1", &[5], vec![automated("db-1", 10, 40)]);
        let west = region("us-west-2", &[5], vec![automated("db-1", 10, 50)]);
        let both = [east, west];
        assert_eq!(chosen(RdsTarget::Time(time(20)), &both), ("us-east-1".to_owned(), time(20)));
        assert_eq!(chosen(RdsTarget::Time(time(45)), &both), ("us-west-2".to_owned(), time(45)));
        let part = time(20) + chrono::TimeDelta::milliseconds(900);
        assert_eq!(chosen(RdsTarget::Time(part), &both).1, time(20), "RDS counts in seconds");
        // RDS takes only what is before the end of its window.
        for (minute, nearest) in [(50, Some(5)), (9, Some(5)), (4, None)] {
            let refused =
                choose(&request(RdsTarget::Time(time(minute))), &both, &[], &Lineage::default()).unwrap_err();
            assert_eq!(refused.code, "out-of-reach");
            assert_eq!(
                refused.message.matches("-2 has ").count() + refused.message.matches("-1 has ").count(),
                2
            );
            let found =
                nearest.map(|nearest| format!(" of {}, which loses ", time(nearest).format("%FT%TZ")));
            let found = found.unwrap_or_else(|| "; no snapshot is from before it".to_owned());
            assert!(refused.message.contains(&found), "{minute}: {refused}");
        }
    }

    #[test]
    fn a_database_that_had_the_name_before_can_still_be_restored() {
        let all = vec![automated("db-old", 0, 20), automated("db-new", 25, 50)];
        let regions = [region("us-east-1", &[], all)];
        let of = |minute| {
            choose(&request(RdsTarget::Time(time(minute))), &regions, &[], &Lineage::default())
                .unwrap()
                .via
                .tag()
        };
        assert!(of(10).starts_with("db-old "), "{}", of(10));
        assert!(of(30).starts_with("db-new "), "{}", of(30));
    }

    #[test]
    fn a_time_is_of_the_database_in_production_and_not_of_one_put_aside() {
        // The old one was put aside and still runs, a little further.
        let old = AutomatedBackups { identifier: "shop-old".to_owned(), ..automated("db-old", 0, 40) };
        let east = region("us-east-1", &[], vec![old.clone(), automated("db-new", 20, 39)]);
        let west = region("us-west-2", &[], vec![automated("db-new", 10, 35)]);
        let chosen = |minute, live: Option<&str>, regions: &[RegionBackups]| {
            let backed_up = vec!["db-new".to_owned(), "db-old".to_owned()];
            let lineage = Lineage { live: live.map(str::to_owned), backed_up, switched: vec![] };
            let chosen = choose(&request(RdsTarget::Time(time(minute))), regions, &[], &lineage).unwrap();
            let note = lineage.note(&request(RdsTarget::Time(time(minute))), &chosen.via, regions);
            (chosen.via.words(), chosen.region, note.unwrap_or_default())
        };
        let (both, live) = ([east, west], Some("db-new"));
        let of_new = "RDS's automated backups of `shop` (db-new)";
        for (minute, live, place) in
            [(30, live, "us-east-1"), (30, None, "us-east-1"), (15, live, "us-west-2")]
        {
            let (whose, region, note) = chosen(minute, live, &both);
            assert_eq!((whose.as_str(), region.as_str()), (of_new, place), "{minute}, {live:?}");
            assert!(note.starts_with("`shop-old` (db-old) has a state of this moment, too"), "{note}");
        }
        assert_eq!(chosen(30, live, &both[1..]).2, "", "nobody else's");
        let (whose, _, note) = chosen(5, live, &both);
        assert_eq!(whose, "RDS's automated backups of `shop-old` (db-old)");
        assert!(
            note.contains("`shop-old` (db-old)") && note.contains("in production now (db-new)"),
            "{note}"
        );
        // Of those that are not, the one that was backed up later.
        let older = AutomatedBackups { identifier: "shop-older".to_owned(), ..automated("db-older", 0, 50) };
        let east = [region("us-east-1", &[], vec![older, old])];
        assert_eq!(chosen(30, live, &east).0, "RDS's automated backups of `shop-old` (db-old)");
    }

    #[test]
    fn the_latest_is_of_the_database_that_was_backed_up_or_nobody_s() {
        let all = vec![automated("db-1", 0, 20), automated("db-new", 25, 50)];
        let regions = [region("us-east-1", &[10], all)];
        let latest = |live: Option<&str>, backed_up: &[&str]| {
            let backed_up = backed_up.iter().map(|id| (*id).to_owned()).collect();
            let lineage = Lineage { live: live.map(str::to_owned), backed_up, switched: vec![] };
            choose(&request(RdsTarget::Latest), &regions, &[], &lineage).map(|chosen| chosen.via.until())
        };
        assert_eq!(latest(Some("db-1"), &["db-1"]).unwrap(), time(20));
        assert_eq!(latest(None, &["db-1"]).unwrap(), time(20), "its region is gone");
        assert_eq!(latest(Some("db-new"), &["db-new", "db-1"]).unwrap(), time(50));
        assert_eq!(latest(Some("db-new"), &["db-1"]).unwrap_err().code, "other-database");
        let only_live = Lineage { live: Some("db-1".to_owned()), ..Lineage::default() };
        assert!(only_live.holds("db-1", false, false) && !only_live.holds("db-2", true, true));
        assert!(
            Lineage::default().holds("db-2", true, true) && !Lineage::default().holds("db-2", true, false)
        );
    }

    #[test]
    fn after_a_switchover_the_latest_is_of_the_new_one_and_else_what_there_was_before() {
        let switched =
            vec![SwitchedOver { identifier: "shop-old1".to_owned(), resource_id: "db-1".to_owned() }];
        let lineage =
            Lineage { live: Some("db-new".to_owned()), backed_up: vec!["db-1".to_owned()], switched };
        // What was put aside goes on, and RDS backs it up still.
        let old = automated("db-1", 0, 50);
        let both = [region("us-east-1", &[10, 20], vec![old.clone(), automated("db-new", 25, 40)])];
        let latest = |regions: &[RegionBackups]| {
            let chosen = choose(&request(RdsTarget::Latest), regions, &[], &lineage).unwrap();
            let note = lineage.note(&request(RdsTarget::Latest), &chosen.via, regions);
            (chosen.via.until(), note)
        };
        assert_eq!(latest(&both), (time(40), None));
        let (until, note) = latest(&[region("us-east-1", &[10, 20], vec![old.clone()])]);
        assert_eq!(until, time(20), "its snapshots are of before, whatever RDS adds to the other");
        assert!(note.unwrap().contains("until a blue/green switchover"));
        let (until, _) = latest(&[region("us-east-1", &[], vec![old])]);
        assert_eq!(until, time(50), "where there is nothing else");
    }

    #[test]
    fn a_restore_of_the_latest_is_the_same_however_much_has_come_since() {
        let via = |to, moment| RestoreSource::Automated {
            origin: Origin::Automated { resource_id: "db-1".to_owned(), moment },
            identifier: "shop".to_owned(),
            resource_id: "db-1".to_owned(),
            until: time(to),
            encrypted: true,
        };
        assert!(via(20, RestoreMoment::Latest).is_begun_as(&via(10, RestoreMoment::Latest).tag()));
        assert!(!via(20, RestoreMoment::At(time(20))).is_begun_as(&via(20, RestoreMoment::Latest).tag()));
        assert!(
            !via(20, RestoreMoment::At(time(20))).is_begun_as(&via(10, RestoreMoment::At(time(10))).tag())
        );
    }
}
