use std::io::IsTerminal as _;

use crate::catalog::{Catalog, Filter, ToldNotice};
use crate::cli::Context;
use crate::cli::error::CommandError;
use crate::cli::exit::Exit;
use crate::notify::findings::NewestData;
use crate::notify::{Findings, Heartbeat, HeartbeatEnd, Teller, Told};
use crate::platform::seed;
use crate::policy::{Job, Policy};
use crate::text::count;

/// How a job's run ended, and its findings, which become notices.
#[derive(Debug)]
pub(in crate::cli) struct Concluded {
    pub(in crate::cli) exit: Exit,
    pub(in crate::cli) findings: Findings,
}

/// Runs a job between its two heartbeats, and tells people what came of it. Whatever becomes of that, the exit status is
/// the job's own.
pub(in crate::cli) async fn around(
    job: Job,
    context: &Context,
    policy: &Policy,
    work: impl Future<Output = Result<Concluded, CommandError>>,
) -> Result<Exit, CommandError> {
    let work = async {
        let concluded = work.await?;
        Ok((concluded.exit, concluded))
    };
    around_with(job, context, policy, work).await
}

/// The same, for a job that has more to say.
pub(in crate::cli) async fn around_with<T>(
    job: Job,
    context: &Context,
    policy: &Policy,
    work: impl Future<Output = Result<(T, Concluded), CommandError>>,
) -> Result<T, CommandError> {
    let notify = &policy.notify;
    if notify.channels.is_empty() && notify.heartbeats.of(job).is_none() {
        return work.await.map(|(result, _)| result);
    }
    let seed = format!("{}/{}", context.clock.now().timestamp_micros(), seed());
    let heartbeat = Heartbeat::of(policy, job, &seed);
    if let Some(heartbeat) = &heartbeat
        && let Err(refused) = heartbeat.begin(&teller(context, policy)).await
    {
        context.output.warn(format!("the heartbeat of this run was not taken: {}", refused.reason));
    }
    let result = Box::pin(work).await;
    let teller = teller(context, policy);
    let findings = match &result {
        Ok((_, concluded)) => concluded.findings.clone(),
        Err(error) if error.exit == Exit::Interrupted => Findings::default(),
        // Who typed it sees why.
        Err(error) if error.exit == Exit::Usage && std::io::stderr().is_terminal() => Findings::default(),
        Err(error) => Findings::failed(job, &error.to_string()),
    };
    tell(context, policy, &teller, &findings).await;
    if let Some(heartbeat) = &heartbeat {
        let end = match &result {
            Ok((_, concluded)) => {
                HeartbeatEnd { is_good: concluded.exit == Exit::Done, text: text(concluded) }
            }
            Err(error) => HeartbeatEnd { is_good: false, text: error.to_string() },
        };
        if let Err(refused) = heartbeat.end(&teller, &end).await {
            context.output.warn(format!("the heartbeat of this run was not taken: {}", refused.reason));
        }
    }
    result.map(|(result, _)| result)
}

/// Returns the teller; after an interruption it tries each channel once only.
fn teller<'p>(context: &Context, policy: &'p Policy) -> Teller<'p> {
    let teller = Teller::new(policy, context.clock.clone());
    if context.cancel.is_cancelled() { teller.once() } else { teller }
}

fn text(concluded: &Concluded) -> String {
    let firing = concluded.findings.firing.iter().map(|notice| notice.headline.clone());
    let lines: Vec<String> = std::iter::once(concluded.exit.meaning().to_owned()).chain(firing).collect();
    lines.join("\n")
}

/// Tells people, keeps what was told, and prints what was not.
async fn tell(context: &Context, policy: &Policy, teller: &Teller<'_>, findings: &Findings) -> Told {
    if policy.notify.channels.is_empty() {
        return Told::default();
    }
    let catalog = context.catalog_if_possible(policy).await;
    let before = match &catalog {
        Some(catalog) => known(context, catalog).await,
        None => vec![],
    };
    let told = teller.tell(findings, &before).await;
    let output = &context.output;
    for (channel, reason) in &told.failed {
        output.warn(format!("channel `{channel}` did not take what it was sent: {reason}"));
    }
    for notice in &told.undelivered {
        output.warn(format!("no channel took this notice: {}", notice.headline));
    }
    if !told.failed.is_empty() {
        output.note(
            "hint: `drctl notify test` tries each channel; the next run tells again what was not taken.",
        );
    }
    if !told.taken.is_empty() {
        let messages = told
            .taken
            .iter()
            .map(|(channel, number)| format!("`{channel}` ({})", count(*number as u64, "message")));
        output.note(format!("told {}", messages.collect::<Vec<_>>().join(", ")));
    }
    if let Some(catalog) = catalog {
        if let Err(error) = catalog.record_told(&told.changes).await {
            output.warn(format!(
                "failed to record the notices that were sent, so that they will be sent again: {}",
                CommandError::from(error)
            ));
        }
        catalog.close().await;
    }
    told
}

async fn known(context: &Context, catalog: &Catalog) -> Vec<ToldNotice> {
    catalog.told().await.unwrap_or_else(|error| {
        let words = CommandError::from(error);
        context.output.warn(format!(
            "failed to read which notices were sent before, so that they are sent again: {words}"
        ));
        vec![]
    })
}

/// Returns the newest data that is stored, as far as the catalog knows.
pub(in crate::cli) async fn newest_data(catalog: Option<&Catalog>) -> NewestData {
    let Some(catalog) = catalog else { return NewestData::default() };
    let entries = catalog.backups(&Filter::default()).await.unwrap_or_default();
    NewestData::of(&entries)
}
