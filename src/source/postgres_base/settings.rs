use std::path::Path;

use chrono::DateTime;
use sqlx::PgConnection;

use super::configuration::{self, Configuration};
use super::error::BaseError;
use super::query::ask;
use crate::model::{ClusterFacts, SubscriptionFacts};

// Settings from a file or the command line have to be given to a restored server; the one with the libraries
// also shows whether the role may read it.
const SETTINGS: &str = "
SELECT name, CASE WHEN unit IS NULL THEN setting ELSE current_setting(name) END FROM pg_settings
 WHERE (source NOT IN ('default', 'override', 'session', 'client') AND context <> 'internal')
    OR name = 'shared_preload_libraries'
 ORDER BY name";

const DATABASES: &str = "SELECT datname::text FROM pg_database WHERE datallowconn ORDER BY 1";

// Only columns that every role may read.
const SUBSCRIPTIONS: &str = "
SELECT d.datname::text AS database, s.subname::text AS name, s.subslotname::text AS slot
  FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
 WHERE s.subslotname IS NOT NULL ORDER BY 1, 2";

/// Reads the facts of a cluster that only a running server reports, and its configuration files. `local`: the
/// data directory, where it is on this host's disk.
pub(super) async fn read(
    connection: &mut PgConnection,
    server: &str,
    major: u32,
    local: Option<&Path>,
) -> Result<(ClusterFacts, Configuration), BaseError> {
    let server_settings = ask(server, sqlx::query_as(SETTINGS).fetch_all(&mut *connection)).await?;
    let databases = ask(server, sqlx::query_scalar(DATABASES).fetch_all(&mut *connection)).await?;
    let subscriptions: Vec<(String, String, String)> =
        ask(server, sqlx::query_as(SUBSCRIPTIONS).fetch_all(&mut *connection)).await?;
    let subscription = |(database, name, slot)| SubscriptionFacts { database, name, slot };
    let configuration = configuration::read(connection, server, major, local).await?;
    let facts = ClusterFacts {
        stop_time: DateTime::default(),
        databases,
        server_settings,
        files: vec![],
        subscriptions: subscriptions.into_iter().map(subscription).collect(),
    };
    Ok((facts, configuration))
}
