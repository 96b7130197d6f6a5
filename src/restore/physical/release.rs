//! Removes from `postgresql.auto.conf` what drctl wrote for a recovery, and what isolates a restored copy.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::configured::{configured, setting_in};
use super::layout::{AUTO_CONFIGURATION, CONTROL, MANUAL_RESTORE, RESTORED};
use super::release_jobs::{self, JobsError, JobsFailed};
use super::{preload, resume};
use crate::restore::scheduled_jobs::{InactiveJob, PG_CRON};
use crate::text::error_chain;

/// The lines between these are removed once the recovery is verified.
pub(super) const RECOVERY: [&str; 2] = [
    "# drctl: what this recovery needs. Once it is proven, drctl takes it out again.",
    "# drctl: the end of what this recovery needs.",
];
/// The lines between these are removed on request.
pub(super) const APART: [&str; 2] = [
    "# drctl: what keeps a restored copy apart. `drctl recovery release` takes it out.",
    "# drctl: the end of what keeps it apart.",
];

/// Why nothing was removed.
#[derive(Debug, Error)]
pub enum ReleaseError {
    #[error("`{0}` is not a data directory: it has no global/pg_control")]
    NoDataDirectory(PathBuf),
    #[error("the cluster in `{0}` has not recovered yet: recovery.signal is there")]
    Recovering(PathBuf),
    #[error(
        "drctl did not restore `{0}`: it has no {MANUAL_RESTORE}, and its configuration has no setting that drctl wrote"
    )]
    NotRestored(PathBuf),
    #[error("failed to read `{path}`")]
    Read { path: PathBuf, source: io::Error },
    #[error("failed to write `{path}`")]
    Write { path: PathBuf, source: io::Error },
    #[error("failed to set the jobs of pg_cron inactive, and nothing was removed")]
    Jobs {
        #[source]
        source: JobsError,
        /// Those that were set inactive before it failed, and stay so.
        done: Vec<InactiveJob>,
    },
}

/// Marks the other settings as drctl's where ALTER SYSTEM has dropped the comments around them: any server
/// accepts a setting of this form and ignores it.
const ISOLATED: (&str, &str) = ("drctl.isolated", "on");
/// The list of libraries that drctl wrote, which may have any value.
const PRELOADED: &str = "drctl.preloaded";

/// Returns the settings that mark the others as drctl's.
pub(super) fn marks(preload: &[(&'static str, String)]) -> Vec<(&'static str, String)> {
    let list = preload.iter().find(|(name, _)| *name == preload::SETTING);
    let list = list.map(|(_, value)| (PRELOADED, value.clone()));
    std::iter::once((ISOLATED.0, ISOLATED.1.to_owned())).chain(list).collect()
}

/// What is removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    pub file: PathBuf,
    /// Settings, as written in the file.
    pub settings: Vec<String>,
    /// Libraries that run scheduled jobs and are loaded again with the next start.
    pub job_libraries: Vec<String>,
    pub jobs: ReleasedJobs,
    pub applied: bool,
}

/// What becomes of the jobs of pg_cron.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ReleasedJobs {
    /// It is not loaded again, or its jobs are to stay active.
    #[default]
    AsTheyAre,
    /// These were active, and are set inactive with the release.
    Inactive(Vec<InactiveJob>),
    /// They stay active, and its library is not among those that are loaded again: a server that is started with it, as
    /// on its command line, runs them.
    Active(Vec<InactiveJob>),
    /// They will be set inactive; which they are is unknown, and why.
    Unknown(String),
}

/// Releases a restored cluster to replace another: returns the restrictions it has as a copy, and removes
/// them with `apply`. Unless `active_jobs`, jobs of pg_cron are set inactive first where it is loaded again:
/// they may run in production.
pub async fn release(directory: &Path, apply: bool, active_jobs: bool) -> Result<Release, ReleaseError> {
    let remove = async |apply| {
        let directory = directory.to_owned();
        let removed = tokio::task::spawn_blocking(move || remove(&directory, apply)).await;
        removed.unwrap_or_else(|error| {
            let path = PathBuf::from(AUTO_CONFIGURATION);
            Err(ReleaseError::Read { path, source: io::Error::other(error) })
        })
    };
    let mut planned = remove(false).await?;
    if !active_jobs && planned.job_libraries.iter().any(|library| library == PG_CRON.extension) {
        planned.jobs = match release_jobs::deactivate(directory, apply).await {
            Ok(jobs) => ReleasedJobs::Inactive(jobs),
            Err(failed) if !apply => ReleasedJobs::Unknown(error_chain(&failed.error)),
            Err(JobsFailed { error: source, done }) => return Err(ReleaseError::Jobs { source, done }),
        };
    } else if !active_jobs {
        // A server that does not run, or lets nobody in, is not asked.
        let found = release_jobs::deactivate(directory, false).await.unwrap_or_default();
        if !found.is_empty() {
            planned.jobs = ReleasedJobs::Active(found);
        }
    }
    match apply {
        true => Ok(Release { jobs: planned.jobs, ..remove(true).await? }),
        false => Ok(planned),
    }
}

