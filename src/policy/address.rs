//! Addresses: URLs, regions, ARNs. None of them ever holds a password.

use std::path::Path;

use url::Url;

use super::decode::{InvalidValue, ParseText};
use super::macros::{text_schemas, text_values};
use crate::platform::SecretRef;
use crate::text::suggest;

/// A region: `us-east-1`, `auto`, `garage`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Region(pub(super) String);

impl ParseText for Region {
    const EXAMPLE: &'static str = "\"us-east-1\"";

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if text.is_empty() || !text.bytes().all(fits) {
            return InvalidValue::new(
                format!("`{text}` is not a region"),
                "write it like `us-east-1`; Cloudflare R2 has `auto`",
            );
        }
        Ok(Self(text.to_owned()))
    }
}

/// An Amazon Resource Name: `arn:partition:service:region:account:resource`.
#[derive(Clone, Debug)]
pub(super) struct Arn(pub(super) String);

impl Arn {
    pub(super) fn service(&self) -> &str {
        self.0.split(':').nth(2).unwrap_or_default()
    }

    pub(super) fn region(&self) -> &str {
        self.0.split(':').nth(3).unwrap_or_default()
    }
}

impl ParseText for Arn {
    const EXAMPLE: &'static str = "\"arn:aws:…\"";

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        match parts.as_slice() {
            ["arn", partition, service, _, _, resource]
                if ![partition, service, resource].iter().any(|part| part.is_empty()) =>
            {
                Ok(Self(text.to_owned()))
            }
            _ => InvalidValue::new(
                format!("`{text}` is not an ARN"),
                "write it like `arn:aws:sns:us-east-1:123456789012:backups`",
            ),
        }
    }
}

/// The address of a service: `http` or `https`, without secrets.
#[derive(Clone, Debug)]
pub(super) struct S3Endpoint(pub(super) Url);

impl ParseText for S3Endpoint {
    const EXAMPLE: &'static str = "\"https://host:port\"";

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        let hint = "write it like `https://s3.example.org:9000`";
        let Ok(url) = Url::parse(text) else {
            return InvalidValue::new("is not a URL", hint);
        };
        if !url.username().is_empty() || url.password().is_some() {
            return InvalidValue::new(
                "holds a user or a password",
                "take them out, and give `credentials` by reference",
            );
        }
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return InvalidValue::new("is not an `http://` or `https://` URL", hint);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return InvalidValue::new("holds more than an address", hint);
        }
        Ok(Self(url))
    }
}

/// `s3://bucket/prefix`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ObjectUrl {
    pub(super) bucket: String,
    /// Without leading or trailing `/`.
    pub(super) prefix: String,
}

