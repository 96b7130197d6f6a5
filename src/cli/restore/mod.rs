//! `drctl restore`: a dump into a database, a base backup and its WAL into a directory, what RDS keeps into a
//! new instance, a recovery point of AWS Backup into a new resource, or what an application has beside its database.

mod application;
mod aws_backup;
mod content;
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
use super::catalog_view::warn_lost;
use super::error::CommandError;
use super::exit::Exit;
use super::hints;
use super::hints::Hints;
use super::render::restore::{Render, show_plan, show_report};
use crate::catalog::{BackupEntry, Catalog};
use crate::checks;
use crate::model::{BackupId, CopyCheck, Judgement, RepositoryName, SourceName, latest_checks};
use crate::pipeline::Identities;
use crate::policy::{Policy, PostgresSource, Source, SourceConfig};
use crate::repository::{Repositories, run_record};
use crate::restore::{Aftermath as _, RestoreError as _, prepare};
use crate::run::RunContext;
use crate::text::format_duration;

/// Restore a dump into a new database, a cluster to a point in time into a directory, or an AWS-managed backup into
/// a new resource
///
/// Shows the plan first, or every failed precondition at once. A dump is loaded under another name, compared with
/// what was recorded when it was dumped, and gets its name only then. With a point in time (`--point-in-time`,
/// `--latest`, …) a base backup and the WAL after it are restored into a new data directory. For an RDS source
/// `--to-instance` creates a new instance or cluster; recovery points of AWS Backup go to `--to-resource`. `--all` restores
/// the whole application: every source of the policy's recovery point.
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
    /// directory that does not exist or is empty. Other sources: a new file or directory; of a bucket also
    /// `s3://bucket/prefix`, of a command also `restore_command`. With `--all`: a directory for everything, or a plan file that says it for
    /// each source
    #[arg(long, value_name = "URL|NAME|DIRECTORY|PLAN.toml", required_unless_present_any = ["to_instance", "to_resource"])]
    to: Option<String>,
    /// The password for `--to`, by reference: `env:NAME`, `file:/path`, `command:program arg`
    #[arg(long, value_name = "REFERENCE")]
    password: Option<String>,
    /// Read from this repository only [default: the primary, then the copies]; of what AWS keeps, from this region
    #[arg(long, value_name = "REPOSITORY|REGION")]
    from: Option<RepositoryName>,
    /// Connections that load at a time; with 1 no scratch disk is needed [default: one a processor, up to 4]. With `--all`:
    /// sources that are restored at a time [default: 2]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    jobs: Option<u32>,
    /// Only this table, with what belongs to it and what it needs; may be given more than once
    #[arg(long, value_name = "SCHEMA.TABLE")]
    table: Vec<String>,
    /// Only this schema; may be given more than once
    #[arg(long, value_name = "SCHEMA")]
    schema: Vec<String>,
    /// With `--table` or `--schema`: all large objects, too. No table owns one, so that without it none is restored
    #[arg(long)]
    with_large_objects: bool,
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
    /// Leave jobs of pg_cron, pgAgent and pg_timetable active, as they were dumped: those of pg_cron run as soon as they
    /// are loaded [default: they are restored inactive, and the report says how to turn each on]
    #[arg(long)]
    with_active_jobs: bool,
    /// Pass over what does not load. If anything is missing, or not as it was dumped, the database is called NAME, its
    /// comment and the report say what, and the exit status is 20 [default: the final name and `_incomplete`]
    #[arg(long = "continue", value_name = "NAME", num_args = 0..=1, require_equals = true)]
    continues: Option<Option<String>>,
    /// A file with an age identity that opens the backup; may be given more than once
    #[arg(long, short, value_name = "FILE", env = "DRCTL_IDENTITY", value_parser = super::path_arg::path())]
    identity: Vec<PathBuf>,
    /// Where there is room for the unpacked dump
    #[arg(long, value_name = "DIRECTORY", env = "TMPDIR", default_value = "/var/tmp", value_parser = super::path_arg::path())]
    scratch: PathBuf,
    /// Show the plan and do nothing
    #[arg(long)]
    plan: bool,
    /// Drop what killed restores have left on the target server, or in the directory
    #[arg(long)]
    drop_leftovers: bool,
    #[command(flatten)]
    application: application::ApplicationArgs,
    #[command(flatten)]
    resource: aws_backup::ResourceArgs,
    #[command(flatten)]
    content: content::ContentArgs,
    #[command(flatten)]
    moment: physical::MomentArgs,
    #[command(flatten)]
    instance: rds::InstanceArgs,
}

