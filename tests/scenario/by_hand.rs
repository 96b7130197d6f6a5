//! What RESTORE-BY-HAND.txt says, done: its own commands, with the distribution's programs.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use drctl::event::Events;
use drctl::model::{BackupId, BackupKind, Manifest, Protection, RunId, SourceName, SystemName, ToolFacts};
use drctl::pipeline::{MemoryProducer, NewIdentity, Recipe};
use drctl::platform::{CancellationToken, ExposeSecret as _};
use drctl::policy::{Compression, Encryption, Recipient, Transfer};
use drctl::repository::{BackupWriter, Repositories, Repository, layout};
use drctl::store::directory::DirectoryStore;

use crate::support::Outcome;
use crate::support::postgres::Cluster;
use crate::support::shop::{digest, shop};
use crate::support::system::{Place, System, write_private};

/// The commands of a section: the indented lines, those that end in `\` joined with the next.
pub(crate) fn commands(text: &str, section: &str) -> Outcome<Vec<String>> {
    let (_, after) = text.split_once(&format!("\n{section}")).ok_or("there is no such section")?;
    let end =
        after.find("\n----").and_then(|title| after[title + 5..].find("\n----").map(|next| title + next));
    let body = &after[..end.unwrap_or(after.len())];
    let lines = body.lines().filter_map(|line| line.strip_prefix("    "));
    let mut commands: Vec<String> = Vec::new();
    let mut open = false;
    for line in lines {
        match (open, commands.last_mut()) {
            (true, Some(last)) => last.push_str(line.trim_start_matches("  ")),
            _ => commands.push(line.to_owned()),
        }
        open = line.ends_with('\\');
        if let (true, Some(last)) = (open, commands.last_mut()) {
            last.pop();
        }
    }
    Ok(commands)
}

fn only<'a>(commands: &'a [String], beginning: &str) -> Outcome<&'a str> {
    let mut found = commands.iter().filter(|command| command.starts_with(beginning));
    Ok(found.next().ok_or_else(|| format!("no command begins with `{beginning}`: {commands:#?}"))?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_several_objects_comes_back_without_drctl() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    cluster.execute("postgres", &["CREATE DATABASE shop"]).await?;
    let fill = [
        "CREATE TABLE orders (id int PRIMARY KEY, note text)",
        "INSERT INTO orders SELECT n, md5(n::text) || md5((-n)::text) FROM generate_series(1, 5000) n",
    ];
    cluster.execute("shop", &fill).await?;
    let dump = cluster.client("pg_dump").args(["-Fc", "-Z0", "shop"]).output()?;
    assert!(dump.status.success(), "{dump:?}");

    // Stored by drctl, in objects small enough to need several.
    let folder = crate::support::scratch::folder()?;
    let identity = NewIdentity::generate();
    let recipients = vec![Recipient { holder: None, key: identity.recipient() }];
    let system: SystemName = "shop".parse()?;
    let source: SourceName = "database".parse()?;
    let begun = "2026-11-20T22:02:51Z".parse()?;
    let id = BackupId::new(begun, &source, BackupKind::Logical, 7);
    let store = DirectoryStore::create(folder.path().join("primary")).await?;
    let set = Repositories::new(vec![Repository { name: "primary".parse()?, store: Arc::new(store) }]);
    let set = set.for_writing(&system, None, begun).await?;
    let repository_id = set.id().ok_or("id")?.to_owned();
    let mut writer = BackupWriter::new(
        set,
        system.clone(),
        id.clone(),
        Recipe::new(Compression { level: 3, threads: 1 }, &Encryption::Age { recipients })?,
        Transfer {
            part_size: 20_000,
            parallel: 2,
            bandwidth: None,
            stall: Duration::from_secs(20),
            object_size: 60_000,
        },
        vec![],
        Events::default(),
        CancellationToken::new(),
    );
    let artifacts = vec![
        writer.store("database.dump", Box::new(MemoryProducer::new(dump.stdout)), None).await?,
        writer
            .store("details.json", Box::new(MemoryProducer::new(b"{\"tables\": 1}".to_vec())), None)
            .await?,
    ];
    assert!(artifacts[0].objects.len() > 2);
    let manifest = Manifest {
        format: "1.0".to_owned(),
        repository_id,
        system: system.clone(),
        source,
        kind: id.kind(),
        run: RunId::new(begun, 7),
        recovery_point: begun,
        begun,
        ended: begun,
        host: "a".to_owned(),
        tool: ToolFacts { drctl: "0.1.0".to_owned(), producer: "pg_dump".to_owned() },
        server: None,
        physical: None,
        parent: None,
        point: None,
        managed: None,
        protection: Protection::Age { recipients: vec![] },
        artifacts,
        by_hand: vec![],
        id,
    };
    writer.commit(&manifest).await?;

    // From here on nothing but the text and the programs it names.
    let root = folder.path().join("primary");
    let text = std::fs::read_to_string(root.join("RESTORE-BY-HAND.txt"))?;
    let work = folder.path().join("work");
    std::fs::create_dir(&work)?;
    let fetch = commands(&text, "2. Fetch it")?;
    let copied = format!("{}{}", layout::backups(&system, &manifest.source), manifest.id);
    let fetch = only(&fetch, "cp -r")?
        .replace("DIRECTORY", &root.display().to_string())
        .replace("shop/SOURCE/backups/ID", &copied);
    let prove = commands(&text, "3. Prove")?;
    let unpack = commands(&text, "4. Decrypt")?;
    let restore = commands(&text, "6. Restore")?;
    std::fs::write(work.join("identity.key"), identity.file("test").expose_secret())?;
    let script = [
        "set -euo pipefail",
        &fetch,
        "cd backup && cp ../identity.key identity.txt",
        only(&prove, "jq -r")?,
        only(&unpack, "cat ")?,
        "jq -r '.artifacts[0].plain.sha256 + \"  database.dump\"' manifest.json | sha256sum -c",
        only(&unpack, "age -d -i identity.txt details.json.zst.age")?,
        only(&restore, "createdb --template=template0 restored")?,
        only(&restore, "pg_restore --exit-on-error --dbname")?,
        only(&commands(&text, "7. Before")?, "vacuumdb")?,
    ]
    .join("\n");
    let path = format!("{}:{}", cluster.programs().display(), std::env::var("PATH")?);
    let done = Command::new("bash")
        .args(["-c", &script])
        .current_dir(&work)
        .env("PATH", path)
        .env("PGHOST", cluster.socket_directory())
        .env("PGPORT", cluster.port().to_string())
        .env("PGUSER", "postgres")
        .stdin(Stdio::null())
        .output()?;
    assert!(done.status.success(), "{script}\n{}", String::from_utf8_lossy(&done.stderr));
    let shown = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(shown.contains("{\"tables\": 1}") && shown.contains("database.dump: OK"), "{shown}");
    let query = "SELECT count(*) || ' ' || md5(string_agg(note, '' ORDER BY id)) FROM orders";
    assert_eq!(cluster.text("restored", query).await?, cluster.text("shop", query).await?);
    Ok(())
}

