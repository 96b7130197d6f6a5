//! What a test wants to go wrong, and where it wants things to stop.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::form::Form;
use super::machine::Holds;

/// What happens to a call.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Answered with this status, code and message; nothing is done.
    Error(u16, &'static str, &'static str),
    /// The action is carried out and the connection closed before the answer.
    LoseAnswer,
    /// The connection is closed; nothing is done.
    Refuse,
    /// Never answered; nothing is done.
    Hang,
    /// The action is carried out, and never answered.
    HangWhenDone,
    /// It is carried out after a while.
    Delay(Duration),
}

impl Fault {
    pub(crate) const THROTTLING: Self = Self::Error(400, "Throttling", "Rate exceeded");
    pub(crate) const EXPIRED: Self =
        Self::Error(403, "ExpiredToken", "The security token included in the request is expired");
    pub(crate) const DENIED: Self =
        Self::Error(403, "AccessDenied", "User is not authorized to perform this operation");
    pub(crate) const INTERNAL: Self =
        Self::Error(500, "InternalFailure", "The request processing has failed because of an unknown error");
    pub(crate) const UNAVAILABLE: Self =
        Self::Error(503, "ServiceUnavailable", "Service is unable to handle request.");
}

/// Which calls a fault is for.
#[derive(Clone, Debug)]
pub(crate) struct When {
    region: Option<String>,
    action: Option<String>,
    /// A value of one of its parameters.
    value: Option<String>,
    skip: usize,
    times: usize,
}

impl When {
    pub(crate) fn any() -> Self {
        Self { region: None, action: None, value: None, skip: 0, times: usize::MAX }
    }

    pub(crate) fn action(action: &str) -> Self {
        Self { action: Some(action.to_owned()), ..Self::any() }
    }

    pub(crate) fn in_region(mut self, region: &str) -> Self {
        self.region = Some(region.to_owned());
        self
    }

    /// Only calls that have this as the value of a parameter: an identifier, an ARN.
    pub(crate) fn with(mut self, value: &str) -> Self {
        self.value = Some(value.to_owned());
        self
    }

    /// Leaves out the first of them.
    pub(crate) fn after(mut self, calls: usize) -> Self {
        self.skip = calls;
        self
    }

    /// Only so many of them.
    pub(crate) fn times(mut self, calls: usize) -> Self {
        self.times = calls;
        self
    }

    fn takes(&mut self, region: &str, action: &str, form: &Form) -> bool {
        let is_such = self.region.as_ref().is_none_or(|wanted| wanted == region)
            && self.action.as_ref().is_none_or(|wanted| wanted == action)
            && self.value.as_ref().is_none_or(|wanted| form.record().values().any(|value| value == wanted));
        if !is_such {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        let takes = self.times > 0;
        self.times = self.times.saturating_sub(1);
        takes
    }
}

/// How a region is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gone {
    /// 503 to everything.
    Unavailable,
    /// Connections are closed.
    Reset,
    /// Nothing is answered.
    Silent,
}

#[derive(Debug, Default)]
pub(super) struct Script {
    pub(super) faults: Vec<(When, Fault)>,
    /// How many calls met with a fault.
    pub(super) taken: usize,
    pub(super) gone: BTreeMap<String, Gone>,
    pub(super) holds: Holds,
    /// Region and identifier, and the status its way ends in.
    pub(super) ends: BTreeMap<(String, String), String>,
    /// Statuses that the next descriptions show, whatever is true.
    pub(super) shown: BTreeMap<(String, String), VecDeque<String>>,
    /// Instances that take no connections though they are available.
    pub(super) deaf: BTreeSet<(String, String)>,
    /// Instances at whose address, though they are available, nobody ever answers.
    pub(super) mute: BTreeSet<(String, String)>,
    /// What stands at those addresses.
    pub(super) silent: Vec<std::net::TcpListener>,
    /// So many descriptions do not show what was made a moment ago.
    pub(super) hides_new_for: usize,
    /// A copy that had begun fails when the region it comes from is gone.
    pub(super) copies_need_their_source: bool,
    /// Tokens that were shown, and why they were refused.
    pub(super) tokens: Vec<(String, Result<(), String>)>,
    /// How much later it is to those who judge tokens.
    pub(super) clock_ahead: chrono::Duration,
    /// Actions that IAM's simulator denies.
    pub(super) denied: BTreeSet<String>,
    /// Region and alias, as `alias/school`, and the ARN of the key that it means.
    pub(super) aliases: BTreeMap<(String, String), String>,
    /// ARNs of keys that AWS manages.
    pub(super) keys_of_aws: BTreeSet<String>,
    /// What went wrong in this double itself, or in a server that it ran.
    pub(super) failures: Vec<String>,
}

impl Script {
    pub(super) fn fault(&mut self, region: &str, action: &str, form: &Form) -> Option<Fault> {
        let takes =
            |(when, fault): &mut (When, Fault)| when.takes(region, action, form).then(|| fault.clone());
        let fault = self.faults.iter_mut().find_map(takes);
        self.taken += usize::from(fault.is_some());
        fault
    }

    /// The status to be shown in place of the true one.
    pub(super) fn show(&mut self, region: &str, id: &str, status: &str) -> String {
        let shown = self.shown.get_mut(&(region.to_owned(), id.to_owned())).and_then(VecDeque::pop_front);
        shown.unwrap_or_else(|| status.to_owned())
    }
}
