use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use super::command_line::{Joint, SimpleCommand, Unread, Word, commands};
use crate::model::{SourceName, SystemName};
use crate::policy::{Policy, RepositoryLocation};

/// The default policy of a server that is given no other one.
const SYSTEM_POLICY: &str = "/etc/drctl/policy.toml";

/// Programs that run another one, and return its exit status.
const WRAPPERS: [&str; 17] = [
    "exec",
    "command",
    "env",
    "nice",
    "ionice",
    "timeout",
    "sudo",
    "doas",
    "runuser",
    "setpriv",
    "chrt",
    "stdbuf",
    "nohup",
    "time",
    "chronic",
    "flock",
    "systemd-cat",
];
const SHELLS: [&str; 5] = ["sh", "bash", "dash", "ash", "zsh"];
/// Programs that use the name of another one for something else.
const OTHERS: [&str; 16] = [
    "echo", "printf", "cat", "logger", "tee", "touch", "ls", "cp", "rm", "which", "type", "file", "stat",
    "test", "[", "grep",
];
const NOTHING: [&str; 2] = ["true", ":"];

/// Global options of drctl that take a value, and those of `push`.
const WITH_VALUE: [&str; 2] = ["--output", "--drain"];
const WITHOUT_VALUE: [&str; 2] = ["--quiet", "--verbose"];

/// The destination that a policy configures for WAL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushTarget {
    pub policy: PathBuf,
    pub system: SystemName,
    /// The sources whose WAL it archives.
    pub sources: Vec<SourceName>,
    /// The identities of the repositories.
    pub repositories: BTreeSet<String>,
}

impl PushTarget {
    pub fn from_policy(policy: &Policy) -> Self {
        let archived = policy.sources.iter().filter(|source| source.wal().is_some());
        Self {
            policy: std::path::absolute(&policy.path).unwrap_or_else(|_| policy.path.clone()),
            system: policy.system.clone(),
            sources: archived.map(|source| source.name.clone()).collect(),
            repositories: policy.repositories.iter().map(|repository| place(&repository.place)).collect(),
        }
    }

    /// Describes the difference from another policy; `None`: both archive these sources to the same
    /// destination.
    fn differs(&self, other: &Self) -> Option<String> {
        if self.system != other.system {
            return Some(format!("which archives for system `{}`", other.system));
        }
        if let Some(missing) = self.repositories.difference(&other.repositories).next() {
            return Some(format!("which does not archive to {missing}"));
        }
        let more = other.repositories.difference(&self.repositories).next()?;
        Some(format!("which archives to {more} as well"))
    }
}

fn place(location: &RepositoryLocation) -> String {
    match location {
        RepositoryLocation::Directory(path) => {
            let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
            format!("`{}`", path.display())
        }
        RepositoryLocation::S3(s3) => {
            let endpoint = s3.endpoint.as_ref().map(|url| format!(" at {url}")).unwrap_or_default();
            format!("`s3://{}/{}`{endpoint}", s3.bucket, s3.prefix)
        }
    }
}

/// The kind of a program on the server's host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgramState {
    Runs,
    /// It is executable, and may set up the environment of drctl.
    Script,
    Absent,
    NotExecutable,
    /// The server is on another host, or the file is not readable.
    Unknown,
}

/// The state of a policy file on the server's host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyState {
    Read(PushTarget),
    /// Why drctl cannot use it, as text.
    Unusable(String),
    Unknown,
}

/// The files of a server's host.
pub trait ServerFiles {
    fn program(&self, name: &Path) -> ProgramState;
    fn policy(&self, path: &Path) -> PolicyState;
}

/// The effect of a server's `archive_command`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandVerdict {
    /// It archives as the policy requires, as far as can be determined.
    Archives,
    Empty,
    /// It succeeds without doing anything.
    Nothing,
    /// It runs another program.
    Foreign,
    /// It runs drctl, but not `push`.
    NoPush,
    /// A command after the push determines the exit status that the server sees.
    HidesStatus(String),
    /// A command before the push determines whether it runs.
    Bypassed(&'static str),
    /// The file is not passed on.
    NoFile,
    /// drctl rejects its arguments.
    NotTaken(String),
    OtherPolicy(PathBuf, String),
    UnusablePolicy(PathBuf, String),
    /// The source that it archives.
    OtherSource(SourceName),
    NoSource,
    NoProgram(PathBuf, ProgramState),
    Unjudged(String),
}

/// Who an `archive_command` belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandState {
    Good,
    /// Replacing it loses nothing.
    Wrong,
    /// It may archive for another system.
    Foreign,
    Unknown,
}