/// What a backup's own manifest says, line by line.
#[tokio::test(flavor = "multi_thread")]
async fn the_lines_of_a_manifest_bring_a_backup_back_without_drctl() -> Outcome<()> {
    let cluster = shop(200).await?;
    cluster
        .execute(
            "shop",
            &[
                "CREATE ROLE \"sales & co\"",
                "CREATE VIEW articles AS SELECT name FROM goods",
                "GRANT SELECT ON articles TO \"sales & co\"",
            ],
        )
        .await?;
    let system = System::new(&cluster.url("shop"), &[Place::Directory, Place::Directory])?;
    system.expect(0, &["backup"]).await?;
    let backup = system.backups_in("west").pop().ok_or("no backup")?;
    let folder = system.repository("west").join("shop/database/backups").join(backup);
    let manifest: Manifest = serde_json::from_slice(&std::fs::read(folder.join("manifest.json"))?)?;
    // With the key that was put away, in a cluster that never saw the roles.
    let key = std::fs::read_to_string(&system.escrow)?;
    write_private(&folder.join("identity.txt"), &key)?;
    let target = Cluster::start(15).await?;
    let script = format!("set -euo pipefail\n{}", manifest.by_hand.join("\n"));
    let done = Command::new("bash")
        .args(["-c", &script])
        .current_dir(&folder)
        .env("PATH", format!("{}:{}", target.programs().display(), std::env::var("PATH")?))
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", target.port().to_string())
        .env("PGUSER", "postgres")
        .stdin(Stdio::null())
        .output()?;
    assert!(done.status.success(), "{script}\n{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(digest(&target, "restored").await?, digest(&cluster, "shop").await?);
    let granted = "has_table_privilege('sales & co', 'articles', 'SELECT')";
    assert_eq!(target.text("restored", granted).await?, "true");
    Ok(())
}
