//! The database that is backed up: the same bytes in every run, on every machine.

use std::fmt::Write as _;

use fastrand::Rng;
use sqlx::postgres::PgConnection;

use crate::support::Outcome;

/// Rows of each table at full size: a little more than a gigabyte in all.
const CUSTOMERS: u64 = 250_000;
const ORDERS: u64 = 1_000_000;
const MESSAGES: u64 = 500_000;
const DOCUMENTS: u64 = 12_000;

const TABLES: &str = "
    CREATE TABLE customers (
        id bigint NOT NULL, key uuid NOT NULL, name text NOT NULL, email text NOT NULL,
        created timestamptz NOT NULL, profile jsonb NOT NULL);
    CREATE TABLE orders (
        id bigint NOT NULL, key uuid NOT NULL, customer bigint NOT NULL, placed timestamptz NOT NULL,
        status text NOT NULL, total numeric(12, 2) NOT NULL, lines jsonb NOT NULL);
    CREATE TABLE messages (
        id bigint NOT NULL, customer bigint NOT NULL, sent timestamptz NOT NULL, body text NOT NULL);
    CREATE TABLE documents (
        id bigint NOT NULL, key uuid NOT NULL, name text NOT NULL, stored timestamptz NOT NULL,
        content bytea NOT NULL);
    ALTER TABLE documents ALTER content SET STORAGE EXTERNAL;";

const INDEXES: &str = "
    ALTER TABLE customers ADD PRIMARY KEY (id), ADD UNIQUE (key);
    ALTER TABLE orders ADD PRIMARY KEY (id);
    CREATE INDEX orders_by_customer ON orders (customer, placed);
    ALTER TABLE messages ADD PRIMARY KEY (id);
    CREATE INDEX messages_by_customer ON messages (customer, sent);
    ALTER TABLE documents ADD PRIMARY KEY (id), ADD UNIQUE (key);
    ALTER TABLE orders ADD FOREIGN KEY (customer) REFERENCES customers;
    ALTER TABLE messages ADD FOREIGN KEY (customer) REFERENCES customers;";

/// Fills an empty database. `divisor` makes it that many times smaller.
pub(crate) async fn fill(connection: &mut PgConnection, divisor: u64) -> Outcome<()> {
    sqlx::raw_sql(TABLES).execute(&mut *connection).await?;
    let mut writer = Writer::new(CUSTOMERS / divisor);
    copy(connection, "customers", CUSTOMERS / divisor, |id, row| writer.customer(id, row)).await?;
    copy(connection, "orders", ORDERS / divisor, |id, row| writer.order(id, row)).await?;
    copy(connection, "messages", MESSAGES / divisor, |id, row| writer.message(id, row)).await?;
    copy(connection, "documents", DOCUMENTS / divisor, |id, row| writer.document(id, row)).await?;
    sqlx::raw_sql(INDEXES).execute(&mut *connection).await?;
    // Else the first one to read the tables pays for marking their rows.
    sqlx::raw_sql("VACUUM (FREEZE, ANALYZE)").execute(&mut *connection).await?;
    sqlx::raw_sql("CHECKPOINT").execute(connection).await?;
    Ok(())
}

/// How many rows there are of everything: what a restore has to bring back.
pub(crate) fn rows(divisor: u64) -> u64 {
    [CUSTOMERS, ORDERS, MESSAGES, DOCUMENTS].into_iter().map(|rows| rows / divisor).sum()
}

/// Loads rows in COPY's text format.
async fn copy(
    connection: &mut PgConnection,
    table: &str,
    rows: u64,
    mut write: impl FnMut(u64, &mut String),
) -> Outcome<()> {
    let mut copy = connection.copy_in_raw(&format!("COPY {table} FROM STDIN")).await?;
    let mut text = String::new();
    for id in 1..=rows {
        write(id, &mut text);
        if text.len() > 1 << 20 || id == rows {
            copy.send(text.as_bytes()).await?;
            text.clear();
        }
    }
    copy.finish().await?;
    Ok(())
}

