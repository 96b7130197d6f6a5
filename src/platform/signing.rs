use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, future};
use thiserror::Error;

/// A key that cannot sign requests. Never holds it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum UnusableKey {
    #[error("the {0} is empty")]
    Empty(&'static str),
    #[error("the {what} holds {found}, which no key has: it is incomplete, or more than the key was read")]
    Character { what: &'static str, found: String },
}

/// Passes on another provider's credentials if they can sign a request. Trims white space around a key: a
/// secret created with `echo` ends with a newline. The SDK itself accepts anything, and panics if it does not
/// fit into a header.
#[derive(Clone, Debug)]
pub struct Usable<P>(pub P);

impl<P: ProvideCredentials> ProvideCredentials for Usable<P> {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async { usable(self.0.provide_credentials().await?) })
    }

    fn fallback_on_interrupt(&self) -> Option<Credentials> {
        self.0.fallback_on_interrupt().and_then(|credentials| usable(credentials).ok())
    }
}

fn usable(given: Credentials) -> provider::Result {
    let id = key("access key id", given.access_key_id())?;
    let secret = key("secret access key", given.secret_access_key())?;
    let token = given.session_token().map(|token| key("session token", token)).transpose()?;
    if (id, secret, token) == (given.access_key_id(), given.secret_access_key(), given.session_token()) {
        return Ok(given);
    }
    let mut clean = Credentials::builder()
        .access_key_id(id)
        .secret_access_key(secret)
        .provider_name("without the white space around it");
    clean.set_session_token(token.map(str::to_owned));
    clean.set_expiry(given.expiry());
    clean.set_account_id(given.account_id().cloned());
    Ok(clean.build())
}

/// Validates a key or token: printable ASCII without a space.
fn key<'k>(what: &'static str, text: &'k str) -> Result<&'k str, CredentialsError> {
    let unusable = |error: UnusableKey| CredentialsError::invalid_configuration(error);
    let text = text.trim();
    if text.is_empty() {
        return Err(unusable(UnusableKey::Empty(what)));
    }
    match text.chars().find(|c| !c.is_ascii_graphic()) {
        None => Ok(text),
        Some(c) => {
            let found = match c {
                ' ' => "a space".to_owned(),
                '\n' => "a newline".to_owned(),
                c => format!("the character U+{:04X}", u32::from(c)),
            };
            Err(unusable(UnusableKey::Character { what, found }))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    fn given(id: &str, secret: &str, token: Option<&str>) -> provider::Result {
        usable(Credentials::new(id, secret, token.map(str::to_owned), None, "test"))
    }

    #[test]
    fn white_space_around_a_key_is_not_part_of_it() {
        for around in ["\n", "\r\n", " ", "\n\n", "\t"] {
            let clean = given(
                &format!("AKIA{around}"),
                &format!("se/cr+et={around}"),
                Some(&format!("{around}token{around}")),
            )
            .unwrap();
            assert_eq!(
                (clean.access_key_id(), clean.secret_access_key(), clean.session_token()),
                ("AKIA", "se/cr+et=", Some("token"))
            );
        }
    }

    #[test]
    fn what_no_request_can_carry_is_refused_by_name_and_not_repeated() {
        let said = |outcome: provider::Result| {
            let error = outcome.unwrap_err();
            error.source().unwrap().to_string()
        };
        assert!(said(given("AK\nIA", "hush", None)).starts_with("the access key id holds a newline"));
        assert!(said(given("AKIA", "hu sh", None)).starts_with("the secret access key holds a space"));
        assert!(
            said(given("AKIA", "hush", Some("tök")))
                .starts_with("the session token holds the character U+00F6")
        );
        assert_eq!(said(given("AKIA", " \n", None)), "the secret access key is empty");
        assert!(!said(given("AKIA", "hu\u{1}sh", None)).contains("sh,"));
    }
}
