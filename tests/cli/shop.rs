//! A system with backups that were put there without taking them: their bytes are noise of a known size.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use drctl::model::{
    Artifact, BackupId, BackupKind, Digest, Encoding, Manifest, ObjectPart, Protection, RecipientPrint,
    RunId, ServerFacts, SourceName, SystemName, ToolFacts,
};
use drctl::platform::{Clock as _, SystemClock};
use drctl::repository::{Repositories, Repository, layout, manifest};
use drctl::store::directory::DirectoryStore;
use drctl::store::{PutOptions, Store};

use crate::support::Outcome;
use crate::support::system::{Place, Run, System};

const REPOSITORY_ID: &str = "0123456789abcdef0123456789abcdef";

pub(crate) struct Shop {
    pub(crate) system: System,
    now: DateTime<Utc>,
}

impl Shop {
    /// `primary` and `west`, with an objective of six hours.
    pub(crate) async fn new() -> Outcome<Self> {
        let system = System::new("postgres://drctl@db.internal/shop", &[Place::Directory, Place::Directory])?;
        let policy = std::fs::read_to_string(system.policy())?.replace("rpo = \"1h\"", "rpo = \"6h\"");
        std::fs::write(system.policy(), policy)?;
        let shop = Self { system, now: SystemClock.now() };
        let mut both = Vec::new();
        for name in ["primary", "west"] {
            both.push(Repository { name: name.parse()?, store: shop.store(name) });
        }
        Repositories::new(both).for_writing(&shop.name()?, Some(REPOSITORY_ID), shop.now).await?;
        Ok(shop)
    }

    fn name(&self) -> Outcome<SystemName> {
        Ok("shop".parse()?)
    }

    pub(crate) fn store(&self, repository: &str) -> Arc<dyn Store> {
        Arc::new(DirectoryStore::open(self.system.repository(repository)))
    }

    /// A backup whose data is `hours` old, in the repositories named.
    pub(crate) async fn backup(&self, hours: i64, repositories: &[&str]) -> Outcome<Manifest> {
        // The id tells parts of a second, which differ with every run.
        let begun = (self.now - TimeDelta::hours(hours)).trunc_subsecs(0);
        let source: SourceName = "database".parse()?;
        let mut artifacts = Vec::new();
        let mut objects = Vec::new();
        for (name, sizes) in
            [("database.dump.zst.age", &[400_000, 30_000][..]), ("details.json.zst.age", &[2_000])]
        {
            let mut parts = Vec::new();
            for (n, size) in sizes.iter().enumerate() {
                let bytes =
                    Bytes::from(format!("{hours}{name}{n}").into_bytes().repeat(*size)).slice(..*size);
                let name = layout::object_name(name, n);
                parts.push(ObjectPart { name: name.clone(), stored: Digest::compute(&bytes) });
                objects.push((name, bytes));
            }
            artifacts.push(Artifact {
                name: name.to_owned(),
                plain: Digest {
                    size: 3 * sizes.iter().sum::<usize>() as u64,
                    ..Digest::compute(name.as_bytes())
                },
                encoding: vec![Encoding::Zstd, Encoding::Age],
                objects: parts,
            });
        }
        let recipient = |holder: &str| RecipientPrint {
            recipient: format!("age1{holder}"),
            holder: Some(holder.to_owned()),
        };
        let backup = Manifest {
            format: "1.0".to_owned(),
            repository_id: REPOSITORY_ID.to_owned(),
            system: self.name()?,
            id: BackupId::new(begun, &source, BackupKind::Logical, u32::try_from(hours.unsigned_abs())?),
            source,
            kind: BackupKind::Logical,
            run: RunId::new(begun, 1),
            recovery_point: begun,
            begun,
            ended: begun + TimeDelta::seconds(20),
            host: "app-1".to_owned(),
            tool: ToolFacts { drctl: "0.1.0".to_owned(), producer: "pg_dump (PostgreSQL) 17.6".to_owned() },
            server: Some(ServerFacts {
                version: "17.5".to_owned(),
                major: 17,
                system_identifier: None,
                address: None,
                replaces: None,
            }),
            physical: None,
            parent: None,
            point: None,
            managed: None,
            protection: Protection::Age { recipients: vec![recipient("operational"), recipient("escrow")] },
            artifacts,
            by_hand: vec!["age -d -i key.txt database.dump.zst.age | zstd -d > database.dump".to_owned()],
        };
        for repository in repositories {
            let store = self.store(repository);
            for (name, bytes) in &objects {
                let key = layout::object(&backup.system, &backup.id, name);
                store.put(&key, bytes.clone(), &PutOptions::absent()).await?;
            }
            let bytes = manifest::serialise(&backup)?;
            manifest::commit(&*store, &backup.system, &backup.id, bytes, &PutOptions::default()).await?;
        }
        Ok(backup)
    }

    /// An object's file.
    pub(crate) fn file(&self, repository: &str, backup: &Manifest, object: &str) -> std::path::PathBuf {
        self.system.repository(repository).join(layout::object(&backup.system, &backup.id, object))
    }

    /// Makes a repository unreachable, as a mount that is missing is.
    pub(crate) fn unplug(&self, repository: &str) -> Outcome<()> {
        let folder = self.system.repository(repository);
        Ok(std::fs::rename(&folder, folder.with_extension("away"))?)
    }

    pub(crate) fn plug(&self, repository: &str) -> Outcome<()> {
        let folder = self.system.repository(repository);
        Ok(std::fs::rename(folder.with_extension("away"), &folder)?)
    }

    pub(crate) async fn shown(&self, arguments: &[&str]) -> Outcome<String> {
        let Run { code, stdout, stderr } = self.system.drctl(arguments).await?;
        let code = code.map_or_else(|| "none".to_owned(), |code| code.to_string());
        let folder = self.system.path().display().to_string();
        // Of a prefix only what is the same in every run.
        let words: Vec<_> =
            arguments.iter().map(|word| if word.starts_with("20") { "ID" } else { word }).collect();
        let text =
            format!("$ drctl {}\nexit {code}\n--- stdout\n{stdout}--- stderr\n{stderr}", words.join(" "));
        Ok(text.replace(&folder, "/SHOP"))
    }

    pub(crate) async fn json(&self, code: i32, arguments: &[&str]) -> Outcome<serde_json::Value> {
        let arguments: Vec<_> = arguments.iter().copied().chain(["--output", "json"]).collect();
        let run = self.system.expect(code, &arguments).await?;
        let last = run.stdout.lines().last().ok_or("there is no document")?;
        Ok(serde_json::from_str(last)?)
    }
}

/// Ids and times differ with every run; what replaces them is as wide.
pub(crate) fn redacted() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(true);
    settings.add_filter(r"\d{8}T\d{6}Z", "20261120T220251Z");
    settings.add_filter(r"20261120T220251Z-[2-9b-z]{4}\b", "20261120T220251Z-7f3k");
    settings.add_filter(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "2026-11-20T22:02:51Z");
    settings.add_filter(r"\d{4}-\d\d-\d\d \d\d:\d\d:", "2026-11-20 22:02:");
    settings
}

/// Compares what a verb shows with its snapshot.
macro_rules! assert_shown {
    ($shop:expr, $arguments:expr) => {{
        let shown = $shop.shown(&$arguments).await?;
        $crate::shop::redacted().bind(|| insta::assert_snapshot!(shown));
    }};
}
pub(crate) use assert_shown;
