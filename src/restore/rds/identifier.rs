//! The identifier of the new instance or cluster.

use crate::restore::Refusal;

pub(crate) fn is_identifier(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.contains("--")
        && !text.ends_with('-')
}

pub(super) fn invalid(identifier: &str) -> Refusal {
    let message = format!(
        "`{identifier}` is not an identifier for an instance: it begins with a letter, has letters, digits and single `-`, and 63 characters at most"
    );
    Refusal::not_ready("invalid-identifier", message)
}

pub(super) fn taken(what: &str, identifier: &str, region: &str) -> Refusal {
    let message = format!(
        "there is {what} `{identifier}` in {region} already, and it is not what this restore made before"
    );
    Refusal::not_ready("identifier-taken", message)
}
