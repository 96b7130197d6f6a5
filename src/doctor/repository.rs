use std::path::Path;

use chrono::TimeDelta;

use super::{Area, DoctorFinding, FindingSeverity};
use crate::platform::{CancellationToken, Clock, free_space};
use crate::policy::{Policy, RepositoryConfig, RepositoryLocation};
use crate::recoverability::lifecycle::{LifecycleNeeds, lifecycle_conflicts};
use crate::repository::journal::LockProof;
use crate::repository::store_probe::capability::{Capabilities, Capability, ChecksumProbe, probe};
use crate::repository::store_probe::lock::{LockProbe, probe_lock};
use crate::repository::{MarkerError, Repositories, RepositoryMarker, layout};
use crate::store::{Store, StoreErrorKind};
use crate::text::error_chain;

/// Few databases worth a backup fit into less.
const LITTLE_SPACE: u64 = 1 << 30;
/// A clock that is off by this much will drift further; [`crate::backup`] refuses at five minutes.
const SKEW: TimeDelta = TimeDelta::seconds(30);

/// Tries one repository of the policy, and the lock that the policy asks for.
pub(super) async fn examine(
    policy: &Policy,
    config: &RepositoryConfig,
    repositories: &Repositories,
    clock: &dyn Clock,
    cancel: &CancellationToken,
) -> (Vec<DoctorFinding>, Option<LockProof>) {
    let mut findings = examine_store(policy, config, repositories, clock, cancel).await;
    let is_at_fault = findings.iter().any(|finding| finding.severity == FindingSeverity::Fault);
    let repository = repositories.find(&config.name).filter(|_| !is_at_fault);
    if let Some(repository) = repository {
        findings.extend(lifecycle(policy, config, &*repository.store).await);
    }
    let Some((lock, repository)) = config.place.object_lock().zip(repository) else {
        return (findings, None);
    };
    let tried = probe_lock(&*repository.store, lock.mode, cancel).await;
    findings.extend(lock_findings(config.name.as_str(), &tried));
    let refuted = match &tried.refuses {
        Capability::Yes => Some(None),
        Capability::No(why) => Some(Some(why.clone())),
        Capability::Unknown(_) => None,
    };
    let proof = refuted.map(|refuted| LockProof {
        repository: config.name.clone(),
        location: config.place.location(),
        mode: Some(lock.mode.as_str().to_owned()),
        refuted,
    });
    (findings, proof)
}

/// Reports rules of the bucket that remove what the policy keeps.
async fn lifecycle(policy: &Policy, config: &RepositoryConfig, store: &dyn Store) -> Vec<DoctorFinding> {
    let name = config.name.as_str();
    let Some(admin) = store.admin() else { return vec![] };
    let rules = match admin.lifecycle().await {
        Ok(rules) => rules,
        Err(error) => {
            let text = format!("by which rules the bucket removes objects is not known: {error}");
            return vec![DoctorFinding::note(Area::Repository, name, text)];
        }
    };
    let needs = LifecycleNeeds::new(policy.retention.as_ref(), &config.name, None);
    let conflicts = lifecycle_conflicts(&rules, &policy.system, &needs).into_iter();
    conflicts
        .map(|conflict| match conflict.loses_backups {
            true => DoctorFinding::fault(
                Area::Repository,
                name,
                conflict.message,
                "Remove the rule from the bucket: `drctl retention apply` removes what the policy does not keep.",
            ),
            false => DoctorFinding::warning(
                Area::Repository,
                name,
                conflict.message,
                match conflict.is_of_tags {
                    true => "drctl gives objects no tags: give them none, or leave the repository out of the rule.",
                    false => "Have the rule wait longer than the policy keeps backups.",
                },
            ),
        })
        .collect()
}

fn lock_findings(name: &str, tried: &LockProbe) -> Vec<DoctorFinding> {
    let mut findings = vec![match &tried.refuses {
        Capability::Yes => DoctorFinding::good(
            Area::Repository,
            name,
            "it refuses to delete what is locked: this copy counts as immutable",
        ),
        Capability::No(why) => DoctorFinding::fault(
            Area::Repository,
            name,
            format!("its lock protects nothing: {why}"),
            "Do not count on it: use another store, or deny every host the permission to delete.",
        ),
        Capability::Unknown(why) => DoctorFinding::warning(
            Area::Repository,
            name,
            format!("whether it refuses to delete what is locked is not known: {why}"),
            "Run `drctl doctor` once with credentials that may write, lock and delete versions below `.drctl-probe/`: only a lock that was tried counts.",
        ),
    }];
    if let (Capability::Yes, Capability::No(why)) = (&tried.refuses, &tried.reveals) {
        findings.push(DoctorFinding::warning(
            Area::Repository,
            name,
            format!("what a delete marker hides does not come back: {why}"),
            "An intruder can hide every backup there although none can be deleted: deny the permission to delete, too.",
        ));
    }
    findings
}

