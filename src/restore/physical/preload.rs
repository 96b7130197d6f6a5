//! Libraries that a restored server loads at start (`shared_preload_libraries`). Pure.
//!
//! A library may start background workers as soon as recovery has ended: they would run production's jobs,
//! send its requests and connect to its other servers from the copy. Libraries known to do so are left out
//! until the cluster is released; all others are loaded: replay may need a library (custom WAL resource
//! managers), and tables their access method.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use crate::postgres::identifier;

/// The setting that names them.
pub(super) const SETTING: &str = "shared_preload_libraries";

/// A library of the backed-up server, and what the restored one does with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PreloadLibrary {
    /// As written in the setting.
    pub name: String,
    #[serde(flatten)]
    pub action: PreloadAction,
    /// Whether the libraries to load were given for this restore.
    #[serde(skip)]
    pub(super) is_asked: bool,
}

/// What a restored server does with a library until it is released.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "action", content = "value")]
pub enum PreloadAction {
    /// Loads it: its workers, if any, have no effect outside of the server.
    Load,
    /// Loads it with its workers switched off, by a setting and its value.
    WithoutWorkers(&'static str, &'static str),
    /// Does not load it, since its workers do this.
    Omit(&'static str),
    /// Does not load it, since it was not requested.
    NotAsked,
    /// Loads it as requested, although its workers do this.
    LoadAsAsked(&'static str),
    /// Loads it; whether it starts workers is not known.
    Unknown,
}

const JOBS: &str = "runs scheduled jobs";
const REQUESTS: &str = "sends requests to other servers";
const REPLICATES: &str = "connects to the other servers of its cluster";
const REWRITES: &str = "drops or rewrites tables by a schedule";

/// Libraries whose workers do what a copy must not do.
const OMITTED: [(&str, &str); 22] = [
    ("bdr", REPLICATES),
    ("citus", REPLICATES),
    ("edb_job_scheduler", JOBS),
    ("multimaster", REPLICATES),
    ("pg_cron", JOBS),
    ("pg_duckdb", REQUESTS),
    ("pg_failover_slots", REPLICATES),
    ("pg_jobmon_bgw", JOBS),
    ("pg_later", JOBS),
    ("pg_net", REQUESTS),
    ("pg_partman_bgw", REWRITES),
    ("pg_scheduler", JOBS),
    ("pg_squeeze", REWRITES),
    ("pg_task", JOBS),
    ("pg_vectorize", REQUESTS),
    ("pgactive", REPLICATES),
    ("pgautofailover", REPLICATES),
    ("pglogical", REPLICATES),
    ("pglogical_ticker", REPLICATES),
    ("pgpro_scheduler", JOBS),
    ("spock", REPLICATES),
    ("vectorize", REQUESTS),
];

/// Libraries without which tables cannot be read, and the setting that switches their workers off.
const SWITCHED_OFF: [(&str, &str, &str); 1] = [("timescaledb", "timescaledb.max_background_workers", "0")];

/// Libraries that start no workers, or only workers without effects outside of the server.
const HARMLESS: [&str; 39] = [
    "age",
    "auth_delay",
    "auto_explain",
    "basic_archive",
    "credcheck",
    "decoderbufs",
    "login_hook",
    "orioledb",
    "passwordcheck",
    "percona_pg_telemetry",
    "pg_auth_mon",
    "pg_hint_plan",
    "pg_ivm",
    "pg_plan_filter",
    "pg_prewarm",
    "pg_qualstats",
    "pg_show_plans",
    "pg_stat_kcache",
    "pg_stat_monitor",
    "pg_stat_plans",
    "pg_stat_statements",
    "pg_store_plans",
    "pg_tde",
    "pg_tle",
    "pg_wait_sampling",
    "pgaudit",
    "pgauditlogtofile",
    "pgextwlist",
    "pgsodium",
    "plan_filter",
    "plpgsql",
    "plpgsql_check",
    "postgis-3",
    "repmgr",
    "safeupdate",
    "sepgsql",
    "set_user",
    "supautils",
    "wal2json",
];

/// Decides about each library of a value of the setting. `asked`: the only libraries to load, in the
/// setting's syntax.
pub(super) fn decide(value: &str, asked: Option<&str>) -> Vec<PreloadLibrary> {
    let libraries = names(value);
    let Some(asked) = asked else {
        let decided = |name: String| PreloadLibrary { action: known(&name), name, is_asked: false };
        return libraries.into_iter().map(decided).collect();
    };
    let asked = names(asked);
    let left_out = libraries.into_iter().filter(|name| !asked.iter().any(|asked| is_same(asked, name)));
    let as_asked = |name, action| PreloadLibrary { name, action, is_asked: true };
    let left_out: Vec<_> = left_out.map(|name| as_asked(name, PreloadAction::NotAsked)).collect();
    let loaded = asked.into_iter().map(|name| {
        let action = match known(&name) {
            PreloadAction::Omit(why) => PreloadAction::LoadAsAsked(why),
            PreloadAction::Unknown => PreloadAction::Load,
            action => action,
        };
        as_asked(name, action)
    });
    loaded.chain(left_out).collect()
}

fn known(name: &str) -> PreloadAction {
    let library = file(name);
    let omitted = OMITTED.iter().find(|(other, _)| *other == library);
    let switched_off = SWITCHED_OFF.iter().find(|(other, ..)| *other == library);
    match (omitted, switched_off) {
        (Some((_, why)), _) => PreloadAction::Omit(why),
        (_, Some((_, setting, value))) => PreloadAction::WithoutWorkers(setting, value),
        _ if HARMLESS.contains(&library) => PreloadAction::Load,
        _ => PreloadAction::Unknown,
    }
}

/// Returns the libraries of the second list that run scheduled jobs and are not in the first, both in the
/// setting's syntax.
pub(super) fn job_libraries_added(before: &str, after: &str) -> Vec<String> {
    let before = names(before);
    let is_new = |name: &String| !before.iter().any(|other| is_same(other, name));
    let runs_jobs = |name: &String| known(name) == PreloadAction::Omit(JOBS);
    let added = names(after).into_iter().filter(|name| is_new(name) && runs_jobs(name));
    added.map(|name| file(&name).to_owned()).collect()
}

/// Returns whether two names refer to the same library.
fn is_same(one: &str, other: &str) -> bool {
    file(one) == file(other)
}

/// Returns the library's name without directory and extension.
fn file(name: &str) -> &str {
    Path::new(name.strip_suffix(".so").unwrap_or(name))
        .file_name()
        .and_then(|file| file.to_str())
        .unwrap_or(name)
}

/// Returns the names in a list; none of one that a server rejects, since it loads nothing of it.
fn names(list: &str) -> Vec<String> {
    parse(list).unwrap_or_default()
}

/// Returns whether a server accepts the list.
pub fn is_library_list(list: &str) -> bool {
    parse(list).is_some()
}

/// Splits a list as a server does: at commas, with double quotes around names that need them. `None`: a quote is
/// left open or in the middle of a name, or a name is missing between commas.
fn parse(list: &str) -> Option<Vec<String>> {
    let mut rest = list.trim_start();
    let mut names = Vec::new();
    if rest.is_empty() {
        return Some(names);
    }
    loop {
        let (mut name, mut chars) = (String::new(), rest.char_indices().peekable());
        let end = if rest.starts_with('"') {
            chars.next();
            loop {
                match (chars.next()?, chars.peek()) {
                    ((_, '"'), Some((_, '"'))) => name.extend(chars.next().map(|(_, quote)| quote)),
                    ((at, '"'), _) => break at + 1,
                    ((_, other), _) => name.push(other),
                }
            }
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            name.push_str(rest[..end].trim_end());
            if name.is_empty() || name.contains('"') {
                return None;
            }
            end
        };
        names.push(name);
        rest = rest[end..].trim_start();
        if rest.is_empty() {
            return Some(names);
        }
        rest = rest.strip_prefix(',')?.trim_start();
    }
}

/// Returns the settings of a restored server until it is released; none where it loads the libraries of the
/// backed-up one.
pub(super) fn settings(libraries: &[PreloadLibrary]) -> Vec<(&'static str, String)> {
    let mut settings = Vec::new();
    if libraries.iter().any(|library| library.is_asked || !library.is_loaded()) {
        let plain = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || "_-./$".contains(c));
        let quoted = |name: &str| if plain(name) { name.to_owned() } else { identifier(name) };
        let loaded = libraries.iter().filter(|library| library.is_loaded());
        let list: Vec<_> = loaded.map(|library| quoted(&library.name)).collect();
        settings.push((SETTING, list.join(",")));
    }
    settings.extend(libraries.iter().filter_map(|library| match library.action {
        PreloadAction::WithoutWorkers(setting, value) => Some((setting, value.to_owned())),
        _ => None,
    }));
    settings
}

/// Returns whether this setting switches workers off.
pub(super) fn switches_off(name: &str, value: &str) -> bool {
    SWITCHED_OFF.iter().any(|(_, setting, off)| (*setting, *off) == (name, value))
}

impl PreloadLibrary {
    pub fn is_loaded(&self) -> bool {
        !matches!(self.action, PreloadAction::Omit(_) | PreloadAction::NotAsked)
    }

