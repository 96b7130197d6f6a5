use std::path::Path;

use super::{Area, DoctorFinding};
use crate::platform::{available_memory, free_space, scratch_directory};
use crate::policy::{Encryption, Policy, WalMethod};
use crate::run::pause::{PauseMarker, PauseState, pause_state};
use crate::text::format_time;

/// The memory of drctl itself and of zstd, in addition to the parts.
const BASE_MEMORY: u64 = 72 << 20;
/// The catalog and the journal of years are far smaller.
const STATE_SPACE: u64 = 256 << 20;

/// Computes the memory a backup may take at most under this policy, in bytes.
pub(super) fn memory_needed(policy: &Policy) -> u64 {
    let parts = policy.transfer.parallel as u64 + 2;
    BASE_MEMORY + parts * policy.transfer.part_size
}

/// Reports an application that is paused for a backup.
fn paused(state: &Path, policy: &Policy) -> Option<DoctorFinding> {
    let since = |marker: &PauseMarker| format_time(marker.since);
    match pause_state(state, &policy.system) {
        PauseState::NotPaused => None,
        PauseState::Paused(marker) => Some(DoctorFinding::note(
            Area::Host,
            "",
            format!("run {} has paused the application since {}", marker.run, since(&marker)),
        )),
        PauseState::LeftPaused(marker) => Some(DoctorFinding::fault(
            Area::Host,
            "",
            format!(
                "THE APPLICATION IS STILL PAUSED: run {} paused it at {} and did not resume it",
                marker.run,
                since(&marker)
            ),
            format!("Run `{}`, or `drctl run-due` or `drctl backup`, which do.", marker.resume.join(" ")),
        )),
        PauseState::Unknown(reason) => Some(DoctorFinding::warning(
            Area::Host,
            "",
            format!("it is not known whether the application is paused for a backup: {reason}"),
            "Check the directory `paused` in the state directory.",
        )),
    }
}

pub(super) fn examine(policy: &Policy, state: &Path) -> Vec<DoctorFinding> {
    let mut findings = vec![];
    let mib = |bytes: u64| bytes >> 20;
    let needed = memory_needed(policy);
    findings.push(match available_memory() {
        Some(free) if free < needed => DoctorFinding::warning(
            Area::Host,
            "",
            format!("a backup may take {} MiB of memory, and {} MiB are free", mib(needed), mib(free)),
            "Lower `transfer.part_size` or `transfer.parallel`, or free memory.",
        ),
        Some(free) => DoctorFinding::good(
            Area::Host,
            "",
            format!("{} MiB of memory are free; a backup takes {} MiB at most", mib(free), mib(needed)),
        ),
        None => DoctorFinding::note(Area::Host, "", "the kernel does not say how much memory is free"),
    });
    findings.extend(writable(state, policy));
    findings.extend(paused(state, policy));
    findings.push(match free_space(state) {
        Ok(free) if free < STATE_SPACE => DoctorFinding::warning(
            Area::Host,
            "",
            format!("the state directory `{}` has {} MiB left", state.display(), mib(free)),
            "Free some space, or set DRCTL_STATE_DIR to a directory that has it.",
        ),
        Ok(free) => DoctorFinding::good(
            Area::Host,
            "",
            format!("the state directory `{}` has {} MiB left", state.display(), mib(free)),
        ),
        Err(error) => DoctorFinding::warning(
            Area::Host,
            "",
            format!("the state directory `{}` cannot be inspected: {error}", state.display()),
            "Create it, or set DRCTL_STATE_DIR.",
        ),
    });
    findings
}

