//! The same recovery without drctl, to be kept beside the data. Pure.

use super::plan::RecoveryPlan;
use super::settings::headline;
use crate::model::{Artifact, Encoding};
use crate::postgres::shell;
use crate::repository::layout;

pub(super) const FILE: &str = "RECOVER-BY-HAND.txt";

pub(super) fn text(plan: &RecoveryPlan) -> String {
    let manifest = &plan.steps.manifest;
    let folder = layout::backup(&manifest.system, &manifest.id);
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
        format!("    cd REPOSITORY/{folder}"),
    ];
    for artifact in manifest.artifacts.iter().filter(|a| a.name.contains(".tar")) {
        let oid: Option<u32> = artifact.name.split('.').next().and_then(|oid| oid.parse().ok());
        let space = oid.and_then(|oid| plan.tablespaces.iter().find(|space| space.oid == oid));
        let directory = space.map_or(to.clone(), |space| shell(&space.to.to_string_lossy()));
        if space.is_some() {
            lines.push(format!("    mkdir -p {directory} && chmod 700 {directory}"));
        }
        lines.push(format!("    {} | tar -x -C {directory}", pipe(artifact)));
    }
    for space in &plan.tablespaces {
        let directory = shell(&space.to.to_string_lossy());
        lines.push(format!("    ln -sfn {directory} {to}/pg_tblspc/{}", space.oid));
    }
    if !plan.tablespaces.is_empty() {
        lines.push(format!("    rm -f {to}/tablespace_map   # it names where the tablespaces were"));
    }
    let decrypt = if sealed { "age -d -i /path/to/identity.txt" } else { "cat" };
    let ending = if sealed { ".zst.age" } else { ".zst" };
    let fetch = format!(
        "test -e \"REPOSITORY/{log}/$(echo %f | cut -c1-8)/%f{ending}\" || exit 1; {decrypt} \"REPOSITORY/{log}/$(echo %f | cut -c1-8)/%f{ending}\" | zstd -dq -o %p || exit 200"
    );
    lines.extend([
        String::new(),
        "2. How it gets its log, and where it stops. A missing file ends the recovery (exit status 1), so make".to_owned(),
        "   sure first that no segment is missing in the middle; any other failure must stop it (200).".to_owned(),
        format!("   In {to}/postgresql.auto.conf, in place of what drctl wrote there:"),
        String::new(),
        format!("    restore_command = '{fetch}'"),
        format!("    recovery_target_timeline = '{}'", plan.timeline),
        "    recovery_target_action = 'promote'".to_owned(),
        "    archive_mode = 'off'".to_owned(),
    ]);
    lines.extend(target(plan).into_iter().map(|line| format!("    {line}")));
    lines.extend([
        String::new(),
        "3. Begin, and wait until it is out of recovery:".to_owned(),
        String::new(),
        format!("    touch {to}/recovery.signal && chown -R postgres: {to}   # and its tablespaces"),
        format!("    pg_ctl -D {to} -l {to}/recovery.log start"),
        "    psql -c 'SELECT pg_is_in_recovery(), pg_last_wal_replay_lsn(), pg_last_xact_replay_timestamp()'"
            .to_owned(),
    ]);
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn target(plan: &RecoveryPlan) -> Vec<String> {
    use super::plan::Goal;
    let line = match &plan.goal {
        Goal::End => return vec![],
        // Where the old timeline went on, this stops just where it was left.
        Goal::Until(lsn) if plan.steps.leaves => format!("recovery_target_lsn = '{lsn}'"),
        Goal::Until(_) => return vec![],
        Goal::Time(time) => format!("recovery_target_time = '{}'", time.format("%Y-%m-%d %H:%M:%S%.6f+00")),
        Goal::Lsn(lsn) => format!("recovery_target_lsn = '{lsn}'"),
        Goal::Transaction(number) => format!("recovery_target_xid = '{number}'"),
        Goal::Name(name) => format!("recovery_target_name = '{}'", name.replace('\'', "''")),
    };
    let exclusive = plan.exclusive || matches!(plan.goal, Goal::Until(_));
    let just_before = exclusive.then(|| "recovery_target_inclusive = 'off'".to_owned());
    [line].into_iter().chain(just_before).collect()
}

/// A pipe that gives an artifact's plain bytes.
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
