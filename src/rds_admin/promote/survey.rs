//! The request of a promotion, and the state in RDS.

use crate::aws::AwsTags;
use crate::aws::rds::Database;
use crate::model::{SourceName, SystemName};
use crate::policy::RdsSource;

/// On the database being promoted, during the promotion: the name that it was restored under.
pub(super) const WAS: &str = "drctl:promoted-from";
/// Likewise: the permanent RDS resource id of the database it replaces.
pub(super) const OVER: &str = "drctl:promoted-over";

#[derive(Clone, Debug)]
pub struct PromoteRequest {
    pub system: SystemName,
    pub source: SourceName,
    pub config: RdsSource,
    pub region: String,
    /// The restored instance or cluster.
    pub instance: String,
    /// The new name of the old one.
    pub put_aside_as: String,
    /// The caller asserts that nothing writes any more.
    pub writers_stopped: bool,
    /// Promotes although checks of its data failed.
    pub ignore_failed_checks: bool,
}

/// The current state in RDS.
#[derive(Clone, Debug, Default)]
pub struct PromotionSurvey {
    pub restored: Option<Database>,
    /// The database with production's name.
    pub production: Option<Database>,
    /// The database with the old one's new name.
    pub put_aside: Option<Database>,
    /// The instances of a cluster.
    pub members: MemberFacts,
}

impl PromotionSurvey {
    /// Drops old names: a rename that ended during the survey shows the same database under both of its
    /// names.
    pub(super) fn forget_old_names(&mut self) {
        let is = |one: &Option<Database>, other: &Option<Database>| {
            one.as_ref().zip(other.as_ref()).is_some_and(|(one, other)| one.resource_id == other.resource_id)
        };
        if is(&self.restored, &self.production) && self.has_mark() {
            self.restored = None;
        }
        if is(&self.production, &self.put_aside) {
            self.production = None;
        }
    }

    fn has_mark(&self) -> bool {
        self.production.as_ref().is_some_and(|production| was(&production.tags).is_some())
    }

    /// Returns the restored database, which may have production's name already.
    pub(super) fn promoted(&self, request: &PromoteRequest) -> Option<&Database> {
        self.restored.as_ref().or_else(|| self.has_name(request))
    }

    pub(super) fn has_name(&self, request: &PromoteRequest) -> Option<&Database> {
        self.production.as_ref().filter(|production| was(&production.tags) == Some(request.instance.as_str()))
    }
}

/// Returns the database being replaced, where it is certain that it is that.
pub(super) fn old<'f>(request: &PromoteRequest, facts: &'f PromotionSurvey) -> Option<&'f Database> {
    if facts.has_name(request).is_none() && facts.production.is_some() {
        return facts.production.as_ref();
    }
    let over = facts.promoted(request)?.tags.get(OVER)?;
    facts.put_aside.as_ref().filter(|put_aside| put_aside.resource_id == over)
}

/// The instances involved in the promotion of a cluster.
#[derive(Clone, Debug, Default)]
pub struct MemberFacts {
    /// The restored cluster's.
    pub restored: Vec<Database>,
    /// The instances with the names of their originals.
    pub named: Vec<Database>,
    /// The instances with names that the old ones would get.
    pub put_aside: Vec<Database>,
}

/// Returns the name that it was restored under, where its promotion has begun.
pub(super) fn was(tags: &AwsTags) -> Option<&str> {
    tags.get(WAS)
}
