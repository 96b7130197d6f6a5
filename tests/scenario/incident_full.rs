//! Disks that are full.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::Outcome;
use crate::support::fault_proxy::{Fault, When};
use crate::support::regions::{Regions, restore_arguments};
use crate::support::shop::{databases, shop};
use crate::support::system::{Place, System, until};

/// A small file system of its own, in memory; gone when dropped.
struct Disk {
    path: PathBuf,
}

impl Disk {
    fn mount(path: &Path, kibibytes: u32) -> Outcome<Self> {
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={kibibytes}k,mode=0755"), "drctl-test"])
            .arg(path)
            .output()?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(
                format!("a disk that can be full has to be mounted, which needs root: {words}").into()
            );
        }
        Ok(Self { path: path.to_owned() })
    }

    fn resize(&self, kibibytes: u32) -> Outcome<()> {
        let size = format!("remount,size={kibibytes}k");
        let status = Command::new("mount").args(["-o", &size]).arg(&self.path).status()?;
        if status.success() { Ok(()) } else { Err("the disk could not be resized".into()) }
    }

    /// Leaves no byte free.
    fn fill(&self) -> Outcome<PathBuf> {
        let path = self.path.join("filling");
        let mut file = std::fs::File::create(&path)?;
        while std::io::Write::write(&mut file, &[0; 4096]).is_ok() {}
        Ok(path)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _gone = Command::new("umount").arg("--lazy").arg(&self.path).status();
    }
}

const NO_SPACE: &str = "no space is left";

#[tokio::test]
async fn of_a_repository() -> Outcome<()> {
    let cluster = shop(2 << 10).await?;
    let system = System::new(&cluster.url("shop"), &[Place::Directory, Place::Directory])?;
    let primary = Disk::mount(&system.repository("primary"), 64 << 10)?;
    let west = Disk::mount(&system.repository("west"), 64 << 10)?;
    system.expect(0, &["backup"]).await?;
    assert_eq!((system.backups_in("primary").len(), system.backups_in("west").len()), (1, 1));

    // The copy's disk: the backup is degraded, and says so.
    west.resize(3 << 10)?;
    system.expect(3, &["backup"]).await?.says(NO_SPACE)?.says("west")?;
    assert_eq!((system.backups_in("primary").len(), system.backups_in("west").len()), (2, 1));
    system.expect(3, &["status"]).await?;

    // The primary's, too: it fails, and nothing of it is listed. Even the lease finds no room.
    let filling = primary.fill()?;
    system.expect(1, &["backup"]).await?.says(NO_SPACE)?;
    assert_eq!((system.backups_in("primary").len(), system.backups_in("west").len()), (2, 1));
    system.expect(0, &["list"]).await?;

    // With room again, the next runs work by themselves, and nothing half done takes it up.
    std::fs::remove_file(filling)?;
    west.resize(64 << 10)?;
    system.expect(0, &["copies", "sync"]).await?;
    system.expect(0, &["backup"]).await?;
    assert_eq!((system.backups_in("primary").len(), system.backups_in("west").len()), (3, 3));
    system.expect(0, &["verify"]).await?;
    for name in ["primary", "west"] {
        let uploads = system.repository(name).join(".drctl/uploads");
        let left = std::fs::read_dir(uploads).into_iter().flatten().count();
        assert_eq!(left, 0, "{name} keeps half a write");
    }
    Ok(())
}

#[tokio::test]
async fn of_the_state_directory() -> Outcome<()> {
    let cluster = shop(100).await?;
    let system = System::new(&cluster.url("shop"), &[Place::Directory, Place::Directory])?;
    let state = system.path().join("state");
    std::fs::create_dir(&state)?;
    let disk = Disk::mount(&state, 2 << 10)?;
    system.expect(0, &["backup"]).await?;
    let filling = disk.fill()?;
    // What the catalog cannot take is not lost: the backup stands in the repositories.
    let run = system.expect(0, &["backup"]).await?;
    run.says("warning:")?;
    assert_eq!((system.backups_in("primary").len(), system.backups_in("west").len()), (2, 2));
    std::fs::remove_file(filling)?;
    let run = system.expect(0, &["list"]).await?;
    for id in system.backups_in("primary") {
        run.says(&id)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_the_scratch_of_a_restore() -> Outcome<()> {
    let cluster = shop(6 << 10).await?;
    let regions = Regions::start(&cluster.url("shop")).await?;
    regions.back_up().await?;
    let before = databases(&cluster).await?;
    let scratch = regions.system.path().join("scratch");
    std::fs::create_dir(&scratch)?;
    let disk = Disk::mount(&scratch, 1 << 10)?;
    let scratch = scratch.to_str().ok_or("path")?;
    let mut arguments = restore_arguments(&regions.system, &["restored", "--jobs", "2"])?;
    for argument in &mut arguments {
        if *argument == regions.system.path().to_str().unwrap_or_default() {
            *argument = scratch;
        }
    }
    // Known beforehand: refused, with what would help.
    let run = regions.system.expect(1, &arguments).await?;
    run.says("the unpacked dump needs")?.says("`--scratch` names another directory")?;
    assert_eq!(databases(&cluster).await?, before);

    // Taken by someone else meanwhile.
    disk.resize(32 << 10)?;
    let held = std::time::Duration::from_secs(2);
    let fetch = When::method("GET").with("database.dump");
    regions.primary.proxy.fail(fetch.times(20), Fault::Delay(held));
    let restore = regions.system.start(&arguments)?;
    // The plan has seen the free space, and the dump is still to come.
    until("the plan is shown", || restore.has_said("From primary")).await?;
    disk.fill()?;
    let run = restore.end().await?;
    assert_eq!(run.code, Some(1), "{run:#?}");
    run.says("scratch")?.says("No space left")?;
    assert_eq!(databases(&cluster).await?, before);

    // As a stream it needs none.
    for argument in &mut arguments {
        if *argument == "2" {
            *argument = "1";
        }
    }
    regions.system.expect(0, &arguments).await?;
    Ok(())
}
