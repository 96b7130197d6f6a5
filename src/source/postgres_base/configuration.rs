use std::path::{Path, PathBuf};

use sqlx::PgConnection;

use super::completeness::Completeness;
use super::error::BaseError;
use super::includes::{Grammar, IncludedFile, Leads, Sources, flatten, leads, setting};
use super::query::ask;
use crate::model::{ConfigurationFile, Excluded};

/// More than any hand-written configuration file.
const FILE_LIMIT: i64 = 1 << 20;
/// More files than any configuration has.
const MOST_FILES: usize = 500;
/// The first major whose `pg_hba.conf` may include other files.
const RECORDS_INCLUDE: u32 = 16;
/// The configuration files of a server, by the setting with the path of each.
const FILES: [(&str, &str); 3] =
    [("config_file", "postgresql.conf"), ("hba_file", "pg_hba.conf"), ("ident_file", "pg_ident.conf")];

const PLACES: &str = "
SELECT name, setting FROM pg_settings
 WHERE name IN ('config_file', 'hba_file', 'ident_file', 'data_directory') AND setting <> ''";

// Only some roles may see which file each is from.
const KNOWN: &str = "
SELECT name, current_setting(name), sourcefile FROM pg_settings
 WHERE source = 'configuration file' AND context <> 'internal' ORDER BY name";

const FOLDER: &str = "SELECT name FROM pg_ls_dir($1, true, false) name ORDER BY name COLLATE \"C\"";

/// A server's configuration, wherever it is, as it was before a copy.
#[derive(Debug, Default)]
pub(super) struct Configuration {
    data_directory: Option<PathBuf>,
    files: Vec<CapturedFile>,
    known: Vec<(String, String, Option<String>)>,
}

/// One of [`FILES`], with everything that it includes.
#[derive(Debug)]
struct CapturedFile {
    name: &'static str,
    /// `None` where the role may not see it.
    path: Option<PathBuf>,
    grammar: Grammar,
    sources: Sources,
}

/// Reads it from the server, or where that is not allowed from this host's disk. `local`: the data directory,
/// where it is on this host.
pub(super) async fn read(
    connection: &mut PgConnection,
    server: &str,
    major: u32,
    local: Option<&Path>,
) -> Result<Configuration, BaseError> {
    let places: Vec<(String, String)> =
        ask(server, sqlx::query_as(PLACES).fetch_all(&mut *connection)).await?;
    let known: Vec<(String, String, Option<String>)> =
        ask(server, sqlx::query_as(KNOWN).fetch_all(&mut *connection)).await?;
    let place = |setting: &str| {
        let found = places.iter().find(|(name, _)| name == setting);
        found.map(|(_, path)| PathBuf::from(path))
    };
    // For a role that may not see it, the file in the data directory is taken.
    let data_directory = place("data_directory").or_else(|| local.map(Path::to_owned));
    let here = ConfigurationHost { data_directory: data_directory.clone(), local: local.map(Path::to_owned) };
    let mut files = Vec::new();
    for (setting, name) in FILES {
        let grammar = match setting {
            "config_file" => Grammar::Settings,
            _ => Grammar::Records { may_include: major >= RECORDS_INCLUDE },
        };
        let here_by_default = || local.map(|local| local.join(name)).filter(|path| path.exists());
        let path = place(setting).or_else(here_by_default);
        let sources = match &path {
            Some(path) => {
                // Files that settings come from, too: the includes of an unreadable main file are unknown.
                let others = known.iter().filter(|_| grammar == Grammar::Settings);
                let others = others.filter_map(|(_, _, file)| file.as_ref().map(PathBuf::from));
                let begin = std::iter::once(path.clone()).chain(others);
                here.gather(connection, begin.map(Leads::File).collect(), grammar).await
            }
            None => Sources::new(),
        };
        files.push(CapturedFile { name, path, grammar, sources });
    }
    Ok(Configuration { data_directory, files, known })
}

/// The part of a server's disk that is readable on this host.
struct ConfigurationHost {
    data_directory: Option<PathBuf>,
    local: Option<PathBuf>,
}

