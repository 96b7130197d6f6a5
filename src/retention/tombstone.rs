//! Tombstones: what is going to be removed, in the journal before anything goes.

use std::collections::BTreeSet;

use crate::model::{Outcome, RunId};
use crate::platform::seed;
use crate::repository::journal::{Detail, JournalRecord, TOMBSTONES, Tombstones};
use crate::repository::{Repository, Unavailable, layout, run_record};
use crate::run::RunContext;
use crate::text::error_chain;

/// Tombstones that go into one record.
const AT_ONCE: usize = 5000;

/// Returns them in portions that fit into one record each.
pub(super) fn chunks<T: Clone>(all: &[T]) -> impl Iterator<Item = Vec<T>> {
    all.chunks(AT_ONCE).map(<[T]>::to_vec)
}

/// Returns the tombstones that a repository's own journal has, of those of `records` that are meant. One that is in another
/// repository says nothing to who reads this one alone.
pub(super) async fn written(
    run: &RunContext,
    repository: &Repository,
    records: &[JournalRecord],
    is_meant: impl Fn(&Tombstones) -> bool,
) -> Tombstones {
    let mut there = Vec::new();
    for record in records.iter().filter(|record| is_meant(&Tombstones::new([*record]))) {
        let key = layout::journal_record(&run.system, &record.run);
        match repository.store.head(&key).await {
            Ok(Some(_)) => there.push(record),
            Ok(None) => {}
            // Written once more, it does no harm.
            Err(error) => tracing::info!("{}", error_chain(&error)),
        }
    }
    Tombstones::new(there)
}

/// Writes one record into every repository. Returns those that did not take it, from which nothing of it may go. `used`:
/// the records of this run.
pub(super) async fn append(run: &RunContext, detail: Detail, used: &mut BTreeSet<RunId>) -> Vec<Unavailable> {
    let now = run.clock.now();
    let mut id = RunId::new(now, seed());
    // Records that are written within a millisecond differ by chance alone.
    while !used.insert(id.clone()) {
        id = RunId::new(now, seed());
    }
    let record = JournalRecord::new(&id, TOMBSTONES, (now, now), &run.host, Outcome::Succeeded, detail);
    let lost = match run_record::append(&run.repositories, &run.system, record.clone()).await {
        Ok(lost) => lost,
        Err(error) => {
            let reason = error_chain(&error);
            run.repositories.writable().map(|one| Unavailable::new(one, reason.clone())).collect()
        }
    };
    if let Some(catalog) = &run.catalog {
        let catalog = catalog.clone().of_repository(run.repositories.id());
        if let Err(error) = catalog.record_run(&record).await {
            run.events.warning(format!("the catalog does not have the tombstones: {}", error_chain(&error)));
        }
    }
    lost
}
