use thiserror::Error;

use crate::text::visible;

/// A call to a store that failed, after the retries.
#[derive(Clone, Debug, Error)]
#[error("failed to {operation} `{}` in {location}: {kind}{}", visible(.key), in_brackets(.detail))]
pub struct StoreError {
    /// A verb: `read`, `write`, `list`, …
    pub operation: &'static str,
    pub key: String,
    pub location: String,
    pub kind: StoreErrorKind,
    /// The store's own message, if it adds something: `SlowDown: Please reduce your request rate`.
    pub detail: Option<String>,
}

fn in_brackets(text: &Option<String>) -> String {
    text.as_ref().map(|text| format!(" ({text})")).unwrap_or_default()
}

/// The reason of a failure, as far as it determines what to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum StoreErrorKind {
    #[error("there is no such object")]
    NotFound,
    #[error("there is no such bucket or directory")]
    NoBucket,
    #[error("there is an object already, and nothing is ever overwritten")]
    Exists,
    #[error("someone else changed it meanwhile")]
    Changed,
    #[error("access is denied")]
    Forbidden,
    #[error("the credentials were not accepted, or there are none")]
    Credentials,
    #[error("this host's clock differs too much from the store's")]
    ClockSkew,
    #[error("no space is left")]
    Full,
    #[error("the store did not answer in time, or could not be reached")]
    Unreachable,
    #[error("the store answered that it cannot do it now")]
    Unavailable,
    #[error("what arrived is not what was sent")]
    Corrupt,
    #[error("it is larger than expected")]
    TooLarge,
    #[error("the store cannot do this")]
    Unsupported,
    #[error("the request failed")]
    Other,
}

impl StoreErrorKind {
    /// Returns whether a reason, as text, is that the store could not be asked, or had no room.
    pub fn is_of_access(reason: &str) -> bool {
        use StoreErrorKind::{ClockSkew, Credentials, Forbidden, Full, NoBucket, Unavailable, Unreachable};
        let kinds = [ClockSkew, Credentials, Forbidden, Full, NoBucket, Unavailable, Unreachable];
        kinds.iter().any(|kind| reason.contains(&kind.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_with_control_characters_does_not_look_like_another_line() {
        let error = StoreError {
            operation: "read",
            key: "shop/a\nerror: all is lost".to_owned(),
            location: "/b".to_owned(),
            kind: StoreErrorKind::NotFound,
            detail: None,
        };
        assert_eq!(error.to_string().lines().count(), 1, "{error}");
    }
}
