//! By which names, comments and locks a restore and what it leaves on a server are known.

/// How the name of a database that is being restored begins.
pub(super) const RESTORING: &str = "drctl_restoring_";
/// How the name of an empty database that was replaced begins, until it is dropped.
pub(super) const REPLACED: &str = "drctl_replaced_";
/// How every comment of ours begins.
pub(super) const COMMENT: &str = "drctl: ";
/// How the comment of a database begins that is being restored.
pub(super) const BEING_RESTORED: &str = "drctl: being restored";
/// How the comment begins of a database that was there and empty, and is loaded into. It is never dropped.
pub(super) const HOLDS_A_PART: &str = "drctl: holds a part";
/// How the comment of an empty database begins that was replaced.
pub(super) const WAS_EMPTY: &str = "drctl: the empty database";
/// The lock that a restore holds in the database that it loads, where everyone can see it.
pub(super) const AT_WORK: i32 = 0x6472_6374;
