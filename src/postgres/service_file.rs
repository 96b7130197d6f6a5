//! libpq's service file (`pg_service.conf`): parameters of a connection under a name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::ConnectError;

/// Where packages of libpq look for the system's file: Debian's, and those of the PGDG for Red Hat.
pub(super) const SYSTEM_DIRECTORIES: [&str; 2] = ["/etc/postgresql-common", "/etc/sysconfig/pgsql"];

/// A service, as defined in its file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) parameters: BTreeMap<String, String>,
}

/// The files that a service is looked up in, the user's before the system's.
#[derive(Clone, Debug, Default)]
pub(super) struct ServiceFiles {
    pub(super) own: Option<PathBuf>,
    /// Whether `PGSERVICEFILE` names it, so that it has to exist.
    pub(super) is_own_named: bool,
    pub(super) system: Vec<PathBuf>,
}

impl ServiceFiles {
    pub(super) fn read(&self, name: &str) -> Result<Service, ConnectError> {
        let system = self.system.iter().map(|path| (path, false));
        for (path, must_exist) in self.own.iter().map(|path| (path, self.is_own_named)).chain(system) {
            let text = match std::fs::read_to_string(path) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => continue,
                Err(source) => return Err(ConnectError::ServiceFile { path: path.clone(), source }),
            };
            if let Some(service) = find(name, &text, path)? {
                return Ok(service);
            }
        }
        let files: Vec<String> =
            self.own.iter().chain(&self.system).map(|path| path.display().to_string()).collect();
        Err(ConnectError::NoService { name: name.to_owned(), files: files.join(", ") })
    }
}

/// Returns the service of that name. As in libpq, the first group with the name is used, and whitespace is
/// significant.
fn find(name: &str, text: &str, path: &Path) -> Result<Option<Service>, ConnectError> {
    let wrong =
        |line: usize, reason| ConnectError::ServiceLine { path: path.to_owned(), line: line + 1, reason };
    let mut found: Option<Service> = None;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(group) = line.strip_prefix('[') {
            if found.is_some() {
                break;
            }
            let is_it = group.strip_prefix(name).is_some_and(|rest| rest.starts_with(']'));
            found = is_it.then(|| Service { name: name.to_owned(), ..Service::default() });
            continue;
        }
        let Some(service) = &mut found else { continue };
        if line.starts_with("ldap") {
            return Err(wrong(number, "drctl does not look services up by LDAP"));
        }
        let (key, value) = line.split_once('=').ok_or_else(|| wrong(number, "it is not `keyword=value`"))?;
        if matches!(key, "service" | "servicefile") {
            return Err(wrong(number, "a service cannot name another service"));
        }
        service.parameters.entry(key.to_owned()).or_insert_with(|| value.to_owned());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
# services
[shop-old]
host=old
[shop]
host=db.example.com
  port=6432  

host=second
[shop]
host=third
[broken]
host
[chained]
service=shop
[directory]
ldap://ldap.example.com/dc=example
";

    fn read(name: &str) -> Result<Option<Service>, ConnectError> {
        find(name, FILE, Path::new("/etc/pg_service.conf"))
    }

    #[test]
    fn the_first_group_of_a_name_is_the_service() {
        let service = read("shop").unwrap().unwrap();
        let parameters: Vec<(&str, &str)> =
            service.parameters.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(parameters, [("host", "db.example.com"), ("port", "6432")]);
        assert_eq!(read("sho").unwrap(), None);
    }

    #[test]
    fn what_is_not_understood_is_reported_with_its_line() {
        for (name, line) in [("broken", ":12:"), ("chained", ":14:"), ("directory", ":16:")] {
            let error = read(name).unwrap_err().to_string();
            assert!(error.contains(&format!("/etc/pg_service.conf{line}")), "{error}");
        }
    }

    #[test]
    fn the_users_file_goes_before_the_systems_and_a_named_one_has_to_exist() {
        let folder = tempfile::tempdir().unwrap();
        let (own, system) = (folder.path().join("own"), folder.path().join("system"));
        std::fs::write(&system, "[both]\nhost=system\n[only]\nhost=system\n").unwrap();
        let files = |is_own_named| ServiceFiles {
            own: Some(own.clone()),
            is_own_named,
            system: vec![system.clone()],
        };
        let host = |name: &str| files(false).read(name).map(|service| service.parameters["host"].clone());
        assert_eq!(host("both").unwrap(), "system");
        assert!(matches!(files(true).read("both"), Err(ConnectError::ServiceFile { .. })));
        std::fs::write(&own, "[both]\nhost=own\n").unwrap();
        assert_eq!((host("both").unwrap().as_str(), host("only").unwrap().as_str()), ("own", "system"));
        let error = host("none").unwrap_err().to_string();
        assert!(error.contains("`none`") && error.contains("system"), "{error}");
    }
}
