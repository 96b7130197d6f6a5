use std::path::PathBuf;

use clap::builder::{PathBufValueParser, TypedValueParser};

/// Parses a path as typed by a user: `~/` is the home directory also where no shell has expanded it, as after
/// a `=` or in a variable.
pub(super) fn path() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| crate::platform::expand_home(&path))
}
