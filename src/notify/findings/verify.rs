use std::collections::BTreeSet;

use super::{Findings, Occasion, joined};
use crate::catalog::Notice;
use crate::model::{BackupId, SourceName};
use crate::policy::{Job, Severity};
use crate::text::count;
use crate::verify::backups::VerifyReport;
use crate::verify::finding::VerifyFinding;

/// What a verification read.
#[derive(Clone, Debug, Default)]
pub struct VerifiedScope {
    /// The sources that it read.
    pub sources: Vec<SourceName>,
    /// `None`: all of them. A part like `latest` has a notice of its own, so that it is over when that part is good.
    pub part: Option<String>,
    /// Every part there is: all of them are good when everything is.
    pub parts: Vec<String>,
}

impl VerifiedScope {
    fn key(source: &SourceName, part: Option<&str>) -> String {
        part.map_or_else(|| format!("verify/{source}"), |part| format!("verify/{source}/{part}"))
    }

    /// Returns the keys that are over when what was read of a source is good.
    fn over(&self, source: &SourceName) -> Vec<String> {
        match &self.part {
            Some(part) => vec![Self::key(source, Some(part))],
            None => {
                let parts = self.parts.iter().map(|part| Self::key(source, Some(part)));
                std::iter::once(Self::key(source, None)).chain(parts).collect()
            }
        }
    }
}

/// Returns what a verification tells. `scope` is `None` for backups that were named one by one: who named them sees the
/// result, and `drctl status` reports copies that are bad.
pub fn verify(report: &VerifyReport, scope: Option<&VerifiedScope>, occasion: Occasion<'_>) -> Findings {
    let mut findings = Findings::default();
    if report.interrupted {
        return findings;
    }
    findings = findings.concluded(Job::Verify);
    let Some(scope) = scope else { return findings };
    let sources: BTreeSet<&SourceName> = report
        .findings
        .iter()
        .map(|finding| finding.backup.source())
        .chain(report.logs.iter().map(|(item, _)| &item.source))
        .chain(report.kept.iter().map(|finding| finding.backup.source()))
        .chain(&scope.sources)
        .collect();
    for source in sources {
        let key = VerifiedScope::key(source, scope.part.as_deref());
        let reasons = reasons(report, source);
        if reasons.is_empty() {
            let good = format!("every copy of {source} that was read is good");
            findings = scope.over(source).into_iter().fold(findings, |all, key| all.over(key, good.clone()));
            continue;
        }
        let lost = without_good_copy(report, source);
        let (severity, impact) = match lost.as_slice() {
            [] => (
                Severity::P2,
                "The backups concerned can be restored from other copies only, as far as they were read."
                    .to_owned(),
            ),
            [first, ..] => {
                let backups = count(lost.len() as u64, "backup");
                (Severity::P1, format!("No copy that was read is intact of {backups}, like {first}."))
            }
        };
        findings = findings.firing(Notice {
            key,
            event: "verify.failed".to_owned(),
            severity,
            source: Some(source.clone()),
            headline: format!("copies of {source} are not known to be good: {}", joined(&reasons)),
            impact,
            action:
                "`drctl copies sync` repairs a copy from one that is intact; `drctl verify` reads all again"
                    .to_owned(),
            run: Some(occasion.run.clone()),
        });
    }
    findings
}

fn reasons(report: &VerifyReport, source: &SourceName) -> Vec<String> {
    let of_source = |finding: &&VerifyFinding| finding.backup.source() == source && !finding.is_good();
    let copies = report.findings.iter().filter(of_source).map(|finding| {
        let word = if finding.is_bad() { "is bad" } else { "is missing, or could not be read" };
        format!("{} {word} in {}", finding.backup, finding.repository)
    });
    let logs = report.logs.iter().filter(|(item, finding)| item.source == *source && !finding.is_good());
    let logs = logs.map(|(item, finding)| {
        let why: Vec<String> = finding.faults.iter().chain(&finding.unread).cloned().collect();
        format!("WAL in {}: {}", item.repository, joined(&why))
    });
    let kept = report.kept.iter().filter(|finding| finding.backup.source() == source && !finding.is_good());
    let kept = kept.map(|finding| {
        let why = finding.why().map(|why| format!(": {why}")).unwrap_or_default();
        format!("{} in {} is not as it should be{why}", finding.backup, finding.region)
    });
    copies.chain(logs).chain(kept).collect()
}

/// Returns the backups that are bad, and of which no other copy was found good.
fn without_good_copy<'r>(report: &'r VerifyReport, source: &SourceName) -> Vec<&'r BackupId> {
    let own = || report.findings.iter().filter(|finding| finding.backup.source() == source);
    let good: BTreeSet<&BackupId> =
        own().filter(|finding| finding.is_good()).map(|finding| &finding.backup).collect();
    let bad: BTreeSet<&BackupId> =
        own().filter(|finding| finding.is_bad()).map(|finding| &finding.backup).collect();
    bad.difference(&good).copied().collect()
}
