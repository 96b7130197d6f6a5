//! How a session of drctl, or of a child, is opened: with settings of its own, and not through what would give
//! them to others.
//!
//! *Invariants.* The settings come with the first message of a session, so that nothing that a role, a database
//! or the server sets by default ever holds for it. A pooler does not take them. Through one that gives each
//! transaction another connection nothing is done: `pg_dump` sets its session outside of any transaction, and
//! that would stay on the connections of the application.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::PoisonError;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection, Row as _};

use super::{ConnectError, ConnectionParameters, ServerSession, literal};
use crate::platform::seed;

/// What drctl's own sessions have beside what all have: a query finds nothing by a name alone. It is set when the
/// session is there, so that `DEFAULT` is still what an application has.
const OWN: [(&str, &str); 1] = [("search_path", "")];

/// What every session has, whatever the role, the database and the server say. All are known to every server
/// that can be dumped.
const EVERY: [(&str, &str); 6] = [
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("default_transaction_read_only", "off"),
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_deferrable", "off"),
];

/// The same of newer servers, with their first major.
const NEWER: [(u32, &str, &str); 2] = [(14, "idle_session_timeout", "0"), (17, "transaction_timeout", "0")];

/// Set where it is known: a server notices within seconds that nobody waits for a long query any more.
const NOTICE: &str = "SELECT pg_catalog.set_config(name, '10s', false) FROM pg_catalog.pg_settings
      WHERE name = 'client_connection_check_interval' AND pg_catalog.version() LIKE '%linux%'";

/// Any server shows it only to the session that was opened with it.
const MARK: &str = "drctl.session";

/// SQLSTATEs of one that does not take settings with the first message: poolers, proxies.
const NOT_TAKEN: [&str; 4] = ["08P01", "0A000", "42704", "22023"];

/// How often two sessions are asked for what serves them.
const LOOKS: u32 = 3;

impl ConnectionParameters {
    /// What the last session found; `None` where there was none yet.
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

    /// What is left to set when the server is known. The session is drctl's alone.
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

    /// Whether two sessions that are open at a time are served by one connection. The statements are the
    /// simple ones, which leave nothing behind.
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

    /// The address that children take, where the name of the host has several: a name may be that of several
    /// servers, and they are to go where the session went.
    pub(super) async fn address_of_children(&self) -> Option<IpAddr> {
        let server = self.reached()?.address;
        if server.is_none() || self.is_socket() || self.host.parse::<IpAddr>().is_ok() {
            return None;
        }
        let found = tokio::net::lookup_host((self.host.as_str(), self.port));
        let found = tokio::time::timeout(self.connect_timeout, found).await.ok()?.ok()?;
        one_of(&found.map(|address| address.ip()).collect(), server)
    }

    /// What a child's session has; `None` where nothing is to be said.
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

/// Settings as the server's command line has them.
fn command_line<'a>(settings: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let escaped = |value: &str| value.replace('\\', r"\\").replace(' ', r"\ ");
    settings.map(|(name, value)| format!("-c {name}={}", escaped(value))).collect::<Vec<_>>().join(" ")
}

fn is_not_taken(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| NOT_TAKEN.contains(&&*code))
}

/// The server's major, its address, and the mark that this session has.
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

/// Which of several addresses of a name is the server's; `None` where there is no choice.
fn one_of(addresses: &BTreeSet<IpAddr>, server: Option<IpAddr>) -> Option<IpAddr> {
    server.filter(|server| addresses.len() > 1 && addresses.contains(server))
}

/// The server's process behind a session now.
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
