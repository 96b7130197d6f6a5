//! What a restore leaves out, or cannot do, and says: large objects of some tables, comments on extensions, objects with
//! names of several lines.

use crate::restore::origin;
use crate::support::Outcome;
use crate::support::postgres::Cluster;
use crate::support::system::Place;

#[tokio::test]
async fn large_objects_that_chosen_tables_point_to_come_along_on_request_and_are_named_without() -> Outcome<()>
{
    let cluster = Cluster::start(15).await?;
    let script = "CREATE EXTENSION lo; CREATE DOMAIN picture AS lo;
        CREATE TABLE photos (id int PRIMARY KEY, image oid, thumb lo, other picture);
        INSERT INTO photos VALUES (1, lo_from_bytea(0, 'one'), NULL, 0), (2, lo_from_bytea(0, 'two'), lo_from_bytea(0, 'small'), NULL);
        CREATE TABLE plain (id int); INSERT INTO plain VALUES (1);";
    let system = origin(&cluster, script, &[Place::Directory]).await?;
    system.expect(0, &["backup"]).await?;

    let planned = system.restore(0, &["--to", "part", "--table", "photos", "--plan"]).await?;
    planned.says("3 large objects are in the backup")?.says(
        "public.photos.image, public.photos.thumb, public.photos.other of type oid or lo may point to them",
    )?;
    // Undetermined, since rows point to nothing now: it may be just what was wanted.
    let run = system.restore(22, &["--to", "part", "--table", "photos", "--output", "json"]).await?;
    let report = run.document()?;
    let compared = &report["details"]["compared"];
    assert_eq!((&compared["large_objects"], &compared["large_objects_in_backup"]), (&().into(), &3.into()));
    assert_eq!(
        compared["dangling"],
        serde_json::json!([
            "2 values in public.photos.image point to no large object: they may be ones that were left out",
            "1 value in public.photos.thumb points to no large object: it may be one that was left out",
        ])
    );
    // Of a table that points to none it is a note.
    let plain = system.restore(0, &["--to", "plain", "--table", "plain"]).await?;
    plain
        .says("3 large objects are in the backup")?
        .says("large objects not compared (3 in the backup, left out)")?;

    for jobs in ["1", "2"] {
        let name = format!("whole{jobs}");
        let arguments =
            ["--to", &name, "--table", "photos", "--with-large-objects", "--jobs", jobs, "--output", "json"];
        let report = system.restore(0, &arguments).await?.document()?;
        assert_eq!(report["details"]["compared"]["large_objects"], 3, "{report}");
        let content =
            "SELECT convert_from(lo_get(image), 'UTF8') || ' ' || convert_from(lo_get(thumb), 'UTF8')
                         FROM photos WHERE id = 2";
        assert_eq!(cluster.text(&name, content).await?, "two small");
    }
    system.restore(2, &["--to", "other", "--with-large-objects"]).await?.says("--table")?;
    Ok(())
}

/// A cluster that was upgraded has PL/pgSQL as one of its own, and every dump of it sets its comment.
#[tokio::test]
async fn a_comment_on_an_extension_of_another_owner_is_a_note() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    let script = "DROP EXTENSION plpgsql; CREATE EXTENSION plpgsql;
        COMMENT ON EXTENSION plpgsql IS 'as upgraded';
        CREATE TABLE t (a int); INSERT INTO t VALUES (1);";
    let system = origin(&cluster, script, &[Place::Directory]).await?;
    system.expect(0, &["backup"]).await?;
    cluster.execute("postgres", &["CREATE ROLE app LOGIN CREATEDB"]).await?;
    for (name, jobs, more) in [("one", "1", None), ("two", "2", None), ("three", "1", Some("--continue"))] {
        let to = cluster.url_as("app", name);
        let arguments = ["--to", to.as_str(), "--no-owner", "--jobs", jobs];
        let arguments: Vec<&str> = arguments.into_iter().chain(more).collect();
        let run = system.restore(0, &arguments).await?;
        run.says("the comment on extension plpgsql is not set")?;
        assert_eq!(cluster.text(name, "SELECT count(*) FROM t").await?, "1");
    }
    // A superuser may.
    system.restore(0, &["--to", "four"]).await?;
    let comment = "SELECT obj_description(oid, 'pg_extension') FROM pg_extension WHERE extname = 'plpgsql'";
    assert_eq!(cluster.text("four", comment).await?, "as upgraded");
    Ok(())
}

#[tokio::test]
async fn what_did_not_load_is_named_whatever_its_name_is_and_with_its_cause() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    let script = "CREATE FUNCTION known(a int) RETURNS bool LANGUAGE sql AS 'SELECT a <> 2 OR current_database() = $$origin$$';
        CREATE TABLE \"two\nlines of\tit\" (a int CHECK (known(a))); INSERT INTO \"two\nlines of\tit\" VALUES (2);
        CREATE TABLE two (a int); INSERT INTO two VALUES (1);";
    let system = origin(&cluster, script, &[Place::Directory]).await?;
    system.expect(0, &["backup"]).await?;
    for jobs in ["1", "2"] {
        let strict = system.restore(1, &["--to", "new", "--jobs", jobs]).await?;
        strict.says(r"failed to load TABLE DATA public.two\nlines of\tit")?;
        let name = format!("new{jobs}");
        let arguments = ["--to", &name, "--continue", "--jobs", jobs, "--output", "json"];
        let report = system.restore(20, &arguments).await?.document()?;
        let reason = &report["verdict"]["reasons"][0];
        let message = reason["message"].as_str().unwrap_or_default();
        assert!(message.starts_with(r"TABLE DATA public.two\nlines of\tit: "), "{report}");
        assert_eq!(reason["cause"], "backup", "{report}");
    }
    Ok(())
}
