use super::{BUNDLE, REFS};
use crate::model::{Artifact, Manifest};
use crate::source::manual_restore::{plain, plain_in};

const DIRECTORY: &str = "repository.git";

/// Returns the commands that restore a backup with the ones that it builds on, the full one first.
pub(super) fn commands(chain: &[Manifest], own: &[Artifact], is_sha256: bool) -> Vec<String> {
    let format = if is_sha256 { " --object-format=sha256" } else { "" };
    let mut commands = vec![
        "# in a directory with this backup's objects, its parents' directories beside it; each command must end with exit status 0 (bash: set -o pipefail)".to_owned(),
        format!("git init --bare{format} {DIRECTORY}"),
    ];
    let links = chain.iter().map(|manifest| (format!("../{}/", manifest.id), &manifest.artifacts[..]));
    for (folder, artifacts) in links.chain([(String::new(), own)]) {
        let find = |name: &str| {
            artifacts.iter().find(|artifact| {
                artifact.name.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
        };
        let pipe = |artifact| if folder.is_empty() { plain(artifact) } else { plain_in(artifact, &folder) };
        if let Some(bundle) = find(BUNDLE) {
            commands.push(format!("{} > {BUNDLE}", pipe(bundle)));
            commands.push(format!("git -C {DIRECTORY} bundle unbundle ../{BUNDLE}"));
        }
        if let Some(refs) = find(REFS) {
            commands.push(format!("{} > {REFS}", pipe(refs)));
            commands.push(format!(
                "git -C {DIRECTORY} for-each-ref --format='delete %(refname)' | git -C {DIRECTORY} update-ref --stdin"
            ));
            commands.push(format!(
                "awk -F'\\t' '/^[0-9a-f]/ && $2 != \"HEAD\" {{ print \"create \" $2 \" \" $1 }}' {REFS} | git -C {DIRECTORY} update-ref --stdin"
            ));
        }
    }
    commands.push(format!(
        "sed -n 's/^ref: \\(.*\\)\\tHEAD$/\\1/p' {REFS} | xargs -r git -C {DIRECTORY} symbolic-ref HEAD"
    ));
    commands.push(format!("git -C {DIRECTORY} fsck --connectivity-only"));
    commands
}
