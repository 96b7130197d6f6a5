use std::path::Path;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use url::Url;

use super::connect_error::WRONG_PASSWORD;
use super::environment::kept_from_children;
use super::parameters::SYSTEM;
use super::{ConnectError, ConnectionParameters, Password, SslMode};
use crate::platform::Program;

/// The other SQLSTATE of a rejected login.
const NOT_LET_IN: &str = "28000";

impl ConnectionParameters {
    /// Returns the options of drctl's own connections. Statements are not logged: they may contain data.
    pub(super) async fn options(&self, session: &str) -> Result<PgConnectOptions, ConnectError> {
        let password = self.password_now().await?;
        // sqlx reads the password file only when it parses a URL, and everything that selects a line of that
        // file has to be in it.
        let mut url = Url::parse("postgres:///").map_err(ConnectError::Url)?;
        {
            let mut pairs = url.query_pairs_mut();
            pairs.append_pair("host", &self.host).append_pair("port", &self.port.to_string());
            pairs.append_pair("user", &self.user).append_pair("dbname", &self.database);
            if let Some(password) = &password {
                pairs.append_pair("password", password.expose_secret());
            }
            let given = self.options.as_deref().unwrap_or_default();
            if !(given.is_empty() && session.is_empty()) {
                pairs.append_pair("options", &format!("{given} {session}"));
            }
        }
        let refused = |source| ConnectError::Refused { to: self.to_string(), source };
        let mut options = PgConnectOptions::from_url(&url).map_err(refused)?;
        let system = Path::new(SYSTEM);
        let verified_by = self.ssl_root_cert.as_deref().filter(|path| *path != system);
        options = options.application_name(&self.application_name).ssl_mode(match self.ssl_mode {
            // libpq does not use TLS over a Unix socket, whatever is requested.
            _ if self.is_socket() => PgSslMode::Disable,
            SslMode::Disable => PgSslMode::Disable,
            SslMode::Allow => PgSslMode::Allow,
            SslMode::Prefer => PgSslMode::Prefer,
            // As in libpq: where a CA is given, the certificate is verified.
            SslMode::Require if verified_by.is_some() => PgSslMode::VerifyCa,
            SslMode::Require => PgSslMode::Require,
            SslMode::VerifyCa => PgSslMode::VerifyCa,
            SslMode::VerifyFull => PgSslMode::VerifyFull,
        });
        if let Some(path) = verified_by {
            options = options.ssl_root_cert(path);
        }
        if let Some(path) = &self.ssl_cert {
            options = options.ssl_client_cert(path);
        }
        if let Some(path) = &self.ssl_key {
            options = options.ssl_client_key(path);
        }
        // Poolers do not accept it.
        Ok(options.extra_float_digits(None).disable_statement_logging())
    }

    pub(super) fn refused(&self, source: sqlx::Error) -> ConnectError {
        let said = source.as_database_error().and_then(|said| Some((said.code()?, said.message())));
        match (said, &self.password) {
            (Some((code, said)), Some(Password::IamToken(_)))
                if [WRONG_PASSWORD, NOT_LET_IN].contains(&&*code) =>
            {
                ConnectError::TokenRefused {
                    to: self.to_string(),
                    code: code.clone().into_owned(),
                    said: said.to_owned(),
                }
            }
            _ => ConnectError::Refused { to: self.to_string(), source },
        }
    }

    /// Passes everything that a program using libpq needs to connect through its environment.
    pub async fn apply(&self, program: Program) -> Result<Program, ConnectError> {
        let address = self.address_of_children().await;
        let program = self.apply_to(program, self.password_now().await?.as_ref());
        Ok(match address {
            Some(address) => program.env("PGHOSTADDR", address.to_string()),
            None => program,
        })
    }

    pub(super) fn apply_to(&self, program: Program, password: Option<&SecretString>) -> Program {
        let mut program = program;
        for name in kept_from_children() {
            program = program.without_env(name);
        }
        for (name, value) in self.environment(password) {
            program = program.env(name, value);
        }
        program
    }

    /// Returns libpq's environment variables. One of them may be the password.
    pub(super) fn environment(
        &self,
        password: Option<&SecretString>,
    ) -> Vec<(&'static str, std::ffi::OsString)> {
        let mut variables: Vec<(&'static str, std::ffi::OsString)> = vec![
            ("PGHOST", self.host.clone().into()),
            ("PGPORT", self.port.to_string().into()),
            ("PGUSER", self.user.clone().into()),
            ("PGDATABASE", self.database.clone().into()),
            ("PGSSLMODE", self.ssl_mode.as_str().into()),
            ("PGGSSENCMODE", "disable".into()),
            ("PGAPPNAME", self.application_name.clone().into()),
            ("PGCLIENTENCODING", "UTF8".into()),
            ("PGCONNECT_TIMEOUT", self.connect_timeout.as_secs().to_string().into()),
        ];
        let paths = [
            ("PGSSLROOTCERT", &self.ssl_root_cert),
            ("PGSSLCERT", &self.ssl_cert),
            ("PGSSLKEY", &self.ssl_key),
        ];
        variables.extend(
            paths
                .into_iter()
                .filter_map(|(name, path)| Some((name, path.as_ref()?.clone().into_os_string()))),
        );
        if let Some(options) = self.options_of_children() {
            variables.push(("PGOPTIONS", options.into()));
        }
        if let Some(password) = password {
            variables.push(("PGPASSWORD", password.expose_secret().into()));
        }
        variables
    }
}

/// Closes a connection gracefully, without waiting for a server that is gone.
pub async fn close(connection: PgConnection) {
    let _ended = tokio::time::timeout(Duration::from_secs(5), connection.close()).await;
}
