//! Preconditions of restoring onto this host. Pure.

use std::path::Path;

use super::host::{DirectoryState, DirectorySurvey};
use super::layout::MANUAL_RESTORE;
use super::survey::PhysicalSurvey;
use super::tablespaces::TablespacePlan;
use super::{PhysicalRestoreRequest, delta};
use crate::model::{Manifest, SystemIdentifier};
use crate::postgres::MadeTablespace;
use crate::restore::Refusal;

/// The first major that creates a tablespace whose record has no path where the data directory has a link for
/// it.
const MAPS_SINCE: u32 = 15;

/// Room for the WAL that a server keeps next to its data while it recovers.
const LOG_SEGMENTS: u64 = 16;
const MARGIN: u64 = 64 << 20;

const LIVE: &str = "where the cluster that was backed up has its data";

pub(super) fn objections(
    request: &PhysicalRestoreRequest,
    situation: &PhysicalSurvey,
    tablespaces: &[TablespacePlan],
    major: u32,
) -> Vec<Refusal> {
    let PhysicalSurvey { base, here, .. } = situation;
    let mut refusals = Vec::new();
    if let (Some(full), None) = (situation.parents.first(), &here.combining) {
        let message = format!(
            "`{}` holds only what changed since another backup, and what puts them together (pg_combinebackup and pg_verifybackup of PostgreSQL {major}) is not on this host",
            base.manifest.id
        );
        let refusal = Refusal::not_ready("no-combine", message);
        refusals.push(refusal.with("full", &full.manifest.id).with("major", major));
    }
    refusals.extend(unknown_mappings(request, situation));
    refusals.extend(unmappable(situation, major));
    let places: Vec<&DirectorySurvey> =
        std::iter::once(&here.to).chain(&here.tablespaces).chain(&here.wal).collect();
    for (place, asked) in places.iter().zip(asked(request, tablespaces)) {
        refusals.extend(place_objection(place, request, situation));
        if !asked.is_absolute() {
            let message =
                format!("`{}` does not say where from the root of the file system it is", asked.display());
            refusals.push(Refusal::usage("relative-path", message));
        }
        if place.path.to_string_lossy().contains(['\n', '\r']) {
            let message = format!(
                "`{}` has a line break in it, which PostgreSQL's settings cannot say",
                place.path.display()
            );
            refusals.push(Refusal::usage("line-break", message));
        }
        for space in &situation.tablespaces {
            let live = Path::new(&space.location);
            if let Some(relation) = relation(&place.path, live) {
                refusals.push(overlaps(&place.path, relation, live, LIVE));
            }
        }
    }
    for place in &places {
        refusals.extend(here.repositories.iter().filter_map(|(repository, of)| {
            let relation = relation(&place.path, of)?;
            let what = format!("where repository `{repository}` keeps the backups");
            Some(overlaps(&place.path, relation, of, &what))
        }));
    }
    for (n, place) in places.iter().enumerate() {
        for other in &places[n + 1..] {
            if let Some(relation) = relation(&other.path, &place.path) {
                refusals.push(overlaps(&other.path, relation, &place.path, "which is to be filled too"));
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

/// Returns whether an existing directory is resumed: it has the same backup, and its recovery is incomplete.
pub(super) fn resumes(request: &PhysicalRestoreRequest, situation: &PhysicalSurvey) -> bool {
    let begun = situation.here.to.begun();
    !request.delta && begun.is_some_and(|begun| begun.backup == situation.base.manifest.id)
}

/// Refuses tablespaces that can be created only where the live cluster has them.
fn unmappable(situation: &PhysicalSurvey, major: u32) -> Vec<Refusal> {
    let way = &situation.way;
    let refusal = |made: &MadeTablespace| {
        let why = if major < MAPS_SINCE {
            format!("PostgreSQL {major} creates it there, whatever link it finds")
        } else if way.across.contains(&made.at) {
            "its record crosses the border of two segments".to_owned()
        } else {
            return None;
        };
        let message = format!(
            "the WAL creates tablespace {} at `{}` (record at {}), and {why}",
            made.oid, made.path, made.at
        );
        Some(Refusal::not_ready("unmappable-tablespace", message).with("at", made.at))
    };
    way.tablespaces.iter().filter_map(refusal).collect()
}

fn unknown_mappings(request: &PhysicalRestoreRequest, situation: &PhysicalSurvey) -> Vec<Refusal> {
    let spaces = &situation.tablespaces;
    let is_known = |which: &str| {
        spaces.iter().any(|s| s.oid.to_string() == which || Path::new(&s.location) == Path::new(which))
    };
    let known: Vec<String> = spaces.iter().map(|s| format!("{} (at `{}`)", s.oid, s.location)).collect();
    let known = match known.is_empty() {
        true => "; it has none".to_owned(),
        false => format!("; it has {}", known.join(", ")),
    };
    let unknown = request.tablespaces.iter().filter(|mapping| !is_known(&mapping.which));
    unknown
        .map(|mapping| {
            let message = format!("the backup has no tablespace `{}`{known}", mapping.which);
            Refusal::usage("unknown-tablespace", message)
        })
        .collect()
}

fn place_objection(
    place: &DirectorySurvey,
    request: &PhysicalRestoreRequest,
    situation: &PhysicalSurvey,
) -> Option<Refusal> {
    let path = place.path.as_path();
    if resumes(request, situation) {
        let begun = situation.here.to.begun();
        if path == situation.here.to.path {
            let file = delta::process_file(path);
            return file.map(|file| runs(path, &file));
        }
        if begun.is_some_and(|begun| begun.has(path)) {
            return None;
        }
    }
    if let Some(of) = place.inside.clone() {
        return Some(overlaps(path, "is inside", &of, "which is a data directory"));
    }
    match &place.standing {
        DirectoryState::Absent | DirectoryState::Empty => None,
        DirectoryState::LeftOver(_) if request.drop_leftovers => None,
        DirectoryState::LeftOver(run) => {
            let message = format!("`{}` is left of a restore that did not end (run `{run}`)", path.display());
            Some(Refusal::not_ready("leftover-directory", message))
        }
        DirectoryState::AtWork(run) => Some(at_work(path, run)),
        DirectoryState::Changed(cluster) if request.delta => other_cluster(path, *cluster, situation),
        DirectoryState::Changed(_) => {
            let message = format!(
                "`{}` is a data directory that a restore with `--delta` was changing and did not finish: only `--delta` resumes it",
                path.display()
            );
            Some(Refusal::not_ready("half-changed", message))
        }
        DirectoryState::Data | DirectoryState::Restored | DirectoryState::Begun(_)
            if let Some(found) = reusable(place, situation) =>
        {
            match &found.process_file {
                Some(file) => Some(runs(path, file)),
                None => other_cluster(path, found.cluster, situation),
            }
        }
        DirectoryState::Data | DirectoryState::Restored | DirectoryState::Begun(_) if place.is_reusable => {
            None
        }
        DirectoryState::Restored | DirectoryState::Begun(_) => {
            let message = format!(
                "`{}` holds a cluster that drctl has restored; `{}` in it says how to start it",
                path.display(),
                MANUAL_RESTORE
            );
            Some(Refusal::not_ready("directory-not-empty", message))
        }
        DirectoryState::Data => Some(not_empty(path)),
        DirectoryState::NotADirectory => {
            let message = format!("`{}` is not a directory", path.display());
            Some(Refusal::not_ready("directory-not-empty", message))
        }
    }
}

/// Returns the data directory that may be changed, if this is it.
fn reusable<'s>(place: &DirectorySurvey, situation: &'s PhysicalSurvey) -> Option<&'s delta::ReuseState> {
    let here = &situation.here;
    here.reusable.as_ref().filter(|_| place.path == here.to.path)
}

fn other_cluster(path: &Path, found: SystemIdentifier, situation: &PhysicalSurvey) -> Option<Refusal> {
    let expected = situation.base.cluster;
    let message = || {
        format!(
            "`{}` is a data directory of another cluster: its system identifier is {found}, and {expected} was backed up",
            path.display()
        )
    };
    (found != expected).then(|| Refusal::not_ready("other-cluster", message()))
}

pub(super) fn at_work(path: &Path, run: &str) -> Refusal {
    let message = format!("a restore is at work in `{}` (run `{run}`)", path.display());
    Refusal::not_ready("restore-at-work", message)
}

pub(super) fn not_empty(path: &Path) -> Refusal {
    Refusal::not_ready("directory-not-empty", format!("`{}` is not empty", path.display()))
}

pub(super) fn runs(path: &Path, file: &Path) -> Refusal {
    let (path, file) = (path.display(), file.display());
    let message = format!("a server runs in `{path}`, or has ended without being stopped: `{file}` is there");
    Refusal::not_ready("server-runs", message).with("path", path).with("file", file)
}

fn overlaps(path: &Path, relation: &str, of: &Path, what: &str) -> Refusal {
    let message = format!("`{}` {relation} `{}`, {what}", path.display(), of.display());
    Refusal::not_ready("directory-not-empty", message)
}

/// Describes how one path conflicts with the other.
fn relation(path: &Path, other: &Path) -> Option<&'static str> {
    match () {
        () if path == other => Some("is the same as"),
        () if path.starts_with(other) => Some("is inside"),
        () if other.starts_with(path) => Some("has in it"),
        () => None,
    }
}

/// Checks whether each file system has enough space for everything that goes there.
fn space(situation: &PhysicalSurvey, tablespaces: &[TablespacePlan]) -> Vec<Refusal> {
    let PhysicalSurvey { base, here, .. } = situation;
    if here.to.begun().is_some() && here.reusable.is_none() {
        return vec![];
    }
    let spaces: u64 = tablespaces.iter().map(|space| space.bytes + space.scratch_bytes).sum();
    let (plain, scratch) = sizes(situation);
    let data = (plain + scratch).saturating_sub(spaces);
    let log = LOG_SEGMENTS * base.physical.segment_size.bytes();
    let mut needs = own_needs((&here.to, here.wal.as_ref()), data, here.reusable_bytes, log);
    needs.extend(
        here.tablespaces
            .iter()
            .zip(tablespaces)
            .map(|(place, s)| (place, s.bytes + s.scratch_bytes + MARGIN)),
    );
    shortages(&needs)
}

/// A directory, and the bytes that its file system must have free for it.
type Need<'s> = (&'s DirectorySurvey, u64);

