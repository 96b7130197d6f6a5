//! The host of a server, where it is this one.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::archive_command::{PolicyState, ProgramState, PushTarget, ServerFiles};
use crate::model::SystemIdentifier;
use crate::postgres::{ControlFileError, system_identifier_in};

/// The search path for programs: the server may have been started with another `PATH` than drctl.
const PROGRAMS: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Returns whether a server runs on this host: its data directory is here, or seems to be where it is not
/// readable and `is_near`, since the connection did not leave the host.
pub(crate) fn is_this_host(data_directory: &Path, cluster: SystemIdentifier, is_near: bool) -> bool {
    match system_identifier_in(data_directory) {
        Ok(found) => found == cluster,
        Err(ControlFileError::Read { source, .. }) => {
            is_near && source.kind() == ErrorKind::PermissionDenied && data_directory.is_dir()
        }
        Err(ControlFileError::Foreign { .. }) => false,
    }
}

/// Access to the files of a server's host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerHost {
    /// `None`: it is another host.
    data_directory: Option<PathBuf>,
}

impl ServerHost {
    pub const ELSEWHERE: Self = Self { data_directory: None };

    /// Returns the host of a server; `data_directory`: where that is known, and on this host.
    pub fn new(data_directory: Option<PathBuf>) -> Self {
        Self { data_directory }
    }
}

impl ServerFiles for ServerHost {
    fn program(&self, name: &Path) -> ProgramState {
        let Some(data_directory) = &self.data_directory else { return ProgramState::Unknown };
        if name.components().count() > 1 {
            return program_at(&data_directory.join(name));
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&path).chain(PROGRAMS.split(':').map(PathBuf::from));
        let states = folders.map(|folder| program_at(&folder.join(name)));
        states.into_iter().find(|state| *state != ProgramState::Absent).unwrap_or(ProgramState::Absent)
    }

    fn policy(&self, path: &Path) -> PolicyState {
        let Some(data_directory) = &self.data_directory else { return PolicyState::Unknown };
        let path = data_directory.join(path);
        match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                PolicyState::Unusable("it does not exist".to_owned())
            }
            Err(_) => PolicyState::Unknown,
            Ok(_) => match crate::policy::load(&path) {
                Ok(policy) => PolicyState::Read(PushTarget::from_policy(&policy)),
                Err(_) => PolicyState::Unusable("it has faults (`drctl policy check`)".to_owned()),
            },
        }
    }
}

fn program_at(path: &Path) -> ProgramState {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return ProgramState::Absent;
        }
        Err(_) => return ProgramState::Unknown,
    };
    if !metadata.is_file() || metadata.permissions().mode() & 0o111 == 0 {
        return ProgramState::NotExecutable;
    }
    let mut begin = [0; 2];
    match File::open(path).and_then(|mut file| file.read_exact(&mut begin)) {
        Ok(()) if begin == *b"#!" => ProgramState::Script,
        _ => ProgramState::Runs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_what_the_server_finds_there() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str, mode| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            path
        };
        let host = ServerHost::new(Some(folder.path().to_owned()));
        let script = file("drctl", "#!/bin/sh\n", 0o755);
        assert_eq!(host.program(&script), ProgramState::Script);
        assert_eq!(host.program(Path::new("./drctl")), ProgramState::Script);
        assert_eq!(host.program(&file("elf", "\x7fELF", 0o755)), ProgramState::Runs);
        assert_eq!(host.program(&file("plain", "#!", 0o644)), ProgramState::NotExecutable);
        assert_eq!(host.program(folder.path()), ProgramState::NotExecutable);
        assert_eq!(host.program(&folder.path().join("none")), ProgramState::Absent);
        assert_eq!(host.program(Path::new("sh")), ProgramState::Runs);
        assert_eq!(host.program(Path::new("drctl-of-nobody")), ProgramState::Absent);
        assert_eq!(ServerHost::ELSEWHERE.program(Path::new("sh")), ProgramState::Unknown);
    }

    #[test]
    fn a_policy_is_read_where_it_is_named_from() {
        let folder = tempfile::tempdir().unwrap();
        let host = ServerHost::new(Some(folder.path().to_owned()));
        let is_unusable = |name: &str| matches!(host.policy(Path::new(name)), PolicyState::Unusable(_));
        assert!(is_unusable("none.toml"));
        std::fs::write(folder.path().join("policy.toml"), "nonsense").unwrap();
        assert!(is_unusable("policy.toml"));
        assert_eq!(ServerHost::ELSEWHERE.policy(Path::new("policy.toml")), PolicyState::Unknown);
    }
}
