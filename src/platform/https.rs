use std::path::PathBuf;

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use thiserror::Error;
use url::Url;

/// Why the HTTP settings of the environment are invalid. Never holds a proxy's password.
#[derive(Debug, Error)]
pub enum HttpsError {
    #[error("failed to read `{path}`, which AWS_CA_BUNDLE names")]
    Bundle {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("`{path}`, which AWS_CA_BUNDLE names, holds no certificate of an authority in PEM")]
    NoAuthority { path: PathBuf },
    #[error(
        "{variable} is not the URL of a proxy that drctl can go through ({reason}): write it like `http://proxy.example:3128`"
    )]
    Proxy { variable: &'static str, reason: String },
}

/// Requests that never use a proxy, whatever the environment says: to this host, and to the services that
/// give AWS hosts their credentials.
const DIRECT: &str =
    "localhost,127.0.0.0/8,::1,169.254.169.254,169.254.170.2,169.254.170.23,fd00:ec2::254,fd00:ec2::23";

/// The certificate authorities that a client trusts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Those of the host, or those in the file that `AWS_CA_BUNDLE` names instead.
    Host,
    /// None: for a server without TLS. Loading the trust store takes milliseconds.
    Nobody,
}

/// Creates a client for AWS and compatible services: rustls with `ring`, through the proxy of the environment
/// (`HTTPS_PROXY`, `HTTP_PROXY` for a server without TLS, `ALL_PROXY`; except for hosts in `NO_PROXY`).
pub fn https(trust: Trust) -> Result<SharedHttpClient, HttpsError> {
    let context = match trust {
        Trust::Host => match variable(&["AWS_CA_BUNDLE"]) {
            Some((_, path)) => Some(bundle(PathBuf::from(path))?),
            None => None,
        },
        Trust::Nobody => TlsContext::builder().with_trust_store(TrustStore::empty()).build().ok(),
    };
    let proxy = proxy(trust == Trust::Nobody)?;
    Ok(Builder::new().build_with_connector_fn(move |settings, components| {
        let mut builder = Connector::builder();
        builder.set_connector_settings(settings.cloned());
        if let Some(components) = components {
            builder.set_sleep_impl(components.sleep_impl());
        }
        builder.set_proxy_config(proxy.clone());
        let builder = builder.tls_provider(Provider::Rustls(CryptoMode::Ring));
        match &context {
            Some(context) => builder.tls_context(context.clone()).build(),
            None => builder.build(),
        }
    }))
}

/// Returns the first of these variables that is set and not empty.
fn variable(names: &[&'static str]) -> Option<(&'static str, String)> {
    let held = |name: &&'static str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    names.iter().find_map(|name| Some((*name, held(name)?.trim().to_owned())))
}

/// Loads the authorities in a file and validates each: the client accepts anything it is given.
fn bundle(path: PathBuf) -> Result<TlsContext, HttpsError> {
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(source) => return Err(HttpsError::Bundle { path, source }),
    };
    let mut store = RootCertStore::empty();
    let certificates = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let all_good = certificates.is_ok_and(|all| {
        !all.is_empty() && all.into_iter().all(|certificate| store.add(certificate).is_ok())
    });
    let context =
        TlsContext::builder().with_trust_store(TrustStore::empty().with_pem_certificate(text)).build();
    match context {
        Ok(context) if all_good => Ok(context),
        _ => Err(HttpsError::NoAuthority { path }),
    }
}

fn proxy(in_clear: bool) -> Result<Option<ProxyConfig>, HttpsError> {
    let Some(found) = proxy_of_environment(in_clear)? else { return Ok(None) };
    // As parsed: characters that are invalid in a URL are percent-encoded now.
    let url = found.url.as_str();
    let made = if in_clear { ProxyConfig::http(url) } else { ProxyConfig::https(url) };
    let made = made.map_err(|_| HttpsError::Proxy {
        variable: found.variable,
        reason: "it is not understood".to_owned(),
    });
    made.map(|proxy| Some(proxy.no_proxy(found.direct)))
}

/// A proxy that the environment names.
pub(super) struct ProxyOfEnvironment {
    variable: &'static str,
    pub(super) url: Url,
    /// Hosts that are reached without it, separated by commas.
    pub(super) direct: String,
}

/// Returns the proxy for servers with or without TLS.
pub(super) fn proxy_of_environment(in_clear: bool) -> Result<Option<ProxyOfEnvironment>, HttpsError> {
    let names: &[&str] = match in_clear {
        // Not HTTP_PROXY in capitals if this runs under a web server: its clients could set it.
        true if std::env::var_os("REQUEST_METHOD").is_some() => &["http_proxy", "ALL_PROXY", "all_proxy"],
        true => &["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"],
        false => &["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"],
    };
    let Some((name, value)) = variable(names) else { return Ok(None) };
    let direct = match variable(&["NO_PROXY", "no_proxy"]) {
        Some((_, others)) => format!("{DIRECT},{others}"),
        None => DIRECT.to_owned(),
    };
    Ok(Some(ProxyOfEnvironment { variable: name, url: proxy_url(name, &value)?, direct }))
}

fn proxy_url(variable: &'static str, value: &str) -> Result<Url, HttpsError> {
    let refused = |reason: &str| HttpsError::Proxy { variable, reason: reason.to_owned() };
    let written = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
    let url = Url::parse(&written).map_err(|error| refused(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(refused(&format!("it begins with `{}:`", url.scheme())));
    }
    if url.host().is_none() {
        return Err(refused("it names no host"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_a_url_or_refused_by_its_variable_and_without_its_password() {
        for good in ["http://proxy.example:3128", "proxy.example:3128", "https://me:p%40w@proxy.example/"] {
            assert!(proxy_url("HTTPS_PROXY", good).is_ok(), "{good}");
        }
        for (bad, word) in [
            ("socks5://me:hush@proxy:1080", "`socks5:`"),
            ("http://", "host"),
            ("http://me:hush@:3128", "host"),
            ("http://me:hush@proxy:port", "port"),
        ] {
            let said = proxy_url("HTTPS_PROXY", bad).unwrap_err().to_string();
            assert!(said.starts_with("HTTPS_PROXY is not") && said.contains(word), "{said}");
            assert!(!said.contains("hush"), "{said}");
        }
    }

    #[test]
    fn a_bundle_without_an_authority_is_refused_before_a_client_is_made_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bundle.pem");
        let refused = |path: &PathBuf| bundle(path.clone()).map(drop).unwrap_err();
        assert!(matches!(refused(&path), HttpsError::Bundle { .. }));
        let pem = |body: &str| format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
        for text in [String::new(), "no certificate".to_owned(), pem("AAAA"), pem("%%%")] {
            std::fs::write(&path, &text).unwrap();
            assert!(matches!(refused(&path), HttpsError::NoAuthority { .. }), "{text}");
        }
    }
}