impl ConfigurationHost {
    /// Reads the pending files, and everything they include.
    async fn gather(
        &self,
        connection: &mut PgConnection,
        mut waiting: Vec<Leads>,
        grammar: Grammar,
    ) -> Sources {
        let mut sources = Sources::new();
        while let Some(next) = waiting.pop() {
            if sources.contains_key(next.path()) || sources.len() >= MOST_FILES {
                continue;
            }
            let found = match &next {
                Leads::File(path) => self.text(connection, path).await,
                Leads::Folder(path) => self.folder(connection, path).await,
            };
            match &found {
                IncludedFile::Text(text) => waiting.extend(leads(text, next.path(), grammar)),
                IncludedFile::Folder(files) => waiting.extend(files.iter().cloned().map(Leads::File)),
                IncludedFile::Missing | IncludedFile::Unreadable => {}
            }
            sources.insert(next.path().to_owned(), found);
        }
        sources
    }

    async fn text(&self, connection: &mut PgConnection, path: &Path) -> IncludedFile {
        let asked = sqlx::query_scalar("SELECT pg_read_file($1, 0, $2, true)")
            .bind(path.to_string_lossy())
            .bind(FILE_LIMIT)
            .fetch_one(connection);
        let text: Result<Option<String>, _> = asked.await;
        match text {
            // It may be longer.
            Ok(Some(text)) if i64::try_from(text.len()).is_ok_and(|length| length >= FILE_LIMIT) => {
                IncludedFile::Unreadable
            }
            Ok(text) => text.map_or(IncludedFile::Missing, IncludedFile::Text),
            Err(_) => self.path(path).map_or(IncludedFile::Unreadable, |path| text_here(&path)),
        }
    }

    async fn folder(&self, connection: &mut PgConnection, path: &Path) -> IncludedFile {
        let asked = sqlx::query_scalar(FOLDER).bind(path.to_string_lossy()).fetch_all(connection);
        let names: Result<Vec<String>, _> = asked.await;
        let mut names = match (names, self.path(path)) {
            (Ok(names), _) => names,
            (Err(_), Some(path)) => match names_here(&path) {
                Ok(names) => names,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return IncludedFile::Missing,
                Err(_) => return IncludedFile::Unreadable,
            },
            (Err(_), None) => return IncludedFile::Unreadable,
        };
        names.retain(|name| !name.starts_with('.') && name.ends_with(".conf"));
        names.sort();
        IncludedFile::Folder(names.into_iter().map(|name| path.join(name)).collect())
    }

    /// Returns the path on this host for a path of the server. A server whose data directory has another path
    /// there, as in a container, has other file systems.
    fn path(&self, path: &Path) -> Option<PathBuf> {
        let (local, theirs) = (self.local.as_ref()?, self.data_directory.as_ref()?);
        if let Ok(inside) = path.strip_prefix(theirs) {
            return Some(local.join(inside));
        }
        let real = |path: &Path| std::fs::canonicalize(path).ok();
        (real(local).is_some() && real(local) == real(theirs)).then(|| path.to_owned())
    }
}

