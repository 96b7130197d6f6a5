use std::error::Error as StdError;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_s3::config::interceptors::FinalizerInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;

/// Why the last attempt of a request got no response: the SDK retries silently, and a caller that gives up
/// would otherwise know only of the timeout.
#[derive(Clone, Debug, Default)]
pub struct LastAttempt(Arc<Mutex<Option<String>>>);

impl LastAttempt {
    /// Returns the last failure; `None` if the last attempt got a response.
    pub fn last(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Intercept for LastAttempt {
    fn name(&self) -> &'static str {
        "Trouble"
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let trouble = match (context.output_or_error(), context.response()) {
            (Some(Err(error)), None) => error.as_connector_error().map(|error| cause(error)),
            (Some(Err(_)), Some(answer)) => Some(format!("HTTP status {}", answer.status().as_u16())),
            _ => None,
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
        Ok(())
    }
}

/// What the messages of TLS and name resolution mean.
const KNOWN: [(&str, &str); 7] = [
    ("InvalidContentType", "the server speaks no TLS: is its address `http://`?"),
    ("invalid HTTP version parsed", "the server answers in TLS: is its address `https://`?"),
    ("UnknownIssuer", "this host does not trust the issuer of the server's certificate"),
    ("CaUsedAsEndEntity", "this host does not trust the server's self-signed certificate"),
    ("NotValidForName", "the server's certificate is for another host name"),
    ("not valid for name", "the server's certificate is for another host name"),
    ("failed to lookup address", "the host name cannot be resolved"),
];

/// Returns why there was no response, from the innermost causes: the SDK wraps them in general words.
pub fn cause(error: &(dyn StdError + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    let mut words: Vec<String> = causes.map(ToString::to_string).collect();
    words = words.split_off(words.len().saturating_sub(2));
    words.dedup();
    let words = words.join(": ");
    match KNOWN.iter().find(|(known, _)| words.contains(known)) {
        Some((_, meaning)) => format!("{meaning} ({words})"),
        None => words,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_causes_are_told_and_explained() {
        #[derive(Debug, thiserror::Error)]
        #[error("{0}")]
        struct Layer(&'static str, #[source] Option<Box<Layer>>);
        let chain = |innermost| {
            let middle = Layer("client error (Connect)", Some(Box::new(Layer(innermost, None))));
            Layer("dispatch failure", Some(Box::new(middle)))
        };
        assert_eq!(cause(&chain("connection refused")), "client error (Connect): connection refused");
        for (words, meaning) in KNOWN {
            assert!(cause(&chain(words)).starts_with(meaning));
        }
    }
}