impl CommandVerdict {
    pub fn state(&self) -> CommandState {
        match self {
            Self::Archives => CommandState::Good,
            Self::Foreign | Self::OtherPolicy(..) => CommandState::Foreign,
            Self::Unjudged(_) => CommandState::Unknown,
            _ => CommandState::Wrong,
        }
    }
}

/// Formatted to follow the command, after a comma.
impl fmt::Display for CommandVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Archives => f.write_str("which archives as the policy asks"),
            Self::Empty => f.write_str("which archives nothing"),
            Self::Nothing => {
                f.write_str("which archives nothing and reports success: the server removes that WAL")
            }
            Self::Foreign => f.write_str("which does not run `drctl wal push`"),
            Self::NoPush => f.write_str("which names drctl and does not run `drctl wal push`"),
            Self::HidesStatus(by) => write!(
                f,
                "where `{by}` hides the exit status of `drctl wal push`: the server removes WAL that was not archived"
            ),
            Self::Bypassed(by) => {
                write!(f, "where what is before `{by}` may report success without `drctl wal push`")
            }
            Self::NoFile => f.write_str("which does not give `drctl wal push` the file (`%p`)"),
            Self::NotTaken(word) => write!(f, "which drctl refuses: it does not take `{word}`"),
            Self::OtherPolicy(path, differs) => {
                write!(f, "which uses another policy, `{}`, {differs}", path.display())
            }
            Self::UnusablePolicy(path, why) => {
                write!(f, "whose policy `{}` cannot be used on this host: {why}", path.display())
            }
            Self::OtherSource(name) => {
                write!(f, "which archives as source `{name}`, and this is another one")
            }
            Self::NoSource => {
                f.write_str("which names no source, and its policy does not archive exactly one")
            }
            Self::NoProgram(path, state) => {
                let why = match state {
                    ProgramState::NotExecutable => "is not executable",
                    _ => "does not exist on this host",
                };
                write!(f, "where `{}` {why}", path.display())
            }
            Self::Unjudged(why) => write!(f, "which cannot be judged: {why}"),
        }
    }
}

/// Judges the `archive_command` of the server of `source`. It is the only implementation: everything that
/// sets, checks or shows the command calls it.
pub fn judge(
    line: &str,
    source: &SourceName,
    expected: &PushTarget,
    files: &dyn ServerFiles,
) -> CommandVerdict {
    verdict(line, source, expected, files).unwrap_or_else(|verdict| verdict)
}

type Judged<T> = Result<T, CommandVerdict>;

fn verdict(
    line: &str,
    source: &SourceName,
    expected: &PushTarget,
    files: &dyn ServerFiles,
) -> Judged<CommandVerdict> {
    let invocation = invocation(line)?;
    let program = files.program(Path::new(&invocation.program));
    if matches!(program, ProgramState::Absent | ProgramState::NotExecutable) {
        return Err(CommandVerdict::NoProgram(invocation.program.into(), program));
    }
    let push = Push::parse(&invocation)?;
    let named = match &push.source {
        Some(word) if word.is_expanded => {
            return Err(CommandVerdict::Unjudged(format!("the shell makes its source of `{}`", word.text)));
        }
        Some(word) => match word.text.parse::<SourceName>() {
            Ok(name) if name != *source => return Err(CommandVerdict::OtherSource(name)),
            Ok(name) => Some(name),
            Err(_) => return Err(CommandVerdict::NotTaken(word.text.clone())),
        },
        None => None,
    };
    let path = match push.policy {
        Some(policy) if policy.is_expanded => {
            return Err(CommandVerdict::Unjudged(format!("the shell makes its policy of `{}`", policy.text)));
        }
        Some(policy) => PathBuf::from(policy.text),
        None if expected.policy == Path::new(SYSTEM_POLICY) => expected.policy.clone(),
        None if program == ProgramState::Runs => {
            return Err(CommandVerdict::Unjudged(
                "it names no policy (`--policy FILE`), and the server's environment decides".to_owned(),
            ));
        }
        // The script may name one, and a server on another host has its own.
        None => return Ok(CommandVerdict::Archives),
    };
    let found =
        if path == expected.policy { PolicyState::Read(expected.clone()) } else { files.policy(&path) };
    let sources = match found {
        PolicyState::Read(target) => match expected.differs(&target) {
            Some(differs) => return Err(CommandVerdict::OtherPolicy(path, differs)),
            None => target.sources,
        },
        PolicyState::Unusable(why) => return Err(CommandVerdict::UnusablePolicy(path, why)),
        PolicyState::Unknown => return Ok(CommandVerdict::Archives),
    };
    match (named, &sources[..]) {
        (Some(name), sources) if !sources.contains(&name) => Err(CommandVerdict::OtherSource(name)),
        (Some(_), _) => Ok(CommandVerdict::Archives),
        (None, [only]) if only == source => Ok(CommandVerdict::Archives),
        (None, [only]) => Err(CommandVerdict::OtherSource(only.clone())),
        (None, _) => Err(CommandVerdict::NoSource),
    }
}

