use std::path::PathBuf;

use super::incidents::IncidentView;
use super::run::{runbook_of, unknown};
use crate::cli::Context;
use crate::cli::error::CommandError;
use crate::cli::exit::Exit;
use crate::cli::path_arg;
use crate::report::{achieved, html_page, incident_page, markdown};
use crate::runbook::IncidentError;

#[derive(Debug, clap::Args)]
pub(super) struct ReportArgs {
    /// The incident, by id or prefix [default: the newest]
    #[arg(value_name = "ID")]
    incident: Option<String>,
    /// Write one page that needs nothing else to this file, too; replaced where it exists
    #[arg(long, value_name = "FILE", value_parser = path_arg::path())]
    html: Option<PathBuf>,
}

pub(super) async fn run(args: ReportArgs, context: &Context) -> Result<Exit, CommandError> {
    let view = IncidentView::open(context, context.policy()?).await;
    let incident = view.incidents.find(args.incident.as_deref()).map_err(unknown)?;
    let damage = view.incidents.all.get(&incident.id).map(|merged| merged.damage.clone()).unwrap_or_default();
    let is_read = view.incidents.unread.is_empty();
    view.close().await;
    let runbook = runbook_of(&incident)?;
    let page = incident_page(&incident, &runbook, context.clock.now())
        .ok_or_else(|| unknown(IncidentError::NoOpening(incident.id.clone())))?;
    if let Some(file) = &args.html {
        std::fs::write(file, html_page(&page)).map_err(|error| {
            CommandError::failed(error).context(format!("failed to write the report to `{}`", file.display()))
        })?;
        context.output.note(format!("wrote the report to {}", file.display()));
    }
    if context.output.is_json() {
        let achieved = achieved(&incident, &runbook);
        let data = serde_json::json!({
            "incident": incident.id,
            "is_closed": incident.is_closed(),
            "rto_seconds": achieved.rto_seconds,
            "rpo_seconds": achieved.rpo_seconds,
            "entries": incident.entries,
            "damage": damage,
        });
        context.output.document("incident", &data);
    } else {
        context.output.line(markdown(&page).trim_end());
    }
    damage.iter().for_each(|damage| context.output.reason(damage));
    Ok(match (damage.is_empty(), is_read) {
        (false, _) => Exit::Failed,
        (true, false) => Exit::Partly,
        (true, true) => Exit::Done,
    })
}
