//! Where a dump goes, as it is written.

use thiserror::Error;

use crate::model::SourceName;
use crate::platform::{ExposeSecret as _, SecretError, SecretRef};
use crate::policy::PostgresSource;
use crate::postgres::{ConnectError, ConnectionParameters, Password};

const REFERENCES: [&str; 4] = ["env:", "file:", "command:", "secretsmanager:"];
const NEW_DATABASE: &str = "new-database:";

/// Why a text does not say where a dump goes.
#[derive(Debug, Error)]
pub enum DestinationError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("a password in `--to` can be read by everyone on this host")]
    PasswordInUrl,
    #[error("the policy does not say how to log in to a server of `{0}`, so it is not known")]
    NoServer(SourceName),
}

/// Returns the server and role to restore with, and the name of the database to create: of a URL, of a reference to one, or
/// of the name of a new database on the source's own server. `login`: that of the policy.
pub async fn destination(
    text: &str,
    password: Option<&SecretRef>,
    (source, login): (&SourceName, Option<&PostgresSource>),
) -> Result<ConnectionParameters, DestinationError> {
    let mut target = if REFERENCES.iter().any(|scheme| text.starts_with(scheme)) {
        let url = text.parse::<SecretRef>()?.resolve().await?;
        ConnectionParameters::from_text(url.expose_secret())?
    } else if text.contains("://") {
        let target = ConnectionParameters::from_text(text)?;
        if target.password.is_some() {
            return Err(DestinationError::PasswordInUrl);
        }
        target
    } else {
        let name = text.strip_prefix(NEW_DATABASE).unwrap_or(text);
        let login = login.ok_or_else(|| DestinationError::NoServer(source.clone()))?;
        ConnectionParameters::resolve(login).await?.with_database(name)
    };
    if let Some(reference) = password {
        target.password = Some(Password::Known(reference.resolve().await?));
    }
    target.application_name = "drctl restore".to_owned();
    Ok(target)
}
