use crate::cli::exit::Exit;
use crate::restore::{Refusal, RefusalClass};

const ANOTHER_DATABASE: &str =
    "Name a database that does not exist with `--to`, and rename the two manually once you have checked it.";

/// By code, in order; `{name}` is a fact of the refusal. Codes without hints are omitted.
const HINTS: &[(&str, &str)] = &[
    (
        "all-bad",
        "`drctl copies sync` repairs a copy from one that is intact. `--backup ID` restores what can be read of a bad one.",
    ),
    ("already-restored", "Choose another name with `--to-instance`."),
    ("ambiguous-backup", "Give more of the id; `drctl list` shows how much is enough."),
    (
        "cron-elsewhere",
        "Set `cron.database_name` to the database on the target server, and load under that name: `--no-rename`. `--continue` restores the rest without it.",
    ),
    ("damaged-settings", "`drctl verify` says which copies of the backup are good."),
    (
        "damaged-wal",
        "`--point-in-time {last}` recovers to the last commit before the damage, and `--to-lsn` to a position before {at}; a base backup that was taken after it (`--backup`, `drctl list`) recovers to later moments. A repository that could not be read now may have the segment intact.",
    ),
    ("database-closed", ANOTHER_DATABASE),
    ("database-in-use", ANOTHER_DATABASE),
    ("database-not-empty", ANOTHER_DATABASE),
    ("database-not-owned", ANOTHER_DATABASE),
    (
        "directory-not-empty",
        "Name a directory that does not exist or is empty. Only `--delta` writes over something: the data of the same cluster, once its server is stopped.",
    ),
    (
        "forked",
        "`--timeline {furthest}` recovers the latest; the others are of servers that were restored or promoted, and archived to the same place.",
    ),
    (
        "gap",
        "Restore to a moment before the gap, or complete the repositories first (`drctl copies sync`, `drctl wal status`).",
    ),
    ("identifier-taken", "Choose another name with `--to-instance`."),
    ("incomplete-name-taken", "`--continue=NAME` gives what is incomplete another name."),
    ("invalid-identifier", "Choose another name with `--to-instance`."),
    ("invalid-metadata", "Say what the new resource is with `--to-resource KEY=VALUE`."),
    (
        "leftover-database",
        "`--drop-leftovers` drops what drctl made. Drop and recreate a database that existed before; or empty it (DROP SCHEMA … CASCADE), and clear its comment (COMMENT ON DATABASE … IS NULL).",
    ),
    ("leftover-directory", "`--drop-leftovers` removes it first."),
    (
        "minimal-wal",
        "`--point-in-time {last}` recovers to the last commit before that, and `--to-lsn` to a position before {at}; a base backup that was taken after it (`--backup`, `drctl list`) recovers to later moments. Without one, take one now: `drctl backup --kind base`.",
    ),
    ("no-backup", "`drctl list` shows what there is."),
    (
        "no-combine",
        "`apt-get install postgresql-{major} postgresql-client-{major}`, or name the directory of the programs as `tools` in the policy. `--backup {full}` does without them, over more WAL.",
    ),
    (
        "no-createdb",
        "Restore with a role that has CREATEDB, or into an empty database of its own with `--no-rename`.",
    ),
    ("no-createrole", "Restore with a role that has CREATEROLE, or with `--no-owner`."),
    ("no-extension", "Install their packages on the target server."),
    ("no-git", "`apt-get install git`."),
    (
        "no-group",
        "Name `subnet_group`, `security_groups` and `parameter_group` under the source's `copy_to` in the policy, or for this restore alone with `--set subnet_group=NAME --set security_groups=GROUP,GROUP --set parameter_group=NAME`.",
    ),
    ("no-identity", "Name the file that holds an identity with `--identity`."),
    (
        "no-locale",
        "Install the locale on the target server, and restart PostgreSQL; or name one that it has with `--locale`.",
    ),
    (
        "no-manifest",
        "`drctl list` shows which backups have a manifest, and `drctl doctor` what keeps a repository from being read. AWS's own command line restores the snapshot, too: `aws rds describe-db-snapshots` (a cluster's: `describe-db-cluster-snapshots`) names it.",
    ),
    ("no-meant-role", "`--globals` makes the missing roles."),
    ("no-members", "`drctl show` has the commands of AWS's own command line, which make one of your choice."),
    ("no-public-schema", "Create it (`CREATE SCHEMA public`), or load into a new database."),
    ("no-recovery-point", "`drctl backup` makes one."),
    ("no-region", "Look at the credentials and the endpoint of the source in the policy."),
    ("no-restore-command", "`--to FILE` restores what the command wrote as a file."),
    ("no-restore-point", "`--point-in-time` and `--to-lsn` name a moment without one."),
    ("no-role", "`--globals` makes the missing roles; `--no-owner` does without them."),
    ("no-scratch-space", "`--scratch` names another directory; `--jobs 1` needs no scratch disk."),
    (
        "no-server",
        "`apt-get install postgresql-{major}`, or restore without `--start` and start it elsewhere.",
    ),
    ("no-tablespace", "`--globals` makes the missing tablespaces; `--no-tablespaces` does without them."),
    (
        "no-tablespace-directory",
        "Create an empty directory there that belongs to the server's user, create the tablespace elsewhere before the restore, or restore with `--no-tablespaces`.",
    ),
    (
        "not-continuous",
        "`drctl list` shows the times of the backups: name one with `--backup`. To restore to any other time, a plan of AWS Backup has to back it up continuously; name the plan in the source's `plan`.",
    ),
    ("not-in-region", "Name a region that has it with `--from`."),
    ("not-member-of-owner", "Grant it the membership, or restore with `--no-owner`."),
    (
        "only-dumps",
        "drctl restore {source} --backup {backup} --to NEW_DATABASE restores that dump; base backups and archived WAL (`methods = [\"base\", \"wal\"]`) lose less.",
    ),
    ("other-cluster", "Name another directory; drctl never writes over another cluster's data."),
    ("other-database", "Say which with `--backup` or `--point-in-time`."),
    ("other-timeline", "`--timeline {other}` recovers along it."),
    ("other-zone", "Name a zone of that region, or restore from another with `--from`."),
    ("out-of-reach", "Name a moment inside of a window, or restore the snapshot with `--backup`."),
    ("port-taken", "Without `--port` one that is free is chosen."),
    ("rds-snapshot", "`--to-instance NAME` makes an instance of what RDS keeps."),
    ("recovery-point-gone", "Name another region with `--from`, or an older backup with `--backup`."),
    ("reserved-name", "`--no-rename` loads into the database `postgres` where it is empty."),
    ("restore-at-work", "Wait for it to end, or name another directory."),
    ("root-owns", "Say `--owner postgres`, or run drctl as that user."),
    (
        "server-runs",
        "Stop it first (`pg_ctl -D {path} stop`). Only if you are sure that no server runs there, in no container either, remove {file}.",
    ),
    (
        "tablespace-directory-used",
        "Create the tablespace in another directory before the restore (`CREATE TABLESPACE`), or restore with `--no-tablespaces`. Never empty a directory that a server uses.",
    ),
    (
        "target-bucket",
        "`--to` is reached with the endpoint, the region and the credentials of the source in the policy.",
    ),
    ("target-not-empty", "Name another prefix: drctl makes it."),
    ("too-early", "Choose a moment inside of one of these; an older dump may be nearer (`drctl list`)."),
    (
        "too-late",
        "`--latest` restores as much as there is. Where the server still lives, `SELECT pg_switch_wal()` there has what it wrote last archived now.",
    ),
    (
        "transaction-on-two-timelines",
        "`--timeline {goal}` recovers to the one, `--timeline {other}` to the other.",
    ),
    (
        "transaction-too-early",
        "What had ended when a backup was complete is in it and no target; of a transaction that was open then, the backup has to say so, which those of a standby and of older versions do not. Give the time or the position of its commit in place of its number (`--point-in-time`, `--to-lsn`; `pg_waldump --rmgr=Transaction` has both), or an older backup (`--backup`).",
    ),
    (
        "two-timelines",
        "`--timeline {other}` recovers what was committed there by then; `--timeline {child}`, the state that timeline {child} began with.",
    ),
    (
        "unknown-resource-type",
        "AWS Backup's console restores it, and so do the commands of AWS's own command line that `drctl show` has.",
    ),
    ("unknown-tablespace", "Without `--tablespace` they go beside the directory."),
    (
        "unmappable-tablespace",
        "Recover to before it (`--to-lsn {at} --exclusive`), or begin from a base backup that was taken after it (`--backup`).",
    ),
    (
        "unreadable-file",
        "Give {user} a copy of a key that only {user} can read (`install -o {user} -m 600`), or run drctl as {user}.",
    ),
    (
        "unusable-backup",
        "`--timeline` and `--backup` choose another way; `drctl wal status` shows the timelines.",
    ),
    (
        "wrong-identity",
        "Name the identity of one of the recipients that the backup was encrypted to; `drctl show` names them.",
    ),
];

