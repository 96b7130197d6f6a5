use std::path::PathBuf;

use clap::builder::{PathBufValueParser, TypedValueParser};

/// Parses a path as a user writes it: `~/` is the home directory also where no shell has seen to it, as behind a `=`
/// or in a variable.
pub(super) fn path() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| crate::platform::expand_home(&path))
}
