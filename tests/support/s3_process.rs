//! The S3 server of [`super::s3`] as a process of its own, to be killed.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::Outcome;
use super::s3::BUCKET;

/// Dropping it kills the server and deletes its files.
pub(crate) struct S3Process {
    root: TempDir,
    pub(crate) address: SocketAddr,
    server: Child,
}

impl S3Process {
    pub(crate) fn start() -> Outcome<Self> {
        let root = super::scratch::folder()?;
        std::fs::create_dir(root.path().join(BUCKET))?;
        let (server, address) = start(root.path(), 0)?;
        Ok(Self { root, address, server })
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) -> Outcome<()> {
        self.server.kill()?;
        self.server.wait()?;
        Ok(())
    }

    /// Removes objects that the killed server had put in place and not yet their metadata: it does the one
    /// after the other, and a real store has both or neither.
    pub(crate) fn forget_halves(&self) -> Outcome<()> {
        let mut folders = vec![self.files()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let key = path.strip_prefix(self.files())?.to_string_lossy().into_owned();
                let metadata =
                    format!(".bucket-{}.object-{}.metadata.json", url_safe(BUCKET), url_safe(&key));
                if !self.root.path().join(metadata).exists() {
                    std::fs::remove_file(path)?;
                }
            }
        }
        Ok(())
    }

    /// Starts it again where it was.
    pub(crate) fn start_again(&mut self) -> Outcome<()> {
        (self.server, self.address) = start(self.root.path(), self.address.port())?;
        Ok(())
    }

    /// Where the objects of [`BUCKET`] are, each under its key.
    pub(crate) fn files(&self) -> PathBuf {
        self.root.path().join(BUCKET)
    }

    /// Bytes of uploads that are under way.
    pub(crate) fn under_way(&self) -> u64 {
        let entries = std::fs::read_dir(self.root.path()).into_iter().flatten().flatten();
        entries
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(".upload_id-"))
            .filter_map(|entry| Some(entry.metadata().ok()?.len()))
            .sum()
    }
}

/// Base64 for names of files, without padding.
fn url_safe(text: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut encoded = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let bits =
            chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for n in 0..=chunk.len() {
            encoded.push(char::from(ALPHABET[(bits >> (18 - 6 * n) & 63) as usize]));
        }
    }
    encoded
}

fn start(root: &Path, port: u16) -> Outcome<(Child, SocketAddr)> {
    // Cargo builds examples beside the programs it tests.
    let program = Path::new(env!("CARGO_BIN_EXE_drctl")).with_file_name("examples").join("s3-server");
    let mut server = Command::new(&program)
        .arg(root)
        .arg(port.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| {
            format!("failed to start `{}`: {error} (`cargo build --example s3-server`)", program.display())
        })?;
    let mut line = String::new();
    BufReader::new(server.stdout.take().ok_or("no stdout")?).read_line(&mut line)?;
    match line.trim().parse::<u16>() {
        Ok(port) => Ok((server, SocketAddr::from(([127, 0, 0, 1], port)))),
        Err(_) => {
            server.kill()?;
            server.wait()?;
            Err(format!("`{}` did not say its port", program.display()).into())
        }
    }
}

impl Drop for S3Process {
    fn drop(&mut self) {
        let _gone = self.kill();
    }
}
