use std::fs::{self, DirBuilder, File};
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;

use super::compare::{Compared, compare, differing};
use super::directories;
use super::index_file::{IndexFile, Selection, Wanted};
use super::sweep::{Swept, sweep};
use super::tar_reader::Member;
use super::tree::{Lost, Rights};
use super::unpack::Unpack;
use crate::model::{Artifact, FilesDetails, Manifest};
use crate::platform::Accounts;
use crate::restore::content::fetch::{ArtifactFetch, ConsumeError};
use crate::restore::content::method::{ContentMethod, RestoredContent, TargetSurvey};
use crate::restore::content::survey::ChainLink;
use crate::restore::content::target::{copy, lacks_room, new_path, rename_new};
use crate::restore::content::{ContentRestoreError, ContentRestorePlan, ContentRestoreRequest};
use crate::restore::teardown::not_of_this_method;
use crate::restore::{CreatedObject, Refusal};
use crate::run::RunContext;
use crate::source::files::{INDEX, archive_name};
use crate::text::count;

/// Files and directories.
#[derive(Clone, Copy, Debug)]
pub(in crate::restore::content) struct FilesTree;

#[async_trait(?Send)]
impl ContentMethod for FilesTree {
    async fn survey(
        &self,
        _run: &RunContext,
        request: &ContentRestoreRequest,
        chain: &[ChainLink],
    ) -> Result<TargetSurvey, ContentRestoreError> {
        let mut survey = TargetSurvey::default();
        let to = Path::new(&request.target.to);
        if request.target.delta {
            let path = std::path::absolute(to).unwrap_or_else(|_| to.to_owned());
            survey.to = path.display().to_string();
            if !path.is_dir() {
                let message = format!("there is no directory `{}` to change", path.display());
                survey.refusals.push(Refusal::usage("no-target-directory", message));
            }
            survey.notes.push(
                "what differs from the backup is written; what the backup does not have is removed, only below the paths that were backed up and nothing that the policy excluded"
                    .to_owned(),
            );
        } else {
            // How much of it a selection takes is known when the index is read.
            let bytes = if request.target.paths.is_empty() { archives_size(chain) } else { 0 };
            let (path, refusals) = new_path(to, bytes);
            survey.to = path.display().to_string();
            survey.refusals.extend(refusals);
        }
        let details = chain.last().and_then(|link| link.details.files.clone()).unwrap_or_default();
        if !request.target.paths.is_empty() {
            survey.notes.push("only the archives that have the chosen paths are read".to_owned());
        }
        if details.changed_count > 0 {
            survey.notes.push(format!(
                "{} changed each time they were read: what is restored of them may be of two times",
                count(details.changed_count, "file")
            ));
        }
        if details.unreadable_count > 0 {
            survey.notes.push(format!(
                "{} could not be read when it was taken",
                count(details.unreadable_count, "path")
            ));
        }
        if request.target.owners && !rustix::process::geteuid().is_root() {
            survey
                .notes
                .push("owners come back only where root restores: all will be this user's".to_owned());
        }
        Ok(survey)
    }

    async fn restore(
        &self,
        fetch: &ArtifactFetch<'_>,
        plan: &ContentRestorePlan,
        created: &mut Vec<CreatedObject>,
    ) -> Result<RestoredContent, ContentRestoreError> {
        restore(fetch, plan, created).await
    }

    async fn remove(&self, run: &RunContext, object: &CreatedObject) -> Result<(), String> {
        match object {
            CreatedObject::Directory { path, run: by, .. } if *by == run.id => {
                fs::remove_dir_all(path).map_err(|error| error.to_string())
            }
            _ => Err(not_of_this_method()),
        }
    }
}

/// Returns the bytes of the archives of a chain: more than the files take, unless an archive is full of files of a few
/// bytes.
fn archives_size(chain: &[ChainLink]) -> u64 {
    let archives = chain.iter().flat_map(|link| &link.manifest.artifacts);
    archives.filter(|artifact| artifact.name.starts_with("files")).map(|artifact| artifact.plain.size).sum()
}

