use super::inventory::INVENTORY;
use crate::model::{Artifact, BackupId, Manifest};
use crate::source::manual_restore::{plain, plain_in};

/// Returns the commands that restore a backup with the ones that it builds on into a directory, as far as keys are paths.
pub(super) fn commands(chain: &[Manifest], backup: &BackupId, own: &[Artifact]) -> Vec<String> {
    let mut commands = vec![
        "# in a directory with this backup's objects, its parents' directories beside it; each command must end with exit status 0 (bash: set -o pipefail)".to_owned(),
    ];
    let links =
        chain.iter().map(|manifest| (format!("../{}/", manifest.id), &manifest.id, &manifest.artifacts[..]));
    for (folder, id, artifacts) in links.chain([(String::new(), backup, own)]) {
        for artifact in artifacts {
            let Some(name) = artifact.name.find(".tar").map(|at| &artifact.name[..at + 4]) else { continue };
            let pipe = if folder.is_empty() { plain(artifact) } else { plain_in(artifact, &folder) };
            commands.push(format!("mkdir -p archives/{id}/{name}"));
            commands.push(format!("{pipe} | tar --extract --directory archives/{id}/{name}"));
        }
    }
    let inventory = own.iter().find(|artifact| artifact.name.starts_with(INVENTORY));
    commands.extend(inventory.map(|inventory| format!("{} > {INVENTORY}", plain(inventory))));
    commands.push(format!(
        "jq -j 'select(.in and (.key | test(\"(^|/)([.][.]?)?(/|$)\") | not)) | \"archives/\\(.in.backup)/\\(.in.archive)/\\(.in.entry)\\u0000\\(.key)\\u0000\"' {INVENTORY} | xargs -0 -r -n 2 sh -c 'mkdir -p \"restored/$(dirname \"$1\")\" && cp -- \"$0\" \"restored/$1\"'"
    ));
    commands
}
