use std::path::{Path, PathBuf};

use clap::Subcommand;
use clap_complete::Shell;

use super::Context;
use super::error::CommandError;
use super::exit::Exit;

/// Write shell completions or man pages
#[derive(Debug, clap::Args)]
pub struct GenerateArgs {
    #[command(subcommand)]
    what: GenerateCommand,
}

#[derive(Debug, Subcommand)]
enum GenerateCommand {
    /// Completions for a shell, on stdout
    Completions { shell: Shell },
    /// A man page for each command, into a directory
    Man {
        #[arg(value_parser = super::path_arg::path())]
        directory: PathBuf,
    },
}

pub(super) fn run(
    args: &GenerateArgs,
    mut command: clap::Command,
    context: &Context,
) -> Result<Exit, CommandError> {
    match &args.what {
        GenerateCommand::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(*shell, &mut command, "drctl", &mut text);
            context.output.line(String::from_utf8_lossy(&text).trim_end());
        }
        GenerateCommand::Man { directory } => {
            // Only a built command has its full names and the global options.
            command.build();
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
    let source = format!("drctl {}", env!("CARGO_PKG_VERSION"));
    clap_mangen::Man::new(command.clone()).source(source).render(&mut page)?;
    std::fs::write(directory.join(format!("{name}.1")), page)?;
    for sub in command.get_subcommands() {
        write_pages(sub, &format!("{name}-{}", sub.get_name()), directory)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    fn synopsis(directory: &Path, page: &str) -> String {
        let page = std::fs::read_to_string(directory.join(page)).unwrap();
        let (_, rest) = page.split_once(".SH SYNOPSIS\n").unwrap();
        let lines: Vec<_> = rest.lines().take_while(|line| !line.starts_with(".SH")).collect();
        lines.join(" ").replace("\\fB", "").replace("\\fR", "").replace("\\fI", "").replace("\\-", "-")
    }

    #[test]
    fn a_man_page_shows_a_command_as_it_is_typed_and_its_global_options() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Cli::command();
        command.build();
        write_pages(&command, "drctl", folder.path()).unwrap();
        for (page, typed) in [
            ("drctl.1", "drctl "),
            ("drctl-backup.1", "drctl backup "),
            ("drctl-wal-fetch.1", "drctl wal fetch "),
            ("drctl-copies-sync.1", "drctl copies sync "),
        ] {
            let synopsis = synopsis(folder.path(), page);
            assert!(synopsis.trim_start().starts_with(typed), "{page}: {synopsis}");
        }
        assert!(synopsis(folder.path(), "drctl-backup.1").contains("--policy"));
        let page = std::fs::read_to_string(folder.path().join("drctl-wal-push.1")).unwrap();
        assert!(
            page.contains("drctl-wal-push") && page.contains(concat!("drctl ", env!("CARGO_PKG_VERSION")))
        );
    }
}
