//! Instructions for the same recovery without drctl, to be kept with the data. Pure.

use super::plan::PhysicalRestorePlan;
use super::preload;
use super::preload::PreloadLibrary;
use super::settings::headline;
use crate::model::{Artifact, Encoding, Manifest};
use crate::postgres::shell;
use crate::repository::layout;

pub(super) fn text(plan: &PhysicalRestorePlan, libraries: &[PreloadLibrary]) -> String {
    let manifest = &plan.steps.manifest;
    let log = format!("{}{}", layout::wal(&manifest.system, &manifest.source), plan.system_identifier);
    let sealed = plan.steps.manifest.artifacts.iter().any(|a| a.encoding.contains(&Encoding::Age));
    let to = shell(&plan.to.to_string_lossy());
    let mut lines: Vec<String> = vec![
        format!("RECOVERY OF {}", headline(plan)),
        String::new(),
        "How to do it without drctl: with any copy of the repository in the directory REPOSITORY (for S3:"
            .to_owned(),
        "aws s3 sync s3://bucket/prefix REPOSITORY), age, zstd, tar and PostgreSQL of the same major. Every"
            .to_owned(),
        "command must end with exit status 0 (bash: set -o pipefail).".to_owned(),
        String::new(),
        "1. The files, into an empty directory of PostgreSQL's user:".to_owned(),
        String::new(),
        format!("    mkdir -p {to} && chmod 700 {to}"),
    ];
    if plan.chain.is_empty() {
        let place = |oid: u32| {
            let space = plan.tablespaces.iter().find(|space| space.oid == oid);
            space.map(|space| shell(&space.to.to_string_lossy())).unwrap_or_default()
        };
        lines.extend(unpacked(manifest, &to, place));
    } else {
        lines.extend(combined(plan, &to));
    }
    if !plan.tablespaces.is_empty() {
        lines.push(format!("    rm -f {to}/tablespace_map   # it names where the tablespaces were"));
    }
    for space in plan.tablespaces.iter().filter(|space| space.made_at.is_some()) {
        lines.extend([
            format!(
                "   The WAL creates tablespace {} during replay, and without drctl just where it was:",
                space.oid
            ),
            format!(
                "   {}. Never do this on the host of the live cluster. Make the directory first:",
                space.was
            ),
            String::new(),
            format!("    mkdir -p {0} && chown postgres: {0}", shell(&space.was)),
        ]);
    }
    let decrypt = if sealed { "age -d -i /path/to/identity.txt" } else { "cat" };
    let ending = if sealed { ".zst.age" } else { ".zst" };
    let fetch = format!(
        "test -e \"REPOSITORY/{log}/$(echo %f | cut -c1-8)/%f{ending}\" || exit 1; {decrypt} \"REPOSITORY/{log}/$(echo %f | cut -c1-8)/%f{ending}\" | zstd -dq -o %p || exit 200"
    );
    lines.extend([
        String::new(),
        "2. How it gets its WAL, and where it stops. A missing file ends the recovery (exit status 1), so make".to_owned(),
        "   sure first that no segment is missing in the middle; any other failure must stop it (200).".to_owned(),
        format!("   In {to}/postgresql.auto.conf, in place of what drctl wrote there:"),
        String::new(),
        format!("    restore_command = '{fetch}'"),
        format!("    recovery_target_timeline = '{}'", plan.timeline),
        "    recovery_target_action = 'promote'".to_owned(),
        "    archive_mode = 'off'".to_owned(),
    ]);
    let preload = preload::settings(libraries);
    if !preload.is_empty() {
        lines.push("    # without the libraries whose background workers run production's jobs:".to_owned());
    }
    lines.extend(preload.iter().map(|(name, value)| format!("    {name} = '{value}'")));
    lines.extend(target(plan).into_iter().map(|line| format!("    {line}")));
    lines.extend([
        String::new(),
        "3. Begin, and wait until it is out of recovery:".to_owned(),
        String::new(),
        format!("    touch {to}/recovery.signal && chown -R postgres: {to}   # and its tablespaces"),
        format!("    pg_ctl -D {to} -l {to}/recovery.log start"),
        "    psql -c 'SELECT pg_is_in_recovery(), pg_last_wal_replay_lsn(), pg_last_xact_replay_timestamp()'"
            .to_owned(),
        String::new(),
        "4. When it is out of recovery, take `restore_command` and what begins with `recovery_target` out of".to_owned(),
        "   postgresql.auto.conf again: a standby that is made of it would end at the same target. When it takes".to_owned(),
        "   the place of the cluster that was backed up, take the rest of what drctl wrote there out, too, and".to_owned(),
        "   restart it. Both at once, shown first and done with --apply:".to_owned(),
        String::new(),
        format!("    drctl recovery release {to}"),
    ]);
    if preload::job_libraries_added("", &names(libraries)).iter().any(|library| library == "pg_cron") {
        lines.extend([
            String::new(),
            "   Jobs of pg_cron run from then on, in the server that their rows name. Without drctl, first set them"
                .to_owned(),
            "   inactive, in the database of pg_cron, as a superuser:".to_owned(),
            String::new(),
            "    SET session_replication_role = replica; UPDATE cron.job SET active = false;".to_owned(),
        ]);
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Returns the libraries that are not loaded, as a list.
fn names(libraries: &[PreloadLibrary]) -> String {
    let left_out = libraries.iter().filter(|library| !library.is_loaded());
    left_out.map(|library| crate::postgres::identifier(&library.name)).collect::<Vec<_>>().join(",")
}

/// Returns the commands that unpack one backup into an existing directory, and its tablespaces into new ones.
fn unpacked(manifest: &Manifest, to: &str, place: impl Fn(u32) -> String) -> Vec<String> {
    let folder = layout::backup(&manifest.system, &manifest.id);
    let mut lines = vec![format!("    cd REPOSITORY/{folder}")];
    let spaces = manifest.physical.iter().flat_map(|physical| &physical.tablespaces);
    for artifact in manifest.artifacts.iter().filter(|a| a.name.contains(".tar")) {
        let oid: Option<u32> = artifact.name.split('.').next().and_then(|oid| oid.parse().ok());
        let directory = oid.map_or(to.to_owned(), &place);
        if oid.is_some() {
            lines.push(format!("    mkdir -p {directory} && chmod 700 {directory}"));
        }
        lines.push(format!("    {} | tar -x -C {directory}", pipe(artifact)));
    }
    lines
        .extend(spaces.map(|space| format!("    ln -sfn {} {to}/pg_tblspc/{}", place(space.oid), space.oid)));
    lines
}

/// Returns the commands for a chain: each backup into a directory of its own, then combined into one.
fn combined(plan: &PhysicalRestorePlan, to: &str) -> Vec<String> {
    let parents = plan.steps.parents.iter().map(|parent| &parent.manifest);
    let backups: Vec<&Manifest> = parents.chain([&plan.steps.manifest]).collect();
    let part = |n: usize| format!("\"$PARTS/{n}\"");
    let space = |n: usize, oid: u32| format!("\"$PARTS/{n}-{oid}\"");
    let mut lines = vec![
        "    PARTS=/a/directory/with/room/for/all/of/them".to_owned(),
        "    # the backup holds what changed only: first each that it builds on, the full one before all"
            .to_owned(),
    ];
    for (n, manifest) in backups.iter().enumerate() {
        let part = part(n);
        lines.push(format!("    mkdir -p {part} && chmod 700 {part}"));
        lines.extend(unpacked(manifest, &part, |oid| space(n, oid)));
    }
    let last = backups.len() - 1;
    let mapped: String = plan
        .backed_up()
        .map(|planned| {
            let to = shell(&planned.to.to_string_lossy());
            format!("--tablespace-mapping={}={to} ", space(last, planned.oid))
        })
        .collect();
    let parts: Vec<String> = (0..=last).map(part).collect();
    lines.push(format!("    pg_combinebackup {mapped}--output={to} {}", parts.join(" ")));
    lines.push(format!("    pg_verifybackup --no-parse-wal {to}"));
    lines.push("    rm -r \"$PARTS\"".to_owned());
    lines
}

fn target(plan: &PhysicalRestorePlan) -> Vec<String> {
    use super::plan::ResolvedTarget;
    let line = match &plan.goal {
        ResolvedTarget::End => return vec![],
        // Where the old timeline continued, this stops exactly at the fork.
        ResolvedTarget::Until(lsn) if plan.steps.leaves => format!("recovery_target_lsn = '{lsn}'"),
        ResolvedTarget::Until(_) => return vec![],
        ResolvedTarget::Time(time) => {
            format!("recovery_target_time = '{}'", time.format("%Y-%m-%d %H:%M:%S%.6f+00"))
        }
        ResolvedTarget::Lsn(lsn) => format!("recovery_target_lsn = '{lsn}'"),
        ResolvedTarget::Transaction(number) => format!("recovery_target_xid = '{number}'"),
        ResolvedTarget::Name(name) => format!("recovery_target_name = '{}'", name.replace('\'', "''")),
    };
    let exclusive = plan.exclusive || matches!(plan.goal, ResolvedTarget::Until(_));
    let just_before = exclusive.then(|| "recovery_target_inclusive = 'off'".to_owned());
    [line].into_iter().chain(just_before).collect()
}

/// Returns a shell pipeline that outputs an artifact's plain bytes.
fn pipe(artifact: &Artifact) -> String {
    let names: Vec<&str> = artifact.objects.iter().map(|object| object.name.as_str()).collect();
    let mut pipe = format!("cat {}", names.join(" "));
    for encoding in artifact.encoding.iter().rev() {
        pipe.push_str(match encoding {
            Encoding::Age => " | age -d -i /path/to/identity.txt",
            Encoding::Zstd => " | zstd -d",
        });
    }
    pipe
}