/// The invocation of drctl in a line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Invocation {
    program: String,
    /// The policy given to it in the environment.
    policy: Option<Word>,
    arguments: Vec<Word>,
}

/// Finds drctl in a line whose exit status is drctl's.
fn invocation(line: &str) -> Judged<Invocation> {
    let line = line.trim();
    if line.is_empty() {
        return Err(CommandVerdict::Empty);
    }
    let names_drctl = line.contains("drctl");
    let commands = match commands(line) {
        Ok(commands) => commands,
        Err(Unread::OpenQuote) => {
            return Err(CommandVerdict::NotTaken("a quote that is not closed".to_owned()));
        }
        Err(Unread::Compound) if names_drctl => {
            return Err(CommandVerdict::Unjudged("it is a shell program".to_owned()));
        }
        Err(Unread::Compound) => return Err(CommandVerdict::Foreign),
    };
    let mut doubt = None;
    let mut found = None;
    for (n, command) in commands.iter().enumerate() {
        match run_by(&command.words) {
            Runs::Drctl(invocation) => found = Some((n, invocation)),
            Runs::Line(inner) if inner.contains("drctl") => found = Some((n, self::invocation(&inner)?)),
            Runs::Unknown(program) => doubt = Some(program),
            Runs::Line(_) | Runs::Nothing | Runs::Other => {}
        }
    }
    let Some((n, invocation)) = found else {
        return Err(match doubt {
            Some(program) => CommandVerdict::Unjudged(format!("`{program}` decides what it runs")),
            None if commands.iter().all(|command| matches!(run_by(&command.words), Runs::Nothing)) => {
                CommandVerdict::Nothing
            }
            None if names_drctl && commands.iter().any(|command| names_it(&command.words)) => {
                CommandVerdict::NoPush
            }
            None => CommandVerdict::Foreign,
        });
    };
    status_is_of(&commands, n)?;
    Ok(invocation)
}

/// Checks that the line returns the exit status of the command at `n`, and that nothing prevents that one
/// from running.
fn status_is_of(commands: &[SimpleCommand], n: usize) -> Judged<()> {
    for before in &commands[..n] {
        match before.joint {
            Some(Joint::Or) => return Err(CommandVerdict::Bypassed("||")),
            _ if before.words.first().is_some_and(|word| word.text == "exit") => {
                return Err(CommandVerdict::Bypassed(";"));
            }
            _ => {}
        }
    }
    let text = |command: &SimpleCommand| {
        let words: Vec<_> = command.words.iter().map(|word| word.text.as_str()).collect();
        words.join(" ")
    };
    if commands[n].words.first().is_some_and(|word| word.text == "!") {
        return Err(CommandVerdict::HidesStatus("!".to_owned()));
    }
    for (before, behind) in commands[n..].iter().zip(commands[n + 1..].iter().map(Some).chain([None])) {
        let Some(joint) = before.joint else { continue };
        let hidden = |behind: Option<&SimpleCommand>| {
            let behind = behind.map(|command| format!(" {}", text(command))).unwrap_or_default();
            Err(CommandVerdict::HidesStatus(format!("{}{behind}", joint.as_str())))
        };
        match (joint, behind) {
            (Joint::And, Some(_)) => {}
            // The status is passed on, or replaced by that of another failure.
            (Joint::Then, Some(behind)) if matches!(&text(behind)[..], "exit" | "exit $?") => return Ok(()),
            (Joint::Or, Some(behind)) if fails(&text(behind)) => {}
            _ => return hidden(behind),
        }
    }
    Ok(())
}

fn fails(command: &str) -> bool {
    let is_failure = |code: &str| code == "$?" || code.parse::<u8>().is_ok_and(|code| code != 0);
    matches!(command, "false" | "/bin/false" | "exit")
        || command.strip_prefix("exit ").is_some_and(is_failure)
}

enum Runs {
    Drctl(Invocation),
    /// A shell with a command line of its own.
    Line(String),
    Nothing,
    Other,
    /// It gets drctl's name as an argument; what it does with it is unknown.
    Unknown(String),
}

