//! How a session of drctl, or of a child process, is opened: with its own settings, and not through a pooler
//! that would leak them to other sessions.
//!
//! *Invariants.* The settings are sent with the startup message, so that no default of a role, a database or
//! the server ever applies. A pooler rejects them. A pooler in transaction mode is refused: `pg_dump` sets
//! its session outside of any transaction, and that would stay on the connections of the application.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::PoisonError;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection, Row as _};

use super::{ConnectError, ConnectionParameters, ServerSession, literal};
use crate::platform::seed;

/// Settings of drctl's own sessions in addition to those of all: no name resolves without its schema. Set
/// after the session was opened, so that `DEFAULT` is still what an application has.
const OWN: [(&str, &str); 1] = [("search_path", "")];

/// Settings of every session, whatever the defaults of the role, the database and the server. Known to every
/// server that can be dumped.
const EVERY: [(&str, &str); 6] = [
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("default_transaction_read_only", "off"),
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_deferrable", "off"),
];

/// Settings of newer servers, with their first major.
const NEWER: [(u32, &str, &str); 2] = [(14, "idle_session_timeout", "0"), (17, "transaction_timeout", "0")];

/// Set where it is known: the server detects within seconds that the client of a long query is gone.
const NOTICE: &str = "SELECT pg_catalog.set_config(name, '10s', false) FROM pg_catalog.pg_settings
      WHERE name = 'client_connection_check_interval' AND pg_catalog.version() LIKE '%linux%'";

/// A server shows it only to the session that was opened with it.
const MARK: &str = "drctl.session";

/// SQLSTATEs of poolers and proxies that reject settings in the startup message.
const NOT_TAKEN: [&str; 4] = ["08P01", "0A000", "42704", "22023"];

/// How often two sessions are compared for their backend process.
const LOOKS: u32 = 3;

impl ConnectionParameters {
    /// Returns the facts of the last session; `None` before the first one.
    pub fn reached(&self) -> Option<ServerSession> {
        *self.reached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a session with settings of its own, and nothing on the search path but `pg_catalog`.
    pub async fn connect(&self) -> Result<PgConnection, ConnectError> {
        match tokio::time::timeout(self.connect_timeout, self.open()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ConnectError::NoAnswer { to: self.to_string(), waited: self.connect_timeout }),
        }
    }

    async fn open(&self) -> Result<PgConnection, ConnectError> {
        let mark = format!("{:08x}", seed());
        let settings = self.settings.iter().map(|(name, value)| (*name, value.as_str()));
        let settings = EVERY.into_iter().chain(settings).chain([(MARK, mark.as_str())]);
        let with = self.options(&command_line(settings)).await?;
        let mut connection = match with.connect().await {
            Ok(connection) => connection,
            Err(error) if self.options.is_none() && is_not_taken(&error) => {
                let plain = self.options("").await?;
                plain.connect().await.map_err(|source| self.refused(source))?
            }
            Err(error) => return Err(self.refused(error)),
        };
        let refused = |source| self.refused(source);
        let (major, address, marked) = look(&mut connection).await.map_err(refused)?;
        let pooled = marked.as_deref() != Some(mark.as_str());
        if pooled && self.is_shared(&mut connection).await? {
            return Err(ConnectError::Pooler { to: self.to_string() });
        }
        let reached = ServerSession { major, pooled, address };
        *self.reached.lock().unwrap_or_else(PoisonError::into_inner) = Some(reached);
        sqlx::raw_sql(AssertSqlSafe(self.statements(reached)))
            .execute(&mut connection)
            .await
            .map_err(refused)?;
        Ok(connection)
    }

    /// Returns the settings to apply once the server is known. The session is drctl's alone.
    fn statements(&self, reached: ServerSession) -> String {
        let newer = newer(reached.major).into_iter();
        let first = EVERY.into_iter().filter(|_| reached.pooled);
        let settings = self.settings.iter().map(|(name, value)| (*name, value.as_str()));
        let settings = OWN.into_iter().chain(first).chain(newer).chain(settings.filter(|_| reached.pooled));
        let statements = settings.map(|(name, value)| {
            format!("SELECT pg_catalog.set_config({}, {}, false); ", literal(name), literal(value))
        });
        statements.chain([NOTICE.to_owned()]).collect()
    }

    /// Returns whether two concurrent sessions share one server connection. The statements use the simple
    /// protocol, which leaves nothing behind.
    async fn is_shared(&self, first: &mut PgConnection) -> Result<bool, ConnectError> {
        let refused = |source| self.refused(source);
        let plain: PgConnectOptions = self.options("").await?;
        let mut second = plain.connect().await.map_err(refused)?;
        for _ in 0..LOOKS {
            let before = serving(first).await.map_err(refused)?;
            let other = serving(&mut second).await.map_err(refused)?;
            let after = serving(first).await.map_err(refused)?;
            if before != after || other == before {
                return Ok(true);
            }
        }
        super::close(second).await;
        Ok(false)
    }

