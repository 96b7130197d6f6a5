//! The parts of a compose file that matter for backups, in its short and long forms.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::ComposeError;
use super::interpolate::{Template, parse_env};

/// A compose file, with its variables' values.
#[derive(Debug, Default)]
pub(super) struct ComposeFile {
    pub(super) path: PathBuf,
    /// The project's name: of the file, or of its directory.
    pub(super) name: String,
    pub(super) services: Vec<Service>,
    /// Files of secrets, by name.
    pub(super) secrets: BTreeMap<String, PathBuf>,
    /// Files of configurations and of environments, beside the file itself.
    pub(super) files: Vec<PathBuf>,
    /// The files that are named and not there.
    pub(super) variables: BTreeMap<String, String>,
}

/// A container.
#[derive(Debug, Default)]
pub(super) struct Service {
    pub(super) name: String,
    /// Without registry and tag: `postgres`, `redis`, `pgvector/pgvector`.
    pub(super) image: String,
    pub(super) environment: BTreeMap<String, Template>,
    /// Names that its `env_file`s set.
    pub(super) from_files: BTreeMap<String, String>,
    pub(super) ports: Vec<PublishedPort>,
    pub(super) mounts: Vec<Mount>,
    pub(super) command: String,
}

/// A port of the container that the host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PublishedPort {
    pub(super) host: u16,
    pub(super) container: u16,
}

/// Something of the host in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// A path of the host; of a named volume, Docker's directory of it.
    pub(super) path: PathBuf,
    /// The volume's name.
    pub(super) volume: Option<String>,
    pub(super) target: String,
    pub(super) is_read_only: bool,
}

impl ComposeFile {
    pub(super) fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// Returns the directories that services write to, each once.
    pub(super) fn host_directories(&self) -> Vec<PathBuf> {
        let mounts = self.services.iter().flat_map(|service| &service.mounts);
        let mut paths: Vec<PathBuf> =
            mounts.filter(|mount| mount.path.is_dir()).map(|mount| mount.path.clone()).collect();
        paths.sort();
        paths.dedup();
        paths
    }
}

impl Service {
    /// Returns a variable of the container, with its variables replaced.
    pub(super) fn setting(&self, name: &str, variables: &BTreeMap<String, String>) -> Option<String> {
        match self.environment.get(name) {
            Some(template) => template.resolve(variables),
            None => self.from_files.get(name).cloned(),
        }
    }

    pub(super) fn port(&self, container: u16) -> Option<u16> {
        self.ports.iter().find(|port| port.container == container).map(|port| port.host)
    }
}

pub(super) fn read(path: &Path) -> Result<ComposeFile, ComposeError> {
    let failed = |source| ComposeError::Read { path: path.to_owned(), source };
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    let env = std::fs::read_to_string(directory.join(".env")).unwrap_or_default();
    parse(path, &text, &env)
}

/// `env`: the text of the `.env` beside it.
fn parse(path: &Path, text: &str, env: &str) -> Result<ComposeFile, ComposeError> {
    let value: Value = serde_saphyr::from_str(text).map_err(|error| ComposeError::NotYaml {
        path: path.to_owned(),
        line: error.location().map(|at| at.line()),
    })?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    let mut variables = parse_env(env);
    let Some(services) = value.get("services").and_then(Value::as_object).filter(|all| !all.is_empty())
    else {
        return Err(ComposeError::NoServices { path: path.to_owned() });
    };
    let resolve =
        |text: &str, variables: &BTreeMap<String, String>| Template(text.to_owned()).resolve(variables);
    let name = value.get("name").and_then(Value::as_str).and_then(|name| resolve(name, &variables));
    let name = name.or_else(|| variables.get("COMPOSE_PROJECT_NAME").cloned());
    let name = name.unwrap_or_else(|| {
        directory.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    });
    variables.entry("COMPOSE_PROJECT_NAME".to_owned()).or_insert_with(|| name.clone());
    let mut compose = ComposeFile { path: path.to_owned(), name, variables, ..ComposeFile::default() };
    let external: BTreeMap<&str, &str> = value
        .get("volumes")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(key, volume)| Some((key.as_str(), volume.get("name")?.as_str()?)))
        .collect();
    for section in ["secrets", "configs"] {
        for (key, entry) in value.get(section).and_then(Value::as_object).into_iter().flatten() {
            let Some(file) = entry.get("file").and_then(Value::as_str) else { continue };
            let Some(file) = resolve(file, &compose.variables) else { continue };
            let file = below(directory, &file);
            if section == "secrets" {
                compose.secrets.insert(key.clone(), file.clone());
            }
            compose.files.push(file);
        }
    }
    for (name, entry) in services {
        let service = service(name, entry, directory, &mut compose, &external);
        compose.services.push(service);
    }
    compose.files.sort();
    compose.files.dedup();
    Ok(compose)
}

