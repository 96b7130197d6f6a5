//! RDS's automated backups of what was made. The first is a full one, which RDS takes at once and for hours, and until it
//! is done it changes nothing of the instance. It can be used meanwhile.

use std::time::Instant;

use super::execute::{ReachedState, SETTLING, open, repeat, settled};
use super::{Backups, RdsRestoreError, RdsRestorePlan};
use crate::aws::rds::{Changes, Database, Rds};
use crate::aws::{Poll, PollError, PollProgress, PolledState};
use crate::run::RunContext;
use crate::text::error_chain;

/// Whether its settings have to wait until RDS has backed it up: whoever needs it need not wait for them. A master
/// whose password RDS makes anew can log in only afterwards.
pub(super) fn puts_off(run: &RunContext, plan: &RdsRestorePlan, database: &Database) -> bool {
    let is_put_off = !database.is_available() && !plan.makes_new_password;
    if is_put_off {
        run.events.notice(format!(
            "RDS backs `{}` up, which may take hours, and changes nothing of it meanwhile: it is logged in to now, and set up afterwards",
            plan.to()
        ));
    }
    is_put_off
}

/// What RDS refuses here costs the backups, and not the restore.
pub(super) async fn turn_on_backups(
    run: &RunContext,
    rds: &Rds,
    plan: &RdsRestorePlan,
    days: u32,
    reached: &mut ReachedState,
) -> Result<Database, RdsRestoreError> {
    let changes = Changes { backup_retention_days: Some(days), ..Changes::default() };
    match repeat(run, rds, plan, async || rds.change(&plan.id, &changes).await).await {
        Ok(()) => {
            let is_on = |database: &Database| database.profile.backup_retention_days == Some(days);
            settled(run, rds, plan, reached, Database::seen_by_users, is_on).await
        }
        Err(RdsRestoreError::Aws(refused)) => {
            let words = without(plan, Some(&refused.detail), days);
            run.events.warning(words.clone());
            reached.notes.push(words);
            open(run, rds, plan).await
        }
        Err(error) => Err(error),
    }
}

/// Waits until the first backup is whole. Where RDS does not say so, nothing is claimed.
pub(super) async fn backed_up(
    run: &RunContext,
    rds: &Rds,
    plan: &RdsRestorePlan,
    database: Database,
    reached: &mut ReachedState,
) -> Result<Database, RdsRestoreError> {
    match plan.backups {
        Backups::None => {
            reached.notes.push("RDS keeps no automated backups of it".to_owned());
            return Ok(database);
        }
        Backups::Later(days) if database.profile.backup_retention_days == Some(0) => {
            reached.notes.push(without(plan, None, days));
            return Ok(database);
        }
        _ if database.profile.backup_retention_days == Some(0) => return Ok(database),
        _ => {}
    }
    if !plan.hydrate {
        if database.latest_restorable.is_none() || !database.is_available() {
            reached.notes.push(
                "RDS takes its first backup of it: until that is whole it renames nothing, so that it cannot be promoted, and restores no moment of it"
                    .to_owned(),
            );
        }
        return Ok(database);
    }
    let subject = format!("the first backup of `{}`", plan.to());
    let poll = Poll { every: plan.place.poll, deadline: plan.place.deadline };
    let (mut since, patience) = (None, plan.place.poll * SETTLING);
    let ask = async || {
        let now = plan.ask(rds).await?;
        Ok(now.map_or(PolledState::Absent, |database| first_backup_state(database, &mut since, patience)))
    };
    match poll.wait(&subject, &run.events, &run.cancel, ask).await {
        Ok(database) => {
            match database.latest_restorable {
                Some(_) => reached.marks.backed_up = Some(0.0),
                None => reached.notes.push(
                    "RDS does not say yet to which moments it can be restored: `drctl doctor` says it when it serves"
                        .to_owned(),
                ),
            }
            Ok(database)
        }
        // It can be used; that RDS is slow to back it up is no failure of the restore.
        Err(error @ PollError::Deadline { .. }) => {
            reached.notes.push(error_chain(&error));
            Ok(database)
        }
        Err(error) => Err(error.into()),
    }
}

impl Backups {
    /// Those that it has when the restore is over.
    pub(super) fn days(self) -> Option<u32> {
        match self {
            Self::TurnedOn(days) => Some(days),
            Self::Kept | Self::Later(_) | Self::None => None,
        }
    }
}

/// Done when RDS has ended it and says what can be restored, or has not said it for a while.
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

/// What turns them on, for a person.
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
