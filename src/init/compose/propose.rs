//! The sources that a compose file suggests. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::file::{ComposeFile, Mount, Service};
use super::interpolate::Template;

/// What a compose file suggests for a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proposal {
    /// A valid name for the system; `None` where the project's name has nothing of one.
    pub system: Option<String>,
    /// The URL of the first PostgreSQL database, without a password.
    pub database: Option<String>,
    /// A reference to its password.
    pub password: Option<String>,
    /// All sources beside that database, in the order in which they are to be backed up.
    pub sources: Vec<ProposedSource>,
    /// What has to be done or known, a sentence each.
    pub notes: Vec<String>,
}

/// A source beside the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProposedSource {
    pub name: String,
    /// Why it is one, for a comment.
    pub remark: String,
    /// Its settings, each with a value in TOML's syntax, without quotes where it is a list.
    pub settings: Vec<(&'static str, ProposedValue)>,
}

/// A value of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProposedValue {
    Text(String),
    List(Vec<String>),
}

/// Images, by the end of their names.
const POSTGRES: [&str; 6] =
    ["postgres", "postgresql", "postgis", "pgvector", "timescaledb", "timescaledb-ha"];
const REDIS: [&str; 3] = ["redis", "valkey", "redis-stack-server"];
const CHROMA: [&str; 1] = ["chroma"];
/// Databases that drctl does not read itself, and the program that dumps each.
const OTHERS: [(&str, &str); 5] = [
    ("mysql", "mysqldump --single-transaction --all-databases"),
    ("mariadb", "mariadb-dump --single-transaction --all-databases"),
    ("mongo", "mongodump --archive"),
    ("influxdb", "influx backup"),
    ("elasticsearch", "its snapshot API"),
];
/// Services that repeat another one.
const REPLICA: [&str; 5] = ["replica", "standby", "slave", "secondary", "follower"];
/// Mounts that are not the application's data.
const OF_THE_HOST: [&str; 8] = ["/var/run", "/run", "/etc", "/dev", "/proc", "/sys", "/tmp", "/usr"];

/// `found`: the SQLite databases in the directories of the host that services have.
pub(super) fn propose(compose: &ComposeFile, found: &BTreeMap<PathBuf, Vec<PathBuf>>) -> Proposal {
    let mut proposal = Proposal { system: name_of(&compose.name), ..Proposal::default() };
    let mut names = BTreeSet::from(["database".to_owned()]);
    for service in &compose.services {
        if is_of(service, &POSTGRES) {
            postgres(service, compose, &mut proposal, &mut names);
        } else if is_of(service, &REDIS) {
            redis(service, compose, &mut proposal, &mut names);
        } else if let Some((image, dump)) = OTHERS.iter().find(|(image, _)| is_of(service, &[*image])) {
            proposal.notes.push(format!(
                "Service `{}` ({image}) is not backed up: add a source of kind `command` that runs {dump}.",
                service.name
            ));
        }
    }
    if proposal.database.is_none() {
        proposal.notes.push("No service is a PostgreSQL database.".to_owned());
    }
    data(compose, found, &mut proposal, &mut names);
    configuration(compose, &mut proposal, &mut names);
    proposal
}

/// Compares the last part of the image's name.
fn is_of(service: &Service, images: &[&str]) -> bool {
    let last = service.image.rsplit('/').next().unwrap_or_default();
    images.contains(&last)
}

fn is_replica(service: &Service) -> bool {
    let text = service.name.to_lowercase();
    REPLICA.iter().any(|word| text.contains(word))
        || service.environment.get("POSTGRESQL_REPLICATION_MODE").is_some_and(|mode| mode.0 == "slave")
}

fn postgres(service: &Service, compose: &ComposeFile, proposal: &mut Proposal, names: &mut BTreeSet<String>) {
    if is_replica(service) {
        proposal.notes.push(format!(
            "Service `{}` is taken for a replica, which repeats every mistake and is no backup; base backups may be \
             read from it (`url` of the source's `base`).",
            service.name
        ));
        return;
    }
    let setting = |name: &str, other: &str| {
        service.setting(name, &compose.variables).or_else(|| service.setting(other, &compose.variables))
    };
    let user = setting("POSTGRES_USER", "POSTGRESQL_USERNAME").unwrap_or_else(|| "postgres".to_owned());
    let database = setting("POSTGRES_DB", "POSTGRESQL_DATABASE").unwrap_or_else(|| user.clone());
    let port = port(service, 5432, &mut proposal.notes);
    let mut url = match url::Url::parse(&format!("postgres://localhost:{port}")) {
        Ok(url) => url,
        Err(_) => return,
    };
    let _set = url.set_username(&user);
    url.set_path(&database);
    let secrets = [
        ("POSTGRES_PASSWORD", "POSTGRES_PASSWORD_FILE"),
        ("POSTGRESQL_PASSWORD", "POSTGRESQL_PASSWORD_FILE"),
    ];
    let password = secrets
        .into_iter()
        .find_map(|(name, file)| password(service, compose, name, file, &mut proposal.notes));
    if proposal.database.is_none() {
        (proposal.database, proposal.password) = (Some(url.to_string()), password);
        return;
    }
    let mut settings = vec![("kind", text("postgres")), ("url", text(url.as_str()))];
    settings.extend(password.map(|password| ("password", ProposedValue::Text(password))));
    let name = unique(&service.name, names);
    let remark = format!("Service `{}`.", service.name);
    proposal.sources.push(ProposedSource { name, remark, settings });
}

