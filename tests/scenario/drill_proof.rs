//! What drills measure is true, and what they read is what was there.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Utc};
use drctl::model::ContentSum;
use drctl::postgres::{ConnectionParameters, SumRequest, count_rows, read_facts, sum_contents};
use serde_json::Value;

use crate::restore::origin;
use crate::support::Outcome;
use crate::support::moto::Moto;
use crate::support::postgres::Cluster;
use crate::support::s3::S3Server;
use crate::support::slow_proxy::SlowProxy;
use crate::support::system::{Place, Run, System};

fn policy(system: &System, checks: &str) -> Outcome<()> {
    let (directory, identity) = (system.path().join("drills"), system.operational.display());
    system.append(&format!(
        "[drill]\nsource = \"database\"\nidentity = \"file:{identity}\"\ndirectory = \"{}\"\n{checks}",
        directory.display()
    ))
}

fn record(run: &Run) -> Outcome<Value> {
    Ok(run.document()?["record"].clone())
}

fn number(value: &Value) -> Outcome<f64> {
    value.as_f64().ok_or_else(|| format!("{value} is no number").into())
}

/// Whether a measure is within 5 % and a second of the truth.
fn agrees(measured: f64, truth: f64) -> bool {
    (measured - truth).abs() <= truth.abs() * 0.05 + 1.0
}

#[tokio::test(flavor = "multi_thread")]
async fn the_measured_rto_and_rpo_agree_with_a_known_rate_and_a_known_last_commit() -> Outcome<()> {
    /// Bytes a second.
    const RATE: u64 = 400 << 10;
    let cluster = Arc::new(Cluster::start(15).await?);
    let store = S3Server::start().await?;
    let proxy = SlowProxy::to(store.address).await?;
    // Bytes that do not compress, and a ledger that goes on while they are dumped.
    let script = "CREATE TABLE bulk AS SELECT g, decode(string_agg(md5(random()::text), ''), 'hex') AS bytes
                    FROM generate_series(1, 90) g, generate_series(1, 1500) h GROUP BY g;
        CREATE TABLE ledger (id int GENERATED ALWAYS AS IDENTITY, at timestamptz)";
    let system = origin(&cluster, script, &[Place::Directory, Place::of_server(proxy.address)]).await?;
    let newest =
        "[[drill.checks]]\nname = \"newest\"\nsql = \"SELECT max(at) FROM ledger\"\nnewer_than = \"1h\"\n";
    policy(&system, newest)?;
    let over = Arc::<AtomicBool>::default();
    let writer = tokio::spawn({
        let (cluster, over) = (Arc::clone(&cluster), Arc::clone(&over));
        async move {
            while !over.load(Ordering::SeqCst) {
                cluster.execute("origin", &["INSERT INTO ledger (at) VALUES (clock_timestamp())"]).await?;
            }
            Outcome::Ok(())
        }
    });
    system.expect(0, &["backup"]).await?;
    over.store(true, Ordering::SeqCst);
    writer.await??;

    let run = async || -> Outcome<(Value, f64)> {
        let begun = std::time::Instant::now();
        let run = system.expect(0, &["drill", "run", "--output", "json"]).await?;
        Ok((record(&run)?, begun.elapsed().as_secs_f64()))
    };
    proxy.slow_down(RATE).await;
    let (slow, lasted) = run().await?;

    // What came back over the slow way took its time, and no more is measured than was waited for.
    let rto = number(&slow["results"]["rto_seconds"])?;
    let transfer = proxy.passed().await as f64 / RATE as f64;
    assert!(transfer > 4.0, "{transfer}");
    assert!(rto > transfer * 0.95 - 1.0 && rto <= lasted, "{transfer} <= {rto} <= {lasted}: {slow:#}");

    // The newest row that came back tells what would have been lost.
    let results = &slow["results"];
    let begun = results["reference"].as_str().ok_or("no reference")?;
    let begun = chrono::NaiveDateTime::parse_from_str(begun, "%Y-%m-%d %H:%M:%S UTC")?.and_utc();
    let checks = results["checks"].as_array().cloned().unwrap_or_default();
    let newest = checks.iter().find(|check| check["check"] == "newest").ok_or("no check")?;
    let found = newest["found"].as_str().ok_or("nothing was found")?;
    let committed: DateTime<Utc> = DateTime::parse_from_str(found, "%F %T%.f%#z")?.to_utc();
    let (rpo, truth) = (number(&results["rpo_seconds"])?, (begun - committed).as_seconds_f64());
    assert!(agrees(rpo, truth), "{rpo} of {truth}: {slow:#}");
    Ok(())
}

