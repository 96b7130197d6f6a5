//! What a script for `sh` names: variables, and the commands of drctl. A reader of the plain shell of runbooks, not of
//! all that a shell can do.

use std::collections::{BTreeMap, BTreeSet};

/// A variable that a script reads, and the line in the script, from 1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct UsedVariable {
    pub(super) name: String,
    pub(super) line: usize,
    /// It has a default: `${NAME:-…}`.
    pub(super) has_default: bool,
}

/// Returns the variables that a script reads and does not set itself.
pub(super) fn used_variables(script: &str) -> Vec<UsedVariable> {
    let own = assigned(script);
    let mut found: Vec<UsedVariable> =
        read_variables(script, true).into_iter().filter(|used| !own.contains(&used.name)).collect();
    found.sort();
    found.dedup_by(|a, b| a.name == b.name && a.has_default == b.has_default);
    found
}

/// Returns the variables of a message, where nothing is quoted.
pub(super) fn template_variables(text: &str) -> Vec<UsedVariable> {
    read_variables(text, false)
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn read_variables(script: &str, is_script: bool) -> Vec<UsedVariable> {
    let mut found = Vec::new();
    let (mut line, mut in_double) = (1, false);
    let mut rest = script.char_indices().peekable();
    while let Some((at, c)) = rest.next() {
        match c {
            '\n' => line += 1,
            '\\' if is_script => line += usize::from(rest.next().is_some_and(|(_, next)| next == '\n')),
            '"' if is_script => in_double = !in_double,
            '\'' if is_script && !in_double => {
                for (_, quoted) in rest.by_ref() {
                    match quoted {
                        '\'' => break,
                        '\n' => line += 1,
                        _ => {}
                    }
                }
            }
            '#' if is_script && !in_double && starts_word(script, at) => {
                while rest.peek().is_some_and(|(_, next)| *next != '\n') {
                    rest.next();
                }
            }
            '$' => {
                let after = &script[at + 1..];
                let (name, has_default) = match after.strip_prefix('{') {
                    Some(braced) => {
                        let name: String = braced.chars().take_while(|c| is_name(*c)).collect();
                        let has_default = braced[name.len()..].starts_with([':', '-', '+', '=']);
                        (name, has_default)
                    }
                    None => (after.chars().take_while(|c| is_name(*c)).collect(), false),
                };
                if name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
                    found.push(UsedVariable { name, line, has_default });
                }
            }
            _ => {}
        }
    }
    found
}

fn starts_word(script: &str, at: usize) -> bool {
    script[..at].chars().next_back().is_none_or(|before| before.is_whitespace() || before == ';')
}

/// Returns the variables that a script sets: `NAME=…`, `for NAME in`, `read NAME`.
fn assigned(script: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let words: Vec<&str> = script.split([' ', '\t', '\n', ';', '(', ')', '&', '|']).collect();
    for (n, word) in words.iter().enumerate() {
        if let Some((name, _)) = word.split_once('=')
            && !name.is_empty()
            && name.chars().all(is_name)
        {
            found.insert(name.to_owned());
        }
        if matches!(*word, "for" | "read" | "getopts") {
            let names = words[n + 1..].iter().take_while(|word| !matches!(**word, "in" | "do" | ""));
            found.extend(names.filter(|word| word.chars().all(is_name)).map(|word| (*word).to_owned()));
        }
    }
    found
}

/// A command line of drctl in a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DrctlCommand {
    /// In the script, from 1.
    pub(super) line: usize,
    /// Without `drctl` itself, with variables replaced.
    pub(super) words: Vec<ShellWord>,
}

/// A word of a command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ShellWord {
    pub(super) text: String,
    /// A part of it is known only when the script runs.
    pub(super) is_opaque: bool,
}

/// Words after which a command begins.
const BEFORE_COMMANDS: [&str; 9] = ["if", "then", "else", "elif", "while", "until", "do", "!", "{"];

/// Returns the commands of drctl in a script. `values`: of variables.
pub(super) fn drctl_commands(script: &str, values: &BTreeMap<String, String>) -> Vec<DrctlCommand> {
    let mut found = Vec::new();
    commands(&with_alternatives(script, values), 1, values, &mut found);
    found
}

