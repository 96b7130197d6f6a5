use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use thiserror::Error;
use url::Url;

use super::Password;
use super::environment::{Environment, kept_from_children};
use super::session::ServerSession;
use crate::aws::AwsError;
use crate::aws::rds::{TokenError, TokenSigner};
use crate::platform::{Program, SecretError};
use crate::policy::{self, PostgresSource};
use crate::text::format_duration;

const APPLICATION: &str = "drctl";
/// SQLSTATEs of a login that is refused.
const WRONG_PASSWORD: &str = "28P01";
const NOT_LET_IN: &str = "28000";
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
const CONNECT_AT_LEAST: Duration = Duration::from_secs(2);
const CONNECT_AT_MOST: Duration = Duration::from_secs(600);
/// As `sslrootcert`: the host's own authorities.
const SYSTEM: &str = "system";
/// Debian's place of the server's socket, and so libpq's default there.
const SOCKET_DIRECTORY: &str = "/var/run/postgresql";

/// Why a database could not be reached. Never holds a password.
#[derive(Debug, Error)]
pub enum ConnectError {
    #[error("the URL of the database is not one (`postgres://user@host:port/database`)")]
    Url(#[source] url::ParseError),
    #[error("the URL of the database begins with `{0}:`, not with `postgres:`")]
    Scheme(String),
    #[error("the URL of the database names no database (`postgres://user@host:port/database`)")]
    NoDatabase,
    #[error("the URL of the database is not UTF-8 where it is percent-decoded")]
    Encoding,
    #[error("the URL of the database names several hosts; name one")]
    SeveralHosts,
    #[error("`PGHOST` names several hosts (`{0}`); name one")]
    SeveralInEnvironment(String),
    #[error("`{name}` in the URL of the database cannot be `{value}`")]
    Value { name: String, value: String },
    #[error("`{name}` in the environment cannot be `{value}`")]
    VariableValue { name: &'static str, value: String },
    #[error(
        "`{name}={value}` is set in the environment: libpq's programs would obey it and drctl's own sessions cannot, so {remedy}"
    )]
    Variable { name: &'static str, value: String, remedy: &'static str },
    #[error("`{0}` in the environment is not UTF-8")]
    VariableEncoding(&'static str),
    #[error(
        "`{name}` is set in the environment and contradicts the URL of the database: unset it for drctl, or leave `{parameter}` out of the URL"
    )]
    Contradicted { name: &'static str, parameter: &'static str },
    #[error(
        "libpq would check certificates against `{0}`, which drctl's own sessions cannot: move it away, or set HOME to another directory for drctl"
    )]
    Revocations(PathBuf),
    #[error(
        "`{0}` in the URL of the database is not understood (host, port, user, dbname, sslmode, sslrootcert, sslcert, sslkey, connect_timeout, application_name, options)"
    )]
    Parameter(String),
    #[error("failed to get the URL of the database")]
    UrlSecret(#[source] SecretError),
    #[error("failed to get the password of the database")]
    Password(#[source] SecretError),
    #[error("failed to get the credentials that sign the IAM token of the database")]
    Signer(#[source] AwsError),
    #[error("failed to connect to `{to}`")]
    Token {
        to: String,
        #[source]
        source: TokenError,
    },
    #[error(
        "no IAM token is sent to `{to}`, whose certificate would not be verified: set `sslmode=verify-full`"
    )]
    Unverified { to: String },
    #[error("`{to}` refused the IAM token ({said}): {}", refused_token(.code, .said))]
    TokenRefused {
        to: String,
        /// SQLSTATE
        code: String,
        said: String,
    },
    #[error("failed to write the password file for `{to}`")]
    PasswordFile {
        to: String,
        #[source]
        source: std::io::Error,
    },
    #[error("failed to connect to `{to}`")]
    Refused {
        to: String,
        #[source]
        source: sqlx::Error,
    },
    #[error("failed to connect to `{to}`: no answer in {}", format_duration(*.waited))]
    NoAnswer { to: String, waited: Duration },
    #[error(
        "`{to}` is a connection pooler that gives each transaction another connection: what drctl and pg_dump set for their sessions (an empty search_path, no timeouts) would stay on connections that others use next, so name the server itself, or a pool in session mode, in the URL"
    )]
    Pooler { to: String },
}

