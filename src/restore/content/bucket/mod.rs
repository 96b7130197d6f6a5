//! The objects of a bucket: into another bucket or prefix, or into a directory.
//!
//! The inventory of the backup says in which archive of which backup of the chain each object is: only these are read.

mod apply;
mod directory;
mod objects;
mod select;
mod target_url;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use self::apply::{Placed, apply};
use self::directory::DirectoryTarget;
use self::objects::BucketTarget;
use self::select::{Selection, select};
use super::fetch::ArtifactFetch;
use super::method::{ContentMethod, RestoredContent, TargetSurvey};
use super::new_directory::{NewDirectory, remove_directory};
use super::survey::ChainLink;
use super::target::new_path;
use super::{ContentRestoreError, ContentRestorePlan, ContentRestoreRequest};
use crate::model::BucketFacts;
use crate::restore::{CreatedObject, Refusal};
use crate::run::RunContext;
use crate::source::bucket::LeftOut;
use crate::text::{count, error_chain, format_size};

/// How many keys a report names.
const NAMED: usize = 20;

/// The objects of a bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct BucketObjects;

/// Takes objects. It may be given one again, when an archive is read again from another repository.
trait ObjectTarget: Send + Sync + 'static {
    /// Returns whether it can have an object of this key.
    fn takes(&self, key: &str) -> bool;

    /// Takes one. Blocks.
    fn begin(&self) -> Box<dyn ObjectSink + '_>;
}

/// Takes the objects of one archive.
trait ObjectSink {
    /// Reads the object to its end.
    fn take(
        &mut self,
        record: &crate::source::bucket::ObjectRecord,
        bytes: &mut dyn std::io::Read,
    ) -> Result<Placed, super::fetch::ConsumeError>;

    /// Waits until all of them are there.
    fn end(&mut self) -> Result<(), super::fetch::ConsumeError>;
}

#[async_trait(?Send)]
impl ContentMethod for BucketObjects {
    async fn survey(
        &self,
        _run: &RunContext,
        request: &ContentRestoreRequest,
        chain: &[ChainLink],
    ) -> Result<TargetSurvey, ContentRestoreError> {
        let mut survey = TargetSurvey { to: request.target.to.clone(), ..TargetSurvey::default() };
        let facts = chain.last().and_then(|link| link.details.bucket.clone()).unwrap_or_default();
        if request.target.to.starts_with("s3://") {
            match BucketTarget::open(request).await {
                Err(refusal) => survey.refusals.push(refusal),
                Ok(target) => survey.refusals.extend(target.conflicts().await),
            }
        } else {
            let (path, refusals) = new_path(Path::new(&request.target.to), facts.bytes);
            survey.to = path.display().to_string();
            survey.refusals.extend(refusals);
            survey.notes.push("content types and user metadata are restored to a bucket only".to_owned());
        }
        if request.target.delta {
            let message = "`--delta` is not for buckets: the target is empty, or a new directory";
            survey.refusals.push(Refusal::usage("no-delta", message));
        }
        survey.notes.push(told(facts.objects, facts.bytes));
        survey.notes.extend(missing(&facts));
        Ok(survey)
    }

    async fn restore(
        &self,
        fetch: &ArtifactFetch<'_>,
        plan: &ContentRestorePlan,
        created: &mut Vec<CreatedObject>,
    ) -> Result<RestoredContent, ContentRestoreError> {
        let to_bucket = plan.request.target.to.starts_with("s3://");
        let (placed, selection) = if to_bucket {
            let target = BucketTarget::open(&plan.request).await;
            let target = Arc::new(target.map_err(|refusal| ContentRestoreError::Refused(vec![refusal]))?);
            let mut selection = select(fetch, plan, &*target).await?;
            created.push(CreatedObject::shared(
                format!("objects below {}", plan.to),
                "drctl deletes nothing in a bucket of an application",
            ));
            let placed = apply(fetch, plan, &mut selection, &target).await?;
            target.compare(placed.objects, placed.bytes).await?;
            (placed, selection)
        } else {
            let directory = NewDirectory::create(Path::new(&plan.to))?;
            let target = Arc::new(DirectoryTarget { directory: directory.part().to_owned() });
            let mut selection = select(fetch, plan, &*target).await?;
            let placed = apply(fetch, plan, &mut selection, &target).await?;
            created.push(directory.publish(&fetch.run.id)?);
            (placed, selection)
        };
        Ok(report(placed, &selection))
    }

    async fn remove(&self, run: &RunContext, object: &CreatedObject) -> Result<(), String> {
        remove_directory(object, &run.id)
    }
}

fn report(placed: Placed, selection: &Selection) -> RestoredContent {
    let mut left_out = vec![];
    let mut notes = vec![];
    let unfit = selection.unfit + placed.unfit.len() as u64;
    if unfit > 0 {
        left_out.push(format!("{} whose keys are no names of files here", count(unfit, "object")));
        let named = selection.unfit_keys.iter().chain(&placed.unfit).take(NAMED);
        notes.extend(named.map(|key| format!("not restored: {}", crate::text::visible(key))));
    }
    for (why, number) in &selection.left_out {
        let number = count(*number, "object");
        match why {
            LeftOut::Archived => {
                left_out.push(format!("{number} that could not be read from an archive class"))
            }
            LeftOut::Changing => left_out.push(format!("{number} that changed while they were backed up")),
            LeftOut::Gone | LeftOut::Deleted => {}
        }
    }
    if selection.tagged > 0 {
        notes.push(format!("the tags of {} are not in the backup", count(selection.tagged, "object")));
    }
    RestoredContent {
        counts: vec![told(placed.objects, placed.bytes)],
        left_out,
        notes,
        ..RestoredContent::default()
    }
}

fn told(objects: u64, bytes: u64) -> String {
    format!("{}, {}", count(objects, "object"), format_size(bytes))
}

/// Returns what the backup does not have.
fn missing(facts: &BucketFacts) -> Option<String> {
    let all = BTreeMap::from([("archived", facts.archived), ("changing", facts.changing)]);
    let missing: u64 = all.values().sum();
    (missing > 0).then(|| format!("the bytes of {} are not in the backup", count(missing, "object")))
}

/// Says what the target's store answered.
fn target_failed(error: &(dyn std::error::Error + 'static)) -> ContentRestoreError {
    ContentRestoreError::Target(error_chain(error))
}
