//! What the verbs begin with: the runbooks there are, and the program's own command line.

use std::path::{Path, PathBuf};

use crate::cli::Context;
use crate::cli::context::RefuseWords;
use crate::cli::error::CommandError;
use crate::policy::Policy;
use crate::runbook::{CommandLine, Document, Library, Runbook, RunbookFaults};
use crate::text::suggest;

/// The program's own command line.
pub(super) struct OwnCommands(pub(super) RefuseWords);

impl CommandLine for OwnCommands {
    fn refuse(&self, words: &[String]) -> Option<String> {
        (self.0)(words)
    }
}

/// Returns the runbooks of a directory, or of the policy's, and those of the program. A policy that cannot be read
/// costs its own runbooks only.
pub(super) fn library(directory: Option<&Path>, context: &Context) -> Result<Library, CommandError> {
    if directory.is_some() {
        return load(directory);
    }
    if context.policy_path().is_err() {
        return load(None);
    }
    match context.policy() {
        Ok(policy) => of_policy(&policy),
        Err(error) => {
            context.output.warn(format!("only drctl's own runbooks are known: {error}"));
            load(None)
        }
    }
}

/// Returns the runbooks of a policy, and those of the program.
pub(super) fn of_policy(policy: &Policy) -> Result<Library, CommandError> {
    load(policy.runbooks.as_deref())
}

fn load(directory: Option<&Path>) -> Result<Library, CommandError> {
    Library::load(directory).map_err(|error| {
        let shown = directory.map(Path::display).map(|path| path.to_string()).unwrap_or_default();
        CommandError::failed(error).context(format!("failed to read the runbooks of `{shown}`")).hint(
            "`[runbooks] directory` of the policy, or `--directory`, names a directory of Markdown files.",
        )
    })
}

/// Finds a document by name.
pub(super) fn find<'l>(library: &'l Library, name: &str) -> Result<&'l Document, CommandError> {
    let name = name.strip_suffix(".md").unwrap_or(name);
    library.find(name).ok_or_else(|| {
        let names: Vec<&str> = library.runbooks().map(|document| document.name.as_str()).collect();
        CommandError::usage(format!("there is no runbook `{name}`")).hint(capitalized(&suggest(
            "the runbooks",
            name,
            &names,
        )))
    })
}

fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

/// Returns a runbook without faults.
pub(super) fn read(library: &Library, name: &str, context: &Context) -> Result<Runbook, CommandError> {
    let document = find(library, name)?;
    match document.read(library, &OwnCommands(context.refuse_words)) {
        (Some(runbook), faults) if faults.is_empty() => Ok(runbook),
        (_, faults) => Err(CommandError::usage(RunbookFaults { file: document.shown(), faults })
            .hint("`drctl runbook check` reports every fault of every runbook.")),
    }
}

/// Returns a runbook of a policy without faults.
pub(in crate::cli) fn checked(
    policy: &Policy,
    name: &str,
    context: &Context,
) -> Result<Runbook, CommandError> {
    read(&of_policy(policy)?, name, context)
}

/// Returns the directory of the records of incidents on this host.
pub(super) fn spool(policy: &Policy) -> PathBuf {
    crate::runbook::spool_directory(&crate::platform::state_directory(), &policy.system)
}
