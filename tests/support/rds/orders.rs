//! What a test orders: what goes wrong, and where things stop and wait.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::Outcome;
use super::RdsServer;
use super::machine::Key;
use super::script::{Fault, Gone, When};

const SOON: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_millis(3);

impl RdsServer {
    /// From now on. Of several that are for a call the one told first is taken.
    pub(crate) fn fail(&self, when: When, fault: Fault) {
        self.shared.script().faults.push((when, fault));
    }

    /// No more faults, and every region is there.
    pub(crate) fn heal(&self) {
        let mut script = self.shared.script();
        script.faults.clear();
        script.gone.clear();
    }

    /// How many calls met with a fault so far.
    pub(crate) fn taken(&self) -> usize {
        self.shared.script().taken
    }

    /// The region's API goes away, its servers do not.
    pub(crate) fn lose_region(&self, region: &str, how: Gone) {
        self.shared.script().gone.insert(region.to_owned(), how);
    }

    pub(crate) fn find_region_again(&self, region: &str) {
        self.shared.script().gone.remove(region);
    }

    /// Copies that have begun when their source's region goes away fail; otherwise they end well.
    pub(crate) fn copies_need_their_source(&self) {
        self.shared.script().copies_need_their_source = true;
    }

    /// Nothing of this name leaves this status until it is let go.
    pub(crate) fn hold(&self, region: &str, id: &str, status: &str) {
        self.shared.script().holds.insert((region.to_owned(), id.to_owned(), status.to_owned()));
    }

    pub(crate) fn let_go(&self, region: &str, id: &str, status: &str) {
        self.shared.script().holds.remove(&(region.to_owned(), id.to_owned(), status.to_owned()));
    }

    /// Waits until something of this name has come into this status, once at least.
    pub(crate) async fn reached(&self, region: &str, id: &str, status: &str) -> Outcome<()> {
        let begun = Instant::now();
        let is_it = |seen: &(String, String, String)| seen.0 == region && seen.1 == id && seen.2 == status;
        while !self.shared.state().history.iter().any(is_it) {
            if begun.elapsed() > SOON {
                let seen = self.shared.state().history.clone();
                return Err(format!("{id} in {region} never was {status}: {seen:?}").into());
            }
            tokio::time::sleep(STEP).await;
        }
        Ok(())
    }

    /// The statuses something of this name has had.
    pub(crate) fn history(&self, region: &str, id: &str) -> Vec<String> {
        let state = self.shared.state();
        let of_it = state.history.iter().filter(|seen| seen.0 == region && seen.1 == id);
        of_it.map(|seen| seen.2.clone()).collect()
    }

    /// Where `available` would come, this comes and stays.
    pub(crate) fn ends_as(&self, region: &str, id: &str, status: &str) {
        self.shared.script().ends.insert((region.to_owned(), id.to_owned()), status.to_owned());
    }

    /// An instance that is there goes into this status and stays.
    pub(crate) fn set_status(&self, region: &str, id: &str, status: &str) -> Outcome<()> {
        let key = Key::of_instance(region, &self.look_up(region, id)?);
        self.shared.end_instance(&key, status);
        Ok(())
    }

    /// The next descriptions show these, one each.
    pub(crate) fn show(&self, region: &str, id: &str, statuses: &[&str]) {
        let statuses: VecDeque<String> = statuses.iter().map(|status| (*status).to_owned()).collect();
        self.shared.script().shown.insert((region.to_owned(), id.to_owned()), statuses);
    }

    /// An instance of this name will be available and take no connections.
    pub(crate) fn deafen(&self, region: &str, id: &str) {
        self.shared.script().deaf.insert((region.to_owned(), id.to_owned()));
    }

    /// An instance of this name will be available, and whoever connects gets no answer, as from behind a firewall.
    pub(crate) fn mute(&self, region: &str, id: &str) {
        self.shared.script().mute.insert((region.to_owned(), id.to_owned()));
    }

    /// An alias in a region means that key.
    pub(crate) fn alias(&self, region: &str, alias: &str, arn: &str) {
        self.shared.script().aliases.insert((region.to_owned(), alias.to_owned()), arn.to_owned());
    }

    /// A key is AWS's own, as `aws/rds`.
    pub(crate) fn manage_key(&self, arn: &str) {
        self.shared.script().keys_of_aws.insert(arn.to_owned());
    }

    /// So many descriptions do not show what was made a moment ago.
    pub(crate) fn hide_new_for(&self, descriptions: usize) {
        self.shared.script().hides_new_for = descriptions;
    }

    /// Its log is archived no more, or again.
    pub(crate) fn stall_archive(&self, region: &str, id: &str, is_stalled: bool) -> Outcome<()> {
        let instance = self.look_up(region, id)?;
        instance.archive.ok_or("it keeps no automated backups")?.stall(is_stalled);
        Ok(())
    }

    /// What a region has replicated of other regions' automated backups falls behind, or follows again.
    pub(crate) fn stall_replicas(&self, region: &str, is_stalled: bool) {
        let mut state = self.shared.state();
        let replicas = state.region(region).backups.values().filter(|backup| backup.region != region);
        replicas.for_each(|backup| backup.archive.stall(is_stalled));
    }

    /// Servers that are made from now on are reached through a door that speaks TLS and takes tokens of IAM. The
    /// path of the certificate that they are verified by.
    pub(crate) fn put_doors(&self) -> PathBuf {
        self.shared.storage.put_doors(Arc::downgrade(&self.shared));
        self.shared.authority.bundle()
    }

    /// Every token that was shown so far, and what was wrong with it.
    pub(crate) fn tokens(&self) -> Vec<(String, Result<(), String>)> {
        self.shared.script().tokens.clone()
    }

    /// To those who judge tokens it is so much later than to everybody else.
    pub(crate) fn set_clock_ahead(&self, by: chrono::Duration) {
        self.shared.script().clock_ahead = by;
    }

    /// IAM denies this action no more.
    pub(crate) fn allow(&self, action: &str) {
        self.shared.script().denied.remove(action);
    }

    /// IAM denies this action, or its simulator does: `rds-db:connect`, `rds:DeleteDBSnapshot`.
    pub(crate) fn deny(&self, action: &str) {
        self.shared.script().denied.insert(action.to_owned());
    }
}
