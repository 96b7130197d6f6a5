use super::report::{BackupReport, PointReport};
use super::run::Run;
use crate::model::{Manifest, RepositoryName};
use crate::platform::host_name;
use crate::repository::{journal, run_record};
use crate::text::error_chain;

/// A manifest, and the repositories that have it.
pub(super) type CommittedBackup = (Manifest, Vec<RepositoryName>);

impl Run<'_> {
    /// Writes the journal's record, then the catalog's. A failure is a warning.
    pub(super) async fn record(&self, report: &BackupReport, manifests: &[CommittedBackup]) {
        let reasons = report.sources.iter().flat_map(|source| {
            let subject = source.subject();
            source.outcome.reasons().into_iter().map(move |reason| format!("{subject}: {reason}"))
        });
        let detail = journal::Detail {
            point: report
                .point
                .as_ref()
                .filter(|point| point.missing.len() < point.members.len())
                .map(recorded),
            backups: manifests.iter().map(|(manifest, _)| manifest.id.clone()).collect(),
            reasons: report.reasons().into_iter().chain(reasons).collect(),
            ..journal::Detail::default()
        };
        let times = (report.begun, report.ended);
        let record =
            journal::JournalRecord::new(&self.id, "backup", times, &host_name(), report.outcome, detail);
        match run_record::append(&self.repositories, &self.policy.system, record.clone()).await {
            Ok(lost) => {
                for lost in lost {
                    self.events.warning(format!(
                        "repository {} has no record of this run: {}",
                        lost.name,
                        lost.reason()
                    ));
                }
            }
            Err(error) => self.events.warning(format!("the run was not recorded: {}", error_chain(&error))),
        }
        let Some(catalog) = &self.catalog else { return };
        for (manifest, repositories) in manifests {
            if let Err(error) = catalog.record_backup(manifest, repositories).await {
                self.events.warning(format!(
                    "the catalog does not know {} yet: {}",
                    manifest.id,
                    error_chain(&error)
                ));
            }
        }
        if let Err(error) = catalog.record_run(&record).await {
            self.events.warning(format!("the catalog does not know this run: {}", error_chain(&error)));
        }
    }
}

fn recorded(point: &PointReport) -> journal::PointRecord {
    journal::PointRecord {
        mode: point.mode,
        members: point.members.clone(),
        missing: point.missing.clone(),
        spread_seconds: point.spread_seconds,
        paused_seconds: point.paused_seconds,
    }
}