fn redis(service: &Service, compose: &ComposeFile, proposal: &mut Proposal, names: &mut BTreeSet<String>) {
    if is_replica(service) || service.command.contains("sentinel") {
        proposal.notes.push(format!("Service `{}` holds no data of its own.", service.name));
        return;
    }
    let port = port(service, 6379, &mut proposal.notes);
    let mut settings = vec![("kind", text("redis")), ("url", text(&format!("redis://localhost:{port}")))];
    let asked = service.command.split_whitespace().skip_while(|word| *word != "--requirepass").nth(1);
    let password = match asked {
        Some(word) => Some(by_reference(
            &Template(word.trim_matches(['"', '\'']).to_owned()),
            "REDIS_PASSWORD",
            service,
            &mut proposal.notes,
        )),
        None => password(service, compose, "REDIS_PASSWORD", "REDIS_PASSWORD_FILE", &mut proposal.notes),
    };
    settings.extend(password.map(|password| ("password", ProposedValue::Text(password))));
    let name = unique(&service.name, names);
    let remark = format!("Service `{}`.", service.name);
    proposal.sources.push(ProposedSource { name, remark, settings });
}

/// The port of the host; the container's own where none is published.
fn port(service: &Service, container: u16, notes: &mut Vec<String>) -> u16 {
    service.port(container).unwrap_or_else(|| {
        notes.push(format!(
            "Service `{}` publishes no port: add `ports: [\"127.0.0.1:{container}:{container}\"]` to it, so that this \
             host can reach it and no other.",
            service.name
        ));
        container
    })
}

/// Returns a reference to a password of the service.
fn password(
    service: &Service,
    compose: &ComposeFile,
    name: &str,
    file_name: &str,
    notes: &mut Vec<String>,
) -> Option<String> {
    if let Some(path) = service.setting(file_name, &compose.variables) {
        let secret = path.strip_prefix("/run/secrets/").and_then(|secret| compose.secrets.get(secret));
        if let Some(file) = secret {
            return Some(format!("file:{}", file.display()));
        }
    }
    if let Some(template) = service.environment.get(name) {
        return Some(by_reference(template, name, service, notes));
    }
    service.from_files.contains_key(name).then(|| {
        notes.push(format!(
            "`{name}` is in an `env_file` of service `{}`: set it for drctl, too, as with `set -a; . ./FILE; set +a`, or \
             systemd's `EnvironmentFile=`.",
            service.name
        ));
        format!("env:{name}")
    })
}

/// The password itself is in no policy.
fn by_reference(template: &Template, name: &str, service: &Service, notes: &mut Vec<String>) -> String {
    if let Some(variable) = template.variable() {
        notes.push(format!(
            "`{variable}` is a variable of the compose file: set it for drctl, too, as with `set -a; . ./.env; set +a`, or \
             systemd's `EnvironmentFile=`."
        ));
        return format!("env:{variable}");
    }
    let what = if template.has_variables() { "is put together" } else { "is written in clear" };
    notes.push(format!(
        "The password of service `{}` {what} in the compose file: set it for drctl as the environment variable `{name}`.",
        service.name
    ));
    format!("env:{name}")
}