/// Returns the needs of the data directory and of its WAL, which goes where `pg_wal` is.
fn own_needs<'s>(
    (to, wal): (&'s DirectorySurvey, Option<&'s DirectorySurvey>),
    data: u64,
    reusable: u64,
    log: u64,
) -> Vec<Need<'s>> {
    let of_data = |bytes: u64| (to, (bytes + MARGIN).saturating_sub(reusable));
    match wal {
        Some(wal) => vec![of_data(data), (wal, log + MARGIN)],
        None => vec![of_data(data + log)],
    }
}

/// Refuses file systems that have less free space than the sum of what goes there.
fn shortages(needs: &[Need<'_>]) -> Vec<Refusal> {
    let mut told: Vec<u64> = Vec::new();
    let mut refusals = Vec::new();
    for (place, _) in needs {
        let needed: u64 =
            needs.iter().filter(|(other, _)| other.device == place.device).map(|(_, bytes)| bytes).sum();
        if needed > place.free && !told.contains(&place.device) {
            told.push(place.device);
            let message = format!(
                "the restore needs {} in `{}`, where {} are free",
                bytesize::ByteSize(needed).display().iec(),
                place.path.display(),
                bytesize::ByteSize(place.free).display().iec()
            );
            refusals.push(Refusal::not_ready("no-space", message));
        }
    }
    refusals
}

/// Returns all backups that have to be read, the full one first.
pub(super) fn parts(situation: &PhysicalSurvey) -> impl Iterator<Item = &Manifest> {
    situation.parents.iter().chain([&situation.base]).map(|part| &part.manifest)
}

/// Returns the unpacked size, and the extra space while a chain is combined, in bytes. The size of the result
/// is not known before: at most the sum of all parts.
pub(super) fn sizes(situation: &PhysicalSurvey) -> (u64, u64) {
    let plain = parts(situation).map(Manifest::plain_size).sum();
    (plain, if situation.parents.is_empty() { 0 } else { plain })
}

/// Returns the reasons against running a server here.
fn running(request: &PhysicalRestoreRequest, situation: &PhysicalSurvey, major: u32) -> Vec<Refusal> {
    let here = &situation.here;
    let mut refusals = Vec::new();
    if let Some(owner) = &request.owner {
        if !here.is_root {
            let message = format!("only root can give files to another user (`{}`)", owner.name);
            refusals.push(Refusal::usage("not-root", message));
        }
        refusals.extend(here.unreadable.iter().map(|path| {
            let (path, user) = (path.display(), &owner.name);
            let message = format!("`{path}` cannot be read by `{user}`, who runs `restore_command`");
            Refusal::not_ready("unreadable-file", message).with("user", user)
        }));
    }
    if request.start.is_some() {
        if here.is_root && request.owner.as_ref().is_none_or(|owner| owner.user == 0) {
            let message =
                "PostgreSQL does not run as root, and it was not said who the files are to belong to";
            refusals.push(Refusal::not_ready("root-owns", message));
        }
        if here.servers.iter().all(|tools| tools.major != major) {
            let found: Vec<_> = here.servers.iter().map(|tools| tools.major.to_string()).collect();
            let found = match found.is_empty() {
                true => "; there are none".to_owned(),
                false => format!("; here is {}", found.join(", ")),
            };
            let message =
                format!("to start it, the server programs of PostgreSQL {major} are needed here{found}");
            refusals.push(Refusal::not_ready("no-server", message).with("major", major));
        }
        refusals.extend(here.port_taken.iter().map(|(port, why)| {
            let message = format!("no server can listen on port {port} of 127.0.0.1: {why}");
            Refusal::not_ready("port-taken", message)
        }));
    }
    refusals
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: &str, device: u64, free_mib: u64) -> DirectorySurvey {
        DirectorySurvey {
            path: path.into(),
            standing: DirectoryState::Absent,
            free: free_mib << 20,
            device,
            inside: None,
            is_reusable: false,
        }
    }

    #[test]
    fn the_wal_needs_room_where_pg_wal_goes() {
        let (data, log) = (1000 << 20, 256 << 20);
        let short = |to: &DirectorySurvey, wal: Option<&DirectorySurvey>, reusable| -> Vec<String> {
            shortages(&own_needs((to, wal), data, reusable, log)).iter().map(ToString::to_string).collect()
        };
        let (roomy, tight) = (place("/data", 1, 1320), place("/data", 1, 1319));
        assert!(short(&roomy, None, 0).is_empty());
        assert!(short(&tight, None, 0)[0].contains("`/data`"));
        assert!(short(&tight, None, 1 << 20).is_empty());
        // On a volume of its own, of which the data directory knows nothing.
        let told = short(&tight, Some(&place("/wal", 2, 319)), 0);
        assert!(told.len() == 1 && told[0].contains("needs 320.0 MiB in `/wal`"), "{told:?}");
        assert!(short(&tight, Some(&place("/wal", 2, 320)), 0).is_empty());
        // Of the same volume both take.
        let told = short(&roomy, Some(&place("/wal", 1, 1320)), 0);
        assert!(told.len() == 1 && told[0].contains("needs 1.4 GiB in `/data`"), "{told:?}");
    }
}
