//! Bytes that are not what they were, and keys that are not the right ones.

use std::path::{Path, PathBuf};

use drctl::pipeline::NewIdentity;
use drctl::platform::ExposeSecret as _;

use crate::support::Outcome;
use crate::support::postgres::Cluster;
use crate::support::regions::restore_arguments;
use crate::support::shop::{databases, digest, shop};
use crate::support::system::{Place, System, write_private};

/// What is done to a stored object.
#[derive(Clone, Copy, Debug)]
enum Damage {
    /// A bit at so many hundredths of its length.
    Flipped(usize),
    Cut,
    Longer,
    Empty,
    Gone,
}

const ALL: [Damage; 6] =
    [Damage::Flipped(0), Damage::Flipped(50), Damage::Cut, Damage::Longer, Damage::Empty, Damage::Gone];

/// An object that was spoiled; dropping it puts it back.
struct Spoiled {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Spoiled {
    fn object(path: &Path, damage: Damage) -> Outcome<Self> {
        let bytes = std::fs::read(path)?;
        let mut spoiled = bytes.clone();
        match damage {
            Damage::Flipped(hundredths) => spoiled[bytes.len() * hundredths / 100] ^= 1,
            Damage::Cut => spoiled.truncate(bytes.len() - 1),
            Damage::Longer => spoiled.push(0),
            Damage::Empty => spoiled.clear(),
            Damage::Gone => {}
        }
        std::fs::remove_file(path)?;
        if !matches!(damage, Damage::Gone) {
            std::fs::write(path, spoiled)?;
        }
        Ok(Self { path: path.to_owned(), bytes })
    }
}

impl Drop for Spoiled {
    fn drop(&mut self) {
        let _back = std::fs::write(&self.path, &self.bytes);
    }
}

struct Stage {
    cluster: Cluster,
    system: System,
    backup: String,
}

impl Stage {
    async fn new() -> Outcome<Self> {
        let cluster = shop(300).await?;
        let system = System::new(&cluster.url("shop"), &[Place::Directory, Place::Directory])?;
        system.expect(0, &["backup"]).await?;
        let backup = system.backups_in("primary").pop().ok_or("no backup")?;
        Ok(Self { cluster, system, backup })
    }

