use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, chown, lchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::combine_incrementals::combine;
use super::configured::configured;
use super::directory_lock::{DirectoryLock, DirectoryMarker};
use super::error::write_error;
use super::fetch::ahead;
use super::host::{DirectoryState, DirectorySurvey};
use super::layout::{
    AUTO_CONFIGURATION, CONFIGURATION, CONTROL, CONTROL_KEPT, MANUAL_RESTORE, MARKER, RESTORED, RESUME_STATE,
};
use super::owned_file::{create, create_directory};
use super::plan::PhysicalRestorePlan;
use super::preflight::{at_work, not_empty, runs};
use super::preload::PreloadLibrary;
use super::release_jobs::own_login;
use super::resume::{Placed, ResumeState};
use super::tablespaces::beside;
use super::unpack::{UnpackError, UnpackMode, Unpacked, Unpacker};
use super::{
    DirectoryCleanup, PhysicalDetails, PhysicalRestoreError, PhysicalRestoreRequest, RecoveryTarget,
    ServerState, Started, TablespacePlan, collation, combine_incrementals, delta, manual_restore, preload,
    release, resume, settings, start,
};
use crate::checks::CheckResult;
use crate::event::{Event, Phase};
use crate::model::{Artifact, Manifest, RepositoryName};
use crate::pipeline::CountingReader;
use crate::postgres::ConnectionParameters;
use crate::restore::{CreatedObject, Executed, RestoreProgress, Restored, Stopped};
use crate::run::RunContext;
use crate::source::postgres_base::BASE;
use crate::text::error_chain;

const WAL: &str = "pg_wal";
const TOLD_EVERY: Duration = Duration::from_millis(250);

/// Executes the plan. Until the last step nothing in the directory can be started; on an earlier failure its
/// contents are removed.
pub(super) async fn execute(
    run: &RunContext,
    plan: &PhysicalRestorePlan,
    progress: &mut RestoreProgress<'_>,
) -> Executed<PhysicalRestoreRequest> {
    let mut state = CleanupState::default();
    let done = steps(run, plan, progress, &mut state).await;
    if !state.is_untouched() {
        progress.created.push(created(run, plan));
    }
    let (unpacked, repository, started) = match done {
        Ok(done) => done,
        Err(error) => {
            let to = plan.to.clone();
            let aftermath = match take_back(&state.filling) {
                Ok(()) if state.changes && !state.is_whole => DirectoryCleanup::HalfChanged { to },
                Ok(()) if state.is_untouched() => DirectoryCleanup::Untouched { to },
                _ if state.is_whole => DirectoryCleanup::Restored { to, server: state.server },
                Ok(()) => DirectoryCleanup::Removed { to },
                Err(error) => DirectoryCleanup::Left { to, reason: error.to_string() },
            };
            return Err(Stopped { error, aftermath });
        }
    };
    let found = format!("{} files of {} bytes", unpacked.files, plan.plain_bytes);
    progress.checks.push(CheckResult::passed("as-stored", found));
    let last_commit = started.as_ref().and_then(|started| started.last_commit);
    let recovery_point = match &plan.target {
        RecoveryTarget::Time(time) => *time,
        _ => last_commit.unwrap_or(plan.recovery_point),
    };
    if let Some(started) = &started {
        let found = format!("{} on timeline {}", started.ended_at, started.timeline);
        progress.checks.push(CheckResult::passed("reached-target", found));
        let ways = ways_in(plan, started).await;
        let logins = match &ways {
            Ok(ways) => ways.clone(),
            // As of a drill, whose server asks for no password.
            Err(_) => own_login(&plan.to).await.into_iter().collect(),
        };
        let compared = collation::compare(&logins, plan.major).await;
        let reasons = compared.check.iter().flat_map(|check| &check.verdict.reasons);
        let told = reasons.map(|reason| &reason.message).chain(&compared.notes);
        told.for_each(|message| run.events.warning(message.clone()));
        progress.checks.extend(compared.check);
        state.notes.extend(compared.notes);
        progress.validate(ways, recovery_point).await;
        if let Some(note) = start::release_event_triggers(plan).await {
            run.events.warning(note.clone());
            state.notes.push(note);
        }
    }
    Ok(Restored {
        to: plan.to.display().to_string(),
        recovery_point,
        left_out: vec![],
        notes: plan.notes.iter().chain(&state.notes).cloned().chain([apart_note(plan)]).collect(),
        details: PhysicalDetails {
            repository,
            to: plan.to.clone(),
            files: unpacked.files,
            plain_bytes: plan.plain_bytes,
            reused_bytes: unpacked.reused,
            stored_bytes: plan.stored_bytes,
            segments: plan.segments,
            started,
        },
    })
}

