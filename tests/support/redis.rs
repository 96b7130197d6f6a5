//! A Redis server in a folder of its own, gone with it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Outcome;
use super::authority::Certified;

const SOON: Duration = Duration::from_secs(60);

pub(crate) struct Redis {
    child: Child,
    folder: tempfile::TempDir,
    pub(crate) port: u16,
    /// Arguments with which its own client reaches it.
    client: Vec<String>,
}

impl Redis {
    /// Starts one with these settings, each `--name value`.
    pub(crate) fn start(settings: &[&str]) -> Outcome<Self> {
        let folder = super::scratch::folder()?;
        let port = free_port()?;
        let port_text = port.to_string();
        let mut all = vec!["--port", &port_text, "--bind", "127.0.0.1"];
        all.extend(settings);
        Self::start_in(folder, port, &all, vec!["-p".to_owned(), port.to_string()])
    }

    /// One with TLS and no other port; `certified` is for `localhost`.
    pub(crate) fn start_with_tls(certified: &Certified) -> Outcome<Self> {
        let folder = super::scratch::folder()?;
        let port = free_port()?;
        let port_text = port.to_string();
        let path = |path: &Path| path.display().to_string();
        let (certificate, key, authority) =
            (path(&certified.certificate), path(&certified.key), path(&certified.authority));
        let tls = ["--port", "0", "--tls-port", &port_text, "--tls-auth-clients", "no"];
        let files =
            ["--tls-cert-file", &certificate, "--tls-key-file", &key, "--tls-ca-cert-file", &authority];
        let client = ["-p", &port_text, "--tls", "--insecure"].map(str::to_owned).to_vec();
        Self::start_in(folder, port, &[tls, files].concat(), client)
    }

    /// A Sentinel with this configuration, which it rewrites.
    pub(crate) fn start_sentinel(config: &Path) -> Outcome<Self> {
        let folder = super::scratch::folder()?;
        let port = free_port()?;
        let arguments =
            [config.display().to_string(), "--sentinel".to_owned(), "--port".to_owned(), port.to_string()];
        let log = folder.path().join("log");
        let client = vec!["-p".to_owned(), port.to_string()];
        Self::wait_for(
            folder,
            port,
            Command::new("redis-server").args(arguments).arg("--logfile").arg(&log),
            client,
        )
    }

    fn start_in(
        folder: tempfile::TempDir,
        port: u16,
        settings: &[&str],
        client: Vec<String>,
    ) -> Outcome<Self> {
        let mut command = Command::new("redis-server");
        command
            .args(["--save", "", "--repl-diskless-sync-delay", "0", "--dir"])
            .arg(folder.path())
            .arg("--logfile")
            .arg(folder.path().join("log"))
            .args(settings);
        Self::wait_for(folder, port, &mut command, client)
    }

    fn wait_for(
        folder: tempfile::TempDir,
        port: u16,
        command: &mut Command,
        client: Vec<String>,
    ) -> Outcome<Self> {
        let log = folder.path().join("log");
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("redis-server: {error}: `.ci/install test` installs it"))?;
        let mut server = Self { child, folder, port, client };
        let begun = Instant::now();
        loop {
            let answer = server.try_cli(&["PING"]);
            // That a password is missing is an answer, too.
            if answer.as_deref().is_ok_and(|text| text.contains("PONG") || text.contains("NOAUTH")) {
                return Ok(server);
            }
            let log = std::fs::read_to_string(&log).unwrap_or_default();
            if let Some(status) = server.child.try_wait()? {
                return Err(format!("redis-server ended with {status}: {log}").into());
            }
            if begun.elapsed() > SOON {
                return Err(format!("redis-server does not answer: {answer:?} {log}").into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn try_cli(&self, arguments: &[&str]) -> Outcome<String> {
        let output =
            Command::new("redis-cli").args(&self.client).args(arguments).stdin(Stdio::null()).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// What its own client prints for a command.
    pub(crate) fn cli(&self, arguments: &[&str]) -> Outcome<String> {
        let text = self.try_cli(arguments)?;
        let failed = ["ERR", "NOAUTH", "WRONGPASS", "Could not connect", "(error)"];
        match failed.iter().any(|word| text.starts_with(word)) {
            true => Err(format!("redis-cli {arguments:?}: {text}").into()),
            false => Ok(text),
        }
    }

    /// A digest of all of its keys and values, in every database.
    pub(crate) fn digest(&self) -> Outcome<String> {
        self.cli(&["DEBUG", "DIGEST"])
    }

    /// Ends it as an administrator does.
    pub(crate) fn stop(mut self) -> Outcome<PathBuf> {
        let _closes = self.try_cli(&["SHUTDOWN", "NOSAVE"]);
        self.child.wait()?;
        Ok(self.folder.path().to_owned())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _may_have_ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

pub(crate) fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
