//! Where a backup's bytes come from, one file a kind.
