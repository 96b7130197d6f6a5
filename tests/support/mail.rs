//! A mail server of a test: aiosmtpd, by STARTTLS or TLS from the beginning.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::Outcome;
use super::authority::Certified;
use super::system::until;

pub(crate) const USER: &str = "drctl";
pub(crate) const PASSWORD: &str = "mail-pw";

/// Dropping it ends the server.
pub(crate) struct MailServer {
    pub(crate) port: u16,
    server: Child,
    letters: PathBuf,
}

impl MailServer {
    /// `tls`: `starttls` or `implicit`.
    pub(crate) async fn start(tls: &str, certified: &Certified, folder: &Path) -> Outcome<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = root.join("target/tools/aiosmtpd/bin/python");
        if !python.exists() {
            let words = "no aiosmtpd: `.ci/install test`, the first step of `make test`, puts it there";
            return Err(format!("{}: {words}", python.display()).into());
        }
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let letters = folder.join(format!("letters-{tls}"));
        std::fs::create_dir(&letters)?;
        let server = Command::new(python)
            .arg(root.join("tests/support/mail_server.py"))
            .args([&port.to_string(), tls])
            .args([&certified.certificate, &certified.key, &letters])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let server = Self { port, server, letters };
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        until("the mail server answers", || {
            TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
        })
        .await?;
        Ok(server)
    }

    /// The letters so far, oldest first.
    pub(crate) fn letters(&self) -> Outcome<Vec<String>> {
        let mut paths: Vec<PathBuf> =
            std::fs::read_dir(&self.letters)?.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "eml"));
        paths.sort();
        paths.iter().map(|path| Ok(std::fs::read_to_string(path)?)).collect()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _gone = self.server.kill();
        let _gone = self.server.wait();
    }
}
