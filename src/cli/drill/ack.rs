use super::known_drills::{DrillView, id};
use crate::cli::Context;
use crate::cli::catalog_view::warn_lost;
use crate::cli::error::CommandError;
use crate::cli::exit::Exit;
use crate::drill::Acknowledgement;
use crate::drill::evidence::{self, EvidenceError};

#[derive(Debug, clap::Args)]
pub(super) struct AckArgs {
    /// The drill, by id or prefix
    #[arg(value_name = "ID")]
    drill: String,
    /// Who has seen it
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    by: String,
    /// What follows from it, or a ticket
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    note: String,
}

pub(super) async fn run(args: AckArgs, context: &Context) -> Result<Exit, CommandError> {
    let view = DrillView::open(context).await?;
    let drill = view.find(Some(&args.drill))?;
    if let Some(damage) = view.damage_of(id(drill)).first() {
        return Err(CommandError::new(Exit::DrillFailed, damage.clone())
            .context("the drill cannot be acknowledged")
            .hint("Who acknowledges it would have seen something else than what was recorded."));
    }
    let seen = match &drill.acknowledgement {
        // Repeated, it completes what a repository has missed.
        Some(known)
            if known.by == args.by
                && known.note == args.note
                && !view.is_acknowledged_everywhere(id(drill)) =>
        {
            known.clone()
        }
        Some(known) => return Err(refused(id(drill), known)),
        None => Acknowledgement {
            drill: id(drill).clone(),
            sha256: drill.sha256,
            by: args.by,
            note: args.note,
            at: chrono::SubsecRound::trunc_subsecs(context.clock.now(), 0),
        },
    };
    let lost = evidence::acknowledge(&view.repositories, &view.policy.system, &seen).await;
    let lost = lost.map_err(CommandError::failed)?;
    // Another host may have been first, and what is there stays.
    let (stored, _) = evidence::read_all(&view.repositories, &view.policy.system).await;
    let standing = stored.drills.iter().find(|stored| id(stored) == id(drill));
    if let Some(first) =
        standing.and_then(|stored| stored.acknowledgement.as_ref()).filter(|first| **first != seen)
    {
        return Err(refused(id(drill), first));
    }
    if context.output.is_json() {
        context.output.document("drill-acknowledged", &seen);
    } else {
        context.output.line(format!(
            "acknowledged drill {} by {}",
            seen.drill,
            crate::report::plain(&seen.by)
        ));
    }
    for one in &lost {
        warn_lost(context, one);
        context.output.reason(format!("`{}` did not take the record: {}", one.name, one.reason()));
    }
    if !lost.is_empty() {
        context.output.note("hint: Repeat it when the repository can be reached.");
    }
    Ok(if lost.is_empty() { Exit::Done } else { Exit::Partly })
}

fn refused(drill: &crate::model::RunId, first: &Acknowledgement) -> CommandError {
    let (drill, by) = (drill.clone(), crate::report::plain(&first.by));
    CommandError::failed(EvidenceError::Acknowledged { drill, by })
        .hint("An acknowledgement is never changed. `drctl drill show` shows it.")
}
