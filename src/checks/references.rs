//! Whether the files that rows name are there.

use std::collections::VecDeque;
use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::CheckResult;
use super::run::connect;
use crate::model::{Cause, Judgement, Verdict};
use crate::policy::Reference;
use crate::postgres::{ConnectionParameters, close};
use crate::text::{count, error_chain, format_duration};

/// The code of rows whose files are not there.
pub const FILES_MISSING: &str = "files-missing";
/// The code of references that could not be compared.
pub const NOT_COMPARED: &str = "references-not-compared";

/// How long reading the rows of a reference may take.
const WITHIN: Duration = Duration::from_secs(3600);
/// How many rows are looked up at a time.
const BATCH: usize = 1024;
/// How many missing files, and files without rows, a report names.
const EXAMPLES: usize = 5;
/// The bits of what remembers the names of rows: 32 MiB, whatever the number of rows.
const BITS: u64 = 1 << 28;

/// What came of a reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedReference {
    pub result: CheckResult,
    /// Files that no row names: they do no harm.
    pub note: Option<String>,
}

/// Compares the rows of a restored database with the files in the directory that was restored beside it. `ways`: logins to
/// try, the first that works counts, or why there is none. Memory is bounded, however many rows there are.
pub async fn check_reference(
    reference: &Reference,
    ways: Result<Vec<ConnectionParameters>, String>,
    directory: &Path,
) -> CheckedReference {
    let name = format!("{} names files of {}", reference.source, reference.files);
    let undetermined = |reason: String| CheckedReference {
        result: CheckResult::undetermined(
            &name,
            Cause::Environment,
            NOT_COMPARED,
            format!(
                "failed to check whether the files that rows of `{}` name are there: {reason}",
                reference.source
            ),
        ),
        note: None,
    };
    let root = directory.join(&reference.prefix);
    if !root.is_dir() {
        return undetermined(format!("`{}` is not a directory", root.display()));
    }
    let mut connection = match ways {
        Ok(ways) => match connect(&ways).await {
            Ok(connection) => connection,
            Err(reason) => return undetermined(reason),
        },
        Err(reason) => return undetermined(reason),
    };
    let compared = tokio::time::timeout(WITHIN, compare(&mut connection, &reference.query, &root)).await;
    close(connection).await;
    match compared {
        Ok(Ok(compared)) => compared.checked(&name, reference),
        Ok(Err(reason)) => undetermined(reason),
        Err(_) => undetermined(format!("it took more than {}", format_duration(WITHIN))),
    }
}

/// What was found of rows and files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Compared {
    rows: u64,
    missing: u64,
    /// The first of those.
    examples: Vec<String>,
    files: u64,
    unnamed: u64,
    unnamed_examples: Vec<String>,
}

impl Compared {
    fn checked(self, name: &str, reference: &Reference) -> CheckedReference {
        let Reference { source, files, .. } = reference;
        let note = (self.unnamed > 0).then(|| {
            format!(
                "{} of {} of `{files}` {} named by no row of `{source}`, and {} no harm: {}",
                self.unnamed,
                count(self.files, "file"),
                if self.unnamed == 1 { "is" } else { "are" },
                if self.unnamed == 1 { "does" } else { "do" },
                examples(&self.unnamed_examples, self.unnamed)
            )
        });
        if self.missing == 0 {
            let found = format!("{}, each with its file", count(self.rows, "row"));
            return CheckedReference { result: CheckResult::passed(name, found), note };
        }
        let mut verdict = Verdict::default();
        let message = format!(
            "{} of {} of `{source}` name a file that `{files}` does not have: {}",
            self.missing,
            count(self.rows, "row"),
            examples(&self.examples, self.missing)
        );
        verdict.add(Judgement::Fail, Cause::Backup, FILES_MISSING, message);
        let found = Some(format!("{} missing", self.missing));
        CheckedReference { result: CheckResult { check: name.to_owned(), verdict, found }, note }
    }
}

fn examples(first: &[String], all: u64) -> String {
    let named: Vec<_> = first.iter().map(|path| format!("`{path}`")).collect();
    let more = if all > first.len() as u64 { ", …" } else { "" };
    format!("{}{more}", named.join(", "))
}

async fn compare(connection: &mut PgConnection, query: &str, root: &Path) -> Result<Compared, String> {
    let failed = |error: sqlx::Error| error_chain(&error);
    let lookup = Arc::new(Mutex::new(Lookup::new(root)));
    let mut transaction = connection.begin_with("BEGIN READ ONLY").await.map_err(failed)?;
    let settings = "SET LOCAL search_path TO DEFAULT";
    sqlx::raw_sql(AssertSqlSafe(settings.to_owned())).execute(&mut *transaction).await.map_err(failed)?;
    // On a line of its own, in case the query ends with a comment.
    let query = query.trim().trim_end_matches(';');
    let query = format!("SELECT answer::text FROM (\n{query}\n) AS asked(answer)");
    {
        let mut rows = sqlx::query_scalar::<_, Option<String>>(AssertSqlSafe(query)).fetch(&mut *transaction);
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let row = rows.try_next().await.map_err(failed)?;
            let is_end = row.is_none();
            batch.extend(row.flatten());
            if batch.len() == BATCH || is_end {
                let names = std::mem::replace(&mut batch, Vec::with_capacity(BATCH));
                on_thread(&lookup, move |lookup| lookup.rows(names)).await?;
            }
            if is_end {
                break;
            }
        }
    }
    transaction.rollback().await.map_err(failed)?;
    on_thread(&lookup, |lookup| lookup.files().map_err(|error| error.to_string())).await??;
    let lookup = lookup.lock().map_err(|_| "poisoned".to_owned())?;
    Ok(lookup.compared.clone())
}

