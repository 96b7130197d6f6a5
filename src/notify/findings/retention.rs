use super::{Findings, Occasion, joined};
use crate::catalog::Notice;
use crate::policy::{Job, Severity};
use crate::retention::{ApplyReport, Refusal, RefusalCode};

/// The key of what is told of retention, by its runs and by `drctl status`.
pub(super) const KEY: &str = "retention";
pub(super) const EVENT: &str = "retention.failed";
pub(super) const IMPACT: &str =
    "Nothing is lost: backups are kept for longer than the rules ask, and cost storage.";
pub(super) const ACTION: &str = "`drctl retention plan` shows what would go, and what is refused and why";

/// Returns what a run of retention tells.
pub fn retention(report: &ApplyReport, occasion: Occasion<'_>) -> Findings {
    if report.interrupted {
        return Findings::default();
    }
    let findings = Findings::default().concluded(Job::Retention);
    // What works on a source ends, and the next run removes what this one did not.
    let counts = |refusal: &&Refusal| refusal.code != RefusalCode::SourceBusy;
    let refused = report.refused.iter().flat_map(|refused| {
        let told =
            |refusal: &Refusal| format!("{} in {}: {}", refused.source, refused.location, refusal.message);
        refused.refusals.iter().filter(counts).map(told).collect::<Vec<_>>()
    });
    let skipped = report.skipped.iter().flat_map(|skipped| &skipped.refusals).filter(counts);
    let skipped = skipped.map(|refusal| refusal.message.clone());
    let failed = report.failed.iter();
    let failed = failed.map(|failed| format!("{} in {}: {}", failed.what, failed.location, failed.reason));
    let reasons: Vec<String> = refused.chain(skipped).chain(failed).collect();
    if reasons.is_empty() {
        return findings.over(KEY.to_owned(), "retention removed what the rules do not keep");
    }
    findings.firing(Notice {
        key: KEY.to_owned(),
        event: EVENT.to_owned(),
        severity: Severity::P3,
        source: None,
        headline: format!("retention could not remove everything: {}", joined(&reasons)),
        impact: IMPACT.to_owned(),
        action: ACTION.to_owned(),
        run: Some(occasion.run.clone()),
    })
}
