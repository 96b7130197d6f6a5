use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::Serialize;

use super::known_drills::{DrillDocument, DrillView};
use super::list::ForecastRow;
use crate::cli::Context;
use crate::cli::error::CommandError;
use crate::cli::exit::Exit;
use crate::cli::output::document_text;
use crate::cli::path_arg;
use crate::drill::integrity::Damage;
use crate::drill::population::{DrillSchedule, GRACE_IN_WORDS, Population, PopulationQuery, population};
use crate::drill::{Period, YearMonth};
use crate::model::{RunId, Sha256Hex};
use crate::policy::{self, Policy};
use crate::report::{Page, SystemDrills, drill_page, html_page, markdown, population_page};

#[derive(Debug, clap::Args)]
pub(super) struct ReportArgs {
    /// The drill, by id or prefix [default: the newest]
    #[arg(value_name = "ID", conflicts_with = "from")]
    drill: Option<String>,
    /// Every drill that was due since the beginning of this month, like `2026-01`, in the schedule's time zone
    #[arg(long, value_name = "MONTH")]
    from: Option<YearMonth>,
    /// The last month of the period [default: this month]
    #[arg(long, value_name = "MONTH", requires = "from")]
    through: Option<YearMonth>,
    /// Another policy, whose drills are in the report too; may be repeated
    #[arg(long, value_name = "FILE", requires = "from", value_parser = path_arg::path())]
    also: Vec<PathBuf>,
    /// How it is written [default: by the name of the file, or Markdown]
    #[arg(long, value_enum)]
    format: Option<ReportFormat>,
    /// The file that it is written to; replaced where it exists [default: stdout]
    #[arg(long, value_name = "FILE", value_parser = path_arg::path())]
    to: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ReportFormat {
    /// The record and what is known beside it, for programs
    Json,
    /// Text, for tickets and repositories
    Markdown,
    /// One page that needs nothing else, for people
    Html,
}

impl ReportFormat {
    fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Markdown => "markdown",
            Self::Html => "html",
        }
    }

    fn of_file(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "json" => Some(Self::Json),
            "md" | "markdown" => Some(Self::Markdown),
            "html" | "htm" => Some(Self::Html),
            _ => None,
        }
    }
}

pub(super) async fn run(args: ReportArgs, context: &Context) -> Result<Exit, CommandError> {
    let format = format_of(&args, context)?;
    match args.from {
        Some(from) => of_period(&args, from, format, context).await,
        None => of_drill(&args, format, context).await,
    }
}

fn format_of(args: &ReportArgs, context: &Context) -> Result<ReportFormat, CommandError> {
    let of_file = args.to.as_deref().and_then(ReportFormat::of_file);
    let is_json = context.output.is_json() && args.to.is_none();
    match args.format.or(of_file) {
        Some(format) if is_json && format != ReportFormat::Json => {
            Err(CommandError::usage(format!("stdout cannot be JSON and {} at once", format.as_str()))
                .hint("`--to FILE` writes the report to a file."))
        }
        Some(format) => Ok(format),
        None if is_json => Ok(ReportFormat::Json),
        None => Ok(ReportFormat::Markdown),
    }
}

async fn of_drill(args: &ReportArgs, format: ReportFormat, context: &Context) -> Result<Exit, CommandError> {
    let view = DrillView::open(context).await?;
    let drill = view.find(args.drill.as_deref())?;
    let report = view.report(drill, context.clock.now());
    let text = match format {
        ReportFormat::Json => {
            document_text("drill", &DrillDocument::of(&report)).map_err(CommandError::failed)?
        }
        other => rendered(&drill_page(&report), other),
    };
    written(args.to.as_deref(), format, &text, context)?;
    for damage in &report.damage {
        context.output.reason(damage);
    }
    Ok(if report.damage.is_empty() { Exit::Done } else { Exit::DrillFailed })
}

fn rendered(page: &Page, format: ReportFormat) -> String {
    match format {
        ReportFormat::Html => html_page(page),
        ReportFormat::Markdown | ReportFormat::Json => markdown(page),
    }
}

#[derive(Serialize)]
struct WrittenDocument<'a> {
    file: &'a Path,
    format: &'static str,
    sha256: Sha256Hex,
}

/// Writes a report to its file, or to stdout.
fn written(
    to: Option<&Path>,
    format: ReportFormat,
    text: &str,
    context: &Context,
) -> Result<(), CommandError> {
    let Some(file) = to else {
        context.output.line(text.trim_end());
        return Ok(());
    };
    std::fs::write(file, text).map_err(|error| {
        CommandError::failed(error).context(format!("failed to write the report to `{}`", file.display()))
    })?;
    if context.output.is_json() {
        let sha256 = Sha256Hex::digest(text.as_bytes());
        context.output.document("drill-report", &WrittenDocument { file, format: format.as_str(), sha256 });
    } else {
        context.output.line(format!("wrote the report to {}", file.display()));
    }
    Ok(())
}

