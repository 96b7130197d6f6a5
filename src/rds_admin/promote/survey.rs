//! What a promotion asks for, and what RDS has there.

use crate::aws::AwsTags;
use crate::aws::rds::Database;
use crate::model::{SourceName, SystemName};
use crate::policy::RdsSource;

/// On what is taking production's place, for as long as that takes: the name that it was restored under.
pub(super) const WAS: &str = "drctl:promoted-from";
/// As long: what RDS calls the one whose place it takes, for ever.
pub(super) const OVER: &str = "drctl:promoted-over";

#[derive(Clone, Debug)]
pub struct PromoteRequest {
    pub system: SystemName,
    pub source: SourceName,
    pub config: RdsSource,
    pub region: String,
    /// The restored instance or cluster.
    pub instance: String,
    /// What the old one is called afterwards.
    pub put_aside_as: String,
    /// The caller says that nothing writes any more.
    pub writers_stopped: bool,
    /// It is promoted although checks of its data failed.
    pub ignore_failed_checks: bool,
}

/// What RDS has there now.
#[derive(Clone, Debug, Default)]
pub struct PromotionSurvey {
    pub restored: Option<Database>,
    /// What has production's name.
    pub production: Option<Database>,
    /// What has the name that the old one gets.
    pub put_aside: Option<Database>,
    /// Of a cluster.
    pub members: MemberFacts,
}

impl PromotionSurvey {
    /// Drops old names: a rename that ended during the survey shows the same one under both of its names.
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

    /// Returns what was restored, which may have production's name already.
    pub(super) fn promoted(&self, request: &PromoteRequest) -> Option<&Database> {
        self.restored.as_ref().or_else(|| self.has_name(request))
    }

    pub(super) fn has_name(&self, request: &PromoteRequest) -> Option<&Database> {
        self.production.as_ref().filter(|production| was(&production.tags) == Some(request.instance.as_str()))
    }
}

/// Returns the one whose place is taken, where it is known to be it.
pub(super) fn old<'f>(request: &PromoteRequest, facts: &'f PromotionSurvey) -> Option<&'f Database> {
    if facts.has_name(request).is_none() && facts.production.is_some() {
        return facts.production.as_ref();
    }
    let over = facts.promoted(request)?.tags.get(OVER)?;
    facts.put_aside.as_ref().filter(|put_aside| put_aside.resource_id == over)
}

/// What RDS has of the instances that the swap of a cluster concerns.
#[derive(Clone, Debug, Default)]
pub struct MemberFacts {
    /// The restored cluster's.
    pub restored: Vec<Database>,
    /// What has the names of those that they stand for.
    pub named: Vec<Database>,
    /// What has names that the old ones would get.
    pub put_aside: Vec<Database>,
}

/// Returns the name that it was restored under, where a promotion of it was begun.
pub(super) fn was(tags: &AwsTags) -> Option<&str> {
    tags.get(WAS)
}
