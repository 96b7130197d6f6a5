//! What is compared between members that are restored.

use std::path::PathBuf;

use super::destination::{MemberDestination, member_destination};
use super::report::MemberReport;
use super::request::ApplicationRequest;
use super::select::SelectedMember;
use super::state::RestoredAt;
use crate::checks::{CheckResult, check_reference};
use crate::policy::{Reference, Source};
use crate::postgres::ConnectionParameters;
use crate::text::error_chain;

/// A member whose rows or files are compared.
pub(super) struct RestoredSource<'a> {
    pub(super) source: &'a Source,
    pub(super) selected: &'a SelectedMember,
    pub(super) report: &'a MemberReport,
    pub(super) at: &'a RestoredAt,
}

/// Compares rows of one restored member with files of another. Returns a note about files without rows, too.
pub(super) async fn compare(
    reference: &Reference,
    request: &ApplicationRequest,
    rows: &RestoredSource<'_>,
    files: &RestoredSource<'_>,
) -> (CheckResult, Option<String>) {
    let said = request.to.files.get(&files.source.name);
    let directory = said.cloned().unwrap_or_else(|| PathBuf::from(&files.report.to));
    let way = way(request, rows).await;
    let checked = check_reference(reference, way.map(|way| vec![way]), &directory).await;
    (checked.result, checked.note)
}

/// Returns the login to a restored database.
async fn way(
    request: &ApplicationRequest,
    rows: &RestoredSource<'_>,
) -> Result<ConnectionParameters, String> {
    let destination = member_destination(&request.to, rows.source, &rows.selected.backup).await;
    match destination.map_err(|error| error.chain())? {
        MemberDestination::Database(target) => {
            let database = rows.at.database.clone().unwrap_or_else(|| target.database.clone());
            Ok(target.with_database(&database))
        }
        MemberDestination::Directory(_) => {
            let server = rows.at.socket.as_deref().zip(rows.at.port);
            let (socket, port) = server.ok_or_else(|| "no server was started on it".to_owned())?;
            let login = rows.source.login().ok_or_else(|| "the policy has no login to it".to_owned())?;
            let original = ConnectionParameters::resolve(login).await.map_err(|error| error_chain(&error))?;
            let way = ConnectionParameters::by_socket(socket, port, &original.user, &original.database);
            let mut way = way.map_err(|error| error_chain(&error))?;
            way.password = original.password;
            Ok(way)
        }
        MemberDestination::Content(_) => Err("it is no database of PostgreSQL".to_owned()),
    }
}
