//! Messages, help and documents use the field's words: WAL, segment, resume, orphan, recovery target.

use std::path::{Path, PathBuf};

use clap::CommandFactory as _;
use drctl::cli::Cli;

/// What is never written, and what the field says instead.
const NEVER: [(&str, &str); 31] = [
    ("write-ahead log", "WAL"),
    ("archived log", "archived WAL"),
    ("file of log", "WAL segment, WAL file"),
    ("end of the log", "end of the WAL"),
    ("pieces of", "partial segments"),
    ("whose log", "system identifier"),
    ("go on with", "resume, continue"),
    ("goes on with", "resumes, continues"),
    ("going on with", "resuming, continuing"),
    ("gone on with", "resumed, continued"),
    ("anew", "recreate, rebuild"),
    ("what was left", "leftover, orphan"),
    ("left behind", "orphan"),
    ("stands against", "conflicts with, failed precondition"),
    ("stands in the way", "failed precondition"),
    ("cannot be asked", "cannot be queried"),
    ("could not be asked", "failed to query"),
    ("cannot be looked at", "cannot be inspected"),
    ("is told", "is reported"),
    ("was told", "was reported"),
    ("any moment", "any point in time"),
    ("the moment", "the recovery target, the time"),
    ("earlier moment", "earlier point in time"),
    ("by hand", "manually"),
    ("mend", "repair, fix"),
    ("mended", "fixed"),
    ("somebody", "the server, an operator, a role"),
    ("nobody", "the server, an operator, a role"),
    ("whoever", "the server, an operator, a role"),
    ("not to be restored", "not restorable"),
    ("(s)", "a plural"),
];

/// Returns the forbidden words in `text`, in small letters and with one space between words.
fn forbidden(text: &str) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let is_letter = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    NEVER.iter().filter(move |(word, _)| {
        text.match_indices(word).any(|(at, _)| {
            let is_suffix = *word == "(s)";
            let before = is_letter(text[..at].chars().next_back());
            let after = is_letter(text[at + word.len()..].chars().next());
            (is_suffix == before) && !after
        })
    })
}

/// Returns the string literals of Rust code, with the lines they begin in.
fn literals(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut rest = code;
    let line = |rest: &str| code[..code.len() - rest.len()].matches('\n').count() + 1;
    while let Some(at) = rest.find(['/', '"', '\'', 'r']) {
        let (from, begun) = (&rest[at..], rest[..at].chars().next_back());
        let raw = from.strip_prefix('r').map(|quoted| quoted.trim_start_matches('#'));
        rest = if from.starts_with("//") {
            from.find('\n').map_or("", |end| &from[end..])
        } else if let Some(text) = from.strip_prefix('"') {
            let mut escaped = false;
            let end = text.find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            let end = end.unwrap_or(text.len());
            found.push((line(from), text[..end].replace("\\\n", "\n").replace("\\n", "\n")));
            text.get(end + 1..).unwrap_or_default()
        } else if let Some(text) = raw.and_then(|quoted| quoted.strip_prefix('"'))
            && !begun.is_some_and(|c| c.is_alphanumeric() || c == '_')
        {
            let close = format!("\"{}", "#".repeat(from.len() - text.len() - 2));
            let end = text.find(&close).unwrap_or(text.len());
            found.push((line(from), text[..end].to_owned()));
            text.get(end + close.len()..).unwrap_or_default()
        } else if from.starts_with("'\"'") || from.starts_with("'\\") || from.starts_with("'/'") {
            &from[if from.starts_with("'\\") { 4 } else { 3 }..]
        } else {
            &from[1..]
        };
    }
    found
}

fn files(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files(&path, extension, found)?;
        } else if path.extension().is_some_and(|its| its == extension) {
            found.push(path);
        }
    }
    Ok(())
}

/// Returns every forbidden word in the messages of a file of code, each with its line.
fn wrong_messages(code: &str) -> Vec<String> {
    let is_module = |after: &str| after.lines().next().is_some_and(|line| line.ends_with("mod tests {"));
    let tests = code.match_indices("#[cfg(test)]\n").find(|(at, mark)| is_module(&code[at + mark.len()..]));
    let code = tests.map_or(code, |(at, _)| &code[..at]);
    let told = |(line, text): &(usize, String)| {
        let line = *line;
        let wrong = forbidden(text).map(move |(word, instead)| format!("line {line}: `{word}`: {instead}"));
        wrong.collect::<Vec<_>>()
    };
    // A word alone is a name, a message is a sentence.
    literals(code).iter().filter(|(_, text)| text.split_whitespace().count() > 2).flat_map(told).collect()
}

/// Fails for every place with forbidden words.
fn refuse(found: &[(String, Vec<String>)]) {
    let lines =
        found.iter().flat_map(|(name, words)| words.iter().map(move |word| format!("{name}, {word}")));
    let lines: Vec<_> = lines.collect();
    assert!(lines.is_empty(), "{}", lines.join("\n"));
}

#[test]
fn messages_use_the_words_of_the_field() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    files(&root.join("src"), "rs", &mut paths).unwrap();
    let mut found = Vec::new();
    for path in paths {
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let messages = wrong_messages(&std::fs::read_to_string(&path).unwrap());
        if !name.ends_with("_tests.rs") && !messages.is_empty() {
            found.push((name, messages));
        }
    }
    refuse(&found);
}

#[test]
fn help_uses_the_words_of_the_field() {
    fn check(command: &mut clap::Command, path: &str, found: &mut Vec<(String, Vec<String>)>) -> usize {
        let help = command.render_long_help().to_string();
        let words: Vec<_> = forbidden(&help).map(|(word, instead)| format!("`{word}`: {instead}")).collect();
        if !words.is_empty() {
            found.push((format!("{path} --help"), words));
        }
        let mut seen = 1;
        for sub in command.get_subcommands_mut() {
            let path = format!("{path} {}", sub.get_name());
            seen += check(sub, &path, found);
        }
        seen
    }
    let mut found = Vec::new();
    let seen = check(&mut Cli::command(), "drctl", &mut found);
    refuse(&found);
    assert!(seen > 30, "only {seen} commands were found");
}

#[test]
fn documents_use_the_words_of_the_field() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = vec![root.join("README.md"), root.join("CHANGELOG.md")];
    files(&root.join("runbooks"), "md", &mut paths).unwrap();
    files(&root.join("policies"), "toml", &mut paths).unwrap();
    let mut wrong = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        // The name of a file that every repository holds.
        let text = text.replace("RESTORE-BY-HAND", "").replace("RECOVER-BY-HAND", "");
        let name = path.display();
        wrong.extend(forbidden(&text).map(|(word, instead)| format!("{name}: `{word}`: {instead}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_word_is_found_in_literals_and_nowhere_else() {
    let code = "// nobody\nlet a = \"who\\\"ever it is: the \\\n  whoever of it\";\nlet b = r#\"a file \"by hand\" of it\"#;\nlet c = '\"';\nlet d = \"two file(s) of it\"; let e = \"recommended for all\";";
    let found = wrong_messages(code);
    let words = [(2, "whoever"), (4, "by hand"), (6, "(s)")];
    assert_eq!(found.len(), words.len(), "{found:?}");
    for (found, (line, word)) in found.iter().zip(words) {
        assert!(found.starts_with(&format!("line {line}: `{word}`")), "{found}");
    }
}
