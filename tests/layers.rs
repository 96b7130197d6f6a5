//! Imports go down the layers, never up and never sideways between use cases, and files of one module do not
//! import each other in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// From the bottom to the top. What stands in one line may not know of each other. A module of `src` that is
/// not here fails the test, so a new one is put in its place on its first day.
const LAYERS: [&[&str]; 18] = [
    &["model", "text"],
    &["platform", "event"],
    &["policy"],
    &["aws", "pipeline"],
    &["postgres", "store", "sqlite", "redis"],
    &["repository"],
    &["wal", "catalog"],
    &["source"],
    &["checks", "recoverability"],
    &["run"],
    &["iam"],
    &[
        "backup",
        "restore",
        "retention",
        "verify",
        "copies",
        "status",
        "doctor",
        "init",
        "configure",
        "rds_admin",
    ],
    &["runbook", "application"],
    &["drill"],
    &["report", "schedule"],
    &["notify", "monitor"],
    &["serve"],
    &["cli"],
];

/// What breaks that rule still. The list may only shrink.
const SIDEWAYS: [(&str, &str); 3] = [("copies", "verify"), ("doctor", "configure"), ("rds_admin", "restore")];

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// Where a module is, from the root: `["store", "s3", "read"]`.
type ModulePath = Vec<String>;

struct Module {
    /// Below `src`.
    file: PathBuf,
    code: String,
    /// What it gives on under its own name, and the paths of that.
    exports: BTreeMap<String, Vec<String>>,
}

impl Module {
    fn is_mod_rs(&self) -> bool {
        self.file.ends_with("mod.rs") || self.file.ends_with("lib.rs")
    }
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

/// The modules of the library, without comments and tests.
fn modules() -> std::io::Result<BTreeMap<ModulePath, Module>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files)?;
    let mut modules = BTreeMap::new();
    for path in files {
        let file = path.strip_prefix(&root).unwrap_or(&path).to_owned();
        if file.ends_with("main.rs") {
            continue;
        }
        let mut name: ModulePath =
            file.with_extension("").iter().map(|word| word.to_string_lossy().into_owned()).collect();
        if file.ends_with("mod.rs") || file.ends_with("lib.rs") {
            name.pop();
        }
        let text = std::fs::read_to_string(&path)?;
        let code = without_tests(&without_comments(&text)).to_owned();
        let exports = exports(&code);
        modules.insert(name, Module { file, code, exports });
    }
    Ok(modules)
}

fn without_comments(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Unit tests stand at the foot of their file.
fn without_tests(code: &str) -> &str {
    let tests = code.match_indices("#[cfg(test)]").find(|(at, marker)| {
        let rest = code[at + marker.len()..].trim_start();
        rest.starts_with("mod ") && rest.find('{') < rest.find(';')
    });
    tests.map_or(code, |(at, _)| &code[..at])
}

/// The names that `use` gives on, with the paths behind them.
fn exports(code: &str) -> BTreeMap<String, Vec<String>> {
    let mut exports = BTreeMap::new();
    for (at, word) in code.match_indices("use ") {
        let line = code[..at].rsplit('\n').next().unwrap_or_default();
        if !line.trim_start().starts_with("pub") {
            continue;
        }
        let (mut paths, mut rest) = (Vec::new(), code[at + word.len()..].trim_start());
        read_paths(&mut rest, &[], &mut paths);
        for path in paths {
            exports.extend(path.last().cloned().map(|name| (name, path)));
        }
    }
    exports
}

fn word(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
}

/// The paths that begin here: one, or those of a list in braces.
fn read_paths(rest: &mut &str, before: &[String], found: &mut Vec<Vec<String>>) {
    let mut path = before.to_vec();
    loop {
        *rest = rest.trim_start();
        if let Some(list) = rest.strip_prefix('{') {
            *rest = list;
            loop {
                *rest = rest.trim_start_matches([' ', '\n', ',']);
                if let Some(after) = rest.strip_prefix('}') {
                    *rest = after;
                    return;
                }
                let length = rest.len();
                read_paths(rest, &path, found);
                if rest.len() == length {
                    return;
                }
            }
        }
        let next = word(rest);
        *rest = &rest[next.len()..];
        if !next.is_empty() {
            path.push(next.to_owned());
        }
        match rest.strip_prefix("::") {
            Some(after) if !next.is_empty() => *rest = after,
            _ => break,
        }
    }
    if let Some(renamed) = rest.strip_prefix(" as ") {
        *rest = &renamed[word(renamed).len()..];
    }
    found.push(path);
}

/// Every path that a module names and that may lead to another, from the root.
fn paths(name: &ModulePath, module: &Module, modules: &BTreeMap<ModulePath, Module>) -> Vec<Vec<String>> {
    let code = module.code.as_str();
    let (mut found, mut done) = (Vec::new(), 0);
    for (at, _) in code.match_indices("::") {
        let start = code[..at].rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |n| n + 1);
        // A longer path was read whole from its first word on.
        if start < done || code[..start].ends_with("::") || code[..start].ends_with('.') {
            continue;
        }
        let first = &code[start..at];
        let is_child = modules.contains_key(&[name.as_slice(), &[first.to_owned()]].concat());
        if !matches!(first, "crate" | "self" | "super") && !is_child {
            continue;
        }
        let (mut rest, before) = (&code[start..], found.len());
        read_paths(&mut rest, &[], &mut found);
        done = code.len() - rest.len();
        for path in &mut found[before..] {
            *path = from_root(name, path);
        }
    }
    found
}

