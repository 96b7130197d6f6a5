//! Flattens configuration files that include others. Pure: text in, text out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// PostgreSQL's maximum depth.
const DEEPEST: usize = 10;

/// The grammar of a file's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grammar {
    /// `postgresql.conf`.
    Settings,
    /// `pg_hba.conf` and `pg_ident.conf`, whose lines may reference lists in other files; and, from 16 on,
    /// includes.
    Records { may_include: bool },
}

/// What was found at the target of an include.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum IncludedFile {
    Text(String),
    /// The files of a directory that are included, in order.
    Folder(Vec<PathBuf>),
    Missing,
    Unreadable,
}

/// All files of a configuration, by path.
pub(super) type Sources = BTreeMap<PathBuf, IncludedFile>;

/// The target of an include.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Leads {
    File(PathBuf),
    Folder(PathBuf),
}

impl Leads {
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::Folder(path) => path,
        }
    }
}

/// Returns the includes of the file at `path` with this text.
pub(super) fn leads(text: &str, path: &Path, grammar: Grammar) -> Vec<Leads> {
    let mut found = Vec::new();
    for line in text.lines() {
        match include(line, grammar) {
            Some((is_folder, value)) => {
                let target = beside(path, &value);
                found.push(if is_folder { Leads::Folder(target) } else { Leads::File(target) });
            }
            None if grammar != Grammar::Settings => {
                lists(line, |name| {
                    found.push(Leads::File(beside(path, name)));
                    None
                });
            }
            None => {}
        }
    }
    found
}

/// Returns the file at `path` with its includes expanded. `known`: the settings to write in place of an
/// unreadable file.
pub(super) fn flatten(
    path: &Path,
    sources: &Sources,
    grammar: Grammar,
    known: &dyn Fn(&Path) -> Vec<(String, String)>,
) -> String {
    let mut out = String::new();
    write(path, sources, grammar, known, DEEPEST, &mut out);
    out
}

fn write(
    path: &Path,
    sources: &Sources,
    grammar: Grammar,
    known: &dyn Fn(&Path) -> Vec<(String, String)>,
    depth: usize,
    out: &mut String,
) {
    let mut say = |line: &str| {
        out.push_str(line);
        out.push('\n');
    };
    let text = match sources.get(path) {
        Some(IncludedFile::Text(text)) if depth > 0 => text,
        Some(IncludedFile::Unreadable) => {
            say(&format!("# {} could not be read; what the server has of it:", path.display()));
            known(path).iter().for_each(|(name, value)| say(&setting(name, value)));
            return;
        }
        _ => return,
    };
    for line in text.lines() {
        let Some((is_folder, value)) = include(line, grammar) else {
            let plain = match grammar {
                Grammar::Settings => line.to_owned(),
                Grammar::Records { .. } => lists(line, |name| list(&beside(path, name), sources, depth - 1)),
            };
            out.push_str(&plain);
            out.push('\n');
            continue;
        };
        let target = beside(path, &value);
        out.push_str(&format!("#drctl: {line}\n"));
        let files = match sources.get(&target) {
            Some(IncludedFile::Folder(files)) if is_folder => files.clone(),
            _ => vec![target],
        };
        for file in files {
            out.push_str(&format!("# What {} has:\n", file.display()));
            write(&file, sources, grammar, known, depth - 1, out);
        }
    }
}

/// Returns a line of `postgresql.conf`.
pub(super) fn setting(name: &str, value: &str) -> String {
    format!("{name} = '{}'", value.replace('\\', r"\\").replace('\'', "''"))
}

/// Resolves a path as PostgreSQL does: relative to the directory of the file that names it.
fn beside(path: &Path, value: &str) -> PathBuf {
    path.parent().unwrap_or(Path::new("/")).join(value)
}

