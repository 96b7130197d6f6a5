use serde::Serialize;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SettingFinding {
    /// A setting's name, or `role`, `pg_hba.conf`, `slot`.
    pub name: &'static str,
    pub weight: FindingWeight,
    pub state: SettingState,
    /// What is there.
    pub found: String,
    /// What is needed, and why.
    pub wanted: String,
    /// `None` where nothing is to be done.
    pub remedy: Option<Fix>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingWeight {
    /// It works without.
    Advised,
    /// Nothing is archived, or copied, without.
    Needed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SettingState {
    Fine,
    /// As it should be, and nobody uses it now.
    Idle,
    /// Set, and in force after a restart of the server.
    WaitsForRestart,
    Missing,
    /// Someone else's, which is replaced only where that is asked for.
    Foreign,
    /// The role may not see it, or it could not be tried.
    Unknown,
}

/// How a finding is mended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fix {
    Sql {
        statements: Vec<String>,
        takes: Effect,
    },
    /// By an administrator: what, and in which place.
    ByHand {
        lines: Vec<String>,
        place: String,
        takes: Effect,
    },
}

/// When a change is in force.
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
