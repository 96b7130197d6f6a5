//! A real S3 server, one for the whole test binary: Ceph's radosgw, started by `radosgw.sh`.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use aws_sdk_s3::types::{
    BucketLocationConstraint, CreateBucketConfiguration, ObjectLockConfiguration, ObjectLockEnabled,
};
use drctl::aws::{S3Timeouts, s3_client};

use super::Outcome;
use super::s3::Keys;

/// Keys of a user who owns none of the buckets.
pub(crate) const OTHER: (&str, &str) = ("AKIAOTHER", "secretother");

#[derive(Debug)]
struct Radosgw {
    address: SocketAddr,
    /// It ends when its standard input does, which is when this process ends.
    _process: Child,
}

static SERVER: OnceLock<Result<Radosgw, String>> = OnceLock::new();

/// Its address; it is started by whoever asks first.
pub(crate) fn address() -> Outcome<SocketAddr> {
    let server = SERVER.get_or_init(|| start().map_err(|error| error.to_string()));
    server.as_ref().map(|server| server.address).map_err(|error| error.as_str().into())
}

fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn start() -> Outcome<Radosgw> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/radosgw.sh");
    let (port, monitor) = (free_port()?, free_port()?);
    let mut process = Command::new(script)
        .args(["run", &port.to_string(), &monitor.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (mut line, mut words) = (String::new(), String::new());
    if let Some(stdout) = process.stdout.take() {
        BufReader::new(stdout).read_line(&mut line)?;
    }
    if line.trim() == "ready" {
        return Ok(Radosgw { address: SocketAddr::from(([127, 0, 0, 1], port)), _process: process });
    }
    if let Some(mut stderr) = process.stderr.take() {
        stderr.read_to_string(&mut words)?;
    }
    Err(format!(
        "tests/support/radosgw.sh does not start (`.ci/install test`, the first step of `make test`, installs what it needs):\n{words}"
    )
    .into())
}

/// A new bucket of its own, and how to reach it.
pub(crate) async fn bucket(name: &str, lock: bool) -> Outcome<Keys> {
    let address = tokio::task::spawn_blocking(address).await??;
    let keys = Keys::new(address, name)?;
    let client = s3_client(&keys.place, &S3Timeouts::default(), drctl::aws::LastAttempt::default()).await?;
    let region = BucketLocationConstraint::from("default");
    client
        .create_bucket()
        .bucket(name)
        .object_lock_enabled_for_bucket(lock)
        .create_bucket_configuration(CreateBucketConfiguration::builder().location_constraint(region).build())
        .send()
        .await
        .map_err(|error| format!("create bucket: {error:?}"))?;
    if lock {
        let enabled =
            ObjectLockConfiguration::builder().object_lock_enabled(ObjectLockEnabled::Enabled).build();
        client.put_object_lock_configuration().bucket(name).object_lock_configuration(enabled).send().await?;
    }
    Ok(keys)
}
