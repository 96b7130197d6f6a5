use std::path::Path;

use chrono::{DateTime, Utc};
use futures_util::future::{join, join_all};

use super::{Area, DoctorFinding, archiving, aws_backup, caller, database, host, rds, repository};
use crate::iam::IamRole;
use crate::platform::{CancellationToken, Clock};
use crate::policy::{self, Lint, Policy, Source};
use crate::repository::Repositories;
use crate::repository::journal::LockProof;

/// What the checks showed.
#[derive(Debug, Default)]
pub struct Examined {
    /// By area.
    pub findings: Vec<DoctorFinding>,
    /// Of repositories whose locks could be tried.
    pub locks: Vec<LockProof>,
}

/// Runs all checks. `role`: the role to compare the caller's permissions with. Findings are ordered by area.
pub async fn examine(
    policy: &Policy,
    repositories: &Repositories,
    state: &Path,
    clock: &dyn Clock,
    role: IamRole,
    cancel: &CancellationToken,
) -> Examined {
    let told = |lint: Lint| {
        let at = lint.at.map(|at| format!("line {}, `{}`: ", at.line, lint.key)).unwrap_or_default();
        DoctorFinding::warning(Area::Policy, "", format!("{at}{}", lint.message), lint.hint)
    };
    let mut findings: Vec<_> =
        policy::lint(policy).into_iter().chain(policy::dormant(policy)).map(told).collect();
    if findings.is_empty() {
        findings.push(DoctorFinding::good(
            Area::Policy,
            "",
            "the policy is valid and can meet its objectives",
        ));
    }
    findings.extend(host::examine(policy, state));
    findings.extend(host::keys(policy));
    findings.extend(
        join_all(policy.sources.iter().map(|source| examine_source(policy, source, clock.now(), role)))
            .await
            .into_iter()
            .flatten(),
    );
    let vaults = policy.sources.iter().map(|source| aws_backup::examine(policy, source, clock.now()));
    findings.extend(join_all(vaults).await.into_iter().flatten());
    let logs = policy.sources.iter().map(|source| archiving::examine(&policy.system, source, repositories));
    findings.extend(join_all(logs).await.into_iter().flatten());
    // A second name of the same location is not tried again.
    let repositories = &repositories.clone().without_twins().await;
    let examining = policy
        .repositories
        .iter()
        .map(|config| repository::examine(policy, config, repositories, clock, cancel));
    let (of_repositories, locks): (Vec<_>, Vec<_>) = join_all(examining).await.into_iter().unzip();
    findings.extend(of_repositories.into_iter().flatten());
    Examined { findings, locks: locks.into_iter().flatten().collect() }
}

async fn examine_source(
    policy: &Policy,
    source: &Source,
    now: DateTime<Utc>,
    role: IamRole,
) -> Vec<DoctorFinding> {
    let Some(config) = source.rds() else {
        return database::examine(policy, source).await;
    };
    let subject = source.name.as_str();
    // Each of them may wait for a region that does not answer.
    let (mut findings, caller) = join(
        rds::examine(policy, source, config, now),
        caller::examine(policy, subject, &config.place, role),
    )
    .await;
    if let Some(login) = config.login.as_ref().filter(|login| login.logical.is_some()) {
        findings.extend(database::examine_postgres(policy, &source.name, login).await);
    }
    findings.extend(caller);
    findings
}