/// What to look at. A role that RDS does not let in by IAM is asked for a password, and the token is a wrong one.
fn refused_token(code: &str, said: &str) -> &'static str {
    if code == WRONG_PASSWORD || said.contains("password authentication failed") {
        return "RDS took it for a password: grant the role `rds_iam`";
    }
    "turn IAM authentication on for the instance; grant the role `rds_iam`; allow `rds-db:connect` on it to the AWS role that signs (`drctl iam show` prints the statement); name the endpoint and the region as RDS does; and check this host's clock, since a token is good for 15 minutes"
}

/// libpq's `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslMode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl SslMode {
    const ALL: [Self; 6] =
        [Self::Disable, Self::Allow, Self::Prefer, Self::Require, Self::VerifyCa, Self::VerifyFull];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Allow => "allow",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

/// How a database is reached, for drctl's own connections and for the children that use libpq: both are
/// told the same.
///
/// Without a password of its own it leaves that to `PGPASSWORD`, `PGPASSFILE` and `~/.pgpass`, as libpq does.
#[derive(Clone)]
pub struct ConnectionParameters {
    /// A name, an address, or the directory of a Unix socket.
    pub host: String,
    pub port: u16,
    pub user: String,
    pub database: String,
    pub password: Option<Password>,
    pub ssl_mode: SslMode,
    /// `system` is the host's own authorities.
    pub ssl_root_cert: Option<PathBuf>,
    pub ssl_cert: Option<PathBuf>,
    pub ssl_key: Option<PathBuf>,
    pub connect_timeout: Duration,
    pub application_name: String,
    /// Of the server's command line, as in `PGOPTIONS`.
    pub options: Option<String>,
    /// Settings of the session beside those that every session of drctl has.
    pub settings: Vec<(&'static str, String)>,
    /// What the last session found; it is shared by those made from these for the same server.
    pub(super) reached: Arc<Mutex<Option<ServerSession>>>,
}

impl ConnectionParameters {
    /// Where a source of the policy is, with its secrets resolved.
    pub async fn resolve(source: &PostgresSource) -> Result<Self, ConnectError> {
        let mut parameters = match (&source.url, &source.url_ref) {
            (_, Some(reference)) => {
                let text = reference.resolve().await.map_err(ConnectError::UrlSecret)?;
                Self::from_url(&Url::parse(text.expose_secret()).map_err(ConnectError::Url)?)?
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

    /// Reads a `postgres://` URL, with a password where it holds one. What it does not say is as libpq's
    /// environment variables have it.
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
                // As libpq has it: without a limit.
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

    /// The files that libpq takes where nothing names others.
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

    /// The same server and role, another database.
    #[must_use]
    pub fn with_database(&self, name: &str) -> Self {
        Self { database: name.to_owned(), ..self.clone() }
    }

    /// The same role and database, at another address, which may be in another region.
    #[must_use]
    pub fn at(&self, host: &str, port: u16, region: &str) -> Self {
        let reached = Arc::default();
        let mut there = Self { host: host.to_owned(), port, reached, ..self.clone() };
        if let Some(Password::IamToken(signer)) = &mut there.password {
            **signer = signer.in_region(region);
        }
        there
    }

    /// The same role and database on a server of this host, which need not have a certificate for that name.
    pub fn locally(&self, host: &str, port: u16) -> Self {
        let ssl_mode = match self.ssl_mode {
            SslMode::Disable | SslMode::Allow => self.ssl_mode,
            _ => SslMode::Prefer,
        };
        Self { host: host.to_owned(), port, ssl_mode, reached: Arc::default(), ..self.clone() }
    }

    /// Whether `host` is the directory of a Unix socket.
    pub fn is_socket(&self) -> bool {
        self.host.starts_with('/')
    }

    /// For drctl's own connections. Statements are not logged: they may hold data.
    pub(super) async fn options(&self, session: &str) -> Result<PgConnectOptions, ConnectError> {
        let password = self.password_now().await?;
        // Only parsing a URL makes sqlx look into the password file, and everything that decides which
        // line of that is meant has to be in it.
        let mut url = Url::parse("postgres:///").map_err(ConnectError::Url)?;
        {
            let mut pairs = url.query_pairs_mut();
            pairs.append_pair("host", &self.host).append_pair("port", &self.port.to_string());
            pairs.append_pair("user", &self.user).append_pair("dbname", &self.database);
            if let Some(password) = &password {
                pairs.append_pair("password", password.expose_secret());
            }
            let given = self.options.as_deref().unwrap_or_default();
            if !(given.is_empty() && session.is_empty()) {
                pairs.append_pair("options", &format!("{given} {session}"));
            }
        }
        let refused = |source| ConnectError::Refused { to: self.to_string(), source };
        let mut options = PgConnectOptions::from_url(&url).map_err(refused)?;
        let system = Path::new(SYSTEM);
        let verified_by = self.ssl_root_cert.as_deref().filter(|path| *path != system);
        options = options.application_name(&self.application_name).ssl_mode(match self.ssl_mode {
            // libpq does not speak TLS over a Unix socket, whatever is asked for.
            _ if self.is_socket() => PgSslMode::Disable,
            SslMode::Disable => PgSslMode::Disable,
            SslMode::Allow => PgSslMode::Allow,
            SslMode::Prefer => PgSslMode::Prefer,
            // As libpq: an authority to check against is checked against.
            SslMode::Require if verified_by.is_some() => PgSslMode::VerifyCa,
            SslMode::Require => PgSslMode::Require,
            SslMode::VerifyCa => PgSslMode::VerifyCa,
            SslMode::VerifyFull => PgSslMode::VerifyFull,
        });
        if let Some(path) = verified_by {
            options = options.ssl_root_cert(path);
        }
        if let Some(path) = &self.ssl_cert {
            options = options.ssl_client_cert(path);
        }
        if let Some(path) = &self.ssl_key {
            options = options.ssl_client_key(path);
        }
        // Poolers do not take it.
        Ok(options.extra_float_digits(None).disable_statement_logging())
    }

    pub(super) fn refused(&self, source: sqlx::Error) -> ConnectError {
        let said = source.as_database_error().and_then(|said| Some((said.code()?, said.message())));
        match (said, &self.password) {
            (Some((code, said)), Some(Password::IamToken(_)))
                if [WRONG_PASSWORD, NOT_LET_IN].contains(&&*code) =>
            {
                ConnectError::TokenRefused {
                    to: self.to_string(),
                    code: code.clone().into_owned(),
                    said: said.to_owned(),
                }
            }
            _ => ConnectError::Refused { to: self.to_string(), source },
        }
    }

    /// Gives a program that uses libpq everything it needs to connect now, through its environment.
    pub async fn apply(&self, program: Program) -> Result<Program, ConnectError> {
        let address = self.address_of_children().await;
        let program = self.apply_to(program, self.password_now().await?.as_ref());
        Ok(match address {
            Some(address) => program.env("PGHOSTADDR", address.to_string()),
            None => program,
        })
    }

    pub(super) fn apply_to(&self, program: Program, password: Option<&SecretString>) -> Program {
        let mut program = program;
        for name in kept_from_children() {
            program = program.without_env(name);
        }
        for (name, value) in self.environment(password) {
            program = program.env(name, value);
        }
        program
    }

    /// libpq's variables. One of them may be the password.
    fn environment(&self, password: Option<&SecretString>) -> Vec<(&'static str, std::ffi::OsString)> {
        let mut variables: Vec<(&'static str, std::ffi::OsString)> = vec![
            ("PGHOST", self.host.clone().into()),
            ("PGPORT", self.port.to_string().into()),
            ("PGUSER", self.user.clone().into()),
            ("PGDATABASE", self.database.clone().into()),
            ("PGSSLMODE", self.ssl_mode.as_str().into()),
            ("PGGSSENCMODE", "disable".into()),
            ("PGAPPNAME", self.application_name.clone().into()),
            ("PGCLIENTENCODING", "UTF8".into()),
            ("PGCONNECT_TIMEOUT", self.connect_timeout.as_secs().to_string().into()),
        ];
        let paths = [
            ("PGSSLROOTCERT", &self.ssl_root_cert),
            ("PGSSLCERT", &self.ssl_cert),
            ("PGSSLKEY", &self.ssl_key),
        ];
        variables.extend(
            paths
                .into_iter()
                .filter_map(|(name, path)| Some((name, path.as_ref()?.clone().into_os_string()))),
        );
        if let Some(options) = self.options_of_children() {
            variables.push(("PGOPTIONS", options.into()));
        }
        if let Some(password) = password {
            variables.push(("PGPASSWORD", password.expose_secret().into()));
        }
        variables
    }
}

/// Ends a connection politely, but does not wait for a server that is gone.
pub async fn close(connection: PgConnection) {
    let _ended = tokio::time::timeout(Duration::from_secs(5), connection.close()).await;
}

impl fmt::Display for ConnectionParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}:{}/{}", self.user, self.host, self.port, self.database)
    }
}

impl fmt::Debug for ConnectionParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectionParameters({self}, sslmode={})", self.ssl_mode.as_str())
    }
}

