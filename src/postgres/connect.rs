use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use thiserror::Error;
use url::Url;

use super::Password;
use crate::aws::AwsError;
use crate::aws::rds::{TokenError, TokenSigner};
use crate::platform::{Program, SecretError};
use crate::policy::{self, PostgresSource};

const APPLICATION: &str = "drctl";
/// SQLSTATEs of a login that is refused.
const WRONG_PASSWORD: &str = "28P01";
const NOT_LET_IN: &str = "28000";
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
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
    #[error("`{name}` in the URL of the database cannot be `{value}`")]
    Value { name: String, value: String },
    #[error(
        "`{0}` in the URL of the database is not understood (host, port, user, dbname, sslmode, sslrootcert, sslcert, sslkey, connect_timeout, application_name, options)"
    )]
    Parameter(String),
    #[error("failed to get the URL of the database")]
    UrlSecret(#[source] SecretError),
    #[error("failed to get the password of the database")]
    Password(#[source] SecretError),
    #[error("failed to get what signs the IAM token of the database")]
    Signer(#[source] AwsError),
    #[error("failed to connect to `{to}`")]
    Token {
        to: String,
        #[source]
        source: TokenError,
    },
    #[error(
        "no IAM token is shown to `{to}`, whose certificate would not be verified: say `sslmode=verify-full`"
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
    #[error("failed to connect to `{to}`: no answer in {}", humantime::format_duration(*.waited))]
    NoAnswer { to: String, waited: Duration },
}

/// What to look at. A role that RDS does not let in by IAM is asked for a password, and the token is a wrong one.
fn refused_token(code: &str, said: &str) -> &'static str {
    if code == WRONG_PASSWORD || said.contains("password authentication failed") {
        return "RDS took it for a password: grant the role `rds_iam`";
    }
    "turn IAM authentication on for the instance; grant the role `rds_iam`; allow `rds-db:connect` on it to whoever signs (`drctl iam show` prints the statement); name the endpoint and the region as RDS does; and look at this host's clock, since a token is good for 15 minutes"
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
            Some(policy::Password::Secret(reference)) => {
                let password = reference.resolve().await.map_err(ConnectError::Password)?;
                parameters.password = Some(Password::Known(password));
            }
            Some(policy::Password::IamToken(place)) => {
                let signer = TokenSigner::of(place).await.map_err(ConnectError::Signer)?;
                parameters.password = Some(Password::IamToken(Box::new(signer)));
            }
            None => {}
        }
        Ok(parameters)
    }

    /// Reads a `postgres://` URL, with a password where it holds one.
    pub fn from_url(url: &Url) -> Result<Self, ConnectError> {
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            return Err(ConnectError::Scheme(url.scheme().to_owned()));
        }
        let decode = |text: &str| {
            let decoded = percent_decode(text).ok_or(ConnectError::Encoding)?;
            Ok((!decoded.is_empty()).then_some(decoded))
        };
        let host = url.host_str().map(|host| host.trim_start_matches('[').trim_end_matches(']'));
        let mut host = decode(host.unwrap_or_default())?;
        let mut user = decode(url.username())?;
        let mut database = decode(url.path().trim_start_matches('/'))?;
        let mut password = decode(url.password().unwrap_or_default())?;
        let mut parameters = Self {
            host: String::new(),
            port: url.port().unwrap_or(5432),
            user: String::new(),
            database: String::new(),
            password: None,
            ssl_mode: SslMode::Prefer,
            ssl_root_cert: None,
            ssl_cert: None,
            ssl_key: None,
            connect_timeout: CONNECT_WITHIN,
            application_name: APPLICATION.to_owned(),
            options: None,
        };
        for (name, value) in url.query_pairs() {
            let refused = || ConnectError::Value { name: name.to_string(), value: value.to_string() };
            match &*name {
                "host" => host = Some(value.into_owned()),
                "port" => parameters.port = value.parse().map_err(|_| refused())?,
                "user" => user = Some(value.into_owned()),
                "dbname" => database = Some(value.into_owned()),
                "password" => password = Some(value.into_owned()),
                "sslmode" => {
                    let mode = SslMode::ALL.into_iter().find(|mode| mode.as_str() == value);
                    parameters.ssl_mode = mode.ok_or_else(refused)?;
                }
                "sslrootcert" => parameters.ssl_root_cert = Some(PathBuf::from(&*value)),
                "sslcert" => parameters.ssl_cert = Some(PathBuf::from(&*value)),
                "sslkey" => parameters.ssl_key = Some(PathBuf::from(&*value)),
                "connect_timeout" => {
                    let seconds: u64 = value.parse().map_err(|_| refused())?;
                    parameters.connect_timeout = Duration::from_secs(seconds.clamp(2, 600));
                }
                "application_name" => parameters.application_name = value.into_owned(),
                "options" => parameters.options = Some(value.into_owned()),
                _ => return Err(ConnectError::Parameter(name.into_owned())),
            }
        }
        parameters.host = host.unwrap_or_else(default_host);
        if parameters.host.contains(',') {
            return Err(ConnectError::SeveralHosts);
        }
        parameters.user = user.unwrap_or_else(default_user);
        parameters.database = database.ok_or(ConnectError::NoDatabase)?;
        parameters.password = password.map(|password| Password::Known(password.into()));
        Ok(parameters)
    }

    /// The same server and role, another database.
    #[must_use]
    pub fn with_database(&self, name: &str) -> Self {
        Self { database: name.to_owned(), ..self.clone() }
    }

    /// The same role and database, at another address, which may be in another region.
    #[must_use]
    pub fn at(&self, host: &str, port: u16, region: &str) -> Self {
        let mut there = Self { host: host.to_owned(), port, ..self.clone() };
        if let Some(Password::IamToken(signer)) = &mut there.password {
            **signer = signer.in_region(region);
        }
        there
    }

    /// Whether `host` is the directory of a Unix socket.
    pub fn is_socket(&self) -> bool {
        self.host.starts_with('/')
    }

    /// For drctl's own connections. Statements are not logged: they may hold data.
    async fn options(&self) -> Result<PgConnectOptions, ConnectError> {
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
            if let Some(options) = &self.options {
                pairs.append_pair("options", options);
            }
        }
        let refused = |source| ConnectError::Refused { to: self.to_string(), source };
        let mut options = PgConnectOptions::from_url(&url).map_err(refused)?;
        let system = Path::new("system");
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
        Ok(options.disable_statement_logging())
    }

    /// Connects, with nothing on the search path but `pg_catalog` and no server-side time limits: a role's
    /// own settings must neither lead a query elsewhere nor end a long one.
    pub async fn connect(&self) -> Result<PgConnection, ConnectError> {
        let options = self.options().await?;
        let attempt = async {
            let mut connection = options.connect().await?;
            sqlx::query(QUIET_SESSION).execute(&mut connection).await?;
            Ok(connection)
        };
        match tokio::time::timeout(self.connect_timeout, attempt).await {
            Ok(outcome) => outcome.map_err(|source| self.refused(source)),
            Err(_) => Err(ConnectError::NoAnswer { to: self.to_string(), waited: self.connect_timeout }),
        }
    }

    fn refused(&self, source: sqlx::Error) -> ConnectError {
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
        Ok(self.apply_to(program, self.password_now().await?.as_ref()))
    }

    pub(super) fn apply_to(&self, program: Program, password: Option<&SecretString>) -> Program {
        let mut program = program;
        // What they say goes before the rest of the environment.
        for name in ["PGHOSTADDR", "PGSERVICE", "PGSSLCRL", "PGTARGETSESSIONATTRS", "PGOPTIONS"] {
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
            ("PGAPPNAME", self.application_name.clone().into()),
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
        if let Some(options) = &self.options {
            variables.push(("PGOPTIONS", options.clone().into()));
        }
        if let Some(password) = password {
            variables.push(("PGPASSWORD", password.expose_secret().into()));
        }
        variables
    }
}

