use super::fetch::ArtifactFetch;
use super::kinds::of_kind;
use super::method::RestoredContent;
use super::{
    ContentAftermath, ContentDetails, ContentRestoreError, ContentRestorePlan, ContentRestoreRequest,
};
use crate::event::Phase;
use crate::restore::teardown::not_of_this_method;
use crate::restore::{Executed, RestoreProgress, Restored, Stopped};
use crate::run::RunContext;

/// Restores the chain by the method of its kind. What a failed one made is left, and said.
pub(super) async fn execute(
    run: &RunContext,
    plan: &ContentRestorePlan,
    progress: &mut RestoreProgress<'_>,
) -> Executed<ContentRestoreRequest> {
    progress.begin(Phase::Load);
    let mut created = vec![];
    let restored = match of_kind(plan.kind) {
        Some(method) => {
            let fetch = ArtifactFetch::new(run, plan.bytes);
            method.restore(&fetch, plan, &mut created).await
        }
        None => Err(ContentRestoreError::Target(not_of_this_method())),
    };
    let left = created.first().map(ToString::to_string);
    progress.created.extend(created);
    let RestoredContent { counts, checks, left_out, notes, recovery_point } = restored.map_err(|error| {
        Stopped { error, aftermath: left.map_or(ContentAftermath::Nothing, ContentAftermath::Incomplete) }
    })?;
    progress.checks.extend(checks);
    Ok(Restored {
        to: plan.to.clone(),
        recovery_point: recovery_point.unwrap_or(plan.recovery_point),
        left_out,
        notes,
        details: ContentDetails { kind: plan.kind, counts },
    })
}
