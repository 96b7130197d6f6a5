//! Prometheus, as Debian has it.

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

const PROGRAM: &str = "/usr/bin/prometheus";

/// Dropping it ends the server.
pub(crate) struct Prometheus {
    address: SocketAddr,
    server: Child,
}

impl Prometheus {
    /// Scrapes `target` every second, and evaluates these rules as often.
    pub(crate) async fn start(folder: &Path, target: SocketAddr, rules: &str) -> Outcome<Self> {
        if !Path::new(PROGRAM).exists() {
            let words = "`.ci/install test`, the first step of `make test`, installs it";
            return Err(format!("no {PROGRAM}: {words}").into());
        }
        std::fs::write(folder.join("rules.yml"), rules)?;
        let configuration = folder.join("prometheus.yml");
        let text = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [rules.yml]\n\
             scrape_configs:\n  - job_name: drctl\n    static_configs:\n      - targets: [\"{target}\"]\n"
        );
        std::fs::write(&configuration, text)?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let server = Command::new(PROGRAM)
            .arg(format!("--config.file={}", configuration.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("prometheus").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let server = Self { address, server };
        until("Prometheus answers", || TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok())
            .await?;
        Ok(server)
    }

    async fn ask(&self, path: &str) -> Outcome<Value> {
        let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
        let url = format!("http://{}{path}", self.address).parse()?;
        let answer = client.get(url).await?;
        if !answer.status().is_success() {
            // It is not ready yet.
            return Ok(Value::Null);
        }
        Ok(serde_json::from_slice(&answer.into_body().collect().await?.to_bytes())?)
    }

    /// The alerts that fire.
    pub(crate) async fn firing(&self) -> Outcome<Vec<Value>> {
        let answer = self.ask("/api/v1/alerts").await?;
        let alerts = answer["data"]["alerts"].as_array().cloned().unwrap_or_default();
        Ok(alerts.into_iter().filter(|alert| alert["state"] == "firing").collect())
    }

    /// The health of what is scraped: `up`, and why it is not.
    pub(crate) async fn target(&self) -> Outcome<Value> {
        Ok(self.ask("/api/v1/targets").await?["data"]["activeTargets"][0].clone())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _gone = self.server.kill();
        let _gone = self.server.wait();
    }
}
