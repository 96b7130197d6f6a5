use std::collections::BTreeMap;

use crate::wal::CommandVerdict;

/// A server, as far as archiving and copying it depend on how it is set up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettingFacts {
    pub major: u32,
    pub is_standby: bool,
    /// Those the role may read.
    pub settings: BTreeMap<String, ServerSetting>,
    /// What the configuration files say, which may not be in force yet; `None` where it may not be read.
    pub files: Option<BTreeMap<String, String>>,
    /// The policy's role; `None` where there is none of that name.
    pub role: Option<ServerRole>,
    pub slots: Vec<Slot>,
    /// Connections that take the log now.
    pub senders: u64,
    /// Lines of `pg_hba.conf`; `None` where they may not be read.
    pub hba: Option<Vec<HbaRule>>,
    /// How this host comes to the server.
    pub client: Option<String>,
    pub tls: bool,
    /// Whether the role is let in for replication.
    pub access: Access,
    /// What [`Self::archive_command`] does; `None` where there is none to judge.
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
    /// May call what begins and ends a base backup.
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
    /// Why the server does not take the line.
    pub error: Option<String>,
}

/// What came of asking the server to let the role in for replication.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Access {
    #[default]
    NotTried,
    LetIn,
    /// Its words.
    Refused(String),
    /// Why it could not be tried.
    Unknown(String),
}

impl SettingFacts {
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(|setting| setting.value.as_str())
    }

    /// The command, also while `archive_mode` is off and the server shows another word in its place; `None` where it
    /// is not visible to the role.
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