/// Files of containers that are no databases: SQLite databases, directories of ChromaDB, and the rest as files.
fn data(
    compose: &ComposeFile,
    found: &BTreeMap<PathBuf, Vec<PathBuf>>,
    proposal: &mut Proposal,
    names: &mut BTreeSet<String>,
) {
    let mut seen = BTreeSet::new();
    for service in &compose.services {
        let is_database = is_of(service, &POSTGRES)
            || is_of(service, &REDIS)
            || OTHERS.iter().any(|(image, _)| is_of(service, &[*image]));
        for mount in &service.mounts {
            if is_database || is_of_host(mount, compose) || !seen.insert(mount.path.clone()) {
                continue;
            }
            let is_code = compose.directory().starts_with(&mount.path);
            if is_code || mount.path.is_file() {
                continue;
            }
            if is_of(service, &CHROMA) {
                chroma(service, &mount.path, proposal, names);
                continue;
            }
            let inside = found.get(&mount.path).map(Vec::as_slice).unwrap_or_default();
            let excluded = databases(inside, service, proposal, names);
            if mount.is_read_only {
                continue;
            }
            let what = mount.volume.clone().unwrap_or_else(|| {
                mount.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
            });
            let mut settings = vec![
                ("kind", text("files")),
                ("paths", ProposedValue::List(vec![mount.path.display().to_string()])),
            ];
            if !excluded.is_empty() {
                settings.push(("exclude", ProposedValue::List(excluded)));
            }
            let remark = format!("What service `{}` has at `{}`.", service.name, mount.target);
            let name = unique(&what, names);
            proposal.sources.push(ProposedSource { name, remark, settings });
        }
    }
}

fn is_of_host(mount: &Mount, compose: &ComposeFile) -> bool {
    mount.volume.is_none()
        && !mount.path.starts_with(compose.directory())
        && OF_THE_HOST.iter().any(|directory| mount.path.starts_with(directory))
}

/// Returns the globs of what the sources for the databases leave to them.
fn databases(
    inside: &[PathBuf],
    service: &Service,
    proposal: &mut Proposal,
    names: &mut BTreeSet<String>,
) -> Vec<String> {
    let mut excluded = Vec::new();
    for path in inside {
        let directory = path.parent().unwrap_or(Path::new("/"));
        if path.file_name().is_some_and(|name| name == "chroma.sqlite3") {
            chroma(service, directory, proposal, names);
            excluded.push(format!("{}/**", directory.display()));
            continue;
        }
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        proposal.sources.push(ProposedSource {
            name: unique(&stem, names),
            remark: format!("A SQLite database of service `{}`.", service.name),
            settings: vec![("kind", text("sqlite")), ("path", text(&path.display().to_string()))],
        });
        // With its write-ahead log beside it.
        excluded.push(format!("{}*", path.display()));
    }
    excluded
}

fn chroma(service: &Service, directory: &Path, proposal: &mut Proposal, names: &mut BTreeSet<String>) {
    proposal.sources.push(ProposedSource {
        name: unique("embeddings", names),
        remark: format!("ChromaDB of service `{}`.", service.name),
        settings: vec![("kind", text("chroma")), ("path", text(&directory.display().to_string()))],
    });
}

/// The compose file, what it reads, and single files that containers have.
fn configuration(compose: &ComposeFile, proposal: &mut Proposal, names: &mut BTreeSet<String>) {
    let mut files = BTreeSet::from([compose.path.clone()]);
    files.extend(compose.files.iter().filter(|file| file.exists()).cloned());
    let env = compose.directory().join(".env");
    if env.exists() {
        files.insert(env);
    }
    let mounts = compose.services.iter().flat_map(|service| &service.mounts);
    let single = mounts.filter(|mount| mount.path.is_file() && !is_of_host(mount, compose));
    files.extend(single.map(|mount| mount.path.clone()));
    let paths = files.iter().map(|file| file.display().to_string()).collect();
    proposal.sources.push(ProposedSource {
        name: unique("configuration", names),
        remark: "The compose file, its variables and secrets: encrypted like everything else.".to_owned(),
        settings: vec![("kind", text("files")), ("paths", ProposedValue::List(paths))],
    });
    if compose.directory().join(".git").exists() {
        proposal.sources.push(ProposedSource {
            name: unique("code", names),
            remark: "What is committed here, every branch and tag.".to_owned(),
            settings: vec![
                ("kind", text("git")),
                ("remote", text(&compose.directory().display().to_string())),
            ],
        });
    }
}

fn text(text: &str) -> ProposedValue {
    ProposedValue::Text(text.to_owned())
}

/// Returns a valid name for a system or source: lower case, digits and `-`.
fn name_of(text: &str) -> Option<String> {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = text.chars().map(plain).collect();
    let name: String = name.trim_matches('-').chars().take(40).collect();
    let name = name.trim_end_matches('-');
    (!name.is_empty()).then(|| name.to_owned())
}

