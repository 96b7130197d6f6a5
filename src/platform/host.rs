use std::path::{Path, PathBuf};

/// The host's name as others know it; `unknown-host` where it has none.
pub fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "unknown-host".to_owned() } else { name }
}

/// Where drctl keeps its catalog and scratch files unless the policy says otherwise:
/// `/var/lib/drctl` for root, the user's state directory for anyone else. `DRCTL_STATE_DIR` wins.
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

/// Where dumps are unpacked unless told otherwise: `TMPDIR`, or `/var/tmp`, which is on a disk.
pub fn scratch_directory() -> PathBuf {
    let given = std::env::var_os("TMPDIR").filter(|value| !value.is_empty());
    given.map_or_else(|| "/var/tmp".into(), PathBuf::from)
}

/// Bytes a process may still write on the file system that holds `path` (or its nearest existing parent).
pub fn free_space(path: &Path) -> std::io::Result<u64> {
    let existing = path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"));
    let stat = rustix::fs::statvfs(existing)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Bytes of memory that can be used without swapping (`MemAvailable`); `None` where the kernel does not say.
pub fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1024)
}