fn service(
    name: &str,
    entry: &Value,
    directory: &Path,
    compose: &mut ComposeFile,
    external: &BTreeMap<&str, &str>,
) -> Service {
    let resolve = |text: &str| Template(text.to_owned()).resolve(&compose.variables);
    let text = |key: &str| entry.get(key).and_then(Value::as_str).and_then(resolve);
    let mut service = Service {
        name: name.to_owned(),
        image: image_name(&text("image").unwrap_or_default()),
        command: words(entry.get("command")).join(" "),
        ..Service::default()
    };
    for (key, value) in pairs(entry.get("environment")) {
        service.environment.insert(key, Template(value));
    }
    let ports = entry.get("ports").and_then(Value::as_array).into_iter().flatten();
    service.ports = ports.filter_map(|port| published(port, &resolve)).collect();
    let mounts = entry.get("volumes").and_then(Value::as_array).into_iter().flatten();
    let docker = |volume: &str| {
        let named = external.get(volume).map(|name| (*name).to_owned());
        let named = named.unwrap_or_else(|| format!("{}_{volume}", compose.name));
        Path::new("/var/lib/docker/volumes").join(named).join("_data")
    };
    service.mounts = mounts.filter_map(|mount| mounted(mount, directory, &resolve, &docker)).collect();
    let files: Vec<PathBuf> = env_files(entry.get("env_file"))
        .iter()
        .filter_map(|file| resolve(file))
        .map(|file| below(directory, &file))
        .collect();
    for file in files {
        if let Ok(text) = std::fs::read_to_string(&file) {
            service.from_files.extend(parse_env(&text));
        }
        compose.files.push(file);
    }
    service
}

/// `docker.io/library/postgres:15-alpine@sha256:…` is `postgres`.
fn image_name(image: &str) -> String {
    let image = image.split('@').next().unwrap_or(image);
    let mut parts: Vec<&str> = image.split('/').collect();
    if parts.len() > 1 && parts.first().is_some_and(|host| host.contains(['.', ':']) || *host == "localhost")
    {
        parts.remove(0);
    }
    if parts.len() > 1 && parts.first() == Some(&"library") {
        parts.remove(0);
    }
    let name = parts.join("/");
    name.split(':').next().unwrap_or_default().to_owned()
}

/// Returns a path relative to the compose file, without `.` in it.
fn below(directory: &Path, path: impl AsRef<Path>) -> PathBuf {
    let path = directory.join(path);
    path.components().filter(|part| *part != std::path::Component::CurDir).collect()
}

fn words(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(all)) => all.iter().filter_map(scalar).collect(),
        _ => vec![],
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// A mapping, or a list of `NAME=value`; a name alone is passed on from the environment.
fn pairs(value: Option<&Value>) -> Vec<(String, String)> {
    match value {
        Some(Value::Object(all)) => all
            .iter()
            .map(|(key, value)| (key.clone(), scalar(value).unwrap_or_else(|| format!("${{{key}}}"))))
            .collect(),
        Some(Value::Array(all)) => all
            .iter()
            .filter_map(scalar)
            .map(|line| match line.split_once('=') {
                Some((key, value)) => (key.to_owned(), value.to_owned()),
                None => (line.clone(), format!("${{{line}}}")),
            })
            .collect(),
        _ => vec![],
    }
}

fn env_files(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::Array(all)) => all
            .iter()
            .filter_map(|file| file.as_str().or_else(|| file.get("path")?.as_str()))
            .map(str::to_owned)
            .collect(),
        other => words(other),
    }
}

