//! People are told: by servers that speak each channel's protocol, once, and once when it is over; where a channel fails,
//! by the next; and never a secret of it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;

use crate::support::Outcome;
use crate::support::alertmanager::Alertmanager;
use crate::support::authority::Certified;
use crate::support::mail::{MailServer, PASSWORD, USER};
use crate::support::moto::Moto;
use crate::support::receiver::{Received, Receiver, Reply};
use crate::support::shop::shop;
use crate::support::system::{Place, System, contents, until};

/// Where no server is.
const NOWHERE: &str = "postgres://drctl@127.0.0.1:1/shop";
const ACCEPTED: &str = r#"{"status":"success","message":"Event processed","dedup_key":"k"}"#;
const ROUTING_KEY: &str = "e93facc04764012d7bfb002500d5d1a6";
const SIGNING_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const SNS_SECRET: &str = "sns-secret-access-key";
/// Part of every URL that is a secret.
const TOKEN: &str = "T0KEN-that-nobody-may-see";

fn system() -> Outcome<System> {
    let mut system = System::new(NOWHERE, &[Place::Directory])?;
    system.set("ROUTING_KEY", ROUTING_KEY);
    system.set("SIGNING_SECRET", SIGNING_SECRET);
    system.set("MAIL_PASSWORD", PASSWORD);
    Ok(system)
}

/// Nothing that drctl said or keeps holds a secret.
fn insist_on_no_secret(system: &System, said: &[String]) -> Outcome<()> {
    let secrets = [ROUTING_KEY, SIGNING_SECRET, SNS_SECRET, TOKEN, PASSWORD];
    let mut texts: Vec<(String, Vec<u8>)> =
        said.iter().map(|text| ("what it said".to_owned(), text.clone().into_bytes())).collect();
    for folder in [system.path().join("state"), system.repository("primary")] {
        if !folder.exists() {
            continue;
        }
        for path in contents(&folder)?.into_keys() {
            let path = folder.join(path);
            texts.push((path.display().to_string(), std::fs::read(&path)?));
        }
    }
    for (place, text) in &texts {
        for secret in secrets {
            let is_in = text.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!is_in, "{secret} is in {place}: {}", String::from_utf8_lossy(text));
        }
    }
    Ok(())
}

