//! The database that is backed up in most scenarios.

use super::Outcome;
use super::postgres::Cluster;

/// What a row of `goods` weighs, about: bytes that do not compress.
const ROW: u32 = 1024;

/// A cluster whose database `shop` holds about so many KiB that do not compress.
pub(crate) async fn shop(kibibytes: u32) -> Outcome<Cluster> {
    let cluster = Cluster::start(15).await?;
    fill(&cluster, kibibytes).await?;
    Ok(cluster)
}

/// Makes database `shop` in a cluster.
pub(crate) async fn fill(cluster: &Cluster, kibibytes: u32) -> Outcome<()> {
    cluster.execute("postgres", &["CREATE DATABASE shop"]).await?;
    let rows = kibibytes * 1024 / ROW;
    cluster
        .execute(
            "shop",
            &[
                "CREATE EXTENSION pgcrypto",
                "CREATE TABLE goods (id serial PRIMARY KEY, name text NOT NULL, picture bytea)",
                &format!(
                    "INSERT INTO goods (name, picture)
                     SELECT 'article ' || n, gen_random_bytes({ROW}) FROM generate_series(1, {rows}) n"
                ),
                "CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY, goods int REFERENCES goods)",
                "INSERT INTO orders (goods) SELECT id FROM goods",
            ],
        )
        .await
}

/// A digest of all that database holds in its tables, to compare a restored one.
pub(crate) async fn digest(cluster: &Cluster, database: &str) -> Outcome<String> {
    cluster
        .text(
            database,
            "(SELECT md5(string_agg(md5(goods::text), '' ORDER BY id)) FROM goods)
             || (SELECT md5(string_agg(orders::text, '' ORDER BY id)) FROM orders)",
        )
        .await
}

/// The server's databases, sorted: a restore that failed adds none.
pub(crate) async fn databases(cluster: &Cluster) -> Outcome<String> {
    cluster.text("postgres", "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database").await
}