/// Replaces `${NAME:+words}` and `${NAME:-words}` by what they come to: they may be several words.
fn with_alternatives(script: &str, values: &BTreeMap<String, String>) -> String {
    let (mut text, mut rest) = (String::new(), script);
    while let Some(at) = rest.find("${") {
        text.push_str(&rest[..at]);
        let braced = &rest[at + 2..];
        let mut depth = 1;
        let end = braced.char_indices().find(|(_, c)| {
            depth += i32::from(*c == '{') - i32::from(*c == '}');
            depth == 0
        });
        let Some((end, _)) = end else {
            text.push_str("${");
            rest = braced;
            continue;
        };
        let inner = &braced[..end];
        let length = inner.chars().take_while(|c| is_name(*c)).count();
        let (name, operator) = inner.split_at(length);
        let operator = operator.strip_prefix(':').unwrap_or(operator);
        let is_set = values.get(name).is_some_and(|value| !value.is_empty());
        match (operator.strip_prefix('+'), operator.strip_prefix(['-', '='])) {
            (Some(words), _) if is_set => text.push_str(&with_alternatives(words, values)),
            (Some(_), _) => {}
            (None, Some(words)) if !is_set => text.push_str(&with_alternatives(words, values)),
            _ => text.push_str(&rest[at..at + 2 + end + 1]),
        }
        rest = &braced[end + 1..];
    }
    text.push_str(rest);
    text
}

/// Adds the commands of a script that begins in this line.
fn commands(script: &str, first: usize, values: &BTreeMap<String, String>, found: &mut Vec<DrctlCommand>) {
    let characters: Vec<char> = script.chars().collect();
    let mut line = first;
    let mut current: Vec<(ShellWord, bool, usize)> = Vec::new();
    let mut word: Option<(ShellWord, bool)> = None;
    let mut skips_redirection = false;
    let mut n = 0;
    let end_word = |word: &mut Option<(ShellWord, bool)>,
                    current: &mut Vec<(ShellWord, bool, usize)>,
                    skips: &mut bool,
                    line: usize| {
        if let Some((done, is_quoted)) = word.take() {
            if *skips {
                *skips = false;
            } else {
                current.push((done, is_quoted, line));
            }
        }
    };
    while n < characters.len() {
        let c = characters[n];
        match c {
            '\\' => {
                n += 1;
                match characters.get(n) {
                    Some('\n') => line += 1,
                    Some(escaped) => {
                        let (target, _) = word.get_or_insert_default();
                        target.text.push(*escaped);
                    }
                    None => {}
                }
            }
            '\'' => {
                let (target, is_quoted) = word.get_or_insert_default();
                *is_quoted = true;
                n += 1;
                while n < characters.len() && characters[n] != '\'' {
                    line += usize::from(characters[n] == '\n');
                    target.text.push(characters[n]);
                    n += 1;
                }
            }
            '"' => {
                let begun = word.get_or_insert_default();
                begun.1 = true;
                n += 1;
                while n < characters.len() && characters[n] != '"' {
                    match characters[n] {
                        '\\' if characters.get(n + 1).is_some_and(|next| "\"\\$`".contains(*next)) => {
                            n += 1;
                            begun.0.text.push(characters[n]);
                        }
                        '$' => n = dollar(&characters, n, line, values, &mut begun.0, found),
                        other => {
                            line += usize::from(other == '\n');
                            begun.0.text.push(other);
                        }
                    }
                    n += 1;
                }
            }
            '$' => {
                let begun = word.get_or_insert_default();
                n = dollar(&characters, n, line, values, &mut begun.0, found);
            }
            '#' if word.is_none() => {
                while n + 1 < characters.len() && characters[n + 1] != '\n' {
                    n += 1;
                }
            }
            '>' | '<' => {
                // `2>` is part of the redirection.
                if word.as_ref().is_some_and(|(word, _)| word.text.chars().all(|c| c.is_ascii_digit())) {
                    word = None;
                }
                end_word(&mut word, &mut current, &mut skips_redirection, line);
                while characters.get(n + 1).is_some_and(|next| "><&-".contains(*next)) {
                    n += 1;
                }
                skips_redirection = true;
            }
            '\n' | ';' | '|' | '&' | '(' | ')' | '`' => {
                end_word(&mut word, &mut current, &mut skips_redirection, line);
                skips_redirection = false;
                command(&std::mem::take(&mut current), found);
                line += usize::from(c == '\n');
            }
            c if c.is_whitespace() => end_word(&mut word, &mut current, &mut skips_redirection, line),
            other => word.get_or_insert_default().0.text.push(other),
        }
        n += 1;
    }
    end_word(&mut word, &mut current, &mut skips_redirection, line);
    command(&current, found);
}

