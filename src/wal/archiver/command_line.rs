//! Parses a line as the server's shell would, as far as that determines which programs it runs, and whose
//! exit status counts.

/// A word of a line, unquoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// `%%` is replaced by `%`; `%p` and `%f` are unchanged.
    pub(super) text: String,
    /// It depends on an expansion of the shell: a variable, a command, a pattern.
    pub(super) is_expanded: bool,
    /// The server inserts the file into it: `%p`, or `%f` in a composed path.
    pub(super) has_file: bool,
}

/// The operator between two commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Joint {
    /// `;` or the end of a line.
    Then,
    And,
    Or,
    Pipe,
    /// `&`: the shell does not wait.
    Background,
}

impl Joint {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Then => ";",
            Self::And => "&&",
            Self::Or => "||",
            Self::Pipe => "|",
            Self::Background => "&",
        }
    }
}

/// A program with its arguments, and the operator after it; redirections are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SimpleCommand {
    pub(super) words: Vec<Word>,
    pub(super) joint: Option<Joint>,
}

/// Why a line cannot be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// An unclosed quote: the shell rejects it.
    OpenQuote,
    /// It has a compound command: a group, a condition or a loop.
    Compound,
}

/// A placeholder for a `%` that the server makes of `%%`.
const PERCENT: char = '\u{E000}';
const RESERVED: [&str; 14] =
    ["if", "then", "else", "fi", "for", "while", "until", "do", "done", "case", "esac", "function", "{", "}"];

enum Token {
    Word(Word),
    Joint(Joint),
    /// The next word is a file.
    Redirection,
}

/// Returns the commands of a line in their order.
pub(super) fn commands(line: &str) -> Result<Vec<SimpleCommand>, Unread> {
    let mut commands = Vec::new();
    let mut words: Vec<Word> = Vec::new();
    let mut is_file = false;
    for token in tokens(&line.replace("%%", &PERCENT.to_string()))? {
        match token {
            Token::Word(_) if std::mem::take(&mut is_file) => {}
            Token::Word(word) => {
                if words.is_empty() && RESERVED.contains(&word.text.as_str()) {
                    return Err(Unread::Compound);
                }
                words.push(word);
            }
            Token::Redirection => is_file = true,
            // An empty line, or the end of one after an operator.
            Token::Joint(Joint::Then) if words.is_empty() => {}
            Token::Joint(joint) => {
                commands.push(SimpleCommand { words: std::mem::take(&mut words), joint: Some(joint) });
            }
        }
    }
    if !words.is_empty() {
        commands.push(SimpleCommand { words, joint: None });
    }
    // Nothing follows the last `;`.
    if let Some(last) = commands.last_mut().filter(|last| last.joint == Some(Joint::Then)) {
        last.joint = None;
    }
    Ok(commands)
}