/// Every version of every object, and every delete marker.
async fn versions(client: &aws_sdk_s3::Client) -> Outcome<Vec<(String, String)>> {
    let answer = client.list_object_versions().bucket("backups").send().await?;
    assert!(!answer.is_truncated().unwrap_or_default(), "there are more");
    let objects = answer.versions().iter().map(|one| (one.key(), one.version_id()));
    let markers = answer.delete_markers().iter().map(|one| (one.key(), one.version_id()));
    let all = objects.chain(markers);
    let mut all: Vec<_> = all
        .map(|(key, id)| (key.unwrap_or_default().to_owned(), id.unwrap_or_default().to_owned()))
        .collect();
    all.sort();
    Ok(all)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_hidden_and_overwritten_comes_back_and_the_bucket_stays_as_it_is() -> Outcome<()> {
    use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
    let cluster = Cluster::start(15).await?;
    let moto = Moto::start().await?;
    let client = moto.s3();
    client.create_bucket().bucket("backups").send().await?;
    let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    client.put_bucket_versioning().bucket("backups").versioning_configuration(enabled).send().await?;
    let place = Place::S3 {
        endpoint: moto.url(),
        bucket: "backups".to_owned(),
        access_key: "AKIDEXAMPLE".to_owned(),
        secret_key: "secret".to_owned(),
    };
    let script = "CREATE TABLE tasks AS SELECT generate_series(1, 30) AS id";
    let system = origin(&cluster, script, &[Place::Directory, place]).await?;
    let check = "[[drill.checks]]\nname = \"tasks\"\nsql = \"SELECT count(*) FROM tasks\"\nequals = \"30\"\n";
    policy(&system, check)?;
    system.expect(0, &["backup"]).await?;
    let run = system.expect(0, &["drill", "run", "--output", "json"]).await?;
    assert_eq!(record(&run)?["verdict"]["outcome"], "pass");

    // Times of a bucket are whole seconds.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    for object in client.list_objects_v2().bucket("backups").send().await?.contents() {
        let key = object.key().unwrap_or_default();
        match key.ends_with("database.dump.zst.age") {
            true => {
                let body = aws_sdk_s3::primitives::ByteStream::from_static(b"pay us");
                client.put_object().bucket("backups").key(key).body(body).send().await?;
            }
            false => drop(client.delete_object().bucket("backups").key(key).send().await?),
        }
    }
    let before = versions(&client).await?;
    let newest = system.drctl(&["drill", "run", "--output", "json"]).await?;
    assert_ne!(record(&newest)?["verdict"]["outcome"], "pass", "{newest:#?}");

    let run = system.drctl(&["drill", "run", "--scenario", "ransomware", "--output", "json"]).await?;
    let found = record(&run)?;
    assert_eq!(found["verdict"]["outcome"], "pass", "{run:#?}");
    assert_eq!(found["sample"]["repository"], "west", "{found:#}");
    assert!(found["sample"]["as_of"].is_string(), "{found:#}");
    assert!(found["findings"].to_string().contains("hidden or overwritten in `west`"), "{found:#}");
    // Nothing that was there was touched; a record may have come.
    let after = versions(&client).await?;
    assert!(before.iter().all(|version| after.contains(version)), "{after:#?}");
    let other = |version: &&(String, String)| !before.contains(version) && !version.0.contains("/journal/");
    assert_eq!(after.iter().find(other), None, "{after:#?}");

    // A directory keeps no versions, and so does not survive that.
    let run = system
        .expect(22, &["drill", "run", "--scenario", "ransomware", "--from", "primary", "--output", "json"])
        .await?;
    assert_eq!(record(&run)?["verdict"]["code"], "no-versions");
    Ok(())
}

