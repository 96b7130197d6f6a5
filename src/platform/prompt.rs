use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::fd::AsFd as _;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::{CancellationToken, SecretString};

/// A terminal without echo until it is dropped.
struct Hidden {
    terminal: File,
    before: Termios,
}

impl Hidden {
    fn new(terminal: File) -> io::Result<Self> {
        let before = tcgetattr(terminal.as_fd())?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        hidden.local_modes.insert(LocalModes::ECHONL | LocalModes::ICANON);
        tcsetattr(terminal.as_fd(), OptionalActions::Flush, &hidden)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _gone = tcsetattr(self.terminal.as_fd(), OptionalActions::Now, &self.before);
    }
}

/// Prompts for a secret on the controlling terminal without echo, wherever the standard streams go. `None`:
/// there is no terminal, or no input.
pub async fn ask_hidden(question: &str, cancel: &CancellationToken) -> Option<SecretString> {
    let terminal = File::options().read(true).write(true).open("/dev/tty").ok()?;
    let reader = terminal.try_clone().ok()?;
    // Held here, so that an interrupt restores the terminal while the input is still awaited.
    let mut hidden = Hidden::new(terminal).ok()?;
    write!(hidden.terminal, "{question}: ").ok()?;
    let line = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        let read = BufReader::new(reader).read_line(&mut line);
        read.ok().filter(|bytes| *bytes > 0).map(|_| line.trim_end_matches(['\n', '\r']).to_owned())
    });
    tokio::select! {
        line = line => line.ok().flatten().filter(|line| !line.is_empty()).map(SecretString::from),
        () = cancel.cancelled() => None,
    }
}