async fn restore(
    fetch: &ArtifactFetch<'_>,
    plan: &ContentRestorePlan,
    created: &mut Vec<CreatedObject>,
) -> Result<RestoredContent, ContentRestoreError> {
    let target = &plan.request.target;
    let Some(last) = plan.chain.last() else {
        return Err(ContentRestoreError::NoArtifact { artifact: INDEX.to_owned() });
    };
    let details = last.details.files.clone().unwrap_or_default();
    let selection = Selection { paths: target.paths.iter().map(|path| chosen(path)).collect() };
    let index = fetch_index(fetch, last).await?;
    let to = PathBuf::from(&plan.to);
    let owners = target.owners;
    let accounts = Arc::new(Accounts::of_this_host());
    let rights = Rights { owners, is_root: rustix::process::geteuid().is_root(), accounts };

    // Nothing was made yet: what is not there, or has no room, is refused.
    let writes = if target.delta {
        let root = open(&to)?;
        let (index, selection, rights) = (index.clone(), selection.clone(), rights.clone());
        blocking(&to, move || differing(&root, &rights, &index, &selection)).await?
    } else {
        vec![]
    };
    let writes = Arc::new(writes);
    let wanted = {
        let (index, selection, writes) = (index.clone(), selection.clone(), Arc::clone(&writes));
        blocking(&to, move || index.wanted(&selection, &writes)).await?
    };
    refuse(&wanted, &plan.chain, &to)?;

    let above = {
        let (index, selection) = (index.clone(), selection.clone());
        blocking(&to, move || directories::above(&index, &selection)).await?
    };

    let part = if target.delta { to.clone() } else { partial(&to, fetch.run) };
    if !target.delta {
        let made = DirBuilder::new().mode(0o700).create(&part);
        made.map_err(|source| ContentRestoreError::Write { path: part.clone(), source })?;
        created.push(directory(&part, fetch.run));
    }
    let root = open(&part)?;
    let wanted = Arc::new(wanted);
    let unpack = Arc::new(Unpack {
        root: Arc::clone(&root),
        to: part.clone(),
        rights: rights.clone(),
        index: index.clone(),
        selection: selection.clone(),
        wanted: Arc::clone(&wanted),
        writes,
        cancel: fetch.run.cancel.clone(),
    });
    {
        let (root, rights, index, selection) =
            (Arc::clone(&root), rights.clone(), index.clone(), selection.clone());
        blocking(&part, move || directories::make(&root, &rights, &index, &selection)).await?;
    }
    let (mut directories, mut lost) = archives(fetch, plan, &unpack).await?;
    let compared = {
        let (root, rights, index, selection, wanted) =
            (Arc::clone(&root), rights.clone(), index.clone(), selection.clone(), Arc::clone(&wanted));
        blocking(&part, move || compare(&root, &rights, &index, &selection, &wanted.donors)).await?
    };
    reject_different(&compared)?;
    let swept = if target.delta {
        let (root, details) = (Arc::clone(&root), details.clone());
        let swept = move || {
            let swept = sweep(&root, &rights, &index, &selection, &details)?;
            directories::touch(&root, &index, &selection)?;
            Ok(swept)
        };
        blocking(&part, swept).await?
    } else {
        Swept::default()
    };
    if !target.delta {
        directories.extend(above);
    }
    // Last of all: then even its owner may not be able to enter one.
    let finished = tokio::task::spawn_blocking(move || unpack.finish(directories)).await;
    lost.add(&finished.map_err(|error| ContentRestoreError::Target(error.to_string()))??);
    let failed = |source| ContentRestoreError::Write { path: part.clone(), source };
    rustix::fs::syncfs(&*root).map_err(|error| failed(error.into()))?;
    if !target.delta {
        rename_new(&part, &to).map_err(failed)?;
        created.clear();
        created.push(directory(&to, fetch.run));
        let parent = to.parent().unwrap_or(Path::new("/"));
        File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed)?;
    }
    Ok(RestoredContent {
        counts: counts(&compared, &wanted, &swept),
        left_out: left_out(&lost),
        notes: notes(&compared, &wanted, &swept, &details),
        ..RestoredContent::default()
    })
}

/// Unpacks each archive that has something wanted, the full backup's first. Returns the directories, without their rights.
async fn archives(
    fetch: &ArtifactFetch<'_>,
    plan: &ContentRestorePlan,
    unpack: &Arc<Unpack>,
) -> Result<(Vec<Member>, Lost), ContentRestoreError> {
    let (mut directories, mut lost) = (Vec::new(), Lost::default());
    let mut needed: Vec<(u32, u32)> = unpack.wanted.archives.keys().copied().collect();
    // The first name of a link stands in the same archive, or in one before it.
    for (backup, _) in unpack.wanted.donors.keys() {
        let last = needed.iter().filter(|(of, _)| of == backup).map(|(_, number)| *number).max();
        needed.extend((1..last.unwrap_or(1)).map(|number| (*backup, number)));
    }
    needed.sort_unstable();
    needed.dedup();
    for (backup, number) in needed {
        let link = usize::try_from(backup).ok().and_then(|at| plan.chain.get(at));
        let link = link.ok_or_else(|| no_artifact(number))?;
        let artifact = archive(&link.manifest, number)?;
        let unpack = Arc::clone(unpack);
        let unpacked =
            fetch.consume(link, artifact, move |plain| unpack.archive(plain, backup, number)).await?;
        directories.extend(unpacked.directories);
        lost.add(&unpacked.lost);
    }
    Ok((directories, lost))
}

fn archive(manifest: &Manifest, number: u32) -> Result<&Artifact, ContentRestoreError> {
    let named = |is_only| manifest.artifact_of(&archive_name(number, is_only));
    let only = (number == 1).then(|| named(true)).flatten();
    only.or_else(|| named(false)).ok_or_else(|| no_artifact(number))
}

fn no_artifact(number: u32) -> ContentRestoreError {
    ContentRestoreError::NoArtifact { artifact: archive_name(number, false) }
}

