use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use secrecy::SecretString;

use crate::aws::rds::TokenSigner;

/// For `sslrootcert`: the host's own CAs.
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

/// How a connection authenticates.
#[derive(Clone)]
pub enum Password {
    Known(SecretString),
    /// A new token is signed for each connection.
    IamToken(Box<TokenSigner>),
}

/// The facts about the server that a session reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerSession {
    pub major: u32,
    /// The connection uses a pooler that assigns it for the whole session.
    pub pooled: bool,
    /// The server's own address, as reported by it.
    pub address: Option<IpAddr>,
}

/// How to connect to a database, for drctl's own connections and for child processes that use libpq: both get
/// the same parameters.
///
/// Without a password of its own, `PGPASSWORD`, `PGPASSFILE` and `~/.pgpass` apply, as in libpq.
#[derive(Clone)]
pub struct ConnectionParameters {
    /// A name, an address, or the directory of a Unix socket.
    pub host: String,
    pub port: u16,
    pub user: String,
    pub database: String,
    pub password: Option<Password>,
    pub ssl_mode: SslMode,
    /// `system` stands for the host's own CAs.
    pub ssl_root_cert: Option<PathBuf>,
    pub ssl_cert: Option<PathBuf>,
    pub ssl_key: Option<PathBuf>,
    pub connect_timeout: Duration,
    pub application_name: String,
    /// Options of the server's command line, as in `PGOPTIONS`.
    pub options: Option<String>,
    /// Settings of the session in addition to those of every session of drctl.
    pub settings: Vec<(&'static str, String)>,
    /// The result of the last session; shared with copies of these parameters for the same server.
    pub(super) reached: Arc<Mutex<Option<ServerSession>>>,
}

impl ConnectionParameters {
    /// Returns the parameters of another database with the same server and role.
    #[must_use]
    pub fn with_database(&self, name: &str) -> Self {
        Self { database: name.to_owned(), ..self.clone() }
    }

    /// Returns the parameters of the same role and database at another address, possibly in another region.
    #[must_use]
    pub fn at(&self, host: &str, port: u16, region: &str) -> Self {
        let reached = Arc::default();
        let mut there = Self { host: host.to_owned(), port, reached, ..self.clone() };
        if let Some(Password::IamToken(signer)) = &mut there.password {
            **signer = signer.in_region(region);
        }
        there
    }

    /// Returns the parameters of the same role and database on a server of this host, whose certificate need
    /// not have that name.
    pub fn locally(&self, host: &str, port: u16) -> Self {
        let ssl_mode = match self.ssl_mode {
            SslMode::Disable | SslMode::Allow => self.ssl_mode,
            _ => SslMode::Prefer,
        };
        Self { host: host.to_owned(), port, ssl_mode, reached: Arc::default(), ..self.clone() }
    }

    /// Returns whether `host` is the directory of a Unix socket.
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