fn published(port: &Value, resolve: &impl Fn(&str) -> Option<String>) -> Option<PublishedPort> {
    if let Value::Object(_) = port {
        let number = |key: &str| scalar(port.get(key)?).and_then(|text| resolve(&text))?.parse().ok();
        return Some(PublishedPort { host: number("published")?, container: number("target")? });
    }
    let text = resolve(&scalar(port)?)?;
    let text = text.split('/').next().unwrap_or_default();
    let mut parts = text.rsplit(':');
    let (container, host) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some(PublishedPort { host, container })
}

fn mounted(
    mount: &Value,
    directory: &Path,
    resolve: &impl Fn(&str) -> Option<String>,
    docker: &impl Fn(&str) -> PathBuf,
) -> Option<Mount> {
    let (source, target, is_read_only) = if let Value::Object(_) = mount {
        let text = |key: &str| mount.get(key).and_then(Value::as_str).and_then(resolve);
        if !matches!(text("type").as_deref(), Some("bind" | "volume") | None) {
            return None;
        }
        let is_read_only = mount.get("read_only").and_then(Value::as_bool).unwrap_or_default();
        (text("source")?, text("target")?, is_read_only)
    } else {
        let text = resolve(mount.as_str()?)?;
        let parts: Vec<&str> = text.split(':').collect();
        match parts[..] {
            [source, target] => (source.to_owned(), target.to_owned(), false),
            [source, target, mode] => {
                (source.to_owned(), target.to_owned(), mode.split(',').any(|word| word == "ro"))
            }
            _ => return None,
        }
    };
    let is_path = source.starts_with(['/', '.', '~']);
    let path = match is_path {
        true => below(directory, &crate::platform::expand_home(Path::new(&source)).ok()?),
        false => docker(&source),
    };
    Some(Mount { path, volume: (!is_path).then_some(source), target, is_read_only })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::init::compose) fn compose(text: &str, env: &str) -> ComposeFile {
        parse(Path::new("/srv/shop/docker-compose.yml"), text, env).unwrap()
    }

    #[test]
    fn short_and_long_forms_say_the_same() {
        let short = compose(
            "services:\n  db:\n    image: docker.io/library/postgres:15-alpine\n    ports: ['127.0.0.1:5433:5432']\n    \
             environment: [POSTGRES_USER=app, POSTGRES_PASSWORD]\n    volumes: ['./data:/data:ro', 'pg:/var/lib/postgresql/data']\n",
            "",
        );
        let long = compose(
            "name: shop\nservices:\n  db:\n    image: postgres\n    ports: [{target: 5432, published: '5433', host_ip: 127.0.0.1}]\n    \
             environment: {POSTGRES_USER: app, POSTGRES_PASSWORD: }\n    volumes:\n      - {type: bind, source: ./data, target: /data, read_only: true}\n      \
             - {type: volume, source: pg, target: /var/lib/postgresql/data}\n",
            "",
        );
        for compose in [short, long] {
            let service = &compose.services[0];
            assert_eq!((compose.name.as_str(), service.image.as_str()), ("shop", "postgres"));
            assert_eq!(service.port(5432), Some(5433));
            assert_eq!(service.environment["POSTGRES_PASSWORD"].variable(), Some("POSTGRES_PASSWORD"));
            let paths: Vec<_> = service.mounts.iter().map(|mount| mount.path.to_str().unwrap()).collect();
            assert_eq!(paths, ["/srv/shop/data", "/var/lib/docker/volumes/shop_pg/_data"]);
            assert!(service.mounts[0].is_read_only && !service.mounts[1].is_read_only);
        }
    }

    #[test]
    fn what_is_no_compose_file_is_refused_without_a_word_of_it() {
        let path = Path::new("/srv/shop/docker-compose.yml");
        for text in ["a: b", "services: {}", "[]", "", "services:\n  a: [hunter2\n  b: }"] {
            let error = parse(path, text, "").unwrap_err().to_string();
            assert!(error.contains("docker-compose.yml") && !error.contains("hunter2"), "{error}");
        }
    }
}