#[derive(Serialize)]
struct PopulationsDocument<'a> {
    systems: Vec<PopulationRow<'a>>,
}

#[derive(Serialize)]
struct PopulationRow<'a> {
    #[serde(flatten)]
    population: &'a Population,
    forecasts: Vec<ForecastRow<'a>>,
    damage: &'a [Damage],
}

async fn of_period(
    args: &ReportArgs,
    from: YearMonth,
    format: ReportFormat,
    context: &Context,
) -> Result<Exit, CommandError> {
    let mut policies = vec![context.policy()?];
    for path in &args.also {
        let also = policy::load(path).map_err(|faults| {
            CommandError::usage(faults).hint("`drctl policy schema` describes every key.")
        })?;
        policies.push(also);
    }
    of_policies(policies, (from, args.through), format, args.to.as_deref(), context).await
}

/// Writes the report of one drill to a file, in the format of its name.
pub(super) async fn write_drill(drill: &RunId, to: &Path, context: &Context) -> Result<Exit, CommandError> {
    let args = ReportArgs {
        drill: Some(drill.to_string()),
        from: None,
        through: None,
        also: vec![],
        format: None,
        to: Some(to.to_owned()),
    };
    of_drill(&args, format_of(&args, context)?, context).await
}

/// Writes what these policies asked for this month to a file, in the format of its name.
pub(super) async fn write_month(
    policies: Vec<Policy>,
    to: &Path,
    context: &Context,
) -> Result<Exit, CommandError> {
    let Some(zone) = policies.first().map(|policy| policy.schedule.timezone) else { return Ok(Exit::Done) };
    let month = YearMonth::of(context.clock.now(), zone);
    let format = ReportFormat::of_file(to).unwrap_or(ReportFormat::Markdown);
    of_policies(policies, (month, Some(month)), format, Some(to), context).await
}

/// Writes what the schedules of these policies asked for in months, the first and the last.
async fn of_policies(
    policies: Vec<Policy>,
    (from, through): (YearMonth, Option<YearMonth>),
    format: ReportFormat,
    to: Option<&Path>,
    context: &Context,
) -> Result<Exit, CommandError> {
    let now = context.clock.now();
    let (mut systems, mut exits) = (Vec::new(), Vec::new());
    for policy in policies {
        let zone = policy.schedule.timezone;
        let last = through.unwrap_or_else(|| YearMonth::of(now, zone));
        let period = Period::of_months(from, last, zone).ok_or_else(|| {
            CommandError::usage(format!("the period ends with {last}, before it begins with {from}"))
                .hint("`--through` takes the last month.")
        })?;
        let view = DrillView::of_policy(context, policy).await;
        systems.push(system(&view, period, now)?);
        exits.push(view.exit(context, None));
    }
    let text = match format {
        ReportFormat::Json => {
            let rows = systems.iter().map(|system| PopulationRow {
                population: &system.population,
                forecasts: system
                    .forecasts
                    .iter()
                    .map(|(path, forecast)| ForecastRow { path, forecast })
                    .collect(),
                damage: &system.damage,
            });
            document_text("drill-population", &PopulationsDocument { systems: rows.collect() })
                .map_err(CommandError::failed)?
        }
        other => rendered(&population_page(&systems, now), other),
    };
    written(to, format, &text, context)?;
    // Evidence that does not hold is worse than evidence that was not read.
    let worst = [Exit::DrillFailed, Exit::Partly].into_iter().find(|exit| exits.contains(exit));
    Ok(worst.unwrap_or(Exit::Done))
}

fn system(
    view: &DrillView,
    period: Period,
    now: chrono::DateTime<chrono::Utc>,
) -> Result<SystemDrills, CommandError> {
    let Some(DrillSchedule { source, lines, zone }) = view.schedule() else {
        let path = view.policy.path.display();
        return Err(CommandError::usage(format!("the policy `{path}` has no `[drill]`")).hint(
            "Its `schedule` says when drills are due: without it, there is nothing to compare records with.",
        ));
    };
    let query = PopulationQuery {
        system: view.policy.system.clone(),
        source: source.clone(),
        policy: view.policy.path.display().to_string(),
        policy_sha256: std::fs::read(&view.policy.path).ok().map(|bytes| Sha256Hex::digest(&bytes)),
        schedule: lines.iter().map(|line| line.as_str().to_owned()).collect(),
        timezone: zone.name().to_owned(),
        period,
        grace: GRACE_IN_WORDS,
        asked_at: now,
        first_backup: view.first_backup,
        repositories: view.counts(),
        unread: view.unread.clone(),
    };
    let history = view.evidence.history.clone();
    let schedule = DrillSchedule { source, lines, zone };
    Ok(SystemDrills {
        population: population(query, &schedule, &history, now),
        history,
        damage: view.evidence.damage.clone(),
        forecasts: view.forecasts(now),
    })
}
