//! What is refused is refused with words that say why, and nothing is touched.

use crate::support::Outcome;
use crate::support::postgres::Cluster;
use crate::support::shop::shop;
use crate::support::system::{Place, Run, System, contents};

const TWO_DIRECTORIES: [Place; 2] = [Place::Directory, Place::Directory];

/// Runs `drctl` and insists that it refuses in these words, and that the repositories stay as they are.
async fn refuses(system: &System, arguments: &[&str], code: i32, words: &[&str]) -> Outcome<()> {
    let stores = ["primary", "west"].map(|name| system.repository(name));
    let before = (contents(&stores[0])?, contents(&stores[1])?);
    let run = system.expect(code, arguments).await?;
    for words in words {
        run.says(words)?;
    }
    if before != (contents(&stores[0])?, contents(&stores[1])?) {
        return Err(format!("a refused {arguments:?} changed the repositories: {run:#?}").into());
    }
    Ok(())
}

#[tokio::test]
async fn a_policy_that_is_wrong() -> Outcome<()> {
    // No server: a policy is refused before anything is asked.
    let url = "postgres://nobody@127.0.0.1:1/shop";
    let cases: [(&str, &str, &[&str]); 7] = [
        ("rto = \"4h\"", "rto = \"4h\"\nrpoo = \"1h\"", &["policy.toml:", "rpoo", "`rpo`"]),
        (
            "[sources.database]",
            "[schedule.sources]\ndatabase = \"61 3 * * *\"\n\n[sources.database]",
            &["policy.toml:", "61 3 * * *"],
        ),
        (url, "mysql://nobody@127.0.0.1/shop", &["policy.toml:", "mysql"]),
        (url, "postgres://nobody:hunter2@127.0.0.1/shop", &["policy.toml:", "password"]),
        ("recipients = [", "recipients = []\nunused = [", &["policy.toml:", "recipients"]),
        ("rpo = \"1h\"", "rpo = \"soon\"", &["policy.toml:", "soon"]),
        ("name = \"shop\"", "name = \"The Shop\"", &["policy.toml:", "The Shop"]),
    ];
    for (from, to, words) in cases {
        let system = System::new(url, &TWO_DIRECTORIES)?;
        system.rewrite(from, to)?;
        refuses(&system, &["backup"], 2, words).await?;
        let run = system.expect(2, &["backup", "--output", "json"]).await?;
        assert_eq!(run.document()?["exit"], 2, "{run:#?}");
        assert!(!run.stderr.contains("hunter2"), "a refusal tells a password: {run:#?}");
    }
    let system = System::new(url, &TWO_DIRECTORIES)?;
    refuses(&system, &["backup", "databse"], 2, &["no source `databse`", "`database`"]).await?;
    let system = System::new(url, &[Place::Directory])?;
    std::fs::create_dir(system.repository("west"))?;
    system.rewrite("[repository.primary]", "[repository.copies.west]")?;
    refuses(&system, &["backup"], 2, &["primary"]).await
}

