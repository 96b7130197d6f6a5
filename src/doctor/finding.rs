use serde::Serialize;

/// The severity of a finding. Ordered: the last is the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingSeverity {
    Good,
    /// Worth knowing; no action needed.
    Note,
    /// Works now, but would fail under worse conditions.
    Warning,
    /// A backup or a restore will fail.
    Fault,
}

/// The area of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Area {
    Policy,
    Host,
    Keys,
    Source,
    Repository,
}

impl Area {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Host => "host",
            Self::Keys => "keys",
            Self::Source => "source",
            Self::Repository => "repository",
        }
    }
}

/// The result of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DoctorFinding {
    pub area: Area,
    /// The source or repository; empty where there is only one.
    pub subject: String,
    pub severity: FindingSeverity,
    /// A full sentence without a full stop.
    pub message: String,
    /// What to do; always present for a warning or a fault.
    pub remedy: Option<String>,
}

impl DoctorFinding {
    pub fn good(area: Area, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            area,
            subject: subject.into(),
            severity: FindingSeverity::Good,
            message: message.into(),
            remedy: None,
        }
    }

    pub fn note(area: Area, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: FindingSeverity::Note, ..Self::good(area, subject, message) }
    }

    pub fn warning(
        area: Area,
        subject: impl Into<String>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let remedy = Some(remedy.into());
        Self { severity: FindingSeverity::Warning, remedy, ..Self::good(area, subject, message) }
    }

    pub fn fault(
        area: Area,
        subject: impl Into<String>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { severity: FindingSeverity::Fault, ..Self::warning(area, subject, message, remedy) }
    }
}