async fn fetch_index(fetch: &ArtifactFetch<'_>, link: &ChainLink) -> Result<IndexFile, ContentRestoreError> {
    let directory = crate::platform::scratch_directory();
    let written = |source| ContentRestoreError::Write { path: directory.clone(), source };
    let Some(artifact) = link.manifest.artifact_of(INDEX) else {
        // Nothing was there to back up.
        return Ok(IndexFile(Arc::new(tempfile::tempfile_in(&directory).map_err(written)?)));
    };
    let file = Arc::new(tempfile::tempfile_in(&directory).map_err(written)?);
    let (scratch, within) = (Arc::clone(&file), directory.clone());
    let copied = fetch.consume(link, artifact, move |plain| {
        let failed =
            |source| ConsumeError::Target(ContentRestoreError::Write { path: within.clone(), source });
        let mut scratch = &*scratch;
        scratch.set_len(0).map_err(failed)?;
        scratch.seek(SeekFrom::Start(0)).map_err(failed)?;
        copy(plain, &mut scratch, &within)
    });
    copied.await?;
    Ok(IndexFile(file))
}

/// Refuses paths that the backup does not have, a chain that is too short, and what has no room.
fn refuse(wanted: &Wanted, chain: &[ChainLink], to: &Path) -> Result<(), ContentRestoreError> {
    let mut refusals = Vec::new();
    for missing in &wanted.missing {
        let missing = String::from_utf8_lossy(missing);
        refusals.push(Refusal::nothing("no-such-path", format!("the backup has no `{missing}`")));
    }
    let is_beyond = |(backup, _): &(u32, u32)| usize::try_from(*backup).is_ok_and(|at| at >= chain.len());
    if wanted.archives.keys().any(is_beyond) {
        let message = "the index names a backup that it does not build on".to_owned();
        refusals.push(Refusal::nothing("broken-chain", message));
    }
    // Holes take no room, and the size of an archive counts none.
    let bytes = wanted.bytes.min(archives_size(chain));
    refusals.extend(lacks_room(to, bytes));
    if refusals.is_empty() { Ok(()) } else { Err(ContentRestoreError::Refused(refusals)) }
}

fn reject_different(compared: &Compared) -> Result<(), ContentRestoreError> {
    let Some(first) = &compared.first else { return Ok(()) };
    Err(ContentRestoreError::Target(format!(
        "{} of {} are not as the index of the backup says; the first is `{first}`",
        count(compared.different, "path"),
        compared.entries
    )))
}

/// Returns a path of the command line as the index has it.
fn chosen(path: &Path) -> Vec<u8> {
    let names: Vec<&[u8]> = path
        .components()
        .filter(|part| matches!(part, std::path::Component::Normal(_) | std::path::Component::ParentDir))
        .map(|part| part.as_os_str().as_bytes())
        .collect();
    names.join(&b'/')
}

fn partial(to: &Path, run: &RunContext) -> PathBuf {
    let mut part = to.as_os_str().to_owned();
    part.push(format!(".drctl-partial-{}", run.id));
    part.into()
}

fn directory(path: &Path, run: &RunContext) -> CreatedObject {
    CreatedObject::Directory { path: path.to_owned(), beside: vec![], run: run.id.clone() }
}

fn open(path: &Path) -> Result<Arc<File>, ContentRestoreError> {
    let opened = File::open(path);
    opened.map(Arc::new).map_err(|source| ContentRestoreError::Write { path: path.to_owned(), source })
}

async fn blocking<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, ContentRestoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.map_err(|error| ContentRestoreError::Target(error.to_string()))?;
    done.map_err(|source| ContentRestoreError::Write { path: path.to_owned(), source })
}

fn counts(compared: &Compared, wanted: &Wanted, swept: &Swept) -> Vec<String> {
    let mut counts = vec![count(wanted.files, "file"), count(compared.entries, "path") + " compared"];
    if swept.removed > 0 {
        counts.push(format!("{} removed", count(swept.removed, "path")));
    }
    counts
}

fn left_out(lost: &Lost) -> Vec<String> {
    let told = |count: u64, what: &str| (count > 0).then(|| format!("{count} {what}"));
    [
        told(lost.devices, "device nodes: only root may make them"),
        told(
            lost.setuid,
            "setuid and setgid bits: they come back only with their owners, where root restores",
        ),
        told(lost.attributes, "extended attributes that this file system or user may not set"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn notes(compared: &Compared, wanted: &Wanted, swept: &Swept, details: &FilesDetails) -> Vec<String> {
    let mut notes: Vec<String> = swept.refused.iter().cloned().collect();
    if compared.other_times > 0 {
        notes.push(format!(
            "{} another time than recorded: the file system of the target does not keep it",
            if compared.other_times == 1 {
                "1 file has".to_owned()
            } else {
                format!("{} files have", compared.other_times)
            }
        ));
    }
    if wanted.unread > 0 {
        notes.push(format!(
            "{} of an earlier backup: the last one could not read them",
            count(wanted.unread, "path")
        ));
    }
    if wanted.changed > 0 {
        notes.push(format!("{} changed each time while being read", count(wanted.changed, "file")));
    }
    if details.unreadable_count > 0 {
        notes.push(format!(
            "{} could not be read when the backup was taken, and may be missing",
            count(details.unreadable_count, "path")
        ));
    }
    notes
}
