use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use secrecy::SecretString;

use crate::aws::rds::TokenSigner;

/// As `sslrootcert`: the host's own authorities.
pub(super) const SYSTEM: &str = "system";

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
    pub(super) const ALL: [Self; 6] =
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

/// What a connection proves itself with.
#[derive(Clone)]
pub enum Password {
    Known(SecretString),
    /// Signed anew for each connection.
    IamToken(Box<TokenSigner>),
}

/// What a session found about the server that it reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerSession {
    pub major: u32,
    /// Through a pooler that keeps a connection for as long as a session lasts.
    pub pooled: bool,
    /// The server's own address, as it says.
    pub address: Option<IpAddr>,
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
