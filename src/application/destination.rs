//! Where one member goes.

use std::path::PathBuf;

use super::error::MemberError;
use super::select::MemberBackup;
use super::target::ApplicationTarget;
use crate::policy::Source;
use crate::postgres::ConnectionParameters;
use crate::restore::Refusal;
use crate::restore::logical::{DestinationError, destination};

/// What a new database beside the original is called.
const RESTORED: &str = "_restored";

/// Where a member goes.
#[derive(Clone, Debug)]
pub(super) enum MemberDestination {
    Database(Box<ConnectionParameters>),
    Directory(PathBuf),
    /// As a source's own method understands it.
    Content(String),
}

impl MemberDestination {
    /// Returns it as a plan file says it. A database that the file does not name is on the source's own server.
    pub(super) fn in_file(&self) -> String {
        match self {
            Self::Database(target) => target.database.clone(),
            Self::Directory(path) => path.display().to_string(),
            Self::Content(to) => to.clone(),
        }
    }
}

/// Decides where a member goes: as the plan file says; otherwise a dump into a new database beside the original, everything
/// else into a directory of its own.
pub(super) async fn member_destination(
    target: &ApplicationTarget,
    source: &Source,
    backup: &MemberBackup,
) -> Result<MemberDestination, MemberError> {
    let name = &source.name;
    let said = target.to.get(name);
    let nowhere = || {
        let message = format!("the plan file does not say where `{name}` goes");
        MemberError::Refused(Refusal::usage("no-destination", message))
    };
    match (backup, source.login()) {
        (MemberBackup::Cluster { .. }, _) => {
            let directory = said.map(PathBuf::from).or_else(|| target.below(name)).ok_or_else(nowhere)?;
            Ok(MemberDestination::Directory(directory))
        }
        (MemberBackup::Whole(_), Some(login)) => {
            let text = match said {
                Some(said) => said.clone(),
                None if target.directory.is_some() => {
                    let original = ConnectionParameters::resolve(login).await.map_err(DestinationError::from);
                    format!("{}{RESTORED}", original.map_err(MemberError::Destination)?.database)
                }
                None => return Err(nowhere()),
            };
            if text.starts_with(['/', '.']) {
                let message = format!("`{text}` is a directory, and what is restored of `{name}` is a dump");
                return Err(MemberError::Refused(Refusal::usage("not-a-database", message)));
            }
            let password = target.passwords.get(name);
            let to = destination(&text, password, (name, Some(login))).await;
            to.map(|to| MemberDestination::Database(Box::new(to))).map_err(MemberError::Destination)
        }
        (MemberBackup::Whole(_), None) => {
            let below = || target.below(name).map(|directory| directory.display().to_string());
            let to = said.cloned().or_else(below).ok_or_else(nowhere)?;
            Ok(MemberDestination::Content(to))
        }
    }
}
