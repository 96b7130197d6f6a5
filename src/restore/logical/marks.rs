//! The names, comments and locks that identify a restore and its leftovers on a server.

/// Prefix of the name of a database that is being restored.
pub(super) const RESTORING: &str = "drctl_restoring_";
/// Prefix of the name of an empty database that was replaced, until it is dropped.
pub(super) const REPLACED: &str = "drctl_replaced_";
/// Prefix of all comments written by drctl.
pub(super) const COMMENT: &str = "drctl: ";
/// Prefix of the comment of a database that is being restored.
pub(super) const BEING_RESTORED: &str = "drctl: being restored";
/// Prefix of the comment of an existing empty database that is loaded into. It is never dropped.
pub(super) const HOLDS_A_PART: &str = "drctl: holds a part";
/// Prefix of the comment of an empty database that was replaced.
pub(super) const WAS_EMPTY: &str = "drctl: the empty database";
/// The advisory lock that a restore holds in the database that it loads, visible to every session.
pub(super) const AT_WORK: i32 = 0x6472_6374;
