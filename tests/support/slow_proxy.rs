//! A way to a server over which no more bytes a second come back than it is told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Outcome;

/// Bytes that pass at once.
const PIECE: usize = 16 << 10;

/// The way; gone when dropped.
pub(crate) struct SlowProxy {
    pub(crate) address: SocketAddr,
    gate: Arc<Mutex<Gate>>,
    serving: tokio::task::JoinHandle<()>,
}

/// When the next byte may pass, of all connections together.
struct Gate {
    /// Bytes a second; `None`: as fast as they come.
    rate: Option<u64>,
    free_at: Instant,
    passed: u64,
}

impl SlowProxy {
    pub(crate) async fn to(server: SocketAddr) -> Outcome<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let gate = Arc::new(Mutex::new(Gate { rate: None, free_at: Instant::now(), passed: 0 }));
        let shared = Arc::clone(&gate);
        let serving = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(server).await else { continue };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(pass(from_client, to_server, None));
                tokio::spawn(pass(from_server, to_client, Some(Arc::clone(&shared))));
            }
        });
        Ok(Self { address, gate, serving })
    }

    /// From now on so many bytes a second come back.
    pub(crate) async fn slow_down(&self, rate: u64) {
        let mut gate = self.gate.lock().await;
        (gate.rate, gate.passed) = (Some(rate), 0);
    }

    /// How many bytes came back since it was slowed down.
    pub(crate) async fn passed(&self) -> u64 {
        self.gate.lock().await.passed
    }
}

impl Drop for SlowProxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, gate: Option<Arc<Mutex<Gate>>>) {
    let mut piece = vec![0; PIECE];
    while let Ok(read) = from.read(&mut piece).await {
        if read == 0 {
            break;
        }
        if let Some(gate) = &gate {
            let until = {
                let mut gate = gate.lock().await;
                gate.passed += read as u64;
                let begin = gate.free_at.max(Instant::now());
                let lasts = gate.rate.map_or(0.0, |rate| read as f64 / rate as f64);
                gate.free_at = begin + Duration::from_secs_f64(lasts);
                gate.free_at
            };
            tokio::time::sleep_until(until).await;
        }
        if to.write_all(&piece[..read]).await.is_err() {
            break;
        }
    }
    let _closed = to.shutdown().await;
}
