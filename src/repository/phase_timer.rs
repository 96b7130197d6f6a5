use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::event::{Event, Events, Phase};
use crate::platform::Clock;

/// How long a phase of a run took: what the journal keeps, and forecasts are made from.
#[derive(Clone, Debug, Serialize)]
pub struct PhaseSeconds {
    pub phase: Phase,
    pub seconds: f64,
}

/// Times the phases, and tells of them.
pub struct Phases<'a> {
    clock: &'a dyn Clock,
    events: &'a Events,
    current: Option<(Phase, DateTime<Utc>)>,
    ended: Vec<PhaseSeconds>,
}

impl<'a> Phases<'a> {
    pub fn new(clock: &'a dyn Clock, events: &'a Events) -> Self {
        Self { clock, events, current: None, ended: vec![] }
    }

    /// Ends the phase before.
    pub fn begin(&mut self, phase: Phase) {
        self.end();
        self.events.emit(&Event::PhaseBegan { phase });
        self.current = Some((phase, self.clock.now()));
    }

    pub fn end(&mut self) {
        let Some((phase, begun)) = self.current.take() else { return };
        let seconds = (self.clock.now() - begun).as_seconds_f64().max(0.0);
        self.events.emit(&Event::PhaseEnded { phase, seconds });
        // A phase that was gone through twice, as when the fetch began again, took both times.
        match self.ended.iter_mut().find(|ended| ended.phase == phase) {
            Some(ended) => ended.seconds += seconds,
            None => self.ended.push(PhaseSeconds { phase, seconds }),
        }
    }

    pub fn current(&self) -> Phase {
        self.current.map_or(Phase::Prepare, |(phase, _)| phase)
    }

    pub fn ended(mut self) -> Vec<PhaseSeconds> {
        self.end();
        self.ended
    }
}
