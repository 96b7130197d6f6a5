use std::fmt::Write as _;

use super::compose::{ProposedSource, ProposedValue};

/// The contents of a new policy. Values are not validated: [`PolicyTemplate::text`] may be written only after
/// [`crate::policy::parse`] found no fault in it.
#[derive(Clone, Debug, Default)]
pub struct PolicyTemplate {
    pub system: String,
    /// A URL without a password, or a reference to one; empty where there are only other sources.
    pub database: String,
    /// A reference to the password.
    pub password: Option<String>,
    pub primary: TemplateRepository,
    pub copies: Vec<(String, TemplateRepository)>,
    /// Holder and `age1…`.
    pub recipients: Vec<(Option<String>, String)>,
    /// Adds base backups and WAL archiving, for a server whose `archive_command` can be set.
    pub point_in_time: bool,
    /// A one-line comment about the database.
    pub remark: Option<String>,
    /// What is backed up beside the database, in this order.
    pub sources: Vec<ProposedSource>,
}

/// A bucket or a directory.
#[derive(Clone, Debug, Default)]
pub struct TemplateRepository {
    /// `s3://bucket/prefix`, or a path.
    pub place: String,
    /// Whether the directory must be a mount point.
    pub mount: bool,
    pub region: Option<String>,
    pub endpoint: Option<String>,
}

impl PolicyTemplate {
    /// Renders the policy, with comments for its first reader.
    pub fn text(&self) -> String {
        let mut text = format!(
            "# A drctl policy, created by `drctl init`. `drctl policy check` reports every fault of it,\n\
             # `drctl policy show` prints it with its defaults, `drctl policy schema` describes every setting.\n\
             # No secrets here, only references to them: env:NAME, file:/path (mode 0600),\n\
             # command:program arg.\n\
             \n\
             [system]\n\
             # The first folder of everything that is stored; do not change it later.\n\
             name = {system}\n\
             \n\
             [objectives]\n\
             # From the disaster to a usable application.\n\
             rto = \"4h\"\n\
             # How much of the newest data may be lost, as time.\n\
             rpo = \"1h\"\n\
             \n\
             # A backup is written to the primary and every copy at once.\n\
             [repository.primary]\n\
             {primary}",
            system = quoted(&self.system),
            primary = self.primary.settings(),
        );
        for (name, place) in &self.copies {
            let _infallible = write!(text, "\n[repository.copies.{}]\n{}", key(name), place.settings());
        }
        if self.copies.is_empty() {
            text.push_str(
                "\n# Without a copy, the loss of the primary is the loss of every backup.\n\
                 #[repository.copies.offsite]\n\
                 #url = \"s3://bucket/prefix\"\n\
                 #region = \"us-west-2\"\n",
            );
        }
        text.push_str(
            "\n# Who can read the backups: public keys. The identities that go with them stay off this host.\n\
             [encryption]\n\
             recipients = [\n",
        );
        for (holder, recipient) in &self.recipients {
            let recipient = quoted(recipient);
            let _infallible = match holder {
                Some(holder) => writeln!(text, "    {{ holder = {}, key = {recipient} }},", quoted(holder)),
                None => writeln!(text, "    {recipient},"),
            };
        }
        text.push_str("]\n\n");
        if !self.database.is_empty() {
            self.write_database(&mut text);
        }
        for source in &self.sources {
            let _infallible =
                write!(text, "\n# {}\n[sources.{}]\n", source.remark.replace('\n', " "), key(&source.name));
            for (setting, value) in &source.settings {
                let _infallible = writeln!(text, "{setting} = {}", written(value));
            }
        }
        text.push_str(ROUTINE);
        if !self.database.is_empty() {
            text.push_str(if self.point_in_time { SCHEDULE_WITH_LOG } else { SCHEDULE_OF_DUMPS });
        }
        for (n, source) in self.sources.iter().enumerate() {
            // Not all in one minute.
            let minute = (20 + 5 * n) % 60;
            let _infallible = writeln!(text, "{} = \"{minute} * * * *\"", key(&source.name));
        }
        text.push_str(if self.database.is_empty() { NOTIFICATIONS } else { PEOPLE });
        text
    }