/// What a URL says and, where it says nothing, the environment.
struct Given<'a> {
    url: BTreeMap<&'static str, String>,
    environment: &'a Environment,
}

/// What a URL may say.
static PARAMETERS: [&str; 12] = [
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
];

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
            let keyword = PARAMETERS.iter().find(|keyword| **keyword == name);
            let keyword = *keyword.ok_or_else(|| ConnectError::Parameter(name.to_string()))?;
            given.insert(keyword, value.into_owned());
        }
        // Whatever drctl's own sessions are given, they take those of the environment as well.
        let system = |path: &str| path == SYSTEM;
        let overridden = [
            ("options", given.contains_key("options")),
            ("sslrootcert", given.get("sslrootcert").is_some_and(|path| system(path))),
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
        Ok(Self { url: given, environment })
    }

    fn take(&self, keyword: &str) -> Option<String> {
        let of_environment = || self.environment.parameter(keyword).map(|(_, value)| value.to_owned());
        self.url.get(keyword).cloned().or_else(of_environment)
    }

    /// That a parameter cannot be what it is, by the name it was given under.
    fn refused(&self, keyword: &str) -> ConnectError {
        match (self.url.get(keyword), self.environment.parameter(keyword)) {
            (None, Some((name, value))) => ConnectError::VariableValue { name, value: value.to_owned() },
            (value, _) => {
                ConnectError::Value { name: keyword.to_owned(), value: value.cloned().unwrap_or_default() }
            }
        }
    }

    fn number<T: std::str::FromStr>(&self, keyword: &str) -> Result<Option<T>, ConnectError> {
        let Some(text) = self.take(keyword) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| self.refused(keyword))
    }

    fn host(&self) -> Result<String, ConnectError> {
        let address = self.environment.parameter("hostaddr");
        let host = match (self.take("host"), address) {
            (Some(host), Some((name, value))) if host != value => {
                let remedy = "unset it for drctl, or name that address as the host";
                return Err(ConnectError::Variable { name, value: value.to_owned(), remedy });
            }
            (Some(host), _) => host,
            (None, Some((_, value))) => value.to_owned(),
            (None, None) if Path::new(SOCKET_DIRECTORY).is_dir() => SOCKET_DIRECTORY.to_owned(),
            (None, None) => "localhost".to_owned(),
        };
        match host.contains(',') {
            false => Ok(host),
            true if self.url.contains_key("host") => Err(ConnectError::SeveralHosts),
            true => Err(ConnectError::SeveralInEnvironment(host)),
        }
    }

    fn ssl_mode(&self) -> Result<SslMode, ConnectError> {
        match self.take("sslmode") {
            Some(word) => {
                let mode = SslMode::ALL.into_iter().find(|mode| mode.as_str() == word);
                mode.ok_or_else(|| self.refused("sslmode"))
            }
            // As old scripts say it, and as libpq still reads it.
            None if self.take("requiressl").is_some_and(|value| value.starts_with('1')) => {
                Ok(SslMode::Require)
            }
            None => Ok(SslMode::Prefer),
        }
    }
}

fn default_user() -> String {
    // sqlx asks the environment and then the system, as libpq does.
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

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(refused("postgres://a@h,i/d").contains("several hosts"));
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
        refused("postgres://a@h/d", "PGSERVICE", "shop");
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
