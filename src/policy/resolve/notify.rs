use std::time::Duration;

use super::ResolveBase;
use super::repository::credentials;
use crate::platform::SecretRef;
use crate::policy::body_template;
use crate::policy::decode::{Diagnostics, KeyedTable, Spanned};
use crate::policy::notify::{Channel, Heartbeats, Job, Mail, MailTls, Notify, NotifyRoute, Webhook};
use crate::policy::schema::{ChannelTable, HeartbeatEntry, NotifyTable};
use crate::text::suggest;

/// The longest timeout: three tries of each channel delay the end of a run.
const LONGEST: Duration = Duration::from_secs(120);

pub(super) fn notify(
    table: &Spanned<NotifyTable>,
    base: ResolveBase<'_>,
    log: &mut Diagnostics<'_>,
) -> Notify {
    let given = table.channels.as_ref().map(|channels| channels.0.as_slice()).unwrap_or_default();
    let names: Vec<&str> = given.iter().map(|(name, _)| name.as_str()).collect();
    // A rejected channel is not a missing one.
    let whole = !log.has_faults_at(&table.spot.below("channels"));
    let routes = [&table.p1, &table.p2, &table.p3, &table.p4].map(|route| {
        let mut told: Vec<String> = Vec::new();
        for name in route.iter().flat_map(|route| &route.value) {
            if whole && !names.contains(&name.as_str()) {
                let message = format!("there is no channel `{}`", name.value);
                log.fault(&name.spot, message, suggest("channels", name, &names));
            }
            if !told.contains(&name.value) {
                told.push(name.value.clone());
            }
        }
        told
    });
    for (name, _) in
        given.iter().filter(|(name, _)| whole && !routes.iter().flatten().any(|told| *told == name.value))
    {
        let hint = "name it in `p1`, `p2`, `p3` or `p4`, or remove it";
        log.fault(&name.spot, "is a channel that no priority uses", hint);
    }
    let channels = given
        .iter()
        .filter_map(|(name, table)| {
            Some(Channel { name: name.value.clone(), route: route(table, base, log)? })
        })
        .collect();
    if let Some(timeout) = table.timeout.as_ref().filter(|timeout| timeout.0 > LONGEST) {
        log.fault(
            &timeout.spot,
            "is more than `2m`",
            "every channel that does not answer delays a run by three of them",
        );
    }
    Notify {
        channels,
        routes,
        heartbeats: table.heartbeat.as_deref().map(|entry| heartbeats(entry, base)).unwrap_or_default(),
        link: table.link.as_ref().map(|link| link.0.clone()),
        authorities: table.authorities.as_ref().map(|path| base.path(path)),
        timeout: table.timeout.as_ref().map_or(Notify::default().timeout, |timeout| timeout.0),
    }
}

fn heartbeats(entry: &HeartbeatEntry, base: ResolveBase<'_>) -> Heartbeats {
    match entry {
        HeartbeatEntry::All(url) => Heartbeats { every: Some(base.secret_ref(url)), by_job: vec![] },
        HeartbeatEntry::ByJob(table) => {
            let given = [
                (Job::Backup, &table.backup),
                (Job::Verify, &table.verify),
                (Job::Copies, &table.copies),
                (Job::Retention, &table.retention),
                (Job::Drill, &table.drill),
                (Job::Status, &table.status),
            ];
            let by_job = given.into_iter().filter_map(|(job, url)| Some((job, base.secret(url)?)));
            Heartbeats { every: None, by_job: by_job.collect() }
        }
    }
}

fn headers(
    given: Option<&Spanned<KeyedTable<String, SecretRef>>>,
    base: ResolveBase<'_>,
    log: &mut Diagnostics<'_>,
) -> Vec<(String, SecretRef)> {
    let given = given.map(|headers| headers.0.as_slice()).unwrap_or_default();
    for (name, _) in given {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if name.is_empty() || !name.bytes().all(fits) {
            log.fault(
                &name.spot,
                format!("`{}` is not the name of a header", name.value),
                "write it like `Authorization`",
            );
        }
    }
    given.iter().map(|(name, value)| (name.value.clone(), base.secret_ref(value))).collect()
}

