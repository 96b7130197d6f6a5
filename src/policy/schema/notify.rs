use std::path::PathBuf;

use schemars::JsonSchema;

use super::CredentialsTable;
use crate::platform::SecretRef;
use crate::policy::MailTls;
use crate::policy::address::{Arn, Region, S3Endpoint};
use crate::policy::decode::{Decode, Diagnostics, KeyedTable, Node, OneOrMany, Spanned};
use crate::policy::macros::{kinds, table};
use crate::policy::value::{Period, WholeNumber};

table! {
    /// Who is told of what, by severity: after every backup, verification, copy, retention and drill, and by
    /// `drctl status --notify`, which cron runs.
    NotifyTable {
        required {}
        optional {
            /// The channels there are, each by a name of its own.
            channels: KeyedTable<String, ChannelTable>,
            /// Channels for data loss, an outage, no valid backup inside the RPO. All of them are told; where none takes
            /// it, those of the next severity are.
            p1: Vec<Spanned<String>>,
            /// Channels for an RPO at risk, a failed backup, copy or drill.
            p2: Vec<Spanned<String>>,
            /// Channels for a failure that recovered, a forecast RTO near its objective.
            p3: Vec<Spanned<String>>,
            /// Channels for drift and leftovers.
            p4: Vec<Spanned<String>>,
            /// A URL that is called when a run begins and ends, by reference, for a monitor that alarms when the
            /// calls stop: a dead host sends no notification. One for all jobs, or one for each, like
            /// `{ backup = "env:BACKUP_PING_URL", drill = "env:DRILL_PING_URL" }`.
            heartbeat: HeartbeatEntry,
            /// Where people look first, like a dashboard or a page of the runbook. Every notice has it.
            link: S3Endpoint,
            /// A file of certificate authorities (PEM) to trust beside the host's.
            authorities: PathBuf,
            /// How long one try of a channel may take; it is tried three times. `15s` unless given.
            timeout: Period,
        }
    }
}

/// One URL for every job, or one for each.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged)]
pub(in crate::policy) enum HeartbeatEntry {
    All(SecretRef),
    ByJob(Box<HeartbeatTable>),
}

impl Decode for HeartbeatEntry {
    const EXAMPLE: &'static str = "\"env:HEARTBEAT_URL\"";

    fn read(node: &Node<'_>, log: &mut Diagnostics<'_>) -> Option<Self> {
        if node.value.is_table() {
            return HeartbeatTable::read(node, log).map(|table| Self::ByJob(Box::new(table)));
        }
        SecretRef::read(node, log).map(Self::All)
    }
}

table! {
    /// A heartbeat for each job.
    HeartbeatTable {
        required {}
        optional {
            /// `drctl backup`.
            backup: SecretRef,
            /// `drctl verify`.
            verify: SecretRef,
            /// `drctl copies sync`.
            copies: SecretRef,
            /// `drctl retention apply`.
            retention: SecretRef,
            /// `drctl drill run`.
            drill: SecretRef,
            /// `drctl status --notify`.
            status: SecretRef,
        }
    }
}

kinds! {
    /// Where a notification goes.
    ChannelTable {
        /// An incoming webhook of Slack.
        "slack" => Slack(SlackTable),
        /// PagerDuty, Events API v2.
        "pagerduty" => PagerDuty(PagerDutyTable),
        /// Mail, by SMTP.
        "email" => Email(EmailTable),
        /// A topic of Amazon SNS.
        "sns" => Sns(SnsTable),
        /// A POST of JSON.
        "webhook" => Webhook(WebhookTable),
        /// Prometheus's Alertmanager, API v2.
        "alertmanager" => Alertmanager(AlertmanagerTable),
        /// A file, to which each notice is appended as a line of JSON.
        "file" => File(FileTable),
    }
}

table! {
    /// An incoming webhook of Slack.
    SlackTable {
        required {
            /// The webhook's URL, by reference: it is enough to post.
            url: SecretRef,
        }
        optional {}
    }
}

table! {
    /// PagerDuty, Events API v2.
    PagerDutyTable {
        required {
            /// The integration's key, by reference.
            routing_key: SecretRef,
        }
        optional {
            /// `https://events.pagerduty.com` unless given (`https://events.eu.pagerduty.com` for the EU).
            endpoint: S3Endpoint,
        }
    }
}

table! {
    /// Mail, by SMTP.
    EmailTable {
        required {
            /// The mail server's name.
            host: String,
            /// The sender's address.
            from: String,
            /// Addresses.
            to: OneOrMany<String>,
        }
        optional {
            /// 587 unless given; 465 for `tls = "implicit"`, 25 for `tls = "none"`.
            port: WholeNumber<1, 65_535>,
            /// `starttls` unless given.
            tls: MailTls,
            /// By default without a login.
            username: String,
            /// By reference; goes with `username`.
            password: SecretRef,
        }
    }
}

table! {
    /// A topic of Amazon SNS.
    SnsTable {
        required {
            /// ARN of the topic.
            topic: Arn,
        }
        optional {
            /// The topic's own region unless given.
            region: Region,
            /// The service's address, for anything that is not AWS.
            endpoint: S3Endpoint,
            /// Where credentials come from; the SDK's own chain unless given.
            credentials: CredentialsTable,
        }
    }
}

table! {
    /// A POST of JSON.
    WebhookTable {
        required {
            /// By reference: such URLs often hold a token.
            url: SecretRef,
        }
        optional {
            /// Headers, each value by reference.
            headers: KeyedTable<String, SecretRef>,
            /// Signs each request, by the Standard Webhooks specification: `whsec_` and 24 to 64 bytes in base64, by
            /// reference.
            signing_secret: SecretRef,
            /// JSON to send in place of drctl's own, like what a tracker needs for a ticket. `${headline}`, `${impact}`,
            /// `${action}`, `${link}`, `${severity}`, `${state}`, `${system}`, `${source}`, `${event}`, `${key}`, `${run}`,
            /// `${host}` and `${at}` are filled in, inside of strings.
            body: String,
        }
    }
}

table! {
    /// Prometheus's Alertmanager, API v2.
    AlertmanagerTable {
        required {
            /// Its address, like `https://alertmanager.example.org:9093`.
            url: S3Endpoint,
        }
        optional {
            /// Headers, each value by reference, like `Authorization`.
            headers: KeyedTable<String, SecretRef>,
        }
    }
}

table! {
    /// A file, to which each notice is appended as a line of JSON.
    FileTable {
        required {
            /// It is created if it does not exist.
            path: PathBuf,
        }
        optional {}
    }
}
