//! `drctl restore`: a dump into a database, a base backup and its log into a directory, what RDS keeps into a
//! new instance, or a recovery point of AWS Backup into a new resource.

mod aws_backup;
mod logical;
mod physical;
mod rds;
mod source;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use self::source::RestoreMethod;
use super::Context;
use super::error::CommandError;
use super::exit::Exit;
use crate::catalog::BackupEntry;
use crate::model::{BackupId, RepositoryName, SourceName};
use crate::policy::Policy;

/// Restore a dump into a new database, a whole cluster to a point in time into a directory, or what AWS keeps into
/// something new
///
/// The plan is shown first, and everything that stands against it at once. A dump is loaded under another name,
/// compared with what was recorded when it was dumped, and gets its name only then. With a point in time
/// (`--point-in-time`, `--latest`, …) a base backup and the log after it are restored into a new data directory.
/// Of an RDS source `--to-instance` makes a new instance or cluster; what AWS Backup keeps goes to `--to-resource`.
#[derive(Debug, Args)]
#[command(after_help = super::exit::HELP)]
pub struct RestoreArgs {
    /// The source whose backup is restored [default: the only one of the policy that can be restored so]
    source: Option<SourceName>,
    /// Which backup: an id, the beginning of one, or `latest` [default: the latest dump; the last base backup
    /// before the point in time; the latest recovery point]
    #[arg(long, value_name = "ID")]
    backup: Option<String>,
    /// Where to. A dump: `postgres://user@host/new_database`, a reference to such a URL (`env:NAME`,
    /// `file:/path`), or just the name of a new database on the source's own server. With a point in time: a
    /// directory that does not exist or is empty
    #[arg(long, value_name = "URL|NAME|DIRECTORY", required_unless_present_any = ["to_instance", "to_resource"])]
    to: Option<String>,
    /// The password for `--to`, by reference: `env:NAME`, `file:/path`, `command:program arg`
    #[arg(long, value_name = "REFERENCE")]
    password: Option<String>,
    /// Read from this repository only [default: the primary, then the copies]; of what AWS keeps, from this region
    #[arg(long, value_name = "REPOSITORY|REGION")]
    from: Option<RepositoryName>,
    /// Connections that load at a time; with 1 no scratch disk is needed [default: one a processor, up to 4]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    jobs: Option<u32>,
    /// Only this table, with what belongs to it and what it needs; may be given more than once
    #[arg(long, value_name = "SCHEMA.TABLE")]
    table: Vec<String>,
    /// Only this schema; may be given more than once
    #[arg(long, value_name = "SCHEMA")]
    schema: Vec<String>,
    /// Leave out the rows of this table, and foreign keys to it; may be given more than once
    #[arg(long, value_name = "SCHEMA.TABLE")]
    exclude_table_data: Vec<String>,
    /// Leave out this schema, and what needs something in it; may be given more than once
    #[arg(long, value_name = "SCHEMA")]
    exclude_schema: Vec<String>,
    /// The locale of the new database, one of the target host's C library [default: as it was dumped]
    #[arg(long, value_name = "LOCALE")]
    locale: Option<String>,
    /// Make the roles and tablespaces that are missing first; those that exist are not changed
    #[arg(long)]
    globals: bool,
    /// Leave out owners and privileges: everything belongs to the restoring role
    #[arg(long)]
    no_owner: bool,
    /// Leave out tablespaces: everything goes to the default one
    #[arg(long)]
    no_tablespaces: bool,
    /// Load into a database that has the final name from the beginning: a new one, or an empty one that is there.
    /// For what looks at the name (pg_cron), and for roles that may not make databases
    #[arg(long)]
    no_rename: bool,
    /// Pass over what does not load. If anything is missing, or not as it was dumped, the database is called NAME, its
    /// comment and the report say what, and the exit status is 20 [default: the final name and `_incomplete`]
    #[arg(long = "continue", value_name = "NAME", num_args = 0..=1, require_equals = true)]
    continues: Option<Option<String>>,
    /// A file with an age identity that opens the backup; may be given more than once
    #[arg(long, short, value_name = "FILE", value_parser = super::args::path())]
    identity: Vec<PathBuf>,
    /// Where there is room for the unpacked dump
    #[arg(long, value_name = "DIRECTORY", env = "TMPDIR", default_value = "/var/tmp", value_parser = super::args::path())]
    scratch: PathBuf,
    /// Show the plan and do nothing
    #[arg(long)]
    plan: bool,
    /// Drop what killed restores have left on the target server, or in the directory
    #[arg(long)]
    drop_leftovers: bool,
    #[command(flatten)]
    resource: aws_backup::ResourceArgs,
    #[command(flatten)]
    moment: physical::MomentArgs,
    #[command(flatten)]
    instance: rds::InstanceArgs,
}

pub(super) async fn run(args: RestoreArgs, context: &Context) -> Result<Exit, CommandError> {
    let source = match &args.source {
        Some(source) => source.clone(),
        None => {
            let chosen = source::only(&context.policy()?, args.way(), args.backup.as_deref())?;
            context.output.note(format!("Source {}: {}.", chosen.name, chosen.why));
            chosen.name
        }
    };
    if args.instance.is_given() {
        return rds::run(args, &source, context).await;
    }
    args.instance.fits_elsewhere()?;
    if args.resource.is_given() || aws_backup::is_of_aws_backup(&source, context)? {
        args.fits_resource()?;
        aws_backup::run(args, &source, context).await
    } else if args.moment.is_given() {
        args.fits_directory()?;
        physical::run(args, &source, context).await
    } else {
        args.fits_dump()?;
        logical::run(args, &source, context).await
    }
}

