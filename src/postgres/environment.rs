//! libpq's environment variables, and how drctl treats each of them.
//!
//! *Invariants.* One table applies to drctl's own sessions and to its child processes. A variable that psql
//! obeys applies to both, or is rejected by name before any connection is made; it reaches a child process
//! only as resolved by [`super::ConnectionParameters`].

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::ConnectError;
use super::service_file::{SYSTEM_DIRECTORIES, Service, ServiceFiles};

/// How a variable is treated.
#[derive(Clone, Copy)]
enum Meaning {
    /// A connection parameter, used where the URL does not have it.
    Parameter(&'static str),
    /// Supported by libpq only, under this keyword: only these values, which have no effect, are accepted.
    Only(&'static str, &'static [&'static str], &'static str),
    /// Both sqlx and libpq read it, with the same result.
    Shared,
    /// It affects neither which server is reached nor how it is verified: drctl sets its own.
    Own,
}

use Meaning::{Only, Own, Parameter, Shared};

const NOTHING: &[&str] = &[];
const UNSET: &str = "leave it out for drctl";
const VERIFY: &str =
    "leave it out for drctl, and verify the server by its certificate instead (`sslmode=verify-full`)";
const ONE_SERVER: &str = "leave it out for drctl, and name the one server that backups are taken from";
/// Names a group of parameters in the service file.
pub(super) const SERVICE: &str = "service";
const SERVICE_FILE: &str = "servicefile";
const SYSTEM_DIRECTORY: &str = "sysconfdir";

/// Every variable read by libpq 18 or an older version.
static VARIABLES: [(&str, Meaning); 43] = [
    ("PGHOST", Parameter("host")),
    ("PGHOSTADDR", Parameter("hostaddr")),
    ("PGPORT", Parameter("port")),
    ("PGDATABASE", Parameter("dbname")),
    ("PGUSER", Parameter("user")),
    ("PGPASSWORD", Shared),
    ("PGPASSFILE", Shared),
    ("PGOPTIONS", Parameter("options")),
    ("PGAPPNAME", Parameter("application_name")),
    ("PGCONNECT_TIMEOUT", Parameter("connect_timeout")),
    ("PGSSLMODE", Parameter("sslmode")),
    ("PGREQUIRESSL", Parameter("requiressl")),
    ("PGSSLROOTCERT", Parameter("sslrootcert")),
    ("PGSSLCERT", Parameter("sslcert")),
    ("PGSSLKEY", Parameter("sslkey")),
    ("PGSERVICE", Parameter(SERVICE)),
    ("PGREQUIREAUTH", Only("require_auth", NOTHING, UNSET)),
    ("PGCHANNELBINDING", Only("channel_binding", &["disable", "prefer"], VERIFY)),
    ("PGREQUIREPEER", Only("requirepeer", NOTHING, UNSET)),
    ("PGSSLNEGOTIATION", Only("sslnegotiation", &["postgres"], UNSET)),
    ("PGSSLCERTMODE", Only("sslcertmode", &["allow"], UNSET)),
    ("PGSSLCRL", Only("sslcrl", NOTHING, UNSET)),
    ("PGSSLCRLDIR", Only("sslcrldir", NOTHING, UNSET)),
    ("PGSSLSNI", Only("sslsni", &["1"], UNSET)),
    // drctl's own sessions support these two versions.
    ("PGSSLMINPROTOCOLVERSION", Only("ssl_min_protocol_version", &["TLSv1", "TLSv1.1", "TLSv1.2"], UNSET)),
    ("PGSSLMAXPROTOCOLVERSION", Only("ssl_max_protocol_version", &["TLSv1.3"], UNSET)),
    ("PGGSSENCMODE", Only("gssencmode", &["disable", "prefer"], UNSET)),
    ("PGTARGETSESSIONATTRS", Only("target_session_attrs", &["any"], ONE_SERVER)),
    ("PGLOADBALANCEHOSTS", Only("load_balance_hosts", &["disable"], ONE_SERVER)),
    ("PGMINPROTOCOLVERSION", Only("min_protocol_version", &["3.0"], UNSET)),
    ("PGMAXPROTOCOLVERSION", Only("max_protocol_version", &["3.0", "3.2", "latest"], UNSET)),
    ("PGSERVICEFILE", Parameter(SERVICE_FILE)),
    ("PGSYSCONFDIR", Parameter(SYSTEM_DIRECTORY)),
    ("PGSSLCOMPRESSION", Own),
    // Neither uses GSSAPI: `PGGSSENCMODE` is set for child processes.
    ("PGKRBSRVNAME", Own),
    ("PGGSSLIB", Own),
    ("PGGSSDELEGATION", Own),
    ("PGREALM", Own),
    ("PGCLIENTENCODING", Own),
    ("PGDATESTYLE", Own),
    ("PGTZ", Own),
    ("PGGEQO", Own),
    ("PGLOCALEDIR", Shared),
];

/// Returns the names of variables that child processes do not inherit.
pub(super) fn kept_from_children() -> impl Iterator<Item = &'static str> {
    VARIABLES.iter().filter(|(_, meaning)| !matches!(meaning, Shared)).map(|(name, _)| *name)
}

/// The variables that are set, as far as they are connection parameters.
#[derive(Clone, Debug, Default)]
pub(super) struct Environment {
    /// By keyword: the variable's name and value.
    parameters: BTreeMap<&'static str, (&'static str, String)>,
    /// The directory with libpq's default certificate files.
    home: Option<PathBuf>,
}

