use std::time::Instant;

use serde::Serialize;

use super::{Event, Events, Phase};

/// The duration of a phase of a run, recorded in the journal and used for forecasts.
#[derive(Clone, Debug, Serialize)]
pub struct PhaseSeconds {
    pub phase: Phase,
    pub seconds: f64,
}

/// Times the consecutive phases of a run, and emits their events.
#[derive(Debug)]
pub struct PhaseTimer<'a> {
    events: &'a Events,
    current: Option<(Phase, Instant)>,
    ended: Vec<PhaseSeconds>,
}

impl<'a> PhaseTimer<'a> {
    pub fn new(events: &'a Events) -> Self {
        Self { events, current: None, ended: vec![] }
    }

    /// Begins a phase, and ends the one before it; the current one goes on.
    pub fn begin(&mut self, phase: Phase) {
        if self.current.is_some_and(|(current, _)| current == phase) {
            return;
        }
        self.end();
        self.events.emit(&Event::PhaseBegan { phase });
        self.current = Some((phase, Instant::now()));
    }

    pub fn end(&mut self) {
        let Some((phase, begun)) = self.current.take() else { return };
        let seconds = begun.elapsed().as_secs_f64();
        self.events.emit(&Event::PhaseEnded { phase, seconds });
        // A repeated phase, as of a retried fetch, has the sum of its times.
        match self.ended.iter_mut().find(|ended| ended.phase == phase) {
            Some(ended) => ended.seconds += seconds,
            None => self.ended.push(PhaseSeconds { phase, seconds }),
        }
    }

    pub fn current(&self) -> Phase {
        self.current.map_or(Phase::Prepare, |(phase, _)| phase)
    }

    /// Ends the last phase, and returns how long each took, in the order they first ended.
    pub fn ended(mut self) -> Vec<PhaseSeconds> {
        self.end();
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::event::Observer;

    struct Seen(Arc<Mutex<Vec<String>>>);

    impl Observer for Seen {
        fn observe(&self, event: &Event) {
            let text = match event {
                Event::PhaseBegan { phase } => format!("+{}", phase.as_str()),
                Event::PhaseEnded { phase, .. } => format!("-{}", phase.as_str()),
                other => format!("{other:?}"),
            };
            self.0.lock().unwrap().push(text);
        }
    }

    #[test]
    fn a_phase_ends_the_one_before_it_and_one_that_ran_twice_is_listed_once() {
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let events = Events::to(vec![Box::new(Seen(Arc::clone(&seen)))]);
        let mut timer = PhaseTimer::new(&events);
        assert_eq!(timer.current(), Phase::Prepare);
        for phase in [Phase::Fetch, Phase::Fetch, Phase::Load, Phase::Fetch] {
            timer.begin(phase);
            assert_eq!(timer.current(), phase);
        }
        let ended: Vec<_> = timer.ended().iter().map(|ended| ended.phase).collect();
        assert_eq!(ended, [Phase::Fetch, Phase::Load]);
        assert_eq!(*seen.lock().unwrap(), ["+fetch", "-fetch", "+load", "-load", "+fetch", "-fetch"]);
    }
}
