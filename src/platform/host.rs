use std::path::{Path, PathBuf};

/// Returns the host's name; `unknown-host` if it has none.
pub fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "unknown-host".to_owned() } else { name }
}

/// Returns the directory of the catalog and of scratch files unless the policy names another:
/// `/var/lib/drctl` for root, the user's state directory otherwise. `DRCTL_STATE_DIR` takes precedence.
pub fn state_directory() -> PathBuf {
    use etcetera::BaseStrategy as _;
    if let Some(directory) = std::env::var_os("DRCTL_STATE_DIR").filter(|value| !value.is_empty()) {
        let directory = PathBuf::from(directory);
        return super::expand_home(&directory).unwrap_or(directory);
    }
    if rustix::process::geteuid().is_root() {
        return "/var/lib/drctl".into();
    }
    match etcetera::choose_base_strategy() {
        Ok(strategy) => strategy.state_dir().unwrap_or_else(|| strategy.data_dir()).join("drctl"),
        Err(_) => ".drctl".into(),
    }
}

/// Returns the default directory for unpacking dumps: `TMPDIR`, or `/var/tmp`, which is on disk.
pub fn scratch_directory() -> PathBuf {
    let given = std::env::var_os("TMPDIR").filter(|value| !value.is_empty());
    given.map_or_else(|| "/var/tmp".into(), PathBuf::from)
}

/// Returns the bytes a process may still write on the file system of `path` (or its nearest existing parent).
pub fn free_space(path: &Path) -> std::io::Result<u64> {
    let existing = path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"));
    let stat = rustix::fs::statvfs(existing)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Returns the bytes of memory available without swapping (`MemAvailable`); `None` if the kernel does not
/// report it.
pub fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1024)
}
