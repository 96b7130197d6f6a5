//! What each role of drctl needs in AWS, and what it must not have, as IAM policy documents made from the
//! policy: they name its buckets, databases, vaults, keys and secrets, and nothing else.
//!
//! *Invariants.* Whoever writes backups can neither delete nor change one; whoever deletes backups cannot read
//! one; nobody may do both. `*` stands as a resource only where AWS takes no other (`anywhere` in `document.rs`), and
//! where something is denied. An account that the policy does not say is asked for, never guessed.
//!
//! *Not here.* Making roles, and asking AWS what a caller may do: `drctl doctor`.

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
