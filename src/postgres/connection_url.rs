//! Connection parameters from a database URL, libpq's service file and its environment variables, in this
//! order of precedence.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use sqlx::postgres::PgConnectOptions;
use url::Url;

use super::environment::{Environment, SERVICE, only_libpq};
use super::parameters::SYSTEM;
use super::service_file::Service;
use super::{ConnectError, ConnectionParameters, Password, SslMode};
use crate::aws::rds::TokenSigner;
use crate::policy::{self, PostgresSource};

const APPLICATION: &str = "drctl";
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
const CONNECT_AT_LEAST: Duration = Duration::from_secs(2);
const CONNECT_AT_MOST: Duration = Duration::from_secs(600);
/// Debian's directory of the server's socket, and so libpq's default there.
const SOCKET_DIRECTORY: &str = "/var/run/postgresql";
/// The name of the URL in messages.
const URL: &str = "the URL of the database";
impl ConnectionParameters {
    /// Returns the connection parameters of a source in the policy, with its secrets resolved.
    pub async fn resolve(source: &PostgresSource) -> Result<Self, ConnectError> {
        let mut parameters = match (&source.url, &source.url_ref) {
            (_, Some(reference)) => {
                let text = reference.resolve().await.map_err(ConnectError::UrlSecret)?;
                Self::from_text(text.expose_secret())?
            }
            (Some(url), None) => Self::from_url(url)?,
            (None, None) => return Err(ConnectError::NoDatabase),
        };
        match &source.password {
            Some(policy::PasswordSource::Secret(reference)) => {
                let password = reference.resolve().await.map_err(ConnectError::Password)?;
                parameters.password = Some(Password::Known(password));
            }
            Some(policy::PasswordSource::IamToken(place)) => {
                let signer = TokenSigner::load(place).await.map_err(ConnectError::Signer)?;
                parameters.password = Some(Password::IamToken(Box::new(signer)));
            }
            None => {}
        }
        Ok(parameters)
    }

    /// Parses a text like [`Self::from_url`].
    pub fn from_text(text: &str) -> Result<Self, ConnectError> {
        Self::from_url(&parse(text)?)
    }

    /// Returns the login to the server that has a socket in this directory.
    pub fn by_socket(directory: &Path, port: u16, user: &str, database: &str) -> Result<Self, ConnectError> {
        Self::from_text(&socket_url(&directory.to_string_lossy(), port, user, database))
    }

    /// Returns the URL of a login by a socket, for other programs; without a password.
    pub fn to_socket_url(&self) -> String {
        socket_url(&self.host, self.port, &self.user, &self.database)
    }

    /// Reads a `postgres://` URL, with a password where it contains one. What it omits is taken from its
    /// service, then from libpq's environment variables.
    pub fn from_url(url: &Url) -> Result<Self, ConnectError> {
        Self::from_url_in(url, &Environment::of_process()?)
    }

    pub(super) fn from_url_in(url: &Url, environment: &Environment) -> Result<Self, ConnectError> {
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            return Err(ConnectError::Scheme(url.scheme().to_owned()));
        }
        let given = Given::read(url, environment)?;
        let seconds = given.number("connect_timeout")?;
        let mut parameters = Self {
            host: given.host()?,
            port: given.number("port")?.unwrap_or(5432),
            user: given.take("user").unwrap_or_else(default_user),
            database: given.take("dbname").ok_or(ConnectError::NoDatabase)?,
            password: given.take("password").map(|password| Password::Known(password.into())),
            ssl_mode: given.ssl_mode()?,
            ssl_root_cert: given.take("sslrootcert").map(PathBuf::from),
            ssl_cert: given.take("sslcert").map(PathBuf::from),
            ssl_key: given.take("sslkey").map(PathBuf::from),
            connect_timeout: match seconds {
                None => CONNECT_WITHIN,
                // As in libpq: without a limit.
                Some(0) => CONNECT_AT_MOST,
                Some(seconds) => Duration::from_secs(seconds).clamp(CONNECT_AT_LEAST, CONNECT_AT_MOST),
            },
            application_name: given.take("application_name").unwrap_or_else(|| APPLICATION.to_owned()),
            options: given.take("options"),
            settings: vec![],
            reached: Arc::default(),
        };
        parameters.take_default_files(environment)?;
        Ok(parameters)
    }

    /// Adds libpq's default certificate files where no others are given.
    fn take_default_files(&mut self, environment: &Environment) -> Result<(), ConnectError> {
        if self.is_socket() || self.ssl_mode == SslMode::Disable {
            return Ok(());
        }
        let verifies = [SslMode::Require, SslMode::VerifyCa, SslMode::VerifyFull].contains(&self.ssl_mode);
        if self.ssl_root_cert.is_none() && verifies {
            self.ssl_root_cert = environment.default_file("root.crt");
        }
        if self.ssl_root_cert.is_some()
            && verifies
            && let Some(path) = environment.default_file("root.crl")
        {
            return Err(ConnectError::Revocations(path));
        }
        if self.ssl_cert.is_none() {
            self.ssl_cert = environment.default_file("postgresql.crt");
        }
        if self.ssl_cert.is_some() && self.ssl_key.is_none() {
            self.ssl_key = environment.default_file("postgresql.key");
        }
        Ok(())
    }
}

