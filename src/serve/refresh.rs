use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Semaphore;

use super::site::Site;
use crate::monitor::Watched;

/// Who collects the snapshots.
pub trait Collect {
    /// Collects that of the policy at this position. Ends within a deadline of its own.
    fn collect(&self, position: usize) -> impl Future<Output = Watched>;
}

/// Collects the snapshots of all policies, each again `every` so often after the last time began, and never two of one
/// policy at once; no more than `at_once` of all. Does not end.
pub async fn refresh(site: &Site, number: usize, every: Duration, at_once: usize, collector: &impl Collect) {
    let permits = Semaphore::new(at_once);
    let each = (0..number).map(async |position| {
        let mut ticks = tokio::time::interval(every);
        // One that took longer is not made up for.
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let permit = permits.acquire().await;
            let collected = collector.collect(position).await;
            drop(permit);
            site.enter(position, collected);
        }
    });
    join_all(each).await;
}
