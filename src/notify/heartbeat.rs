//! The heartbeat of a job, by the protocol of healthchecks.io: a call when it begins, one when it ends.

use url::Url;

use super::Teller;
use super::channel::{Means, call, parsed_url, secret};
use super::deliver::Limits;
use super::refused::{Refused, Retry};
use crate::model::Sha256Hex;
use crate::platform::SecretRef;
use crate::policy::{Job, Policy};

/// How much of the body is sent; monitors keep 10 to 100 kB.
const BODY: usize = 8 * 1024;

/// The heartbeat of one run.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    url: SecretRef,
    /// A UUID, which ties the calls of one run together.
    run: String,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct HeartbeatEnd {
    pub is_good: bool,
    /// What came of it, for people.
    pub text: String,
}

impl Heartbeat {
    /// Returns the heartbeat of a job that begins; `None`: the policy has none for it. `seed`: of this run alone.
    pub fn of(policy: &Policy, job: Job, seed: &str) -> Option<Self> {
        let url = policy.notify.heartbeats.of(job)?.clone();
        let digest = Sha256Hex::digest(format!("{}/{}/{seed}", policy.system, job.as_str()).as_bytes());
        Some(Self { url, run: uuid(&digest.to_string()) })
    }

    /// Says that the run begins; tried once, so as not to delay it.
    pub async fn begin(&self, teller: &Teller<'_>) -> Result<(), Refused> {
        self.call(teller.means(), teller.limits().once(), Some("start"), "").await
    }

    /// Says how the run ended.
    pub async fn end(&self, teller: &Teller<'_>, end: &HeartbeatEnd) -> Result<(), Refused> {
        let path = if end.is_good { None } else { Some("fail") };
        self.call(teller.means(), teller.limits(), path, &end.text).await
    }

    async fn call(
        &self,
        means: &Means,
        limits: Limits,
        path: Option<&str>,
        text: &str,
    ) -> Result<(), Refused> {
        let url = address(parsed_url(&secret(&self.url).await?)?, path, &self.run);
        let text: String = text.chars().take(BODY).collect();
        let mut tries = 0;
        loop {
            tries += 1;
            match call(means.http()?.post(url.clone()).body(text.clone())).await {
                Ok(_) => return Ok(()),
                Err(refused) if refused.retry == Retry::Never || tries >= limits.attempts => {
                    return Err(refused);
                }
                Err(_) => tokio::time::sleep(limits.within / 15).await,
            }
        }
    }
}

/// Returns the address of a call: `<url>[/start|/fail]?rid=<run>`, with what the URL asks for itself.
fn address(mut url: Url, path: Option<&str>, run: &str) -> Url {
    if let Some(path) = path
        && let Ok(mut segments) = url.path_segments_mut()
    {
        segments.pop_if_empty().push(path);
    }
    url.query_pairs_mut().append_pair("rid", run);
    url
}

/// Returns a UUID (version 8) of a digest in hexadecimal.
fn uuid(digest: &str) -> String {
    let part = |from: usize, to: usize| digest.get(from..to).unwrap_or_default();
    format!("{}-{}-8{}-a{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calls_of_a_run_are_those_of_the_protocol() {
        let at = |text: &str, path| address(text.parse().unwrap(), path, "r").to_string();
        assert_eq!(at("https://hc-ping.com/uuid", Some("start")), "https://hc-ping.com/uuid/start?rid=r");
        assert_eq!(at("https://hc-ping.com/uuid/", Some("fail")), "https://hc-ping.com/uuid/fail?rid=r");
        assert_eq!(
            at("https://hc-ping.com/key/slug?create=1", None),
            "https://hc-ping.com/key/slug?create=1&rid=r"
        );
    }

    #[test]
    fn a_run_is_named_by_a_uuid() {
        let made = uuid(&Sha256Hex::digest(b"x").to_string());
        assert_eq!(made.len(), 36);
        assert!(made.split('-').map(str::len).eq([8, 4, 4, 4, 12]), "{made}");
    }
}