/// Returns what a line includes, and whether that is a directory.
fn include(line: &str, grammar: Grammar) -> Option<(bool, String)> {
    let line = line.trim_start();
    let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    let name = match grammar {
        Grammar::Settings => name.to_ascii_lowercase(),
        Grammar::Records { may_include: true } if rest.starts_with([' ', '\t']) => name.to_owned(),
        Grammar::Records { .. } => return None,
    };
    let is_folder = match name.as_str() {
        "include" | "include_if_exists" => false,
        "include_dir" => true,
        _ => return None,
    };
    let rest = rest.trim_start();
    let value = match grammar {
        Grammar::Settings => quoted(rest.strip_prefix('=').unwrap_or(rest).trim_start())?,
        Grammar::Records { .. } => word(rest).0,
    };
    (!value.is_empty()).then_some((is_folder, value))
}

/// Parses a value of `postgresql.conf`, with or without quotes.
fn quoted(text: &str) -> Option<String> {
    let Some(inner) = text.strip_prefix('\'') else {
        let end = text.find(|c: char| c.is_whitespace() || c == '#').unwrap_or(text.len());
        return Some(text[..end].to_owned());
    };
    let (mut value, mut chars) = (String::new(), inner.chars().peekable());
    while let Some(c) = chars.next() {
        match c {
            '\'' if chars.peek() == Some(&'\'') => value.extend(chars.next()),
            '\'' => return Some(value),
            '\\' => value.extend(chars.next()),
            c => value.push(c),
        }
    }
    None
}

/// Returns the first word of a line of records without its quotes, and its length in bytes.
fn word(text: &str) -> (String, usize) {
    let (mut value, mut is_quoted) = (String::new(), false);
    for (at, c) in text.char_indices() {
        match c {
            '"' => is_quoted = !is_quoted,
            c if !is_quoted && (c.is_whitespace() || c == ',' || c == '#') => return (value, at),
            c => value.push(c),
        }
    }
    (value, text.len())
}

/// Replaces each reference to a list in another file (`@name`) in a line of records, where there is one.
fn lists(line: &str, mut replaced: impl FnMut(&str) -> Option<String>) -> String {
    let (mut out, mut rest) = (String::new(), line);
    while let Some(first) = rest.chars().next() {
        if first == '#' {
            break;
        }
        let taken = match first {
            c if c.is_whitespace() || c == ',' => c.len_utf8(),
            _ => word(rest).1,
        };
        let (token, after) = rest.split_at(taken);
        let name = token.strip_prefix('@').map(|name| word(name).0).filter(|name| !name.is_empty());
        match name.and_then(|name| replaced(&name)) {
            Some(names) => out.push_str(&names),
            None => out.push_str(token),
        }
        rest = after;
    }
    out + rest
}

