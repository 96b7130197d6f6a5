use std::path::PathBuf;

use crate::cli::exit;
use crate::drill::Scenario;
use crate::model::{BackupKind, RepositoryName, SourceName};

/// The variable that names the file with an identity.
pub(super) const IDENTITY: &str = "DRCTL_IDENTITY";

/// Restore a backup into a sandbox, check it, measure RTO and RPO, record it, and remove it again
///
/// Nothing of production is written, and what is restored into the sandbox reaches no network. The record goes to every
/// repository in use.
#[derive(Debug, clap::Args)]
#[command(after_help = exit::HELP)]
pub(super) struct RunArgs {
    /// The incident that is rehearsed
    #[arg(long, value_name = "SCENARIO", default_value = "newest", value_parser = scenarios())]
    pub(super) scenario: Scenario,
    /// The source that is restored [default: the policy's]
    #[arg(long, value_name = "SOURCE", conflicts_with = "also")]
    pub(super) source: Option<SourceName>,
    /// A backup of this kind only: `logical`, `base` [default: what loses least]
    #[arg(long, value_name = "KIND", value_parser = kinds())]
    pub(super) kind: Option<BackupKind>,
    /// This backup, by id or prefix
    #[arg(long, value_name = "ID", conflicts_with = "also")]
    pub(super) backup: Option<String>,
    /// To this point in time [default of scenario `point-in-time`: a random one of the recovery window]
    #[arg(long, value_name = "TIME", conflicts_with_all = ["backup", "also"])]
    pub(super) point_in_time: Option<String>,
    /// Repeat the random choice of an earlier drill, among the same backups
    #[arg(long, value_name = "NUMBER")]
    pub(super) seed: Option<u32>,
    /// Read from this repository only [default: the policy's, or the last one of it]; of what RDS keeps, from this region
    #[arg(long, value_name = "REPOSITORY|REGION", conflicts_with = "also")]
    pub(super) from: Option<RepositoryName>,
    /// Read what the repositories had at this time, from the versions that they keep [default of scenario `ransomware`:
    /// just before backups were hidden or overwritten]
    #[arg(long, value_name = "TIME", conflicts_with = "also")]
    pub(super) as_of: Option<String>,
    /// A file with the identity that opens the backup [default: the policy's]
    #[arg(long, short, value_name = "FILE", env = IDENTITY, value_parser = crate::cli::path_arg::path())]
    pub(super) identity: Vec<PathBuf>,
    /// Where to make the sandbox [default: the policy's, or a directory in TMPDIR or `/var/tmp`]
    #[arg(long, value_name = "DIRECTORY", value_parser = crate::cli::path_arg::path())]
    pub(super) directory: Option<PathBuf>,
    /// Leave the sandbox and its server as they are, to look around
    #[arg(long)]
    pub(super) keep: bool,
    /// It was started by a schedule, and satisfies the last time of it
    #[arg(long)]
    pub(super) scheduled: bool,
    /// Who asks for it [default: the user that runs it]
    #[arg(long, value_name = "NAME")]
    pub(super) by: Option<String>,
    /// The address of the job that runs it, for the record
    #[arg(long, value_name = "URL", env = "CI_JOB_URL")]
    pub(super) job_url: Option<String>,
    /// Another policy, whose drill is run after this one whatever became of it; may be repeated
    #[arg(long, value_name = "FILE", value_parser = crate::cli::path_arg::path())]
    pub(super) also: Vec<PathBuf>,
    /// Write the report of the drill to this file; with `--also`, that of every drill that was due this month. By the name
    /// of the file it is HTML, Markdown or JSON
    #[arg(long, value_name = "FILE", conflicts_with = "plan", value_parser = crate::cli::path_arg::path())]
    pub(super) report: Option<PathBuf>,
    /// Show what would be restored, and stop
    #[arg(long)]
    pub(super) plan: bool,
}

fn scenarios() -> impl clap::builder::TypedValueParser<Value = Scenario> {
    use clap::builder::TypedValueParser as _;
    let names = Scenario::ALL.map(Scenario::as_str);
    clap::builder::PossibleValuesParser::new(names).try_map(|name| name.parse::<Scenario>())
}

fn kinds() -> impl clap::builder::TypedValueParser<Value = BackupKind> {
    use clap::builder::TypedValueParser as _;
    let names = [BackupKind::Logical, BackupKind::Base].map(BackupKind::as_str);
    clap::builder::PossibleValuesParser::new(names)
        .map(|name| if name == BackupKind::Base.as_str() { BackupKind::Base } else { BackupKind::Logical })
}
