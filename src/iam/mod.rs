//! The rights that each role of drctl needs in AWS, and those it must not have, as IAM policy documents
//! generated from the policy: they name its buckets, databases, vaults, keys and secrets, and nothing else.
//!
//! *Invariants.* A role that writes backups can neither delete nor change one; a role that deletes backups
//! cannot read one; no role may do both. `*` is a resource only where AWS accepts no other (`anywhere` in
//! `document.rs`), and in denials. An account that the policy does not name is asked for, never guessed.
//!
//! *Not here.* Creating roles, and querying AWS for a caller's rights: `drctl doctor`.

mod aws_backup;
mod bucket;
mod builder;
mod document;
mod explicit_deny;
mod key;
mod rds;
mod role;
mod role_document;
mod secret;

pub use builder::IamError;
pub use document::{Conditions, Effect, INLINE_LIMIT, IamDocument, IamStatement, MANAGED_LIMIT};
pub use rds::{may_be_restored_as, restored_names};
pub use role::{Account, IamRole, account};
pub use role_document::document;