struct Writer {
    random: Rng,
    words: Vec<String>,
    customers: u64,
}

impl Writer {
    fn new(customers: u64) -> Self {
        let mut random = Rng::with_seed(2026);
        let words = (0..8_000)
            .map(|_| {
                let syllables = random.usize(1..=4);
                (0..syllables)
                    .flat_map(|_| [pick(&mut random, b"bcdfghklmnprstvw"), pick(&mut random, b"aeiou")])
                    .collect()
            })
            .collect();
        Self { random, words, customers }
    }

    fn customer(&mut self, id: u64, row: &mut String) {
        let (key, created) = (self.uuid(), self.moment());
        let (first, last) = (self.word().to_owned(), self.word().to_owned());
        let (city, theme, score) = (self.word().to_owned(), self.random.bool(), self.random.u32(0..1_000));
        let _ = writeln!(
            row,
            "{id}\t{key}\t{first} {last}\t{first}.{last}{id}@example.org\t{created}\t{{\"city\": \"{city}\", \
             \"dark\": {theme}, \"score\": {score}, \"tags\": [\"{last}\", \"{first}\"], \"phone\": null}}"
        );
    }

    fn order(&mut self, id: u64, row: &mut String) {
        let (key, placed, customer) = (self.uuid(), self.moment(), self.random.u64(1..=self.customers));
        let status = ["placed", "paid", "packed", "sent", "returned"][self.random.usize(..5)];
        let total = self.random.u32(100..1_000_000);
        let _ =
            write!(row, "{id}\t{key}\t{customer}\t{placed}\t{status}\t{}.{:02}\t[", total / 100, total % 100);
        for line in 0..self.random.u32(1..4) {
            let comma = if line > 0 { ", " } else { "" };
            let (sku, pieces, cents) =
                (self.random.u32(..), self.random.u32(1..9), self.random.u32(50..90_000));
            let name = self.word();
            let _ = write!(
                row,
                "{comma}{{\"sku\": \"{sku:08x}\", \"name\": \"{name}\", \"pieces\": {pieces}, \"cents\": {cents}}}"
            );
        }
        row.push_str("]\n");
    }

    fn message(&mut self, id: u64, row: &mut String) {
        let (customer, sent) = (self.random.u64(1..=self.customers), self.moment());
        let _ = write!(row, "{id}\t{customer}\t{sent}\t");
        for _ in 0..self.random.u32(20..180) {
            let word = self.word();
            row.push_str(word);
            row.push(' ');
        }
        row.push_str("End.\n");
    }

    /// 4 to 36 KiB that nothing can make smaller.
    fn document(&mut self, id: u64, row: &mut String) {
        let (key, stored) = (self.uuid(), self.moment());
        let name = self.word();
        let _ = write!(row, "{id}\t{key}\t{name}.pdf\t{stored}\t\\\\x");
        for _ in 0..self.random.u32(512..4_608) {
            let _ = write!(row, "{:016x}", self.random.u64(..));
        }
        row.push('\n');
    }

    fn uuid(&mut self) -> String {
        let bits = self.random.u128(..);
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            bits >> 96,
            bits >> 80 & 0xffff,
            bits >> 64 & 0xffff,
            bits >> 48 & 0xffff,
            bits & 0xffff_ffff_ffff
        )
    }

    /// A moment of the last three years, to the microsecond.
    fn moment(&mut self) -> String {
        let (year, month, day) =
            (self.random.u32(2023..2026), self.random.u32(1..13), self.random.u32(1..29));
        let (second, micros) = (self.random.u32(0..86_400), self.random.u32(0..1_000_000));
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{micros:06}+00")
    }

    /// A few words are frequent and most are rare, as in any language.
    fn word(&mut self) -> &str {
        let place = self.random.f64().powi(4) * self.words.len() as f64;
        &self.words[place as usize]
    }
}

fn pick(random: &mut Rng, letters: &[u8]) -> char {
    char::from(letters[random.usize(..letters.len())])
}