async fn examine_store(
    policy: &Policy,
    config: &RepositoryConfig,
    repositories: &Repositories,
    clock: &dyn Clock,
    cancel: &CancellationToken,
) -> Vec<DoctorFinding> {
    let name = config.name.as_str();
    let Some(repository) = repositories.find(&config.name) else {
        let reason = repositories.lost().iter().find(|lost| lost.name == config.name);
        let reason = reason.map_or_else(|| "it could not be opened".to_owned(), |lost| lost.reason());
        return vec![DoctorFinding::fault(
            Area::Repository,
            name,
            reason,
            "Check its settings in the policy.",
        )];
    };
    if let Some(misplaced) = repositories.misplaced().iter().find(|misplaced| misplaced.name == config.name) {
        return vec![DoctorFinding::fault(
            Area::Repository,
            name,
            misplaced.reason(),
            "Give it a directory of its own, best on another disk. What it holds can be restored, and nothing is written to it.",
        )];
    }
    let mut findings = vec![];
    match RepositoryMarker::read(&*repository.store).await {
        Ok(None) if repositories.remembered().marked.contains_key(&config.name) => {
            let location = repository.store.location();
            findings.push(DoctorFinding::fault(
                Area::Repository,
                name,
                format!("{location} was repository `{name}`, and no longer has its marker"),
                format!("Is its file system not mounted, is it another bucket or prefix, or was it emptied? `drctl repository create {name}` recreates it if that is intended."),
            ));
            // Nothing is written to what may be the disk below a mount point.
            return findings;
        }
        Ok(None) => {
            let text =
                format!("{} is empty: the first backup makes it a repository", repository.store.location());
            findings.push(DoctorFinding::note(Area::Repository, name, text));
        }
        Ok(Some(marker)) => {
            let known = repositories.id().or(repositories.remembered().id.as_deref());
            let judged = marker
                .check(&*repository.store, &policy.system, known)
                .and_then(|()| marker.check_writable(&*repository.store));
            if let Err(error) = judged {
                findings.push(DoctorFinding::fault(
                    Area::Repository,
                    name,
                    error_chain(&error),
                    "Give this system a bucket or prefix of its own, or use the version of drctl that wrote it.",
                ));
                // It belongs to another system: nothing is tried in it.
                return findings;
            }
        }
        Err(error) => {
            findings.push(DoctorFinding::fault(Area::Repository, name, error_chain(&error), remedy(&error)));
            return findings;
        }
    }
    match probe(&*repository.store, || clock.now(), cancel).await {
        Ok(found) => findings.extend(judge(config, &found)),
        Err(error) => findings.push(DoctorFinding::fault(
            Area::Repository,
            name,
            error_chain(&error),
            "Grant the role permission to write, read and list, and check that the store answers.",
        )),
    }
    findings
}

fn remedy(error: &MarkerError) -> &'static str {
    let kind = match error {
        MarkerError::Read(error) | MarkerError::Write(error) | MarkerError::ByHand(error) => Some(error.kind),
        _ => None,
    };
    match kind {
        Some(StoreErrorKind::NoBucket) => "Create the bucket or directory; drctl does not.",
        Some(StoreErrorKind::Credentials) => {
            "Check `credentials`: which keys are meant, and are they still valid?"
        }
        Some(StoreErrorKind::Forbidden) => {
            "Grant the role s3:ListBucket on the bucket, and s3:GetObject and s3:PutObject below the prefix."
        }
        Some(StoreErrorKind::ClockSkew) => "Set this host's clock: run an NTP client.",
        Some(StoreErrorKind::Unreachable | StoreErrorKind::Unavailable) => {
            "Check endpoint, region and network; backups go to the other repositories meanwhile."
        }
        _ => "Check its settings in the policy.",
    }
}