// The last of them makes a server notice within seconds that nobody waits for a long query any more; it
// exists from 14 on, and not on every system.
const QUIET_SESSION: &str = "SELECT pg_catalog.set_config(name, CASE name WHEN 'search_path' THEN ''
                                                  WHEN 'client_connection_check_interval' THEN '10s'
                                                  ELSE '0' END, false)
       FROM pg_catalog.pg_settings
      WHERE name IN ('search_path', 'statement_timeout', 'lock_timeout', 'transaction_timeout',
                     'idle_in_transaction_session_timeout', 'idle_session_timeout')
         OR name = 'client_connection_check_interval' AND pg_catalog.version() LIKE '%linux%'";

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

fn default_host() -> String {
    match std::env::var("PGHOST") {
        Ok(host) if !host.is_empty() => host,
        _ if Path::new(SOCKET_DIRECTORY).is_dir() => SOCKET_DIRECTORY.to_owned(),
        _ => "localhost".to_owned(),
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
        ConnectionParameters::from_url(&Url::parse(text).unwrap())
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
        let options = parameters.options().await.unwrap();
        assert_eq!(options.get_host(), "db.example.com");
        assert_eq!(options.get_database(), Some("sh op"));
        assert_eq!(options.get_username(), "dr@ctl");
    }

    #[tokio::test]
    async fn a_socket_directory_is_a_host() {
        let parameters = parsed("postgres:///shop?user=app&host=/run/pg&port=5433").unwrap();
        assert!(parameters.is_socket());
        assert_eq!(parameters.options().await.unwrap().get_socket().unwrap(), Path::new("/run/pg"));
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

    #[tokio::test]
    async fn a_password_is_never_shown() {
        let parameters = parsed("postgres://app:hunter2@h/shop").unwrap();
        let program = parameters.apply(Program::new("pg_dump")).await.unwrap();
        for text in [parameters.to_string(), format!("{parameters:?}"), format!("{program:?}")] {
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
}
