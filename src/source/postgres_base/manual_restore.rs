use crate::model::{Artifact, Encoding, Lsn, Manifest, Physical, Segment, ServerFacts};
use crate::source::manual_restore::plain_in;

/// Returns the commands that restore a copy with standard tools, for the manifest. `chain`: its parents, the
/// full one first.
pub(super) fn commands(
    artifacts: &[Artifact],
    physical: &Physical,
    server: &ServerFacts,
    chain: &[Manifest],
) -> Vec<String> {
    let major = server.major;
    let cluster = server.system_identifier.as_deref().unwrap_or("IDENTIFIER");
    let first = Segment::holding(physical.timeline, physical.start, physical.segment_size);
    let last_byte = Lsn(physical.stop.0.saturating_sub(1));
    let last = Segment::holding(physical.timeline, last_byte, physical.segment_size);
    let mut lines = vec![format!(
        "# in a directory with this backup's objects, as a user who is not root, with PostgreSQL {major}'s programs; each command must end with exit status 0 (bash: set -o pipefail)"
    )];
    if chain.is_empty() {
        lines.extend(unpacked(artifacts, physical, "data", "tablespace", ""));
    } else {
        lines.extend(combined(artifacts, physical, chain));
    }
    lines.push("pg_verifybackup --no-parse-wal data".to_owned());
    if !physical.tablespaces.is_empty() {
        // It has their original locations.
        lines.push("rm -f data/tablespace_map".to_owned());
    }
    lines.push(format!(
        "# the WAL from wal/{cluster}/ of the source, {first} to {last} at least, and every .history: copied into ./log"
    ));
    // A missing segment ends the recovery; an unreadable one must not.
    let sealed = artifacts.iter().any(|artifact| artifact.encoding.contains(&Encoding::Age));
    let (open, ending) = if sealed { ("age -d -i $PWD/identity.txt", ".zst.age") } else { ("cat", ".zst") };
    let file = format!("$PWD/log/%f{ending}");
    lines.push(format!(
        "echo \"restore_command = 'test -e {file} || exit 1; {open} {file} | zstd -d -q -f -o %p || exit 200'\" >> data/postgresql.auto.conf"
    ));
    // A copy of a standby would continue as a standby of the same primary.
    lines.push("rm -f data/standby.signal".to_owned());
    lines.push("echo \"primary_conninfo = ''\" >> data/postgresql.auto.conf".to_owned());
    lines.push("echo \"archive_mode = off\" >> data/postgresql.auto.conf".to_owned());
    lines.push("echo \"recovery_target_action = 'promote'\" >> data/postgresql.auto.conf".to_owned());
    lines.push(
        "# to a time before the end of the WAL: echo \"recovery_target_time = '2026-11-20 14:05:00+00'\" >> data/postgresql.auto.conf"
            .to_owned(),
    );
    lines.push("touch data/recovery.signal".to_owned());
    lines.push("pg_ctl --pgdata=data --log=log.txt --wait --timeout=86400 start".to_owned());
    lines.push("psql --no-psqlrc --dbname=postgres --command='SELECT pg_is_in_recovery(), pg_last_xact_replay_timestamp()'".to_owned());
    lines
}

/// Returns the commands that unpack one backup's archives, which are in `folder`, into directories.
fn unpacked(
    artifacts: &[Artifact],
    physical: &Physical,
    data: &str,
    tablespace: &str,
    folder: &str,
) -> Vec<String> {
    let mut lines = vec![format!("mkdir -m 700 {data}")];
    let oids = || physical.tablespaces.iter().map(|tablespace| tablespace.oid);
    lines.extend(oids().map(|oid| format!("mkdir -m 700 {tablespace}-{oid}")));
    for artifact in artifacts {
        let into = match artifact.name.split_once(".tar") {
            Some(("base", _)) => data.to_owned(),
            Some((oid, _)) => format!("{tablespace}-{oid}"),
            None => continue,
        };
        lines.push(format!("{} | tar -x -p -C {into}", plain_in(artifact, folder)));
    }
    lines.extend(oids().map(|oid| format!("ln -s \"$PWD/{tablespace}-{oid}\" {data}/pg_tblspc/{oid}")));
    lines
}

/// Returns the commands that combine a chain.
fn combined(artifacts: &[Artifact], physical: &Physical, chain: &[Manifest]) -> Vec<String> {
    let mut lines = vec![
        "# it holds the changes since other backups only: beside its own, the objects of each have to be in a directory of its name"
            .to_owned(),
    ];
    let mut parts = Vec::new();
    for parent in chain {
        let Some(physical) = &parent.physical else { continue };
        let data = format!("part-{}", parts.len());
        let folder = format!("{}/", parent.id);
        lines.extend(unpacked(&parent.artifacts, physical, &data, &format!("{data}-tablespace"), &folder));
        parts.push(data);
    }
    let data = format!("part-{}", parts.len());
    lines.extend(unpacked(artifacts, physical, &data, &format!("{data}-tablespace"), ""));
    let mapped = physical.tablespaces.iter().map(|space| {
        let oid = space.oid;
        format!("--tablespace-mapping=\"$PWD/{data}-tablespace-{oid}=$PWD/tablespace-{oid}\" ")
    });
    let mapped: String = mapped.collect();
    parts.push(data);
    lines.push(format!("pg_combinebackup {mapped}--output=data {}", parts.join(" ")));
    lines.push("rm -r part-*".to_owned());
    lines
}