impl Environment {
    /// Reads the environment of this process.
    pub(super) fn of_process() -> Result<Self, ConnectError> {
        let mut found = Vec::new();
        for (name, _) in &VARIABLES {
            let name = *name;
            let Some(value) = std::env::var_os(name) else { continue };
            let value = value.into_string().map_err(|_| ConnectError::VariableEncoding(name))?;
            found.push((name, value));
        }
        let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
        Ok(Self { home, ..Self::from_variables(found)? })
    }

    /// Creates an environment with these variables. An empty one counts as unset.
    pub(super) fn from_variables(
        variables: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Result<Self, ConnectError> {
        let mut parameters = BTreeMap::new();
        for (name, value) in variables.into_iter().filter(|(_, value)| !value.is_empty()) {
            let meaning = VARIABLES.iter().find(|(known, _)| *known == name).map(|(_, meaning)| *meaning);
            match meaning {
                Some(Parameter(keyword)) => {
                    parameters.insert(keyword, (name, value));
                }
                Some(Only(_, accepted, remedy)) if !is_among(accepted, &value) => {
                    return Err(ConnectError::Variable { name, value, remedy });
                }
                _ => {}
            }
        }
        Ok(Self { parameters, home: None })
    }

    /// Returns the name of the variable and the value of a parameter.
    pub(super) fn parameter(&self, keyword: &str) -> Option<(&'static str, &str)> {
        self.parameters.get(keyword).map(|(name, value)| (*name, value.as_str()))
    }

    /// Looks up a service in the files that libpq would read.
    pub(super) fn service(&self, name: &str) -> Result<Service, ConnectError> {
        let named = self.parameter(SERVICE_FILE).map(|(_, path)| PathBuf::from(path));
        let own = named.clone().or_else(|| Some(self.home.as_ref()?.join(".pg_service.conf")));
        let system = match self.parameter(SYSTEM_DIRECTORY) {
            Some((_, directory)) => vec![PathBuf::from(directory)],
            None => SYSTEM_DIRECTORIES.iter().map(PathBuf::from).collect(),
        };
        let files = ServiceFiles {
            is_own_named: named.is_some(),
            own,
            system: system.iter().map(|directory| directory.join("pg_service.conf")).collect(),
        };
        files.read(name)
    }

    /// Returns a file that libpq uses by default.
    pub(super) fn default_file(&self, name: &str) -> Option<PathBuf> {
        Some(self.home.as_ref()?.join(".postgresql").join(name)).filter(|path| path.exists())
    }
}

fn is_among(accepted: &[&str], value: &str) -> bool {
    accepted.iter().any(|one| one.eq_ignore_ascii_case(value))
}

/// Returns whether a parameter supported by libpq only has no effect with this value, and a hint where it
/// has; `None` for other parameters.
pub(super) fn only_libpq(keyword: &str, value: &str) -> Option<Result<(), &'static str>> {
    VARIABLES.iter().find_map(|(_, meaning)| match meaning {
        Only(known, accepted, remedy) if *known == keyword => {
            Some(if is_among(accepted, value) { Ok(()) } else { Err(*remedy) })
        }
        _ => None,
    })
}

#[cfg(test)]
impl Environment {
    pub(super) fn for_test(variables: &[(&'static str, &str)]) -> Result<Self, ConnectError> {
        Self::from_variables(variables.iter().map(|(name, value)| (*name, (*value).to_owned())))
    }

    pub(super) fn at_home(mut self, home: &std::path::Path) -> Self {
        self.home = Some(home.to_owned());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_libpq_can_do_is_refused_by_its_name() {
        let refused = [
            ("PGREQUIREAUTH", "scram-sha-256"),
            ("PGCHANNELBINDING", "require"),
            ("PGREQUIREPEER", "postgres"),
            ("PGSSLNEGOTIATION", "direct"),
            ("PGSSLCERTMODE", "require"),
            ("PGSSLCRL", "/etc/revoked.pem"),
            ("PGSSLCRLDIR", "/etc/revoked"),
            ("PGSSLSNI", "0"),
            ("PGSSLMINPROTOCOLVERSION", "TLSv1.3"),
            ("PGSSLMAXPROTOCOLVERSION", "TLSv1.2"),
            ("PGGSSENCMODE", "require"),
            ("PGTARGETSESSIONATTRS", "read-write"),
            ("PGLOADBALANCEHOSTS", "random"),
            ("PGMINPROTOCOLVERSION", "3.2"),
        ];
        for (name, value) in refused {
            let error = Environment::for_test(&[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(&format!("`{name}={value}`")), "{error}");
        }
        let harmless = [
            ("PGSERVICE", ""),
            ("PGCHANNELBINDING", "prefer"),
            ("PGSSLMINPROTOCOLVERSION", "tlsv1.2"),
            ("PGGSSENCMODE", "prefer"),
            ("PGTARGETSESSIONATTRS", "any"),
            ("PGTZ", "Europe/Zurich"),
        ];
        Environment::for_test(&harmless).unwrap();
    }

    #[test]
    fn no_variable_is_in_the_table_twice() {
        let names: std::collections::BTreeSet<&str> = VARIABLES.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.len(), VARIABLES.len());
    }
}
