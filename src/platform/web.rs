use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, NoProxy, Proxy};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;

use super::https::{HttpsError, proxy_of_environment};

/// Why no client for the web can be made.
#[derive(Debug, Error)]
pub enum WebError {
    #[error("failed to read the certificate authorities in `{path}`")]
    Authorities {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("`{path}` holds no certificate of an authority in PEM")]
    NoAuthority { path: PathBuf },
    #[error(transparent)]
    Proxy(#[from] HttpsError),
    #[error("failed to set up TLS")]
    Tls(#[source] rustls::Error),
    #[error("failed to set up HTTP")]
    Http(#[source] reqwest::Error),
}

/// Creates a client for services other than AWS: rustls with `ring`, the host's authorities and those in a file,
/// through the proxy of the environment, and without following redirects. `within`: the limit of a request with its
/// answer.
pub fn web_client(authorities: Option<&Path>, within: Duration) -> Result<Client, WebError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = authorities {
        for certificate in read_authorities(path)? {
            let none = |_| WebError::NoAuthority { path: path.to_owned() };
            roots.add(certificate).map_err(none)?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(WebError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut builder = Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(concat!("drctl/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .timeout(within)
        .connect_timeout(within)
        .no_proxy();
    for in_clear in [true, false] {
        let Some(found) = proxy_of_environment(in_clear)? else { continue };
        let made = if in_clear { Proxy::http(found.url) } else { Proxy::https(found.url) };
        builder = builder.proxy(made.map_err(WebError::Http)?.no_proxy(NoProxy::from_string(&found.direct)));
    }
    builder.build().map_err(WebError::Http)
}

/// Reads the certificates in a file.
pub fn read_authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, WebError> {
    let text =
        std::fs::read(path).map_err(|source| WebError::Authorities { path: path.to_owned(), source })?;
    let found = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>().unwrap_or_default();
    if found.is_empty() { Err(WebError::NoAuthority { path: path.to_owned() }) } else { Ok(found) }
}
