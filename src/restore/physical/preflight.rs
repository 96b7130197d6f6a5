//! What stands against restoring onto this host. Pure.

use std::path::{Path, PathBuf};

use super::host::{DirectoryState, DirectorySurvey};
use super::plan::{TablespacePlan, room, sizes};
use super::survey::PhysicalSurvey;
use super::{PhysicalRefusal, PhysicalRestoreRequest, delta};
use crate::model::SystemIdentifier;
use crate::postgres::MadeTablespace;

/// The first major that makes a tablespace whose record has no path where the data directory has a link for it.
const MAPS_SINCE: u32 = 15;

const LIVE: &str = "where the cluster that was backed up has its data";

pub(super) fn objections(
    request: &PhysicalRestoreRequest,
    situation: &PhysicalSurvey,
    tablespaces: &[TablespacePlan],
    major: u32,
) -> Vec<PhysicalRefusal> {
    let PhysicalSurvey { base, here, .. } = situation;
    let mut refusals = Vec::new();
    if let (Some(full), None) = (situation.parents.first(), &here.combining) {
        let (backup, full) = (base.manifest.id.clone(), full.manifest.id.clone());
        refusals.push(PhysicalRefusal::NoCombine { backup, full, major });
    }
    refusals.extend(unknown_mappings(request, situation));
    refusals.extend(unmappable(situation, major));
    let places: Vec<&DirectorySurvey> =
        std::iter::once(&here.to).chain(&here.tablespaces).chain(&here.wal).collect();
    for (place, asked) in places.iter().zip(asked(request, tablespaces)) {
        refusals.extend(place_objection(place, request, situation));
        if !asked.is_absolute() {
            refusals.push(PhysicalRefusal::Relative(asked.to_owned()));
        }
        if place.path.to_string_lossy().contains(['\n', '\r']) {
            refusals.push(PhysicalRefusal::LineBreak(place.path.clone()));
        }
        for space in &situation.tablespaces {
            let live = Path::new(&space.location);
            if let Some(relation) = relation(&place.path, live) {
                let (path, of) = (place.path.clone(), live.to_owned());
                refusals.push(PhysicalRefusal::Overlaps { path, relation, of, what: LIVE });
            }
        }
    }
    for place in &places {
        refusals.extend(here.repositories.iter().filter_map(|(repository, of)| {
            let relation = relation(&place.path, of)?;
            let (path, of, repository) = (place.path.clone(), of.clone(), repository.clone());
            Some(PhysicalRefusal::InRepository { path, relation, of, repository })
        }));
    }
    for (n, place) in places.iter().enumerate() {
        for other in &places[n + 1..] {
            if let Some(relation) = relation(&other.path, &place.path) {
                let what = "which is to be filled too";
                let (path, of) = (other.path.clone(), place.path.clone());
                refusals.push(PhysicalRefusal::Overlaps { path, relation, of, what });
            }
        }
    }
    refusals.extend(space(situation, tablespaces));
    refusals.extend(running(request, situation, major));
    refusals
}

fn asked<'a>(
    request: &'a PhysicalRestoreRequest,
    tablespaces: &'a [TablespacePlan],
) -> impl Iterator<Item = &'a Path> {
    let mapped = tablespaces.iter().map(|space| {
        let mapping = request
            .tablespaces
            .iter()
            .find(|mapping| mapping.which == space.oid.to_string() || mapping.which == space.was);
        mapping.map_or(space.to.as_path(), |mapping| mapping.directory.as_path())
    });
    std::iter::once(request.to.as_path()).chain(mapped).chain(request.wal_directory.as_deref())
}

/// Whether what stands there is gone on with: the same backup, and its recovery is open.
pub(super) fn resumes(request: &PhysicalRestoreRequest, situation: &PhysicalSurvey) -> bool {
    let begun = situation.here.to.begun();
    !request.delta && begun.is_some_and(|begun| begun.backup == situation.base.manifest.id)
}

/// Tablespaces that can be made nowhere but where the live cluster has them.
fn unmappable(situation: &PhysicalSurvey, major: u32) -> Vec<PhysicalRefusal> {
    let way = &situation.way;
    let refusal = |made: &MadeTablespace| {
        let why = if major < MAPS_SINCE {
            format!("PostgreSQL {major} creates it there, whatever link it finds")
        } else if way.across.contains(&made.at) {
            "its record crosses the border of two segments".to_owned()
        } else {
            return None;
        };
        let (oid, path, at) = (made.oid, made.path.clone(), made.at);
        Some(PhysicalRefusal::Unmappable { oid, path, at, why })
    };
    way.tablespaces.iter().filter_map(refusal).collect()
}

fn unknown_mappings(request: &PhysicalRestoreRequest, situation: &PhysicalSurvey) -> Vec<PhysicalRefusal> {
    let spaces = &situation.tablespaces;
    let is_known = |which: &str| {
        spaces.iter().any(|s| s.oid.to_string() == which || Path::new(&s.location) == Path::new(which))
    };
    let known: Vec<String> = spaces.iter().map(|s| format!("{} (at `{}`)", s.oid, s.location)).collect();
    let unknown = request.tablespaces.iter().filter(|mapping| !is_known(&mapping.which));
    unknown
        .map(|mapping| PhysicalRefusal::UnknownTablespace {
            which: mapping.which.clone(),
            known: known.clone(),
        })
        .collect()
}

