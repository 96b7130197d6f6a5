//! Classifies the cause of a load error by the server's message.
//!
//! pg_restore reports no SQLSTATE. The messages are those of the C locale, which a superuser's sessions use.

use crate::model::Cause;

/// The beginnings of a server's errors in English.
const SEVERITIES: [&str; 3] = ["ERROR:  ", "FATAL:  ", "PANIC:  "];

/// What the target lacks or does not allow, or failures on the way to it.
const OF_ENVIRONMENT: [&str; 39] = [
    // Permissions.
    "permission denied",
    "must be owner of",
    "must be superuser",
    "must be member of role",
    "must be able to SET ROLE",
    "must have ",
    "only superuser",
    "Only roles with",
    // Missing extensions, libraries, roles and tablespaces.
    "is not available",
    "could not open extension control file",
    "no such extension",
    "extension \"",
    "could not access file",
    "could not load library",
    "could not find function",
    "shared_preload_libraries",
    "role \"",
    "tablespace \"",
    "language \"",
    "access method \"",
    "foreign-data wrapper \"",
    "text search template \"",
    "unrecognized configuration parameter",
    "collation \"",
    "could not create locale",
    "not supported by this build",
    "has no equivalent in encoding",
    // Resources and time.
    "No space left on device",
    "could not extend file",
    "could not write",
    "out of memory",
    "out of shared memory",
    "too many",
    "canceling statement due to",
    "deadlock detected",
    // Connections of pg_restore to the server, and of the server to others.
    "could not connect to server",
    "terminating connection",
    "the database system is",
    "read-only transaction",
];
/// pg_restore's own messages about its connection.
const OF_CONNECTION: [&str; 5] = [
    "server closed the connection",
    "connection to server",
    "could not connect",
    "could not receive data",
    "could not send data",
];

/// Returns the cause of an error; `None` where the server reports it in another language.
pub(super) fn cause_of(message: &str) -> Option<Cause> {
    let has = |text: &str, all: &[&str]| all.iter().any(|words| text.contains(words));
    if has(message, &OF_CONNECTION) {
        return Some(Cause::Environment);
    }
    match SEVERITIES.iter().find_map(|severity| message.split_once(severity)) {
        // The rows and definitions of the backup are inconsistent: a violated key or check constraint.
        Some((_, said)) => Some(if has(said, &OF_ENVIRONMENT) { Cause::Environment } else { Cause::Backup }),
        None if is_of_server(message) => None,
        None if message.contains("No space left on device") => Some(Cause::Environment),
        None => Some(Cause::Tool),
    }
}

/// Returns whether an error reports a missing object.
pub(super) fn is_of_something_missing(message: &str) -> bool {
    message.contains("does not exist")
}

/// Returns whether a message has the form of a server's error in any language: a word in capitals, a colon
/// and two spaces.
fn is_of_server(message: &str) -> bool {
    let is_severity = |before: &str| {
        let word = before.rsplit(' ').next().unwrap_or_default();
        !word.is_empty() && !word.chars().any(char::is_lowercase) && word.chars().all(char::is_alphabetic)
    };
    message.match_indices(":  ").any(|(at, _)| is_severity(&message[..at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_where_to_look() {
        let environment = [
            "ERROR:  permission denied to create extension \"postgis\"",
            "ERROR:  must be owner of table t",
            "ERROR:  extension \"postgis\" is not available (Could not open extension control file)",
            "ERROR:  could not access file \"$libdir/postgis-3\": No such file or directory",
            "ERROR:  role \"app\" does not exist",
            "ERROR:  tablespace \"fast\" does not exist",
            "ERROR:  could not extend file \"base/1/2\": No space left on device",
            "COPY failed for table \"t\": ERROR:  canceling statement due to statement timeout",
            "error returned by PQputCopyData: server closed the connection unexpectedly",
            "ERROR:  could not connect to server \"away\"",
        ];
        for message in environment {
            assert_eq!(cause_of(message), Some(Cause::Environment), "{message}");
        }
        let backup = [
            "ERROR:  could not create unique index \"t_pkey\" (Key (id)=(1) is duplicated.)",
            "COPY failed for table \"t\": ERROR:  new row for relation \"t\" violates check constraint \"c\"",
            "ERROR:  insert or update on table \"a\" violates foreign key constraint \"b\"",
            "ERROR:  function half(integer) does not exist",
        ];
        for message in backup {
            assert_eq!(cause_of(message), Some(Cause::Backup), "{message}");
        }
        assert_eq!(cause_of("could not find entry for ID 12"), Some(Cause::Tool));
        for message in ["FEHLER:  Relation existiert nicht", "COPY failed for table \"t\": ОШИБКА:  нет"]
        {
            assert_eq!(cause_of(message), None, "{message}");
        }
    }
}