/// Reads what begins with `$` at `n`; returns where it ends.
fn dollar(
    characters: &[char],
    n: usize,
    line: usize,
    values: &BTreeMap<String, String>,
    word: &mut ShellWord,
    found: &mut Vec<DrctlCommand>,
) -> usize {
    let closing = |open: char, close: char| {
        let mut depth = 0;
        (n + 1..characters.len()).find(|at| {
            depth += i32::from(characters[*at] == open) - i32::from(characters[*at] == close);
            depth == 0
        })
    };
    match characters.get(n + 1) {
        Some('(') => {
            let end = closing('(', ')').unwrap_or(characters.len() - 1);
            let inner: String = characters[n + 2..end.max(n + 2)].iter().collect();
            commands(&inner, line, values, found);
            word.is_opaque = true;
            end
        }
        Some('{') => {
            let end = closing('{', '}').unwrap_or(characters.len() - 1);
            let inner: String = characters[n + 2..end.max(n + 2)].iter().collect();
            let name: String = inner.chars().take_while(|c| is_name(*c)).collect();
            substitute(&name, values, word);
            end
        }
        Some(next) if next.is_ascii_alphabetic() || *next == '_' => {
            let name: String = characters[n + 1..].iter().take_while(|c| is_name(**c)).collect();
            substitute(&name, values, word);
            n + name.chars().count()
        }
        Some(next) if "?!#@*$0123456789".contains(*next) => {
            word.is_opaque = true;
            n + 1
        }
        _ => {
            word.text.push('$');
            n
        }
    }
}

fn substitute(name: &str, values: &BTreeMap<String, String>, word: &mut ShellWord) {
    match values.get(name) {
        Some(value) => word.text.push_str(value),
        None => word.is_opaque = true,
    }
}

/// Adds a simple command, if it is one of drctl.
fn command(words: &[(ShellWord, bool, usize)], found: &mut Vec<DrctlCommand>) {
    let is_assignment = |word: &str| {
        word.split_once('=').is_some_and(|(name, _)| !name.is_empty() && name.chars().all(is_name))
    };
    let skipped = words.iter().take_while(|(word, is_quoted, _)| {
        !is_quoted && (BEFORE_COMMANDS.contains(&word.text.as_str()) || is_assignment(&word.text))
    });
    let Some(((first, _, line), rest)) = words[skipped.count()..].split_first() else { return };
    if first.text == "drctl" {
        // What a variable that is empty leaves is no word, unless it is quoted.
        let is_word = |(word, is_quoted, _): &&(ShellWord, bool, usize)| {
            *is_quoted || word.is_opaque || !word.text.is_empty()
        };
        let words = rest.iter().filter(is_word).map(|(word, ..)| word.clone()).collect();
        found.push(DrctlCommand { line: *line, words });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(script: &str) -> Vec<(String, usize)> {
        used_variables(script).into_iter().map(|used| (used.name, used.line)).collect()
    }

    #[test]
    fn variables_are_those_that_the_shell_would_read() {
        let script = "export A=1\necho \"$A ${B}\" '$C' \\$D # $E\nfor f in $FILES; do cat \"$f\"; done\nread -r x; echo $x $1";
        assert_eq!(used(script), [("B".to_owned(), 2), ("FILES".to_owned(), 3)]);
        assert_eq!(used("echo it's fine \"$A\"'"), []);
    }

    #[test]
    fn options_that_depend_on_a_value_are_words_of_their_own() {
        let script = "drctl restore ${FROM:+--from \"$FROM\"} ${NONE:+--none \"$NONE\"} ${NONE:-x}";
        let values =
            [("FROM", "west"), ("NONE", "")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let found = drctl_commands(script, &BTreeMap::from(values)).remove(0);
        let words: Vec<_> = found.words.iter().map(|word| word.text.as_str()).collect();
        assert_eq!(words, ["restore", "--from", "west", "x"]);
    }

    #[test]
    fn commands_are_found_wherever_they_stand() {
        let values = BTreeMap::from([("SOURCE".to_owned(), "db".to_owned())]);
        let script = "if ! drctl status -q >/dev/null 2>&1; then echo drctl list; fi\n\
                      FOO=1 drctl restore \"$SOURCE\" \\\n  --to $(drctl policy show) | tee log\n# drctl nothing\n";
        let found: Vec<(usize, Vec<String>)> = drctl_commands(script, &values)
            .into_iter()
            .map(|one| {
                let word = |word: ShellWord| if word.is_opaque { "?".to_owned() } else { word.text };
                (one.line, one.words.into_iter().map(word).collect())
            })
            .collect();
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            found,
            [(1, words("status -q")), (3, words("policy show")), (2, words("restore db --to ?")),]
        );
    }
}
