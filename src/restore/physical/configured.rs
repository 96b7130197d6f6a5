//! The value that the configuration in a data directory gives a setting, as its server would read it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::layout::CONFIGURATION;

/// The depth to which a server follows nested includes.
const DEPTH: usize = 10;

/// Returns the value of a setting; `None`: it is not set there. `auto`: the future contents of
/// `postgresql.auto.conf`.
pub(super) fn configured(directory: &Path, auto: &str, name: &str) -> io::Result<Option<String>> {
    let mut value = None;
    read(&directory.join(CONFIGURATION), name, DEPTH, &mut value)?;
    find(directory, auto, name, DEPTH, &mut value)?;
    Ok(value)
}

/// The last one counts; includes are expanded where they occur.
fn read(path: &Path, name: &str, depth: usize, value: &mut Option<String>) -> io::Result<()> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        bytes => bytes?,
    };
    find(path.parent().unwrap_or(path), &String::from_utf8_lossy(&bytes), name, depth, value)
}

fn find(folder: &Path, text: &str, name: &str, depth: usize, value: &mut Option<String>) -> io::Result<()> {
    for (key, found) in text.lines().filter_map(setting_in) {
        match key.as_str() {
            key if key == name => *value = Some(found),
            "include" | "include_if_exists" if depth > 0 => {
                read(&folder.join(found), name, depth - 1, value)?;
            }
            "include_dir" if depth > 0 => {
                for path in configuration_files(&folder.join(found))? {
                    read(&path, name, depth - 1, value)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn configuration_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        entries => entries?,
    };
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    let is_read = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(".conf") && !name.starts_with('.') && path.is_file()
    };
    let mut paths: Vec<_> = paths.into_iter().filter(is_read).collect();
    paths.sort();
    Ok(paths)
}

/// Parses a setting's name, in lower case, and its value without quotes.
pub(super) fn setting_in(line: &str) -> Option<(String, String)> {
    let line = line.trim_start();
    let length =
        line.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.').unwrap_or(line.len());
    let (name, rest) = line.split_at(length);
    if name.is_empty() {
        return None;
    }
    let rest = rest.trim_start();
    let rest = rest.strip_prefix('=').unwrap_or(rest).trim_start();
    let Some(quoted) = rest.strip_prefix('\'') else {
        let value = rest.split(['#', ' ', '\t']).next().unwrap_or_default();
        return Some((name.to_ascii_lowercase(), value.to_owned()));
    };
    let (mut value, mut chars) = (String::new(), quoted.chars().peekable());
    while let Some(char) = chars.next() {
        match char {
            '\'' if chars.peek() == Some(&'\'') => value.extend(chars.next()),
            '\'' => break,
            '\\' => value.extend(chars.next()),
            other => value.push(other),
        }
    }
    Some((name.to_ascii_lowercase(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_the_server_reads_them() {
        let read = |line| setting_in(line).unwrap();
        assert_eq!(read(" Name='it''s' # x"), ("name".to_owned(), "it's".to_owned()));
        assert_eq!(read(r"a.b 'c\'d'"), ("a.b".to_owned(), "c'd".to_owned()));
        assert_eq!(read("port = 5432 # x"), ("port".to_owned(), "5432".to_owned()));
        assert_eq!(setting_in("# no = 'setting'"), None);
    }

    #[test]
    fn the_last_value_counts_wherever_it_is_included() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let value = |auto: &str| configured(folder.path(), auto, "shared_preload_libraries").unwrap();
        assert_eq!(value(""), None);
        write("conf.d/20.conf", "Shared_Preload_Libraries = 'pg_cron'\n");
        write("conf.d/10.conf", "shared_preload_libraries = 'a'\n");
        write("conf.d/30.off", "shared_preload_libraries = 'b'\n");
        write(
            "postgresql.conf",
            "shared_preload_libraries = 'c'\ninclude_dir 'conf.d'\n#drctl: include 'x'\n",
        );
        assert_eq!(value("").as_deref(), Some("pg_cron"));
        // One that includes itself is not followed for ever.
        write(
            "postgresql.conf",
            "include_dir 'conf.d'\ninclude 'postgresql.conf'\nshared_preload_libraries = d\n",
        );
        assert_eq!(value("").as_deref(), Some("d"));
        assert_eq!(value("work_mem = 1\nshared_preload_libraries = 'e'\n").as_deref(), Some("e"));
    }
}