fn remove(directory: &Path, apply: bool) -> Result<Release, ReleaseError> {
    if !directory.join(CONTROL).exists() {
        return Err(ReleaseError::NoDataDirectory(directory.to_owned()));
    }
    if directory.join("recovery.signal").exists() {
        return Err(ReleaseError::Recovering(directory.to_owned()));
    }
    let file = directory.join(AUTO_CONFIGURATION);
    let text =
        fs::read_to_string(&file).map_err(|source| ReleaseError::Read { path: file.clone(), source })?;
    let is_ours = is_isolated(&text) || text.contains(RECOVERY[0]);
    if !is_ours && !directory.join(MANUAL_RESTORE).exists() {
        return Err(ReleaseError::NotRestored(directory.to_owned()));
    }
    let (kept, settings) = released(&text);
    let job_libraries = job_libraries(directory, &settings, &kept)
        .map_err(|source| ReleaseError::Read { path: directory.to_owned(), source })?;
    if apply {
        // From now on it is an independent server, which no teardown removes.
        let path = directory.join(RESTORED);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(ReleaseError::Write { path, source });
            }
            _ => {}
        }
    }
    let applied = apply && kept != text;
    if applied {
        let written = replace(&file, &kept, None).and_then(|()| resume::end(directory));
        written.map_err(|source| ReleaseError::Write { path: file.clone(), source })?;
    }
    Ok(Release { file, settings, job_libraries, jobs: ReleasedJobs::default(), applied })
}

/// Returns the libraries that run jobs and that only drctl's list, which is removed, leaves out.
fn job_libraries(directory: &Path, removed: &[String], kept: &str) -> io::Result<Vec<String>> {
    let mut removed = removed.iter().filter_map(|line| setting_in(line));
    let Some((_, loaded)) = removed.rfind(|(name, _)| name == preload::SETTING) else {
        return Ok(vec![]);
    };
    let loads = configured(directory, kept, preload::SETTING)?.unwrap_or_default();
    Ok(preload::job_libraries_added(&loaded, &loads))
}

/// Removes what only a recovery needs; returns the text and the removed settings.
pub(super) fn recovered(text: &str) -> (String, Vec<String>) {
    without(text, RECOVERY, is_recovery)
}

/// Removes everything that drctl wrote; returns the text and the removed settings.
pub(super) fn released(text: &str) -> (String, Vec<String>) {
    let (text, mut settings) = recovered(text);
    let (text, more) = without(&text, APART, is_apart);
    settings.extend(more);
    (text, settings)
}

/// Removes the same where the file may still be another cluster's, whose own settings of these names are
/// kept.
pub(super) fn without_ours(text: &str) -> (String, Vec<String>) {
    let never = |_: &str, _: &str, _: &str| false;
    let (text, mut settings) = without(text, RECOVERY, never);
    let (text, more) = without(&text, APART, never);
    settings.extend(more);
    (text, settings)
}

/// Returns whether a configuration still keeps a restored server from what production's does.
pub(super) fn is_isolated(configuration: &str) -> bool {
    has_mark(configuration) || configuration.contains(APART[0])
}

fn has_mark(text: &str) -> bool {
    text.lines().filter_map(setting_in).any(|(name, _)| name == ISOLATED.0)
}

