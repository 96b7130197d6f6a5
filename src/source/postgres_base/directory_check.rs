use std::fs;
use std::path::Path;

use super::preflight::BasePreflight;
use crate::model::Tablespace;
use crate::postgres::{ControlFileError, system_identifier_in};

/// A server that takes longer to start is still the one that wrote the file.
const BEGUN_WITHIN: i64 = 3600;

/// The facts that identify a running server.
#[derive(Clone, Debug)]
pub(super) struct ServerIdentity<'a> {
    pub(super) system_identifier: &'a str,
    pub(super) port: &'a str,
    /// Seconds since 1970.
    pub(super) started: i64,
}

/// Returns why a directory is not the server's data directory, or is not readable by this user.
pub(super) fn objections(
    root: &Path,
    tablespaces: &[Tablespace],
    server: &ServerIdentity<'_>,
) -> Vec<BasePreflight> {
    let unreadable = |path: &Path, error: &std::io::Error| BasePreflight::Unreadable {
        path: path.to_owned(),
        words: error.to_string(),
    };
    let found = match system_identifier_in(root) {
        Ok(found) => found,
        Err(ControlFileError::Read { path, source }) => return vec![unreadable(&path, &source)],
        Err(error) => {
            return vec![BasePreflight::Unreadable { path: root.to_owned(), words: error.to_string() }];
        }
    };
    if found.to_string() != server.system_identifier {
        let path = root.to_owned();
        return vec![BasePreflight::OtherCluster {
            path,
            found,
            server: server.system_identifier.to_owned(),
        }];
    }
    let mut list = Vec::new();
    match fs::read_to_string(root.join("postmaster.pid")) {
        Ok(text) if is_of(&text, server) => {}
        Ok(_) => list.push(BasePreflight::OtherServer { path: root.to_owned() }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            list.push(BasePreflight::OtherServer { path: root.to_owned() });
        }
        Err(error) => list.push(unreadable(&root.join("postmaster.pid"), &error)),
    }
    let places = tablespaces.iter().map(|tablespace| Path::new(&tablespace.location));
    for place in [root.join("base").as_path()].into_iter().chain(places) {
        if let Err(error) = fs::read_dir(place) {
            list.push(unreadable(place, &error));
        }
    }
    list
}

/// Returns whether a `postmaster.pid` was written by the server: a standby on the same host is of the same
/// cluster.
fn is_of(text: &str, server: &ServerIdentity<'_>) -> bool {
    let mut lines = text.lines().skip(2);
    let begun: Option<i64> = lines.next().and_then(|line| line.trim().parse().ok());
    let port = lines.next().map(str::trim);
    let in_time = |begun: i64| (-2..BEGUN_WITHIN).contains(&(server.started - begun));
    port == Some(server.port) && begun.is_some_and(in_time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_known_by_its_port_and_its_begin() {
        let server = ServerIdentity { system_identifier: "7", port: "5433", started: 1_790_000_005 };
        let file = |begun: i64, port: &str| {
            format!("4711\n/data\n{begun}\n{port}\n/tmp\nlocalhost\n 1 2\nready   \n")
        };
        assert!(is_of(&file(1_790_000_003, "5433"), &server));
        assert!(!is_of(&file(1_790_000_003, "5432"), &server));
        assert!(!is_of(&file(1_789_000_000, "5433"), &server));
        assert!(!is_of("4711\n", &server));
    }
}
