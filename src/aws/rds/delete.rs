//! The only calls that delete anything in RDS. Each inspects the object again just before, and deletes it
//! only if its own tags and state allow it.
//!
//! Nothing temporary is a snapshot: those are deleted as backups, by retention alone. A snapshot of a temporary database has its tags, but was taken on
//! purpose.
//!
//! An instance of a cluster is deleted with its cluster and never alone: its own tags may be left over from
//! before the cluster became production. Deletion protection is the cluster's, and RDS would let its
//! instances be deleted all the same.

use std::time::Instant;

use chrono::{DateTime, Utc};
use thiserror::Error;

use super::super::convert::found;
use super::super::{
    AwsFailure, AwsTags, Deletion, EXPIRES, FailureKind, MANAGED, NAME, PollError, PollProgress, PolledState,
    SYSTEM, Waiter,
};
use super::{Database, Rds, SnapshotId};
use crate::model::SystemName;
use crate::policy::RdsDatabase;

/// A temporary database of drctl.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Temporary {
    pub id: RdsDatabase,
    pub status: String,
    /// Its immutable ID: another database of the same name has another.
    pub resource_id: String,
    pub tags: AwsTags,
    /// RDS refuses to delete it until that is turned off.
    pub is_protected: bool,
    /// Of a cluster: the instances to delete before it, readers first.
    pub members: Vec<String>,
}

/// Why something is not deleted.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DeleteRefusal {
    #[error("it has no tag `{MANAGED}`: drctl did not create it")]
    NotManaged,
    #[error("its tag `{SYSTEM}` names another system")]
    OtherSystem,
    #[error("it has no tag `{EXPIRES}`: it is not temporary")]
    Stays,
    #[error("{}: drctl did not create it, its tags were copied from its source; delete it manually if it is not needed", names(.0))]
    Inherited(String),
    #[error("its tag `{EXPIRES}` is not a time: `{0}`")]
    NoTime(String),
    #[error("it expires at {}", .0.to_rfc3339())]
    NotYet(DateTime<Utc>),
    #[error("deletion protection is on")]
    Protected,
    #[error("another resource has its name now")]
    Another,
    #[error("its instance `{name}` is not deleted: {}", .why)]
    Member { name: String, why: Box<DeleteRefusal> },
    #[error("it is `{0}` already")]
    Going(String),
}

fn names(named: &str) -> String {
    if named.is_empty() {
        format!("it has no tag `{NAME}`")
    } else {
        format!("its tag `{NAME}` says `{named}`")
    }
}

/// Who removes something that was made for a while.
#[derive(Clone, Copy, Debug)]
pub enum RemovedBy {
    /// The restore that made it, which needs it no more.
    Maker,
    /// Anyone, once it has expired by this time.
    Expiry(DateTime<Utc>),
}

/// What came of a removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// RDS is deleting it, which takes minutes.
    Begun,
    /// RDS is deleting its instances, and accepts the deletion of the cluster only after that.
    Waits,
    /// It no longer exists.
    Gone,
    Refused(DeleteRefusal),
}

impl Temporary {
    /// Returns whether drctl created it for this system, as temporary.
    pub fn is_of(&self, system: &SystemName) -> bool {
        self.tags.is_managed()
            && self.tags.get(SYSTEM) == Some(system.as_str())
            && self.tags.get(EXPIRES).is_some()
    }

    pub fn expires(&self) -> Option<DateTime<Utc>> {
        self.tags.get(EXPIRES)?.parse().ok()
    }

    /// What speaks against its removal.
    pub fn refusal(&self, system: &SystemName, by: RemovedBy) -> Option<DeleteRefusal> {
        if !self.tags.is_managed() {
            return Some(DeleteRefusal::NotManaged);
        }
        if self.tags.get(SYSTEM) != Some(system.as_str()) {
            return Some(DeleteRefusal::OtherSystem);
        }
        let named = self.tags.get(NAME).unwrap_or_default();
        if named != self.id.identifier() {
            return Some(DeleteRefusal::Inherited(named.to_owned()));
        }
        let Some(text) = self.tags.get(EXPIRES) else { return Some(DeleteRefusal::Stays) };
        let Some(expires) = self.expires() else { return Some(DeleteRefusal::NoTime(text.to_owned())) };
        match self.status.as_str() {
            _ if matches!(by, RemovedBy::Expiry(now) if expires > now) => {
                Some(DeleteRefusal::NotYet(expires))
            }
            "deleting" | "deleted" => Some(DeleteRefusal::Going(self.status.clone())),
            _ if self.is_protected => Some(DeleteRefusal::Protected),
            _ => None,
        }
    }
}

