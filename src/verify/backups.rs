//! Verifies stored backups by reading every byte of every copy again.

use super::cloud::{CloudFinding, kept};
use super::finding::{CopyVerdict, VerifyFinding};
use super::plan::{VerifyItem, VerifyPlan};
use super::read_copy::{Examined, examine};
use super::wal;
use super::wal::{WalFinding, WalItem};
use crate::event::{Event, Phase};
use crate::model::{CheckDepth, CopyCheck, Manifest, Outcome};
use crate::pipeline::Identities;
use crate::policy::Source;
use crate::repository::journal::Detail;
use crate::repository::{Unavailable, layout};
use crate::run::RunContext;

/// The verb of the journal's records.
pub const VERB: &str = "verify";

#[derive(Debug)]
pub struct VerifyReport {
    pub findings: Vec<VerifyFinding>,
    pub logs: Vec<(WalItem, WalFinding)>,
    /// The findings on AWS-managed backups.
    pub kept: Vec<CloudFinding>,
    pub interrupted: bool,
    /// Repositories that did not store the journal's record.
    pub unrecorded: Vec<Unavailable>,
}

impl VerifyReport {
    pub fn is_good(&self) -> bool {
        !self.interrupted
            && self.findings.iter().all(VerifyFinding::is_good)
            && self.logs.iter().all(|(_, finding)| finding.is_good())
            && self.kept.iter().all(CloudFinding::is_good)
    }
}

/// Reads everything in the plan, and records the findings.
///
/// Without identities the stored bytes are compared with their digests; with some, they are also decrypted
/// and decompressed, and the plain bytes compared. `sources`: of the policy, with the access to AWS.
pub async fn execute(
    run: &RunContext,
    plan: VerifyPlan,
    sources: &[Source],
    identities: &Identities,
) -> VerifyReport {
    let mut findings = plan.found;
    run.events.emit(&Event::RunBegan { run: run.id.clone(), verb: VERB });
    for item in plan.copies {
        if run.cancel.is_cancelled() {
            break;
        }
        findings.push(check(run, &item, identities).await);
    }
    let kept = match plan.cloud.is_empty() {
        true => vec![],
        false => kept(sources, &run.system, &plan.cloud, &run.tombstones().await).await,
    };
    let mut logs = Vec::new();
    for item in plan.logs {
        if run.cancel.is_cancelled() {
            break;
        }
        let finding = wal::read(run, &item, identities).await;
        logs.push((item, finding));
    }
    let interrupted = run.cancel.is_cancelled();
    let checks: Vec<_> = findings
        .iter()
        .filter_map(|finding| match &finding.verdict {
            CopyVerdict::Checked(check) => Some(check.clone()),
            CopyVerdict::Unaccepted { .. }
            | CopyVerdict::Missing { .. }
            | CopyVerdict::Undetermined { .. } => None,
        })
        .collect();
    let reasons = findings.iter().flat_map(|finding| {
        let mut told = match &finding.verdict {
            CopyVerdict::Checked(_) => Vec::new(),
            CopyVerdict::Unaccepted { reason } | CopyVerdict::Missing { reason } => {
                told_of(finding, std::slice::from_ref(reason))
            }
            CopyVerdict::Undetermined { reasons } => told_of(finding, reasons),
        };
        told.extend(finding.broken.iter().flat_map(|broken| told_of(finding, &[broken.to_string()])));
        told
    });
    let of_logs = logs.iter().flat_map(|(item, finding)| {
        let told = |reason| format!("{}: WAL of {}: {reason}", item.repository, item.source);
        finding.faults.iter().chain(&finding.unread).map(told).collect::<Vec<_>>()
    });
    let any = |copy: fn(&CopyVerdict) -> bool, log: fn(&WalFinding) -> bool| {
        findings.iter().any(|finding| copy(&finding.verdict)) || logs.iter().any(|(_, finding)| log(finding))
    };
    let outcome = match () {
        () if interrupted => Outcome::Interrupted,
        () if any(CopyVerdict::is_bad, WalFinding::is_bad) || kept.iter().any(CloudFinding::is_bad) => {
            Outcome::Failed
        }
        () if any(|verdict| !verdict.is_good(), |log| !log.is_good())
            || !kept.iter().all(CloudFinding::is_good) =>
        {
            Outcome::Degraded
        }
        () => Outcome::Succeeded,
    };
    let of_aws = kept.iter().filter_map(CloudFinding::told);
    let reasons = reasons.chain(of_logs).chain(of_aws).collect();
    let at = run.clock.now();
    let log_checks = logs.iter().filter_map(|(item, finding)| item.check(finding, at)).collect();
    let detail = Detail { checks, log_checks, reasons, ..Detail::default() };
    let unrecorded = run.conclude(VERB, outcome, detail).await;
    VerifyReport { findings, logs, kept, interrupted, unrecorded }
}

