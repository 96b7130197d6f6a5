use std::path::Path;

use futures_util::future::join_all;

use super::{Area, Finding, database, host, log, repository, vault};
use crate::platform::Clock;
use crate::policy::{self, Policy};
use crate::repository::Repositories;

/// Looks at everything. Findings come in the order of the areas.
pub async fn examine(
    policy: &Policy,
    repositories: &Repositories,
    state: &Path,
    clock: &dyn Clock,
) -> Vec<Finding> {
    let mut findings: Vec<_> = policy::lint(policy)
        .into_iter()
        .map(|lint| Finding::warning(Area::Policy, "", lint.message, lint.hint))
        .collect();
    if findings.is_empty() {
        findings.push(Finding::good(Area::Policy, "", "the policy is valid and can meet its objectives"));
    }
    findings.extend(host::examine(policy, state));
    findings.extend(host::keys(policy));
    findings.extend(
        join_all(policy.sources.iter().map(|source| database::examine(source, policy.objectives.rpo)))
            .await
            .into_iter()
            .flatten(),
    );
    let vaults = policy.sources.iter().map(|source| vault::examine(policy, source, clock.now()));
    findings.extend(join_all(vaults).await.into_iter().flatten());
    let logs = policy.sources.iter().map(|source| log::examine(&policy.system, source, repositories));
    findings.extend(join_all(logs).await.into_iter().flatten());
    findings.extend(
        join_all(
            policy.repositories.iter().map(|config| repository::examine(policy, config, repositories, clock)),
        )
        .await
        .into_iter()
        .flatten(),
    );
    findings
}
