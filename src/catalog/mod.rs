//! A database of what is in the repositories and of every run; always rebuildable from them.
