//! Where runbooks come from: a directory, and the program itself, so that they are there when nothing else is.

use std::io;
use std::path::{Path, PathBuf};

use super::check::{LinkedFile, References, check};
use super::model::{Runbook, RunbookFault};
use super::parse::parse;

macro_rules! embedded {
    ($($name:literal),* $(,)?) => {
        /// The documents of `runbooks/`, by file name.
        const EMBEDDED: &[(&str, &str)] = &[
            $(($name, include_str!(concat!("../../runbooks/", $name)))),*
        ];
    };
}

embedded![
    "README.md",
    "backup-or-wal-archiving-fails.md",
    "bad-deployment.md",
    "cluster-to-a-moment.md",
    "communication-and-roles.md",
    "database-lost.md",
    "disk-full-of-wal.md",
    "keys-lost-or-leaked.md",
    "ransomware.md",
    "rds-lost.md",
    "region-lost.md",
];

/// What makes a document a runbook.
const MARK: &str = "```toml runbook";

/// A document, and where it is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Without `.md`.
    pub name: String,
    pub origin: Origin,
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    File(PathBuf),
    /// The program.
    BuiltIn,
}

impl Document {
    /// Returns whether it has the header of a runbook; others are for people alone.
    pub fn is_runbook(&self) -> bool {
        self.text.lines().any(|line| line.trim_end() == MARK)
    }

    /// Returns the path that faults name.
    pub fn shown(&self) -> String {
        match &self.origin {
            Origin::File(path) => path.display().to_string(),
            Origin::BuiltIn => format!("runbooks/{}.md", self.name),
        }
    }

    /// Reads it, and finds every fault. It is a runbook to be run if there is none.
    pub fn read(
        &self,
        library: &Library,
        references: &dyn CommandLine,
    ) -> (Option<Runbook>, Vec<RunbookFault>) {
        let (runbook, mut faults) = parse(&self.name, &self.shown(), &self.text);
        let references = Known { document: self, library, commands: references };
        faults.extend(runbook.iter().flat_map(|runbook| check(runbook, &references)));
        faults.sort();
        (runbook, faults)
    }
}

/// The program's own command line.
pub trait CommandLine {
    /// Returns why these words, which follow `drctl`, are refused.
    fn refuse(&self, words: &[String]) -> Option<String>;
}

/// What a document refers to.
struct Known<'a> {
    document: &'a Document,
    library: &'a Library,
    commands: &'a dyn CommandLine,
}

impl References for Known<'_> {
    fn refuse_command(&self, words: &[String]) -> Option<String> {
        self.commands.refuse(words)
    }

    fn file(&self, path: &str) -> LinkedFile {
        match &self.document.origin {
            Origin::File(file) => {
                let path = file.parent().unwrap_or(Path::new("")).join(path);
                match path.extension().is_some_and(|extension| extension == "md") {
                    true => std::fs::read_to_string(path).map_or(LinkedFile::Missing, LinkedFile::Markdown),
                    false if path.exists() => LinkedFile::Present,
                    false => LinkedFile::Missing,
                }
            }
            Origin::BuiltIn => {
                let name = path.strip_suffix(".md").unwrap_or(path);
                let built_in = EMBEDDED.iter().find(|(file, _)| file.strip_suffix(".md") == Some(name));
                match built_in.map(|(_, text)| (*text).to_owned()) {
                    Some(text) => LinkedFile::Markdown(text),
                    // What is beside the runbooks in the project is not in the program.
                    None if path.contains('/') => LinkedFile::Present,
                    None => self
                        .library
                        .find(name)
                        .map_or(LinkedFile::Missing, |found| LinkedFile::Markdown(found.text.clone())),
                }
            }
        }
    }
}

/// Every document, by name.
#[derive(Clone, Debug, Default)]
pub struct Library {
    documents: Vec<Document>,
}

impl Library {
    /// Reads the documents of a directory, and adds those of the program. One of the directory replaces the program's
    /// of the same name.
    ///
    /// # Errors
    /// Where the directory or a document of it cannot be read.
    pub fn load(directory: Option<&Path>) -> io::Result<Self> {
        let mut documents = Vec::new();
        if let Some(directory) = directory {
            for entry in std::fs::read_dir(directory)? {
                let path = entry?.path();
                if path.extension().is_none_or(|extension| extension != "md") {
                    continue;
                }
                let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                let text = std::fs::read_to_string(&path)?;
                documents.push(Document { name, origin: Origin::File(path), text });
            }
        }
        for (file, text) in EMBEDDED {
            let name = file.trim_end_matches(".md").to_owned();
            if !documents.iter().any(|known: &Document| known.name == name) {
                documents.push(Document { name, origin: Origin::BuiltIn, text: (*text).to_owned() });
            }
        }
        documents.retain(|document| document.name != "README");
        documents.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(Self { documents })
    }

    /// Returns the runbooks, by name.
    pub fn runbooks(&self) -> impl Iterator<Item = &Document> {
        self.documents.iter().filter(|document| document.is_runbook())
    }

    /// Returns a document, whether it is a runbook or not.
    pub fn find(&self, name: &str) -> Option<&Document> {
        self.documents.iter().find(|document| document.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_document_of_the_project_is_in_the_program() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("runbooks");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .filter(|name| name.ends_with(".md"))
            .collect();
        files.sort();
        assert_eq!(EMBEDDED.iter().map(|(name, _)| *name).collect::<Vec<_>>(), files);
    }

    #[test]
    fn one_of_the_directory_replaces_the_programs() {
        let folder = tempfile::tempdir().unwrap();
        let (name, _) = EMBEDDED[1];
        std::fs::write(folder.path().join(name), "# Mine\n\n```toml runbook\n```\n").unwrap();
        std::fs::write(folder.path().join("notes.txt"), "x").unwrap();
        let library = Library::load(Some(folder.path())).unwrap();
        let found = library.find(name.trim_end_matches(".md")).unwrap();
        assert!(found.text.starts_with("# Mine") && found.is_runbook());
        assert_eq!(library.documents.len(), Library::load(None).unwrap().documents.len());
        Library::load(Some(&folder.path().join("missing"))).unwrap_err();
    }
}