fn judge(config: &RepositoryConfig, found: &Capabilities) -> Vec<DoctorFinding> {
    let name = config.name.as_str();
    let mut findings = vec![];
    let good = |text: &str| DoctorFinding::good(Area::Repository, name, text);
    let mut ability = |ability: &Capability, does: &str, lacks: &str, remedy: &str, is_fault: bool| {
        findings.push(match ability {
            Capability::Yes => good(does),
            Capability::No(why) if is_fault => {
                DoctorFinding::fault(Area::Repository, name, format!("{lacks}: {why}"), remedy)
            }
            Capability::No(why) => {
                DoctorFinding::warning(Area::Repository, name, format!("{lacks}: {why}"), remedy)
            }
            Capability::Unknown(why) => DoctorFinding::warning(
                Area::Repository,
                name,
                format!("could not determine whether {}: {why}", does.replace("it ", "the store ")),
                "Retry; if it persists, check the store's own log.",
            ),
        });
    };
    ability(
        &found.multipart,
        "it supports multipart uploads",
        "it does not support multipart uploads",
        "A backup larger than one part cannot be stored here. Use another store.",
        true,
    );
    ability(
        &found.ranged_reads,
        "it supports range reads",
        "it does not support range reads",
        "A restore needs range reads. Use another store.",
        true,
    );
    ability(
        &found.lists_at_once,
        "it lists an object as soon as it is written",
        "its listings are late",
        "`drctl list` and `restore` may miss the newest backup here for a while.",
        false,
    );
    ability(
        &found.conditional_put,
        "it rejects conditional overwrites",
        "it overwrites despite the condition",
        "drctl never writes a key twice, but the store does not enforce it. Use versioning, or another store.",
        false,
    );
    ability(
        &found.conditional_multipart,
        "it rejects conditional overwrites by a multipart upload",
        "it overwrites by a multipart upload despite the condition",
        "drctl never writes a key twice, but the store does not enforce it. Use versioning, or another store.",
        false,
    );
    ability(
        &found.compare_and_swap,
        "it supports compare-and-swap, so leases hold",
        "it does not support compare-and-swap",
        "Two hosts may back up the same source at once: run backups from one host, or use another primary.",
        false,
    );
    ability(
        &found.pending_uploads,
        "incomplete multipart uploads can be listed and aborted",
        "incomplete multipart uploads cannot be listed",
        "Set a lifecycle rule that aborts incomplete uploads after a week, or those of killed runs are billed for ever.",
        false,
    );
    findings.push(match &found.deletes {
        Capability::Yes => DoctorFinding::note(
            Area::Repository,
            name,
            "this host may delete backups, and so can an intruder (an object lock or a role without s3:DeleteObject prevents that)",
        ),
        _ => good("this host may not delete backups"),
    });
    if found.left_objects > 0 {
        let text = format!(
            "{} with {} bytes remain below `{}`, which this host may not delete; the next `drctl doctor` writes the same ones",
            match found.left_objects {
                1 => "1 object".to_owned(),
                several => format!("{several} objects"),
            },
            found.left_bytes,
            layout::probes()
        );
        findings.push(DoctorFinding::note(Area::Repository, name, text));
    }
    findings.extend(proof(config, found));
    findings.extend(protection(config, found));
    findings.push(clock(name, found));
    findings
}

/// Reports what the store verifies on arrival, in addition to the digests that drctl compares itself.
fn proof(config: &RepositoryConfig, found: &Capabilities) -> Option<DoctorFinding> {
    let RepositoryLocation::S3(place) = &config.place else { return None };
    checksum_finding(config.name.as_str(), place.checksum.as_str(), &found.checksums)
}

fn checksum_finding(name: &str, wanted: &str, found: &[ChecksumProbe]) -> Option<DoctorFinding> {
    let asked = found.iter().find(|checksum| checksum.checksum == wanted)?;
    let better = found.iter().find(|checksum| checksum.compared.is_yes());
    // An error that the store returns for any request, for example when it is overloaded, is no evidence
    // about a checksum.
    let unknown = match (&asked.taken, &asked.compared) {
        (Capability::Unknown(reason), _) | (Capability::Yes, Capability::Unknown(reason)) => Some(reason),
        _ => None,
    };
    if let Some(reason) = unknown {
        return Some(DoctorFinding::warning(
            Area::Repository,
            name,
            format!("whether it verifies uploads by the policy's checksum `{wanted}` is not known: {reason}"),
            "Run `drctl doctor` again when the store answers without errors; leave `checksum` as it is.",
        ));
    }
    Some(match (&asked.compared, better) {
        (Capability::Yes, _) => {
            DoctorFinding::good(Area::Repository, name, format!("it verifies uploads by their {wanted}"))
        }
        (_, Some(better)) => DoctorFinding::warning(
            Area::Repository,
            name,
            format!("it does not verify uploads by the policy's checksum `{wanted}`"),
            format!("Set `checksum = \"{}\"`, which it verifies.", better.checksum),
        ),
        (_, None) => DoctorFinding::warning(
            Area::Repository,
            name,
            "it verifies no checksum of uploads",
            "Run `drctl verify` after each backup, or use another store: only that detects damage in transit.",
        ),
    })
}

