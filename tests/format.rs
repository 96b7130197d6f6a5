//! Repositories that older and newer versions of drctl have written.
//!
//! `fixtures/format/v1` is one that version 0.1.0 wrote: a directory, with the identities that open it, which
//! are good for nothing else. It is never written again: what cannot read it any more must not be released.

use std::path::{Path, PathBuf};

use drctl::model::{Details, Manifest};
use drctl::pipeline::{Identities, unseal};
use drctl::repository::layout;

#[path = "support/mod.rs"]
mod support;

use support::Outcome;
use support::system::{Place, System, contents, write_private};

const BACKUP: &str = "20261121T013820Z-database-logical-gzqz";

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format/v1")
}

/// A system whose primary is the old repository, copied, and its two identities.
fn old_system() -> Outcome<(System, [PathBuf; 2])> {
    // There is no server: nothing here needs one.
    let system = System::new("postgres://nobody@127.0.0.1:1/shop", &[Place::Directory, Place::Directory])?;
    let from = fixture().join("repository");
    for path in contents(&from)?.into_keys() {
        let to = system.repository("primary").join(path.strip_prefix(&from)?);
        std::fs::create_dir_all(to.parent().ok_or("no folder")?)?;
        std::fs::copy(path, to)?;
    }
    let mut identities = [system.path().join("old-operational.key"), system.path().join("old-escrow.key")];
    for (to, from) in identities.iter_mut().zip(["operational.key", "escrow.key"]) {
        // Git keeps no mode that would do for a key.
        write_private(to, &std::fs::read_to_string(fixture().join(from))?)?;
    }
    Ok((system, identities))
}

fn manifest_path(system: &System, repository: &str) -> Outcome<PathBuf> {
    let key = layout::manifest(&"shop".parse()?, &BACKUP.parse()?);
    Ok(system.repository(repository).join(key))
}

/// Puts other words into the primary's manifest.
fn rewrite(system: &System, from: &str, to: &str) -> Outcome<()> {
    let path = manifest_path(system, "primary")?;
    let text = std::fs::read_to_string(&path)?;
    let changed = text.replacen(from, to, 1);
    assert_ne!(text, changed);
    Ok(std::fs::write(path, changed)?)
}

#[tokio::test]
async fn what_version_1_wrote_is_listed_shown_verified_and_copied() -> Outcome<()> {
    let (system, identities) = old_system()?;
    system.expect(0, &["list"]).await?.says(BACKUP)?;
    let shown = system.expect(0, &["show", BACKUP]).await?;
    shown.says("pg_restore --exit-on-error")?;
    for identity in &identities {
        let identity = identity.to_str().ok_or("path")?;
        // The copy has none yet.
        system.expect(3, &["verify", "--identity", identity]).await?.says("decrypted")?;
    }
    system.expect(0, &["copies", "sync"]).await?;
    let copy = std::fs::read(manifest_path(&system, "west")?)?;
    assert_eq!(copy, std::fs::read(manifest_path(&system, "primary")?)?);
    // The records of its runs are understood: the verify it was written with is one.
    let listed = system.expect(0, &["list", "--output", "json"]).await?.document()?;
    assert_eq!(listed["backups"][0]["state"], "checked", "{listed:#}");
    Ok(())
}

#[test]
fn what_version_1_wrote_opens_and_says_what_it_held() -> Outcome<()> {
    let (system, identities) = old_system()?;
    let path = manifest_path(&system, "primary")?;
    let manifest: Manifest = serde_json::from_slice(&std::fs::read(&path)?)?;
    let folder = path.parent().ok_or("no folder")?;
    for identity in identities {
        let identities = Identities::read(&[identity])?;
        let read = |name: &str| -> Outcome<Vec<u8>> {
            let artifact = manifest.artifact(name).ok_or("no artifact")?;
            let file = std::fs::File::open(folder.join(&artifact.objects[0].name))?;
            let mut plain = vec![];
            let mut stream = unseal(file, &artifact.encoding, &identities, Some(artifact.plain))?;
            std::io::Read::read_to_end(&mut stream, &mut plain)?;
            Ok(plain)
        };
        let details: Details = serde_json::from_slice(&read("details.json.zst.age")?)?;
        let database = details.database.ok_or("no database")?;
        assert_eq!((database.name.as_str(), database.tables[0].rows), ("shop", Some(2)));
        assert!(read("database.dump.zst.age")?.starts_with(b"PGDMP"));
        assert!(String::from_utf8(read("globals.sql.zst.age")?)?.contains("CREATE ROLE postgres"));
    }
    Ok(())
}

#[tokio::test]
async fn a_newer_minor_is_read_and_not_copied() -> Outcome<()> {
    let (system, [identity, _]) = old_system()?;
    rewrite(&system, "\"format\": \"1.0\",", "\"format\": \"1.9\",\n  \"invented_later\": { \"a\": [1] },")?;
    system.expect(0, &["list"]).await?.says(BACKUP)?;
    let identity = identity.to_str().ok_or("path")?;
    system.expect(3, &["verify", "--identity", identity]).await?.says("decrypted")?;
    let run = system.drctl(&["copies", "sync"]).await?;
    assert_ne!(run.code, Some(0), "{run:#?}");
    run.says("format 1.9 is newer than")?;
    assert!(!manifest_path(&system, "west")?.exists(), "it was copied: {run:#?}");
    Ok(())
}

#[tokio::test]
async fn an_unknown_major_is_refused_and_the_others_are_not() -> Outcome<()> {
    let (system, _) = old_system()?;
    // The copy has it as it was written; in the primary a version of the future has.
    system.expect(0, &["copies", "sync"]).await?;
    rewrite(&system, "\"format\": \"1.0\"", "\"format\": \"2.0\"")?;
    std::fs::remove_dir_all(system.path().join("state"))?;
    let run = system.expect(0, &["list", "--output", "json"]).await?;
    run.says("format 2.0 is unknown")?;
    let document = run.document()?;
    let copies = document["backups"][0]["copies"].as_array().ok_or("no copies")?;
    let of = |name: &str| copies.iter().find(|copy| copy["repository"] == name).map(|copy| &copy["state"]);
    assert_ne!(of("primary"), of("west"), "{document:#}");

    let (system, _) = old_system()?;
    rewrite(&system, "\"format\": \"1.0\"", "\"format\": \"2.0\"")?;
    let run = system.drctl(&["verify"]).await?;
    assert_ne!(run.code, Some(0), "{run:#?}");
    run.says("format 2.0 is unknown")?;
    let run = system.drctl(&["status"]).await?;
    assert_ne!(run.code, Some(0), "{run:#?}");
    Ok(())
}
