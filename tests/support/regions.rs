//! Two regions: an S3 server each, behind a proxy that fails as told.

use std::path::PathBuf;

use drctl::model::Manifest;
use drctl::repository::layout;
use drctl::store::directory::DirectoryStore;
use drctl::store::list_all;

use super::Outcome;
use super::fault_proxy::{Fault, FaultProxy, When};
use super::s3::S3Server;
use super::stores::missing_objects;
use super::system::{Place, System};

/// The prefix of the repository in each bucket.
const PREFIX: &str = "backups";

pub(crate) struct Region {
    pub(crate) proxy: FaultProxy,
    pub(crate) server: S3Server,
}

impl Region {
    async fn start() -> Outcome<Self> {
        let server = S3Server::start().await?;
        Ok(Self { proxy: FaultProxy::to(server.address).await?, server })
    }

    fn place(&self) -> Place {
        Place::of_server(self.proxy.address)
    }

    /// The repository's files: an object's key is its path.
    pub(crate) fn files(&self) -> PathBuf {
        self.server.file(PREFIX)
    }

    /// The ids of the backups that are listed here: those with a manifest. Each must be whole.
    pub(crate) async fn backups(&self) -> Outcome<Vec<String>> {
        whole_backups(self.files()).await
    }

    /// How many calls came so far.
    pub(crate) fn calls(&self) -> usize {
        self.proxy.calls().len()
    }

    /// What is left of uploads that were begun and neither completed nor aborted.
    pub(crate) fn half_done(&self) -> Outcome<Vec<String>> {
        let bucket = self.server.file("");
        let root = bucket.parent().ok_or("no root")?;
        let mut found = vec![];
        for entry in std::fs::read_dir(root)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            // Parts without this file are of an upload that the server has ended.
            if name.starts_with(".upload-") {
                found.push(name);
            }
        }
        Ok(found)
    }
}

/// Those of the repository whose files are in `folder`; a backup that is listed and not whole is an error.
pub(crate) async fn whole_backups(folder: PathBuf) -> Outcome<Vec<String>> {
    if !folder.exists() {
        return Ok(vec![]);
    }
    let store = DirectoryStore::open(folder);
    let mut ids = vec![];
    for object in list_all(&store, "shop/").await? {
        if !object.key.ends_with(layout::MANIFEST) {
            continue;
        }
        let bytes = drctl::store::Store::get(&store, &object.key, 1 << 20).await?.0;
        let manifest: Manifest = serde_json::from_slice(&bytes)?;
        let faults = missing_objects(&store, &manifest).await?;
        if !faults.is_empty() {
            return Err(format!("half a backup is listed: {faults:?}").into());
        }
        ids.push(manifest.id.to_string());
    }
    Ok(ids)
}

pub(crate) struct Regions {
    pub(crate) primary: Region,
    pub(crate) west: Region,
    pub(crate) system: System,
}

impl Regions {
    /// `url`: of the database that is backed up.
    pub(crate) async fn start(url: &str) -> Outcome<Self> {
        let (primary, west) = (Region::start().await?, Region::start().await?);
        let system = System::new(url, &[primary.place(), west.place()])?;
        // As patient as a test, and with parts as small as they may be.
        system.append("[transfer]\npart_size = \"5MiB\"\nparallel = 2\nstall = \"10s\"")?;
        Ok(Self { primary, west, system })
    }

    pub(crate) fn each(&self) -> [(&'static str, &Region); 2] {
        [("primary", &self.primary), ("west", &self.west)]
    }

    pub(crate) fn fail(&self, when: &When, fault: &Fault) {
        for (_, region) in self.each() {
            region.proxy.fail(when.clone(), fault.clone());
        }
    }

    pub(crate) fn heal(&self) {
        self.primary.proxy.heal();
        self.west.proxy.heal();
    }

    /// What a killed run leaves is taken over at once, not a minute later.
    pub(crate) fn expire_leases(&self) -> Outcome<()> {
        System::expire_leases(&self.primary.files())?;
        System::expire_leases(&self.west.files())
    }

    /// The arguments that restore into a new database, which is named last, and may be followed by more.
    pub(crate) fn restore<'a>(&'a self, more: &[&'a str]) -> Outcome<Vec<&'a str>> {
        restore_arguments(&self.system, more)
    }

    /// Takes a backup nothing happens to, and gives its id.
    pub(crate) async fn back_up(&self) -> Outcome<String> {
        let run = self.system.expect(0, &["backup", "--output", "json"]).await?;
        let id = run.document()?["sources"][0]["backup"].as_str().ok_or("no id")?.to_owned();
        for (name, region) in self.each() {
            if !region.backups().await?.contains(&id) {
                return Err(format!("{name} does not have {id}, and drctl says nothing: {run:#?}").into());
            }
        }
        Ok(id)
    }
}

/// The arguments that restore the newest backup with the operational key; `more` begins with the name of the
/// new database.
pub(crate) fn restore_arguments<'a>(system: &'a System, more: &[&'a str]) -> Outcome<Vec<&'a str>> {
    let identity = system.operational.to_str().ok_or("the path of the identity")?;
    let scratch = system.path().to_str().ok_or("the path of the scratch")?;
    let mut arguments = vec!["restore", "database", "--identity", identity, "--scratch", scratch, "--to"];
    arguments.extend(more);
    Ok(arguments)
}