/// Returns what teardown removes.
fn created(run: &RunContext, plan: &PhysicalRestorePlan) -> CreatedObject {
    match plan.changes {
        true => {
            let what = format!("directory `{}`", plan.to.display());
            CreatedObject::shared(what, "it was a data directory before the restore")
        }
        false => CreatedObject::Directory {
            path: plan.to.clone(),
            beside: apart(plan).map(Path::to_owned).collect(),
            run: run.id.clone(),
        },
    }
}

/// Records in the directory which run restored it, in place of an earlier record.
fn mark_restored(run: &RunContext, plan: &PhysicalRestorePlan) -> Result<(), PhysicalRestoreError> {
    if plan.changes {
        return Ok(());
    }
    let marker = DirectoryMarker {
        run: run.id.to_string(),
        backup: plan.backup.to_string(),
        what: "drctl restored this copy; `drctl recovery release` makes it a server of its own".to_owned(),
        changes: None,
    };
    let path = plan.to.join(RESTORED);
    let _of_an_earlier_run = fs::remove_file(&path);
    write_new(&path, &serde_json::to_vec(&marker).unwrap_or_default(), plan)
}

/// Returns how to log in to the started server: as the policy logs in to the backed-up one, since roles and
/// passwords are those of the backup. It listens on this host only, and possibly without TLS.
async fn ways_in(plan: &PhysicalRestorePlan, started: &Started) -> Result<Vec<ConnectionParameters>, String> {
    let login = plan.steps.login.as_ref().filter(|login| login.url.is_some() || login.url_ref.is_some());
    let login = login.ok_or("the policy has no `url` for the source")?;
    let own = ConnectionParameters::resolve(login).await.map_err(|error| error_chain(&error))?;
    let socket = started.socket_directory.iter().map(|path| path.to_string_lossy().into_owned());
    let hosts = std::iter::once("127.0.0.1".to_owned()).chain(socket);
    Ok(hosts.map(|host| own.locally(&host, started.port)).collect())
}

async fn steps(
    run: &RunContext,
    plan: &PhysicalRestorePlan,
    progress: &mut RestoreProgress<'_>,
    state: &mut CleanupState,
) -> Result<(Unpacked, RepositoryName, Option<start::Started>), PhysicalRestoreError> {
    progress.begin(Phase::Prepare);
    if plan.resumes {
        return resume(run, plan, progress, state).await;
    }
    prepare(run, plan, state).await?;
    progress.begin(Phase::Fetch);
    let (unpacked, repository) = unpack(run, plan).await?;
    if !plan.chain.is_empty() {
        progress.begin(Phase::Combine);
        combine(run, plan).await?;
    }
    progress.begin(Phase::Settings);
    let (notes, libraries) = write_settings(plan)?;
    state.notes.extend(notes);
    state.notes.extend(libraries.iter().filter_map(PreloadLibrary::note));
    mark_restored(run, plan)?;
    progress.begin(Phase::Publish);
    run.check_interruption()?;
    let publishing = {
        let plan = plan.clone();
        tokio::task::spawn_blocking(move || publish(&plan))
    };
    let published = publishing.await.map_err(PhysicalRestoreError::Worker).flatten();
    // Once the control file exists, nothing may be removed.
    if published.is_ok() || plan.to.join(CONTROL).exists() {
        state.filling.clear();
        state.is_whole = true;
    }
    published?;
    let started = start(run, plan, progress, state).await?;
    Ok((unpacked, repository, started))
}