/// The values of a URL, then of the service, then of the environment.
struct Given<'a> {
    url: BTreeMap<&'static str, String>,
    service_name: String,
    service: BTreeMap<&'static str, String>,
    environment: &'a Environment,
}

/// The parameters that a URL may have.
static PARAMETERS: [&str; 13] = [
    "host",
    "port",
    "user",
    "dbname",
    "password",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "connect_timeout",
    "application_name",
    "options",
    SERVICE,
];
/// A parameter that a service may have and a URL may not.
const HOST_ADDRESS: &str = "hostaddr";

impl<'a> Given<'a> {
    fn read(url: &Url, environment: &'a Environment) -> Result<Self, ConnectError> {
        let mut given = BTreeMap::new();
        let host = url.host_str().map(|host| host.trim_start_matches('[').trim_end_matches(']'));
        let parts = [
            ("host", host.unwrap_or_default()),
            ("user", url.username()),
            ("dbname", url.path().trim_start_matches('/')),
            ("password", url.password().unwrap_or_default()),
        ];
        for (keyword, text) in parts {
            let decoded = percent_decode(text).ok_or(ConnectError::Encoding)?;
            if !decoded.is_empty() {
                given.insert(keyword, decoded);
            }
        }
        if let Some(port) = url.port() {
            given.insert("port", port.to_string());
        }
        for (name, value) in url.query_pairs() {
            match known(&name, &value, || URL.to_owned())? {
                Known::Parameter(keyword) => drop(given.insert(keyword, value.into_owned())),
                Known::AsksForNothing => {}
                Known::Not => return Err(ConnectError::Parameter(name.to_string())),
            }
        }
        let named = given.get(SERVICE).map(String::as_str);
        let named = named.or_else(|| environment.parameter(SERVICE).map(|(_, name)| name));
        let service = named.map(|name| environment.service(name)).transpose()?.unwrap_or_default();
        let (service_name, service) = parameters_of(service)?;
        // drctl's own sessions also use those of the environment.
        let system = |path: &str| path == SYSTEM;
        let overridden = [
            ("options", given.contains_key("options") || service.contains_key("options")),
            (
                "sslrootcert",
                given
                    .get("sslrootcert")
                    .or_else(|| service.get("sslrootcert"))
                    .is_some_and(|path| system(path)),
            ),
        ];
        for (parameter, overridden) in overridden {
            if let Some((name, _)) = environment.parameter(parameter).filter(|_| overridden) {
                return Err(ConnectError::Contradicted { name, parameter });
            }
        }
        if let Some((name, value)) = environment.parameter("sslrootcert").filter(|(_, path)| system(path)) {
            let remedy = "unset it for drctl, and say `sslrootcert=system` in the URL";
            return Err(ConnectError::Variable { name, value: value.to_owned(), remedy });
        }
        Ok(Self { url: given, service_name, service, environment })
    }

