use std::time::Instant;

use crate::event::{Event, Events, Phase};

/// A phase that is announced and timed.
pub(super) struct PhaseTimer<'a> {
    phase: Phase,
    begun: Instant,
    events: &'a Events,
}

impl<'a> PhaseTimer<'a> {
    pub(super) fn begin(phase: Phase, events: &'a Events) -> Self {
        events.emit(&Event::PhaseBegan { phase });
        Self { phase, begun: Instant::now(), events }
    }

    pub(super) fn end(self) {
        let seconds = self.begun.elapsed().as_secs_f64();
        self.events.emit(&Event::PhaseEnded { phase: self.phase, seconds });
    }
}