async fn start(
    run: &RunContext,
    plan: &PhysicalRestorePlan,
    progress: &mut RestoreProgress<'_>,
    state: &mut CleanupState,
) -> Result<Option<start::Started>, PhysicalRestoreError> {
    if plan.steps.start.is_none() {
        return Ok(None);
    }
    progress.begin(Phase::Recover);
    let started = start::start(run, plan, &mut state.server, &mut state.notes).await?;
    // Recovery is verified, whatever happens to the file.
    if let Err(error) = end_recovery(&plan.to) {
        let words = format!(
            "the settings of the recovery could not be taken out of {} ({error}): `drctl recovery release` does it, before a standby is made",
            AUTO_CONFIGURATION
        );
        run.events.warning(words.clone());
        state.notes.push(words);
    }
    Ok(Some(started))
}

/// Resumes recovery in the existing directory: only the recovery settings are rewritten.
async fn resume(
    run: &RunContext,
    plan: &PhysicalRestorePlan,
    progress: &mut RestoreProgress<'_>,
    state: &mut CleanupState,
) -> Result<(Unpacked, RepositoryName, Option<start::Started>), PhysicalRestoreError> {
    state.is_whole = true;
    let held = resume::hold(&plan.to).map_err(|source| write_error(&plan.to, source))?;
    let _held = held.ok_or_else(|| came_first(&plan.to))?;
    for space in &plan.tablespaces {
        let path = &space.to;
        create_directory(path, plan.steps.owner).map_err(|source| write_error(path, source))?;
    }
    progress.begin(Phase::Settings);
    let known = serde_json::to_vec(&resume_state(plan)).unwrap_or_default();
    // Written in place: the lock is on the file itself.
    fs::write(plan.to.join(RESUME_STATE), known).map_err(|source| write_error(&plan.to, source))?;
    state.notes.extend(write_recovery(plan)?.iter().filter_map(PreloadLibrary::note));
    mark_restored(run, plan)?;
    let started = start(run, plan, progress, state).await?;
    let repository = plan.repositories.first().cloned();
    let none = || PhysicalRestoreError::Fetch { artifact: BASE.to_owned(), tries: vec![] };
    Ok((Unpacked::default(), repository.ok_or_else(none)?, started))
}