/// Returns a name that no other source has.
fn unique(text: &str, names: &mut BTreeSet<String>) -> String {
    let name = name_of(text).unwrap_or_else(|| "data".to_owned());
    let base: String = name.chars().take(36).collect();
    let mut candidates =
        std::iter::once(name.clone()).chain((2..).map(|n| format!("{}-{n}", base.trim_end_matches('-'))));
    let free =
        candidates.find(|name| !names.contains(name) && !["journal", "leases"].contains(&name.as_str()));
    let name = free.unwrap_or(name);
    names.insert(name.clone());
    name
}

#[cfg(test)]
mod tests {
    use super::super::file::tests::compose;
    use super::*;

    const ASSISTANT: &str = r#"
services:
  db:
    image: postgres:15
    ports: ["127.0.0.1:5432:5432"]
    environment:
      POSTGRES_USER: assistant
      POSTGRES_PASSWORD: ${DB_PASSWORD}
    volumes: ["pgdata:/var/lib/postgresql/data"]
  db-replica:
    image: postgres:15
    ports: ["127.0.0.1:5433:5432"]
  cache:
    image: redis:7-alpine
    command: redis-server --requirepass "hunter2"
    volumes: ["redis:/data"]
  api:
    build: .
    volumes:
      - uploads:/app/uploads
      - .:/app
      - /var/run/docker.sock:/var/run/docker.sock
      - ./data:/app/data
  queue:
    image: mongo:7
volumes: {pgdata: , redis: , uploads: }
"#;

    #[test]
    fn an_application_in_docker_compose_is_recognised_whole() {
        let compose = compose(ASSISTANT, "DB_PASSWORD=s3cret\n");
        let data = PathBuf::from("/srv/shop/data");
        let databases = ["/srv/shop/data/app.db", "/srv/shop/data/chroma/chroma.sqlite3"];
        let found = BTreeMap::from([(data, databases.map(PathBuf::from).into())]);
        let proposal = propose(&compose, &found);
        assert_eq!(proposal.system.as_deref(), Some("shop"));
        assert_eq!(proposal.database.as_deref(), Some("postgres://assistant@localhost:5432/assistant"));
        assert_eq!(proposal.password.as_deref(), Some("env:DB_PASSWORD"));
        let named: Vec<(&str, &str)> = proposal
            .sources
            .iter()
            .map(|source| match &source.settings[0].1 {
                ProposedValue::Text(kind) => (source.name.as_str(), kind.as_str()),
                ProposedValue::List(_) => panic!("the first setting is the kind"),
            })
            .collect();
        assert_eq!(
            named,
            [
                ("cache", "redis"),
                ("uploads", "files"),
                ("app", "sqlite"),
                ("embeddings", "chroma"),
                ("data", "files"),
                ("configuration", "files"),
            ]
        );
        let all = format!("{proposal:?}");
        assert!(!all.contains("hunter2") && !all.contains("s3cret"), "{all}");
        let notes = proposal.notes.join("\n");
        for said in [
            "`DB_PASSWORD` is a variable",
            "`db-replica` is taken for a replica",
            "`cache` publishes no port",
            "mongodump",
        ] {
            assert!(notes.contains(said), "{said}: {notes}");
        }
        let data = proposal.sources.iter().find(|source| source.name == "data").unwrap();
        let globs = ["/srv/shop/data/app.db*", "/srv/shop/data/chroma/**"].map(str::to_owned).to_vec();
        assert!(data.settings.contains(&("exclude", ProposedValue::List(globs))));
    }

    #[test]
    fn a_secret_in_a_file_is_a_reference_to_the_file() {
        let compose = compose(
            "services:\n  db:\n    image: pgvector/pgvector:pg16\n    ports: ['5432:5432']\n    environment:\n      \
             POSTGRES_DB: shop\n      POSTGRES_PASSWORD_FILE: /run/secrets/db\nsecrets:\n  db: {file: ./db.txt}\n",
            "",
        );
        let proposal = propose(&compose, &BTreeMap::new());
        assert_eq!(proposal.database.as_deref(), Some("postgres://postgres@localhost:5432/shop"));
        assert_eq!(proposal.password.as_deref(), Some("file:/srv/shop/db.txt"));
        assert_eq!(proposal.notes, Vec::<String>::new());
    }

    #[test]
    fn names_are_valid_and_each_its_own() {
        let mut names = BTreeSet::new();
        assert_eq!(unique("My_App Data!", &mut names), "my-app-data");
        assert_eq!(unique("my-app-data", &mut names), "my-app-data-2");
        assert_eq!(unique("journal", &mut names), "journal-2");
        assert_eq!(unique("…", &mut names), "data");
        assert_eq!(unique(&"x".repeat(60), &mut names).len(), 40);
        assert!(unique(&"x".repeat(60), &mut names).len() <= 40);
    }
}
