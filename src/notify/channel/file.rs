//! A file, to which each message is appended as a line of JSON.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::notify::message::Message;
use crate::notify::refused::Refused;

pub(super) async fn send(path: &Path, message: &Message) -> Result<(), Refused> {
    let (path, line) = (path.to_owned(), format!("{}\n", message.document()));
    // A file system that does not answer must not hold up the runtime.
    let written = tokio::task::spawn_blocking(move || append(&path, &line)).await;
    match written {
        Ok(Ok(())) => Ok(()),
        Ok(Err(reason)) => Err(Refused::for_good(reason)),
        Err(error) => Err(Refused::for_good(error.to_string())),
    }
}

/// Appends a line in one write, so that lines of several processes do not mix.
fn append(path: &PathBuf, line: &str) -> Result<(), String> {
    let mut options = std::fs::OpenOptions::new();
    let opened = options.append(true).create(true).mode(0o640).open(path);
    let written = opened.and_then(|mut file| {
        file.write_all(line.as_bytes())?;
        file.sync_data()
    });
    written.map_err(|error| format!("failed to append to `{}`: {error}", path.display()))
}