/// Creates the directories, and marks them as incomplete until they are done.
async fn prepare(
    run: &RunContext,
    plan: &PhysicalRestorePlan,
    state: &mut CleanupState,
) -> Result<(), PhysicalRestoreError> {
    let marker = DirectoryMarker {
        run: run.id.to_string(),
        backup: plan.backup.to_string(),
        what: "drctl was restoring here and has not ended: this is not whole, and no server starts in it"
            .to_owned(),
        changes: plan.changes.then_some(plan.system_identifier),
    };
    for directory in directories(plan) {
        // Checked again: another process may have come first.
        match DirectorySurvey::look(directory)?.standing {
            DirectoryState::Absent | DirectoryState::Empty => {}
            DirectoryState::Data | DirectoryState::Restored | DirectoryState::Begun(_)
                if plan.changes && (directory == plan.to || delta::is_tablespace_of(&plan.to, directory)) =>
            {
                begin_changing(run, directory, plan, &marker, state)?;
                continue;
            }
            DirectoryState::Changed(cluster) if plan.changes && cluster == plan.system_identifier => {
                begin_changing(run, directory, plan, &marker, state)?;
                continue;
            }
            DirectoryState::LeftOver(_) if plan.replaces_left_over => {
                // Locked until it is removed: two runs must not both believe that they own it.
                let hold = DirectoryLock::take(directory).map_err(|source| write_error(directory, source))?;
                let _hold = hold.ok_or_else(|| came_first(directory))?;
                combine_incrementals::end_left_behind(plan).await;
                take_back(&[directory.to_owned()]).map_err(|source| write_error(directory, source))?;
            }
            DirectoryState::AtWork(run) => {
                return Err(PhysicalRestoreError::Refused(vec![at_work(directory, &run)]));
            }
            _ => {
                return Err(PhysicalRestoreError::Refused(vec![not_empty(directory)]));
            }
        }
        enter_leftover(directory, plan).map_err(|source| write_error(directory, source))?;
        create_directory(directory, plan.steps.owner).map_err(|source| write_error(directory, source))?;
        let text = serde_json::to_vec(&marker).unwrap_or_default();
        // Creating the marker claims the directory: another run that came in between owns it, and its files
        // must not be removed here.
        let marking = create(&directory.join(MARKER), plan.steps.owner);
        let mut mark = marking.map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => came_first(directory),
            _ => write_error(directory, source),
        })?;
        let hold = DirectoryLock::take(directory).map_err(|source| write_error(directory, source))?;
        state.holds.push(hold.ok_or_else(|| came_first(directory))?);
        state.filling.push(directory.to_owned());
        mark.write_all(&text)
            .and_then(|()| mark.sync_all())
            .map_err(|source| write_error(&directory.join(MARKER), source))?;
        sync_folder(directory).map_err(|source| write_error(directory, source))?;
    }
    Ok(())
}

/// Marks the existing directory for the next run, and prevents a server from starting in it.
fn begin_changing(
    run: &RunContext,
    directory: &Path,
    plan: &PhysicalRestorePlan,
    marker: &DirectoryMarker,
    state: &mut CleanupState,
) -> Result<(), PhysicalRestoreError> {
    let hold = delta::mark(directory, marker, plan.steps.owner);
    let hold = hold.map_err(|source| write_error(&directory.join(MARKER), source))?;
    state.holds.push(hold.ok_or_else(|| came_first(directory))?);
    if directory == plan.to {
        let begun = match delta::process_file(directory) {
            // A server that was started since the plan was made.
            Some(file) => Err(PhysicalRestoreError::Refused(vec![runs(directory, &file)])),
            None => {
                delta::begin(directory, &run.id.to_string()).map_err(|source| write_error(directory, source))
            }
        };
        // With its control file and its WAL the cluster is what it was, and must not be marked otherwise.
        state.changes = delta::is_partial(directory);
        if !state.changes {
            remove_marker(directory)?;
        }
        if let Some(aside) = begun? {
            run.events.notice(format!(
                "the WAL that was there is kept as {}; base backups carry it along until you remove it",
                aside.display()
            ));
        }
    }
    Ok(())
}

async fn unpack(
    run: &RunContext,
    plan: &PhysicalRestorePlan,
) -> Result<(Unpacked, RepositoryName), PhysicalRestoreError> {
    let of_parents = plan.steps.parents.iter().map(|parent| (&parent.manifest, &parent.holders));
    let backups: Vec<_> = of_parents.chain([(&plan.steps.manifest, &plan.repositories)]).collect();
    let mut work = Vec::new();
    for (n, (manifest, holders)) in backups.iter().enumerate() {
        work.push((*manifest, (*holders).clone(), archives(plan, manifest, n)?));
    }
    let archives = work.iter().flat_map(|(_, _, archives)| archives);
    let total = archives.map(|archive| archive.tar.plain.size).sum();
    let count = Arc::new(AtomicU64::new(0));
    let mut unpacked = Unpacked::default();
    let mut from = None;
    for (manifest, mut repositories, archives) in work {
        for UnpackedArchive { tar, root, what } in archives {
            if what != UnpackMode::DataDirectory && !root.exists() {
                combine_incrementals::make_folders(plan, &root)?;
            }
            let unpacker = Unpacker { root, owner: plan.steps.owner, what, changes: plan.changes };
            let counted = (&count, total);
            let some = unpack_one(run, manifest, tar, unpacker, &mut repositories, counted).await?;
            unpacked.files += some.files;
            unpacked.bytes += some.bytes;
            unpacked.reused += some.reused;
        }
        from = repositories.into_iter().next();
    }
    let none = || PhysicalRestoreError::Fetch { artifact: BASE.to_owned(), tries: vec![] };
    Ok((unpacked, from.ok_or_else(none)?))
}