/// The options that say to which moment, for messages.
const MOMENTS: &str = "`--point-in-time`, `--to-lsn`, `--to-xid`, `--to-name` or `--latest`";

impl RestoreArgs {
    /// What the options, without a source, say is restored.
    fn way(&self) -> RestoreMethod {
        match () {
            () if self.instance.is_given() => RestoreMethod::Instance,
            () if self.resource.is_given() => RestoreMethod::Resource,
            () if self.moment.is_given() => RestoreMethod::Directory,
            () => RestoreMethod::Dump,
        }
    }

    /// Empty only where it is not needed.
    fn to(&self) -> &str {
        self.to.as_deref().unwrap_or_default()
    }

    /// What belongs to databases does not go with a resource of AWS Backup.
    fn fits_resource(&self) -> Result<(), CommandError> {
        let given = [
            ("--to", self.to.is_some()),
            (
                "`--to-lsn`, `--to-xid` or `--to-name`",
                self.moment.is_given() && !self.moment.is_latest() && !self.moment.is_time(),
            ),
            ("--password", self.password.is_some()),
            ("--jobs", self.jobs.is_some()),
            ("--table", !self.table.is_empty()),
            ("--schema", !self.schema.is_empty()),
            ("--exclude-table-data", !self.exclude_table_data.is_empty()),
            ("--exclude-schema", !self.exclude_schema.is_empty()),
            ("--locale", self.locale.is_some()),
            ("--globals", self.globals),
            ("--no-owner", self.no_owner),
            ("--no-tablespaces", self.no_tablespaces),
            ("--no-rename", self.no_rename),
            ("--continue", self.continues.is_some()),
            ("--drop-leftovers", self.drop_leftovers),
        ];
        let given: Vec<_> = given.iter().filter(|(_, is_given)| *is_given).map(|(name, _)| *name).collect();
        match (given.is_empty(), self.moment.needs_moment()) {
            (true, None) => Ok(()),
            (_, option) => Err(CommandError::usage(format!(
                "{} does not go with a resource that AWS Backup keeps: say what is made with `--to-resource KEY=VALUE`",
                given.into_iter().chain(option).collect::<Vec<_>>().join(", ")
            ))),
        }
    }

    /// What belongs to dumps only does not go with a point in time.
    fn fits_directory(&self) -> Result<(), CommandError> {
        let given = [
            ("--password", self.password.is_some()),
            ("--jobs", self.jobs.is_some()),
            ("--table", !self.table.is_empty()),
            ("--schema", !self.schema.is_empty()),
            ("--exclude-table-data", !self.exclude_table_data.is_empty()),
            ("--exclude-schema", !self.exclude_schema.is_empty()),
            ("--locale", self.locale.is_some()),
            ("--globals", self.globals),
            ("--no-owner", self.no_owner),
            ("--no-tablespaces", self.no_tablespaces),
            ("--no-rename", self.no_rename),
            ("--continue", self.continues.is_some()),
        ];
        let given: Vec<_> = given.iter().filter(|(_, is_given)| *is_given).map(|(name, _)| *name).collect();
        if !given.is_empty() {
            let words =
                format!("{} is for dumps, and a point in time restores a whole cluster", given.join(", "));
            return Err(CommandError::usage(words).hint(
                "Restore the cluster into a directory with `--start`, and take what you need from there with pg_dump.",
            ));
        }
        let to = self.to();
        if to.contains("://") || !to.contains('/') {
            let words = format!("`{to}` is not a directory: a point in time restores a whole cluster");
            return Err(CommandError::usage(words)
                .hint("Name a directory that does not exist or is empty, with a `/` in it."));
        }
        Ok(())
    }

    /// The other way round.
    fn fits_dump(&self) -> Result<(), CommandError> {
        if let Some(option) = self.moment.needs_moment() {
            let words =
                format!("`{option}` is for restoring a cluster to a point in time, and none is given");
            return Err(CommandError::usage(words).hint(format!("Say which with {MOMENTS}.")));
        }
        if self.no_rename && matches!(self.continues, Some(Some(_))) {
            return Err(CommandError::usage(
                "`--continue=NAME` does not go with `--no-rename`, which keeps the name",
            )
            .hint("Say `--continue`: the comment of the database and the report say what is missing."));
        }
        let to = self.to();
        if to.starts_with(['/', '.', '~']) {
            let words = format!("`{to}` is a directory, and a dump is restored into a database");
            return Err(CommandError::usage(words).hint("Name a new database with `--to`.").hint(format!(
                "To restore the whole cluster into a directory, say to which moment with {MOMENTS}."
            )));
        }
        Ok(())
    }
}

fn check_from(from: Option<&RepositoryName>, policy: &Policy) -> Result<(), CommandError> {
    match from {
        Some(name) if policy.repository(name).is_none() => {
            Err(CommandError::usage(format!("the policy has no repository `{name}`")))
        }
        _ => Ok(()),
    }
}

/// Seconds as a duration; a clock that was set back gives none.
pub(crate) fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// Copies that were found bad, or incomplete, and not good since.
fn doubtful(entries: &[BackupEntry]) -> BTreeSet<(BackupId, RepositoryName)> {
    let bad = |entry: &BackupEntry| {
        let copies = entry.copies.iter().filter(|copy| copy.is_held() && !copy.is_good());
        copies.map(|copy| (entry.id().clone(), copy.repository.clone())).collect::<Vec<_>>()
    };
    entries.iter().flat_map(bad).collect()
}
