use futures_util::future::join_all;
use serde::Serialize;

use crate::cli::Context;
use crate::cli::error::CommandError;
use crate::cli::exit::Exit;
use crate::cli::style;
use crate::notify::{Teller, test};
use crate::policy::{Channel, Severity};

#[derive(Debug, clap::Args)]
pub(super) struct TestArgs {
    /// Channels of the policy [default: all, or those of `--severity`]
    #[arg(value_name = "CHANNEL")]
    channels: Vec<String>,
    /// As bad as this
    #[arg(long, value_name = "SEVERITY", value_parser = ["p1", "p2", "p3", "p4"])]
    severity: Option<String>,
}

/// What became of the test of a channel.
#[derive(Serialize)]
struct TestRow<'a> {
    channel: &'a str,
    kind: &'static str,
    taken: bool,
    reason: Option<String>,
}

pub(super) async fn run(args: TestArgs, context: &Context) -> Result<Exit, CommandError> {
    let policy = context.policy()?;
    let notify = &policy.notify;
    let severity = args.severity.as_deref().map(|word| {
        Severity::ALL.into_iter().find(|severity| severity.as_str() == word).unwrap_or(Severity::P4)
    });
    let mut channels: Vec<&Channel> = Vec::new();
    for name in &args.channels {
        let found = notify.channel(name).ok_or_else(|| {
            CommandError::usage(format!("the policy has no channel `{name}`"))
                .hint("`drctl policy show` lists the channels.")
        })?;
        channels.push(found);
    }
    if args.channels.is_empty() {
        channels = match severity {
            Some(severity) => notify.channels(severity).collect(),
            None => notify.channels.iter().collect(),
        };
    }
    if channels.is_empty() {
        return Err(CommandError::usage("the policy has no channel to test")
            .hint("Add one to `[notify]`; `drctl policy schema` describes each kind."));
    }
    let teller = Teller::new(&policy, context.clock.clone());
    let tested = channels.iter().map(async |channel| {
        let result = test(&teller, channel, severity.unwrap_or(Severity::P4)).await;
        TestRow {
            channel: &channel.name,
            kind: channel.route.kind(),
            taken: result.is_ok(),
            reason: result.err().map(|refused| refused.reason),
        }
    });
    let rows = join_all(tested).await;
    if context.output.is_json() {
        context.output.document("notify-test", &serde_json::json!({ "channels": rows }));
    }
    for row in rows.iter().filter(|_| !context.output.is_json()) {
        let (style, word) = if row.taken { (style::GOOD, "taken") } else { (style::BAD, "failed") };
        let why = row.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        context.output.line(format!("{style}{word:<7}{style:#} {} ({}){why}", row.channel, row.kind));
    }
    let failed: Vec<&TestRow<'_>> = rows.iter().filter(|row| !row.taken).collect();
    for row in &failed {
        let reason = row.reason.as_deref().unwrap_or_default();
        context.output.reason(format!("channel `{}` did not take the test: {reason}", row.channel));
    }
    Ok(if failed.is_empty() { Exit::Done } else { Exit::Failed })
}
