//! RDS's automated backups of the new database. The first is a full one, which RDS takes at once and for
//! hours, and until it is done it accepts no changes of the instance, which is usable meanwhile.

use std::time::Instant;

use super::execution::{Execution, SETTLING};
use super::{Backups, RdsRestorePlan};
use crate::aws::rds::{Changes, Database};
use crate::aws::{PollProgress, PolledState};
use crate::restore::AwsRestoreError;

impl Execution<'_> {
    /// Turns them on. A refusal by RDS costs the backups, and not the restore.
    pub(super) async fn turn_on_backups(&mut self, days: u32) -> Result<(), AwsRestoreError> {
        let changes = Changes { backup_retention_days: Some(days), ..Changes::default() };
        let (rds, plan) = (self.rds.clone(), self.plan);
        match self.repeat(async || rds.change(&plan.id, &changes).await).await {
            Ok(()) => {
                let is_on = |database: &Database| database.profile.backup_retention_days == Some(days);
                self.settled(Database::seen_by_users, is_on).await
            }
            Err(AwsRestoreError::Aws(refused)) => {
                let words = without(plan, Some(&refused.detail), days);
                self.run.events.warning(words.clone());
                self.notes.push(words);
                self.open().await.map(drop)
            }
            Err(error) => Err(error),
        }
    }

    /// Reports that it has no automated backups, or none yet.
    pub(super) async fn note_missing_backups(&mut self) -> Result<(), AwsRestoreError> {
        let kept = self.database().await?.profile.backup_retention_days;
        match self.plan.backups {
            Backups::Later(days) if kept == Some(0) => self.notes.push(without(self.plan, None, days)),
            Backups::None => self.notes.push("RDS keeps no automated backups of it".to_owned()),
            _ => {}
        }
        Ok(())
    }

    /// Waits until the first backup is complete. Where RDS does not report that, nothing is claimed.
    pub(super) async fn await_first_backup(&mut self) -> Result<(), AwsRestoreError> {
        let database = self.database().await?;
        // RDS refused to turn them on.
        if database.profile.backup_retention_days == Some(0) {
            return Ok(());
        }
        if !self.plan.hydrate {
            if database.latest_restorable.is_none() || !database.is_available() {
                self.notes.push(
                    "RDS takes its first backup of it: until that is complete it cannot be renamed, so not be promoted, and not be restored to a point in time"
                        .to_owned(),
                );
            }
            return Ok(());
        }
        let subject = format!("the first backup of `{}`", self.plan.to());
        let (mut since, patience) = (None, self.plan.place.poll * SETTLING);
        let sees = |database| first_backup_state(database, &mut since, patience);
        let Some(database) = self.wait_or_note(&subject, sees).await? else { return Ok(()) };
        match database.latest_restorable {
            Some(_) => self.marks.backed_up = self.elapsed(),
            None => self.notes.push(
                "RDS does not report yet to which times it can be restored: `drctl doctor` reports it when it serves"
                    .to_owned(),
            ),
        }
        Ok(())
    }
}

impl Backups {
    /// Returns the retention period in days of those that it has when the restore is done.
    pub(super) fn days(self) -> Option<u32> {
        match self {
            Self::TurnedOn(days) => Some(days),
            Self::Kept | Self::Later(_) | Self::None => None,
        }
    }
}

/// Returns whether RDS has completed it and reports a restorable time, or has not reported one for a while.
fn first_backup_state(
    database: Database,
    since: &mut Option<Instant>,
    patience: std::time::Duration,
) -> PolledState<Database> {
    if database.is_available() {
        let since = *since.get_or_insert_with(Instant::now);
        if database.latest_restorable.is_some() || since.elapsed() > patience {
            return PolledState::Done(database);
        }
        let status = "available, and not restorable yet".to_owned();
        return PolledState::Working(PollProgress { status, ..PollProgress::default() });
    }
    match database.takes_logins() {
        true => PolledState::Working(PollProgress { status: database.status, ..PollProgress::default() }),
        false => database.seen(),
    }
}

/// Describes how to turn them on.
fn without(plan: &RdsRestorePlan, refused: Option<&str>, days: u32) -> String {
    let command = format!(
        "`aws rds modify-db-instance --db-instance-identifier {} --region {} --backup-retention-period {days} --apply-immediately`",
        plan.to(),
        plan.chosen.region
    );
    match refused {
        Some(refused) => format!(
            "RDS keeps no automated backups of it: it refused to turn them on ({refused}); {command} does"
        ),
        None => format!(
            "RDS keeps no automated backups of it yet: `drctl rds promote` turns them on, or {command}"
        ),
    }
}