pub(super) async fn run(args: RestoreArgs, context: &Context) -> Result<Exit, CommandError> {
    let policy = context.policy()?;
    if args.application.is_given() {
        return application::run(&args, &policy, context).await;
    }
    let source = match &args.source {
        Some(source) => source.clone(),
        None => {
            let chosen = source::only(&policy, args.method(), args.backup.as_deref())?;
            context.output.note(format!("Source {}: {}.", chosen.name, chosen.why));
            chosen.name
        }
    };
    let config = policy.source(&source).map(|source| &source.config);
    let method = match args.method() {
        RestoreMethod::Instance => RestoreMethod::Instance,
        _ if matches!(config, Some(SourceConfig::AwsBackup(_))) => RestoreMethod::Resource,
        _ if config.and_then(content::kind_of).is_some() => RestoreMethod::Content,
        method => method,
    };
    args.check_options(method, config.map(SourceConfig::kind))?;
    let command = RestoreCommand { args: &args, source: &source, policy: &policy, context };
    match method {
        RestoreMethod::Dump => command.carry_out(logical::begin(&command).await?).await,
        RestoreMethod::Directory => command.carry_out(physical::begin(&command).await?).await,
        RestoreMethod::Instance => command.carry_out(rds::begin(&command).await?).await,
        RestoreMethod::Resource => command.carry_out(aws_backup::begin(&command).await?).await,
        RestoreMethod::Content => command.carry_out(content::begin(&command).await?).await,
    }
}

/// The context of a restore command.
struct RestoreCommand<'a> {
    args: &'a RestoreArgs,
    source: &'a SourceName,
    policy: &'a Policy,
    context: &'a Context,
}

impl RestoreCommand<'_> {
    /// Runs the restore of any method: shows the accepted plan, executes it, and reports.
    async fn carry_out<M: Render + Hints>(
        &self,
        (run, request): (RunContext, M),
    ) -> Result<Exit, CommandError> {
        let output = &self.context.output;
        let checks = checks::of_source(self.policy.drill.as_ref(), self.source);
        let prepared = prepare(&run, &request, &checks).await.map_err(|error| {
            let (exit, hints) = hints::of_refused::<M>(&error);
            hints.into_iter().fold(CommandError::new(exit, error), CommandError::hint)
        })?;
        show_plan(output, &prepared, self.args.plan);
        if self.args.plan {
            return Ok(Exit::Done);
        }
        let (outcome, unrecorded) = prepared.run(&run).await;
        unrecorded.iter().for_each(|lost| warn_lost(self.context, lost));
        run.close().await;
        match outcome {
            Ok(report) => {
                show_report::<M>(output, &report);
                report.verdict.reasons.iter().for_each(|reason| output.reason(&reason.message));
                Ok(match report.verdict.outcome {
                    Judgement::Fail => Exit::DrillFailed,
                    Judgement::Undetermined => Exit::Undetermined,
                    Judgement::Pass if report.left_out.is_empty() => Exit::Done,
                    Judgement::Pass => Exit::Partly,
                })
            }
            Err(failed) => {
                let exit = match () {
                    () if failed.aftermath.is_usable() => Exit::Partly,
                    () if failed.error.is_interruption() => Exit::Interrupted,
                    () => Exit::Failed,
                };
                let hints = M::after(prepared.plan(), &failed);
                Err(hints.into_iter().fold(CommandError::new(exit, failed), CommandError::hint))
            }
        }
    }

    /// Opens the repositories to read, and creates the context of the run.
    async fn open(&self, identities: Identities) -> Result<RunContext, CommandError> {
        open(self.args, self.policy, self.context, identities).await
    }

    fn run(&self, repositories: Repositories, catalog: Option<Catalog>) -> RunContext {
        begin(self.policy, self.context, repositories, catalog)
    }

    /// Returns the policy's settings of the source, which must be of this kind.
    fn config<T>(&self, kind: &str, pick: fn(&Source) -> Option<&T>) -> Result<&T, CommandError> {
        let name = self.source;
        let usage = |words| CommandError::usage(words).hint("`drctl policy show` lists the sources.");
        let source = self.policy.source(name);
        let source = source.ok_or_else(|| usage(format!("the policy has no source `{name}`")))?;
        let other =
            || usage(format!("`{name}` is a source of kind `{}`, not `{kind}`", source.config.kind()));
        pick(source).ok_or_else(other)
    }

    /// Returns how to log in to the source's own server.
    fn login(&self) -> Option<&PostgresSource> {
        self.policy.source(self.source)?.login()
    }
}

