//! The time and bytes of each phase of a drill, by a monotonic clock.

use std::time::{Duration, Instant};

use super::DrillPhase;
use crate::event::PhaseSeconds;

/// Until an operator has noticed and decided.
pub const DETECT: &str = "detect";
/// Until the application uses what was restored.
pub const CUT_OVER: &str = "cut-over";

/// The phases so far.
#[derive(Debug)]
pub(super) struct Stages {
    begun: Instant,
    phases: Vec<DrillPhase>,
}

impl Stages {
    pub(super) fn begin() -> Self {
        Self { begun: Instant::now(), phases: vec![] }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Adds a phase that began at `since` and ends now.
    pub(super) fn end(&mut self, phase: &str, since: Instant, bytes: Option<u64>) {
        self.add(phase, since.elapsed().as_secs_f64(), bytes, true);
    }

    /// Adds a phase that follows the usable application.
    pub(super) fn after(&mut self, phase: &str, since: Instant) {
        self.add(phase, since.elapsed().as_secs_f64(), None, false);
    }

    /// Adds the phases of a restore. `bytes`: of a phase, where they determine its length.
    pub(super) fn restored(&mut self, phases: &[PhaseSeconds], bytes: impl Fn(&str) -> Option<u64>) {
        self.restored_until(phases, &[], bytes);
    }

    /// Adds the phases of a restore; `after`: those that follow what is usable.
    pub(super) fn restored_until(
        &mut self,
        phases: &[PhaseSeconds],
        after: &[&str],
        bytes: impl Fn(&str) -> Option<u64>,
    ) {
        for timed in phases {
            let phase = timed.phase.as_str();
            self.add(phase, timed.seconds, bytes(phase), !after.contains(&phase));
        }
    }

    /// Returns the seconds that do not count.
    pub(super) fn uncounted(&self) -> f64 {
        self.phases.iter().filter(|phase| !phase.counts).map(|phase| phase.seconds).sum()
    }

    fn add(&mut self, phase: &str, seconds: f64, bytes: Option<u64>, counts: bool) {
        let (phase, is_allowance) = (phase.to_owned(), false);
        self.phases.push(DrillPhase { phase, seconds, bytes, is_allowance, counts });
    }

    /// Returns all phases, with the allowances: the first before everything else, the others behind what counts.
    pub(super) fn with_allowances(self, allowances: &[(String, Duration)]) -> Vec<DrillPhase> {
        let allowance = |(phase, allowed): &(String, Duration)| DrillPhase {
            phase: phase.clone(),
            seconds: allowed.as_secs_f64(),
            bytes: None,
            is_allowance: true,
            counts: true,
        };
        let given = allowances.iter().filter(|(_, allowed)| !allowed.is_zero());
        let (before, behind): (Vec<_>, Vec<_>) = given.partition(|(phase, _)| phase == DETECT);
        let (counting, rest): (Vec<_>, Vec<_>) = self.phases.into_iter().partition(|phase| phase.counts);
        let before = before.into_iter().map(allowance);
        before.chain(counting).chain(behind.into_iter().map(allowance)).chain(rest).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allowances_stand_around_what_was_measured() {
        let mut stages = Stages::begin();
        stages.end("fetch", Instant::now(), Some(7));
        stages.after("clean up", Instant::now());
        let allowed = [(CUT_OVER, 5), (DETECT, 60), ("none", 0)]
            .map(|(phase, seconds)| (phase.to_owned(), Duration::from_secs(seconds)));
        let phases = stages.with_allowances(&allowed);
        let named: Vec<_> = phases.iter().map(|phase| (phase.phase.as_str(), phase.is_allowance)).collect();
        assert_eq!(named, [("detect", true), ("fetch", false), ("cut-over", true), ("clean up", false)]);
    }
}
