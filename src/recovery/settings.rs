//! What a restored data directory says to its server. Pure: texts in, texts out.

use std::path::Path;

use super::RestoreCommand;
use super::plan::{Goal, RecoveryPlan};
use super::target::shown;
use crate::model::{ClusterFacts, ConfigurationFile, RepositoryName, SourceName};
use crate::postgres::shell;

/// Without these at least as they were on the server that wrote the log, recovery ends.
const DEMANDED: [&str; 5] = [
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
];
const TARGETS: [&str; 5] = [
    "recovery_target",
    "recovery_target_lsn",
    "recovery_target_name",
    "recovery_target_time",
    "recovery_target_xid",
];
/// Settings of a file that was outside of the data directory and lead out of it, or to other files.
const LEAD_OUT: [&str; 9] = [
    "data_directory",
    "hba_file",
    "ident_file",
    "external_pid_file",
    "unix_socket_directories",
    "stats_temp_directory",
    "include",
    "include_dir",
    "include_if_exists",
];
/// Of these, the ones that name a place where this server is not.
const ELSEWHERE: [&str; 4] = ["data_directory", "hba_file", "ident_file", "external_pid_file"];

/// Lines for the end of `postgresql.auto.conf`: the last one of a name counts, over any other file's.
pub(super) fn recovery(plan: &RecoveryPlan, facts: &ClusterFacts, command: &RestoreCommand) -> String {
    let mut lines = vec![
        String::new(),
        format!("# Written by drctl: recovery of {} to {}.", plan.backup, plan.target),
        "# Once the server is out of recovery, what begins with `recovery_` and `restore_` counts no more."
            .to_owned(),
        setting("restore_command", &restore_command(plan, command)),
        setting("recovery_target_timeline", &plan.timeline.to_string()),
        setting("recovery_target_inclusive", if plan.exclusive { "off" } else { "on" }),
        setting("recovery_target_action", "promote"),
    ];
    let target = match &plan.goal {
        Goal::End | Goal::Until(_) => None,
        Goal::Time(time) => {
            Some(("recovery_target_time", time.format("%Y-%m-%d %H:%M:%S%.6f+00").to_string()))
        }
        Goal::Lsn(lsn) => Some(("recovery_target_lsn", lsn.to_string())),
        Goal::Transaction(number) => Some(("recovery_target_xid", number.to_string())),
        Goal::Name(name) => Some(("recovery_target_name", name.clone())),
    };
    // Those of an earlier recovery. The one that counts comes last: an empty one after it would be refused as
    // a second target.
    let others = TARGETS.iter().filter(|name| target.as_ref().is_none_or(|(ours, _)| ours != *name));
    lines.extend(others.map(|name| setting(name, "")));
    lines.extend(target.map(|(name, value)| setting(name, &value)));
    lines.push(
        "# No queries before the end: until then it is neither the one state nor the other.".to_owned(),
    );
    lines.push(setting("hot_standby", "off"));
    lines.push("# As on the server that wrote the log, since recovery needs them so.".to_owned());
    let demanded = facts.server_settings.iter().filter(|(name, _)| DEMANDED.contains(&name.as_str()));
    lines.extend(demanded.map(|(name, value)| setting(name, value)));
    lines.extend([
        "# A restored copy that archives puts its own timeline beside production's, and the next recovery".to_owned(),
        "# follows it. When this server takes production's place: remove the line, restart, and take a base".to_owned(),
        "# backup at once, since the log of the new timeline leads nowhere without one.".to_owned(),
        setting("archive_mode", "off"),
        "# It follows nobody, waits for nobody, and fetches nothing from publishers. To change that, remove these.".to_owned(),
        setting("primary_conninfo", ""),
        setting("primary_slot_name", ""),
        setting("synchronous_standby_names", ""),
        setting("max_logical_replication_workers", "0"),
        "# What the other server ran at such moments, against its own archive, is not run here.".to_owned(),
        setting("recovery_end_command", ""),
        setting("archive_cleanup_command", ""),
        setting("recovery_min_apply_delay", "0"),
    ]);
    if plan.major >= 15 && plan.goal != Goal::End {
        lines.push("# It would ask for log behind the target, which need not be there.".to_owned());
        lines.push(setting("recovery_prefetch", "off"));
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn restore_command(plan: &RecoveryPlan, command: &RestoreCommand) -> String {
    let until = plan.until.map(|lsn| lsn.to_string());
    command_line(command, &plan.source, &plan.log_from, &plan.system_identifier.to_string(), until)
}

/// As a shell takes it, with `%` doubled, since PostgreSQL replaces what follows one.
fn command_line(
    command: &RestoreCommand,
    source: &SourceName,
    from: &[RepositoryName],
    cluster: &str,
    until: Option<String>,
) -> String {
    let path = |path: &Path| shell(&path.to_string_lossy()).replace('%', "%%");
    let mut words = vec![path(&command.drctl), "--policy".to_owned(), path(&command.policy)];
    words.extend(["wal".to_owned(), "fetch".to_owned()]);
    for identity in &command.identities {
        words.extend(["--identity".to_owned(), path(identity)]);
    }
    for name in from {
        words.extend(["--from".to_owned(), name.to_string()]);
    }
    words.extend(["--system-identifier".to_owned(), cluster.to_owned()]);
    if let Some(until) = until {
        words.extend(["--until".to_owned(), until]);
    }
    words.extend([source.to_string(), "%f".to_owned(), "%p".to_owned()]);
    words.join(" ")
}

/// A line of a configuration file. In its quotes a backslash begins something.
fn setting(name: &str, value: &str) -> String {
    format!("{name} = '{}'", value.replace('\\', r"\\").replace('\'', "''"))
}

/// The configuration that was outside of the data directory, as it goes into it: without what led out of it.
pub(super) fn own_file(file: &ConfigurationFile) -> String {
    if file.name != "postgresql.conf" {
        return file.text.clone();
    }
    let begin = format!("# As it was at {}, without what leads out of this directory.\n", file.path);
    begin + &without(&file.text, &LEAD_OUT)
}

/// The configuration in the data directory, without what names another: a server started here would work
/// there.
pub(super) fn inner_file(text: &str) -> String {
    without(text, &ELSEWHERE)
}

fn without(text: &str, settings: &[&str]) -> String {
    let line = |line: &str| {
        let name: String =
            line.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let leads_out = settings.iter().any(|setting| setting.eq_ignore_ascii_case(&name));
        if leads_out { format!("#drctl: {line}\n") } else { format!("{line}\n") }
    };
    text.lines().map(line).collect()
}

/// For `backup_label`'s neighbours: when and what, in one line.
pub(super) fn headline(plan: &RecoveryPlan) -> String {
    format!("{} (data of {}) to {}", plan.backup, shown(plan.recovery_point), plan.target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_paths_stay_what_they_are() {
        let command = RestoreCommand {
            drctl: "/opt/dr ctl/it's".into(),
            policy: r"/etc/100%/po\licy.toml".into(),
            identities: vec!["/key".into()],
            environment: vec![],
        };
        let source = "database".parse().unwrap();
        let from = ["west".parse().unwrap()];
        let line = command_line(&command, &source, &from, "7", Some("0/9000000".to_owned()));
        assert_eq!(
            line,
            r"'/opt/dr ctl/it'\''s' --policy '/etc/100%%/po\licy.toml' wal fetch --identity /key --from west --system-identifier 7 --until 0/9000000 database %f %p"
        );
        assert_eq!(setting("restore_command", r"'a'\''b\c'"), r"restore_command = '''a''\\''''b\\c'''");
    }

    #[test]
    fn what_leads_out_of_the_directory_is_not_said_again() {
        let file = ConfigurationFile {
            name: "postgresql.conf".to_owned(),
            path: "/etc/postgresql/15/main/postgresql.conf".to_owned(),
            text: "data_directory = '/var/lib/x'\n  HBA_FILE='/etc/y'\ninclude_dir = 'conf.d'\nport = 5432 # include\n"
                .to_owned(),
        };
        let text = own_file(&file);
        let said: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(said, ["port = 5432 # include"]);
        assert_eq!(
            inner_file("data_directory '/live'\ninclude_dir 'conf.d'\n"),
            "#drctl: data_directory '/live'\ninclude_dir 'conf.d'\n"
        );
        let hba = ConfigurationFile { name: "pg_hba.conf".to_owned(), ..file };
        assert_eq!(own_file(&hba), hba.text);
    }
}