fn place_objection(
    place: &DirectorySurvey,
    request: &PhysicalRestoreRequest,
    situation: &PhysicalSurvey,
) -> Option<PhysicalRefusal> {
    let path = place.path.clone();
    if resumes(request, situation) {
        let begun = situation.here.to.begun();
        if path == situation.here.to.path {
            let file = delta::process_file(&path);
            return file.map(|file| PhysicalRefusal::Runs { path, file });
        }
        if begun.is_some_and(|begun| begun.has(&path)) {
            return None;
        }
    }
    if let Some(of) = place.inside.clone() {
        let what = "which is a data directory";
        return Some(PhysicalRefusal::Overlaps { path, relation: "is inside", of, what });
    }
    match &place.standing {
        DirectoryState::Absent | DirectoryState::Empty => None,
        DirectoryState::LeftOver(_) if request.drop_leftovers => None,
        DirectoryState::LeftOver(run) => Some(PhysicalRefusal::LeftOver { path, run: run.clone() }),
        DirectoryState::AtWork(run) => Some(PhysicalRefusal::AtWork { path, run: run.clone() }),
        DirectoryState::Changed(cluster) if request.delta => other_cluster(path, *cluster, situation),
        DirectoryState::Changed(_) => Some(PhysicalRefusal::HalfChanged(path)),
        DirectoryState::Data | DirectoryState::Restored | DirectoryState::Begun(_)
            if let Some(found) = reusable(place, situation) =>
        {
            match &found.process_file {
                Some(file) => Some(PhysicalRefusal::Runs { path, file: file.clone() }),
                None => other_cluster(path, found.cluster, situation),
            }
        }
        DirectoryState::Data | DirectoryState::Restored | DirectoryState::Begun(_) if place.is_reusable => {
            None
        }
        DirectoryState::Restored | DirectoryState::Begun(_) => Some(PhysicalRefusal::Restored(path)),
        DirectoryState::Data => Some(PhysicalRefusal::NotEmpty(path)),
        DirectoryState::NotADirectory => Some(PhysicalRefusal::NotADirectory { path }),
    }
}

/// The data directory that may be changed, if this is it.
fn reusable<'s>(place: &DirectorySurvey, situation: &'s PhysicalSurvey) -> Option<&'s delta::ReuseState> {
    let here = &situation.here;
    here.reusable.as_ref().filter(|_| place.path == here.to.path)
}

fn other_cluster(
    path: PathBuf,
    found: SystemIdentifier,
    situation: &PhysicalSurvey,
) -> Option<PhysicalRefusal> {
    let expected = situation.base.cluster;
    (found != expected).then_some(PhysicalRefusal::OtherCluster { path, found, expected })
}

/// How one path is in the other's way.
fn relation(path: &Path, other: &Path) -> Option<&'static str> {
    match () {
        () if path == other => Some("is the same as"),
        () if path.starts_with(other) => Some("is inside"),
        () if other.starts_with(path) => Some("has in it"),
        () => None,
    }
}

/// Whether each file system has room for everything that goes there.
fn space(situation: &PhysicalSurvey, tablespaces: &[TablespacePlan]) -> Vec<PhysicalRefusal> {
    let PhysicalSurvey { base, here, .. } = situation;
    if here.to.begun().is_some() && here.reusable.is_none() {
        return vec![];
    }
    let spaces: u64 = tablespaces.iter().map(|space| space.bytes + space.scratch_bytes).sum();
    let (plain, scratch) = sizes(situation);
    let data = (plain + scratch).saturating_sub(spaces);
    let mut needs = vec![(&here.to, room(data, true, &base.physical).saturating_sub(here.reusable_bytes))];
    needs.extend(
        here.tablespaces
            .iter()
            .zip(tablespaces)
            .map(|(place, s)| (place, room(s.bytes + s.scratch_bytes, false, &base.physical))),
    );
    let mut told: Vec<u64> = Vec::new();
    let mut refusals = Vec::new();
    for (place, _) in &needs {
        let needed: u64 =
            needs.iter().filter(|(other, _)| other.device == place.device).map(|(_, bytes)| bytes).sum();
        if needed > place.free && !told.contains(&place.device) {
            told.push(place.device);
            let directory: PathBuf = place.path.clone();
            refusals.push(PhysicalRefusal::Space { directory, needed, free: place.free });
        }
    }
    refusals
}

/// What stands against running a server here.
fn running(request: &PhysicalRestoreRequest, situation: &PhysicalSurvey, major: u32) -> Vec<PhysicalRefusal> {
    let here = &situation.here;
    let mut refusals = Vec::new();
    if let Some(owner) = &request.owner {
        if !here.is_root {
            refusals.push(PhysicalRefusal::NotRoot(owner.name.clone()));
        }
        let unreadable = here.unreadable.iter();
        refusals.extend(
            unreadable
                .map(|path| PhysicalRefusal::Unreadable { path: path.clone(), user: owner.name.clone() }),
        );
    }
    if request.start.is_some() {
        if here.is_root && request.owner.as_ref().is_none_or(|owner| owner.user == 0) {
            refusals.push(PhysicalRefusal::RootOwns);
        }
        if here.servers.iter().all(|tools| tools.major != major) {
            let found = here.servers.iter().map(|tools| tools.major).collect();
            refusals.push(PhysicalRefusal::NoServer { major, found });
        }
        let taken = here.port_taken.iter();
        refusals
            .extend(taken.map(|(port, why)| PhysicalRefusal::PortTaken { port: *port, why: why.clone() }));
    }
    refusals
}