    fn take(&self, keyword: &str) -> Option<String> {
        let of_environment = || self.environment.parameter(keyword).map(|(_, value)| value.to_owned());
        self.url.get(keyword).or_else(|| self.service.get(keyword)).cloned().or_else(of_environment)
    }

    /// Returns the error for an invalid parameter, by the name it was given under.
    fn refused(&self, keyword: &'static str) -> ConnectError {
        match (self.url.get(keyword), self.service.get(keyword), self.environment.parameter(keyword)) {
            (None, Some(value), _) => ConnectError::ServiceValue {
                service: self.service_name.clone(),
                parameter: keyword,
                value: value.clone(),
            },
            (None, None, Some((name, value))) => {
                ConnectError::VariableValue { name, value: value.to_owned() }
            }
            (value, ..) => {
                ConnectError::Value { name: keyword.to_owned(), value: value.cloned().unwrap_or_default() }
            }
        }
    }

    fn number<T: std::str::FromStr>(&self, keyword: &'static str) -> Result<Option<T>, ConnectError> {
        let Some(text) = self.take(keyword) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| self.refused(keyword))
    }

    fn host(&self) -> Result<String, ConnectError> {
        let remedy = "leave it out for drctl, or name that address as the host";
        let of_environment = || self.environment.parameter(HOST_ADDRESS).map(|(_, value)| value.to_owned());
        let address = self.service.get(HOST_ADDRESS).cloned().or_else(of_environment);
        let host = match (self.take("host"), address) {
            (Some(host), Some(value)) if host != value => {
                return Err(
                    match (self.service.get(HOST_ADDRESS), self.environment.parameter(HOST_ADDRESS)) {
                        (None, Some((name, _))) => ConnectError::Variable { name, value, remedy },
                        _ => ConnectError::OnlyLibpq {
                            name: HOST_ADDRESS.to_owned(),
                            value,
                            of: of_service(&self.service_name),
                            remedy,
                        },
                    },
                );
            }
            (Some(host), _) => host,
            (None, Some(value)) => value,
            (None, None) if Path::new(SOCKET_DIRECTORY).is_dir() => SOCKET_DIRECTORY.to_owned(),
            (None, None) => "localhost".to_owned(),
        };
        if !host.contains(',') {
            return Ok(host);
        }
        let of = match () {
            () if self.url.contains_key("host") => URL.to_owned(),
            () if self.service.contains_key("host") => of_service(&self.service_name),
            () => "`PGHOST`".to_owned(),
        };
        Err(ConnectError::SeveralHosts { of, hosts: host })
    }

    fn ssl_mode(&self) -> Result<SslMode, ConnectError> {
        match self.take("sslmode") {
            Some(word) => {
                let mode = SslMode::ALL.into_iter().find(|mode| mode.as_str() == word);
                mode.ok_or_else(|| self.refused("sslmode"))
            }
            // The old form, which libpq still accepts.
            None if self.take("requiressl").is_some_and(|value| value.starts_with('1')) => {
                Ok(SslMode::Require)
            }
            None => Ok(SslMode::Prefer),
        }
    }
}

