//! Arguments, one file a verb, output, error → exit code and hint; the only module that prints or exits.