fn tokens(line: &str) -> Result<Vec<Token>, Unread> {
    let mut tokens = Vec::new();
    let mut letters = line.chars().peekable();
    let mut word: Option<Word> = None;
    let begun = |word: &mut Option<Word>| {
        word.take().unwrap_or(Word { text: String::new(), is_expanded: false, has_file: false })
    };
    while let Some(letter) = letters.next() {
        let joint = match letter {
            '\n' | ';' => Some(Joint::Then),
            '&' if letters.next_if_eq(&'&').is_some() => Some(Joint::And),
            '&' => Some(Joint::Background),
            '|' if letters.next_if_eq(&'|').is_some() => Some(Joint::Or),
            '|' => {
                letters.next_if_eq(&'&');
                Some(Joint::Pipe)
            }
            _ => None,
        };
        if let Some(joint) = joint {
            tokens.extend(word.take().map(Token::Word));
            tokens.push(Token::Joint(joint));
            continue;
        }
        match letter {
            ' ' | '\t' | '\r' => tokens.extend(word.take().map(Token::Word)),
            '#' if word.is_none() => while letters.next_if(|letter| *letter != '\n').is_some() {},
            '(' | ')' => return Err(Unread::Compound),
            '<' | '>' => {
                // The number before it is a file descriptor.
                let is_number = |word: &Word| word.text.bytes().all(|byte| byte.is_ascii_digit());
                tokens.extend(word.take().filter(|word| !is_number(word)).map(Token::Word));
                while letters.next_if(|letter| matches!(letter, '<' | '>' | '&' | '|')).is_some() {}
                tokens.push(Token::Redirection);
            }
            '\\' => {
                let mut current = begun(&mut word);
                match letters.next() {
                    Some('\n') => {}
                    Some(letter) => current.text.push(letter),
                    None => current.text.push('\\'),
                }
                word = Some(current);
            }
            '\'' => {
                let mut current = begun(&mut word);
                loop {
                    match letters.next().ok_or(Unread::OpenQuote)? {
                        '\'' => break,
                        letter => current.text.push(letter),
                    }
                }
                word = Some(current);
            }
            '"' => {
                let mut current = begun(&mut word);
                loop {
                    match letters.next().ok_or(Unread::OpenQuote)? {
                        '"' => break,
                        '\\' => match letters.next().ok_or(Unread::OpenQuote)? {
                            '\n' => {}
                            letter @ ('"' | '\\' | '$' | '`') => current.text.push(letter),
                            letter => current.text.extend(['\\', letter]),
                        },
                        letter => {
                            current.is_expanded |= matches!(letter, '$' | '`');
                            current.text.push(letter);
                        }
                    }
                }
                word = Some(current);
            }
            letter => {
                let mut current = begun(&mut word);
                let is_home = letter == '~' && current.text.is_empty();
                current.is_expanded |= is_home || matches!(letter, '$' | '`' | '*' | '?' | '[');
                current.text.push(letter);
                word = Some(current);
            }
        }
    }
    tokens.extend(word.take().map(Token::Word));
    for token in &mut tokens {
        if let Token::Word(word) = token {
            word.has_file = word.text.contains("%p") || word.text.contains("%f");
            word.text = word.text.replace(PERCENT, "%");
        }
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str) -> Vec<String> {
        let shown = |command: SimpleCommand| {
            let words = command.words.into_iter().map(|word| word.text).collect::<Vec<_>>().join("·");
            format!(
                "{words}{}",
                command.joint.map(|joint| format!(" {}", joint.as_str())).unwrap_or_default()
            )
        };
        commands(line).unwrap().into_iter().map(shown).collect()
    }

    #[test]
    fn a_line_is_split_as_the_shell_splits_it() {
        for (line, expected) in [
            ("drctl wal push %p", &["drctl·wal·push·%p"][..]),
            (
                r#"'/opt/dr ctl/it'\''s' --policy "/a \"b\" c" x\ y"#,
                &["/opt/dr ctl/it's·--policy·/a \"b\" c·x y"],
            ),
            ("a 2>> /log >&2 </dev/null b", &["a·b"]),
            ("a && b || c; d & e | f", &["a &&", "b ||", "c ;", "d &", "e |", "f"]),
            ("a;\n# no & command\n", &["a"]),
            ("a#b '#c' # d", &["a#b·#c"]),
            ("p/100%%/%p", &["p/100%/%p"]),
            ("", &[]),
        ] {
            assert_eq!(shown(line), expected, "{line}");
        }
        assert_eq!(commands("a 'b"), Err(Unread::OpenQuote));
        assert_eq!(commands("(a; b)"), Err(Unread::Compound));
        assert_eq!(commands("if a; then b; fi"), Err(Unread::Compound));
        let is_expanded = |line: &str| commands(line).unwrap()[0].words[0].is_expanded;
        assert!(is_expanded("$X") && is_expanded("\"$X\"") && is_expanded("~/x") && is_expanded("*.x"));
        assert!(!is_expanded("'$X'") && !is_expanded(r"\$X") && !is_expanded("a~"));
    }
}