    fn write_database(&self, text: &mut String) {
        if let Some(remark) = &self.remark {
            let _infallible = writeln!(text, "# {}", remark.replace('\n', " "));
        }
        let _infallible =
            write!(text, "[sources.database]\nkind = \"postgres\"\nurl = {}\n", quoted(&self.database));
        match &self.password {
            Some(password) => {
                let _infallible = writeln!(text, "password = {}", quoted(password));
            }
            None => text.push_str("# Without one, PGPASSWORD and ~/.pgpass are used, as by psql.\n#password = \"env:DRCTL_DB_PASSWORD\"\n"),
        }
        text.push_str(if self.point_in_time { POINT_IN_TIME } else { DUMPS_ONLY });
    }
}

fn written(value: &ProposedValue) -> String {
    match value {
        ProposedValue::Text(text) => quoted(text),
        ProposedValue::List(all) => {
            format!("[{}]", all.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", "))
        }
    }
}

const POINT_IN_TIME: &str = r#"# Dumps, base backups and WAL, for point-in-time recovery. The server has to archive:
#   wal_level = replica
#   archive_mode = on          (needs a restart)
#   archive_command = 'drctl --policy /path/of/this/file wal push "%p"'
#   archive_timeout = 60
methods = ["logical", "base", "wal"]
"#;

const DUMPS_ONLY: &str = r#"# For point-in-time recovery of a server you run yourself: `drctl init --point-in-time` adds base backups and WAL.
"#;

const SCHEDULE_OF_DUMPS: &str = r#"database = "15 * * * *"
"#;

const SCHEDULE_WITH_LOG: &str = r#"database = { logical = "15 2 * * *", base = "30 3 * * *" }
"#;

const ROUTINE: &str = r#"
# A backup is kept if any rule keeps it, and everything that a kept backup needs. `drctl retention plan` shows what
# would go, `drctl retention apply` removes it; without this table nothing is ever removed.
[retention]
keep_last = 3
daily = "30d"
weekly = "6mo"

# `drctl run-due`, called by cron or a systemd timer every few minutes, does what is due; `drctl schedule export` writes
# the files for that. Minute, hour, day of month, month, day of week, in UTC. Backups further apart
# than the RPO cannot meet it.
[schedule.sources]
"#;

const PEOPLE: &str = r#"
[drill]
schedule = "0 5 * * 0"
source = "database"
# Checks of the restored data.
#checks = [{ name = "there are users", sql = "select count(*) from users", at_least = 1 }]

# Notifications. P1: data loss. P2: a failed backup, copy or drill. `drctl notify test` tries the channels.
#[notify]
#p1 = ["team"]
#p2 = ["team"]
#channels.team = { kind = "slack", url = "env:SLACK_WEBHOOK_URL" }
"#;

/// The same without a drill, which restores a database.
const NOTIFICATIONS: &str = r#"
# Notifications. P1: data loss. P2: a failed backup, copy or drill. `drctl notify test` tries the channels.
#[notify]
#p1 = ["team"]
#p2 = ["team"]
#channels.team = { kind = "slack", url = "env:SLACK_WEBHOOK_URL" }
"#;

impl TemplateRepository {
    fn settings(&self) -> String {
        let Self { place, mount, region, endpoint } = self;
        let mut text = String::new();
        let is_url = place.contains("://");
        let mut set = |name: &str, value: &str| {
            let _infallible = writeln!(text, "{name} = {}", quoted(value));
        };
        set(if is_url { "url" } else { "directory" }, place);
        if *mount {
            text.push_str(
                "# It was a mount point when this was written: without its file system it is unavailable.\n",
            );
            text.push_str("mount = true\n");
            return text;
        }
        let mut set = |name: &str, value: &str| {
            let _infallible = writeln!(text, "{name} = {}", quoted(value));
        };
        if let Some(region) = region {
            set("region", region);
        }
        if let Some(endpoint) = endpoint {
            set("endpoint", endpoint);
        }
        if is_url {
            text.push_str(
                "# Credentials: the SDK's own chain (environment, profile, role) unless given.\n\
                 #credentials = { profile = \"backup\" }\n\
                 # Prevents deletion, if the bucket was created with object lock.\n\
                 #object_lock = { mode = \"governance\", retain = \"35d\" }\n",
            );
        }
        text
    }
}