#[tokio::test]
async fn a_database_that_cannot_be_dumped_whole() -> Outcome<()> {
    let cluster = shop(10).await?;
    cluster
        .execute("shop", &["CREATE ROLE clerk LOGIN", "GRANT SELECT ON goods, goods_id_seq TO clerk"])
        .await?;
    let system = System::new(&cluster.url_as("clerk", "shop"), &TWO_DIRECTORIES)?;
    refused_source(&system, &["`clerk`", r#"table "public"."orders" (no SELECT)"#]).await?;

    let system = System::new(&cluster.url("shopp"), &TWO_DIRECTORIES)?;
    refused_source(&system, &["shopp", "does not exist"]).await?;

    let system = System::new("postgres://postgres@127.0.0.1:1/shop", &TWO_DIRECTORIES)?;
    refused_source(&system, &["127.0.0.1", "refused"]).await
}

#[tokio::test]
async fn a_server_that_is_newer_than_every_pg_dump() -> Outcome<()> {
    let cluster = Cluster::start(17).await?;
    let mut system = System::new(&cluster.url("postgres"), &TWO_DIRECTORIES)?;
    // A machine that has version 17 installed is made to look like one that has not.
    let old = crate::support::postgres::programs(15)?;
    system.set("PATH", &format!("{}:/usr/bin:/bin", old.display()));
    if std::path::Path::new("/usr/lib/postgresql/17/bin/pg_dump").exists() {
        return Err("this machine has PostgreSQL 17 installed, so there is nothing to refuse".into());
    }
    refused_source(&system, &["no pg_dump of PostgreSQL 17 or newer", "pg_dump (PostgreSQL) 15"]).await
}

/// The source is refused once the repositories were opened: they are marked as this system's, and hold a
/// lease and the record of the failed run, but no backup and nothing of one.
async fn refused_source(system: &System, words: &[&str]) -> Outcome<()> {
    let run = system.expect(1, &["backup"]).await?;
    for words in words {
        run.says(words)?;
    }
    for name in ["primary", "west"] {
        let of_backups: Vec<_> = contents(&system.repository(name))?
            .into_keys()
            .filter(|path| path.to_string_lossy().contains("/backups/"))
            .collect();
        assert!(of_backups.is_empty(), "{of_backups:?}");
    }
    system.expect(0, &["list"]).await?.says("There are no backups.")?;
    system.expect(10, &["status"]).await?;
    Ok(())
}

#[tokio::test]
async fn a_repository_of_someone_else_or_of_another_format() -> Outcome<()> {
    let cluster = shop(10).await?;
    let system = System::new(&cluster.url("shop"), &TWO_DIRECTORIES)?;
    system.expect(0, &["backup"]).await?;
    let marker = system.repository("west").join("drctl-repository.json");
    let ours = std::fs::read_to_string(&marker)?;
    let backup = system.backups_in("west").pop().ok_or("no backup")?;

    let other = |from: &str, to: &str| -> Outcome<()> {
        let changed = ours.replace(from, to);
        assert_ne!(changed, ours);
        Ok(std::fs::write(&marker, changed)?)
    };
    let id = serde_json::from_str::<serde_json::Value>(&ours)?["repository_id"]
        .as_str()
        .ok_or("no id")?
        .to_owned();

    other("\"system\": \"shop\"", "\"system\": \"bakery\"")?;
    // What was ours and is another's now costs that repository, and no backup in the others.
    refuses_to_write(&system, &["backup"], 3, "west").await?.says("belongs to system `bakery`")?;
    other(&id, &"f".repeat(32))?;
    let told = format!("its id is `{}`", "f".repeat(32));
    refuses_to_write(&system, &["backup"], 3, "west").await?.says(&told)?;

    // A newer minor is read, and not written to.
    other("\"format\": \"1.0\"", "\"format\": \"1.9\"")?;
    refuses_to_write(&system, &["backup"], 3, "west").await?.says("format 1.9 is newer than")?;
    refuses(&system, &["list"], 0, &[&backup]).await?;
    // What was backed up since is missing there.
    refuses_to_write(&system, &["verify"], 3, "west").await?.says("missing")?;

    // An unknown major is not even read.
    other("\"format\": \"1.0\"", "\"format\": \"2.0\"")?;
    refuses_to_write(&system, &["backup"], 3, "west").await?.says("format 2.0 is unknown")?;
    refuses(&system, &["list"], 0, &["format 2.0 is unknown"]).await?;

    // The whole repository: nothing can be restored from it, and nobody pretends.
    std::fs::write(
        system.repository("primary").join("drctl-repository.json"),
        ours.replace("\"format\": \"1.0\"", "\"format\": \"2.0\""),
    )?;
    let run = system.drctl(&["status"]).await?;
    assert_ne!(run.code, Some(0), "{run:#?}");
    run.says("format 2.0 is unknown")?;
    Ok(())
}

/// Runs `drctl`, which may write to the other repositories, but not to this one.
async fn refuses_to_write(system: &System, arguments: &[&str], code: i32, name: &str) -> Outcome<Run> {
    let before = contents(&system.repository(name))?;
    let run = system.expect(code, arguments).await?;
    if before != contents(&system.repository(name))? {
        return Err(format!("{arguments:?} changed {name}: {run:#?}").into());
    }
    Ok(run)
}