fn text_here(path: &Path) -> IncludedFile {
    let read = std::fs::metadata(path).and_then(|file| {
        let is_small = i64::try_from(file.len()).is_ok_and(|length| length <= FILE_LIMIT);
        if is_small { std::fs::read(path) } else { Err(std::io::ErrorKind::FileTooLarge.into()) }
    });
    match read {
        Ok(bytes) => IncludedFile::Text(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => IncludedFile::Missing,
        Err(_) => IncludedFile::Unreadable,
    }
}

fn names_here(folder: &Path) -> std::io::Result<Vec<String>> {
    std::fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

impl Configuration {
    /// Returns its files inside of the data directory, by relative path.
    pub(super) fn inside(&self) -> Vec<String> {
        let of_server = self.files.iter().flat_map(|file| file.sources.iter());
        let files = of_server.filter(|(_, found)| !matches!(found, IncludedFile::Folder(_)));
        let files = files.filter_map(|(path, _)| self.below(path));
        // Where the server does not report their paths.
        files.chain(FILES.map(|(_, name)| name.to_owned())).collect()
    }

    fn below(&self, path: &Path) -> Option<String> {
        let inside = path.strip_prefix(self.data_directory.as_ref()?).ok()?;
        Some(inside.to_string_lossy().into_owned())
    }

    /// Returns what a restore needs, each file flattened: those that the copy does not have with everything
    /// they include. And those that could not be read.
    pub(super) fn kept(&self, copied: &Completeness) -> (Vec<ConfigurationFile>, Vec<Excluded>) {
        let (mut kept, mut unread) = (Vec::new(), Vec::new());
        for file in &self.files {
            let Some(path) = &file.path else {
                // Then it is at its initial path, or outside.
                if !copied.has(file.name) {
                    unread.push(Excluded {
                        path: file.name.to_owned(),
                        why: "which is elsewhere: the role may not see where (pg_read_all_settings)"
                            .to_owned(),
                    });
                    kept.extend(self.as_known(file));
                }
                continue;
            };
            let is_copied = |(path, found): (&PathBuf, &IncludedFile)| match found {
                IncludedFile::Folder(_) | IncludedFile::Missing => true,
                IncludedFile::Text(_) | IncludedFile::Unreadable => {
                    self.below(path).is_some_and(|path| copied.has(&path))
                }
            };
            if file.sources.iter().all(is_copied) {
                continue;
            }
            let unreadable =
                |(_, found): &(&PathBuf, &IncludedFile)| matches!(found, IncludedFile::Unreadable);
            let others = file
                .sources
                .iter()
                .filter(unreadable)
                .filter(|(path, _)| !self.below(path).is_some_and(|path| copied.has(&path)));
            unread.extend(others.map(|(path, _)| {
                Excluded {
                    path: path.display().to_string(),
                    why: "which the role may not read (EXECUTE on pg_read_file, and pg_read_server_files)"
                        .to_owned(),
                }
            }));
            match file.sources.get(path) {
                Some(IncludedFile::Text(_)) => kept.push(ConfigurationFile {
                    name: file.name.to_owned(),
                    path: path.display().to_string(),
                    text: flatten(path, &file.sources, file.grammar, &|path| self.of_file(path)),
                }),
                // It may be in the copy, without its includes.
                _ => kept.extend(self.as_known(file)),
            }
        }
        (kept, unread)
    }

    /// Returns whether a path in the data directory is kept here, so that it does not count as left out.
    pub(super) fn covers(&self, path: &str) -> bool {
        let all = self.files.iter().flat_map(|file| &file.sources);
        let read = all.filter(|(_, found)| !matches!(found, IncludedFile::Unreadable));
        read.filter_map(|(file, _)| self.below(file)).any(|file| Path::new(&file).starts_with(path))
    }

    /// Returns the settings that the server has from a file.
    fn of_file(&self, path: &Path) -> Vec<(String, String)> {
        let of_it = self
            .known
            .iter()
            .filter(|(_, _, file)| file.as_ref().is_some_and(|file| Path::new(file) == path));
        of_it.map(|(name, value, _)| (name.clone(), value.clone())).collect()
    }

    /// Returns a replacement for an unreadable `postgresql.conf`: the settings that the server has from
    /// files.
    fn as_known(&self, file: &CapturedFile) -> Option<ConfigurationFile> {
        if file.grammar != Grammar::Settings {
            return None;
        }
        let begin =
            "# The file could not be read; these are the settings that the server had of its files.\n"
                .to_owned();
        let lines = self.known.iter().map(|(name, value, _)| setting(name, value) + "\n");
        let path = file.path.as_ref().map(|path| path.display().to_string());
        Some(ConfigurationFile {
            name: file.name.to_owned(),
            path: path.unwrap_or_else(|| "an unknown place".to_owned()),
            text: begin + &lines.collect::<String>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(hba: Option<&str>, sources: &[(&str, IncludedFile)]) -> Configuration {
        let sources = |first: &str| -> Sources {
            let of_it =
                sources.iter().filter(|(path, _)| path.ends_with("hba.conf") == first.ends_with("hba.conf"));
            of_it.map(|(path, found)| (PathBuf::from(path), found.clone())).collect()
        };
        let main = "/data/postgresql.conf";
        Configuration {
            data_directory: Some("/data".into()),
            files: vec![
                CapturedFile {
                    name: "postgresql.conf",
                    path: Some(main.into()),
                    grammar: Grammar::Settings,
                    sources: sources(main),
                },
                CapturedFile {
                    name: "pg_hba.conf",
                    path: hba.map(PathBuf::from),
                    grammar: Grammar::Records { may_include: false },
                    sources: hba.map(sources).unwrap_or_default(),
                },
            ],
            known: vec![
                ("port".to_owned(), "5433".to_owned(), Some("/etc/pg/conf.d/a.conf".to_owned())),
                ("work_mem".to_owned(), "7MB".to_owned(), None),
            ],
        }
    }

    fn copied(configuration: &Configuration, files: &[&str]) -> Completeness {
        let mut copied = Completeness::wanting(configuration.inside());
        files.iter().for_each(|file| copied.saw(file));
        copied
    }

    fn text(text: &str) -> IncludedFile {
        IncludedFile::Text(text.to_owned())
    }

    #[test]
    fn what_is_in_the_copy_is_not_kept_twice_and_what_is_not_is_kept_whole() {
        let all = [
            ("/data/postgresql.conf", text("a = 1\ninclude 'more.conf'\n")),
            ("/data/more.conf", text("b = 2\n")),
            ("/data/pg_hba.conf", text("local all all peer\n")),
        ];
        let configuration = configuration(Some("/data/pg_hba.conf"), &all);
        let names = |files: &[&str]| {
            let (kept, unread) = configuration.kept(&copied(&configuration, files));
            assert!(unread.is_empty(), "{unread:?}");
            kept.into_iter().map(|file| file.name).collect::<Vec<_>>()
        };
        assert_eq!(names(&["postgresql.conf", "more.conf", "pg_hba.conf"]), [""; 0]);
        // A link is not in it, whichever of them it is.
        assert_eq!(names(&["postgresql.conf", "pg_hba.conf"]), ["postgresql.conf"]);
        assert_eq!(names(&["more.conf"]), ["postgresql.conf", "pg_hba.conf"]);
        let (kept, _) = configuration.kept(&copied(&configuration, &["pg_hba.conf", "postgresql.conf"]));
        assert!(kept[0].text.contains("a = 1\n") && kept[0].text.contains("b = 2\n"), "{kept:?}");
        assert!(configuration.covers("more.conf") && !configuration.covers("notes"));
    }

    #[test]
    fn what_could_not_be_read_is_said_and_the_settings_in_use_are_kept() {
        let included = [
            ("/data/postgresql.conf", text("include_dir '/etc/pg/conf.d'\n")),
            ("/etc/pg/conf.d", IncludedFile::Folder(vec!["/etc/pg/conf.d/a.conf".into()])),
            ("/etc/pg/conf.d/a.conf", IncludedFile::Unreadable),
        ];
        let one = configuration(None, &included);
        let (kept, unread) = one.kept(&copied(&one, &["postgresql.conf", "pg_hba.conf"]));
        assert!(kept[0].text.contains("port = '5433'\n") && !kept[0].text.contains("work_mem"), "{kept:?}");
        assert_eq!((kept.len(), unread.len(), unread[0].path.as_str()), (1, 1, "/etc/pg/conf.d/a.conf"));
        // Nor the one that includes it, which is in the copy.
        let nothing = [
            ("/data/postgresql.conf", IncludedFile::Unreadable),
            ("/etc/pg/conf.d/a.conf", IncludedFile::Unreadable),
        ];
        let none = configuration(Some("/data/pg_hba.conf"), &nothing);
        let (kept, unread) = none.kept(&copied(&none, &["postgresql.conf"]));
        assert!(kept[0].text.contains("port = '5433'\nwork_mem = '7MB'\n"), "{kept:?}");
        assert_eq!((unread.len(), unread[0].path.as_str()), (1, "/etc/pg/conf.d/a.conf"));
        // The main file itself, and one of which nothing is known.
        let other = configuration(None, &[("/data/postgresql.conf", IncludedFile::Unreadable)]);
        let (kept, unread) = other.kept(&copied(&other, &[]));
        assert!(kept[0].text.contains("port = '5433'\nwork_mem = '7MB'\n"), "{kept:?}");
        let paths: Vec<_> = unread.iter().map(|left| left.path.as_str()).collect();
        assert_eq!(paths, ["/data/postgresql.conf", "pg_hba.conf"]);
    }
}
