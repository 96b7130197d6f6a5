use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::resp::{RespError, encode, line, reply};
use super::{RedisEndpoint, RedisError, RedisInfo, RedisTarget, Reply};
use crate::platform::{ExposeSecret as _, read_authorities};

/// How long a connection may take to be established, and an answer to come. A server answers nothing while it forks or
/// runs a script.
pub(super) const WITHIN: Duration = Duration::from_secs(60);

pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A connection that is logged in.
pub struct RedisConnection {
    pub(super) stream: BufReader<Box<dyn Stream>>,
    pub(super) address: String,
    unsent: Vec<u8>,
}

impl std::fmt::Debug for RedisConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RedisConnection({})", self.address)
    }
}

impl RedisConnection {
    /// Connects to a server, or to the master that a Sentinel names, and logs in.
    pub async fn open(target: &RedisTarget) -> Result<Self, RedisError> {
        let Some(master) = &target.sentinel_master else {
            return Self::open_at(&target.endpoint, target, true).await;
        };
        let at_sentinel = async |logs_in| -> Result<Reply, RedisError> {
            let mut sentinel = Self::open_at(&target.endpoint, target, logs_in).await?;
            sentinel.call(&["SENTINEL", "get-master-addr-by-name", master]).await
        };
        // A Sentinel has a password of its own, or none.
        let found = match at_sentinel(false).await {
            Err(RedisError::NoPassword { .. }) if target.password.is_some() => at_sentinel(true).await,
            found => found,
        };
        let none =
            || RedisError::NoSuchMaster { address: target.endpoint.to_string(), master: master.clone() };
        let Reply::Array(found) = found? else { return Err(none()) };
        let [host, port] = &found[..] else { return Err(none()) };
        let port = port.text().and_then(|port| port.parse().ok()).ok_or_else(none)?;
        let tls = matches!(target.endpoint, RedisEndpoint::Tcp { tls: true, .. });
        let endpoint = RedisEndpoint::Tcp { host: host.text().ok_or_else(none)?, port, tls };
        Self::open_at(&endpoint, target, true).await
    }

    async fn open_at(
        endpoint: &RedisEndpoint,
        target: &RedisTarget,
        logs_in: bool,
    ) -> Result<Self, RedisError> {
        let address = endpoint.to_string();
        let silent = || RedisError::Silent { address: address.clone(), within: WITHIN };
        let connected = tokio::time::timeout(WITHIN, connect(endpoint, target)).await;
        let stream = BufReader::with_capacity(256 << 10, connected.map_err(|_| silent())??);
        let mut connection = Self { stream, address, unsent: vec![] };
        if let Some(password) = target.password.as_ref().filter(|_| logs_in) {
            let mut words = vec!["AUTH"];
            words.extend(target.user.as_deref());
            words.push(password.expose_secret());
            connection.call(&words).await?;
        }
        Ok(connection)
    }

    /// The address of the server, without a password.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Runs a command. An error that the server answers is one here.
    pub async fn call(&mut self, words: &[&str]) -> Result<Reply, RedisError> {
        let bytes: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        self.call_bytes(&bytes).await
    }

    pub async fn call_bytes(&mut self, words: &[&[u8]]) -> Result<Reply, RedisError> {
        self.queue(words);
        self.flush().await?;
        let command = command_name(words);
        match self.receive().await? {
            Reply::Error(text) => Err(RedisError::of_answer(&self.address, &command, &text)),
            reply => Ok(reply),
        }
    }

    /// Adds a command to those that are sent with the next [`flush`](Self::flush).
    pub fn queue(&mut self, words: &[&[u8]]) {
        encode(words, &mut self.unsent);
    }

    /// Returns how many bytes wait to be sent.
    pub fn queued(&self) -> usize {
        self.unsent.len()
    }

