//! Files and directories, from a chain of backups.
//!
//! The index of the chosen backup says what there is, and which archive of which backup of the chain has it. Only those
//! archives are read, each once, and of each only the members that the index names.
//!
//! *Invariants.*
//! - Nothing is written outside of the target: names are checked ([`names`]), and every file is reached from the target's
//!   own descriptor without following a symbolic link ([`tree`]).
//! - A new directory has its name only when everything in it was compared with the index ([`compare`]).
//! - What the backup does not have is removed only by `--delta`, below the paths that were backed up, and only when all
//!   else is restored ([`sweep`]).
//!
//! *Memory.* For each directory its rights, and for each file with several names a path.

mod compare;
mod directories;
mod index_file;
mod method;
mod names;
mod sweep;
mod tar_reader;
mod tree;
mod unpack;

pub(super) use method::FilesTree;
