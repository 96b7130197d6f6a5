use std::path::{Path, PathBuf};

use clap::{CommandFactory as _, Subcommand};
use clap_complete::Shell;

use super::Context;
use super::args::Cli;
use super::error::CommandError;
use super::exit::Exit;

/// Write shell completions or man pages
#[derive(Debug, clap::Args)]
pub struct GenerateArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Completions for a shell, on stdout
    Completions { shell: Shell },
    /// A man page for each command, into a directory
    Man { directory: PathBuf },
}

pub(super) fn run(args: &GenerateArgs, context: &Context) -> Result<Exit, CommandError> {
    let mut command = Cli::command();
    match &args.what {
        What::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(*shell, &mut command, "drctl", &mut text);
            context.output.line(String::from_utf8_lossy(&text).trim_end());
        }
        What::Man { directory } => {
            write_pages(&command, "drctl", directory).map_err(|source| {
                CommandError::failed(source)
                    .context(format!("failed to write man pages to `{}`", directory.display()))
            })?;
        }
    }
    Ok(Exit::Done)
}

fn write_pages(command: &clap::Command, name: &str, directory: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(directory)?;
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone().name(name.to_owned())).render(&mut page)?;
    std::fs::write(directory.join(format!("{name}.1")), page)?;
    for sub in command.get_subcommands() {
        write_pages(sub, &format!("{name}-{}", sub.get_name()), directory)?;
    }
    Ok(())
}
