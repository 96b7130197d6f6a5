//! The settings of a restored data directory. Pure: text in, text out.

use std::collections::BTreeMap;
use std::path::Path;

use super::configured::setting_in;
use super::plan::{PhysicalRestorePlan, ResolvedTarget};
use super::preload::{self, PreloadLibrary};
use super::target::shown;
use super::{RestoreCommand, release};
use crate::model::{ClusterFacts, ConfigurationFile, Lsn, RepositoryName, SourceName};
use crate::postgres::{shell, without_event_triggers};

/// Recovery ends unless these are at least as high as on the server that wrote the WAL.
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
/// Settings that name files or directories of the live server, where this one would write, delete or wait;
/// and those of an earlier recovery, which would end that of any standby created from it.
const LEAD_OUT: [&str; 12] = [
    "data_directory",
    "hba_file",
    "ident_file",
    "external_pid_file",
    "stats_temp_directory",
    "promote_trigger_file",
    "recovery_target",
    "recovery_target_lsn",
    "recovery_target_name",
    "recovery_target_time",
    "recovery_target_xid",
    "recovery_target_action",
];
/// The same where their path leaves the directory.
const RELATIVE: [&str; 2] = ["log_directory", "log_filename"];
const INCLUDES: [&str; 3] = ["include", "include_dir", "include_if_exists"];
/// In a file from outside of the data directory the paths of its sockets belong to that host.
const OF_THE_HOST: &str = "unix_socket_directories";

