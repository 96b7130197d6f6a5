//! Who is told what, and where.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use super::credentials::Credentials;
use super::macros::words;
use crate::platform::SecretRef;

/// How long a channel may take to answer, unless the policy says otherwise.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Who is told.
#[derive(Clone, Debug)]
pub struct Notify {
    pub channels: Vec<Channel>,
    /// Names of channels for each severity, P1 first.
    pub routes: [Vec<String>; 4],
    pub heartbeats: Heartbeats,
    /// Where people look first; every notice has it.
    pub link: Option<Url>,
    /// A file of certificate authorities, trusted beside the host's.
    pub authorities: Option<PathBuf>,
    /// How long one try may take.
    pub timeout: Duration,
}

impl Default for Notify {
    fn default() -> Self {
        Self {
            channels: vec![],
            routes: Default::default(),
            heartbeats: Heartbeats::default(),
            link: None,
            authorities: None,
            timeout: TIMEOUT,
        }
    }
}

/// How bad a thing is. Ordered from the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Data loss, an outage, no valid backup inside the RPO.
    P1,
    /// The RPO at risk; a backup, copy or drill that failed.
    P2,
    /// A failure that recovered; a forecast RTO near its objective.
    P3,
    /// Drift and leftovers.
    P4,
}

impl Severity {
    pub const ALL: [Self; 4] = [Self::P1, Self::P2, Self::P3, Self::P4];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::P1 => "p1",
            Self::P2 => "p2",
            Self::P3 => "p3",
            Self::P4 => "p4",
        }
    }
}

impl std::fmt::Display for Severity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.as_str().to_uppercase())
    }
}

impl Notify {
    /// Returns the channels that are told of something this bad.
    pub fn channels(&self, severity: Severity) -> impl Iterator<Item = &Channel> {
        let names = &self.routes[severity as usize];
        self.channels.iter().filter(|channel| names.contains(&channel.name))
    }

    pub fn channel(&self, name: &str) -> Option<&Channel> {
        self.channels.iter().find(|channel| channel.name == name)
    }
}

words! {
    /// What is run again and again, and missed if it is not.
    pub Job {
        "backup" => Backup,
        "verify" => Verify,
        "copies" => Copies,
        "retention" => Retention,
        "drill" => Drill,
        "status" => Status,
    }
}

/// URLs that are called when a run begins and ends, for a monitor that alarms when the calls stop.
#[derive(Clone, Debug, Default)]
pub struct Heartbeats {
    /// For every job without one of its own.
    pub every: Option<SecretRef>,
    pub by_job: Vec<(Job, SecretRef)>,
}

impl Heartbeats {
    /// Returns the URL for a job. `drctl status` runs so often that its calls would hide that other jobs do not run: it
    /// needs its own.
    pub fn of(&self, job: Job) -> Option<&SecretRef> {
        let own = self.by_job.iter().find(|(of, _)| *of == job).map(|(_, url)| url);
        own.or(self.every.as_ref().filter(|_| job != Job::Status))
    }
}

#[derive(Clone, Debug)]
pub struct Channel {
    pub name: String,
    pub route: NotifyRoute,
}

/// Where a notification goes.
#[derive(Clone, Debug)]
pub enum NotifyRoute {
    Slack { url: SecretRef },
    PagerDuty { routing_key: SecretRef, endpoint: Option<Url> },
    Email(Mail),
    Sns { topic: String, region: String, endpoint: Option<Url>, credentials: Credentials },
    Webhook(Webhook),
    Alertmanager { url: Url, headers: Vec<(String, SecretRef)> },
    File { path: PathBuf },
}

impl NotifyRoute {
    /// Returns the word for it in the policy.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Slack { .. } => "slack",
            Self::PagerDuty { .. } => "pagerduty",
            Self::Email(_) => "email",
            Self::Sns { .. } => "sns",
            Self::Webhook(_) => "webhook",
            Self::Alertmanager { .. } => "alertmanager",
            Self::File { .. } => "file",
        }
    }

    /// Returns whether it remembers by a key what was told, so that each must be resolved by its own.
    pub fn keeps_state(&self) -> bool {
        matches!(self, Self::PagerDuty { .. } | Self::Alertmanager { .. })
    }
}

#[derive(Clone, Debug)]
pub struct Webhook {
    pub url: SecretRef,
    pub headers: Vec<(String, SecretRef)>,
    /// Signs each request, by the Standard Webhooks specification.
    pub signing_secret: Option<SecretRef>,
    /// A template of JSON in place of drctl's own body, for a tracker of tickets.
    pub body: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Mail {
    pub host: String,
    pub port: u16,
    pub tls: MailTls,
    pub username: Option<String>,
    pub password: Option<SecretRef>,
    pub from: String,
    /// Never empty.
    pub to: Vec<String>,
}

words! {
    /// How the connection to a mail server is encrypted.
    pub MailTls {
        /// Begun in clear, required to be encrypted before anything is said.
        "starttls" => StartTls,
        /// From the beginning.
        "implicit" => Implicit,
        /// Not; for a server on the same host.
        "none" => None,
    }
}