impl From<Database> for Temporary {
    fn from(database: Database) -> Self {
        let mut members = match &database.profile.cluster {
            // Deleting a Multi-AZ cluster deletes its instances.
            Some(cluster) if database.profile.engine.starts_with("aurora") => cluster.members.clone(),
            _ => vec![],
        };
        members.sort_by_key(|member| member.is_writer);
        Self {
            members: members.into_iter().map(|member| member.identifier).collect(),
            id: database.id,
            status: database.status,
            resource_id: database.resource_id,
            tags: database.tags,
            is_protected: database.profile.deletion_protection.unwrap_or(false),
        }
    }
}

impl Rds {
    /// Lists everything temporary that drctl created for this system in this region. Instances of clusters
    /// are not listed: they are deleted with these.
    pub async fn temporary(
        &self,
        system: &SystemName,
        with_clusters: bool,
    ) -> Result<Vec<Temporary>, AwsFailure> {
        let instances = self.instances().await?.into_iter().filter(|instance| instance.cluster.is_none());
        let mut known: Vec<Temporary> = instances.map(Temporary::from).collect();
        if with_clusters {
            known.extend(self.clusters().await?.into_iter().map(Temporary::from));
        }
        known.retain(|temporary| temporary.is_of(system));
        Ok(known)
    }

    /// Removes what drctl made for a while, and a cluster once its instances are gone: RDS may have to be called again.
    pub async fn remove_with_members(
        &self,
        listed: &Temporary,
        system: &SystemName,
        by: RemovedBy,
        waiter: &Waiter<'_>,
    ) -> Result<Removal, AwsFailure> {
        let begun = Instant::now();
        loop {
            match self.remove(listed, system, by).await? {
                Removal::Waits if begun.elapsed() < waiter.poll.deadline && !waiter.cancel.is_cancelled() => {
                }
                removal => return Ok(removal),
            }
            tokio::select! {
                () = tokio::time::sleep(waiter.poll.every) => {}
                () = waiter.cancel.cancelled() => {}
            }
        }
    }

    /// Waits until RDS has deleted it, or another has its name. `Err`: why it may still be there.
    pub async fn await_deletion(
        &self,
        id: &RdsDatabase,
        resource_id: &str,
        waiter: &Waiter<'_>,
    ) -> Result<(), PollError> {
        let subject = format!("deletion of `{}` in {}", id.identifier(), self.region());
        let query = async || {
            let database = self.database(id).await?;
            Ok(match database.filter(|database| database.resource_id == resource_id) {
                None => PolledState::Done(()),
                Some(database) => {
                    PolledState::Working(PollProgress { status: database.status, ..PollProgress::default() })
                }
            })
        };
        waiter.ask(&subject, query).await
    }

    /// Deletes a database that has no tags of drctl's, since AWS Backup made it, without a last snapshot; only if it is
    /// the very one.
    pub async fn delete_made_by_job(
        &self,
        id: &RdsDatabase,
        resource_id: &str,
    ) -> Result<Removal, AwsFailure> {
        let standing = self.database(id).await?.map(Temporary::from);
        match standing {
            None => Ok(Removal::Gone),
            Some(standing) if standing.resource_id != resource_id => {
                Ok(Removal::Refused(DeleteRefusal::Another))
            }
            Some(standing) if standing.status == "deleting" => Ok(Removal::Begun),
            Some(standing) if standing.is_protected => Ok(Removal::Refused(DeleteRefusal::Protected)),
            Some(standing) => self.delete(&standing.id).await.map(|()| Removal::Begun),
        }
    }