/// Returns lines for the end of `postgresql.auto.conf`: the last one of a name counts, over any other file's.
///
/// The first of them are removed when the recovery is verified ([`release::recovered`]), the last when the
/// server is released to replace another ([`release::released`]).
pub(super) fn recovery(
    plan: &PhysicalRestorePlan,
    facts: &ClusterFacts,
    command: &RestoreCommand,
    libraries: &[PreloadLibrary],
) -> String {
    let mut lines = vec![
        String::new(),
        release::RECOVERY[0].to_owned(),
        format!("# Recovery of {} to {}.", plan.backup, plan.target),
        setting("restore_command", &restore_command(plan, command)),
        setting("recovery_target_timeline", &plan.timeline.to_string()),
        setting("recovery_target_inclusive", if plan.exclusive { "off" } else { "on" }),
        setting("recovery_target_action", "promote"),
    ];
    let target = match &plan.goal {
        ResolvedTarget::End | ResolvedTarget::Until(_) => None,
        ResolvedTarget::Time(time) => {
            Some(("recovery_target_time", time.format("%Y-%m-%d %H:%M:%S%.6f+00").to_string()))
        }
        ResolvedTarget::Lsn(lsn) => Some(("recovery_target_lsn", lsn.to_string())),
        ResolvedTarget::Transaction(number) => Some(("recovery_target_xid", number.to_string())),
        ResolvedTarget::Name(name) => Some(("recovery_target_name", name.clone())),
    };
    // Settings of an earlier recovery. The effective one comes last: an empty one after it would be refused
    // as a second target.
    let others = TARGETS.iter().filter(|name| target.as_ref().is_none_or(|(ours, _)| ours != *name));
    lines.extend(others.map(|name| setting(name, "")));
    lines.extend(target.map(|(name, value)| setting(name, &value)));
    lines.push(
        "# No queries before the end: until then it is neither the one state nor the other.".to_owned(),
    );
    lines.push(setting("hot_standby", "off"));
    if plan.major >= 15 && plan.goal != ResolvedTarget::End {
        lines.push("# It would ask for WAL behind the target, which need not be there.".to_owned());
        lines.push(setting("recovery_prefetch", "off"));
    }
    if plan.steps.start.is_some()
        && let Some((name, value)) = without_event_triggers(plan.major)
    {
        lines.push("# drctl logs in to check what was restored, which is to change nothing.".to_owned());
        lines.push(setting(name, value));
    }
    lines.push(release::RECOVERY[1].to_owned());
    lines.push("# As on the server that wrote the WAL, since recovery needs them so.".to_owned());
    lines.extend(demanded(facts, &plan.steps.limits).iter().map(|(name, value)| setting(name, value)));
    lines.extend([
        release::APART[0].to_owned(),
        "# A restored copy that archives puts its own timeline beside production's, and the next recovery"
            .to_owned(),
        "# follows it. When this server takes production's place, `drctl recovery release` takes this out; then"
            .to_owned(),
        "# restart it, and take a base backup at once, since the WAL of the new timeline leads nowhere without one.".to_owned(),
        setting("archive_mode", "off"),
        "# It follows no primary, waits for no standby, and fetches nothing from publishers.".to_owned(),
        setting("primary_conninfo", ""),
        setting("primary_slot_name", ""),
        setting("synchronous_standby_names", ""),
        setting("max_logical_replication_workers", "0"),
        "# What the other server ran at such moments, against its own archive, is not run here.".to_owned(),
        setting("recovery_end_command", ""),
        setting("archive_cleanup_command", ""),
        setting("recovery_min_apply_delay", "0"),
    ]);
    let preload = preload::settings(libraries);
    if !preload.is_empty() {
        lines.push("# Background workers of libraries would run production's jobs here.".to_owned());
    }
    lines.extend(preload.iter().map(|(name, value)| setting(name, value)));
    lines.extend(release::marks(&preload).iter().map(|(name, value)| setting(name, value)));
    lines.push(release::APART[1].to_owned());
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Returns the limits that recovery requires: those at the time of the backup, or as raised since.
fn demanded(facts: &ClusterFacts, limits: &BTreeMap<&'static str, i64>) -> Vec<(&'static str, String)> {
    let value = |name: &str| {
        let of_the_backup = facts.server_settings.iter().find(|(other, _)| other == name);
        let of_the_backup = of_the_backup.map(|(_, value)| value.clone());
        let raised = limits.get(name).copied();
        match (of_the_backup, raised) {
            (Some(was), Some(raised)) if was.parse().is_ok_and(|was: i64| was >= raised) => Some(was),
            (_, Some(raised)) => Some(raised.to_string()),
            (was, None) => was,
        }
    };
    DEMANDED.iter().filter_map(|name| Some((*name, value(name)?))).collect()
}

fn restore_command(plan: &PhysicalRestorePlan, command: &RestoreCommand) -> String {
    let until = plan.until.map(|lsn| lsn.to_string());
    let cluster = plan.system_identifier.to_string();
    command_line(command, &plan.source, &plan.log_from, &cluster, until, &plan.steps.mapped)
}

/// Quotes for a shell, with `%` doubled, since PostgreSQL replaces what follows one.
fn command_line(
    command: &RestoreCommand,
    source: &SourceName,
    from: &[RepositoryName],
    cluster: &str,
    until: Option<String>,
    mapped: &[Lsn],
) -> String {
    let path = |path: &Path| shell(&path.to_string_lossy()).replace('%', "%%");
    let mut words = vec![path(&command.drctl)];
    match &command.relay {
        Some(relay) => {
            words.extend(["wal", "fetch", "--relay"].map(str::to_owned).into_iter().chain([path(relay)]))
        }
        None => {
            words.extend(["--policy".to_owned(), path(&command.policy), "wal".to_owned(), "fetch".to_owned()])
        }
    }
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
    let mapped: Vec<String> = mapped.iter().map(Lsn::to_string).collect();
    let mapped = if mapped.is_empty() { "none".to_owned() } else { mapped.join(",") };
    words.extend(["--mapped-tablespaces".to_owned(), mapped]);
    words.extend([source.to_string(), "%f".to_owned(), "%p".to_owned()]);
    words.join(" ")
}

/// Returns a line of a configuration file. Inside its quotes a backslash starts an escape.
fn setting(name: &str, value: &str) -> String {
    format!("{name} = '{}'", value.replace('\\', r"\\").replace('\'', "''"))
}

/// A file without the settings that led out of the directory, and the names of those.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Confined {
    pub(super) text: String,
    pub(super) taken: Vec<String>,
    /// Its includes.
    pub(super) includes: Vec<Include>,
}

/// A file or folder that a file includes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Include {
    pub(super) path: String,
    pub(super) is_folder: bool,
}

