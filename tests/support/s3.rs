//! S3 servers in this process, and how a policy would name them.

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use drctl::platform::SecretRef;
use drctl::policy::{Checksum, Credentials, S3Location};
use tempfile::TempDir;

use super::Outcome;

#[path = "s3_serve.rs"]
mod s3_serve;

pub(crate) use s3_serve::{ACCESS_KEY, SECRET_KEY};

pub(crate) const BUCKET: &str = "backups";
const PREFIX: &str = "some/where";

/// A server with one bucket, in this process; gone when dropped.
#[derive(Debug)]
pub(crate) struct S3Server {
    pub(crate) address: SocketAddr,
    root: TempDir,
    serving: tokio::task::JoinHandle<()>,
}

impl S3Server {
    pub(crate) async fn start() -> Outcome<Self> {
        let root = super::scratch::folder()?;
        std::fs::create_dir(root.path().join(BUCKET))?;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let served = root.path().to_owned();
        let serving = tokio::spawn(async move {
            if let Err(error) = s3_serve::serve(listener, &served).await {
                tracing::error!("the S3 server ended: {error}");
            }
        });
        Ok(Self { address, root, serving })
    }

    /// Where the bytes of an object of [`BUCKET`] are, to spoil them. `key` is whole, with its prefix.
    pub(crate) fn file(&self, key: &str) -> PathBuf {
        self.root.path().join(BUCKET).join(key)
    }

    pub(crate) fn place(&self) -> Outcome<Keys> {
        Keys::new(self.address, BUCKET)
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A place with keys in files, which live as long as this.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) place: S3Location,
    _files: TempDir,
}

impl Keys {
    /// A prefix in the bucket behind `address`, with the keys that are right for every server here.
    pub(crate) fn new(address: SocketAddr, bucket: &str) -> Outcome<Self> {
        Self::of(address, bucket, ACCESS_KEY, SECRET_KEY)
    }

    pub(crate) fn of(address: SocketAddr, bucket: &str, id: &str, secret: &str) -> Outcome<Self> {
        let files = super::scratch::folder()?;
        let place = S3Location {
            bucket: bucket.to_owned(),
            prefix: PREFIX.to_owned(),
            region: "us-east-1".to_owned(),
            endpoint: Some(format!("http://{address}").parse()?),
            path_style: true,
            credentials: Credentials::Keys {
                access_key_id: private_file(&files.path().join("id"), id)?,
                secret_access_key: private_file(&files.path().join("secret"), secret)?,
                session_token: None,
            },
            checksum: Checksum::Crc64Nvme,
            storage_class: None,
            server_side_encryption: None,
            object_lock: None,
        };
        Ok(Self { place, _files: files })
    }
}

fn private_file(path: &Path, text: &str) -> Outcome<SecretRef> {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    Ok(SecretRef::File(path.to_owned()))
}
