use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::aws::AwsError;
use crate::aws::rds::TokenError;
use crate::platform::SecretError;
use crate::text::format_duration;

/// SQLSTATE of a rejected password.
pub(super) const WRONG_PASSWORD: &str = "28P01";

/// Why a database could not be reached. Never holds a password.
#[derive(Debug, Error)]
pub enum ConnectError {
    #[error("the URL of the database is not one (`postgres://user@host:port/database`)")]
    Url(#[source] url::ParseError),
    #[error("the URL of the database begins with `{0}:`, not with `postgres:`")]
    Scheme(String),
    #[error("the URL of the database names no database (`postgres://user@host:port/database`)")]
    NoDatabase,
    #[error("the URL of the database is not UTF-8 where it is percent-decoded")]
    Encoding,
    #[error(
        "{of} names several hosts (`{hosts}`), and drctl and pg_dump must reach one and the same server: name one, a DNS name or an address that follows the primary, or get the URL by `command:` from what knows the primary"
    )]
    SeveralHosts { of: String, hosts: String },
    #[error("`{name}` in the URL of the database cannot be `{value}`")]
    Value { name: String, value: String },
    #[error(
        "`{name}={value}` in {of}: libpq's programs would obey it and drctl's own sessions cannot, so {remedy}"
    )]
    OnlyLibpq { name: String, value: String, of: String, remedy: &'static str },
    #[error("failed to read the service file `{path}`")]
    ServiceFile {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{}:{line}: {reason}", .path.display())]
    ServiceLine { path: PathBuf, line: usize, reason: &'static str },
    #[error("the service `{name}` is not defined in {files}")]
    NoService { name: String, files: String },
    #[error("`{parameter}` of the service `{service}` is not understood")]
    ServiceParameter { service: String, parameter: String },
    #[error("`{parameter}` of the service `{service}` cannot be `{value}`")]
    ServiceValue { service: String, parameter: &'static str, value: String },
    #[error("`{name}` in the environment cannot be `{value}`")]
    VariableValue { name: &'static str, value: String },
    #[error(
        "`{name}={value}` is set in the environment: libpq's programs would obey it and drctl's own sessions cannot, so {remedy}"
    )]
    Variable { name: &'static str, value: String, remedy: &'static str },
    #[error("`{0}` in the environment is not UTF-8")]
    VariableEncoding(&'static str),
    #[error(
        "`{name}` is set in the environment and contradicts the URL of the database: unset it for drctl, or leave `{parameter}` out of the URL"
    )]
    Contradicted { name: &'static str, parameter: &'static str },
    #[error(
        "libpq would check certificates against `{0}`, which drctl's own sessions cannot: move it away, or set HOME to another directory for drctl"
    )]
    Revocations(PathBuf),
    #[error(
        "`{0}` in the URL of the database is not understood (host, port, user, dbname, sslmode, sslrootcert, sslcert, sslkey, connect_timeout, application_name, options, service)"
    )]
    Parameter(String),
    #[error("failed to get the URL of the database")]
    UrlSecret(#[source] SecretError),
    #[error("failed to get the password of the database")]
    Password(#[source] SecretError),
    #[error("failed to get the credentials that sign the IAM token of the database")]
    Signer(#[source] AwsError),
    #[error("failed to connect to `{to}`")]
    Token {
        to: String,
        #[source]
        source: TokenError,
    },
    #[error(
        "no IAM token is sent to `{to}`, whose certificate would not be verified: set `sslmode=verify-full`"
    )]
    Unverified { to: String },
    #[error("`{to}` refused the IAM token ({said}): {}", refused_token(.code, .said))]
    TokenRefused {
        to: String,
        /// SQLSTATE
        code: String,
        said: String,
    },
    #[error("failed to write the password file for `{to}`")]
    PasswordFile {
        to: String,
        #[source]
        source: std::io::Error,
    },
    #[error("failed to connect to `{to}`")]
    Refused {
        to: String,
        #[source]
        source: sqlx::Error,
    },
    #[error("failed to connect to `{to}`: no answer in {}", format_duration(*.waited))]
    NoAnswer { to: String, waited: Duration },
    #[error(
        "`{to}` is a connection pooler that gives each transaction another connection: what drctl and pg_dump set for their sessions (an empty search_path, no timeouts) would stay on connections that others use next, so name the server itself, or a pool in session mode, in the URL"
    )]
    Pooler { to: String },
}

/// Returns a hint. For a role without IAM authentication, RDS takes the token as a wrong password.
fn refused_token(code: &str, said: &str) -> &'static str {
    if code == WRONG_PASSWORD || said.contains("password authentication failed") {
        return "RDS took it for a password: grant the role `rds_iam`";
    }
    "turn IAM authentication on for the instance; grant the role `rds_iam`; allow `rds-db:connect` on it to the AWS role that signs (`drctl iam show` prints the statement); name the endpoint and the region as RDS does; and check this host's clock, since a token is good for 15 minutes"
}
