use std::path::Path;

use super::known::{find, library};
use crate::cli::Context;
use crate::cli::error::CommandError;
use crate::cli::exit::Exit;
use crate::report::plain;

pub(super) fn run(name: &str, directory: Option<&Path>, context: &Context) -> Result<Exit, CommandError> {
    let library = library(directory, context)?;
    let document = find(&library, name)?;
    if context.output.is_json() {
        let data =
            serde_json::json!({ "name": document.name, "file": document.shown(), "text": document.text });
        context.output.document("runbook", &data);
    } else {
        context.output.line(plain(document.text.trim_end()));
    }
    Ok(Exit::Done)
}
