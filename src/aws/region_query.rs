//! Asking a region that may be gone what it has.

use std::time::Duration;

use crate::event::Events;
use crate::policy::AwsLocation;
use crate::text::format_duration;

/// A wait that is longer is explained.
const SILENCE: Duration = Duration::from_secs(3);

/// Waits for what a region answers, and says that it is waited for where no answer comes soon.
pub async fn while_asked<T>(place: &AwsLocation, events: &Events, asking: impl Future<Output = T>) -> T {
    tokio::pin!(asking);
    let soon = SILENCE.min(place.patience / 2);
    tokio::select! {
        biased;
        answer = &mut asking => return answer,
        () = tokio::time::sleep(soon) => {}
    }
    events.notice(format!(
        "waiting for an answer from {}, up to {} (`patience` in the policy)",
        place.region,
        patience(place)
    ));
    asking.await
}

/// `15s`, `700ms`
fn patience(place: &AwsLocation) -> String {
    match place.patience.subsec_nanos() {
        0 => format_duration(place.patience),
        _ => format_duration(place.patience).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, Observer};
    use crate::policy::Credentials;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Heard(Arc<Mutex<Vec<String>>>);

    impl Observer for Heard {
        fn observe(&self, event: &Event) {
            if let Event::Notice { message } = event {
                self.0.lock().unwrap().push(message.clone());
            }
        }
    }

    #[tokio::test]
    async fn who_answers_soon_is_not_spoken_of_and_who_does_not_is_named_once() {
        let heard = Heard::default();
        let events = Events::to(vec![Box::new(heard.clone())]);
        let place = AwsLocation {
            region: "us-east-1".to_owned(),
            endpoint: None,
            credentials: Credentials::Default,
            poll: Duration::from_secs(20),
            deadline: Duration::from_secs(60),
            patience: Duration::from_millis(200),
        };
        while_asked(&place, &events, std::future::ready(())).await;
        assert_eq!(heard.0.lock().unwrap().len(), 0);
        while_asked(&place, &events, tokio::time::sleep(Duration::from_millis(190))).await;
        let said = heard.0.lock().unwrap().clone();
        assert_eq!(said.len(), 1);
        assert!(
            said[0].starts_with("waiting for an answer from us-east-1") && said[0].contains("200ms"),
            "{said:?}"
        );
    }
}
