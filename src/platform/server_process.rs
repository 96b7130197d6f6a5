use std::path::Path;

/// Returns the process id of a PostgreSQL server that runs in a data directory, by the working directories of this
/// host's processes: also where its `postmaster.pid` was removed. `None` does not prove that there is none: it may be
/// in another container, or of another user.
pub fn server_process(directory: &Path) -> Option<u32> {
    let directory = directory.canonicalize().ok()?;
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let is_server = |process: &Path| {
        let is_there = std::fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd == directory);
        is_there && std::fs::read_to_string(process.join("comm")).is_ok_and(|name| name.trim() == "postgres")
    };
    processes
        .filter_map(|process| Some((process.file_name().to_str()?.parse().ok()?, process.path())))
        .find(|(_, path)| is_server(path))
        .map(|(process, _)| process)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_found_by_its_working_directory_and_nothing_else_is() {
        let root = tempfile::tempdir().unwrap();
        let (data, program) = (root.path().join("data"), root.path().join("postgres"));
        std::fs::create_dir(&data).unwrap();
        std::fs::copy("/bin/sleep", &program).unwrap();
        let start = |program: &Path| {
            std::process::Command::new(program).arg("60").current_dir(&data).spawn().unwrap()
        };
        let mut other = start(Path::new("/bin/sleep"));
        assert_eq!(server_process(&data), None);
        let mut server = start(&program);
        assert_eq!(server_process(&data), Some(server.id()));
        assert_eq!(server_process(root.path()), None);
        for child in [&mut other, &mut server] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert_eq!(server_process(&data), None);
    }
}
