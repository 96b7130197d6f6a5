//! Prometheus's Alertmanager, as Debian has it.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::Outcome;
use super::system::until;

const PROGRAM: &str = "/usr/bin/prometheus-alertmanager";
const CONFIGURATION: &str = "route:\n  receiver: nobody\nreceivers:\n  - name: nobody\n";

/// Dropping it ends the server.
pub(crate) struct Alertmanager {
    pub(crate) address: SocketAddr,
    server: Child,
}

impl Alertmanager {
    pub(crate) async fn start(folder: &Path) -> Outcome<Self> {
        if !Path::new(PROGRAM).exists() {
            let words = "`.ci/install test`, the first step of `make test`, installs it";
            return Err(format!("no {PROGRAM}: {words}").into());
        }
        let configuration = folder.join("alertmanager.yml");
        std::fs::write(&configuration, CONFIGURATION)?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let server = Command::new(PROGRAM)
            .arg(format!("--config.file={}", configuration.display()))
            .arg(format!("--storage.path={}", folder.join("alertmanager").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--cluster.listen-address=")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let server = Self { address, server };
        until("Alertmanager answers", || {
            TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
        })
        .await?;
        Ok(server)
    }

    /// The alerts that are not over.
    pub(crate) async fn alerts(&self) -> Outcome<Vec<Value>> {
        let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
        let url = format!("http://{}/api/v2/alerts", self.address).parse()?;
        let body = client.get(url).await?.into_body().collect().await?.to_bytes();
        Ok(serde_json::from_slice(&body)?)
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _gone = self.server.kill();
        let _gone = self.server.wait();
    }
}
