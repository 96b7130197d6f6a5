use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::model::SystemIdentifier;

/// Accepted versions of the file: PostgreSQL 9.4's is 942, 18's is 1800.
const VERSIONS: std::ops::Range<u32> = 900..3000;

/// Why the system identifier could not be read.
#[derive(Debug, Error)]
pub enum ControlFileError {
    #[error("failed to read `{path}`")]
    Read { path: PathBuf, source: io::Error },
    #[error("`{path}` is not the control file of a cluster of this host")]
    Foreign { path: PathBuf },
}

/// Reads the system identifier of a data directory. What follows it in the file differs between majors and is
/// not read.
pub fn system_identifier_in(data_directory: &Path) -> Result<SystemIdentifier, ControlFileError> {
    let path = data_directory.join("global/pg_control");
    let mut bytes = [0; 12];
    let read = File::open(&path).and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(|source| ControlFileError::Read { path: path.clone(), source })?;
    let [a, b, c, d, e, f, g, h, version @ ..] = bytes;
    if !VERSIONS.contains(&u32::from_ne_bytes(version)) {
        return Err(ControlFileError::Foreign { path });
    }
    Ok(SystemIdentifier(u64::from_ne_bytes([a, b, c, d, e, f, g, h])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_file_says_whose_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("global/pg_control");
        assert!(matches!(system_identifier_in(directory.path()), Err(ControlFileError::Read { .. })));
        std::fs::create_dir(directory.path().join("global")).unwrap();
        let write = |version: u32| {
            let mut bytes = 7_300_000_000_000_000_001_u64.to_ne_bytes().to_vec();
            bytes.extend(version.to_ne_bytes());
            std::fs::write(&path, bytes).unwrap();
        };
        write(1300);
        let found = system_identifier_in(directory.path()).unwrap();
        assert_eq!(found, SystemIdentifier(7_300_000_000_000_000_001));
        write(1300_u32.swap_bytes());
        assert!(matches!(system_identifier_in(directory.path()), Err(ControlFileError::Foreign { .. })));
    }
}
