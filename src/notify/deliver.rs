//! One message to one channel: tried a few times, within limits.

use std::time::Duration;

use super::channel::{self, Means};
use super::message::Message;
use super::refused::{Refused, Retry};
use crate::policy::Channel;

const ATTEMPTS: u32 = 3;

/// How often and how long a channel is tried.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub attempts: u32,
    /// Of one try.
    pub within: Duration,
}

impl Limits {
    pub fn new(within: Duration) -> Self {
        Self { attempts: ATTEMPTS, within }
    }

    /// One try only: for a run that somebody ended.
    pub fn once(self) -> Self {
        Self { attempts: 1, ..self }
    }

    /// Returns the pause after a failed try, which doubles, or what the channel asks for, if it is not too long.
    fn pause(self, tries: u32, asked: Option<Duration>) -> Duration {
        let own = self.within / 15 * 2_u32.saturating_pow(tries.saturating_sub(1));
        asked.unwrap_or(own).min(self.within * 2)
    }
}

/// Sends a message, and tries again where that may help.
pub(super) async fn deliver(
    means: &Means,
    channel: &Channel,
    message: &Message,
    limits: Limits,
) -> Result<(), Refused> {
    let mut tries = 0;
    loop {
        tries += 1;
        let sending = channel::send(means, channel, message, limits.within);
        let refused = match tokio::time::timeout(limits.within, sending).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(refused)) => refused,
            Err(_) => {
                Refused::soon(format!("no answer within {}", crate::text::format_duration(limits.within)))
            }
        };
        let asked = match refused.retry {
            Retry::Never => return Err(refused),
            Retry::Soon => None,
            Retry::After(pause) => Some(pause),
        };
        if tries >= limits.attempts {
            return Err(refused);
        }
        tokio::time::sleep(limits.pause(tries, asked)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_what_a_channel_asks_for_is_honoured_within_limits() {
        let limits = Limits::new(Duration::from_secs(15));
        let seconds =
            |tries, asked: Option<u64>| limits.pause(tries, asked.map(Duration::from_secs)).as_secs();
        assert_eq!([seconds(1, None), seconds(2, None), seconds(9, None)], [1, 2, 30]);
        assert_eq!([seconds(1, Some(7)), seconds(1, Some(86_400))], [7, 30]);
    }
}
