use std::path::Path;

use super::exclusions::{is_needed, is_of_a_socket};
use crate::model::Excluded;

/// What a server left out of a copy, by its warnings. It follows no links, and reports success nevertheless.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Skipped {
    /// Paths, relative to the data directory, that a server needs.
    pub(super) needed: Vec<String>,
    pub(super) left_out: Vec<Excluded>,
}

pub(super) fn skipped_in(said: &[String]) -> Skipped {
    let mut skipped = Skipped::default();
    for line in said {
        let (path, why) = match (path(line), named(line)) {
            (Some(path), _) => (path, "a link, or neither a file nor a directory".to_owned()),
            // In another language the reason cannot be determined.
            (None, Some(path)) => (path, format!("of which the server warned: {}", line.trim())),
            (None, None) => continue,
        };
        let file = path.rsplit('/').next().unwrap_or_default();
        if is_of_a_socket(file) {
            continue;
        }
        if is_needed(Path::new(path)) && self::path(line).is_some() {
            skipped.needed.push(path.to_owned());
        } else {
            skipped.left_out.push(Excluded { path: path.to_owned(), why });
        }
    }
    skipped
}

/// Returns the path of a skipped file.
fn path(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("WARNING:")?.trim_start();
    let rest = rest.strip_prefix("skipping special file")?;
    let (_, rest) = rest.split_once('"')?;
    rest.strip_suffix('"').map(below)
}

/// Returns a path below the data directory from a message in another language, with other quotes and another
/// beginning.
fn named(line: &str) -> Option<&str> {
    if line.starts_with("WARNING:") || line.starts_with("pg_basebackup:") {
        return None;
    }
    let (_, rest) = line.split_once("./")?;
    let end = rest.find(|c: char| c.is_whitespace() || "\"'«»“”„‘’「」".contains(c)).unwrap_or(rest.len());
    (end > 0).then(|| &rest[..end])
}

/// Strips the prefix of the paths that the server reports, which begin with `./`.
fn below(file: &str) -> &str {
    file.strip_prefix("./").unwrap_or(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_skips_is_told_by_its_warnings() {
        let said = [
            "WARNING:  skipping special file \"./base/16384\"",
            "WARNING:  skipping special file \"./notes of the team\"",
            "WARNING:  skipping special file or directory \"./pg_xact\"",
            "WARNING:  skipping special file \"./.s.PGSQL.5432\"",
            "WARNING:  checksum verification failed in file \"./base/5/16384\", block 3: calculated 3AE8 but expected C6C5",
            "WARNUNG:  überspringe besondere Datei »./base/16385«",
            "pg_basebackup: error: checksum error occurred in ./x",
        ];
        let skipped = skipped_in(&said.map(str::to_owned));
        assert_eq!(skipped.needed, ["base/16384", "pg_xact"]);
        let left: Vec<_> = skipped.left_out.iter().map(ToString::to_string).collect();
        assert_eq!(
            left,
            [
                "`notes of the team`, a link, or neither a file nor a directory",
                "`base/16385`, of which the server warned: WARNUNG:  überspringe besondere Datei »./base/16385«",
            ]
        );
    }
}