impl ParseText for ObjectUrl {
    const EXAMPLE: &'static str = "\"s3://bucket/prefix\"";

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        let form = "write it like `s3://bucket/prefix`";
        let Some(rest) = text.strip_prefix("s3://") else { return Err(not_s3(text)) };
        if rest.contains(['@', '?', '#']) {
            return InvalidValue::new(
                "holds more than a bucket and a prefix",
                "take it out; keys go to `credentials`, by reference",
            );
        }
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let fits = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
        if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(fits) {
            return InvalidValue::new(format!("`{bucket}` is not the name of a bucket"), form);
        }
        let prefix = prefix.trim_matches('/');
        if !prefix.is_empty() && prefix.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return InvalidValue::new(
                format!("`{prefix}` is not a prefix"),
                "no part of it may be empty, `.` or `..`",
            );
        }
        Ok(Self { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

/// Explains what is wrong with a text that is not an `s3://` URL.
fn not_s3(text: &str) -> InvalidValue {
    let form = "write it like `s3://bucket/prefix`";
    let told =
        |message: &str, hint: &str| InvalidValue { message: message.to_owned(), hint: hint.to_owned() };
    let lower = text.to_ascii_lowercase();
    let scheme = lower.split_once(':').map(|(scheme, _)| scheme).unwrap_or_default();
    match scheme {
        "s3" if lower.starts_with("s3://") => told("does not write `s3://` in small letters", form),
        "s3" => told("lacks one of the two `/` of `s3://`", form),
        "s3a" | "s3n" => told("begins as only Hadoop writes it", form),
        "http" | "https" => told(
            "is not an `s3://` URL",
            "write it like `s3://bucket/prefix`, and the server's address as `endpoint`",
        ),
        "gs" | "gcs" => told(
            "is a bucket of Google Cloud Storage, which drctl reaches by S3's protocol only",
            "make an HMAC key there; then `url = \"s3://bucket/prefix\"`, `endpoint = \"https://storage.googleapis.com\"` and `region = \"auto\"`; `drctl doctor` says what that store lacks",
        ),
        "az" | "azure" | "abfs" | "abfss" | "wasb" | "wasbs" => told(
            "is a container of Azure, which does not speak S3",
            "use a store that does, or a directory on a share that is mounted",
        ),
        "file" => told("is a file's URL", "write `directory = \"/path\"` in its place"),
        "sftp" | "ssh" | "ftp" | "rclone" | "b2" | "swift" => told(
            &format!(
                "begins with `{scheme}:`, and drctl keeps backups in buckets that speak S3 and in directories"
            ),
            "write it like `s3://bucket/prefix`, with `endpoint` for anything that is not AWS; or `directory = \"/path\"`",
        ),
        "" if text.starts_with(['/', '.', '~']) => {
            told("is a path", "write `directory = \"/path\"` in its place")
        }
        _ => told("is not an `s3://` URL", form),
    }
}

/// A server's URL, or a reference to it.
#[derive(Clone, Debug)]
pub(super) enum UrlOrRef {
    Url(Url),
    Ref(SecretRef),
}

/// Parses a URL with one of `schemes` and without a password, or a reference to a URL.
fn url_or_ref(text: &str, schemes: &[&str], form: &str) -> Result<UrlOrRef, InvalidValue> {
    if text.parse::<SecretRef>().is_ok() {
        return SecretRef::from_text(text).map(UrlOrRef::Ref);
    }
    let form = format!("write it like `{form}`, or name where it is found: `env:NAME`, `file:/path`, …");
    let Ok(url) = Url::parse(text) else {
        // Several hosts with ports are no URL to its reader.
        let authority = text.split_once("://").and_then(|(_, rest)| rest.split(['/', '?']).next());
        if authority.is_some_and(|hosts| hosts.contains(',')) && schemes.contains(&"postgres") {
            return InvalidValue::new("names several hosts", ONE_HOST);
        }
        return InvalidValue::new("is not a URL", form);
    };
    if !schemes.contains(&url.scheme()) {
        return InvalidValue::new(format!("begins with `{}:`", url.scheme()), form);
    }
    let query_password = url.query_pairs().any(|(name, _)| matches!(&*name, "password" | "sslpassword"));
    if url.password().is_some() || query_password {
        let hint = "take it out, and give it by reference: `password = \"env:NAME\"`";
        return InvalidValue::new("holds a password", hint);
    }
    Ok(UrlOrRef::Url(url))
}

/// `postgres://user@host:port/database`, or a reference to it.
#[derive(Clone, Debug)]
pub(super) struct PostgresUrl(pub(super) UrlOrRef);

/// What [`crate::postgres::ConnectionParameters`] understands.
const PARAMETERS: [&str; 13] = [
    "host",
    "port",
    "user",
    "dbname",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "connect_timeout",
    "application_name",
    "options",
    "service",
    "password",
];
/// Parameters of libpq that drctl's own sessions cannot have, and what to do in their place.
const ONLY_LIBPQ: [(&str, &str); 2] = [
    ("channel_binding", "leave it out, and verify the server by its certificate: `sslmode=verify-full`"),
    ("target_session_attrs", ONE_HOST),
];
const ONE_HOST: &str = "name the one that backups are taken from: a DNS name or an address that follows the primary, or the URL by `command:` from what knows the primary";
const SSL_MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

impl ParseText for PostgresUrl {
    const EXAMPLE: &'static str = "\"postgres://user@host:5432/database?sslmode=verify-full\"";

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        let url = url_or_ref(text, &["postgres", "postgresql"], "postgres://user@host:5432/database")?;
        let UrlOrRef::Url(given) = &url else { return Ok(Self(url)) };
        let named = |key| given.query_pairs().find(|(name, _)| name == key).map(|(_, value)| value);
        if given.path().trim_matches('/').is_empty()
            && named("dbname").is_none()
            && named("service").is_none()
        {
            return InvalidValue::new(
                "names no database",
                "put it at the end: `postgres://user@host:5432/database`",
            );
        }
        if given.host_str().is_some_and(|host| host.contains(',')) {
            return InvalidValue::new("names several hosts", ONE_HOST);
        }
        let only_libpq = |key: &str| ONLY_LIBPQ.iter().find(|(name, _)| *name == key);
        let asks_for_nothing = |value: &str| ["disable", "prefer", "any"].contains(&value);
        let refused = given.query_pairs().filter(|(_, value)| !asks_for_nothing(value));
        if let Some((name, hint)) = refused.into_iter().find_map(|(name, _)| only_libpq(&name)) {
            return InvalidValue::new(format!("`{name}` is supported by libpq's programs only"), *hint);
        }
        if let Some((name, _)) =
            given.query_pairs().find(|(name, _)| !PARAMETERS.contains(&&**name) && only_libpq(name).is_none())
        {
            // `password` is known, so that it is refused for what it is; it is not a suggestion.
            let hint = suggest("parameters", &name, &PARAMETERS[..PARAMETERS.len() - 1]);
            return InvalidValue::new(format!("`{name}` is not a parameter of a connection"), hint);
        }
        if let Some(mode) = named("sslmode").filter(|mode| !SSL_MODES.contains(&&**mode)) {
            return InvalidValue::new(
                format!("`{mode}` is not an sslmode"),
                suggest("possible values", &mode, &SSL_MODES),
            );
        }
        Ok(Self(url))
    }
}

/// `redis://user@host:6379`, or a reference to it.
#[derive(Clone, Debug)]
pub(super) struct RedisUrl(pub(super) UrlOrRef);

impl ParseText for RedisUrl {
    const EXAMPLE: &'static str = "\"redis://host:6379\"";

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        url_or_ref(text, &["redis", "rediss", "unix"], "redis://host:6379").map(Self)
    }
}