/// Replaces the file atomically, preserving its owner and mode.
pub(super) fn replace(path: &Path, text: &str, owner: Option<(u32, u32)>) -> io::Result<()> {
    let draft = path.with_extension("conf.drctl");
    let _of_a_killed_run = fs::remove_file(&draft);
    let found = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        found => Some(found?),
    };
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    if let Some(found) = &found {
        file.set_permissions(fs::Permissions::from_mode(found.mode() & 0o777))?;
    }
    let as_it_was = found.map(|found| (found.uid(), found.gid()));
    if let Some((user, group)) = owner.or(as_it_was).filter(|_| rustix::process::geteuid().is_root()) {
        fchown(&file, Some(user), Some(group))?;
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// Leaves out what is between two lines; where ALTER SYSTEM has dropped these, as it does with all comments,
/// the settings known to have been between them. In a file without either, the same settings are not drctl's.
fn without(
    text: &str,
    [begin, end]: [&str; 2],
    is_ours: fn(&str, &str, &str) -> bool,
) -> (String, Vec<String>) {
    let preloaded = text.lines().filter_map(setting_in).find(|(name, _)| name == PRELOADED);
    let preloaded = preloaded.map(|(_, list)| list).unwrap_or_default();
    // ALTER SYSTEM drops all comments or none.
    let has_comments = text.lines().any(|line| [RECOVERY[0], APART[0]].contains(&line));
    let is_known = has_mark(text) && !has_comments;
    let (mut kept, mut settings, mut inside) = (String::new(), Vec::new(), false);
    for line in text.lines() {
        let setting = setting_in(line);
        inside |= line == begin;
        let goes = inside
            || (is_known && setting.as_ref().is_some_and(|(name, value)| is_ours(name, value, &preloaded)));
        inside &= line != end;
        if goes {
            settings.extend(setting.map(|_| line.to_owned()));
        } else {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    (kept, settings)
}

fn is_recovery(name: &str, value: &str, _preloaded: &str) -> bool {
    name.starts_with("recovery_target")
        || (name == "restore_command" && value.contains(" wal fetch "))
        || [("hot_standby", "off"), ("recovery_prefetch", "off"), ("event_triggers", "off")]
            .contains(&(name, value))
}

/// `preloaded`: the list of libraries that drctl wrote; any other one is not drctl's.
fn is_apart(name: &str, value: &str, preloaded: &str) -> bool {
    if name == preload::SETTING {
        return value == preloaded;
    }
    name == PRELOADED
        || preload::switches_off(name, value)
        || [
            ISOLATED,
            ("archive_mode", "off"),
            ("primary_conninfo", ""),
            ("primary_slot_name", ""),
            ("synchronous_standby_names", ""),
            ("max_logical_replication_workers", "0"),
            ("recovery_end_command", ""),
            ("archive_cleanup_command", ""),
            ("recovery_min_apply_delay", "0"),
        ]
        .contains(&(name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str =
        "# Do not edit this file manually!\nwork_mem = '7MB'\nsynchronous_standby_names = 'a'\n";

    fn written() -> String {
        format!(
            "{OWN}\n{}\nrestore_command = 'x wal fetch %f %p'\nhot_standby = 'off'\n{}\nmax_connections = '40'\n{}\narchive_mode = 'off'\nsynchronous_standby_names = ''\n{}\n",
            RECOVERY[0], RECOVERY[1], APART[0], APART[1]
        )
    }

    #[test]
    fn what_a_recovery_needs_goes_and_what_keeps_apart_stays_until_it_is_released() {
        let (text, gone) = recovered(&written());
        assert_eq!(gone, ["restore_command = 'x wal fetch %f %p'", "hot_standby = 'off'"]);
        assert!(text.contains("archive_mode = 'off'") && text.contains("max_connections = '40'"));
        let (text, gone) = released(&text);
        assert_eq!(gone, ["archive_mode = 'off'", "synchronous_standby_names = ''"]);
        assert_eq!(text, format!("{OWN}\nmax_connections = '40'\n"));
        assert_eq!(released(&text), (text.clone(), vec![]));
    }

    #[test]
    fn and_so_it_does_where_the_server_has_written_the_file() {
        // One of a name, and no comments of ours.
        let text = "# Do not edit this file manually!\nwork_mem = '7MB'\nrestore_command = '/opt/drctl --policy p wal fetch %f %p'\nrecovery_target_time = '2026-11-20'\nrecovery_target_lsn = ''\nhot_standby = 'off'\narchive_mode = 'off'\nsynchronous_standby_names = ''\nshared_preload_libraries = 'pgaudit'\ndrctl.isolated = 'on'\ndrctl.preloaded = 'pgaudit'\nmax_connections = '50'\n";
        let rest = "# Do not edit this file manually!\nwork_mem = '7MB'\nmax_connections = '50'\n";
        assert_eq!(released(text).0, rest);
        // Libraries that somebody has named since are not taken out.
        let (other, _) = released(&text.replace("libraries = 'pgaudit'", "libraries = 'pg_cron'"));
        assert_eq!(other, rest.replace("max", "shared_preload_libraries = 'pg_cron'\nmax"));
        assert_eq!(recovered(text).1.len(), 4);
    }

    #[test]
    fn what_an_administrator_wrote_stays() {
        let own = "hot_standby = 'off'\narchive_mode = 'off'\nsynchronous_standby_names = ''\nrestore_command = 'drctl wal fetch %f %p'\n";
        assert_eq!(released(own), (own.to_owned(), vec![]));
        // Once the recovery is proven, the like of its settings is somebody else's.
        let proven = recovered(&written()).0;
        assert_eq!(released(&format!("{proven}{own}")).0, format!("{OWN}\nmax_connections = '40'\n{own}"));

        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path();
        fs::create_dir(directory.join("global")).unwrap();
        fs::write(directory.join("global/pg_control"), "").unwrap();
        fs::write(directory.join(AUTO_CONFIGURATION), own).unwrap();
        assert!(matches!(remove(directory, true), Err(ReleaseError::NotRestored(_))));
        // One that was restored, and released before.
        fs::write(directory.join(MANUAL_RESTORE), "").unwrap();
        assert!(!remove(directory, true).unwrap().applied);
        assert_eq!(fs::read_to_string(directory.join(AUTO_CONFIGURATION)).unwrap(), own);
    }

    #[tokio::test]
    async fn a_release_that_loads_pg_cron_again_does_not_leave_its_jobs_active_unasked() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path();
        fs::create_dir(directory.join("global")).unwrap();
        fs::write(directory.join("global/pg_control"), "").unwrap();
        let configuration = "shared_preload_libraries = 'pg_cron,pgaudit,pg_task'\n";
        fs::write(directory.join("postgresql.conf"), configuration).unwrap();
        let auto = |list: &str| {
            let text = format!("{}\nshared_preload_libraries = '{list}'\n{}\n", APART[0], APART[1]);
            fs::write(directory.join(AUTO_CONFIGURATION), text).unwrap();
        };
        auto("pgaudit");
        let shown = release(directory, false, false).await.unwrap();
        assert_eq!(shown.job_libraries, ["pg_cron", "pg_task"]);
        assert!(matches!(&shown.jobs, ReleasedJobs::Unknown(why) if why.contains("does not run")));
        let refused = release(directory, true, false).await;
        assert!(
            matches!(refused, Err(ReleaseError::Jobs { source: JobsError::NotRunning(_), .. })),
            "{refused:?}"
        );
        let text = fs::read_to_string(directory.join(AUTO_CONFIGURATION)).unwrap();
        assert!(text.contains(APART[0]), "nothing is removed: {text}");
        let released = release(directory, true, true).await.unwrap();
        assert!(released.applied && released.jobs == ReleasedJobs::AsTheyAre);
        // One that was loaded on request has run its jobs all the time.
        auto("pg_cron,pg_task");
        assert!(release(directory, true, false).await.unwrap().applied);
    }

    #[test]
    fn a_cluster_that_is_still_recovering_is_not_released() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path();
        assert!(matches!(remove(directory, true), Err(ReleaseError::NoDataDirectory(_))));
        fs::create_dir(directory.join("global")).unwrap();
        fs::write(directory.join("global/pg_control"), "").unwrap();
        fs::write(directory.join("recovery.signal"), "").unwrap();
        fs::write(directory.join(AUTO_CONFIGURATION), written()).unwrap();
        assert!(matches!(remove(directory, true), Err(ReleaseError::Recovering(_))));
        fs::remove_file(directory.join("recovery.signal")).unwrap();
        assert!(!remove(directory, false).unwrap().applied);
        assert_eq!(fs::read_to_string(directory.join(AUTO_CONFIGURATION)).unwrap(), written());
        assert_eq!(remove(directory, true).unwrap().settings.len(), 4);
        // Nothing of drctl's is left.
        assert!(matches!(remove(directory, true), Err(ReleaseError::NotRestored(_))));
    }
}
