use serde::Serialize;

/// How one try ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "answer", content = "reason")]
pub enum Capability {
    Yes,
    /// It was tried, and the store does not do it, in words.
    No(String),
    /// It could not be tried, in words.
    Unknown(String),
}

impl Capability {
    pub fn is_yes(&self) -> bool {
        *self == Self::Yes
    }
}