/// Returns a configuration file from outside of the data directory as it goes into it: without settings that
/// lead out of it.
pub(super) fn own_file(file: &ConfigurationFile) -> Confined {
    if file.name != "postgresql.conf" {
        return Confined { text: file.text.clone(), ..Confined::default() };
    }
    let begin = format!("# As it was at {}, without what leads out of this directory.\n", file.path);
    // Its includes are relative to its original location.
    let mut confined = confined(&file.text, &[OF_THE_HOST], |_| false);
    confined.text.insert_str(0, &begin);
    confined
}

/// Returns the configuration in the data directory without settings that name live paths, where a server
/// started here would write. `is_inside`: whether an included path is in the directory, too.
pub(super) fn inner_file(text: &str, is_inside: impl Fn(&str) -> bool) -> Confined {
    confined(text, &[], is_inside)
}

fn confined(text: &str, more: &[&str], is_inside: impl Fn(&str) -> bool) -> Confined {
    let mut confined = Confined::default();
    for line in text.lines() {
        let (name, value) = setting_in(line).unwrap_or_default();
        let is_include = INCLUDES.contains(&&*name);
        let leads_out = LEAD_OUT.contains(&&*name)
            || more.contains(&&*name)
            || (RELATIVE.contains(&&*name) && leaves(&value))
            || (is_include && !is_inside(&value));
        if leads_out {
            confined.text.push_str("#drctl: ");
            confined.taken.push(format!("{name} = '{value}'"));
        } else if is_include {
            confined.includes.push(Include { path: value, is_folder: name == "include_dir" });
        }
        confined.text.push_str(line);
        confined.text.push('\n');
    }
    confined
}

/// Whether a path leaves the directory it is relative to.
fn leaves(path: &str) -> bool {
    path.starts_with('/') || path.split('/').any(|part| part == "..")
}

/// Returns when and what was restored, in one line, for the comments in written files.
pub(super) fn headline(plan: &PhysicalRestorePlan) -> String {
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
            relay: None,
        };
        let source = "database".parse().unwrap();
        let from = ["west".parse().unwrap()];
        let line = command_line(&command, &source, &from, "7", Some("0/9000000".to_owned()), &[]);
        assert_eq!(
            line,
            r"'/opt/dr ctl/it'\''s' --policy '/etc/100%%/po\licy.toml' wal fetch --identity /key --from west --system-identifier 7 --until 0/9000000 --mapped-tablespaces none database %f %p"
        );
        let mapped = ["0/3000060".parse().unwrap(), "0/4000028".parse().unwrap()];
        let line = command_line(&command, &source, &[], "7", None, &mapped);
        assert!(line.contains(" --mapped-tablespaces 0/3000060,0/4000028 "), "{line}");
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
        let own = own_file(&file);
        let said: Vec<_> = own.text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(said, ["port = 5432 # include"]);
        assert_eq!(own.taken.len(), 3);
        let inner = "data_directory '/live'\ninclude_dir 'conf.d'\ninclude '/live/x'\nlog_directory = log\n LOG_DIRECTORY = '/live/log'\n";
        let inner = inner_file(inner, |path| path == "conf.d");
        assert_eq!(
            inner.text,
            "#drctl: data_directory '/live'\ninclude_dir 'conf.d'\n#drctl: include '/live/x'\nlog_directory = log\n#drctl:  LOG_DIRECTORY = '/live/log'\n"
        );
        assert_eq!(
            inner.taken,
            ["data_directory = '/live'", "include = '/live/x'", "log_directory = '/live/log'"]
        );
        assert_eq!(inner.includes, [Include { path: "conf.d".to_owned(), is_folder: true }]);
        let hba = ConfigurationFile { name: "pg_hba.conf".to_owned(), ..file };
        assert_eq!(own_file(&hba).text, hba.text);
    }

    #[test]
    fn limits_are_as_they_were_or_as_they_were_raised_to() {
        let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let facts = ClusterFacts {
            server_settings: vec![setting("max_connections", "200"), setting("max_wal_senders", "5")],
            ..ClusterFacts::default()
        };
        let limits = BTreeMap::from([
            ("max_connections", 100),
            ("max_wal_senders", 9),
            ("max_prepared_transactions", 12),
        ]);
        let found = demanded(&facts, &limits);
        let expected =
            [("max_connections", "200"), ("max_wal_senders", "9"), ("max_prepared_transactions", "12")];
        assert_eq!(found, expected.map(|(name, value)| (name, value.to_owned())));
    }
}
