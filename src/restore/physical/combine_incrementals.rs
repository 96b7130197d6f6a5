//! Combines a chain: the full backup and each incremental, unpacked separately, into one data directory.
//!
//! All of it happens inside the target directories, so that it is on their file systems, is removed with
//! them, and the result only has to be renamed.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::PhysicalRestoreError;
use super::error::write_error;
use super::host::{COMBINE, VERIFY};
use super::layout::{CONTROL, CONTROL_KEPT, TABLESPACES};
use super::plan::PhysicalRestorePlan;
use super::unpack::{FOLDERS, is_left_out, make_folder};
use crate::platform::{self, Program};
use crate::run::RunContext;

/// In each target directory while it is being filled.
const WORK: &str = "drctl-chain";
const RESULT: &str = "data";
/// For each of the two programs, which read and write all of the data.
const WITHIN: Duration = Duration::from_secs(24 * 3600);

/// Returns the directory into which the `n`th backup of the chain is unpacked.
pub(super) fn part(plan: &PhysicalRestorePlan, n: usize) -> PathBuf {
    plan.to.join(WORK).join(n.to_string())
}

/// Returns the same directory for one of its tablespaces, which may exist in that backup only.
pub(super) fn tablespace_part(plan: &PhysicalRestorePlan, n: usize, oid: u32) -> PathBuf {
    match plan.tablespaces.iter().find(|space| space.oid == oid) {
        Some(space) => space.to.join(WORK).join(n.to_string()),
        None => plan.to.join(WORK).join(format!("{n}-{oid}")),
    }
}

/// Creates a folder and its missing parents.
pub(super) fn make_folders(plan: &PhysicalRestorePlan, folder: &Path) -> Result<(), PhysicalRestoreError> {
    let failed = |source| PhysicalRestoreError::Unpack { artifact: folder.display().to_string(), source };
    folder.parent().map_or(Ok(()), |work| make_folder(work, plan.steps.owner)).map_err(failed)?;
    make_folder(folder, plan.steps.owner).map_err(failed)
}

/// Produces what a single full backup would have been unpacked to.
pub(super) async fn combine(
    run: &RunContext,
    plan: &PhysicalRestorePlan,
) -> Result<(), PhysicalRestoreError> {
    let tools = plan.steps.combining.as_ref();
    let missing = || PhysicalRestoreError::NotUnderstood {
        artifact: plan.backup.to_string(),
        reason: format!("{COMBINE} is not here"),
    };
    let program = |name| tools.and_then(|tools| tools.program(name).ok()).ok_or_else(missing);
    let result = plan.to.join(WORK).join(RESULT);
    link(plan)?;
    run.check_interruption()?;
    let combining = command(plan, program(COMBINE)?);
    combining.run(WITHIN, &run.cancel).await.map_err(PhysicalRestoreError::Program)?;
    // Verifies every file against the server's checksums and those computed while combining.
    let verifying = program(VERIFY)?.args(["--no-parse-wal", "--exit-on-error", "--quiet"]).arg(&result);
    verifying.run(WITHIN, &run.cancel).await.map_err(PhysicalRestoreError::Program)?;
    run.check_interruption()?;
    let plan = plan.clone();
    tokio::task::spawn_blocking(move || take_over(&plan)).await.map_err(PhysicalRestoreError::Worker)?
}

/// Links each part to its tablespaces.
fn link(plan: &PhysicalRestorePlan) -> Result<(), PhysicalRestoreError> {
    let physicals = plan.steps.parents.iter().map(|parent| &parent.physical).chain([&plan.steps.physical]);
    for (n, physical) in physicals.enumerate() {
        for space in &physical.tablespaces {
            let link = part(plan, n).join(TABLESPACES).join(space.oid.to_string());
            let target = tablespace_part(plan, n, space.oid);
            std::os::unix::fs::symlink(target, &link).map_err(|source| write_error(&link, source))?;
        }
    }
    Ok(())
}

/// Returns the argument that identifies the result directory uniquely.
fn output(plan: &PhysicalRestorePlan) -> OsString {
    let mut output = OsString::from("--output=");
    output.push(plan.to.join(WORK).join(RESULT));
    output
}

/// Terminates programs left running by a killed run: they would write into the directory of the next one.
pub(super) async fn end_left_behind(plan: &PhysicalRestorePlan) {
    let ended = platform::end_left_behind(COMBINE, &output(plan)).await;
    if ended > 0 {
        tracing::info!("ended {ended} {COMBINE} that an earlier run left in {}", plan.to.display());
    }
}

fn command(plan: &PhysicalRestorePlan, program: Program) -> Program {
    // Synced together with everything else.
    let mut program = program.arg("--no-sync").arg(output(plan));
    let last = plan.chain.len();
    for space in plan.backed_up() {
        let (from, to) = (tablespace_part(plan, last, space.oid), space.to.join(WORK).join(RESULT));
        let mapping = format!("--tablespace-mapping={}={}", mapped(&from), mapped(&to));
        program = program.arg(mapping);
    }
    (0..=last).fold(program, |program, n| program.arg(part(plan, n)))
}

/// Escapes a path for a mapping of `pg_combinebackup`.
fn mapped(path: &Path) -> String {
    path.to_string_lossy().replace('=', "\\=")
}

/// Moves the result to its final location, without the files that would start a server, and removes
/// everything else.
fn take_over(plan: &PhysicalRestorePlan) -> Result<(), PhysicalRestoreError> {
    let work = plan.to.join(WORK);
    let result = work.join(RESULT);
    let control = (result.join(CONTROL), result.join(CONTROL_KEPT));
    fs::rename(&control.0, &control.1).map_err(|source| write_error(&control.1, source))?;
    for space in plan.backed_up() {
        let link = result.join(TABLESPACES).join(space.oid.to_string());
        fs::remove_file(&link).map_err(|source| write_error(&link, source))?;
        let work = space.to.join(WORK);
        move_out(&work.join(RESULT), &space.to, |_| false)?;
        fs::remove_dir_all(&work).map_err(|source| write_error(&work, source))?;
    }
    move_out(&result, &plan.to, is_left_out)?;
    fs::remove_dir_all(&work).map_err(|source| write_error(&work, source))?;
    for folder in FOLDERS {
        for part in Path::new(folder).ancestors().collect::<Vec<_>>().into_iter().rev().skip(1) {
            make_folder(&plan.to.join(part), plan.steps.owner)
                .map_err(|source| PhysicalRestoreError::Unpack { artifact: folder.to_owned(), source })?;
        }
    }
    let Some(owner) = plan.steps.owner else { return Ok(()) };
    let mut roots = plan.tablespaces.iter().map(|space| &space.to).chain([&plan.to]);
    roots.try_for_each(|root| give(root, owner).map_err(|source| write_error(root, source)))
}

fn move_out(from: &Path, to: &Path, leaves_out: impl Fn(&Path) -> bool) -> Result<(), PhysicalRestoreError> {
    let entries = fs::read_dir(from).map_err(|source| write_error(from, source))?;
    for entry in entries {
        let entry = entry.map_err(|source| write_error(from, source))?;
        if leaves_out(Path::new(&entry.file_name())) {
            continue;
        }
        let place = to.join(entry.file_name());
        fs::rename(entry.path(), &place).map_err(|source| write_error(&place, source))?;
    }
    Ok(())
}

/// Changes the owner of everything in a directory, which was created by the user running this process.
fn give(folder: &Path, owner: (u32, u32)) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        lchown(entry.path(), Some(owner.0), Some(owner.1))?;
        if entry.file_type()?.is_dir() {
            give(&entry.path(), owner)?;
        }
    }
    Ok(())
}