    /// Returns a note for the operator; `None` where it is loaded as before.
    pub fn note(&self) -> Option<String> {
        (self.action != PreloadAction::Load).then(|| self.to_string())
    }
}

impl fmt::Display for PreloadLibrary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match self.action {
            PreloadAction::Load => write!(f, "`{name}` is loaded"),
            PreloadAction::WithoutWorkers(setting, value) => {
                write!(f, "`{name}` is loaded without its background workers (`{setting} = {value}`)")
            }
            PreloadAction::Omit(why) => write!(
                f,
                "`{name}` is not loaded until `drctl recovery release`: its background worker {why}, which a copy must not"
            ),
            PreloadAction::NotAsked => {
                write!(
                    f,
                    "`{name}` is not loaded until `drctl recovery release`: `--preload-libraries` does not name it"
                )
            }
            PreloadAction::LoadAsAsked(why) => {
                write!(
                    f,
                    "`{name}` is loaded as `--preload-libraries` says: its background worker {why}, from this copy too"
                )
            }
            PreloadAction::Unknown => write!(
                f,
                "`{name}` is loaded, is not known to drctl, and may run background workers from this copy: `--preload-libraries LIST` names the libraries to load"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actions(value: &str, asked: Option<&str>) -> Vec<(String, PreloadAction)> {
        decide(value, asked).into_iter().map(|library| (library.name, library.action)).collect()
    }

    #[test]
    fn what_runs_jobs_is_left_out_however_it_is_written() {
        let libraries =
            decide("pg_stat_statements, \"$libdir/pg_cron\",/usr/lib/pg_net.so , timescaledb", None);
        let kept: Vec<_> = libraries.iter().filter(|library| library.is_loaded()).collect();
        assert_eq!(
            kept.iter().map(|library| &*library.name).collect::<Vec<_>>(),
            ["pg_stat_statements", "timescaledb"]
        );
        assert_eq!(
            settings(&libraries),
            [
                (SETTING, "pg_stat_statements,timescaledb".to_owned()),
                ("timescaledb.max_background_workers", "0".to_owned())
            ]
        );
        assert!(switches_off("timescaledb.max_background_workers", "0"));
        assert!(!switches_off("timescaledb.max_background_workers", "8"));
        assert_eq!(settings(&decide("pg_cron", None)), [(SETTING, String::new())]);
    }

    #[test]
    fn what_is_not_known_is_loaded_and_named() {
        let libraries = decide("their_own,pgaudit", None);
        assert_eq!(settings(&libraries), []);
        let notes: Vec<_> = libraries.iter().filter_map(PreloadLibrary::note).collect();
        assert_eq!(notes.len(), 1);
        assert!(notes[0].contains("`their_own`") && notes[0].contains("--preload-libraries"), "{notes:?}");
        assert_eq!(decide("", None), []);
    }

    #[test]
    fn who_asks_for_libraries_gets_these_and_no_others() {
        assert_eq!(
            actions("pg_cron,their_own,citus", Some("citus, $libdir/extra")),
            [
                ("citus".to_owned(), PreloadAction::LoadAsAsked(REPLICATES)),
                ("$libdir/extra".to_owned(), PreloadAction::Load),
                ("pg_cron".to_owned(), PreloadAction::NotAsked),
                ("their_own".to_owned(), PreloadAction::NotAsked),
            ]
        );
        assert_eq!(settings(&decide("pg_cron", Some("pg_cron"))), [(SETTING, "pg_cron".to_owned())]);
        assert_eq!(settings(&decide("pg_cron", Some(""))), [(SETTING, String::new())]);
        // A list that only adds one has to be written, too.
        assert_eq!(
            settings(&decide("", Some("more,\"odd name\""))),
            [(SETTING, "more,\"odd name\"".to_owned())]
        );
    }

    #[test]
    fn a_list_that_a_server_rejects_is_none() {
        let list = |text: &str| parse(text).map(|names| names.join("|"));
        assert_eq!(list(" "), Some(String::new()));
        assert_eq!(list(" a , \"b, \"\"c\" ,d"), Some("a|b, \"c|d".to_owned()));
        for wrong in ["a,", ",a", "a,,b", "\"a", "a\"", "\"a\"b", "a b\",c"] {
            assert_eq!(list(wrong), None, "{wrong}");
            assert!(!is_library_list(wrong));
        }
        // A server loads nothing of it.
        assert_eq!(decide("pg_cron,,pgaudit", None), []);
    }

    #[test]
    fn libraries_that_run_jobs_are_noticed_when_they_come_back() {
        let added = job_libraries_added("auth_delay", "auth_delay, \"$libdir/pg_cron\",pg_net,pg_task");
        assert_eq!(added, ["pg_cron", "pg_task"]);
        assert_eq!(job_libraries_added("pg_cron", "pg_cron"), Vec::<String>::new());
    }

    #[test]
    fn each_library_is_in_one_list_only() {
        let omitted = OMITTED.iter().map(|(name, _)| *name);
        let off = SWITCHED_OFF.iter().map(|(name, ..)| *name);
        let mut all: Vec<_> = omitted.chain(off).chain(HARMLESS).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