    pub async fn flush(&mut self) -> Result<(), RedisError> {
        let unsent = std::mem::take(&mut self.unsent);
        let stream = self.stream.get_mut();
        let sent = tokio::time::timeout(WITHIN, async {
            stream.write_all(&unsent).await?;
            stream.flush().await
        });
        match sent.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(source)) => Err(RedisError::Send { address: self.address.clone(), source }),
            Err(_) => Err(self.silent()),
        }
    }

    /// Reads the answer to the oldest command without one. An error of the server is returned as it is.
    pub async fn receive(&mut self) -> Result<Reply, RedisError> {
        let received = tokio::time::timeout(WITHIN, reply(&mut self.stream)).await;
        received.map_err(|_| self.silent())?.map_err(|error| self.failed(error))
    }

    /// Reads a line, as it comes outside of an answer.
    pub(super) async fn receive_line(&mut self) -> Result<String, RedisError> {
        let received = tokio::time::timeout(WITHIN, line(&mut self.stream)).await;
        received.map_err(|_| self.silent())?.map_err(|error| self.failed(error))
    }

    pub async fn info(&mut self) -> Result<RedisInfo, RedisError> {
        let text = self.call(&["INFO"]).await?.text();
        let text = text.ok_or_else(|| self.failed(RespError::Protocol("`INFO` has no text")))?;
        Ok(RedisInfo::parse(&text))
    }

    /// Returns the settings that match a pattern, name to value.
    pub async fn config(&mut self, pattern: &str) -> Result<Vec<(String, String)>, RedisError> {
        let Reply::Array(items) = self.call(&["CONFIG", "GET", pattern]).await? else { return Ok(vec![]) };
        let pairs = items.chunks_exact(2).filter_map(|pair| Some((pair[0].text()?, pair[1].text()?)));
        Ok(pairs.collect())
    }

    /// Returns the meaning of an error that was [received](Self::receive).
    pub fn refused(&self, command: &str, text: &str) -> RedisError {
        RedisError::of_answer(&self.address, command, text)
    }

    pub(super) fn silent(&self) -> RedisError {
        RedisError::Silent { address: self.address.clone(), within: WITHIN }
    }

    fn failed(&self, error: RespError) -> RedisError {
        let address = self.address.clone();
        match error {
            RespError::Closed => RedisError::Closed { address },
            RespError::Read(source) => RedisError::Read { address, source },
            RespError::Protocol(what) => RedisError::Protocol { address, what },
        }
    }
}

/// The command, with its subcommand where it has one; never another argument.
fn command_name(words: &[&[u8]]) -> String {
    let word = |at: usize| words.get(at).map(|word| String::from_utf8_lossy(word).to_uppercase());
    let name = word(0).unwrap_or_default();
    match name.as_str() {
        "CONFIG" | "SENTINEL" | "FUNCTION" | "SCRIPT" | "CLIENT" => {
            format!("{name} {}", word(1).unwrap_or_default())
        }
        _ => name,
    }
}

async fn connect(endpoint: &RedisEndpoint, target: &RedisTarget) -> Result<Box<dyn Stream>, RedisError> {
    let address = || endpoint.to_string();
    let failed = |source| RedisError::Connect { address: address(), source };
    let (host, port, tls) = match endpoint {
        RedisEndpoint::Unix(path) => {
            return Ok(Box::new(UnixStream::connect(path).await.map_err(failed)?));
        }
        RedisEndpoint::Tcp { host, port, tls } => (host.as_str(), *port, *tls),
    };
    let stream = TcpStream::connect((host, port)).await.map_err(failed)?;
    let _only_slower = stream.set_nodelay(true);
    if !tls {
        return Ok(Box::new(stream));
    }
    let name = ServerName::try_from(host.to_owned())
        .map_err(|error| RedisError::Tls { address: address(), source: io::Error::other(error) })?;
    let connector = TlsConnector::from(Arc::new(tls_config(target)?));
    let secured = connector.connect(name, stream).await;
    Ok(Box::new(secured.map_err(|source| RedisError::Tls { address: address(), source })?))
}

fn tls_config(target: &RedisTarget) -> Result<ClientConfig, RedisError> {
    let mut roots = RootCertStore::empty();
    match &target.authority {
        Some(path) => {
            let authorities = read_authorities(path).map_err(RedisError::Authority)?;
            roots.add_parsable_certificates(authorities);
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(versions.map_err(RedisError::TlsSetup)?.with_root_certificates(roots).with_no_client_auth())
}
