//! What stands against restoring onto this host. Pure.

use std::path::{Path, PathBuf};

use super::host::{Place, Standing};
use super::plan::{TablespacePlan, room, sizes};
use super::survey::Situation;
use super::{Refusal, Request, delta};
use crate::model::SystemIdentifier;
use crate::postgres::MadeTablespace;

/// The first major that makes a tablespace whose record has no path where the data directory has a link for it.
const MAPS_SINCE: u32 = 15;

const LIVE: &str = "where the cluster that was backed up has its data";

pub(super) fn objections(
    request: &Request,
    situation: &Situation,
    tablespaces: &[TablespacePlan],
    major: u32,
) -> Vec<Refusal> {
    let Situation { base, here, .. } = situation;
    let mut refusals = Vec::new();
    if let (Some(full), None) = (situation.parents.first(), &here.combining) {
        let (backup, full) = (base.manifest.id.clone(), full.manifest.id.clone());
        refusals.push(Refusal::NoCombine { backup, full, major });
    }
    refusals.extend(unknown_mappings(request, situation));
    refusals.extend(unmappable(situation, major));
    let places: Vec<&Place> = std::iter::once(&here.to).chain(&here.tablespaces).chain(&here.wal).collect();
    for (place, asked) in places.iter().zip(asked(request, tablespaces)) {
        refusals.extend(place_objection(place, request, situation));
        if !asked.is_absolute() {
            refusals.push(Refusal::Relative(asked.to_owned()));
        }
        if place.path.to_string_lossy().contains(['\n', '\r']) {
            refusals.push(Refusal::LineBreak(place.path.clone()));
        }
        for space in &situation.tablespaces {
            let live = Path::new(&space.location);
            if let Some(relation) = relation(&place.path, live) {
                let (path, of) = (place.path.clone(), live.to_owned());
                refusals.push(Refusal::Overlaps { path, relation, of, what: LIVE });
            }
        }
    }
    for place in &places {
        refusals.extend(here.repositories.iter().filter_map(|(repository, of)| {
            let relation = relation(&place.path, of)?;
            let (path, of, repository) = (place.path.clone(), of.clone(), repository.clone());
            Some(Refusal::InRepository { path, relation, of, repository })
        }));
    }
    for (n, place) in places.iter().enumerate() {
        for other in &places[n + 1..] {
            if let Some(relation) = relation(&other.path, &place.path) {
                let what = "which is to be filled too";
                let (path, of) = (other.path.clone(), place.path.clone());
                refusals.push(Refusal::Overlaps { path, relation, of, what });
            }
        }
    }
    refusals.extend(space(situation, tablespaces));
    refusals.extend(running(request, situation, major));
    refusals
}

fn asked<'a>(request: &'a Request, tablespaces: &'a [TablespacePlan]) -> impl Iterator<Item = &'a Path> {
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
pub(super) fn resumes(request: &Request, situation: &Situation) -> bool {
    let begun = situation.here.to.begun();
    !request.delta && begun.is_some_and(|begun| begun.backup == situation.base.manifest.id)
}

/// Tablespaces that can be made nowhere but where the live cluster has them.
fn unmappable(situation: &Situation, major: u32) -> Vec<Refusal> {
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
        Some(Refusal::Unmappable { oid, path, at, why })
    };
    way.tablespaces.iter().filter_map(refusal).collect()
}

fn unknown_mappings(request: &Request, situation: &Situation) -> Vec<Refusal> {
    let spaces = &situation.tablespaces;
    let is_known = |which: &str| {
        spaces.iter().any(|s| s.oid.to_string() == which || Path::new(&s.location) == Path::new(which))
    };
    let known: Vec<String> = spaces.iter().map(|s| format!("{} (at `{}`)", s.oid, s.location)).collect();
    let unknown = request.tablespaces.iter().filter(|mapping| !is_known(&mapping.which));
    unknown
        .map(|mapping| Refusal::UnknownTablespace { which: mapping.which.clone(), known: known.clone() })
        .collect()
}

fn place_objection(place: &Place, request: &Request, situation: &Situation) -> Option<Refusal> {
    let path = place.path.clone();
    if resumes(request, situation) {
        let begun = situation.here.to.begun();
        if path == situation.here.to.path {
            let file = delta::process_file(&path);
            return file.map(|file| Refusal::Runs { path, file });
        }
        if begun.is_some_and(|begun| begun.has(&path)) {
            return None;
        }
    }
    if let Some(of) = place.inside.clone() {
        let what = "which is a data directory";
        return Some(Refusal::Overlaps { path, relation: "is inside", of, what });
    }
    match &place.standing {
        Standing::Absent | Standing::Empty => None,
        Standing::LeftOver(_) if request.drop_leftovers => None,
        Standing::LeftOver(run) => Some(Refusal::LeftOver { path, run: run.clone() }),
        Standing::AtWork(run) => Some(Refusal::AtWork { path, run: run.clone() }),
        Standing::Changed(cluster) if request.delta => other_cluster(path, *cluster, situation),
        Standing::Changed(_) => Some(Refusal::HalfChanged(path)),
        Standing::Data | Standing::Restored | Standing::Begun(_)
            if let Some(found) = reusable(place, situation) =>
        {
            match &found.process_file {
                Some(file) => Some(Refusal::Runs { path, file: file.clone() }),
                None => other_cluster(path, found.cluster, situation),
            }
        }
        Standing::Data | Standing::Restored | Standing::Begun(_) if place.is_reusable => None,
        Standing::Restored | Standing::Begun(_) => Some(Refusal::Restored(path)),
        Standing::Data => Some(Refusal::NotEmpty(path)),
        Standing::NotADirectory => Some(Refusal::NotADirectory { path }),
    }
}

/// The data directory that may be changed, if this is it.
fn reusable<'s>(place: &Place, situation: &'s Situation) -> Option<&'s delta::Standing> {
    let here = &situation.here;
    here.reusable.as_ref().filter(|_| place.path == here.to.path)
}

fn other_cluster(path: PathBuf, found: SystemIdentifier, situation: &Situation) -> Option<Refusal> {
    let expected = situation.base.cluster;
    (found != expected).then_some(Refusal::OtherCluster { path, found, expected })
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
fn space(situation: &Situation, tablespaces: &[TablespacePlan]) -> Vec<Refusal> {
    let Situation { base, here, .. } = situation;
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
            refusals.push(Refusal::Space { directory, needed, free: place.free });
        }
    }
    refusals
}

/// What stands against running a server here.
fn running(request: &Request, situation: &Situation, major: u32) -> Vec<Refusal> {
    let here = &situation.here;
    let mut refusals = Vec::new();
    if let Some(owner) = &request.owner {
        if !here.is_root {
            refusals.push(Refusal::NotRoot(owner.name.clone()));
        }
        let unreadable = here.unreadable.iter();
        refusals.extend(
            unreadable.map(|path| Refusal::Unreadable { path: path.clone(), user: owner.name.clone() }),
        );
    }
    if request.start.is_some() {
        if here.is_root && request.owner.as_ref().is_none_or(|owner| owner.user == 0) {
            refusals.push(Refusal::RootOwns);
        }
        if here.servers.iter().all(|tools| tools.major != major) {
            let found = here.servers.iter().map(|tools| tools.major).collect();
            refusals.push(Refusal::NoServer { major, found });
        }
        let taken = here.port_taken.iter();
        refusals.extend(taken.map(|(port, why)| Refusal::PortTaken { port: *port, why: why.clone() }));
    }
    refusals
}
