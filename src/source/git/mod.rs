//! Git repositories, as bundles of Git's own.
//!
//! A mirror of the remote on this host (`mirror.git` in its state directory) is fetched, and a bundle of every ref is
//! streamed from it: of everything, or of what the refs of the parent do not reach. The mirror is a cache: lost, damaged or
//! of another remote, it is cloned again.
//!
//! *Invariants.* What is recorded are the refs that the bundle was made of, so that a restore sets exactly these: a bundle
//! cannot say that a branch was deleted or went back. Secrets reach Git by its environment or by a file that exists in
//! memory only; hooks and the configuration of the mirror have no effect. The names of refs are in encrypted artifacts only.
//!
//! *Not here.* Objects of Git LFS and submodules, which are in other places: named in [`Captured::excluded`].
//!
//! [`Captured::excluded`]: super::Captured::excluded

mod bundle;
mod capture;
mod error;
mod manual_restore;
mod mirror;
mod program;
mod refs;
mod remote;

pub use error::GitError;
pub use program::git;
pub use refs::{BadRefs, GitHead, GitRefs};

pub(super) use capture::GitBackups;

/// The artifact with the objects; absent from an increment without new ones.
pub const BUNDLE: &str = "repository.bundle";
/// The artifact with the refs, as `git ls-remote --symref` writes them.
pub const REFS: &str = "refs.txt";