/// How a keyword of a URL or a service is treated.
enum Known {
    Parameter(&'static str),
    /// Only libpq supports it, and with this value it has no effect.
    AsksForNothing,
    Not,
}

fn known(keyword: &str, value: &str, of: impl FnOnce() -> String) -> Result<Known, ConnectError> {
    if let Some(keyword) = PARAMETERS.iter().find(|known| **known == keyword) {
        return Ok(Known::Parameter(keyword));
    }
    match only_libpq(keyword, value) {
        None => Ok(Known::Not),
        Some(Ok(())) => Ok(Known::AsksForNothing),
        Some(Err(remedy)) => {
            let (name, value) = (keyword.to_owned(), value.to_owned());
            Err(ConnectError::OnlyLibpq { name, value, of: of(), remedy })
        }
    }
}

fn of_service(name: &str) -> String {
    format!("the service `{name}`")
}

/// Returns the parameters of a service, if drctl's own sessions support all of them.
fn parameters_of(
    Service { name, parameters }: Service,
) -> Result<(String, BTreeMap<&'static str, String>), ConnectError> {
    let mut understood = BTreeMap::new();
    for (parameter, value) in parameters.into_iter().filter(|(_, value)| !value.is_empty()) {
        match known(&parameter, &value, || of_service(&name))? {
            Known::Parameter(keyword) => drop(understood.insert(keyword, value)),
            Known::AsksForNothing => {}
            Known::Not if parameter == HOST_ADDRESS => drop(understood.insert(HOST_ADDRESS, value)),
            Known::Not => return Err(ConnectError::ServiceParameter { service: name, parameter }),
        }
    }
    Ok((name, understood))
}

/// Parses a URL. One with several hosts and ports is invalid for the URL parser.
fn parse(text: &str) -> Result<Url, ConnectError> {
    Url::parse(text).map_err(|error| {
        let authority =
            text.split_once("://").map(|(_, rest)| rest.split(['/', '?']).next().unwrap_or_default());
        let hosts = authority.map(|all| all.rsplit_once('@').map_or(all, |(_, hosts)| hosts));
        match hosts.filter(|hosts| hosts.contains(',')) {
            Some(hosts) => ConnectError::SeveralHosts { of: URL.to_owned(), hosts: hosts.to_owned() },
            None => ConnectError::Url(error),
        }
    })
}

fn default_user() -> String {
    // sqlx reads the environment and then the system, as libpq does.
    PgConnectOptions::new_without_pgpass().get_username().to_owned()
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                bytes.extend(hex::decode([*high, *low]).ok()?);
                rest = after;
            }
            _ => bytes.push(*first),
        }
    }
    String::from_utf8(bytes).ok()
}

