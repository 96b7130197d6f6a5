//! A proxy in front of a server that fails as told: by method, by a part of the URL, by call.
//!
//! Requests go on as they came, with their `Host`, so that signatures stay valid.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{CONTENT_LENGTH, DATE, HeaderValue};
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use super::Outcome;

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Answer = Response<BoxBody<Bytes, Failure>>;

/// What happens to a call.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Answered with this status and S3 error code; the server does not see it.
    Status(u16, &'static str),
    /// The server does it, and the answer is lost.
    DropAnswer,
    /// The connection is closed; the server does not see it.
    Refuse,
    /// It is never answered; the server does not see it.
    Hang,
    /// The server does it, and it is never answered.
    HangWhenDone,
    /// It goes on after a while.
    Delay(Duration),
    /// The server's answer breaks off after so many bytes of its body.
    CutBody(usize),
    /// A byte of the answer's body is another.
    FlipByte(usize),
    /// A byte of the request's body is another.
    FlipSent(usize),
    /// Answered with status 200 and an error in the body, as a store does that began to answer and then
    /// failed; the server does not see it.
    ErrorIn200(&'static str),
    /// Answered with status 200 and a page for people, as a proxy does that wants a login; the server does not see it.
    Page,
    /// The server's answer, as if it were written at this time (an HTTP date).
    Date(&'static str),
}

/// Which calls a fault is for.
#[derive(Clone, Debug)]
pub(crate) struct When {
    method: Option<&'static str>,
    part: Option<String>,
    header: Option<&'static str>,
    skip: usize,
    times: usize,
}

impl When {
    /// Every call.
    pub(crate) fn any() -> Self {
        Self { method: None, part: None, header: None, skip: 0, times: usize::MAX }
    }

    pub(crate) fn method(method: &'static str) -> Self {
        Self { method: Some(method), ..Self::any() }
    }

    /// Only where path and query have `part` in them: `manifest.json`, `uploadId=`.
    pub(crate) fn with(mut self, part: &str) -> Self {
        self.part = Some(part.to_owned());
        self
    }

    /// Only where the request has this header.
    pub(crate) fn with_header(mut self, name: &'static str) -> Self {
        self.header = Some(name);
        self
    }

    /// Leaves out the first of them.
    pub(crate) fn after(mut self, calls: usize) -> Self {
        self.skip = calls;
        self
    }

    /// Only so many of them.
    pub(crate) fn times(mut self, calls: usize) -> Self {
        self.times = calls;
        self
    }

    fn takes(&mut self, head: &Parts, url: &str) -> bool {
        let is_such = self.method.is_none_or(|wanted| wanted == head.method.as_str())
            && self.header.is_none_or(|name| head.headers.contains_key(name))
            && self.part.as_ref().is_none_or(|part| url.contains(part.as_str()));
        if !is_such {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        let takes = self.times > 0;
        self.times = self.times.saturating_sub(1);
        takes
    }
}

#[derive(Debug, Default)]
struct Script {
    faults: Vec<(When, Fault)>,
    calls: Vec<String>,
    taken: usize,
    /// Uploads must have parts of one size, the last excepted.
    wants_equal_parts: bool,
    /// By the id of the upload: the sizes of its parts, by their numbers.
    parts: BTreeMap<String, BTreeMap<u32, usize>>,
}

impl Script {
    /// Takes note of the parts that come, and refuses to join those that a store with equal parts would.
    fn refuses_parts(&mut self, head: &Parts, length: usize) -> bool {
        let query = head.uri.query().unwrap_or_default();
        let value = |name: &str| {
            url::form_urlencoded::parse(query.as_bytes())
                .find_map(|(key, value)| (key == name).then(|| value.into_owned()))
        };
        let Some(upload) = value("uploadId").filter(|_| self.wants_equal_parts) else { return false };
        if let Some(number) = value("partNumber").and_then(|number| number.parse().ok()) {
            self.parts.entry(upload).or_default().insert(number, length);
            return false;
        }
        let sizes: Vec<usize> =
            self.parts.get(&upload).into_iter().flat_map(|parts| parts.values().copied()).collect();
        let Some((last, others)) = sizes.split_last() else { return false };
        let first = others.first().unwrap_or(last);
        head.method == "POST" && (others.iter().any(|size| size != first) || last > first)
    }
}

/// The proxy; gone when dropped.
#[derive(Debug)]
pub(crate) struct FaultProxy {
    pub(crate) address: SocketAddr,
    script: Arc<Mutex<Script>>,
    serving: tokio::task::JoinHandle<()>,
}

impl FaultProxy {
    pub(crate) async fn to(server: SocketAddr) -> Outcome<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let script = Arc::new(Mutex::new(Script::default()));
        let shared = Arc::clone(&script);
        let serving = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let script = Arc::clone(&shared);
                connections.spawn(async move {
                    let service = service_fn(move |request| pass(server, Arc::clone(&script), request));
                    let connection = hyper::server::conn::http1::Builder::new();
                    // Closed connections are what it is for.
                    let _ended = connection.serve_connection(TokioIo::new(socket), service).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, script, serving })
    }

    /// From now on. Of several that are for a call the one told first is taken.
    pub(crate) fn fail(&self, when: When, fault: Fault) {
        lock(&self.script).faults.push((when, fault));
    }

    /// From now on only uploads whose parts have one size, the last excepted, are joined, as Cloudflare R2 does.
    pub(crate) fn want_equal_parts(&self) {
        lock(&self.script).wants_equal_parts = true;
    }

    /// No more faults.
    pub(crate) fn heal(&self) {
        lock(&self.script).faults.clear();
    }

    /// The calls that came so far: `PUT /bucket/key?partNumber=1`.
    pub(crate) fn calls(&self) -> Vec<String> {
        lock(&self.script).calls.clone()
    }
}

impl FaultProxy {
    /// How many calls met with a fault so far.
    pub(crate) fn taken(&self) -> usize {
        lock(&self.script).taken
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn lock(script: &Mutex<Script>) -> std::sync::MutexGuard<'_, Script> {
    script.lock().unwrap_or_else(PoisonError::into_inner)
}

fn full(bytes: impl Into<Bytes>) -> BoxBody<Bytes, Failure> {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

async fn pass(
    server: SocketAddr,
    script: Arc<Mutex<Script>>,
    request: Request<Incoming>,
) -> Result<Answer, Failure> {
    let (head, body) = request.into_parts();
    let fault = {
        let url = head.uri.path_and_query().map_or("/", |url| url.as_str());
        let mut script = lock(&script);
        script.calls.push(format!("{} {url}", head.method));
        // A rule that does not take a call it is for has counted it.
        let takes = |(when, fault): &mut (When, Fault)| when.takes(&head, url).then(|| fault.clone());
        let fault = script.faults.iter_mut().find_map(takes);
        // That one is held still only once the server has done it.
        script.taken +=
            usize::from(fault.as_ref().is_some_and(|fault| !matches!(fault, Fault::HangWhenDone)));
        fault
    };
    let body = body.collect().await?.to_bytes();
    let refuses = {
        let mut script = lock(&script);
        let refuses = script.refuses_parts(&head, body.len());
        script.taken += usize::from(refuses);
        refuses
    };
    if refuses {
        let answer = Response::builder().status(400).header("content-type", "application/xml");
        return Ok(answer.body(full(error_text("InvalidPart")))?);
    }
    match fault {
        None => forward(server, head, body).await,
        Some(Fault::Status(status, code)) => Ok(Response::builder()
            .status(StatusCode::from_u16(status)?)
            .header("content-type", "application/xml")
            .body(full(error_text(code)))?),
        Some(Fault::ErrorIn200(code)) => Ok(Response::builder()
            .status(200)
            .header("content-type", "application/xml")
            .body(full(error_text(code)))?),
        Some(Fault::Page) => Ok(Response::builder()
            .status(200)
            .header("content-type", "text/html")
            .header("etag", "\"0123456789abcdef0123456789abcdef\"")
            .header("last-modified", "Fri, 20 Nov 2026 12:00:00 GMT")
            .body(full("<html><body>Please log in</body></html>"))?),
        Some(Fault::Refuse) => Err("refused as told".into()),
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::HangWhenDone) => {
            forward(server, head, body).await?.into_body().collect().await?;
            lock(&script).taken += 1;
            std::future::pending().await
        }
        Some(Fault::DropAnswer) => {
            let answer = forward(server, head, body).await?;
            // The server has done it when its answer is there whole.
            answer.into_body().collect().await?;
            Err("answer dropped as told".into())
        }
        Some(Fault::Delay(delay)) => {
            tokio::time::sleep(delay).await;
            forward(server, head, body).await
        }
        Some(Fault::FlipSent(at)) => forward(server, head, flip(&body, at)).await,
        Some(Fault::Date(date)) => {
            let mut answer = forward(server, head, body).await?;
            answer.headers_mut().insert(DATE, HeaderValue::from_static(date));
            Ok(answer)
        }
        Some(Fault::FlipByte(at)) => {
            let (head, body) = forward(server, head, body).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok(Response::from_parts(head, full(flip(&body, at))))
        }
        Some(Fault::CutBody(length)) => {
            let (mut head, body) = forward(server, head, body).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            head.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
            let begin = stream::iter([Ok::<_, Failure>(Frame::data(body.slice(..length.min(body.len()))))]);
            // What was written goes out when there is nothing to write for a moment.
            let end = stream::once(async {
                tokio::task::yield_now().await;
                Err::<Frame<Bytes>, Failure>("cut as told".into())
            });
            let cut = StreamBody::new(begin.chain(end));
            Ok(Response::from_parts(head, BodyExt::boxed(cut)))
        }
    }
}

fn flip(body: &Bytes, at: usize) -> Bytes {
    let mut bytes = body.to_vec();
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1;
    }
    bytes.into()
}

fn error_text(code: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>as told</Message></Error>"
    )
}

async fn forward(server: SocketAddr, head: Parts, body: Bytes) -> Result<Answer, Failure> {
    let socket = TcpStream::connect(server).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
    tokio::spawn(connection);
    let answer = sender.send_request(Request::from_parts(head, Full::new(body))).await?;
    Ok(answer.map(|body| body.map_err(Failure::from).boxed()))
}
