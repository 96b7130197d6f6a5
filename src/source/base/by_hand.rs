use crate::model::{Artifact, Encoding, Lsn, Physical, Segment, ServerFacts};
use crate::source::by_hand::plain;

/// The commands that restore a copy with standard tools, for the manifest.
pub(super) fn commands(artifacts: &[Artifact], physical: &Physical, server: &ServerFacts) -> Vec<String> {
    let major = server.major;
    let cluster = server.system_identifier.as_deref().unwrap_or("IDENTIFIER");
    let first = Segment::holding(physical.timeline, physical.start, physical.segment_size);
    let last_byte = Lsn(physical.stop.0.saturating_sub(1));
    let last = Segment::holding(physical.timeline, last_byte, physical.segment_size);
    let mut lines = vec![
        format!(
            "# in a directory with this backup's objects, as a user who is not root, with PostgreSQL {major}'s programs; each command must end with exit status 0 (bash: set -o pipefail)"
        ),
        "mkdir -m 700 data".to_owned(),
    ];
    for tablespace in &physical.tablespaces {
        let oid = tablespace.oid;
        lines.push(format!("mkdir -m 700 tablespace-{oid}"));
    }
    for artifact in artifacts {
        let into = match artifact.name.split_once(".tar") {
            Some(("base", _)) => "data".to_owned(),
            Some((oid, _)) => format!("tablespace-{oid}"),
            None => continue,
        };
        lines.push(format!("{} | tar -x -p -C {into}", plain(artifact)));
    }
    for tablespace in &physical.tablespaces {
        let oid = tablespace.oid;
        lines.push(format!("ln -s \"$PWD/tablespace-{oid}\" data/pg_tblspc/{oid}"));
    }
    lines.push("pg_verifybackup --no-parse-wal data".to_owned());
    if !physical.tablespaces.is_empty() {
        // It names where they were.
        lines.push("rm -f data/tablespace_map".to_owned());
    }
    lines.push(format!(
        "# the log from wal/{cluster}/ of the source, {first} to {last} at least, and every .history: copied into ./log"
    ));
    // What is not there ends the recovery; what cannot be read must not.
    let sealed = artifacts.iter().any(|artifact| artifact.encoding.contains(&Encoding::Age));
    let (open, ending) = if sealed { ("age -d -i $PWD/identity.txt", ".zst.age") } else { ("cat", ".zst") };
    let file = format!("$PWD/log/%f{ending}");
    lines.push(format!(
        "echo \"restore_command = 'test -e {file} || exit 1; {open} {file} | zstd -d -q -f -o %p || exit 200'\" >> data/postgresql.auto.conf"
    ));
    // A copy of a standby would go on as one of the same primary.
    lines.push("rm -f data/standby.signal".to_owned());
    lines.push("echo \"primary_conninfo = ''\" >> data/postgresql.auto.conf".to_owned());
    lines.push("echo \"archive_mode = off\" >> data/postgresql.auto.conf".to_owned());
    lines.push("echo \"recovery_target_action = 'promote'\" >> data/postgresql.auto.conf".to_owned());
    lines.push(
        "# to a moment before the end of the log: echo \"recovery_target_time = '2026-11-20 14:05:00+00'\" >> data/postgresql.auto.conf"
            .to_owned(),
    );
    lines.push("touch data/recovery.signal".to_owned());
    lines.push("pg_ctl --pgdata=data --log=log.txt --wait --timeout=86400 start".to_owned());
    lines.push("psql --no-psqlrc --dbname=postgres --command='SELECT pg_is_in_recovery(), pg_last_xact_replay_timestamp()'".to_owned());
    lines
}
