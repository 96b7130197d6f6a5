//! Imports go down the layers, never up and never sideways between use cases.

use std::path::{Path, PathBuf};

/// From the bottom to the top. What stands in one line may not know of each other. A module of `src` that is
/// not here fails the test, so a new one is put in its place on its first day.
const LAYERS: [&[&str]; 13] = [
    &["model", "text"],
    &["platform", "event"],
    &["policy"],
    &["aws", "pipeline"],
    &["postgres", "store"],
    &["repository"],
    &["wal", "catalog"],
    &["source"],
    &["checks", "recoverability"],
    &["run"],
    &["iam"],
    &["backup", "restore", "verify", "copies", "status", "doctor", "init", "configure", "rds_admin"],
    &["cli"],
];

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            sources(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

/// The modules named after `crate::` in code; a link in a comment may lead anywhere.
fn imports(text: &str) -> Vec<String> {
    let code: String =
        text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    let name =
        |rest: &str| rest.trim().split(|c: char| !c.is_alphanumeric() && c != '_').next().map(str::to_owned);
    code.split("crate::")
        .skip(1)
        .flat_map(|rest| match rest.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap_or_default().split(',').filter_map(name).collect(),
            None => name(rest).into_iter().collect::<Vec<_>>(),
        })
        .filter(|module| layer(module).is_some())
        .collect()
}

#[test]
fn imports_go_down() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files).unwrap();
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for file in files {
        let inside = file.strip_prefix(&root).unwrap();
        let Some(module) = inside.parent().and_then(|parent| parent.iter().next()) else { continue };
        let module = module.to_string_lossy();
        let Some(own) = layer(&module) else {
            wrong.push(format!("`{module}` is in no layer"));
            continue;
        };
        for other in imports(&std::fs::read_to_string(&file).unwrap()) {
            seen += 1;
            if other != module && layer(&other) >= Some(own) {
                wrong.push(format!("{}: `{module}` uses `{other}`", inside.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 200, "only {seen} imports were found");
}
