use std::collections::BTreeMap;

use crate::wal::CommandVerdict;

/// The configuration of a server, as far as archiving and base backups depend on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettingFacts {
    pub major: u32,
    pub is_standby: bool,
    /// The settings that the role may read.
    pub settings: BTreeMap<String, ServerSetting>,
    /// The values in the configuration files, which may not be in effect yet; `None` where they are not
    /// readable.
    pub files: Option<BTreeMap<String, String>>,
    /// The policy's role; `None` where it does not exist.
    pub role: Option<ServerRole>,
    pub slots: Vec<Slot>,
    /// WAL senders in use now.
    pub senders: u64,
    /// Lines of `pg_hba.conf`; `None` where they are not readable.
    pub hba: Option<Vec<HbaRule>>,
    /// The address from which this host connects to the server.
    pub client: Option<String>,
    pub tls: bool,
    /// Whether the role can open replication connections.
    pub access: Access,
    /// The effect of the `archive_command`; `None` where there is none to judge.
    pub push: Option<CommandVerdict>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerSetting {
    /// In the setting's own unit.
    pub value: String,
    /// `configuration file`, `command line`, `default`, …
    pub source: String,
    /// `postmaster`: a change needs a restart.
    pub context: String,
    pub pending_restart: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerRole {
    pub name: String,
    pub is_superuser: bool,
    pub may_replicate: bool,
    /// Has `pg_monitor`.
    pub monitors: bool,
    /// May call the functions that begin and end a base backup.
    pub may_start_backups: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    pub name: String,
    /// `physical` or `logical`
    pub kind: String,
    pub is_active: bool,
    /// `reserved`, `extended`, `unreserved` or `lost`; `None` where it was never used.
    pub wal_status: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HbaRule {
    pub line: i32,
    pub databases: Vec<String>,
    pub users: Vec<String>,
    /// Why the server rejects the line.
    pub error: Option<String>,
}

/// The result of trying a replication connection as the role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Access {
    #[default]
    NotTried,
    LetIn,
    /// The server's message.
    Refused(String),
    /// Why it could not be tried.
    Unknown(String),
}

impl SettingFacts {
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(|setting| setting.value.as_str())
    }

    /// Returns the command, also while `archive_mode` is off and the server shows another word instead;
    /// `None` where the role may not read it.
    pub(super) fn archive_command(&self) -> Option<&str> {
        match self.value("archive_command")?.trim() {
            "(disabled)" => {
                let files = self.files.as_ref()?;
                Some(files.get("archive_command").map_or("", |given| given.trim()))
            }
            command => Some(command),
        }
    }

    pub(super) fn number(&self, name: &str) -> Option<i64> {
        self.value(name)?.parse().ok()
    }
}