/// Unpacks from the first repository whose copy is good. Those whose copy is bad are skipped from then on.
async fn unpack_one(
    run: &RunContext,
    manifest: &Manifest,
    tar: &Artifact,
    unpacker: Unpacker,
    repositories: &mut Vec<RepositoryName>,
    (count, total): (&Arc<AtomicU64>, u64),
) -> Result<Unpacked, PhysicalRestoreError> {
    let mut tries = Vec::new();
    let before = count.load(Ordering::Relaxed);
    while let Some(name) = repositories.first().cloned() {
        run.check_interruption()?;
        let Some(repository) = run.repositories.find(&name) else {
            repositories.remove(0);
            continue;
        };
        count.store(before, Ordering::Relaxed);
        let begin = ahead(run, manifest, tar, repository);
        let (work, counted) = (unpacker.clone(), Arc::clone(count));
        let working = tokio::task::spawn_blocking(move || {
            let plain = begin().map_err(UnpackError::Read)?;
            work.unpack(CountingReader { plain, count: counted })
        });
        match tell(run, count, total, working).await.map_err(PhysicalRestoreError::Worker)? {
            Ok(unpacked) => return Ok(unpacked),
            Err(error) if error.is_interruption() => return Err(PhysicalRestoreError::Interrupted),
            Err(error @ UnpackError::Write { .. }) => {
                return Err(PhysicalRestoreError::Unpack { artifact: tar.name.clone(), source: error });
            }
            Err(error) => {
                let reason = error.told();
                run.events.emit(&Event::RepositoryLost { repository: name.clone(), reason: reason.clone() });
                tries.push((name, reason));
                repositories.remove(0);
                // What is already there is correct as far as it goes, or is overwritten.
                if !unpacker.changes {
                    empty_but_marker(&unpacker.root).map_err(|source| write_error(&unpacker.root, source))?;
                }
                if let Some(next) = repositories.first() {
                    run.events.warning(format!(
                        "reading {} again, from its beginning, from repository {next}",
                        tar.name
                    ));
                }
            }
        }
    }
    Err(PhysicalRestoreError::Fetch { artifact: tar.name.clone(), tries })
}

async fn tell<T>(run: &RunContext, bytes: &AtomicU64, total: u64, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(TOLD_EVERY) => run.events.emit(&Event::Progress {
                subject: "Unpacking".to_owned(),
                bytes: bytes.load(Ordering::Relaxed),
                total: Some(total),
                estimated: false,
            }),
        }
    }
}

/// Returns what a later run needs to know to resume there.
fn resume_state(plan: &PhysicalRestorePlan) -> ResumeState {
    let placed = |space: &TablespacePlan| Placed { oid: space.oid, to: space.to.clone() };
    ResumeState {
        backup: plan.backup.clone(),
        tablespaces: plan.tablespaces.iter().map(placed).collect(),
        wal_directory: plan.wal_directory.clone(),
    }
}

/// Describes the restrictions under which a restored server runs until it is released.
fn apart_note(plan: &PhysicalRestorePlan) -> String {
    format!(
        "it archives nothing, follows no server and waits for no standby: before it takes production's place, `drctl recovery release {}` takes that out of its configuration (shown first, done with --apply); then restart it and take a base backup at once",
        crate::postgres::shell(&plan.to.to_string_lossy())
    )
}