/// Returns the names in a list file as one word of a line. `None` where they are unknown.
fn list(path: &Path, sources: &Sources, depth: usize) -> Option<String> {
    let Some(IncludedFile::Text(text)) = sources.get(path).filter(|_| depth > 0) else { return None };
    let mut names = Vec::new();
    for line in text.lines() {
        let mut rest = line;
        while let Some(first) = rest.chars().next().filter(|first| *first != '#') {
            let taken = match first {
                c if c.is_whitespace() || c == ',' => c.len_utf8(),
                _ => word(rest).1,
            };
            let (token, after) = rest.split_at(taken);
            match token.strip_prefix('@').map(|name| word(name).0) {
                Some(name) => names.extend(list(&beside(path, &name), sources, depth - 1)),
                None if !token.trim_matches([' ', '\t', '\r', ',']).is_empty() => {
                    names.push(token.to_owned())
                }
                None => {}
            }
            rest = after;
        }
    }
    // A word that matches no name: without one the line would be parsed differently.
    Some(if names.is_empty() { "\"\"".to_owned() } else { names.join(",") })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDS: Grammar = Grammar::Records { may_include: true };

    fn sources(files: &[(&str, &str)], folders: &[(&str, &[&str])]) -> Sources {
        let files =
            files.iter().map(|(path, text)| (PathBuf::from(path), IncludedFile::Text((*text).to_owned())));
        let folder = |(path, names): &(&str, &[&str])| {
            (PathBuf::from(path), IncludedFile::Folder(names.iter().map(PathBuf::from).collect()))
        };
        files.chain(folders.iter().map(folder)).collect()
    }

    fn said(text: &str) -> Vec<&str> {
        text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect()
    }

    #[test]
    fn what_is_included_stands_where_it_counts() {
        let main = "port = 1\n  Include_Dir='conf.d' # Debian\ninclude \"no\"\nINCLUDE_IF_EXISTS /etc/x.conf\nport = 4\n#include 'not.conf'\n";
        let path = Path::new("/etc/pg/postgresql.conf");
        let found: Vec<_> = leads(main, path, Grammar::Settings);
        assert_eq!(found[0], Leads::Folder("/etc/pg/conf.d".into()));
        assert_eq!(found[2], Leads::File("/etc/x.conf".into()));
        assert_eq!(found.len(), 3);
        let mut sources = sources(
            &[
                ("/etc/pg/postgresql.conf", main),
                ("/etc/pg/conf.d/1.conf", "port = 2\ninclude = 'it''s.conf'"),
                ("/etc/pg/conf.d/it's.conf", "work_mem = '1MB'\n"),
                ("/etc/x.conf", "port = 3"),
            ],
            &[("/etc/pg/conf.d", &["/etc/pg/conf.d/1.conf", "/etc/pg/conf.d/2.conf"])],
        );
        sources.insert("/etc/pg/conf.d/2.conf".into(), IncludedFile::Unreadable);
        let known = |path: &Path| match path.ends_with("2.conf") {
            true => vec![("log_line_prefix".to_owned(), r"it's \n".to_owned())],
            false => vec![],
        };
        let text = flatten(path, &sources, Grammar::Settings, &known);
        let expected = [
            "port = 1",
            "port = 2",
            "work_mem = '1MB'",
            r"log_line_prefix = 'it''s \\n'",
            "port = 3",
            "port = 4",
        ];
        assert_eq!(said(&text), expected);
    }

    #[test]
    fn files_that_include_each_other_have_an_end() {
        let sources = sources(&[("/a", "x = 1\ninclude '/b'\n"), ("/b", "include '/a'\n")], &[]);
        let text = flatten(Path::new("/a"), &sources, Grammar::Settings, &|_| vec![]);
        assert_eq!(said(&text).len(), DEEPEST / 2);
    }

    #[test]
    fn records_include_files_and_name_lists() {
        let main = "local @dbs,other @\"the admins\" peer # @not\ninclude_dir hba.d\ninclude more.conf\nhost all \"@quoted\" ::1/128 trust\n";
        let path = Path::new("/etc/pg/pg_hba.conf");
        let files = [
            ("/etc/pg/pg_hba.conf", main),
            ("/etc/pg/dbs", "shop, \"odd name\" # and\n @more\n"),
            ("/etc/pg/more", "\n"),
            ("/etc/pg/the admins", "alice\nbob\n"),
            ("/etc/pg/more.conf", "host all all 10.0.0.0/8 scram-sha-256\n"),
            ("/etc/pg/hba.d/1.conf", "host all @nobody 10.0.0.0/8 reject\n"),
            ("/etc/pg/hba.d/nobody", ""),
        ];
        let folders: [(&str, &[&str]); 1] = [("/etc/pg/hba.d", &["/etc/pg/hba.d/1.conf"])];
        let found = leads(main, path, RECORDS);
        let paths: Vec<_> = found.iter().map(|leads| leads.path().display().to_string()).collect();
        assert_eq!(paths, ["/etc/pg/dbs", "/etc/pg/the admins", "/etc/pg/hba.d", "/etc/pg/more.conf"]);
        let text = flatten(path, &sources(&files, &folders), RECORDS, &|_| vec![]);
        assert_eq!(
            said(&text),
            [
                "local shop,\"odd name\",\"\",other alice,bob peer # @not",
                "host all \"\" 10.0.0.0/8 reject",
                "host all all 10.0.0.0/8 scram-sha-256",
                "host all \"@quoted\" ::1/128 trust",
            ]
        );
        // Before 16 a line cannot include anything, and a list that nobody could read stays what it is.
        let old = Grammar::Records { may_include: false };
        assert_eq!(leads(main, path, old).len(), 2);
        let alone = sources(&files[..1], &[]);
        assert!(flatten(path, &alone, old, &|_| vec![]).starts_with("local @dbs,other @\"the admins\" peer"));
    }
}
