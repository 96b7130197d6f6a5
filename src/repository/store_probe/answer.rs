use serde::Serialize;

/// The result of one probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "answer", content = "reason")]
pub enum Capability {
    Yes,
    /// The store does not support it; with the reason.
    No(String),
    /// It could not be tried; with the reason.
    Unknown(String),
}

impl Capability {
    pub fn is_yes(&self) -> bool {
        *self == Self::Yes
    }
}