/// `sqlite:/path/file.db` or `postgres://user@host/database`.
#[derive(Clone, Debug)]
pub(super) struct CatalogUrl(pub(super) String);

impl ParseText for CatalogUrl {
    const EXAMPLE: &'static str = "\"sqlite:/var/lib/drctl/catalog.db\"";

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        let form = "write it like `sqlite:/path/catalog.db` or `postgres://user@host/database`";
        if let Some(path) = text.strip_prefix("sqlite:") {
            if path.trim_start_matches('/').is_empty() {
                return InvalidValue::new("names no file", form);
            }
            let path = super::value::home_expanded(Path::new(path.strip_prefix("//").unwrap_or(path)))?;
            return Ok(Self(format!("sqlite:{}", path.display())));
        }
        match PostgresUrl::from_text(text) {
            Ok(PostgresUrl(UrlOrRef::Url(_))) => Ok(Self(text.to_owned())),
            Ok(PostgresUrl(UrlOrRef::Ref(_))) => InvalidValue::new(
                "is a reference",
                format!("{form}; its password goes to `password`, by reference"),
            ),
            Err(refusal) => InvalidValue::new(refusal.message, form),
        }
    }
}

text_values!(Region, Arn, S3Endpoint, ObjectUrl, PostgresUrl, RedisUrl, CatalogUrl);

text_schemas! {
    Region, "Region", { "pattern": "^[a-z0-9-]+$" };
    Arn, "Arn", { "pattern": "^arn:[^:]+:[^:]+:[^:]*:[^:]*:.+" };
    S3Endpoint, "Endpoint", { "pattern": "^https?://" };
    ObjectUrl, "ObjectUrl", { "pattern": "^s3://[A-Za-z0-9._-]{3,63}(/.*)?$" };
    PostgresUrl, "PostgresUrl", { "pattern": "^(postgres(ql)?://|env:|file:|command:|secretsmanager:)" };
    RedisUrl, "RedisUrl", { "pattern": "^(rediss?://|unix:|env:|file:|command:|secretsmanager:)" };
    CatalogUrl, "CatalogUrl", { "pattern": "^(sqlite:|postgres(ql)?://)" };
}