/// An archive to unpack, and its destination.
struct UnpackedArchive<'p> {
    tar: &'p Artifact,
    root: PathBuf,
    what: UnpackMode,
}

/// Returns the archives of a backup, which is the `n`th of a chain to combine, or the only one.
fn archives<'p>(
    plan: &PhysicalRestorePlan,
    manifest: &'p Manifest,
    n: usize,
) -> Result<Vec<UnpackedArchive<'p>>, PhysicalRestoreError> {
    let named = |name: &str| {
        manifest.artifact_of(name).ok_or_else(|| PhysicalRestoreError::NotUnderstood {
            artifact: format!("the manifest of {}", manifest.id),
            reason: format!("it has no `{name}`"),
        })
    };
    let is_chain = !plan.chain.is_empty();
    let (root, what) = match is_chain {
        true => (combine_incrementals::part(plan, n), UnpackMode::Part),
        false => (plan.to.clone(), UnpackMode::DataDirectory),
    };
    let mut archives = vec![UnpackedArchive { tar: named(BASE)?, root, what }];
    for space in manifest.physical.iter().flat_map(|physical| &physical.tablespaces) {
        let tar = named(&format!("{}.tar", space.oid))?;
        let root = match plan.tablespaces.iter().find(|planned| planned.oid == space.oid) {
            Some(planned) if !is_chain => planned.to.clone(),
            _ => combine_incrementals::tablespace_part(plan, n, space.oid),
        };
        archives.push(UnpackedArchive { tar, root, what: UnpackMode::Tablespace });
    }
    Ok(archives)
}

impl CleanupState {
    fn is_untouched(&self) -> bool {
        self.filling.is_empty() && !self.changes && !self.is_whole
    }
}

/// What was done so far, for cleanup after a failure.
#[derive(Default)]
struct CleanupState {
    /// Directories that contain nothing but files of this run.
    filling: Vec<PathBuf>,
    holds: Vec<DirectoryLock>,
    /// Existing files are being changed.
    changes: bool,
    is_whole: bool,
    server: ServerState,
    /// Notes for the operator afterwards.
    notes: Vec<String>,
}

fn directories(plan: &PhysicalRestorePlan) -> impl Iterator<Item = &Path> {
    std::iter::once(plan.to.as_path()).chain(apart(plan))
}

/// Returns the directories outside the data directory.
fn apart(plan: &PhysicalRestorePlan) -> impl Iterator<Item = &Path> {
    let wal = plan.wal_directory.as_deref().filter(|_| !plan.steps.keeps_wal_directory);
    plan.tablespaces.iter().map(|space| space.to.as_path()).chain(wal)
}

fn came_first(directory: &Path) -> PhysicalRestoreError {
    PhysicalRestoreError::Refused(vec![at_work(directory, "unknown")])
}

/// Creates the directory next to the data directory that holds its tablespaces. It is drctl's own: an empty
/// one left by another run may belong to another user.
fn enter_leftover(directory: &Path, plan: &PhysicalRestorePlan) -> io::Result<()> {
    let Some(parent) = directory.parent().filter(|parent| *parent == beside(&plan.to)) else { return Ok(()) };
    let is_empty = fs::read_dir(parent).is_ok_and(|mut entries| entries.next().is_none());
    if is_empty { create_directory(parent, plan.steps.owner) } else { Ok(()) }
}

fn write_new(path: &Path, text: &[u8], plan: &PhysicalRestorePlan) -> Result<(), PhysicalRestoreError> {
    let written = create(path, plan.steps.owner).and_then(|mut file| {
        file.write_all(text)?;
        file.sync_all()
    });
    written.map_err(|source| write_error(path, source))
}

