use serde::{Deserialize, Serialize};

/// The confidential facts about a backup of files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesDetails {
    /// The policy's paths, without the slash at their beginning.
    pub roots: Vec<String>,
    pub include: Vec<String>,
    pub exclude: Vec<String>,
    pub one_file_system: bool,
    /// Lines of the index.
    pub entries: u64,
    /// With each name of a file that has several.
    pub files: u64,
    pub directories: u64,
    /// Of the files, with their holes.
    pub bytes: u64,
    /// The first of those that changed each time while they were read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
    #[serde(default)]
    pub changed_count: u64,
    /// The first of those that could not be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<String>,
    #[serde(default)]
    pub unreadable_count: u64,
    /// The first of the sockets, which are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sockets: Vec<String>,
    #[serde(default)]
    pub socket_count: u64,
}