/// Opens the repositories to read, and creates the context of the run.
async fn open(
    args: &RestoreArgs,
    policy: &Policy,
    context: &Context,
    identities: Identities,
) -> Result<RunContext, CommandError> {
    let from = args.from.as_ref();
    if let Some(name) = from.filter(|name| policy.repository(name).is_none()) {
        return Err(CommandError::usage(format!("the policy has no repository `{name}`")));
    }
    let (catalog, repositories) = context.recall(policy).await;
    let repositories = match from {
        Some(name) => repositories.only(name),
        None => repositories,
    };
    let repositories = repositories.open_for_restore(&policy.system, None).await;
    Ok(begin(policy, context, repositories, catalog).with_identities(identities))
}

fn begin(
    policy: &Policy,
    context: &Context,
    repositories: Repositories,
    catalog: Option<Catalog>,
) -> RunContext {
    RunContext::begin(
        policy.system.clone(),
        repositories,
        catalog,
        context.clock.clone(),
        context.output.events(),
        context.cancel.clone(),
    )
}

/// The options for a recovery target, for messages.
const MOMENTS: &str = "`--point-in-time`, `--to-lsn`, `--to-xid`, `--to-name` or `--latest`";

impl RestoreArgs {
    /// Returns the method that the options imply, regardless of the source.
    fn method(&self) -> RestoreMethod {
        match () {
            () if self.instance.is_given() => RestoreMethod::Instance,
            () if self.resource.is_given() => RestoreMethod::Resource,
            () if self.moment.is_given() => RestoreMethod::Directory,
            () => RestoreMethod::Dump,
        }
    }

    /// Empty only where it is not required.
    fn to(&self) -> &str {
        self.to.as_deref().unwrap_or_default()
    }

    /// Returns the given options that not every method takes, each with the methods that take it.
    fn given(&self) -> impl Iterator<Item = (&'static str, &'static [RestoreMethod])> {
        use RestoreMethod::{Content, Directory, Dump};
        let own: [(&'static str, bool, &'static [RestoreMethod]); 17] = [
            ("--to", self.to.is_some(), &[Dump, Directory, Content]),
            ("--password", self.password.is_some(), &[Dump, Content]),
            ("--jobs", self.jobs.is_some(), &[Dump]),
            ("--table", !self.table.is_empty(), &[Dump]),
            ("--schema", !self.schema.is_empty(), &[Dump]),
            ("--with-large-objects", self.with_large_objects, &[Dump]),
            ("--exclude-table-data", !self.exclude_table_data.is_empty(), &[Dump]),
            ("--exclude-schema", !self.exclude_schema.is_empty(), &[Dump]),
            ("--locale", self.locale.is_some(), &[Dump]),
            ("--globals", self.globals, &[Dump]),
            ("--no-owner", self.no_owner, &[Dump, Content]),
            ("--no-tablespaces", self.no_tablespaces, &[Dump]),
            ("--no-rename", self.no_rename, &[Dump]),
            ("--with-active-jobs", self.with_active_jobs, &[Dump]),
            ("--continue", self.continues.is_some(), &[Dump]),
            ("--drop-leftovers", self.drop_leftovers, &[Dump, Directory]),
            ("--to-lsn, --to-xid or --to-name", self.moment.is_position(), &[Directory]),
        ];
        let own = own.into_iter().filter(|(_, is_given, _)| *is_given).map(|(name, _, takes)| (name, takes));
        let of_moment = self.moment.needs_moment().into_iter().map(|name| {
            let takes: &[RestoreMethod] =
                if name == "--delta" { &[Directory, Content] } else { &[Directory] };
            (name, takes)
        });
        let of_content = self.content.options().into_iter().map(|name| (name, &[Content][..]));
        let of_instance =
            self.instance.options().into_iter().map(|name| (name, &[RestoreMethod::Instance][..]));
        own.chain(of_moment).chain(of_instance).chain(of_content)
    }

    /// Checks that every given option is one of this method.
    fn check_options(&self, method: RestoreMethod, kind: Option<&str>) -> Result<(), CommandError> {
        let of_others: Vec<_> =
            self.given().filter(|(_, takes)| !takes.contains(&method)).map(|(name, _)| name).collect();
        let listed = of_others.join(", ");
        let of_instance = self.instance.options();
        if method != RestoreMethod::Instance && !of_instance.is_empty() {
            return Err(CommandError::usage(format!(
                "{} goes only with `--to-instance`",
                of_instance.join(", ")
            ))
            .hint("`--to-instance NAME` makes an instance of what RDS keeps."));
        }
        if !of_others.is_empty() {
            return Err(match method {
                RestoreMethod::Resource => CommandError::usage(format!(
                    "{listed} does not go with a resource that AWS Backup keeps: say what is made with `--to-resource KEY=VALUE`"
                )),
                RestoreMethod::Instance => {
                    CommandError::usage(format!("{listed} does not go with `--to-instance`")).hint(
                        "RDS restores a whole instance; take what you need from there with `pg_dump`.",
                    )
                }
                RestoreMethod::Content => CommandError::usage(format!(
                    "{listed} does not go with a source of kind `{}`",
                    kind.unwrap_or_default()
                )),
                RestoreMethod::Directory => CommandError::usage(format!(
                    "{listed} is for dumps, and a point in time restores a whole cluster"
                ))
                .hint("Restore the cluster into a directory with `--start`, and take what you need from there with pg_dump."),
                RestoreMethod::Dump => CommandError::usage(format!(
                    "`{listed}` is for restoring a cluster to a point in time, and none is given"
                ))
                .hint(format!("Say which with {MOMENTS}.")),
            });
        }
        match method {
            RestoreMethod::Directory => self.check_directory(),
            RestoreMethod::Dump => self.check_database(),
            RestoreMethod::Instance | RestoreMethod::Resource | RestoreMethod::Content => Ok(()),
        }
    }