/// The sums of a database's tables, by name.
async fn sums(cluster: &Cluster, database: &str) -> Outcome<Vec<(String, Option<ContentSum>)>> {
    let parameters = ConnectionParameters::from_url(&cluster.url(database).parse()?)?;
    let mut connection = parameters.connect().await?;
    sqlx::raw_sql("BEGIN").execute(&mut connection).await?;
    let mut facts = read_facts(&mut connection).await?;
    count_rows(&mut connection, &mut facts.tables).await?;
    sum_contents(&mut connection, &mut facts.tables, SumRequest::Budget).await;
    // The transaction goes on.
    sqlx::raw_sql("SELECT 1").execute(&mut connection).await?;
    Ok(facts.tables.into_iter().map(|table| (table.name, table.content)).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sum_of_a_table_tells_other_contents_wherever_its_rows_are() -> Outcome<()> {
    for major in [15, 17] {
        let cluster = Cluster::start(major).await?;
        cluster.execute("postgres", &["CREATE DATABASE one"]).await?;
        let script = r#"CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE DOMAIN short AS varchar(9);
            CREATE TABLE "Much" (id int PRIMARY KEY, drctl_row text, f float8, t timestamptz, i interval, b bytea,
                j jsonb, a text[], m mood, s short, r int4range, n numeric, gone int);
            ALTER TABLE "Much" DROP COLUMN gone;
            INSERT INTO "Much" SELECT g, md5(g::text), g / 3.0, 'epoch'::timestamptz + g * interval '1 hour',
                g * interval '1 minute', decode(md5(g::text), 'hex'), jsonb_build_object('g', g), array[g::text],
                'good', 'x', int4range(g, g + 1), g / 7.0 FROM generate_series(1, 5000) g;
            CREATE TABLE of_this_server (a regclass); INSERT INTO of_this_server VALUES ('pg_class');
            CREATE TABLE parent (a int); CREATE TABLE child () INHERITS (parent);
            INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2), (3); CREATE TABLE empty (a int);
            CREATE TABLE turned (a int, c int GENERATED ALWAYS AS (a * 2) STORED, b text);
            INSERT INTO turned (a, b) VALUES (1, 'x'), (2, 'y');
            CREATE DOMAIN number AS int;
            CREATE TABLE by_number (id number PRIMARY KEY) WITH (autovacuum_enabled = false);
            CREATE TABLE by_json (id jsonb PRIMARY KEY) WITH (autovacuum_enabled = false);
            INSERT INTO by_number SELECT generate_series(1, 200001);
            INSERT INTO by_json SELECT to_jsonb(g) FROM generate_series(1, 200001) g"#;
        cluster.psql("one", script).await?;
        cluster.execute("postgres", &["CREATE DATABASE two TEMPLATE one"]).await?;
        let of = |all: &[(String, Option<ContentSum>)], name: &str| {
            all.iter().find(|(own, _)| own == name).and_then(|(_, sum)| sum.clone())
        };
        let one = sums(&cluster, "one").await?;
        assert_eq!(of(&one, "Much").map(|sum| sum.rows), Some(5000), "{one:#?}");
        assert_eq!(
            (of(&one, "parent").map(|sum| sum.rows), of(&one, "child").map(|sum| sum.rows)),
            (Some(1), Some(2))
        );
        assert_eq!((of(&one, "of_this_server"), of(&one, "empty")), (None, None));
        // Which rows are the first and the last of a large table must not depend on how the server sorts text.
        assert_eq!((of(&one, "by_number").map(|sum| sum.rows), of(&one, "by_json")), (Some(2000), None));
        // As a reload leaves a table that inherits, and computes what another version computes otherwise.
        let turned = "DROP TABLE turned; CREATE TABLE turned (b text, a int, c int GENERATED ALWAYS AS (a * 3) STORED);
            INSERT INTO turned (a, b) VALUES (1, 'x'), (2, 'y')";
        assert_eq!(of(&one, "turned").map(|sum| sum.rows), Some(2));
        cluster.psql("two", turned).await?;
        // Other places of the same rows, and settings of the role, are the same contents.
        cluster.execute("two", &[r#"UPDATE "Much" SET id = id WHERE id % 3 = 0"#]).await?;
        cluster.execute("postgres", &["ALTER DATABASE two SET extra_float_digits = 0"]).await?;
        assert_eq!(sums(&cluster, "two").await?, one);
        cluster.execute("two", &[r#"UPDATE "Much" SET n = n + 1 WHERE id = 2500"#]).await?;
        let two = sums(&cluster, "two").await?;
        assert_ne!(of(&two, "Much"), of(&one, "Much"));
        assert_eq!(of(&two, "child"), of(&one, "child"));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_after_it_was_recorded_is_found_though_no_row_is_missing() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    // Filling the view, which comes last, changes what was loaded.
    let script = "CREATE TABLE t AS SELECT g AS id, 'kept' AS text FROM generate_series(1, 100) g;
        CREATE FUNCTION spoil() RETURNS int LANGUAGE plpgsql AS
            $$BEGIN UPDATE public.t SET text = 'changed' WHERE id = 50; RETURN 1; END$$;
        CREATE MATERIALIZED VIEW v AS SELECT public.spoil() AS one;
        UPDATE t SET text = 'kept'";
    let system = origin(&cluster, script, &[Place::Directory]).await?;
    system.expect(0, &["backup"]).await?;
    let run = system.restore(20, &["--to", "spoiled"]).await?;
    run.says("table public.t has as many rows as were dumped, and other contents")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn several_policies_are_drilled_by_one_command_and_one_that_is_wrong_stops_none() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    let mut systems = Vec::new();
    for (n, name) in ["first", "second"].iter().enumerate() {
        let database = format!("several_{n}");
        cluster.execute("postgres", &[&format!("CREATE DATABASE {database}")]).await?;
        cluster.psql(&database, "CREATE TABLE tasks AS SELECT generate_series(1, 3) AS id").await?;
        let system = System::new(&cluster.url(&database), &[Place::Directory])?;
        system.rewrite("name = \"shop\"", &format!("name = \"{name}\""))?;
        let least = if n == 0 { 4 } else { 3 };
        let check = format!(
            "[[drill.checks]]\nname = \"tasks\"\nsql = \"SELECT count(*) FROM tasks\"\nat_least = {least}\n"
        );
        policy(&system, &check)?;
        system.expect(0, &["backup"]).await?;
        systems.push(system);
    }
    let broken = systems[0].path().join("broken.toml");
    std::fs::write(&broken, "[system]\nname = 3\n")?;
    let (broken, second) = (broken.to_string_lossy().into_owned(), systems[1].policy());
    let second = second.to_string_lossy();
    // The first fails, the one in between cannot be read, and the last passes.
    let also = ["drill", "run", "--also", &broken, "--also", &second];
    let run = systems[0].expect(20, &[&also[..], &["--output", "json"]].concat()).await?;
    let document = run.document()?;
    let rows = document["drills"].as_array().cloned().unwrap_or_default();
    let told: Vec<_> = rows
        .iter()
        .map(|row| (row["system"].as_str(), row["outcome"].as_str(), row["exit"].as_u64()))
        .collect();
    assert_eq!(
        told,
        [
            (Some("first"), Some("fail"), Some(20)),
            (None, None, Some(2)),
            (Some("second"), Some("pass"), Some(0))
        ],
        "{document:#}"
    );
    assert!(Path::new(&systems[1].repository("primary")).join("second/journal/drills").is_dir());
    Ok(())
}

#[tokio::test]
async fn what_a_job_of_aws_backup_makes_is_checked_by_a_program_and_deleted_again() -> Outcome<()> {
    use crate::recovery_point::{EAST, Stage};
    let arn = |name: &str| format!("arn:aws:rds:{EAST}:123456789012:db:{name}");
    let stage = Stage::of(&arn("shop")).await?;
    stage.system.expect(0, &["backup"]).await?;
    let identity = stage.system.operational.display().to_string();
    let run = async |code: i32| -> Outcome<Value> {
        let words = ["drill", "run", "--scenario", "aws-backup", "--output", "json", "-i", &identity];
        record(&stage.system.expect(code, &words).await?)
    };
    stage.system.append("[drill]\nsource = \"database\"\n")?;
    assert_eq!(run(22).await?["verdict"]["code"], "not-isolated");
    assert_eq!(stage.aws.world().count("StartRestoreJob"), 0);
    // Nobody used it: that is no pass.
    stage
        .system
        .rewrite("source = \"database\"\n", "source = \"database\"\ndanger_unverified_isolation = true\n")?;
    let found = run(22).await?;
    assert_eq!(found["verdict"]["code"], "no-login", "{found:#}");
    assert_eq!(found["cleanup"]["is_complete"], true, "{found:#}");
    let check = "[[drill.checks]]\nname = \"made\"\ncommand = [\"sh\", \"-c\", \"case $DRCTL_RESOURCE in *:db:drctl-drill-*) ;; *) exit 1; esac\"]\n";
    stage.system.append(check)?;
    let found = run(0).await?;
    assert_eq!(found["verdict"]["outcome"], "pass", "{found:#}");
    assert_eq!(found["sample"]["kind"], "recovery-point", "{found:#}");
    let phase = |name: &str| {
        let phases = found["phases"].as_array().cloned().unwrap_or_default();
        phases.into_iter().find(|phase| phase["phase"] == name)
    };
    assert_eq!(phase("restore job").ok_or_else(|| format!("no job: {found:#}"))?["counts"], true);
    assert!(found["findings"].to_string().contains("by AWS's clock"), "{found:#}");
    assert!(found["results"]["rpo_seconds"].is_number(), "{found:#}");
    let made: Vec<_> =
        stage.aws.world().resources.keys().filter(|arn| arn.contains("drctl-drill")).cloned().collect();
    assert_eq!(made, Vec::<String>::new());
    Ok(())
}
