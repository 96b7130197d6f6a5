//! The commands that restore a backup of files with standard tools.

use super::index::INDEX;
use super::{DELETED, is_archive};
use crate::model::{Artifact, BackupId, Manifest};
use crate::source::manual_restore::plain_in;

/// Returns the commands. `before`: what it builds on, the full backup first. What an increment says is no more is removed
/// before its archives are extracted: a directory may have taken the place of a file, or a file that of a directory.
pub(super) fn commands(before: &[Manifest], backup: &BackupId, artifacts: &[Artifact]) -> Vec<String> {
    let mut commands = vec![
        "# in a directory with this backup's objects; bash: set -o pipefail; each command must end with exit status 0"
            .to_owned(),
        "# as root, so that owners come back; ACLs come back as extended attributes".to_owned(),
        "mkdir restored".to_owned(),
    ];
    let chain = before.iter().map(|manifest| (&manifest.id, &manifest.artifacts[..]));
    for (id, artifacts) in chain.chain([(backup, artifacts)]) {
        let folder = if id == backup { String::new() } else { format!("../{id}/") };
        let named = |name: &str| artifacts.iter().find(move |artifact| artifact.name.starts_with(name));
        if let Some(deleted) = named(DELETED) {
            commands.push(format!("{} | (cd restored && xargs -0 rm -rf --)", plain_in(deleted, &folder)));
        }
        for archive in artifacts.iter().filter(|artifact| is_archive(&artifact.name)) {
            commands.push(format!(
                "{} | tar --extract --preserve-permissions --xattrs --xattrs-include='*' --directory restored",
                plain_in(archive, &folder)
            ));
        }
    }
    if let Some(index) = artifacts.iter().find(|artifact| artifact.name.starts_with(INDEX)) {
        commands.push(
            "# what there is, a line of JSON each; what is not in it is no part of the backup".to_owned(),
        );
        commands.push(plain_in(index, ""));
    }
    commands
}
