use std::collections::BTreeSet;

use super::{Findings, Occasion, joined};
use crate::catalog::Notice;
use crate::copies::CopiesReport;
use crate::model::BackupId;
use crate::policy::{Job, Severity};
use crate::text::{count, error_chain};

/// Returns what completing the copies tells. `lost`: backups that no repository has any more. `unreached`: repositories
/// that could not be read, and why.
pub fn copies(
    report: &CopiesReport,
    lost: &BTreeSet<BackupId>,
    unreached: &[String],
    occasion: Occasion<'_>,
) -> Findings {
    let mut findings = Findings::default();
    if report.backups.interrupted {
        return findings;
    }
    findings = findings.concluded(Job::Copies);
    let notice = |key: &str, event: &str, severity, headline, impact: &str, action: &str| Notice {
        key: key.to_owned(),
        event: event.to_owned(),
        severity,
        source: None,
        headline,
        impact: impact.to_owned(),
        action: action.to_owned(),
        run: Some(occasion.run.clone()),
    };
    let backups = report.backups.backups.iter().filter_map(|synced| {
        let error = synced.result.as_ref().err()?;
        Some(format!("{} was not copied to {}: {}", synced.backup, synced.to, error_chain(error)))
    });
    let wal = report.wal.iter().flat_map(|wal| {
        let failed = wal.synced.failed.iter();
        let failed = failed.map(|(lacking, lost)| {
            format!("{} was not copied to {}: {}", lacking.key, lacking.to, lost.reason())
        });
        let unlisted = wal.synced.unlisted.iter();
        failed
            .chain(unlisted.map(|lost| format!("failed to list the WAL in {}: {}", lost.name, lost.reason())))
    });
    let reasons: Vec<String> = backups.chain(wal).chain(unreached.iter().cloned()).collect();
    let findings = match reasons.is_empty() {
        true => findings.over("copies".to_owned(), "every copy that could be completed is complete"),
        false => findings.firing(notice(
            "copies",
            "copies.failed",
            Severity::P2,
            format!("copies are incomplete: {}", joined(&reasons)),
            "What is not copied is lost with the one repository that has it.",
            "`drctl status` shows what each repository could give back; then `drctl copies sync` again",
        )),
    };
    let Some(first) = lost.first() else {
        return findings.over("copies/lost".to_owned(), "no backup is missing from every repository");
    };
    let backups = count(lost.len() as u64, "backup");
    findings.firing(notice(
        "copies/lost",
        "copies.lost",
        Severity::P1,
        format!("{backups} are in no repository any more, and were not removed by drctl, like {first}"),
        "They cannot be restored.",
        "look whether a bucket that keeps versions still has them; `drctl copies forget` records that they were removed on purpose",
    ))
}