fn protection(config: &RepositoryConfig, found: &Capabilities) -> Vec<DoctorFinding> {
    let name = config.name.as_str();
    let place = match &config.place {
        RepositoryLocation::S3(place) => place,
        RepositoryLocation::Directory(root) => return directory(name, root),
    };
    let mut findings = vec![];
    match (place.object_lock, found.guard.locks_objects) {
        (Some(_), Some(true)) => {
            findings.push(DoctorFinding::good(Area::Repository, name, "the bucket locks objects"))
        }
        (Some(_), _) => findings.push(DoctorFinding::fault(
            Area::Repository,
            name,
            "the policy asks for an object lock, and the bucket does not say that it can",
            "Recreate the bucket with object lock enabled, or remove `object_lock` from the policy.",
        )),
        (None, Some(true)) => findings.push(DoctorFinding::note(
            Area::Repository,
            name,
            "the bucket can lock objects and the policy does not ask for it (`object_lock`)",
        )),
        (None, _) => findings.push(DoctorFinding::note(
            Area::Repository,
            name,
            "objects are not locked: this copy is not the immutable one of a 3-2-1-1-0 plan",
        )),
    }
    if found.guard.keeps_versions == Some(false) {
        findings.push(DoctorFinding::note(
            Area::Repository,
            name,
            "the bucket does not keep versions: a delete is final",
        ));
    }
    findings
}

fn directory(name: &str, root: &Path) -> Vec<DoctorFinding> {
    let unguarded =
        format!("{} is a directory: write access to it is enough to delete backups", root.display());
    let mut findings = vec![DoctorFinding::note(Area::Repository, name, unguarded)];
    match free_space(root) {
        Ok(free) if free < LITTLE_SPACE => findings.push(DoctorFinding::warning(
            Area::Repository,
            name,
            format!("{} has {} MiB left", root.display(), free >> 20),
            "Free space for the next backup: one that does not fit is rolled back, and the run ends degraded.",
        )),
        Ok(free) => {
            findings.push(DoctorFinding::good(
                Area::Repository,
                name,
                format!("{} MiB are left in it", free >> 20),
            ));
        }
        Err(_) => {}
    }
    findings
}

fn clock(name: &str, found: &Capabilities) -> DoctorFinding {
    let seconds = found.skew_seconds;
    if TimeDelta::seconds(seconds).abs() <= SKEW {
        return DoctorFinding::good(
            Area::Repository,
            name,
            format!("this host's clock agrees with it to {} s", seconds.abs().max(1)),
        );
    }
    let direction = if seconds > 0 { "ahead of" } else { "behind" };
    let text = format!("this host's clock is {} s {direction} the store's", seconds.abs());
    DoctorFinding::warning(
        Area::Repository,
        name,
        text,
        "Run an NTP client: from five minutes on backups are rejected.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probed(checksum: &'static str, taken: Capability, compared: Capability) -> ChecksumProbe {
        ChecksumProbe { checksum, taken, compared }
    }

    #[test]
    fn another_checksum_is_advised_only_where_the_store_refused_the_policys_own() {
        let unknown = || Capability::Unknown("the store answered that it cannot do it now".to_owned());
        let no = || Capability::No("it is not taken at all".to_owned());
        let other = probed("crc32c", Capability::Yes, Capability::Yes);
        let found = |taken, compared| {
            let probes = [probed("crc64nvme", taken, compared), other.clone()];
            checksum_finding("primary", "crc64nvme", &probes).unwrap()
        };
        for finding in [found(unknown(), unknown()), found(Capability::Yes, unknown())] {
            assert!(finding.message.contains("is not known"), "{finding:?}");
            assert!(!finding.remedy.unwrap().contains("crc32c"));
        }
        for finding in [found(no(), unknown()), found(Capability::Yes, no())] {
            assert!(finding.remedy.as_ref().unwrap().contains("crc32c"), "{finding:?}");
        }
        assert_eq!(found(Capability::Yes, Capability::Yes).severity, FindingSeverity::Good);
    }
}
