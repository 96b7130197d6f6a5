//! A directory of ChromaDB that is written to, backed up, lost and restored; the real library reads it.

use crate::support::Outcome;
use crate::support::chroma::{Writer, counts, fill};
use crate::support::system::{Place, System};

fn system() -> Outcome<System> {
    System::of(
        "[sources.embeddings]\nkind = \"chroma\"\npath = \"chroma\"\nattempts = 20\n",
        &[Place::Directory, Place::Directory],
    )
}

async fn restore(system: &System, code: i32, to: &str) -> Outcome<crate::support::system::Run> {
    let key = system.operational.display().to_string();
    system.expect(code, &["restore", "embeddings", "--identity", &key, "--to", to]).await
}

#[tokio::test]
async fn no_vector_is_lost_while_others_are_added() -> Outcome<()> {
    let system = system()?;
    let directory = system.path().join("chroma");
    fill(&directory)?;
    let writer = Writer::start(&directory)?;
    system.expect(0, &["backup"]).await?.says("2 collections")?;
    let added = writer.end()?;
    restore(&system, 0, "restored").await?.says("2 collections")?;
    let found = counts(&system.path().join("restored"))?;
    let number = |collection: &str, name: &str| found[collection][name].as_u64().unwrap_or_default();
    assert!((405..=400 + added).contains(&number("documents", "count")), "{added} {found}");
    assert_eq!(number("pictures", "count"), 30);
    for collection in ["documents", "pictures"] {
        for name in ["found", "vectors"] {
            assert_eq!(number(collection, name), number(collection, "count"), "{collection}: {found}");
        }
    }
    restore(&system, 2, "restored").await?.says("exists, and is not overwritten")?;
    Ok(())
}

#[tokio::test]
async fn an_index_that_changes_all_the_time_is_no_backup() -> Outcome<()> {
    let system = system()?;
    system.rewrite("attempts = 20", "attempts = 2")?;
    let directory = system.path().join("chroma");
    fill(&directory)?;
    let index = std::fs::read_dir(&directory)?.flatten().find(|entry| entry.path().is_dir());
    let file = index.ok_or("there is no index")?.path().join("header.bin");
    let bytes = std::fs::read(&file)?;
    let over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let ends = std::sync::Arc::clone(&over);
    let writer = std::thread::spawn(move || {
        while !ends.load(std::sync::atomic::Ordering::Relaxed) {
            let _written = std::fs::write(&file, &bytes);
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    });
    let run = system.expect(1, &["backup"]).await;
    over.store(true, std::sync::atomic::Ordering::Relaxed);
    writer.join().map_err(|_| "the writer has panicked")?;
    run?.says("pause what writes to ChromaDB")?;
    system.expect(0, &["backup"]).await?;
    std::fs::remove_file(directory.join("chroma.sqlite3"))?;
    system.expect(1, &["backup"]).await?.says("chroma.sqlite3")?;
    Ok(())
}
