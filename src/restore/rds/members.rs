//! The instances of a cluster. Aurora's are created one by one, each with the tags of the cluster, by which a
//! resumed restore recognizes them; only missing ones are created. A Multi-AZ cluster creates its own.

use super::execution::{Execution, member_names};
use super::settings::STANDS_FOR;
use crate::aws::rds::Database;
use crate::aws::{FailureKind, NAME, PollProgress, PolledState};
use crate::policy::RdsDatabase;
use crate::restore::AwsRestoreError;

impl Execution<'_> {
    /// Creates missing instances, and waits for the first, which becomes the writer; for all of a Multi-AZ
    /// cluster's, since it creates them at once.
    pub(super) async fn create_members(&mut self) -> Result<(), AwsRestoreError> {
        let plan = self.plan;
        let Some(cluster) = &plan.cluster else { return Ok(()) };
        if !cluster.is_aurora {
            return self.await_own_members(cluster.brings.0).await;
        }
        for (number, member) in cluster.members.iter().enumerate() {
            let id = RdsDatabase::Instance(member.identifier.clone());
            if let Some(existing) = self.rds.database(&id).await? {
                self.own(existing)?;
            } else {
                let notice = format!("creating instance `{}`, {}", member.identifier, member.class);
                self.run.events.notice(notice);
                let tags = plan.settings.new.tags.clone().with(NAME, &member.identifier);
                let tags = tags.with(STANDS_FOR, &member.replaced_member);
                let rds = self.rds.clone();
                let call = async || rds.create_member(plan.to(), &cluster.new.engine, member, &tags).await;
                match self.repeat(call).await {
                    // The answer to an earlier attempt was lost; its ownership is checked when it is visible.
                    Err(AwsRestoreError::Aws(failure)) if failure.kind == FailureKind::Exists => {}
                    made => made?,
                }
            }
            if number == 0 {
                let first = self.await_member(&member.identifier).await?;
                self.own(first)?;
            }
        }
        Ok(())
    }

    /// Waits for the other instances.
    pub(super) async fn await_members(&mut self) -> Result<(), AwsRestoreError> {
        let plan = self.plan;
        for member in plan.cluster.iter().flat_map(|cluster| &cluster.members) {
            let member = self.await_member(&member.identifier).await?;
            self.own(member)?;
        }
        Ok(())
    }

    async fn await_member(&self, name: &str) -> Result<Database, AwsRestoreError> {
        let id = RdsDatabase::Instance(name.to_owned());
        let subject = format!("`{name}` in {}", self.rds.region());
        Ok(self.waiter.until(&subject, async || self.rds.database(&id).await, Database::seen).await?)
    }

    async fn await_own_members(&self, count: usize) -> Result<(), AwsRestoreError> {
        let subject = format!("the instances of `{}` in {}", self.plan.to(), self.rds.region());
        let query = async || {
            let Some(database) = self.rds.database(&self.plan.id).await? else {
                return Ok(PolledState::Absent);
            };
            let names = member_names(&database);
            let status = format!("{}, {} of {count} instances", database.status, names.len());
            let working = PollProgress { status, ..PollProgress::default() };
            Ok(if names.len() < count { PolledState::Working(working) } else { PolledState::Done(names) })
        };
        for name in self.waiter.ask(&subject, query).await? {
            self.await_member(&name).await?;
        }
        Ok(())
    }
}
