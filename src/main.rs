//! The `drctl` command. Everything is in the library; see its documentation for the map.

fn main() -> std::process::ExitCode {
    drctl::cli::run()
}