fn base_name(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

fn is_drctl(word: &Word) -> bool {
    base_name(&word.text).starts_with("drctl")
}

fn names_it(words: &[Word]) -> bool {
    words.iter().any(is_drctl)
}

/// Parses `NAME=value` in front of a command.
fn assignment(word: &Word) -> Option<(&str, &str)> {
    let (name, value) = word.text.split_once('=')?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_one = !name.is_empty() && name.bytes().all(is_name) && !name.as_bytes()[0].is_ascii_digit();
    is_one.then_some((name, value))
}

fn run_by(words: &[Word]) -> Runs {
    let mut policy = None;
    let mut note = |word: &Word| match assignment(word) {
        Some((name, value)) => {
            if name == "DRCTL_POLICY" {
                policy = Some(Word { text: value.to_owned(), ..word.clone() });
            }
            true
        }
        None => word.text == "!",
    };
    let mut left = words;
    while let Some((first, behind)) = left.split_first()
        && note(first)
    {
        left = behind;
    }
    let Some((program, mut arguments)) = left.split_first() else { return Runs::Other };
    let mut program = program;
    if program.is_expanded && !is_drctl(program) {
        return Runs::Unknown(program.text.clone());
    }
    let name = base_name(&program.text);
    if SHELLS.contains(&name) {
        let is_line = |word: &Word| word.text.starts_with('-') && word.text.ends_with('c');
        return match arguments.iter().position(is_line).and_then(|n| arguments.get(n + 1)) {
            Some(line) => Runs::Line(line.text.clone()),
            None if names_it(words) => Runs::Unknown(name.to_owned()),
            None => Runs::Other,
        };
    }
    if WRAPPERS.contains(&name) {
        let Some(n) = arguments.iter().position(is_drctl) else { return Runs::Other };
        // An option of it may contain the name, too: `--argv0=drctl`.
        arguments[..n].iter().for_each(|word| {
            note(word);
        });
        program = &arguments[n];
        arguments = &arguments[n + 1..];
    }
    if is_drctl(program) {
        let (program, arguments) = (program.text.clone(), arguments.to_vec());
        return Runs::Drctl(Invocation { program, policy, arguments });
    }
    if NOTHING.contains(&name) || name == "exit" && matches!(arguments, [code] if code.text == "0") {
        return Runs::Nothing;
    }
    match names_it(words) && !OTHERS.contains(&name) && name != "false" {
        true => Runs::Unknown(name.to_owned()),
        false => Runs::Other,
    }
}

/// The arguments of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Push {
    policy: Option<Word>,
    source: Option<Word>,
}

impl Push {
    /// Parses arguments as drctl's command line does.
    fn parse(invocation: &Invocation) -> Judged<Self> {
        let mut policy = invocation.policy.clone();
        let mut words = Vec::new();
        let mut arguments = invocation.arguments.iter();
        let mut is_options = true;
        while let Some(word) = arguments.next() {
            let text = word.text.as_str();
            let refused = || CommandVerdict::NotTaken(text.to_owned());
            if !is_options || !text.starts_with('-') || text == "-" {
                words.push(word);
                continue;
            }
            let (name, value) = match text.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (text, None),
            };
            let mut value = || match value.clone() {
                Some(text) => Ok(Word { text, ..word.clone() }),
                None => arguments.next().cloned().ok_or_else(refused),
            };
            match name {
                "--" => is_options = false,
                "--policy" | "-p" => policy = Some(value()?),
                name if WITH_VALUE.contains(&name) => drop(value()?),
                name if WITHOUT_VALUE.contains(&name) => {}
                _ if text.starts_with("-p") => {
                    let text = text["-p".len()..].to_owned();
                    policy = Some(Word { text, ..word.clone() });
                }
                _ if !text.starts_with("--") && text[1..].chars().all(|flag| "qv".contains(flag)) => {}
                _ => return Err(refused()),
            }
        }
        let texts: Vec<_> = words.iter().map(|word| word.text.as_str()).collect();
        let (source, file) = match texts[..] {
            ["wal", "push", _] => (None, words[2]),
            ["wal", "push", _, _] => (Some(words[2].clone()), words[3]),
            ["wal", "push"] => return Err(CommandVerdict::NoFile),
            ["wal", "push", _, _, more, ..] => return Err(CommandVerdict::NotTaken(more.to_owned())),
            _ => return Err(CommandVerdict::NoPush),
        };
        if !file.is_expanded && !file.has_file {
            return Err(CommandVerdict::NoFile);
        }
        Ok(Self { policy, source })
    }
}

#[cfg(test)]
#[path = "archive_command_tests.rs"]
mod tests;
