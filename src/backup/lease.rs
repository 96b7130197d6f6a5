use std::sync::Arc;
use std::time::Duration;

use super::PlannedSource;
use super::run::Run;
use crate::platform::CancellationToken;
use crate::repository::layout;
use crate::repository::lease::{self, Acquired};
use crate::store::{StoreError, StoreErrorKind};
use crate::text::{error_chain, format_duration};

/// A longer wait is reported.
const QUIET_WAIT: Duration = Duration::from_secs(3);

impl Run<'_> {
    /// Acquires the lease of the source, in the first reachable repository, primary first, where every host
    /// looks.
    pub(super) async fn lease(
        &self,
        planned: &PlannedSource,
        lost: &CancellationToken,
    ) -> Result<Acquired, StoreError> {
        let key = layout::lease(&self.policy.system, planned.source.name.as_str());
        let mut failed = None;
        for repository in self.repositories.iter() {
            let (store, clock) = (Arc::clone(&repository.store), Arc::clone(&self.clock));
            let taken = lease::acquire(
                store,
                key.clone(),
                &self.id,
                "backup",
                lease::TIME_TO_LIVE,
                clock,
                lost.clone(),
            );
            match self.reporting_a_wait(planned, taken).await {
                Ok(acquired) => return Ok(acquired),
                Err(error) => {
                    self.events.warning(format!(
                        "the lease of `{}` cannot be taken in repository {}: {}",
                        planned.source.name,
                        repository.name,
                        error_chain(&error)
                    ));
                    failed = Some(error);
                }
            }
        }
        Err(failed.unwrap_or_else(|| StoreError {
            operation: "write",
            key,
            location: "any repository".to_owned(),
            kind: StoreErrorKind::Unreachable,
            detail: None,
        }))
    }

    /// Reports a wait: acquiring a lease is quick unless its holder may be dead.
    async fn reporting_a_wait<T>(&self, planned: &PlannedSource, taken: impl Future<Output = T>) -> T {
        tokio::pin!(taken);
        tokio::select! {
            outcome = &mut taken => return outcome,
            () = tokio::time::sleep(QUIET_WAIT) => self.events.notice(format!(
                "another run works on `{}`, or died while it did: waiting for up to {} to see which",
                planned.source.name,
                format_duration(lease::TIME_TO_LIVE),
            )),
        }
        taken.await
    }
}