/// Quotes a TOML string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _infallible = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Returns a TOML key, quoted if necessary.
fn key(text: &str) -> String {
    let bare = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if !text.is_empty() && text.bytes().all(bare) { text.to_owned() } else { quoted(text) }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::pipeline::NewIdentity;
    use crate::policy;
    use crate::policy::RepositoryLocation;

    fn draft() -> PolicyTemplate {
        let key = || NewIdentity::generate().recipient();
        PolicyTemplate {
            system: "shop".to_owned(),
            database: "postgres://drctl@localhost:5432/shop".to_owned(),
            password: Some("env:PASSWORD".to_owned()),
            primary: TemplateRepository {
                place: "s3://shop-backups/drctl".to_owned(),
                region: Some("us-east-1".to_owned()),
                ..TemplateRepository::default()
            },
            copies: vec![(
                "offsite".to_owned(),
                TemplateRepository {
                    place: "/mnt/backups".to_owned(),
                    mount: true,
                    ..TemplateRepository::default()
                },
            )],
            recipients: vec![(Some("operational".to_owned()), key()), (None, key())],
            point_in_time: false,
            remark: Some("PostgreSQL 16.3".to_owned()),
            sources: vec![],
        }
    }

    #[test]
    fn what_is_beside_the_database_is_backed_up_every_hour() {
        let text = |text: &str| ProposedValue::Text(text.to_owned());
        let source = |name: &str, settings: Vec<(&'static str, ProposedValue)>| ProposedSource {
            name: name.to_owned(),
            remark: "Service `x`.".to_owned(),
            settings,
        };
        let sources = vec![
            source("sessions", vec![("kind", text("redis")), ("url", text("redis://localhost:6379"))]),
            source(
                "uploads",
                vec![("kind", text("files")), ("paths", ProposedValue::List(vec!["/srv/\"a\"".to_owned()]))],
            ),
        ];
        for database in [draft().database, String::new()] {
            let draft = PolicyTemplate { database: database.clone(), sources: sources.clone(), ..draft() };
            let policy = policy::parse(Path::new("/etc/drctl/policy.toml"), &draft.text()).unwrap();
            assert_eq!(policy.sources.len(), 2 + usize::from(!database.is_empty()));
            assert!(!policy::lint(&policy).iter().any(|lint| lint.misses_objective));
        }
    }

    #[test]
    fn what_it_writes_is_a_policy_that_says_what_it_was_told() {
        let policy = policy::parse(Path::new("/etc/drctl/policy.toml"), &draft().text()).unwrap();
        assert_eq!(policy.system.as_str(), "shop");
        assert_eq!(policy.repositories.len(), 2);
        let source = policy.sources[0].postgres().unwrap();
        assert_eq!(source.url.as_ref().unwrap().as_str(), "postgres://drctl@localhost:5432/shop");
        let warnings: Vec<String> = policy::lint(&policy).into_iter().map(|lint| lint.key).collect();
        assert_eq!(warnings, ["repository", "notify"], "no lock and no channel, as its comments say");
    }

    #[test]
    fn with_log_it_archives_and_its_schedule_meets_its_objective() {
        let draft = PolicyTemplate { point_in_time: true, ..draft() };
        let policy = policy::parse(Path::new("policy.toml"), &draft.text()).unwrap();
        let source = policy.sources[0].postgres().unwrap();
        assert!(source.logical.is_some() && source.base.is_some() && source.wal.is_some());
        assert!(!policy::lint(&policy).iter().any(|lint| lint.misses_objective));
    }

    #[test]
    fn its_commented_settings_are_valid_too() {
        let lone = PolicyTemplate { copies: vec![], password: None, ..draft() };
        let text = lone.text();
        let uncommented = |line: &str| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => rest.to_owned(),
            _ => line.to_owned(),
        };
        let text = text.lines().map(uncommented).collect::<Vec<_>>().join("\n");
        let policy = policy::parse(Path::new("policy.toml"), &text).unwrap();
        assert_eq!(policy.repositories.len(), 2);
        assert_eq!(policy.notify.channels.len(), 1);
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back_as_it_was(name in "\\PC{1,20}", directory in "/[^\u{0}:]{1,20}") {
            let mut draft = draft();
            draft.copies[0].1.place = directory.clone();
            draft.recipients[0].0 = Some(format!("x{name}"));
            let policy = policy::parse(Path::new("policy.toml"), &draft.text()).unwrap();
            let RepositoryLocation::Directory(path) = &policy.repositories[1].place else { panic!() };
            prop_assert_eq!(path.to_str().unwrap(), directory);
            let policy::Encryption::Age { recipients } = policy.encryption else { panic!() };
            prop_assert_eq!(recipients[0].holder.clone().unwrap(), format!("x{name}"));
        }
    }
}
