//! Errors with the codes that AWS puts on the wire.

use super::xml::escape;

/// An answer that is not the one asked for.
#[derive(Debug, Clone)]
pub(super) struct ApiError {
    pub(super) status: u16,
    pub(super) code: &'static str,
    pub(super) message: String,
}

pub(super) type Answered<T> = Result<T, ApiError>;

impl ApiError {
    /// The caller's fault.
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { status: 400, code, message: message.into() }
    }

    /// Something is not there. RDS answers 404.
    pub(super) fn missing(code: &'static str, what: &str, id: &str) -> Self {
        Self { status: 404, code, message: format!("{what} {id} not found.") }
    }

    pub(super) fn instance_missing(id: &str) -> Self {
        Self::missing("DBInstanceNotFound", "DBInstance", id)
    }

    pub(super) fn snapshot_missing(id: &str) -> Self {
        Self::missing("DBSnapshotNotFound", "DBSnapshot", id)
    }

    /// RDS itself is in trouble, or this double is: the message tells them apart.
    pub(super) fn internal(message: impl std::fmt::Display) -> Self {
        Self { status: 500, code: "InternalFailure", message: message.to_string() }
    }

    pub(super) fn document(&self, request: &str) -> String {
        let kind = if self.status < 500 { "Sender" } else { "Receiver" };
        format!(
            "<ErrorResponse xmlns=\"http://rds.amazonaws.com/doc/2014-10-31/\"><Error><Type>{kind}</Type>\
             <Code>{}</Code><Message>{}</Message></Error><RequestId>{request}</RequestId></ErrorResponse>",
            self.code,
            escape(&self.message),
        )
    }
}
