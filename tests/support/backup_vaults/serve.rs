use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;

use super::answer::{Refusal, reply};
use super::fault::Trouble;
use super::route::Asked;
use super::world::World;
use super::{operations, snapshots};
use crate::support::Outcome;

/// How often jobs look whether they may go on.
const TICK: Duration = Duration::from_millis(5);

pub(super) async fn listen(world: Arc<Mutex<World>>) -> Outcome<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let ticking = Arc::downgrade(&world);
    tokio::spawn(async move {
        while let Some(world) = ticking.upgrade() {
            world.lock().unwrap_or_else(PoisonError::into_inner).tick();
            drop(world);
            tokio::time::sleep(TICK).await;
        }
    });
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let world = Arc::clone(&world);
            let service = service_fn(move |request| answer(Arc::clone(&world), request));
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(connection), service),
            );
        }
    });
    Ok(address)
}

/// An error closes the connection.
async fn answer(
    world: Arc<Mutex<World>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let signed = header("authorization").and_then(signed_for);
    let Some((region, service)) = signed.map(|(region, service)| (region.to_owned(), service.to_owned()))
    else {
        return Ok(reply(Err(Refusal::new(403, "MissingAuthenticationTokenException", "not signed"))));
    };
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes);
    let body = body.unwrap_or_default();
    if service == "rds" {
        let mut world = world.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((operation, form)) = snapshots::operation(&body) else {
            return Ok(snapshots::refused(400, "InvalidAction", "unknown"));
        };
        return match world.trouble(&region, operation) {
            None => Ok(snapshots::perform(&mut world, &region, operation, &form)),
            Some(Trouble::AccessDenied) => Ok(snapshots::refused(403, "AccessDenied", "not authorized")),
            Some(_) => Err(std::io::Error::other("closed")),
        };
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let Some(asked) = Asked::read(&region, &method, &uri, body) else {
        return Ok(reply(Err(Refusal::new(404, "UnknownOperationException", format!("{method} {uri}")))));
    };
    let trouble = world.lock().unwrap_or_else(PoisonError::into_inner).trouble(&region, asked.operation);
    let closed = || Err(std::io::Error::other("closed"));
    match trouble {
        Some(Trouble::Hangs) => tokio::time::sleep(Trouble::FOR_EVER).await,
        Some(Trouble::Gone) => return closed(),
        _ => {}
    }
    if let Some(refusal) = trouble.and_then(Trouble::refusal) {
        return Ok(reply(Err(refusal)));
    }
    let answer = operations::perform(&mut world.lock().unwrap_or_else(PoisonError::into_inner), &asked);
    if trouble == Some(Trouble::AnswerLost) {
        return closed();
    }
    Ok(reply(answer))
}

/// Region and service of `AWS4-HMAC-SHA256 Credential=AKID/20261120/us-east-1/backup/aws4_request, …`.
fn signed_for(authorization: &str) -> Option<(&str, &str)> {
    let scope = authorization.strip_prefix("AWS4-HMAC-SHA256 ")?.split("Credential=").nth(1)?;
    let mut parts = scope.split('/').skip(2);
    let (region, service) = (parts.next()?, parts.next()?);
    ["backup", "rds"].contains(&service).then_some((region, service))
}