    fn object(&self, repository: &str, name: &str) -> PathBuf {
        self.system.repository(repository).join("shop/database/backups").join(&self.backup).join(name)
    }
}

#[tokio::test]
async fn every_damage_is_found_and_named() -> Outcome<()> {
    let stage = Stage::new().await?;
    for name in ["database.dump.zst.age", "globals.sql.zst.age", "details.json.zst.age"] {
        for damage in ALL {
            let told = format!("{name}: {damage:?}");
            let spoiled = Spoiled::object(&stage.object("west", name), damage)?;
            let run = stage.system.expect(1, &["verify", "--output", "json"]).await?;
            let document = run.document()?;
            let copies = document["copies"].as_array().ok_or("no copies")?;
            assert_eq!(copies.len(), 2, "{told}: {document:#}");
            for copy in copies {
                let (verdict, faults) = (&copy["verdict"], &copy["faults"]);
                if copy["repository"] == "west" {
                    assert_eq!(verdict, "bad", "{told}: {document:#}");
                    assert_eq!(faults[0]["object"], name, "{told}: {document:#}");
                    assert_eq!(faults.as_array().map(Vec::len), Some(1), "{told}: {document:#}");
                } else {
                    assert_eq!(verdict, "good", "{told}: {document:#}");
                }
            }
            drop(spoiled);
        }
    }
    // What was bad is good again once it was put right, and that is found out, too.
    stage.system.expect(0, &["verify"]).await?.says("good")?;
    // Wherever a key is, the plain bytes are compared as well.
    let identity = stage.system.escrow.to_str().ok_or("path")?;
    stage.system.expect(0, &["verify", "--identity", identity]).await?.says("decrypted")?;
    Ok(())
}

#[tokio::test]
async fn a_manifest_that_was_changed_is_not_believed() -> Outcome<()> {
    let stage = Stage::new().await?;
    let path = stage.object("west", "manifest.json");
    for damage in [Damage::Flipped(0), Damage::Flipped(50), Damage::Longer, Damage::Empty] {
        let spoiled = Spoiled::object(&path, damage)?;
        let run = stage.system.drctl(&["verify"]).await?;
        assert_ne!(run.code, Some(0), "{damage:?}: {run:#?}");
        run.says("west")?;
        drop(spoiled);
    }
    let gone = Spoiled::object(&path, Damage::Gone)?;
    stage.system.expect(21, &["status"]).await?.says("west")?;
    drop(gone);
    stage.system.expect(0, &["status"]).await?;

    // A manifest that tells of another object's bytes.
    let text = std::fs::read_to_string(&path)?;
    let manifest: serde_json::Value = serde_json::from_str(&text)?;
    let size = manifest["artifacts"][0]["objects"][0]["stored"]["size"].as_u64().ok_or("size")?;
    std::fs::write(&path, text.replace(&size.to_string(), &(size + 1).to_string()))?;
    let run = stage.system.drctl(&["verify"]).await?;
    assert_ne!(run.code, Some(0), "{run:#?}");
    Ok(())
}

#[tokio::test]
async fn a_restore_uses_the_copy_that_is_good_or_publishes_nothing() -> Outcome<()> {
    let stage = Stage::new().await?;
    let original = digest(&stage.cluster, "shop").await?;
    let before = databases(&stage.cluster).await?;
    let cases = [
        ("database.dump.zst.age", Damage::Flipped(50), "2"),
        ("database.dump.zst.age", Damage::Flipped(99), "1"),
        ("database.dump.zst.age", Damage::Cut, "1"),
        ("database.dump.zst.age", Damage::Gone, "2"),
        ("details.json.zst.age", Damage::Flipped(95), "2"),
    ];
    for (name, damage, jobs) in cases {
        let told = format!("{name}: {damage:?}, {jobs} jobs");
        let primary = Spoiled::object(&stage.object("primary", name), damage)?;
        let arguments = restore_arguments(&stage.system, &["restored", "--jobs", jobs])?;
        let run = stage.system.expect(0, &arguments).await.map_err(|error| format!("{told}: {error}"))?;
        run.says("west").map_err(|error| format!("{told}: {error}"))?;
        assert_eq!(digest(&stage.cluster, "restored").await?, original, "{told}");
        stage.cluster.execute("postgres", &["DROP DATABASE restored"]).await?;

        let west = Spoiled::object(&stage.object("west", name), damage)?;
        let run = stage.system.expect(1, &arguments).await.map_err(|error| format!("{told}: {error}"))?;
        run.says(name)?;
        assert_eq!(databases(&stage.cluster).await?, before, "{told}: {run:#?}");
        drop((primary, west));
    }
    Ok(())
}

#[tokio::test]
async fn keys_that_are_wrong_missing_or_the_second() -> Outcome<()> {
    let stage = Stage::new().await?;
    let system = &stage.system;
    let original = digest(&stage.cluster, "shop").await?;
    let before = databases(&stage.cluster).await?;
    let stranger = system.path().join("stranger.key");
    write_private(&stranger, NewIdentity::generate().file("stranger").expose_secret())?;
    let open = system.path().join("open.key");
    std::fs::copy(&system.operational, &open)?;
    std::fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    let path = |path: &Path| path.to_str().map(str::to_owned).ok_or("path");
    let (stranger, open, escrow) = (path(&stranger)?, path(&open)?, path(&system.escrow)?);
    let absent = path(&system.path().join("absent.key"))?;

    let restore = ["restore", "database", "--to", "restored", "--identity"];
    for (arguments, code, words) in [
        (&restore[..4], 12, "encrypted"),
        (&[&restore[..], &[stranger.as_str()]].concat()[..], 12, "recipients"),
        (&[&restore[..], &[absent.as_str()]].concat()[..], 2, "absent.key"),
        (&[&restore[..], &[open.as_str()]].concat()[..], 2, "chmod 600"),
        (&["verify", "--identity", stranger.as_str()][..], 12, "no identity given opens it"),
    ] {
        let run = system.expect(code, arguments).await?;
        run.says(words)?;
        assert_eq!(databases(&stage.cluster).await?, before, "{run:#?}");
        assert!(!format!("{run:?}").contains("AGE-SECRET-KEY"), "{run:#?}");
    }
    // Either of the two opens it, and a stranger's key beside it does no harm.
    for arguments in [
        [&restore[..], &[escrow.as_str()]].concat(),
        [&restore[..], &[stranger.as_str(), "--identity", escrow.as_str()]].concat(),
    ] {
        system.expect(0, &arguments).await?;
        assert_eq!(digest(&stage.cluster, "restored").await?, original);
        stage.cluster.execute("postgres", &["DROP DATABASE restored"]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_restore_passes_over_a_backup_that_was_found_bad_and_takes_it_only_by_name() -> Outcome<()> {
    let stage = Stage::new().await?;
    stage.cluster.execute("shop", &["CREATE TABLE newer (n int)"]).await?;
    stage.system.expect(0, &["backup"]).await?;
    let newest = stage.system.backups_in("primary").into_iter().max().ok_or("no backup")?;
    assert_ne!(newest, stage.backup);
    let newest = Stage { backup: newest, ..stage };
    let mut spoiled = Vec::new();
    for repository in ["primary", "west"] {
        let path = newest.object(repository, "globals.sql.zst.age");
        spoiled.push(Spoiled::object(&path, Damage::Flipped(50))?);
    }
    let (system, cluster) = (&newest.system, &newest.cluster);
    system.expect(1, &["verify"]).await?;
    let arguments = restore_arguments(system, &["restored"])?;
    let named = [&arguments[..], &["--backup", &newest.backup]].concat();
    let has_newer =
        async || cluster.text("restored", "SELECT (to_regclass('newer') IS NOT NULL)::text").await;
    // Also on a host that has only the journal.
    for forget in [false, true] {
        if forget {
            std::fs::remove_dir_all(system.path().join("state"))?;
        }
        let run = system.expect(0, &arguments).await?;
        run.says(&format!("{} is newer and is not used", newest.backup))?;
        assert_eq!(has_newer().await?, "false");
        cluster.execute("postgres", &["DROP DATABASE restored"]).await?;
    }
    // Its dump is whole: who names it is warned, and gets it.
    let run = system.expect(0, &named).await?;
    run.says(&format!("{} is restored, although", newest.backup))?;
    assert_eq!(has_newer().await?, "true");
    Ok(())
}
