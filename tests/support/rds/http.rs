//! The listener: which region, which action, and what the script says about it.

use std::sync::Arc;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::super::Outcome;
use super::Shared;
use super::error::{Answered, ApiError};
use super::form::Form;
use super::kms;
use super::router::{self, Asked};
use super::script::{Fault, Gone};
use super::state::Call;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Serves until it is dropped.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&shared), request));
            // A connection that is closed under the client is what a fault may be.
            let _ended = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(socket), service)
                .await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Failure> {
    let header = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    let scope = header.and_then(scope);
    let target =
        request.headers().get("x-amz-target").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let body = request.into_body().collect().await?.to_bytes();
    let form = Form::parse(&body);
    let action = form.owned("Action").unwrap_or_default();
    let id = format!("drctl-{:016x}", shared.state().serial());
    let Some((region, service)) = scope else {
        let error = ApiError {
            status: 403,
            ..ApiError::new("MissingAuthenticationToken", "Missing Authentication Token")
        };
        return reply(error.status, error.document(&id));
    };
    let gone = shared.script().gone.get(&region).copied().filter(|_| service == "rds" || service == "kms");
    match gone {
        Some(Gone::Unavailable) => {
            let error = ApiError {
                status: 503,
                ..ApiError::new("ServiceUnavailable", "Service is unable to handle request.")
            };
            return reply(503, error.document(&id));
        }
        Some(Gone::Reset) => return Err("the region is gone".into()),
        Some(Gone::Silent) => return std::future::pending().await,
        None => {}
    }
    if service == "kms" {
        let (status, document) = kms::answer(&shared, &region, &target.unwrap_or_default(), &body);
        return reply_as("application/x-amz-json-1.1", status, document);
    }
    let fault = shared.script().fault(&region, &action, &form);
    match fault {
        Some(Fault::Error(status, code, message)) => {
            let error = ApiError { status, code, message: message.to_owned() };
            return reply(status, error.document(&id));
        }
        Some(Fault::Refuse) => return Err("refused as told".into()),
        Some(Fault::Hang) => return std::future::pending().await,
        Some(Fault::Delay(delay)) => tokio::time::sleep(delay).await,
        Some(Fault::LoseAnswer | Fault::HangWhenDone) | None => {}
    }
    // What was begun is carried through though the client may go away.
    let carried = tokio::spawn(carry_out(Arc::clone(&shared), region, service, action, form, id));
    let (status, document) = carried.await??;
    match fault {
        Some(Fault::LoseAnswer) => Err("answer lost as told".into()),
        Some(Fault::HangWhenDone) => std::future::pending().await,
        _ => reply(status, document),
    }
}

async fn carry_out(
    shared: Arc<Shared>,
    region: String,
    service: String,
    action: String,
    form: Form,
    id: String,
) -> Outcome<(u16, String)> {
    let mut call = router::changes_something(&action).then(|| Call {
        region: region.clone(),
        action: action.clone(),
        parameters: form.record(),
        touched: shared.touched(&region, &form.record()),
        error: None,
    });
    let asked = Asked { shared: Arc::clone(&shared), region, form };
    let answered: Answered<_> = router::carry_out(&service, &action, &asked).await;
    let answered = answered.and_then(|xml| match asked.form.unread().as_slice() {
        [] => Ok(xml),
        unread => {
            let words = format!("this double does not know {unread:?} of {action}");
            shared.script().failures.push(words.clone());
            Err(ApiError { status: 501, ..ApiError::new("UnsupportedOperation", words) })
        }
    });
    if let Some(mut call) = call.take() {
        call.error = answered.as_ref().err().map(|error| error.code.to_owned());
        shared.state().calls.push(call);
    }
    Ok(match answered {
        Ok(xml) => (200, xml.answer(&action, router::namespace(&service), &id)),
        Err(error) => (error.status, error.document(&id)),
    })
}

/// Region and service from `Credential=AKID/20261121/us-east-1/rds/aws4_request`.
fn scope(authorization: &str) -> Option<(String, String)> {
    let credential = authorization.strip_prefix("AWS4-HMAC-SHA256 ")?.split("Credential=").nth(1)?;
    let mut parts = credential.split(',').next()?.split('/').skip(2);
    Some((parts.next()?.to_owned(), parts.next()?.to_owned()))
}

fn reply(status: u16, document: String) -> Result<Response<Full<Bytes>>, Failure> {
    reply_as("text/xml", status, document)
}

fn reply_as(kind: &'static str, status: u16, document: String) -> Result<Response<Full<Bytes>>, Failure> {
    let mut response = Response::new(Full::new(Bytes::from(document)));
    *response.status_mut() = StatusCode::from_u16(status)?;
    let kind = hyper::header::HeaderValue::from_static(kind);
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
    Ok(response)
}
