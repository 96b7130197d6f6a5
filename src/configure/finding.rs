use serde::Serialize;

/// The finding on one setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SettingFinding {
    /// A setting's name, or `role`, `pg_hba.conf`, `slot`.
    pub name: &'static str,
    pub weight: FindingWeight,
    pub state: SettingState,
    /// The current state.
    pub found: String,
    /// What is required, and why.
    pub wanted: String,
    /// `None` where nothing needs to be done.
    pub remedy: Option<Fix>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingWeight {
    /// Recommended.
    Advised,
    /// Required for archiving, or for base backups.
    Needed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SettingState {
    Fine,
    /// As required, and not in use now.
    Idle,
    /// Set, and in effect after a restart of the server.
    WaitsForRestart,
    Missing,
    /// It belongs to another system, and is replaced only on request.
    Foreign,
    /// The role may not read it, or it could not be tried.
    Unknown,
}

/// How a finding is fixed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fix {
    Sql {
        statements: Vec<String>,
        takes: Effect,
    },
    /// Manually by an administrator: what, and where.
    ByHand {
        lines: Vec<String>,
        place: String,
        takes: Effect,
    },
}

/// When a change takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    AtOnce,
    Reload,
    Restart,
}

impl Effect {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AtOnce => "at once",
            Self::Reload => "after a reload",
            Self::Restart => "after a restart of the server",
        }
    }
}

impl SettingFinding {
    /// Returns whether anything remains to be done.
    pub fn is_open(&self) -> bool {
        !matches!(self.state, SettingState::Fine | SettingState::Idle)
            && (self.state != SettingState::Unknown || self.weight == FindingWeight::Needed)
    }
}