    /// Returns the address for child processes, where the host name has several: they may be different
    /// servers, and child processes must connect to the same one as the session.
    pub(super) async fn address_of_children(&self) -> Option<IpAddr> {
        let server = self.reached()?.address;
        if server.is_none() || self.is_socket() || self.host.parse::<IpAddr>().is_ok() {
            return None;
        }
        let found = tokio::net::lookup_host((self.host.as_str(), self.port));
        let found = tokio::time::timeout(self.connect_timeout, found).await.ok()?.ok()?;
        one_of(&found.map(|address| address.ip()).collect(), server)
    }

    /// Returns the options of a child's session; `None` where there are none.
    pub(super) fn options_of_children(&self) -> Option<String> {
        let reached = self.reached();
        let ours = match reached {
            Some(ServerSession { pooled: true, .. }) => String::new(),
            _ => {
                let newer = newer(reached.map(|reached| reached.major).unwrap_or_default());
                let settings = self.settings.iter().map(|(name, value)| (*name, value.as_str()));
                command_line(EVERY.into_iter().chain(newer).chain(settings))
            }
        };
        let options = [self.options.as_deref().unwrap_or_default(), &ours].join(" ").trim().to_owned();
        (!options.is_empty()).then_some(options)
    }
}

fn newer(major: u32) -> Vec<(&'static str, &'static str)> {
    NEWER.into_iter().filter(|(first, ..)| major >= *first).map(|(_, name, value)| (name, value)).collect()
}

/// Formats settings as options of the server's command line.
fn command_line<'a>(settings: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let escaped = |value: &str| value.replace('\\', r"\\").replace(' ', r"\ ");
    settings.map(|(name, value)| format!("-c {name}={}", escaped(value))).collect::<Vec<_>>().join(" ")
}

fn is_not_taken(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| NOT_TAKEN.contains(&&*code))
}

/// Queries the server's major version, its address, and the marker of this session.
async fn look(connection: &mut PgConnection) -> Result<(u32, Option<IpAddr>, Option<String>), sqlx::Error> {
    let query = format!(
        "SELECT pg_catalog.current_setting('server_version_num'),
                pg_catalog.host(pg_catalog.inet_server_addr()), pg_catalog.current_setting('{MARK}', true)"
    );
    let row = sqlx::raw_sql(AssertSqlSafe(query)).fetch_one(connection).await?;
    let number: String = row.try_get(0)?;
    let address: Option<String> = row.try_get(1)?;
    let address = address.and_then(|address| address.parse().ok());
    Ok((number.parse::<u32>().unwrap_or_default() / 10_000, address, row.try_get(2)?))
}

/// Returns the server's address among several of a name; `None` where there is no choice.
fn one_of(addresses: &BTreeSet<IpAddr>, server: Option<IpAddr>) -> Option<IpAddr> {
    server.filter(|server| addresses.len() > 1 && addresses.contains(server))
}

/// Returns the process id of the session's current backend.
async fn serving(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    sqlx::raw_sql("SELECT pg_catalog.pg_backend_pid()").fetch_one(connection).await?.try_get(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::environment::Environment;

    fn parameters(reached: Option<ServerSession>) -> ConnectionParameters {
        let url = "postgres://a@h/d?options=-c%20geqo%3Doff".parse().unwrap();
        let mut parameters = ConnectionParameters::from_url_in(&url, &Environment::default()).unwrap();
        parameters.settings.push(("synchronous_commit", "off".to_owned()));
        *parameters.reached.lock().unwrap() = reached;
        parameters
    }

    #[test]
    fn a_child_has_no_time_limit_that_its_server_knows() {
        let options = |major| {
            parameters(Some(ServerSession { major, pooled: false, address: None }))
                .options_of_children()
                .unwrap_or_default()
        };
        for part in ["-c geqo=off -c statement_timeout=0", "=read\\ committed", "-c synchronous_commit=off"] {
            assert!(options(13).contains(part), "{part} is not in: {}", options(13));
        }
        assert!(
            !options(13).contains("idle_session_timeout") && !options(16).contains("transaction_timeout")
        );
        assert!(options(17).contains("-c idle_session_timeout=0 -c transaction_timeout=0"));
        let unknown = parameters(None).options_of_children().unwrap_or_default();
        assert!(unknown.contains("lock_timeout=0") && !unknown.contains("idle_session_timeout"));
    }

    #[test]
    fn children_go_to_that_address_of_a_name_that_the_session_went_to() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let several: BTreeSet<IpAddr> = ["10.0.0.1", "10.0.0.2"].map(address).into();
        assert_eq!(one_of(&several, Some(address("10.0.0.2"))), Some(address("10.0.0.2")));
        assert_eq!(one_of(&several, Some(address("172.16.0.1"))), None, "it is behind something");
        assert_eq!(one_of(&[address("10.0.0.1")].into(), Some(address("10.0.0.1"))), None);
    }

    #[test]
    fn a_pooler_is_told_only_what_the_user_says() {
        let pooled = parameters(Some(ServerSession { major: 17, pooled: true, address: None }));
        assert_eq!(pooled.options_of_children().as_deref(), Some("-c geqo=off"));
        let statements = pooled.statements(ServerSession { major: 17, pooled: true, address: None });
        assert!(
            statements.contains("'statement_timeout', '0'")
                && statements.contains("'synchronous_commit', 'off'")
        );
    }
}
