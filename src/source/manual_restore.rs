use crate::model::{Artifact, Encoding};

/// The first line of commands that read the objects of one backup.
pub(super) const IN_DIRECTORY: &str = "# in a directory with this backup's objects; each command must end with exit status 0 (bash: set -o pipefail)";

/// Returns a shell pipeline that outputs an artifact's plain bytes.
pub(super) fn plain(artifact: &Artifact) -> String {
    plain_in(artifact, "")
}

/// Returns the same for objects in another folder, whose path ends with `/`.
pub(super) fn plain_in(artifact: &Artifact, folder: &str) -> String {
    let names: Vec<String> =
        artifact.objects.iter().map(|object| format!("{folder}{}", object.name)).collect();
    let mut pipe = format!("cat {}", names.join(" "));
    for encoding in artifact.encoding.iter().rev() {
        pipe.push_str(match encoding {
            Encoding::Age => " | age -d -i identity.txt",
            Encoding::Zstd => " | zstd -d",
        });
    }
    pipe
}
