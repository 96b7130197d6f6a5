use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

/// An error as AWS Backup gives it.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

pub(super) type Answer = Result<Value, Refusal>;

impl Refusal {
    pub(super) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST),
            code,
            message: message.into(),
        }
    }

    pub(super) fn not_found(what: impl Into<String>) -> Self {
        Self::new(400, "ResourceNotFoundException", what)
    }

    pub(super) fn invalid(what: impl Into<String>) -> Self {
        Self::new(400, "InvalidParameterValueException", what)
    }

    pub(super) fn request(what: impl Into<String>) -> Self {
        Self::new(400, "InvalidRequestException", what)
    }
}

pub(super) fn reply(answer: Answer) -> Response<Full<Bytes>> {
    let (status, code, body) = match answer {
        Ok(body) => (StatusCode::OK, None, body),
        Err(Refusal { status, code, message }) => {
            (status, Some(code), json!({ "Code": code, "Message": message, "Type": "Client" }))
        }
    };
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(code) = code {
        headers.insert(HeaderName::from_static("x-amzn-errortype"), HeaderValue::from_static(code));
    }
    response
}
