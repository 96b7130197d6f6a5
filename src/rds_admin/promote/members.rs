//! The names of a cluster's instances: those of the old one give theirs up, and those created to replace them
//! take them. Applications reach a cluster by its own name; alarms and dashboards name its instances.
//!
//! The original of each is in the tags of the restored ones, so that the mapping is the same in every region,
//! and for a resumed promotion. Only instances of the restored cluster and of the one it replaces are
//! renamed.

use serde::Serialize;

use super::refusal::PromoteRefusal;
use super::survey::{MemberFacts, PromoteRequest, PromotionSurvey, old};
use crate::aws::rds::{Database, Rds};
use crate::aws::{AwsFailure, AwsTags};
use crate::policy::RdsDatabase;
use crate::restore::rds::is_identifier;
use crate::restore::rds::settings::STANDS_FOR;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rename {
    pub from: String,
    pub to: String,
    /// The id of the surveyed instance: nothing else is renamed.
    #[serde(skip)]
    pub(super) resource_id: String,
}

/// The remaining renames.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Renames {
    pub(super) put_aside: Vec<Rename>,
    pub(super) take: Vec<Rename>,
    pub(super) notes: Vec<String>,
    pub(super) refusals: Vec<PromoteRefusal>,
}

/// Queries the instances of the restored cluster, whatever its current name is.
pub(super) async fn survey_members(
    rds: &Rds,
    request: &PromoteRequest,
    facts: &PromotionSurvey,
) -> Result<MemberFacts, AwsFailure> {
    let mut found = MemberFacts::default();
    let Some(cluster) = facts.promoted(request) else { return Ok(found) };
    for member in cluster.profile.cluster.iter().flat_map(|cluster| &cluster.members) {
        found.restored.extend(instance(rds, &member.identifier).await?);
    }
    let names: Vec<String> = wanted(&found.restored).map(|(_, name)| name.to_owned()).collect();
    for name in names {
        let Some(named) = instance(rds, &name).await? else { continue };
        let put_aside = instance(rds, &aside(request, &name)).await?;
        // A rename that ended meanwhile shows the same instance under both of its names.
        let is_same = |other: &Database| other.resource_id == named.resource_id;
        if put_aside.as_ref().is_some_and(is_same) {
            continue;
        }
        found.restored.retain(|member| !is_same(member));
        found.put_aside.extend(put_aside);
        found.named.push(named);
    }
    Ok(found)
}

async fn instance(rds: &Rds, name: &str) -> Result<Option<Database>, AwsFailure> {
    rds.database(&RdsDatabase::Instance(name.to_owned())).await
}

pub(super) fn renames(request: &PromoteRequest, facts: &PromotionSurvey) -> Renames {
    let mut renames = Renames::default();
    let Some(cluster) = facts.promoted(request) else { return renames };
    let members = &facts.members;
    if !cluster.profile.engine.starts_with("aurora") {
        renames.notes.push(
            "its instances keep the names that RDS gave them: those of a Multi-AZ cluster are RDS's own"
                .to_owned(),
        );
        return renames;
    }
    let old = old(request, facts);
    for (member, name) in wanted(&members.restored) {
        let own = member.id.identifier();
        let named = members.named.iter().find(|named| named.id.identifier() == name);
        if let Some(named) = named {
            if old.is_none_or(|old| named.cluster.as_deref() != Some(old.id.identifier())) {
                let words = "which is not an instance of the old production";
                renames.notes.push(format!("instance `{own}` keeps its name: there is a `{name}`, {words}"));
                continue;
            }
            if named.is_stopped() || (named.is_lost() && !named.takes_changes()) {
                let status = &named.status;
                renames.notes.push(format!(
                    "instance `{own}` keeps its name: `{name}` is `{status}`, and RDS renames nothing in that state"
                ));
                continue;
            }
            let to = aside(request, name);
            if !is_identifier(&to) {
                renames.refusals.push(PromoteRefusal::Identifier(to.clone()));
            }
            if members.put_aside.iter().any(|taken| taken.id.identifier() == to) {
                renames.refusals.push(PromoteRefusal::NameTaken { what: "an instance", name: to.clone() });
            }
            let resource_id = named.resource_id.clone();
            renames.put_aside.push(Rename { from: name.to_owned(), to, resource_id });
        }
        let resource_id = member.resource_id.clone();
        renames.take.push(Rename { from: own.to_owned(), to: name.to_owned(), resource_id });
    }
    let unknown = members.restored.iter().filter(|member| replaced_member(&member.tags).is_none());
    renames.notes.extend(unknown.map(|member| {
        let own = member.id.identifier();
        format!("instance `{own}` keeps its name: it is not recorded which instance it replaces")
    }));
    renames
}

fn replaced_member(tags: &AwsTags) -> Option<&str> {
    tags.get(STANDS_FOR)
}

/// Returns those that do not have their final name yet.
fn wanted(restored: &[Database]) -> impl Iterator<Item = (&Database, &str)> {
    restored.iter().filter_map(|member| {
        let name = replaced_member(&member.tags)?;
        (member.id.identifier() != name).then_some((member, name))
    })
}

/// Returns the name that an instance is renamed to: `shop-a` of `shop` is `shop-old-a` of `shop-old`, and
/// `writer` is `shop-old-writer`.
fn aside(request: &PromoteRequest, member: &str) -> String {
    let cluster = request.config.database.identifier();
    let own = member.strip_prefix(cluster).and_then(|rest| rest.strip_prefix('-'));
    format!("{}-{}", request.put_aside_as, own.unwrap_or(member))
}