/// Works where it may block.
async fn on_thread<T: Send + 'static>(
    lookup: &Arc<Mutex<Lookup>>,
    work: impl FnOnce(&mut Lookup) -> T + Send + 'static,
) -> Result<T, String> {
    let lookup = Arc::clone(lookup);
    let done = tokio::task::spawn_blocking(move || lookup.lock().ok().map(|mut lookup| work(&mut lookup)));
    done.await.ok().flatten().ok_or_else(|| "the comparison was aborted".to_owned())
}

/// Looks rows up among files, and files among the rows that were.
struct Lookup {
    root: PathBuf,
    seen: SeenNames,
    compared: Compared,
}

impl Lookup {
    fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), seen: SeenNames::new(), compared: Compared::default() }
    }

    fn rows(&mut self, names: Vec<String>) {
        for name in names {
            self.compared.rows += 1;
            let path = below(&name);
            if let Some(path) = &path {
                self.seen.add(path);
            }
            let is_there = path.is_some_and(|path| fs::symlink_metadata(self.root.join(path)).is_ok());
            if !is_there {
                self.compared.missing += 1;
                if self.compared.examples.len() < EXAMPLES {
                    self.compared.examples.push(name);
                }
            }
        }
    }

    /// Walks through the files, one directory at a time.
    fn files(&mut self) -> std::io::Result<()> {
        let mut directories = VecDeque::from([PathBuf::new()]);
        while let Some(directory) = directories.pop_front() {
            for entry in fs::read_dir(self.root.join(&directory))? {
                let entry = entry?;
                let path = directory.join(entry.file_name());
                if entry.file_type()?.is_dir() {
                    directories.push_back(path);
                    continue;
                }
                self.compared.files += 1;
                if !self.seen.has(&path) {
                    self.compared.unnamed += 1;
                    if self.compared.unnamed_examples.len() < EXAMPLES {
                        self.compared.unnamed_examples.push(path.display().to_string());
                    }
                }
            }
        }
        Ok(())
    }
}

/// Returns a row's path from the root of the files on; `None` where it leads out of them.
fn below(name: &str) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for component in Path::new(name).components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    (!path.as_os_str().is_empty()).then_some(path)
}

/// Remembers names in bounded memory (a Bloom filter): says of a few in a million that it knows them although it does not.
struct SeenNames {
    bits: Vec<u64>,
    hashers: [RandomState; 4],
}

impl SeenNames {
    fn new() -> Self {
        let words = usize::try_from(BITS / 64).unwrap_or(1);
        Self { bits: vec![0; words], hashers: std::array::from_fn(|_| RandomState::new()) }
    }

    fn places(&self, path: &Path) -> [(usize, u64); 4] {
        self.hashers.each_ref().map(|hasher| {
            let bit = hasher.hash_one(path) % BITS;
            (usize::try_from(bit / 64).unwrap_or_default(), 1 << (bit % 64))
        })
    }

    fn add(&mut self, path: &Path) {
        for (word, bit) in self.places(path) {
            if let Some(word) = self.bits.get_mut(word) {
                *word |= bit;
            }
        }
    }

    fn has(&self, path: &Path) -> bool {
        self.places(path).iter().all(|(word, bit)| self.bits.get(*word).is_some_and(|word| word & bit != 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference() -> Reference {
        Reference {
            source: "database".parse().unwrap(),
            query: "select path from uploads".to_owned(),
            files: "uploads".parse().unwrap(),
            prefix: String::new(),
        }
    }

    fn compared(files: &[&str], rows: &[&str]) -> Compared {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let mut lookup = Lookup::new(root.path());
        lookup.rows(rows.iter().map(|row| (*row).to_owned()).collect());
        lookup.files().unwrap();
        lookup.compared
    }

    #[test]
    fn every_row_has_its_file() {
        let compared = compared(&["a/1.png", "a/2.png"], &["a/1.png", "/a/2.png", "./a/2.png"]);
        let checked = compared.checked("references", &reference());
        assert!(checked.result.has_passed());
        assert_eq!(checked.result.found.as_deref(), Some("3 rows, each with its file"));
        assert_eq!(checked.note, None);
    }

    #[test]
    fn a_row_without_its_file_fails_and_a_file_without_a_row_does_not() {
        let compared = compared(&["kept", "more"], &["kept", "gone", "../kept", ""]);
        assert_eq!((compared.rows, compared.missing, compared.unnamed), (4, 3, 1));
        let checked = compared.checked("references", &reference());
        assert_eq!(checked.result.verdict.outcome, Judgement::Fail);
        assert_eq!(
            checked.result.verdict.reasons[0].message,
            "3 of 4 rows of `database` name a file that `uploads` does not have: `gone`, `../kept`, ``"
        );
        let note = checked.note.unwrap();
        assert_eq!(
            note,
            "1 of 2 files of `uploads` is named by no row of `database`, and does no harm: `more`"
        );
    }

    #[test]
    fn many_names_are_remembered_and_others_are_not() {
        let mut seen = SeenNames::new();
        let name = |n: usize| PathBuf::from(format!("uploads/{n}.jpg"));
        (0..20_000).for_each(|n| seen.add(&name(n)));
        assert!((0..20_000).all(|n| seen.has(&name(n))));
        let wrong = (20_000..40_000).filter(|n| seen.has(&name(*n))).count();
        assert!(wrong < 5, "{wrong} names are taken for others");
    }
}
