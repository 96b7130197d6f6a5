//! As much of AWS Secrets Manager as a client that reads one secret sees, over HTTP.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::Outcome;

/// Ends with the test's runtime.
pub(crate) struct SecretsManager {
    pub(crate) address: SocketAddr,
}

impl SecretsManager {
    /// With these secrets of text, by their names.
    pub(crate) async fn start(secrets: &[(&str, &str)]) -> Outcome<Self> {
        let secrets: BTreeMap<String, String> =
            secrets.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        Self::of(move |name| secrets.get(name).cloned()).await
    }

    /// With what is found by name or ARN whenever somebody asks.
    pub(crate) async fn of(find: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Outcome<Self> {
        let secrets = Arc::new(find);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let secrets = Arc::clone(&secrets);
                let service = service_fn(move |request| {
                    let secrets = Arc::clone(&secrets);
                    async move { Ok::<_, Infallible>(answer(&*secrets, request).await) }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(connection), service),
                );
            }
        });
        Ok(Self { address })
    }
}

async fn answer(
    secrets: &(impl Fn(&str) -> Option<String> + Sync),
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let is_asked = header("x-amz-target") == Some("secretsmanager.GetSecretValue");
    let is_signed = header("authorization").is_some_and(|value| value.starts_with("AWS4-HMAC-SHA256 "));
    if !is_asked || !is_signed {
        return reply(StatusCode::BAD_REQUEST, &error("InvalidRequestException", "not that"));
    }
    let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes);
    let asked: Value = serde_json::from_slice(&body.unwrap_or_default()).unwrap_or_default();
    let id = asked["SecretId"].as_str().unwrap_or_default();
    match secrets(id) {
        Some(text) => reply(
            StatusCode::OK,
            &json!({
                "ARN": format!("arn:aws:secretsmanager:us-east-1:123456789012:secret:{id}-AbCdEf"),
                "Name": id, "SecretString": text, "VersionStages": ["AWSCURRENT"],
                "VersionId": "EXAMPLE1-90ab-cdef-fedc-ba987SECRET1", "CreatedDate": 1_763_676_171.0,
            }),
        ),
        None => reply(
            StatusCode::BAD_REQUEST,
            &error("ResourceNotFoundException", "Secrets Manager can't find the specified secret."),
        ),
    }
}

fn error(kind: &str, message: &str) -> Value {
    json!({ "__type": kind, "Message": message })
}

fn reply(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    let json = hyper::header::HeaderValue::from_static("application/x-amz-json-1.1");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, json);
    response
}