fn told_of(finding: &VerifyFinding, reasons: &[String]) -> Vec<String> {
    let told = |reason| format!("{}: {}: {reason}", finding.repository, finding.backup);
    reasons.iter().map(told).collect()
}

async fn check(run: &RunContext, item: &VerifyItem, identities: &Identities) -> VerifyFinding {
    let (backup, name) = (&item.manifest.id, &item.repository);
    let finding = |verdict, not_opened| VerifyFinding {
        backup: backup.clone(),
        repository: name.clone(),
        verdict,
        broken: item.broken.clone(),
        not_opened,
    };
    let Some(repository) = run.repositories.find(name) else {
        let lost = run.repositories.lost().iter().find(|lost| lost.name == *name);
        let reason =
            lost.map_or_else(|| "it is not one of the policy's repositories".to_owned(), Unavailable::reason);
        return finding(CopyVerdict::Undetermined { reasons: vec![reason] }, false);
    };
    run.events.emit(&Event::PhaseBegan { phase: Phase::Verify });
    let subject = format!("{name} {backup}");
    let total = item.manifest.stored_size();
    let done = std::sync::atomic::AtomicU64::new(0);
    let seen = |object: &str, good: bool| {
        let (repository, backup, object) = (name.clone(), backup.clone(), object.to_owned());
        let objects = item.manifest.artifacts.iter().flat_map(|artifact| &artifact.objects);
        let size = objects.filter(|known| known.name == object).map(|known| known.stored.size).sum();
        let bytes = done.fetch_add(size, std::sync::atomic::Ordering::Relaxed) + size;
        run.events.emit(&Event::ObjectChecked { repository, backup, object, good });
        let subject = subject.clone();
        run.events.emit(&Event::Progress { subject, bytes, total: Some(total), estimated: false });
    };
    let Examined { faults, unread, depth, not_opened } =
        examine(repository, &item.manifest, identities, &run.cancel, &seen).await;
    if faults.is_empty() && !unread.is_empty() {
        return finding(CopyVerdict::Undetermined { reasons: unread }, not_opened);
    }
    let check = CopyCheck {
        backup: backup.clone(),
        repository: name.clone(),
        at: run.clock.now(),
        depth: depth.unwrap_or(CheckDepth::Stored),
        faults,
    };
    finding(CopyVerdict::Checked(check), not_opened)
}