/// Writes the settings for the server and the instructions for people. Returns what was removed from its
/// configuration, and the libraries that it names.
fn write_settings(
    plan: &PhysicalRestorePlan,
) -> Result<(Vec<String>, Vec<PreloadLibrary>), PhysicalRestoreError> {
    let to = &plan.to;
    let mut taken = Vec::new();
    for name in [CONFIGURATION, "pg_hba.conf", "pg_ident.conf"] {
        let path = to.join(name);
        let known = plan.steps.facts.files.iter().find(|file| file.name == name);
        let text = match known {
            Some(file) => {
                // A file that the server did not use would hide the one that it did.
                if path.exists() {
                    let aside = to.join(format!("{name}.not-in-use"));
                    fs::rename(&path, &aside).map_err(|source| write_error(&aside, source))?;
                }
                let own = settings::own_file(file);
                taken.extend(own.taken.into_iter().map(|setting| (name.to_owned(), setting)));
                own.text
            }
            None if path.exists() => continue,
            None if name == "pg_hba.conf" => "local all all peer\n".to_owned(),
            None => String::new(),
        };
        write_new(&path, text.as_bytes(), plan)?;
    }
    taken.extend(ensure_within(to)?);
    write_new(&to.join(RESUME_STATE), &serde_json::to_vec(&resume_state(plan)).unwrap_or_default(), plan)?;
    let libraries = write_recovery(plan)?;
    write_new(&to.join(MANUAL_RESTORE), manual_restore::text(plan, &libraries).as_bytes(), plan)?;
    write_new(&to.join("recovery.signal"), b"", plan)?;
    move_wal(plan).map_err(|source| write_error(&to.join(WAL), source))?;
    let said = |(file, setting)| {
        format!("{file} named what is not this server's, and is without it (`#drctl:`): {setting}")
    };
    // The live configuration and its copy may name the same settings.
    Ok((taken.into_iter().map(said).collect::<BTreeSet<_>>().into_iter().collect(), libraries))
}

/// Writes the recovery settings in place of those of an earlier attempt, and the tablespace locations.
/// Returns what is done with the libraries that the configuration names.
fn write_recovery(plan: &PhysicalRestorePlan) -> Result<Vec<PreloadLibrary>, PhysicalRestoreError> {
    let auto = plan.to.join(AUTO_CONFIGURATION);
    let was = match fs::read(&auto) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(vec![]),
        bytes => bytes,
    };
    let was = was.map_err(|source| write_error(&auto, source))?;
    let (was, _) = release::without_ours(&String::from_utf8_lossy(&was));
    let loaded = configured(&plan.to, &was, preload::SETTING);
    let loaded = loaded.map_err(|source| PhysicalRestoreError::Look { path: plan.to.clone(), source })?;
    let libraries = preload::decide(&loaded.unwrap_or_default(), plan.steps.preload.as_deref());
    let text = was + &settings::recovery(plan, &plan.steps.facts, &plan.steps.command, &libraries);
    release::replace(&auto, &text, plan.steps.owner).map_err(|source| write_error(&auto, source))?;
    for space in &plan.tablespaces {
        let link = plan.to.join(format!("pg_tblspc/{}", space.oid));
        if fs::read_link(&link).is_ok_and(|target| target == space.to) {
            continue;
        }
        let made = std::os::unix::fs::symlink(&space.to, &link).and_then(|()| match plan.steps.owner {
            Some((user, group)) => lchown(&link, Some(user), Some(group)),
            None => Ok(()),
        });
        made.map_err(|source| write_error(&link, source))?;
    }
    Ok(libraries)
}

/// Moves `pg_wal` to its configured directory, and links to it.
fn move_wal(plan: &PhysicalRestorePlan) -> io::Result<()> {
    let Some(there) = &plan.wal_directory else { return Ok(()) };
    let (here, owner) = (plan.to.join(WAL), plan.steps.owner);
    let status = there.join("archive_status");
    match fs::DirBuilder::new().mode(0o700).create(&status) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    if let Some((user, group)) = owner {
        chown(&status, Some(user), Some(group))?;
    }
    fs::remove_dir_all(&here)?;
    std::os::unix::fs::symlink(there, &here)?;
    owner.map_or(Ok(()), |(user, group)| lchown(&here, Some(user), Some(group)))
}

