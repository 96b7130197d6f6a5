//! Sources beside databases of PostgreSQL.

use std::time::Duration;

use globset::Glob;

use super::repository::credentials;
use super::{ResolveBase, number};
use crate::policy::address::UrlOrRef;
use crate::policy::application::{
    BucketSource, ChromaSource, CommandSource, FilesSource, GitSource, RedisSource, SqliteSource,
};
use crate::policy::decode::{Diagnostics, Spanned};
use crate::policy::schema::{
    BucketTable, ChromaTable, CommandTable, FilesTable, GitTable, RedisTable, SqliteTable,
};
use crate::policy::value::Period;

const LOCK_WAIT: Duration = Duration::from_secs(60);
const DEADLINE: Duration = Duration::from_secs(6 * 3600);
const FILES_INCREMENTALS: u32 = 6;
const BUNDLES: u32 = 10;
const ATTEMPTS: u32 = 5;
const OUTPUT: &str = "output";

pub(super) fn files(table: &FilesTable, base: ResolveBase<'_>, log: &mut Diagnostics<'_>) -> FilesSource {
    if let Some(paths) = table.paths.as_ref().filter(|paths| paths.0.is_empty())
        && !log.has_faults_at(&paths.spot)
    {
        log.fault(&paths.spot, "names nothing", "name a file or directory");
    }
    FilesSource {
        paths: table.paths.iter().flat_map(|paths| &paths.0).map(|path| base.path(path)).collect(),
        include: globs(table.include.as_ref(), log),
        exclude: globs(table.exclude.as_ref(), log),
        one_file_system: table.one_file_system.as_deref().copied().unwrap_or_default(),
        incrementals: number(&table.incrementals).unwrap_or(FILES_INCREMENTALS),
    }
}

pub(super) fn sqlite(table: &SqliteTable, base: ResolveBase<'_>, log: &mut Diagnostics<'_>) -> SqliteSource {
    if let Some(path) = table.path.as_ref().filter(|path| path.as_os_str() == ":memory:") {
        log.fault(&path.spot, "is in memory, where nothing outlives its process", "name a file");
    }
    SqliteSource {
        path: table.path.as_deref().map(|path| base.path(path)).unwrap_or_default(),
        lock_wait: period(table.lock_wait.as_ref(), LOCK_WAIT),
    }
}

pub(super) fn chroma(table: &ChromaTable, base: ResolveBase<'_>) -> ChromaSource {
    ChromaSource {
        path: table.path.as_deref().map(|path| base.path(path)).unwrap_or_default(),
        lock_wait: period(table.lock_wait.as_ref(), LOCK_WAIT),
        attempts: number(&table.attempts).unwrap_or(ATTEMPTS),
    }
}

pub(super) fn redis(table: &RedisTable, base: ResolveBase<'_>, log: &mut Diagnostics<'_>) -> RedisSource {
    let (mut url, mut url_ref) = (None, None);
    if let Some(given) = &table.url {
        match &given.0 {
            UrlOrRef::Url(given_url) => {
                let is_numbered =
                    given_url.scheme().starts_with("redis") && !given_url.path().trim_matches('/').is_empty();
                if is_numbered {
                    log.fault(
                        &given.spot,
                        "names one database, and a backup holds them all",
                        "leave the number out",
                    );
                }
                url = Some(given_url.clone());
            }
            UrlOrRef::Ref(reference) => url_ref = Some(base.secret_ref(reference)),
        }
    }
    RedisSource {
        url,
        url_ref,
        password: base.secret(&table.password),
        sentinel_master: table.sentinel_master.as_ref().map(|name| name.value.clone()),
        ca_certificate: table.ca_certificate.as_deref().map(|path| base.path(path)),
        deadline: period(table.deadline.as_ref(), DEADLINE),
    }
}

pub(super) fn git(table: &GitTable, base: ResolveBase<'_>, log: &mut Diagnostics<'_>) -> GitSource {
    if let Some(remote) = &table.remote
        && url::Url::parse(remote).is_ok_and(|url| url.password().is_some())
    {
        log.fault(&remote.spot, "holds a password", "take it out, and give it by reference: `token`");
    }
    GitSource {
        remote: table.remote.as_ref().map(|remote| remote.value.clone()).unwrap_or_default(),
        token: base.secret(&table.token),
        ssh_key: base.secret(&table.ssh_key),
        incrementals: number(&table.incrementals).unwrap_or(BUNDLES),
        deadline: period(table.deadline.as_ref(), DEADLINE),
    }
}

pub(super) fn bucket(table: &BucketTable, base: ResolveBase<'_>, log: &mut Diagnostics<'_>) -> BucketSource {
    let endpoint = table.endpoint.as_ref().map(|endpoint| endpoint.0.clone());
    let url = table.url.as_deref();
    BucketSource {
        bucket: url.map(|url| url.bucket.clone()).unwrap_or_default(),
        prefix: url.map(|url| url.prefix.trim_matches('/').to_owned()).unwrap_or_default(),
        region: table.region.as_ref().map(|region| region.0.clone()).unwrap_or_default(),
        path_style: table.path_style.as_deref().copied().unwrap_or(endpoint.is_some()),
        endpoint,
        credentials: credentials(table.credentials.as_ref(), base, log),
        exclude: globs(table.exclude.as_ref(), log),
        incrementals: number(&table.incrementals).unwrap_or(FILES_INCREMENTALS),
    }
}

pub(super) fn command(
    table: &CommandTable,
    base: ResolveBase<'_>,
    log: &mut Diagnostics<'_>,
) -> CommandSource {
    for command in [&table.command, &table.restore_command].into_iter().flatten() {
        if command.is_empty() && !log.has_faults_at(&command.spot) {
            log.fault(
                &command.spot,
                "names no program",
                "write it like `[\"/usr/local/bin/export\", \"--all\"]`",
            );
        }
    }
    let fits = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
    if let Some(name) =
        table.file_name.as_ref().filter(|name| name.starts_with('.') || !name.bytes().all(fits))
    {
        log.fault(&name.spot, "is not a plain file name", "use letters, digits, `.`, `-` and `_`");
    }
    let words = |command: &Option<Spanned<Vec<Spanned<String>>>>| -> Vec<String> {
        command.iter().flat_map(|command| &command.value).map(|word| word.value.clone()).collect()
    };
    let environment = table.environment.iter().flat_map(|environment| &environment.0);
    CommandSource {
        command: words(&table.command),
        restore_command: words(&table.restore_command),
        file_name: table.file_name.as_ref().map_or_else(|| OUTPUT.to_owned(), |name| name.value.clone()),
        environment: environment
            .map(|(name, value)| (name.value.clone(), base.secret_ref(&value.value)))
            .collect(),
        deadline: period(table.deadline.as_ref(), DEADLINE),
    }
}

fn period(given: Option<&Spanned<Period>>, default: Duration) -> Duration {
    given.map_or(default, |period| period.0)
}

/// Returns the patterns, each of which is a glob.
fn globs(table: Option<&Spanned<Vec<Spanned<String>>>>, log: &mut Diagnostics<'_>) -> Vec<String> {
    let patterns = table.into_iter().flat_map(|patterns| &patterns.value);
    for pattern in patterns.clone() {
        if let Err(error) = Glob::new(pattern) {
            log.fault(
                &pattern.spot,
                format!("is not a glob: {}", error.kind()),
                "write it like `**/cache/**` or `*.tmp`",
            );
        }
    }
    patterns.map(|pattern| pattern.value.clone()).collect()
}
