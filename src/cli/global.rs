use std::path::PathBuf;

use clap::ValueEnum;

/// Options of every command.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The policy file [default: drctl.toml, then /etc/drctl/policy.toml]
    #[arg(long, short, global = true, env = "DRCTL_POLICY", value_name = "FILE", value_parser = super::path_arg::path())]
    pub policy: Option<PathBuf>,
    /// How results are written
    #[arg(long, global = true, value_enum, default_value_t = Format::Human)]
    pub output: Format,
    /// Write results, warnings and errors only; stderr has only problems, for cron
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Say more on stderr; twice for debugging
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Human,
    /// One versioned document, or one object a line for long runs
    Json,
    /// One page that needs nothing else; of `drctl status`
    Html,
}