/// Returns the exit status for these refusals: the worst class decides.
pub(crate) fn exit_of_refusals(refusals: &[Refusal]) -> Exit {
    match refusals.iter().map(|refusal| refusal.class).max() {
        Some(RefusalClass::Nothing) => Exit::Nothing,
        Some(RefusalClass::Usage) => Exit::Usage,
        Some(RefusalClass::NotReady) | None => Exit::Failed,
    }
}

/// Returns the hints for these refusals, each once.
pub(crate) fn hints_for_refusals(refusals: &[Refusal]) -> Vec<String> {
    let mut hints: Vec<String> = Vec::new();
    for hint in refusals.iter().filter_map(hint) {
        if !hints.contains(&hint) {
            hints.push(hint);
        }
    }
    hints
}

fn hint(refusal: &Refusal) -> Option<String> {
    let at = HINTS.binary_search_by_key(&refusal.code, |(code, _)| code).ok()?;
    let mut hint = HINTS[at].1.to_owned();
    for (name, value) in &refusal.facts {
        hint = hint.replace(&format!("{{{name}}}"), value);
    }
    Some(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_every_code_of_it_is_one_of_a_refusal() {
        assert!(HINTS.is_sorted_by(|a, b| a.0 < b.0));
        let mut sources = String::new();
        for entry in walk(std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/restore"))) {
            sources.push_str(&std::fs::read_to_string(entry).unwrap());
        }
        for (code, _) in HINTS {
            assert!(sources.contains(&format!("\"{code}\"")), "no refusal has the code `{code}`");
        }
    }

    fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
    }

    #[test]
    fn facts_are_put_in_their_places_and_an_advice_is_given_once() {
        let refusal = Refusal::usage("two-timelines", "x").with("child", 3).with("other", 2);
        let hints = hints_for_refusals(&[refusal.clone(), refusal, Refusal::usage("line-break", "y")]);
        assert_eq!(
            hints,
            [
                "`--timeline 2` recovers what was committed there by then; `--timeline 3`, the state that timeline 3 began with."
            ]
        );
    }

    #[test]
    fn that_there_is_nothing_counts_more_than_that_something_is_not_ready() {
        let all = [Refusal::not_ready("a", ""), Refusal::nothing("b", ""), Refusal::usage("c", "")];
        assert_eq!(exit_of_refusals(&all), Exit::Nothing);
        assert_eq!(exit_of_refusals(&all[..1]), Exit::Failed);
        assert_eq!(exit_of_refusals(&all[2..]), Exit::Usage);
    }
}
