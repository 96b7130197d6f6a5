//! The channels, a file for each: how a message is sent to it, and what counts as taken.

mod alertmanager;
mod email;
mod file;
mod pagerduty;
mod slack;
mod sns;
mod web;
mod webhook;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::message::Message;
use super::refused::Refused;
use crate::platform::{Clock, SecretRef, SecretString, web_client};
use crate::policy::{Channel, Notify, NotifyRoute};
use crate::text::error_chain;

pub(super) use web::{call, parsed_url};

/// What messages are sent with.
#[derive(Clone)]
pub struct Means {
    /// Or why there is none: a channel that does not need it works nevertheless.
    http: Result<reqwest::Client, String>,
    authorities: Option<PathBuf>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Means {
    pub fn new(notify: &Notify, clock: Arc<dyn Clock>) -> Self {
        let http = web_client(notify.authorities.as_deref(), notify.timeout);
        let http = http.map_err(|error| error_chain(&error));
        Self { http, authorities: notify.authorities.clone(), clock }
    }

    pub(super) fn http(&self) -> Result<&reqwest::Client, Refused> {
        self.http.as_ref().map_err(|reason| Refused::for_good(reason.clone()))
    }
}

impl std::fmt::Debug for Means {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Means")
    }
}

/// Sends a message once.
pub(super) async fn send(
    means: &Means,
    channel: &Channel,
    message: &Message,
    within: Duration,
) -> Result<(), Refused> {
    match &channel.route {
        NotifyRoute::Slack { url } => slack::send(means, url, message).await,
        NotifyRoute::PagerDuty { routing_key, endpoint } => {
            pagerduty::send(means, routing_key, endpoint.as_ref(), message).await
        }
        NotifyRoute::Email(mail) => email::send(means, mail, message, within).await,
        NotifyRoute::Sns { topic, region, endpoint, credentials } => {
            sns::send(topic, region, endpoint.as_ref(), credentials, message, within).await
        }
        NotifyRoute::Webhook(webhook) => webhook::send(means, webhook, message).await,
        NotifyRoute::Alertmanager { url, headers } => alertmanager::send(means, url, headers, message).await,
        NotifyRoute::File { path } => file::send(path, message).await,
    }
}

/// Reads a secret, as late as possible.
pub(super) async fn secret(reference: &SecretRef) -> Result<SecretString, Refused> {
    reference.resolve().await.map_err(|error| Refused::for_good(error_chain(&error)))
}
