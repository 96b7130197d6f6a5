//! Files and directories: everything nasty comes back, and nothing goes anywhere else.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::Outcome;
use crate::support::system::{Place, System, until};

/// A name that has to stand nowhere in clear.
const MARKER: &str = "marker-of-a-secret-name";

/// A system whose only source is a directory.
fn system(places: &[Place], more: &str) -> Outcome<System> {
    let system = System::of("", places)?;
    let tree = system.path().join("srv/uploads");
    fs::create_dir_all(&tree)?;
    let source = format!("[sources.uploads]\nkind = \"files\"\npaths = [\"{}\"]\n{more}", tree.display());
    system.append(&source)?;
    Ok(system)
}

fn tree(system: &System) -> PathBuf {
    system.path().join("srv/uploads")
}

/// Where the tree is below the directory that it was restored into.
fn restored(system: &System, to: &str) -> PathBuf {
    let tree = tree(system);
    system.path().join(to).join(tree.strip_prefix("/").unwrap_or(&tree))
}

fn run(program: &str, arguments: &[&OsStr]) -> Outcome<String> {
    let output = Command::new(program).args(arguments).output()?;
    if !output.status.success() {
        return Err(format!("{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Insists that two trees are the same: owners, modes, times, hard links, ACLs, attributes and bytes.
fn same(one: &Path, other: &Path) -> Outcome<()> {
    let slashed = |path: &Path| path.join("").into_os_string();
    let words =
        ["-aHAX", "--dry-run", "--checksum", "--itemize-changes", "--delete", "--exclude=/sparse-20g"];
    let mut arguments: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
    let (one, other) = (slashed(one), slashed(other));
    arguments.extend([one.as_os_str(), other.as_os_str()]);
    let differences = run("rsync", &arguments)?;
    if differences.is_empty() { Ok(()) } else { Err(format!("they differ:\n{differences}").into()) }
}

fn ids(system: &System, repository: &str) -> Vec<String> {
    let folder = system.repository(repository).join("shop/uploads/backups");
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut ids: Vec<_> = entries
        .filter(|entry| entry.path().join("manifest.json").exists())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    ids.sort();
    ids
}

fn manifest(system: &System, id: &str) -> Outcome<serde_json::Value> {
    let path = system.repository("primary").join("shop/uploads/backups").join(id).join("manifest.json");
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

async fn restore(system: &System, code: i32, more: &[&str]) -> Outcome<crate::support::system::Run> {
    let identity = system.operational.to_string_lossy().into_owned();
    let arguments = [&["restore", "uploads", "--identity", &identity], more].concat();
    system.expect(code, &arguments).await
}

/// Everything that a file system can have.
fn fill(tree: &Path) -> Outcome<()> {
    let path = |name: &[u8]| tree.join(OsStr::from_bytes(name));
    fs::create_dir_all(tree.join("a/deep/er"))?;
    fs::create_dir(tree.join("empty"))?;
    fs::create_dir(tree.join("b"))?;
    fs::write(tree.join("a").join(MARKER), MARKER)?;
    for name in [
        &b"-rf"[..],
        b"line\nbreak",
        b"not \xff\xfe utf-8",
        b" blank ",
        b"a/*",
        b"...",
        b"quote'\"$(x)",
        &[b'n'; 255],
        &[&b"a/deep/"[..], &[0xfe; 250]].concat(),
    ] {
        fs::write(path(name), name)?;
    }
    // A path longer than a system call takes.
    let mut long = tree.join("long");
    for _ in 0..18 {
        long.push("d".repeat(200));
    }
    fs::create_dir_all(&long)?;
    fs::write(long.join("f"), "deep")?;
    fs::write(tree.join("a/one"), "linked")?;
    fs::hard_link(tree.join("a/one"), tree.join("b/two"))?;
    fs::hard_link(tree.join("a/one"), tree.join("zz-three"))?;
    symlink("/etc/passwd", tree.join("absolute"))?;
    symlink("../../nowhere", tree.join("dangling"))?;
    symlink("x".repeat(300), tree.join("long-link"))?;
    fs::write(tree.join("suid"), "s")?;
    fs::set_permissions(tree.join("suid"), Permissions::from_mode(0o4755))?;
    fs::write(tree.join("none"), "n")?;
    fs::set_permissions(tree.join("none"), Permissions::from_mode(0o000))?;
    fs::set_permissions(tree.join("b"), Permissions::from_mode(0o1777))?;
    std::os::unix::fs::chown(tree.join("none"), Some(12345), Some(54321))?;
    run("mkfifo", &[tree.join("pipe").as_os_str()])?;
    run("mknod", &[tree.join("null").as_os_str(), "c".as_ref(), "1".as_ref(), "3".as_ref()])?;
    let with = |program: &str, words: &[&str]| {
        let mut arguments: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
        let (file, folder) = (tree.join("suid"), tree.join("a"));
        arguments.extend([file.as_os_str(), folder.as_os_str()]);
        run(program, &arguments)
    };
    with("setfattr", &["-n", "user.note", "-v", "a=b\nc"])?;
    with("setfacl", &["-m", "u:12345:rw-"])?;
    run("setfacl", &["-d".as_ref(), "-m".as_ref(), "u:12345:r-x".as_ref(), tree.join("a/deep").as_os_str()])?;
    let sparse = File::create(tree.join("sparse"))?;
    sparse.set_len(64 << 20)?;
    sparse.write_all_at(&[7; 5000], 1 << 20)?;
    sparse.write_all_at(b"middle", 40 << 20)?;
    let huge = File::create(tree.join("sparse-20g"))?;
    huge.set_len(20 << 30)?;
    huge.write_all_at(b"far", 19 << 30)?;
    File::create(tree.join("all-hole"))?.set_len(3 << 20)?;
    let noise: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    fs::write(tree.join("large"), noise)?;
    let times = fs::FileTimes::new()
        .set_modified(std::time::UNIX_EPOCH - Duration::from_millis(1500))
        .set_accessed(std::time::UNIX_EPOCH);
    File::options().write(true).open(tree.join("-rf"))?.set_times(times)?;
    fs::create_dir(tree.join("many"))?;
    for n in 0..2000 {
        fs::write(tree.join(format!("many/{n:05}")), n.to_string().repeat(20))?;
    }
    Ok(())
}

/// Insists that the large sparse file is what it was, and takes no more room.
fn same_sparse(one: &Path, other: &Path) -> Outcome<()> {
    let (one, other) = (File::open(one)?, File::open(other)?);
    let (before, after) = (one.metadata()?, other.metadata()?);
    assert_eq!((before.len(), before.mtime_nsec()), (after.len(), after.mtime_nsec()));
    assert!(after.blocks() <= before.blocks() + 64, "{} and {} blocks", before.blocks(), after.blocks());
    let mut bytes = [0; 3];
    other.read_exact_at(&mut bytes, 19 << 30)?;
    assert_eq!(&bytes, b"far");
    Ok(())
}

/// Nothing that whoever reads a repository or a terminal sees has the name of a file.
fn names_nothing(system: &System, runs: &[&crate::support::system::Run]) -> Outcome<()> {
    for run in runs {
        assert!(!format!("{run:?}").contains(MARKER), "{run:?}");
    }
    for path in crate::support::system::contents(&system.repository("primary"))?.into_keys() {
        assert!(!path.to_string_lossy().contains(MARKER));
        let bytes = fs::read(&path)?;
        let found = bytes.windows(MARKER.len()).any(|some| some == MARKER.as_bytes());
        assert!(!found, "{} has the name of a file", path.display());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_nasty_comes_back_equal_from_a_chain_and_by_hand() -> Outcome<()> {
    let system = system(&[Place::Directory, Place::Directory], "")?;
    let tree = tree(&system);
    fill(&tree)?;
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let full = system.expect(0, &["backup"]).await?;
    let first = restore(&system, 0, &["--to", "first"]).await?;
    same(&tree, &restored(&system, "first"))?;
    same_sparse(&tree.join("sparse-20g"), &restored(&system, "first").join("sparse-20g"))?;

    // What changes: a file for a directory and the other way round, names gone, new, moved and linked.
    let unchanged = system.expect(0, &["backup"]).await?;
    fs::remove_dir_all(tree.join("empty"))?;
    fs::write(tree.join("empty"), "a file now")?;
    fs::remove_file(tree.join("large"))?;
    fs::create_dir(tree.join("large"))?;
    fs::write(tree.join("large/inside"), "a directory now")?;
    fs::remove_dir_all(tree.join("many"))?;
    fs::rename(tree.join("a/deep"), tree.join("moved"))?;
    fs::remove_file(tree.join("a/one"))?;
    fs::write(tree.join("-rf"), "changed")?;
    fs::remove_file(tree.join("dangling"))?;
    fs::write(tree.join("dangling"), "no link any more")?;
    let plan = system.expect(0, &["backup", "--plan"]).await?;
    plan.says("incremental, since")?;
    let increment = system.expect(0, &["backup", "--incremental"]).await?;
    let taken = ids(&system, "primary");
    assert_eq!(taken.len(), 3);
    let parents: Vec<_> = taken.iter().map(|id| manifest(&system, id)).collect::<Outcome<_>>()?;
    assert!(parents[0]["parent"].is_null());
    assert_eq!(parents[2]["parent"].as_str(), Some(taken[1].as_str()));
    let second = restore(&system, 0, &["--to", "second"]).await?;
    same(&tree, &restored(&system, "second"))?;

    // By hand, with the commands of the manifest.
    let folder = system.repository("primary").join("shop/uploads/backups").join(&taken[2]);
    let lines = parents[2]["by_hand"].as_array().ok_or("no commands")?;
    let script: Vec<_> = lines.iter().filter_map(|line| line.as_str()).collect();
    let script = script.join("\n").replace("identity.txt", &system.operational.to_string_lossy());
    let output =
        Command::new("bash").args(["-euo", "pipefail", "-c", &script]).current_dir(&folder).output()?;
    assert!(output.status.success(), "{}\n{}", script, String::from_utf8_lossy(&output.stderr));
    let by_hand = folder.join("restored").join(tree.strip_prefix("/")?);
    same(&tree, &by_hand)?;
    fs::remove_dir_all(folder.join("restored"))?;

    // One file, by reading what has it; and the state of the full backup.
    let path = tree.join("b/two");
    let one = restore(&system, 0, &["--to", "one", "--path", &path.to_string_lossy()]).await?;
    assert_eq!(fs::read_to_string(restored(&system, "one").join("b/two"))?, "linked");
    assert!(!restored(&system, "one").join("a").exists());
    restore(&system, 1, &["--to", "none", "--path", "/no/such"]).await?.says("has no `no/such`")?;
    assert!(!system.path().join("none").exists());
    restore(&system, 0, &["--to", "older", "--backup", &taken[0]]).await?;
    same(&restored(&system, "first"), &restored(&system, "older"))?;
    restore(&system, 2, &["--to", "older"]).await?.says("exists")?;
    names_nothing(&system, &[&full, &first, &unchanged, &plan, &increment, &second, &one])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_made_what_the_backup_has_and_nothing_else_is_touched() -> Outcome<()> {
    let system = system(&[Place::Directory], "exclude = [\"**/cache/**\", \"*.tmp\"]\n")?;
    let tree = tree(&system);
    fs::create_dir_all(tree.join("cache"))?;
    fs::create_dir_all(tree.join("d/e"))?;
    for name in ["keep", "d/changed", "d/e/gone", "cache/left-out", "x.tmp"] {
        fs::write(tree.join(name), name)?;
    }
    tokio::time::sleep(Duration::from_millis(2100)).await;
    system.expect(0, &["backup"]).await?;
    let inode = fs::metadata(tree.join("keep"))?.ino();
    let outside = system.path().join("outside");
    fs::create_dir(&outside)?;
    fs::write(outside.join("file"), "untouched")?;
    fs::write(tree.join("d/changed"), "d/CHANGED")?;
    fs::remove_dir_all(tree.join("d/e"))?;
    symlink(&outside, tree.join("d/e"))?;
    symlink(&outside, tree.join("to-outside"))?;
    fs::create_dir_all(tree.join("new/deep"))?;
    fs::write(tree.join("new/deep/file"), "not in the backup")?;
    restore(&system, 0, &["--to", "/", "--delta"]).await?;
    assert_eq!(fs::read_to_string(tree.join("d/changed"))?, "d/changed");
    assert_eq!(fs::read_to_string(tree.join("d/e/gone"))?, "d/e/gone");
    assert_eq!(fs::metadata(tree.join("keep"))?.ino(), inode, "what is as it was is not written");
    assert!(!tree.join("new").exists() && fs::symlink_metadata(tree.join("to-outside")).is_err());
    assert_eq!(fs::read_to_string(tree.join("cache/left-out"))?, "cache/left-out");
    assert_eq!(fs::read_to_string(tree.join("x.tmp"))?, "x.tmp");
    assert_eq!(fs::read_to_string(outside.join("file"))?, "untouched");
    assert!(!outside.join("gone").exists());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_grow_vanish_and_move_under_the_reader_leave_a_good_backup() -> Outcome<()> {
    let system = system(&[Place::Directory], "")?;
    let tree = tree(&system);
    fs::create_dir(tree.join("busy"))?;
    for n in 0..300 {
        fs::write(tree.join(format!("busy/{n}")), vec![b'x'; 20_000])?;
    }
    fs::write(tree.join("steady"), "steady")?;
    let stop = Arc::new(AtomicBool::new(false));
    let writing = {
        let (stop, busy) = (Arc::clone(&stop), tree.join("busy"));
        std::thread::spawn(move || {
            let mut n = 0_u32;
            while !stop.load(Ordering::Relaxed) {
                n = n.wrapping_add(1);
                let path = busy.join((n % 300).to_string());
                let _done = match n % 4 {
                    0 => fs::remove_file(&path),
                    1 => fs::write(&path, vec![b'y'; 30_000]),
                    2 => fs::rename(&path, busy.join(((n + 7) % 300).to_string())),
                    _ => fs::remove_file(&path).and_then(|()| fs::create_dir(&path)),
                };
                let _room = (n % 4 == 3).then(|| fs::remove_dir(&path));
                // One that grows all the time.
                let growing = File::options().append(true).create(true).open(busy.join("growing"));
                let _grown = growing.and_then(|mut file| std::io::Write::write_all(&mut file, &[b'g'; 4096]));
                // Without a pause it has grown by gigabytes when the backups are taken.
                std::thread::sleep(Duration::from_micros(200));
            }
        })
    };
    let mut codes = vec![];
    for _ in 0..3 {
        let run = system.drctl(&["backup"]).await?;
        assert!(matches!(run.code, Some(0 | 3)), "{run:#?}");
        if run.code == Some(3) {
            run.says("changed each time while being read")?;
        }
        codes.push(run.code);
    }
    stop.store(true, Ordering::Relaxed);
    writing.join().map_err(|_| "the writer")?;
    for (n, id) in ids(&system, "primary").iter().enumerate() {
        restore(&system, 0, &["--to", &format!("busy-{n}"), "--backup", id]).await?;
        let restored = restored(&system, &format!("busy-{n}"));
        assert_eq!(fs::read_to_string(restored.join("steady"))?, "steady");
    }
    // Once it is quiet, all of it is there.
    system.expect(0, &["backup"]).await?;
    restore(&system, 0, &["--to", "quiet"]).await?;
    same(&tree, &restored(&system, "quiet"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_said_and_a_doubtful_list_makes_a_full_backup() -> Outcome<()> {
    let system = system(&[Place::Directory, Place::Directory], "")?;
    let tree = tree(&system);
    for name in ["one", "two"] {
        fs::write(tree.join(name), vec![b'1'; 100_000])?;
    }
    tokio::time::sleep(Duration::from_millis(2100)).await;
    system.expect(0, &["backup"]).await?;
    system.expect(0, &["backup", "--plan"]).await?.says("incremental, since")?;
    let lists = system.path().join("state/files/shop/uploads");
    let list = |id: &str| lists.join(format!("{id}.index"));
    let first = ids(&system, "primary").pop().ok_or("none")?;

    // A copy lost it; the list is damaged; the list is gone; the policy is another.
    let west = system.repository("west").join("shop/uploads/backups").join(&first);
    fs::rename(&west, system.path().join("aside"))?;
    system.expect(0, &["backup", "--plan"]).await?.says("`west` does not have it")?;
    fs::rename(system.path().join("aside"), &west)?;
    let whole = fs::read(list(&first))?;
    let mut damaged = whole.clone();
    damaged[3] ^= 1;
    fs::write(list(&first), damaged)?;
    system.expect(0, &["backup", "--plan"]).await?.says("full, because")?.says("is not what it was")?;
    system.expect(1, &["backup", "--incremental"]).await?.says("no incremental backup is possible")?;
    fs::remove_file(list(&first))?;
    system.expect(0, &["backup", "--plan"]).await?.says("is not kept on this host")?;
    fs::write(list(&first), whole)?;
    system.rewrite("kind = \"files\"", "kind = \"files\"\nexclude = [\"*.tmp\"]")?;
    system.expect(0, &["backup", "--plan"]).await?.says("other files then")?;
    system.rewrite("\nexclude = [\"*.tmp\"]", "")?;
    system.expect(0, &["backup", "--plan"]).await?.says("incremental, since")?;
    system.expect(0, &["backup", "--full"]).await?;

    // A path that is not there is a failure.
    fs::rename(&tree, system.path().join("srv/away"))?;
    system.expect(1, &["backup"]).await?.says("does not exist")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_a_full_disk_and_a_damaged_copy_leave_nothing_that_looks_whole() -> Outcome<()> {
    let system = system(&[Place::Directory, Place::Directory], "")?;
    let tree = tree(&system);
    let mut random = 88_172_645_463_325_252_u64;
    for n in 0..40 {
        let bytes: Vec<u8> = (0..1 << 20)
            .map(|_| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random as u8
            })
            .collect();
        fs::write(tree.join(format!("{n:02}")), bytes)?;
    }
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let lists = system.path().join("state/files/shop/uploads");
    let mut backup = system.start(&["backup"])?;
    until("the files are read", || fs::read_dir(&lists).is_ok_and(|found| found.count() > 0)).await?;
    backup.kill()?;
    assert!(ids(&system, "primary").is_empty() && ids(&system, "west").is_empty());
    System::expire_leases(&system.repository("primary"))?;
    System::expire_leases(&system.repository("west"))?;
    system.expect(0, &["backup"]).await?;
    assert_eq!(ids(&system, "primary").len(), 1);

    // In a restore.
    let identity = system.operational.to_string_lossy().into_owned();
    let mut restoring = system.start(&["restore", "uploads", "--identity", &identity, "--to", "killed"])?;
    let partial = || {
        let found = fs::read_dir(system.path()).into_iter().flatten().flatten();
        found.map(|entry| entry.path()).find(|path| path.to_string_lossy().contains("killed.drctl-partial-"))
    };
    until("the target is begun", || partial().is_some() || restoring.has_ended()).await?;
    restoring.kill()?;
    assert!(partial().is_some() != system.path().join("killed").exists());
    restore(&system, 0, &["--to", "after"]).await?;
    same(&tree, &restored(&system, "after"))?;

    // A copy that breaks off in the midst: the other one is read.
    let id = ids(&system, "primary").pop().ok_or("none")?;
    let archive =
        system.repository("primary").join("shop/uploads/backups").join(&id).join("files.tar.zst.age");
    let whole = fs::read(&archive)?;
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(&archive, damaged)?;
    restore(&system, 0, &["--to", "from-west"]).await?.says("primary")?;
    same(&tree, &restored(&system, "from-west"))?;
    fs::write(&archive, whole)?;

    // A disk that is too small is refused; one that fills up meanwhile fails, and the target has no name.
    let disk = system.path().join("disk");
    fs::create_dir(&disk)?;
    let mount = |size: &str| {
        run(
            "mount",
            &["-t", "tmpfs", "-o", size, "drctl-test"]
                .map(OsStr::new)
                .into_iter()
                .chain([disk.as_os_str()])
                .collect::<Vec<_>>(),
        )
    };
    mount("size=30m")?;
    let refused = restore(&system, 1, &["--to", "disk/x"]).await;
    let left = fs::read_dir(&disk)?.count();
    run("umount", &["--lazy".as_ref(), disk.as_os_str()])?;
    refused?.says("free")?;
    assert_eq!(left, 0);
    Ok(())
}