    /// Removes what drctl made for a while, without a last snapshot. What it is now decides, not what it was
    /// when it was listed.
    pub async fn remove(
        &self,
        listed: &Temporary,
        system: &SystemName,
        by: RemovedBy,
    ) -> Result<Removal, AwsFailure> {
        let standing = self.database(&listed.id).await?.map(Temporary::from);
        let Some(standing) = standing else { return Ok(Removal::Gone) };
        if standing.resource_id != listed.resource_id {
            return Ok(Removal::Refused(DeleteRefusal::Another));
        }
        if let Some(refusal) = standing.refusal(system, by) {
            return Ok(Removal::Refused(refusal));
        }
        let members = match self.members_to_remove(&standing, system, by).await? {
            Ok(members) => members,
            Err(refusal) => return Ok(Removal::Refused(refusal)),
        };
        for member in members {
            match self.delete_member(&member).await {
                // Gone or being deleted: requested before.
                Err(failure) if matches!(failure.kind, FailureKind::NotFound | FailureKind::State) => {}
                deleted => deleted?,
            }
        }
        match self.delete(&standing.id).await {
            Ok(()) => Ok(Removal::Begun),
            Err(failure) if failure.kind == FailureKind::NotFound => Ok(Removal::Gone),
            Err(failure) if failure.kind == FailureKind::State && !standing.members.is_empty() => {
                Ok(Removal::Waits)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Returns the instances of a cluster that RDS is not deleting yet, or the reason against one: then none
    /// of them is deleted.
    async fn members_to_remove(
        &self,
        cluster: &Temporary,
        system: &SystemName,
        by: RemovedBy,
    ) -> Result<Result<Vec<String>, DeleteRefusal>, AwsFailure> {
        let mut members = Vec::new();
        for name in &cluster.members {
            let member = self.database(&RdsDatabase::Instance(name.clone())).await?;
            let Some(member) = member.map(Temporary::from) else { continue };
            match member.refusal(system, by) {
                None | Some(DeleteRefusal::Protected) => members.push(name.clone()),
                Some(DeleteRefusal::Going(_)) => {}
                Some(why) => {
                    return Ok(Err(DeleteRefusal::Member { name: name.clone(), why: Box::new(why) }));
                }
            }
        }
        Ok(Ok(members))
    }

    /// Deletes a manual snapshot, if what it is now carries drctl's tag and is in a final state, and queries it
    /// afterwards.
    pub async fn delete_snapshot(&self, id: &SnapshotId) -> Result<Deletion, AwsFailure> {
        let operation = match id {
            SnapshotId::Instance(_) => "DeleteDBSnapshot",
            SnapshotId::Cluster(_) => "DeleteDBClusterSnapshot",
        };
        let Some(standing) = self.snapshot(id).await? else { return Ok(Deletion::Gone) };
        if standing.is_going() {
            return Ok(Deletion::Begun);
        }
        let name = id.as_str();
        if !standing.tags.is_managed() {
            let detail = format!("`{name}` is not deleted: it does not carry drctl's tag");
            return Err(self.region.refused(operation, FailureKind::Forbidden, detail));
        }
        if !standing.is_available() && !standing.is_lost() {
            let detail = format!("`{name}` is not deleted: it is `{}`", standing.status);
            return Err(self.region.refused(operation, FailureKind::State, detail));
        }
        let asked = match id {
            SnapshotId::Instance(_) => {
                let call = self.client.delete_db_snapshot().db_snapshot_identifier(name);
                call.send().await.map(drop).map_err(self.region.failed(operation))
            }
            SnapshotId::Cluster(_) => {
                let call = self.client.delete_db_cluster_snapshot().db_cluster_snapshot_identifier(name);
                call.send().await.map(drop).map_err(self.region.failed(operation))
            }
        };
        found(asked)?;
        Ok(match self.snapshot(id).await? {
            None => Deletion::Gone,
            Some(standing) if standing.is_going() => Deletion::Begun,
            Some(_) => Deletion::Kept,
        })
    }

    /// Deletes an instance of a cluster; its data belongs to the cluster.
    async fn delete_member(&self, name: &str) -> Result<(), AwsFailure> {
        let call = self.client.delete_db_instance().db_instance_identifier(name).skip_final_snapshot(true);
        call.send().await.map(drop).map_err(self.region.failed("DeleteDBInstance"))
    }

    async fn delete(&self, id: &RdsDatabase) -> Result<(), AwsFailure> {
        match id {
            RdsDatabase::Instance(name) => {
                let call = self.client.delete_db_instance().db_instance_identifier(name);
                let call = call.skip_final_snapshot(true).delete_automated_backups(true);
                call.send().await.map(drop).map_err(self.region.failed("DeleteDBInstance"))
            }
            RdsDatabase::Cluster(name) => {
                let call = self.client.delete_db_cluster().db_cluster_identifier(name);
                let call = call.skip_final_snapshot(true).delete_automated_backups(true);
                call.send().await.map(drop).map_err(self.region.failed("DeleteDBCluster"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-21T12:00:00Z";

    fn refusal(tags: &[(&str, &str)], status: &str, is_protected: bool) -> Option<DeleteRefusal> {
        let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let id = RdsDatabase::Instance("drctl-drill-1".to_owned());
        let (status, members) = (status.to_owned(), vec![]);
        let temporary = Temporary { id, status, resource_id: "db-1".to_owned(), tags, is_protected, members };
        let refusal = temporary.refusal(&"shop".parse().unwrap(), RemovedBy::Expiry(NOW.parse().unwrap()));
        let at_once = temporary.refusal(&"shop".parse().unwrap(), RemovedBy::Maker);
        match refusal {
            Some(DeleteRefusal::NotYet(_)) => assert_eq!(at_once, None, "its maker need not wait"),
            _ => assert_eq!(at_once, refusal, "and has no other right"),
        }
        // What is not of this system and for a while is not even listed.
        let stays = matches!(
            refusal,
            Some(DeleteRefusal::NotManaged | DeleteRefusal::OtherSystem | DeleteRefusal::Stays)
        );
        assert_eq!(temporary.is_of(&"shop".parse().unwrap()), !stays);
        refusal
    }

    #[test]
    fn only_what_carries_all_tags_and_its_own_name_and_is_expired_goes() {
        let (managed, system, past) =
            ((MANAGED, "true"), (SYSTEM, "shop"), (EXPIRES, "2026-11-21T11:59:59+00:00"));
        let name = (NAME, "drctl-drill-1");
        let all = [managed, system, name, past];
        assert_eq!(refusal(&all, "available", false), None);
        assert_eq!(refusal(&[system, past], "available", false), Some(DeleteRefusal::NotManaged));
        assert_eq!(
            refusal(&[(MANAGED, "yes"), system, past], "available", false),
            Some(DeleteRefusal::NotManaged)
        );
        assert_eq!(refusal(&[managed, past], "available", false), Some(DeleteRefusal::OtherSystem));
        let other = (SYSTEM, "shopping");
        assert_eq!(refusal(&[managed, other, past], "available", false), Some(DeleteRefusal::OtherSystem));
        assert_eq!(refusal(&[managed, system, name], "available", false), Some(DeleteRefusal::Stays));
        for named in ["", "drctl-drill-2"] {
            let inherited = [managed, system, (NAME, named), past];
            assert_eq!(
                refusal(&inherited, "available", false),
                Some(DeleteRefusal::Inherited(named.to_owned()))
            );
        }
        let future = (EXPIRES, "2026-11-21T12:00:01Z");
        assert!(matches!(
            refusal(&[managed, system, name, future], "available", false),
            Some(DeleteRefusal::NotYet(_))
        ));
        let odd = (EXPIRES, "yesterday");
        assert!(matches!(
            refusal(&[managed, system, name, odd], "available", false),
            Some(DeleteRefusal::NoTime(_))
        ));
        assert_eq!(refusal(&all, "available", true), Some(DeleteRefusal::Protected));
        assert!(matches!(refusal(&all, "deleting", false), Some(DeleteRefusal::Going(_))));
    }
}
