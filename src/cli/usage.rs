//! Usage errors, and the texts that clap prints itself.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};

use super::error::CommandError;
use super::exit::{CallerTerminal, Exit};
use super::global::Format;
use super::output::Output;

/// Commands and options renamed before the first release: old name, new name.
const RENAMED: [(&str, &str); 2] = [("reap", "cleanup"), ("--despite-checks", "--ignore-failed-checks")];

/// Shows clap's message in the format of the command line, and returns the exit status. Also used for
/// `--help` and `--version`.
pub(super) fn refuse(
    mut error: clap::Error,
    arguments: impl Iterator<Item = OsString>,
    caller: CallerTerminal,
) -> ExitCode {
    if !error.use_stderr() {
        return match error.print() {
            Err(source) if source.kind() != ErrorKind::BrokenPipe => Output::with(Format::Human, false).fail(
                &CommandError::failed(source).context("failed to write the text to stdout"),
                Exit::Failed as u8,
            ),
            _ => ExitCode::SUCCESS,
        };
    }
    suggest_new_name(&mut error);
    let status = caller.failure(Exit::Usage);
    if asks_for_json(arguments) {
        let output = Output::with(Format::Json, false);
        let told = told(&error.render().to_string());
        output.document("error", &told.document(status));
    }
    // clap's own rendering has colours and the usage.
    let _gone = error.print();
    ExitCode::from(status)
}

/// Suggests the new name of a command or an option that was renamed.
fn suggest_new_name(error: &mut clap::Error) {
    for (unknown, suggested) in [
        (ContextKind::InvalidSubcommand, ContextKind::SuggestedSubcommand),
        (ContextKind::InvalidArg, ContextKind::SuggestedArg),
    ] {
        let Some(ContextValue::String(word)) = error.get(unknown) else { continue };
        if let Some((_, new)) = RENAMED.iter().find(|(old, _)| old == word) {
            let new = (*new).to_owned();
            error.insert(
                suggested,
                match suggested {
                    ContextKind::SuggestedSubcommand => ContextValue::Strings(vec![new]),
                    _ => ContextValue::String(new),
                },
            );
        }
    }
}

/// The parts of clap's message.
#[derive(Debug, PartialEq, Eq)]
struct UsageReport {
    error: String,
    hints: Vec<String>,
}

impl UsageReport {
    fn document(&self, status: u8) -> serde_json::Value {
        serde_json::json!({ "exit": status, "error": self.error, "causes": [], "hints": self.hints })
    }
}

/// Splits clap's text: `error: …`, lines of details, `tip: …`, `Usage: …`, and where to find help.
fn told(text: &str) -> UsageReport {
    let mut error = String::new();
    let mut hints = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(tip) = line.strip_prefix("tip: ") {
            hints.push(tip.to_owned());
        } else if line.starts_with("Usage: ") || line.starts_with("For more information") {
            hints.push(line.to_owned());
        } else {
            if !error.is_empty() {
                error.push(' ');
            }
            error.push_str(line.strip_prefix("error: ").unwrap_or(line));
        }
    }
    UsageReport { error, hints }
}

/// Returns whether the command line requests JSON, as far as that is known for an invalid one.
fn asks_for_json(arguments: impl Iterator<Item = OsString>) -> bool {
    let words: Vec<OsString> = arguments.take_while(|word| word != "--").collect();
    words.iter().any(|word| word == "--output=json")
        || words.windows(2).any(|pair| pair[0] == "--output" && pair[1] == "json")
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn the_old_name_of_a_command_or_an_option_leads_to_the_new_one() {
        for (line, new) in [
            (&["drctl", "rds", "reap"][..], "'cleanup'"),
            (&["drctl", "rds", "promote", "shop", "new", "--despite-checks"], "'--ignore-failed-checks'"),
        ] {
            let mut error = crate::cli::Cli::try_parse_from(line).unwrap_err();
            suggest_new_name(&mut error);
            assert!(error.render().to_string().contains(new), "{error}");
        }
    }

    #[test]
    fn clap_s_words_are_told_apart() {
        let text = "error: unrecognized subcommand 'bakcup'\n\n  tip: a similar subcommand exists: 'backup'\n\n\
                    Usage: drctl [OPTIONS] <COMMAND>\n\nFor more information, try '--help'.\n";
        let UsageReport { error, hints } = told(text);
        assert_eq!(error, "unrecognized subcommand 'bakcup'");
        assert_eq!(hints[0], "a similar subcommand exists: 'backup'");
        assert_eq!(hints.len(), 3);
        let text = "error: the following required arguments were not provided:\n  --to <URL>\n\nUsage: drctl restore\n";
        assert_eq!(told(text).error, "the following required arguments were not provided: --to <URL>");
    }

    #[test]
    fn json_is_asked_for_anywhere_but_behind_two_dashes() {
        let asks = |words: &str| asks_for_json(words.split(' ').map(OsString::from));
        assert!(asks("drctl --output json bakcup") && asks("drctl backup --nope --output=json"));
        assert!(
            !asks("drctl backup -- --output json") && !asks("drctl --output human x") && !asks("drctl json")
        );
    }
}