    fn check_directory(&self) -> Result<(), CommandError> {
        let to = self.to();
        if to.contains("://") || !to.contains('/') {
            let words = format!("`{to}` is not a directory: a point in time restores a whole cluster");
            return Err(CommandError::usage(words)
                .hint("Name a directory that does not exist or is empty, with a `/` in it."));
        }
        Ok(())
    }

    fn check_database(&self) -> Result<(), CommandError> {
        if self.no_rename && matches!(self.continues, Some(Some(_))) {
            return Err(CommandError::usage(
                "`--continue=NAME` does not go with `--no-rename`, which keeps the name",
            )
            .hint("Say `--continue`: the comment of the database and the report say what is missing."));
        }
        if self.with_large_objects && self.table.is_empty() && self.schema.is_empty() {
            return Err(CommandError::usage("`--with-large-objects` goes only with `--table` or `--schema`")
                .hint("Without these everything is restored, and large objects with it."));
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

/// The time limit for the journal's records of verified copies.
const CHECKS_WITHIN: Duration = Duration::from_secs(20);

/// Returns copies found damaged or incomplete, and not intact since: according to this host's catalog, and to
/// the journal for other hosts' checks.
async fn doubtful(run: &RunContext, entries: &[BackupEntry]) -> BTreeSet<(BackupId, RepositoryName)> {
    let of_journal = run_record::recent_checks(&run.repositories, &run.system);
    let of_journal = tokio::time::timeout(CHECKS_WITHIN, of_journal).await.unwrap_or_else(|_| {
        run.events.warning(format!(
            "what other hosts verified could not be read in {}: a backup that they found bad may be chosen",
            format_duration(CHECKS_WITHIN)
        ));
        vec![]
    });
    let held = entries.iter().flat_map(|entry| &entry.copies).filter(|copy| copy.is_held());
    doubtful_copies(held.filter_map(|copy| copy.last_check.clone()).chain(of_journal))
}

fn doubtful_copies(checks: impl Iterator<Item = CopyCheck>) -> BTreeSet<(BackupId, RepositoryName)> {
    let bad = latest_checks(checks).into_iter().filter(|check| !check.is_good());
    bad.map(|check| (check.backup, check.repository)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CheckDepth, CopyFault, ObjectFault};

    #[test]
    fn the_latest_check_of_a_copy_counts_whoever_made_it() {
        let id: BackupId = "20261120T120000Z-database-logical-2222".parse().unwrap();
        let check = |repository: &str, minute: u32, is_good: bool| {
            let fault =
                ObjectFault { object: "x".to_owned(), fault: CopyFault::Short, detail: String::new() };
            CopyCheck {
                backup: id.clone(),
                repository: repository.parse().unwrap(),
                at: format!("2026-11-20T13:{minute:02}:00Z").parse().unwrap(),
                depth: CheckDepth::Stored,
                faults: if is_good { vec![] } else { vec![fault] },
            }
        };
        let checks = [
            check("primary", 1, true),
            check("west", 1, false),
            check("primary", 2, false),
            check("west", 2, true),
        ];
        let expected = BTreeSet::from([(id.clone(), "primary".parse().unwrap())]);
        assert_eq!(doubtful_copies(checks.clone().into_iter()), expected);
        assert_eq!(doubtful_copies(checks.into_iter().rev()), expected);
        // Bytes that match do not decode for that.
        let mut undecodable = check("primary", 1, false);
        undecodable.faults[0].fault = CopyFault::Undecodable;
        let mut decoded = check("primary", 3, true);
        decoded.depth = CheckDepth::Plain;
        let checks = [check("primary", 2, true), undecodable, decoded];
        assert_eq!(doubtful_copies(checks[..2].iter().cloned()), expected);
        assert_eq!(doubtful_copies(checks.into_iter()), BTreeSet::new());
    }
}