fn socket_url(directory: &str, port: u16, user: &str, database: &str) -> String {
    let [directory, user, database] = [directory, user, database].map(|text| {
        url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
    });
    format!("postgres:///{database}?host={directory}&port={port}&user={user}")
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;
    use crate::platform::Program;
    use crate::postgres::environment::kept_from_children;

    fn parsed(text: &str) -> Result<ConnectionParameters, ConnectError> {
        in_environment(text, &[])
    }

    fn in_environment(
        text: &str,
        variables: &[(&'static str, &str)],
    ) -> Result<ConnectionParameters, ConnectError> {
        ConnectionParameters::from_url_in(&Url::parse(text).unwrap(), &Environment::for_test(variables)?)
    }

    fn known(parameters: &ConnectionParameters) -> &SecretString {
        let Some(Password::Known(password)) = &parameters.password else { panic!("no password") };
        password
    }

    #[tokio::test]
    async fn a_url_says_everything() {
        let parameters = parsed(
            "postgresql://dr%40ctl:p%25w@db.example.com:6432/sh%20op?sslmode=verify-full&sslrootcert=/etc/ca.pem&connect_timeout=3",
        )
        .unwrap();
        assert_eq!(parameters.to_string(), "dr@ctl@db.example.com:6432/sh op");
        assert_eq!(known(&parameters).expose_secret(), "p%w");
        let environment = parameters.environment(Some(known(&parameters)));
        let variable =
            |name| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone());
        assert_eq!(variable("PGSSLMODE").unwrap(), "verify-full");
        assert_eq!(variable("PGSSLROOTCERT").unwrap(), "/etc/ca.pem");
        assert_eq!(variable("PGPASSWORD").unwrap(), "p%w");
        assert_eq!(variable("PGCONNECT_TIMEOUT").unwrap(), "3");
        let options = parameters.options("").await.unwrap();
        assert_eq!(options.get_host(), "db.example.com");
        assert_eq!(options.get_database(), Some("sh op"));
        assert_eq!(options.get_username(), "dr@ctl");
    }

    #[tokio::test]
    async fn a_socket_directory_is_a_host() {
        let parameters = parsed("postgres:///shop?user=app&host=/run/pg&port=5433").unwrap();
        assert!(parameters.is_socket());
        assert_eq!(parameters.options("").await.unwrap().get_socket().unwrap(), Path::new("/run/pg"));
        let encoded = parsed("postgres://app@%2Frun%2Fpg/shop").unwrap();
        assert_eq!(encoded.host, "/run/pg");
    }

    #[test]
    fn an_address_of_version_6_loses_its_brackets() {
        assert_eq!(parsed("postgres://app@[::1]:5433/shop").unwrap().host, "::1");
    }

    #[test]
    fn what_would_be_ignored_is_refused() {
        let refused = |text: &str| parsed(text).unwrap_err().to_string();
        assert!(refused("postgres://a@h/d?sslmod=require").contains("`sslmod`"));
        assert!(refused("postgres://a@h/d?sslmode=full").contains("cannot be `full`"));
        assert!(refused("postgres://a@h").contains("names no database"));
        assert!(refused("mysql://a@h/d").contains("`mysql:`"));
        assert!(refused("postgres://a@h,i/d").contains("several hosts (`h,i`)"));
        let several = parse("postgres://a:secret@h:1,i:2/d").unwrap_err().to_string();
        assert!(several.contains("(`h:1,i:2`)") && !several.contains("secret"), "{several}");
        assert!(matches!(parse("postgres://a@h:1x/d"), Err(ConnectError::Url(_))));
    }

    #[test]
    fn what_only_libpq_supports_is_refused_in_a_url_unless_it_asks_for_nothing() {
        let error = parsed("postgres://a@h/d?channel_binding=require").unwrap_err().to_string();
        assert!(error.contains("`channel_binding=require`") && error.contains("verify-full"), "{error}");
        parsed("postgres://a@h/d?channel_binding=prefer&target_session_attrs=any").unwrap();
        let error = parsed("postgres://a@h/d?target_session_attrs=primary").unwrap_err().to_string();
        assert!(error.contains("the one server"), "{error}");
    }

    #[test]
    fn a_service_says_what_the_url_leaves_out_and_goes_before_the_environment() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pg_service.conf");
        let text = "[shop]\nhost=db.example.com\nport=6432\ndbname=shop\nuser=app\npassword=p w\nsslmode=require\n\
                    channel_binding=prefer\n[bound]\nhost=h\nchannel_binding=require\n[odd]\nsslpassword=x\n\
                    [several]\nhost=a,b\n[port]\nport=many\n[address]\nhost=h\nhostaddr=10.0.0.1\n";
        std::fs::write(&file, text).unwrap();
        let file = file.display().to_string();
        let read = |url: &str, more: &[(&'static str, &str)]| {
            in_environment(url, &[&[("PGSERVICEFILE", file.as_str())], more].concat())
        };
        let by_url = read("postgres://?service=shop", &[("PGPORT", "1"), ("PGUSER", "other")]).unwrap();
        assert_eq!(by_url.to_string(), "app@db.example.com:6432/shop");
        assert_eq!(by_url.ssl_mode, SslMode::Require);
        assert_eq!(known(&by_url).expose_secret(), "p w");
        let by_variable = read("postgres://me@here/mine", &[("PGSERVICE", "shop")]).unwrap();
        assert_eq!(by_variable.to_string(), "me@here:6432/mine");
        let refused = |name: &str, words: &str| {
            let error = read(&format!("postgres:///d?user=a&service={name}"), &[]).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        };
        refused("bound", "`channel_binding=require` in the service `bound`");
        refused("odd", "`sslpassword` of the service `odd`");
        refused("several", "the service `several` names several hosts (`a,b`)");
        refused("port", "`port` of the service `port` cannot be `many`");
        refused("address", "`hostaddr=10.0.0.1` in the service `address`");
        refused("none", "the service `none` is not defined");
    }

    #[test]
    fn what_the_url_leaves_out_is_as_the_environment_has_it() {
        let all = [
            ("PGHOST", "db.example.com"),
            ("PGPORT", "6432"),
            ("PGDATABASE", "shop"),
            ("PGUSER", "app"),
            ("PGSSLMODE", "require"),
            ("PGSSLROOTCERT", "/etc/ca.pem"),
            ("PGSSLCERT", "/etc/app.crt"),
            ("PGSSLKEY", "/etc/app.key"),
            ("PGAPPNAME", "nightly"),
            ("PGCONNECT_TIMEOUT", "7"),
            ("PGOPTIONS", "-c geqo=off"),
        ];
        let parameters = in_environment("postgres://", &all).unwrap();
        assert_eq!(parameters.to_string(), "app@db.example.com:6432/shop");
        assert_eq!(parameters.ssl_mode, SslMode::Require);
        // What children are told is the same, whatever they would find themselves.
        let environment = parameters.environment(None);
        for (name, value) in all.iter().filter(|(name, _)| *name != "PGOPTIONS") {
            let told = environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
            assert_eq!(told.unwrap(), *value, "{name}");
        }
        // And the URL goes before it.
        let parameters = in_environment("postgres://me@here:1/mine?sslmode=disable", &all[..8]).unwrap();
        assert_eq!(parameters.to_string(), "me@here:1/mine");
        assert_eq!(parameters.ssl_mode, SslMode::Disable);
        let by_address = in_environment("postgres:///d?user=a", &[("PGHOSTADDR", "10.0.0.1")]).unwrap();
        assert_eq!(by_address.host, "10.0.0.1");
        let old = in_environment("postgres://a@h/d", &[("PGREQUIRESSL", "1")]).unwrap();
        assert_eq!(old.ssl_mode, SslMode::Require);
    }

    #[test]
    fn what_the_environment_says_wrongly_or_otherwise_is_refused_by_its_name() {
        let refused = |text: &str, name: &'static str, value: &str| {
            let error = in_environment(text, &[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(&format!("`{name}")), "{error}");
        };
        refused("postgres://a@h/d", "PGPORT", "5432,5433");
        refused("postgres://a@h/d", "PGSSLMODE", "full");
        refused("postgres:///d?user=a", "PGHOST", "one,two");
        refused("postgres://a@h/d", "PGHOSTADDR", "10.0.0.1");
        refused("postgres://a@h/d?options=-cgeqo%3Doff", "PGOPTIONS", "-c geqo=on");
        refused("postgres://a@h/d?sslrootcert=system", "PGSSLROOTCERT", "/etc/ca.pem");
        refused("postgres://a@h/d", "PGSSLROOTCERT", "system");
        refused("postgres://a@h/d", "PGREQUIREAUTH", "none");
    }

    #[test]
    fn files_that_libpq_would_find_in_the_home_directory_count() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join(".postgresql");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("root.crt"), "").unwrap();
        std::fs::write(folder.join("postgresql.crt"), "").unwrap();
        std::fs::write(folder.join("postgresql.key"), "").unwrap();
        let read = |text: &str| {
            let environment = Environment::default().at_home(home.path());
            ConnectionParameters::from_url_in(&Url::parse(text).unwrap(), &environment)
        };
        let parameters = read("postgres://a@h/d?sslmode=require").unwrap();
        assert_eq!(parameters.ssl_root_cert.unwrap(), folder.join("root.crt"));
        assert_eq!(parameters.ssl_key.unwrap(), folder.join("postgresql.key"));
        assert_eq!(read("postgres://a@h/d?sslmode=disable").unwrap().ssl_cert, None);
        std::fs::write(folder.join("root.crl"), "").unwrap();
        let error = read("postgres://a@h/d?sslmode=verify-full").unwrap_err().to_string();
        assert!(error.contains("root.crl"), "{error}");
    }

    #[tokio::test]
    async fn children_inherit_no_variable_of_libpq() {
        let parameters = parsed("postgres://app@h/shop").unwrap();
        let program = format!("{:?}", parameters.apply(Program::new("pg_dump")).await.unwrap());
        for name in ["PGSERVICE", "PGSSLCRL", "PGHOSTADDR", "PGTARGETSESSIONATTRS", "PGREQUIREAUTH"] {
            assert!(kept_from_children().any(|kept| kept == name), "{name} in {program}");
        }
        assert!(!kept_from_children().any(|kept| ["PGPASSWORD", "PGPASSFILE"].contains(&kept)));
    }

    #[tokio::test]
    async fn a_password_is_never_shown() {
        let parameters = parsed("postgres://app:hunter2@h/shop").unwrap();
        let program = parameters.apply(Program::new("pg_dump")).await.unwrap();
        for text in [parameters.to_string(), format!("{parameters:?}"), format!("{program:?}")] {
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
}