/// Checks that drctl's directories are writable, by creating a file that is removed immediately. A missing
/// directory is represented by its nearest existing parent.
fn writable(state: &Path, policy: &Policy) -> Vec<DoctorFinding> {
    let mut findings = vec![];
    if let Err(error) = try_file(state) {
        let streams = policy
            .sources
            .iter()
            .any(|source| source.wal().is_some_and(|wal| matches!(wal.method, WalMethod::Stream { .. })));
        let incremental =
            policy.sources.iter().any(|source| source.base().is_some_and(|base| base.incrementals > 0));
        let mut lost = vec!["without a catalog nothing is kept between runs"];
        if policy.catalog.is_some() {
            lost.clear();
        }
        if incremental {
            lost.push("every base backup is a full one");
        }
        if streams {
            lost.push("`drctl wal stream` cannot store what it receives");
        }
        let message = format!(
            "the state directory `{}` is not writable ({error}){}{}",
            state.display(),
            if lost.is_empty() { "" } else { ": " },
            lost.join("; ")
        );
        let remedy =
            "Give it to the user that runs drctl, or set DRCTL_STATE_DIR to a directory of that user.";
        findings.push(if streams {
            DoctorFinding::fault(Area::Host, "", message, remedy)
        } else {
            DoctorFinding::warning(Area::Host, "", message, remedy)
        });
    }
    if let Some(file) = policy.catalog.as_deref().and_then(|url| url.strip_prefix("sqlite:")) {
        let folder = Path::new(file).parent().unwrap_or(Path::new("/"));
        if let Err(error) = try_file(folder) {
            findings.push(DoctorFinding::warning(
                Area::Host,
                "",
                format!("the catalog cannot be written to `{}` ({error})", folder.display()),
                "Give the directory to the user that runs drctl, or name another file in `[catalog]`.",
            ));
        }
    }
    let scratch = scratch_directory();
    if let Err(error) = try_file(&scratch) {
        findings.push(DoctorFinding::warning(
            Area::Host,
            "",
            format!("a restore could not unpack a dump in `{}` ({error})", scratch.display()),
            "Set TMPDIR, or restore with `--scratch DIRECTORY` or `--jobs 1`.",
        ));
    }
    findings
}

fn try_file(directory: &Path) -> std::io::Result<()> {
    let there = directory.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"));
    // A relative path has no further parent: that is the current directory.
    let there = if there.as_os_str().is_empty() { Path::new(".") } else { there };
    tempfile::tempfile_in(there).map(drop)
}

/// Reports who can decrypt the backups. The host needs public keys only, so nothing can be tried here (`drctl
/// keys check` tries an identity); too few of them is a warning of the policy.
pub(super) fn keys(policy: &Policy) -> Option<DoctorFinding> {
    let Encryption::Age { recipients } = &policy.encryption else { return None };
    let holders: Vec<_> =
        recipients.iter().map(|recipient| recipient.holder.as_deref().unwrap_or("unnamed")).collect();
    let message = format!("a backup opens with any of these identities: {}", holders.join(", "));
    Some(DoctorFinding::good(Area::Keys, "", message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::FindingSeverity;

    const SOURCE: &str = "[system]\nname = \"shop\"\n[objectives]\nrto = \"4h\"\nrpo = \"1h\"\n[repository.primary]\ndirectory = \"/b\"\n\
         [encryption]\ndanger_unencrypted = true\n[sources.database]\nkind = \"postgres\"\nurl = \"postgres://h/shop\"\n";

    fn found(state: &Path, more: &str) -> Vec<DoctorFinding> {
        let policy = crate::policy::parse(Path::new("shop.toml"), &format!("{SOURCE}{more}")).unwrap();
        writable(state, &policy)
    }

    #[test]
    fn a_state_directory_is_tried_by_writing_to_it_and_nothing_stays() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(found(&folder.path().join("not/there/yet"), ""), []);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        // Not by its mode, since root may write everywhere: here nobody can.
        let found = |more: &str| found(Path::new("/proc/1/none"), more);
        let plain = found("");
        assert_eq!(plain.len(), 1, "{plain:?}");
        assert!(plain[0].severity == FindingSeverity::Warning && plain[0].message.contains("`/proc/1/none`"));
        let streams = found("methods = [\"base\", \"wal\"]\n[sources.database.wal]\nmethod = \"stream\"\n");
        assert!(
            streams[0].severity == FindingSeverity::Fault && streams[0].message.contains("wal stream"),
            "{streams:?}"
        );
    }

    #[test]
    fn a_catalog_where_none_can_be_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let found = found(folder.path(), "[catalog]\nurl = \"sqlite:/proc/1/none/catalog.db\"\n");
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].message.contains("the catalog"), "{found:?}");
    }
}
