use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Context;
use super::error::CommandError;
use super::exit::Exit;
use super::path_arg;
use super::policy_files::{policy_files, watch_all};
use crate::monitor::metrics_text;

/// A timer that writes them every five minutes may miss two of its times.
const FRESH_FOR: Duration = Duration::from_secs(15 * 60);

/// Write the metrics of a system for Prometheus, in its text format
///
/// For node_exporter's textfile collector: have a timer write a file that ends in `.prom` into its directory every five
/// minutes. `drctl serve` answers the same at `/metrics`.
#[derive(Debug, clap::Args)]
#[command(after_help = super::exit::HELP)]
pub struct MetricsArgs {
    /// Policies, and directories of policies [default: the policy of `--policy`]
    #[arg(value_name = "POLICY", value_parser = path_arg::path())]
    policies: Vec<PathBuf>,
    /// The file that they are written to, in one step; it stays as it is where nothing can be collected [default: stdout]
    #[arg(long, value_name = "FILE", value_parser = path_arg::path())]
    file: Option<PathBuf>,
}

pub(super) async fn run(args: MetricsArgs, context: &Context) -> Result<Exit, CommandError> {
    let paths = policy_files(&args.policies, context)?;
    let watched = watch_all(&paths, false, context).await;
    let failed: Vec<String> = watched
        .iter()
        .filter_map(|one| Some(format!("{}: {}", one.name, one.failed.as_ref()?.reason)))
        .collect();
    if watched.iter().all(|one| one.snapshot.is_none()) {
        let error = CommandError::failed(failed.join("\n")).context("failed to collect the metrics");
        return Err(error.hint("`drctl status` says more."));
    }
    let text = metrics_text(&watched, FRESH_FOR);
    match &args.file {
        None => context.output.line(text.trim_end()),
        Some(file) => write_in_one_step(file, &text).map_err(|error| {
            CommandError::failed(error)
                .context(format!("failed to write the metrics to `{}`", file.display()))
        })?,
    }
    for reason in &failed {
        context.output.warn(format!("failed to collect the metrics of {reason}"));
        context.output.reason(reason);
    }
    Ok(if failed.is_empty() { Exit::Done } else { Exit::Partly })
}

/// A reader sees the file as it was or as it is, never a part: the collector drops a file that does not parse whole.
fn write_in_one_step(file: &Path, text: &str) -> std::io::Result<()> {
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Its name does not end in `.prom`, so that the collector passes over it.
    let mut new = tempfile::Builder::new().prefix(".drctl-metrics-").tempfile_in(directory)?;
    new.write_all(text.as_bytes())?;
    new.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    new.as_file().sync_all()?;
    new.persist(file).map(drop).map_err(|refused| refused.error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_replaced_in_one_step_and_a_failure_leaves_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("drctl.prom");
        write_in_one_step(&file, "old\n").unwrap();
        write_in_one_step(&file, "new\n").unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "new\n");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
        let names = || std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(names(), 1, "nothing is left beside it");
        let taken = folder.path().join("folder");
        std::fs::create_dir(&taken).unwrap();
        assert!(write_in_one_step(&taken, "new\n").is_err());
        assert_eq!(names(), 2);
    }
}