fn route(table: &ChannelTable, base: ResolveBase<'_>, log: &mut Diagnostics<'_>) -> Option<NotifyRoute> {
    Some(match table {
        ChannelTable::Slack(slack) => NotifyRoute::Slack { url: base.secret(&slack.url)? },
        ChannelTable::PagerDuty(duty) => NotifyRoute::PagerDuty {
            routing_key: base.secret(&duty.routing_key)?,
            endpoint: duty.endpoint.as_ref().map(|endpoint| endpoint.0.clone()),
        },
        ChannelTable::Email(mail) => {
            let tls = mail.tls.as_deref().copied().unwrap_or(MailTls::StartTls);
            let to = mail.to.as_ref().map(|to| to.0.as_slice()).unwrap_or_default();
            if let Some(list) = mail.to.as_ref().filter(|_| to.is_empty())
                && !log.has_faults_at(&list.spot)
            {
                log.fault(&list.spot, "names nobody", "give at least one address");
            }
            for address in to {
                address_of(address, log);
            }
            if let Some(from) = &mail.from {
                address_of(from, log);
            }
            if let Some(password) = mail.password.as_ref().filter(|_| mail.username.is_none()) {
                log.fault(&password.spot, "is not used", "it goes with `username`");
            }
            if let Some(password) = mail.password.as_ref().filter(|_| tls == MailTls::None) {
                let hint = "use `tls = \"starttls\"` or `tls = \"implicit\"`";
                log.fault(&password.spot, "would cross the network in clear", hint);
            }
            let usual = match tls {
                MailTls::StartTls => 587,
                MailTls::Implicit => 465,
                MailTls::None => 25,
            };
            NotifyRoute::Email(Mail {
                host: mail.host.as_deref()?.clone(),
                port: super::number(&mail.port).unwrap_or(usual),
                tls,
                username: mail.username.as_deref().cloned(),
                password: base.secret(&mail.password),
                from: mail.from.as_deref()?.clone(),
                to: to.iter().map(|address| address.value.clone()).collect(),
            })
        }
        ChannelTable::Sns(sns) => {
            let credentials = credentials(sns.credentials.as_ref(), base, log);
            let topic = sns.topic.as_ref()?;
            if topic.service() != "sns" {
                log.fault(
                    &topic.spot,
                    "is not the ARN of a topic",
                    "write it like `arn:aws:sns:us-east-1:123456789012:backups`",
                );
            }
            let own = topic.region().to_owned();
            NotifyRoute::Sns {
                topic: topic.0.clone(),
                region: sns.region.as_ref().map_or(own, |region| region.0.clone()),
                endpoint: sns.endpoint.as_ref().map(|endpoint| endpoint.0.clone()),
                credentials,
            }
        }
        ChannelTable::Webhook(hook) => {
            if let Some(body) = &hook.body
                && let Err(invalid) = body_template::check(body)
            {
                log.fault(&body.spot, invalid.message, invalid.hint);
            }
            NotifyRoute::Webhook(Webhook {
                url: base.secret(&hook.url)?,
                headers: headers(hook.headers.as_ref(), base, log),
                signing_secret: base.secret(&hook.signing_secret),
                body: hook.body.as_deref().cloned(),
            })
        }
        ChannelTable::Alertmanager(manager) => NotifyRoute::Alertmanager {
            url: manager.url.as_ref()?.0.clone(),
            headers: headers(manager.headers.as_ref(), base, log),
        },
        ChannelTable::File(file) => NotifyRoute::File { path: base.path(file.path.as_deref()?) },
    })
}

fn address_of(address: &Spanned<String>, log: &mut Diagnostics<'_>) {
    let parts = address.trim_end_matches('>').rsplit_once('@');
    if !parts.is_some_and(|(who, host)| !who.is_empty() && !host.is_empty()) {
        log.fault(
            &address.spot,
            format!("`{}` is not a mail address", address.value),
            "write it like `team@example.org`",
        );
    }
}