fn from_root(name: &[String], path: &[String]) -> Vec<String> {
    let supers = path.iter().take_while(|word| *word == "super").count();
    match path.first().map(String::as_str) {
        Some("crate") => path[1..].to_vec(),
        Some("self") => [name, &path[1..]].concat(),
        Some("super") => [&name[..name.len().saturating_sub(supers)], &path[supers..]].concat(),
        _ => [name, path].concat(),
    }
}

/// The module that a path leads to: by names that are given on to where they come from.
fn resolve(path: &[String], modules: &BTreeMap<ModulePath, Module>, steps: usize) -> Option<ModulePath> {
    let mut name: ModulePath = vec![];
    for (n, word) in path.iter().enumerate() {
        let deeper = [name.as_slice(), std::slice::from_ref(word)].concat();
        if modules.contains_key(&deeper) {
            name = deeper;
            continue;
        }
        let export = modules.get(&name)?.exports.get(word).filter(|_| steps > 0);
        let Some(export) = export else { break };
        let target = [from_root(&name, export).as_slice(), &path[n + 1..]].concat();
        return resolve(&target, modules, steps - 1);
    }
    Some(name)
}

#[test]
fn imports_go_down() {
    let modules = modules().unwrap();
    let (mut wrong, mut sideways, mut seen) = (BTreeSet::new(), BTreeSet::new(), 0);
    for (name, module) in &modules {
        let Some(own_module) = name.first() else { continue };
        let Some(own) = layer(own_module) else {
            wrong.insert(format!("`{own_module}` is in no layer"));
            continue;
        };
        for path in paths(name, module, &modules) {
            let Some((other, at)) = path.first().and_then(|other| Some((other, layer(other)?))) else {
                continue;
            };
            seen += 1;
            let known = SIDEWAYS.iter().find(|edge| **edge == (own_module.as_str(), other.as_str()));
            if let Some(known) = known {
                sideways.insert(known);
            } else if other != own_module && at >= own {
                wrong.insert(format!("{}: `{own_module}` uses `{other}`", module.file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.into_iter().collect::<Vec<_>>().join("\n"));
    let mended: Vec<_> = SIDEWAYS.iter().filter(|edge| !sideways.contains(*edge)).collect();
    assert!(mended.is_empty(), "{mended:?} are no imports any more: take them off the list");
    assert!(seen > 200, "only {seen} imports were found");
}

/// What each file of a module imports from other files of it. That a file uses what stands in the `mod.rs` above
/// it is no import: a type that all share has its place there.
fn imports() -> std::io::Result<BTreeMap<PathBuf, BTreeSet<PathBuf>>> {
    let modules = modules()?;
    let mut imports = BTreeMap::new();
    for (name, module) in modules.iter().filter(|(name, _)| !name.is_empty()) {
        let targets = paths(name, module, &modules).into_iter();
        let targets = targets.filter_map(|path| resolve(&path, &modules, 8)).filter(|target| {
            let is_above = name.starts_with(target) && modules[target].is_mod_rs();
            target.first() == name.first() && target != name && !is_above
        });
        imports.insert(module.file.clone(), targets.map(|target| modules[&target].file.clone()).collect());
    }
    Ok(imports)
}

fn reachable<'a>(from: &'a Path, imports: &'a BTreeMap<PathBuf, BTreeSet<PathBuf>>) -> BTreeSet<&'a Path> {
    let (mut reached, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(file) = next.pop() {
        let unseen = imports.get(file).into_iter().flatten().map(PathBuf::as_path);
        next.extend(unseen.filter(|file| reached.insert(*file)));
    }
    reached
}

/// The files that reach each other, each such group once.
fn circles(imports: &BTreeMap<PathBuf, BTreeSet<PathBuf>>) -> BTreeSet<BTreeSet<PathBuf>> {
    let reachable: BTreeMap<&Path, _> =
        imports.keys().map(|file| (file.as_path(), reachable(file, imports))).collect();
    let circle = |file: &Path| {
        let back = reachable[file].iter().filter(|other| reachable[**other].contains(file));
        back.map(|other| other.to_path_buf()).collect::<BTreeSet<_>>()
    };
    imports.keys().map(|file| circle(file)).filter(|circle| circle.len() > 1).collect()
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let imports = imports().unwrap();
    let edges = |circle: &BTreeSet<PathBuf>| -> Vec<String> {
        let within =
            circle.iter().flat_map(|file| imports[file].intersection(circle).map(move |to| (file, to)));
        within.map(|(file, other)| format!("{} -> {}", file.display(), other.display())).collect()
    };
    let found: Vec<_> = circles(&imports).iter().flat_map(edges).collect();
    assert!(found.is_empty(), "these import each other in a circle:\n{}", found.join("\n"));
    let count: usize = imports.values().map(BTreeSet::len).sum();
    assert!(count > 500, "only {count} imports were found");
}