fn only(received: &Receiver) -> Outcome<Received> {
    let mut received = received.take();
    match received.len() {
        1 => Ok(received.remove(0)),
        _ => Err(format!("not one request: {received:?}").into()),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_fails_is_told_once_by_every_channel_and_resolved_once() -> Outcome<()> {
    let mut system = system()?;
    let cluster = shop(64).await?;
    let certified = Certified::make(system.path(), &["127.0.0.1", "localhost"])?;
    let (pager, slack) = (Receiver::start(ACCEPTED).await?, Receiver::start("ok").await?);
    let (hook, tickets) = (Receiver::start("").await?, Receiver::start("{}").await?);
    let (topic, heart) = (Receiver::start("").await?, Receiver::start("OK").await?);
    let mail = MailServer::start("starttls", &certified, system.path()).await?;
    let alertmanager = Alertmanager::start(system.path()).await?;
    let moto = Moto::start().await?;
    let arn = moto.new_topic("us-east-1", "backups", &topic.url("/topic")).await?;
    topic.take();
    system.set("SLACK_URL", &slack.url(&format!("/services/{TOKEN}")));
    system.set("HOOK_URL", &hook.url(&format!("/hook?token={TOKEN}")));
    system.set("TICKET_URL", &tickets.url(&format!("/tickets/{TOKEN}")));
    system.set("PING_URL", &heart.url(&format!("/ping/{TOKEN}")));
    system.set("SNS_ID", "AKIDEXAMPLE");
    system.set("SNS_SECRET", SNS_SECRET);
    system.append(&format!(
        r#"
[notify]
p1 = ["pager", "team", "hook", "tickets", "mail", "topic", "alerts", "log"]
heartbeat = {{ backup = "env:PING_URL" }}
link = "https://wiki.example.org/backups"
authorities = "{authority}"

[notify.channels]
pager = {{ kind = "pagerduty", routing_key = "env:ROUTING_KEY", endpoint = "{pager}" }}
team = {{ kind = "slack", url = "env:SLACK_URL" }}
hook = {{ kind = "webhook", url = "env:HOOK_URL", signing_secret = "env:SIGNING_SECRET" }}
tickets = {{ kind = "webhook", url = "env:TICKET_URL", body = '{{ "title": "${{headline}}", "state": "${{state}}" }}' }}
mail = {{ kind = "email", host = "127.0.0.1", port = {port}, from = "drctl@example.org", to = ["a@example.org", "b@example.org"], username = "{USER}", password = "env:MAIL_PASSWORD" }}
topic = {{ kind = "sns", topic = "{arn}", endpoint = "{moto}", credentials = {{ access_key_id = "env:SNS_ID", secret_access_key = "env:SNS_SECRET" }} }}
alerts = {{ kind = "alertmanager", url = "http://{alertmanager}" }}
log = {{ kind = "file", path = "notices.jsonl" }}
"#,
        authority = certified.authority.display(),
        pager = pager.url("").trim_end_matches('/'),
        port = mail.port,
        moto = moto.url(),
        alertmanager = alertmanager.address,
    ))?;

    let failed = system.expect(1, &["backup"]).await?;
    assert!(!failed.stderr.contains("did not take"), "{failed:#?}");
    let quiet = system.expect(1, &["backup"]).await?;

    let event = only(&pager)?;
    assert_eq!(event.path, "/v2/enqueue");
    let event = event.json()?;
    assert_eq!((text(&event["event_action"]), text(&event["routing_key"])), ("trigger", ROUTING_KEY));
    assert_eq!(event["dedup_key"], "drctl/shop/backup/database/logical");
    assert_eq!(event["payload"]["severity"], "critical");
    let summary = text(&event["payload"]["summary"]);
    assert!(summary.starts_with("[P1] shop: backup of database failed"), "{summary}");
    assert!(text(&event["payload"]["custom_details"]["impact"]).contains("There is no backup of database"));

    let said = only(&slack)?.json()?;
    assert!(text(&said["text"]).starts_with("[P1] shop: backup of database failed"), "{said}");
    assert_eq!(said["blocks"][0]["type"], "header");

    let posted = only(&hook)?;
    let signed =
        format!("{}.{}.{}", posted.header("webhook-id"), posted.header("webhook-timestamp"), posted.body);
    let key = STANDARD.decode(SIGNING_SECRET.trim_start_matches("whsec_"))?;
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&key)?;
    mac.update(signed.as_bytes());
    let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    assert_eq!(posted.header("webhook-signature"), signature);
    let posted = posted.json()?;
    assert_eq!((text(&posted["type"]), text(&posted["data"]["state"])), ("drctl.backup.failed", "firing"));
    assert_eq!(posted["data"]["link"], "https://wiki.example.org/backups");

    let ticket = only(&tickets)?.json()?;
    assert!(text(&ticket["title"]).starts_with("backup of database failed"), "{ticket}");

    let letters = mail.letters()?;
    let [letter] = letters.as_slice() else { panic!("{letters:#?}") };
    assert!(letter.contains("To: a@example.org, b@example.org"), "{letter}");
    assert!(letter.contains("Subject: [P1] shop: backup of database failed"), "{letter}");

    let mut published = Vec::new();
    until("SNS passes it on", || {
        published.extend(topic.take());
        !published.is_empty()
    })
    .await?;
    let [published] = published.as_slice() else { panic!("{published:#?}") };
    let published = published.json()?;
    assert!(text(&published["Subject"]).starts_with("[P1] shop: backup of database failed"), "{published}");
    assert!(text(&published["Message"]).contains("There is no backup of database"), "{published}");

    let alerts = alertmanager.alerts().await?;
    let [alert] = alerts.as_slice() else { panic!("{alerts:#?}") };
    assert_eq!(alert["labels"]["key"], "drctl/shop/backup/database/logical");
    assert_eq!(alert["status"]["state"], "active");

    // It begins, and fails; the second run does both, too.
    let pings: Vec<String> = heart.take().into_iter().map(|ping| ping.path).collect();
    let run = |ping: &str| ping.split_once("rid=").map(|(_, run)| run.to_owned()).unwrap_or_default();
    let ends =
        |ping: &str| ping.split('?').next().unwrap_or_default().trim_start_matches("/ping/").to_owned();
    let kinds: Vec<String> = pings.iter().map(|ping| ends(ping).replace(TOKEN, "")).collect();
    assert_eq!(kinds, ["/start", "/fail", "/start", "/fail"]);
    assert_eq!(run(&pings[0]), run(&pings[1]));
    assert_ne!(run(&pings[0]), run(&pings[2]));

    system.rewrite(NOWHERE, &cluster.url("shop"))?;
    let good = system.expect(0, &["backup"]).await?;
    assert!(!good.stderr.contains("did not take"), "{good:#?}");
    let again = system.expect(0, &["backup"]).await?;
    let event = only(&pager)?.json()?;
    assert_eq!(
        (text(&event["event_action"]), text(&event["dedup_key"])),
        ("resolve", "drctl/shop/backup/database/logical")
    );
    assert!(
        text(&only(&slack)?.json()?["text"]).starts_with("[Resolved] shop: backup of database is stored")
    );
    assert_eq!(only(&hook)?.json()?["data"]["state"], "resolved");
    assert_eq!(only(&tickets)?.json()?["state"], "resolved");
    assert_eq!(mail.letters()?.len(), 2);
    assert_eq!(alertmanager.alerts().await?, Vec::<Value>::new());
    let pings: Vec<String> =
        heart.take().into_iter().map(|ping| ends(&ping.path).replace(TOKEN, "")).collect();
    assert_eq!(pings, ["/start", "", "/start", ""]);
    let log = std::fs::read_to_string(system.path().join("notices.jsonl"))?;
    let states: Vec<Value> = log.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let states: Vec<&str> = states.iter().map(|line| text(&line["data"]["state"])).collect();
    assert_eq!(states, ["firing", "resolved"]);
    let said = [failed, quiet, good, again].map(|run| format!("{}{}", run.stdout, run.stderr));
    insist_on_no_secret(&system, &said)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_fails_is_tried_within_limits_then_the_next_and_is_a_finding_of_status() -> Outcome<()>
{
    let mut system = system()?;
    let certified = Certified::make(system.path(), &["127.0.0.1"])?;
    let (hook, next) = (Receiver::start("").await?, Receiver::start("").await?);
    let foreign = Receiver::with("", Some(certified.acceptor()?)).await?;
    system.set("HOOK_URL", &hook.url(&format!("/{TOKEN}")));
    system.set("NEXT_URL", &next.url(&format!("/{TOKEN}")));
    system.set("FOREIGN_URL", &format!("https://{}/{TOKEN}", foreign.address));
    system.append(
        r#"
[notify]
p1 = ["hook"]
p2 = ["next"]
timeout = "1s"
channels.hook = { kind = "webhook", url = "env:HOOK_URL" }
channels.next = { kind = "webhook", url = "env:NEXT_URL" }
"#,
    )?;
    let mut said = Vec::new();
    // Each try of a message has one id; 429 is waited for as long as it asks.
    hook.answer(&[Reply::Say(500, "broken"), Reply::Wait(1)]);
    let begun = std::time::Instant::now();
    let run = system.expect(1, &["backup"]).await?;
    assert!(begun.elapsed() > Duration::from_secs(1));
    said.push(run.stderr);
    let tries = hook.take();
    let ids: Vec<String> = tries.iter().map(|received| received.header("webhook-id")).collect();
    assert_eq!(tries.len(), 3, "{tries:?}");
    assert!(ids.iter().all(|id| *id == ids[0] && id.starts_with("msg_")), "{ids:?}");
    assert!(next.take().is_empty());

    // What is refused for good is not tried again, and the next channel is told; a redirect is a refusal.
    let forget = || std::fs::remove_dir_all(system.path().join("state"));
    for (refusal, tries) in [
        (vec![Reply::Say(307, "")], 1),
        (vec![Reply::Say(410, TOKEN)], 1),
        (vec![Reply::Say(503, ""), Reply::Say(503, ""), Reply::Say(503, "")], 3),
        (vec![Reply::Silence, Reply::Silence, Reply::Silence], 3),
    ] {
        forget()?;
        hook.answer(&refusal);
        let run = system.expect(1, &["backup"]).await?;
        run.says("channel `hook` did not take what it was sent")?;
        assert_eq!((hook.take().len(), next.take().len()), (tries, 1), "{refusal:?}: {run:#?}");
        said.push(format!("{}{}", run.stdout, run.stderr));
    }
    system.expect(0, &["notify", "list"]).await?.says("P1        hook     failed: ")?;
    let status = system.drctl(&["status"]).await?;
    status.says("channel `hook` did not take 1 notice")?;
    let document = system.drctl(&["status", "--output", "json"]).await?.document()?;
    assert_eq!(document["undelivered"][0]["channel"], "hook");
    assert_eq!(document["undelivered"][0]["reached_no_channel"], serde_json::json!([]));
    said.push(format!("{}{}{document}", status.stdout, status.stderr));

    // A certificate that nobody vouches for; and one that nobody is left to be told of.
    forget()?;
    system.rewrite("env:HOOK_URL", "env:FOREIGN_URL")?;
    next.answer(&[Reply::Say(403, "")]);
    let run = system.expect(1, &["backup"]).await?;
    run.says("no channel took this notice: backup of database failed")?.says("certificate")?;
    assert!(foreign.take().is_empty());
    let document = system.drctl(&["status", "--output", "json"]).await?.document()?;
    assert_eq!(
        document["undelivered"][0]["reached_no_channel"].as_array().map(Vec::len),
        Some(1),
        "{document}"
    );
    said.push(format!("{}{}{document}", run.stdout, run.stderr));
    // Once it is trusted, the next run tells.
    system.rewrite(
        "timeout = \"1s\"",
        &format!("timeout = \"1s\"\nauthorities = \"{}\"", certified.authority.display()),
    )?;
    let run = system.expect(1, &["backup"]).await?;
    assert_eq!(foreign.take().len(), 1, "{run:#?}");
    let document = system.drctl(&["status", "--output", "json"]).await?.document()?;
    assert_eq!(document["undelivered"], Value::Null, "{document}");
    insist_on_no_secret(&system, &said)
}

#[tokio::test(flavor = "multi_thread")]
async fn status_tells_what_is_wrong_and_what_no_longer_is() -> Outcome<()> {
    let system = system()?;
    let cluster = shop(64).await?;
    system.rewrite(NOWHERE, &cluster.url("shop"))?;
    system
        .append("[notify]\np1 = [\"log\"]\nchannels.log = { kind = \"file\", path = \"notices.jsonl\" }")?;
    let told = || -> Outcome<Vec<(String, String)>> {
        let text = std::fs::read_to_string(system.path().join("notices.jsonl")).unwrap_or_default();
        let lines: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        let word = |value: &Value| text_of(value);
        Ok(lines.iter().map(|line| (word(&line["data"]["event"]), word(&line["data"]["state"]))).collect())
    };
    for _ in 0..2 {
        system.expect(10, &["status", "--notify"]).await?;
    }
    let firing = ("status.nothing-to-restore".to_owned(), "firing".to_owned());
    assert_eq!(told()?, std::slice::from_ref(&firing));
    system.expect(0, &["backup"]).await?;
    for _ in 0..2 {
        system.expect(0, &["status", "--notify"]).await?;
    }
    assert_eq!(told()?, [firing.clone(), (firing.0, "resolved".to_owned())]);
    Ok(())
}

fn text_of(value: &Value) -> String {
    text(value).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_says_what_became_of_each_channel_and_a_certificate_of_nobody_is_refused() -> Outcome<()> {
    let mut system = system()?;
    let certified = Certified::make(system.path(), &["127.0.0.1"])?;
    let (pager, mail) =
        (Receiver::start(ACCEPTED).await?, MailServer::start("implicit", &certified, system.path()).await?);
    system.set("SLACK_URL", &pager.url(&format!("/{TOKEN}")));
    system.append(&format!(
        r#"
[notify]
p1 = ["pager", "mail"]
p2 = ["team"]
timeout = "2s"
channels.pager = {{ kind = "pagerduty", routing_key = "env:ROUTING_KEY", endpoint = "{pager}" }}
channels.mail = {{ kind = "email", host = "127.0.0.1", port = {port}, tls = "implicit", from = "drctl@example.org", to = "a@example.org", username = "{USER}", password = "env:MAIL_PASSWORD" }}
channels.team = {{ kind = "slack", url = "env:MISSING_URL" }}
"#,
        pager = pager.url("").trim_end_matches('/'),
        port = mail.port,
    ))?;
    let run = system.expect(1, &["notify", "test"]).await?;
    run.says("taken   pager (pagerduty)")?.says("failed  mail (email)")?.says("failed  team (slack)")?;
    run.says("MISSING_URL")?.says("ertificate")?;
    // A test leaves no incident.
    let actions: Vec<String> = pager
        .take()
        .iter()
        .map(|event| Ok(text_of(&event.json()?["event_action"])))
        .collect::<Outcome<_>>()?;
    assert_eq!(actions, ["trigger", "resolve"]);
    assert!(mail.letters()?.is_empty());
    let trusted = format!("timeout = \"2s\"\nauthorities = \"{}\"", certified.authority.display());
    system.rewrite("timeout = \"2s\"", &trusted)?;
    let document =
        system.expect(0, &["notify", "test", "--severity", "p1", "--output", "json"]).await?.document()?;
    assert_eq!(document["channels"].as_array().map(Vec::len), Some(2), "{document}");
    assert_eq!(mail.letters()?.len(), 1);
    system.expect(2, &["notify", "test", "nobody"]).await?;
    insist_on_no_secret(&system, &[run.stdout, run.stderr])
}
