use super::known_drills::{DrillDocument, DrillView, id};
use super::lines::lines;
use crate::cli::Context;
use crate::cli::error::CommandError;
use crate::cli::exit::Exit;
use crate::report::drill_page;

#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
    /// The drill, by id or prefix [default: the newest]
    #[arg(value_name = "ID")]
    drill: Option<String>,
}

pub(super) async fn run(args: ShowArgs, context: &Context) -> Result<Exit, CommandError> {
    let view = DrillView::open(context).await?;
    let drill = view.find(args.drill.as_deref())?;
    let report = view.report(drill, context.clock.now());
    if context.output.is_json() {
        context.output.document("drill", &DrillDocument::of(&report));
    } else {
        lines(&drill_page(&report)).iter().for_each(|line| context.output.line(line));
    }
    for damage in view.damage_of(id(drill)) {
        context.output.reason(damage);
    }
    let holds = report.damage.is_empty();
    Ok(if holds { Exit::Done } else { Exit::DrillFailed })
}