/// Returns the key of a copy's object, for messages to an operator.
pub fn place(manifest: &Manifest, object: &str) -> String {
    layout::object(&manifest.system, &manifest.id, object)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::model::{AssuranceLevel, CopyFault};
    use crate::pipeline::NewIdentity;
    use crate::repository::journal;
    use crate::verify::fixtures::TestBench;

    async fn verify(bench: &TestBench, identities: &Identities) -> VerifyReport {
        let plan = bench.verify_plan().await;
        execute(&bench.run, plan, &[], identities).await
    }

    fn faults(report: &VerifyReport) -> Vec<(String, String, CopyFault)> {
        let checks = report.findings.iter().filter_map(|finding| match &finding.verdict {
            CopyVerdict::Checked(check) => Some(check),
            CopyVerdict::Unaccepted { .. }
            | CopyVerdict::Missing { .. }
            | CopyVerdict::Undetermined { .. } => None,
        });
        checks
            .flat_map(|check| {
                let named = |fault: &crate::model::ObjectFault| {
                    (check.repository.to_string(), fault.object.clone(), fault.fault)
                };
                check.faults.iter().map(named).collect::<Vec<_>>()
            })
            .collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_good_backup_becomes_checked_in_the_catalog_and_in_the_journal() {
        let bench = TestBench::new(&["primary", "copy"]).await;
        bench.store(0, &["primary", "copy"]).await;
        let report = verify(&bench, &Identities::default()).await;
        assert!(report.is_good(), "{report:?}");
        assert_eq!(report.findings.len(), 2);
        for copy in &bench.entries().await[0].copies {
            assert_eq!(copy.state, AssuranceLevel::Checked);
            assert_eq!(copy.last_check.as_ref().unwrap().depth, CheckDepth::Stored);
        }
        for repository in bench.run.repositories.iter() {
            let (record, _) =
                journal::read(&*repository.store, &bench.run.system, &bench.run.id).await.unwrap();
            assert_eq!((record.outcome, record.detail.checks.len()), (Outcome::Succeeded, 2));
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn with_an_identity_the_plain_bytes_are_compared() {
        let bench = TestBench::new(&["primary"]).await;
        bench.store(0, &["primary"]).await;
        let report = verify(&bench, &bench.identity.identities()).await;
        let CopyVerdict::Checked(check) = &report.findings[0].verdict else { panic!("{report:?}") };
        assert!(check.is_good() && check.depth == CheckDepth::Plain, "{check:?}");

        // Another key opens nothing, which says nothing against the backup.
        let report = verify(&bench, &NewIdentity::generate().identities()).await;
        assert!(report.findings[0].not_opened && report.findings[0].verdict.is_good(), "{report:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn each_bad_object_of_each_copy_is_named() {
        let bench = TestBench::new(&["primary", "copy"]).await;
        let manifest = bench.store(0, &["primary", "copy"]).await;
        let names: Vec<_> = manifest.artifacts[0].objects.iter().map(|object| object.name.clone()).collect();
        let details = &manifest.artifacts[1].name;
        let change = |object: &str, change: fn(&mut Vec<u8>)| {
            let path = bench.path("copy", &manifest, object);
            let mut bytes = fs::read(&path).unwrap();
            change(&mut bytes);
            fs::write(path, bytes).unwrap();
        };
        change(&names[0], |bytes| bytes[25_000] ^= 1);
        change(&names[1], |bytes| bytes.truncate(7));
        change(details, |bytes| bytes.push(0));
        fs::remove_file(bench.path("copy", &manifest, &names[2])).unwrap();
        for identities in [Identities::default(), bench.identity.identities()] {
            let report = verify(&bench, &identities).await;
            let at_copy = |name: &str, fault| ("copy".to_owned(), name.to_owned(), fault);
            let expected = [
                at_copy(&names[0], CopyFault::Altered),
                at_copy(&names[1], CopyFault::Short),
                at_copy(&names[2], CopyFault::Missing),
                at_copy(details, CopyFault::Long),
            ];
            assert_eq!(faults(&report), expected);
        }
        let entry = bench.entries().await.remove(0);
        assert_eq!(entry.state(), Some(AssuranceLevel::Checked));
        assert!(!entry.copy(&"copy".parse().unwrap()).unwrap().is_good());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_manifest_that_lies_about_the_plain_bytes_is_found_with_a_key() {
        let bench = TestBench::new(&["primary"]).await;
        let manifest = bench.store(0, &["primary"]).await;
        let mut lying = manifest.clone();
        lying.artifacts[1].plain = crate::model::Digest::compute(b"something else");
        let path = bench.path("primary", &manifest, layout::MANIFEST);
        fs::write(path, serde_json::to_vec(&lying).unwrap()).unwrap();
        let report = verify(&bench, &bench.identity.identities()).await;
        let expected = ("primary".to_owned(), lying.artifacts[1].name.clone(), CopyFault::Undecodable);
        assert_eq!(faults(&report), [expected]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_cannot_be_reached_is_neither_good_nor_bad() {
        let bench = TestBench::new(&["primary", "copy"]).await;
        bench.store(0, &["primary", "copy"]).await;
        let plan = bench.verify_plan().await;
        fs::rename(bench.root.path().join("copy"), bench.root.path().join("away")).unwrap();
        let report = execute(&bench.run, plan, &[], &Identities::default()).await;
        let copy = report.findings.iter().find(|finding| finding.repository.as_str() == "copy").unwrap();
        assert!(matches!(copy.verdict, CopyVerdict::Undetermined { .. }), "{copy:?}");
        assert!(!report.is_good());
        assert_eq!(report.unrecorded.len(), 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_interrupted_check_proves_nothing() {
        let bench = TestBench::new(&["primary"]).await;
        bench.store(0, &["primary"]).await;
        let item = bench.verify_plan().await.copies.remove(0);
        bench.run.cancel.cancel();
        let finding = check(&bench.run, &item, &Identities::default()).await;
        assert!(matches!(finding.verdict, CopyVerdict::Undetermined { .. }), "{finding:?}");
    }
}