/// Removes settings that name directories outside from each configuration file and its includes. Returns the
/// files and the settings.
fn ensure_within(to: &Path) -> Result<Vec<(String, String)>, PhysicalRestoreError> {
    let mut taken = Vec::new();
    let mut files = vec![to.join(CONFIGURATION), to.join(AUTO_CONFIGURATION)];
    let mut seen = BTreeSet::new();
    while let Some(path) = files.pop() {
        if !seen.insert(path.clone()) || !path.is_file() {
            continue;
        }
        let folder = path.parent().unwrap_or(to).to_owned();
        let target = |included: &str| folder.join(included);
        // A link that leads out of the directory is not part of it either.
        let is_inside = |included: &str| {
            let target = target(included).canonicalize();
            target.is_ok_and(|target| to.canonicalize().is_ok_and(|to| target.starts_with(to)))
        };
        let bytes = fs::read(&path).map_err(|source| write_error(&path, source))?;
        let text = String::from_utf8_lossy(&bytes);
        let inner = settings::inner_file(&text, is_inside);
        if !inner.taken.is_empty() {
            // Rewritten in place: its owner and mode are preserved.
            fs::write(&path, &inner.text).map_err(|source| write_error(&path, source))?;
        }
        let name = path.strip_prefix(to).unwrap_or(&path).display().to_string();
        taken.extend(inner.taken.into_iter().map(|setting| (name.clone(), setting)));
        for include in inner.includes {
            let target = target(&include.path);
            if include.is_folder {
                let entries = fs::read_dir(&target).map_err(|source| write_error(&target, source))?;
                let paths = entries.flatten().map(|entry| entry.path());
                files.extend(paths.filter(|path| path.extension().is_some_and(|ending| ending == "conf")));
            } else {
                files.push(target);
            }
        }
    }
    Ok(taken)
}

/// Removes what only the recovery needs: a standby created from this server would apply it, too.
fn end_recovery(to: &Path) -> io::Result<()> {
    let auto = to.join(AUTO_CONFIGURATION);
    let text = fs::read_to_string(&auto)?;
    let (kept, _) = release::recovered(&text);
    release::replace(&auto, &kept, None)?;
    resume::end(to)
}

/// Syncs everything to disk, then puts the control file in place, which makes it a data directory.
fn publish(plan: &PhysicalRestorePlan) -> Result<(), PhysicalRestoreError> {
    for directory in directories(plan) {
        let synced = fs::File::open(directory).and_then(|folder| Ok(rustix::fs::syncfs(folder)?));
        synced.map_err(|source| write_error(directory, source))?;
    }
    // A tablespace in use must not look like a leftover.
    for directory in apart(plan) {
        remove_marker(directory)?;
    }
    let control = plan.to.join(CONTROL);
    let placed = fs::rename(plan.to.join(CONTROL_KEPT), &control)
        .and_then(|()| sync_folder(control.parent().unwrap_or(&plan.to)));
    placed.map_err(|source| write_error(&control, source))?;
    remove_marker(&plan.to)
}

fn remove_marker(directory: &Path) -> Result<(), PhysicalRestoreError> {
    let unmarked = fs::remove_file(directory.join(MARKER)).and_then(|()| sync_folder(directory));
    unmarked.map_err(|source| write_error(directory, source))
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

/// Removes what was written, the marker last. A directory that existed before stays, empty.
pub(super) fn take_back(filling: &[PathBuf]) -> io::Result<()> {
    filling.iter().try_for_each(|directory| {
        empty_but_marker(directory)?;
        match fs::remove_file(directory.join(MARKER)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    })
}

/// Empties `directory` except for the marker. A missing directory is not an error.
fn empty_but_marker(directory: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let path: PathBuf = entry.path();
        if entry.file_name() == MARKER || entry.file_name() == "lost+found" {
            continue;
        }
        if entry.file_type()?.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
    }
    Ok(())
}
