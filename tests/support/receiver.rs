//! A server that takes what people are told by HTTP, writes it down, and answers as the test says.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::Outcome;

/// What happens to one request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// Status and body.
    Say(u16, &'static str),
    /// 429, and how many seconds to wait.
    Wait(u64),
    /// It is never answered.
    Silence,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// With its query.
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Received {
    pub(crate) fn json(&self) -> Outcome<Value> {
        Ok(serde_json::from_str(&self.body)?)
    }

    pub(crate) fn header(&self, name: &str) -> String {
        let value = self.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    }
}

#[derive(Debug, Default)]
struct Script {
    received: Vec<Received>,
    replies: VecDeque<Reply>,
}

/// Ends with the test's runtime.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    script: Arc<Mutex<Script>>,
}

impl Receiver {
    /// It answers with status 200 and `body` where nothing else is said.
    pub(crate) async fn start(body: &'static str) -> Outcome<Self> {
        Self::with(body, None).await
    }

    /// The same, by TLS.
    pub(crate) async fn with(body: &'static str, tls: Option<TlsAcceptor>) -> Outcome<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let script = Arc::<Mutex<Script>>::default();
        let shared = Arc::clone(&script);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (script, tls) = (Arc::clone(&shared), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(connection, script, body).await,
                        Some(tls) => {
                            if let Ok(connection) = tls.accept(connection).await {
                                serve(connection, script, body).await;
                            }
                        }
                    }
                });
            }
        });
        Ok(Self { address, script })
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What the next requests are answered.
    pub(crate) fn answer(&self, replies: &[Reply]) {
        lock(&self.script).replies = replies.iter().cloned().collect();
    }

    /// Everything that came since this was asked last.
    pub(crate) fn take(&self) -> Vec<Received> {
        std::mem::take(&mut lock(&self.script).received)
    }
}

fn lock(script: &Mutex<Script>) -> std::sync::MutexGuard<'_, Script> {
    script.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(
    connection: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    script: Arc<Mutex<Script>>,
    body: &'static str,
) {
    let service = service_fn(move |request| {
        let script = Arc::clone(&script);
        async move { Ok::<_, Infallible>(reply(request, &script, body).await) }
    });
    let _gone =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(connection), service).await;
}

async fn reply(
    request: Request<Incoming>,
    script: &Mutex<Script>,
    otherwise: &'static str,
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let received = Received {
        path: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        headers: head.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let next = {
        let mut script = lock(script);
        script.received.push(received);
        script.replies.pop_front()
    };
    let (status, text, wait) = match next {
        None => (200, otherwise, None),
        Some(Reply::Say(status, text)) => (status, text, None),
        Some(Reply::Wait(seconds)) => (429, "slow down", Some(seconds)),
        Some(Reply::Silence) => std::future::pending().await,
    };
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
    if let Some(seconds) = wait {
        response.headers_mut().insert(hyper::header::RETRY_AFTER, seconds.into());
    }
    response
}
