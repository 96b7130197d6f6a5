//! Who vouches for the servers' names: what AWS's bundle of certificates is to RDS.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::super::Outcome;

/// The name every endpoint has.
pub(super) const HOST: &str = "127.0.0.1";
/// Another that leads there, as a CNAME would. It is in the certificate, so that TLS has nothing against it.
pub(crate) const ALIAS: &str = "localhost";

pub(super) struct Authority {
    file: tempfile::NamedTempFile,
    pub(super) acceptor: TlsAcceptor,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Authority({:?})", self.file)
    }
}

impl Authority {
    pub(super) fn new() -> Outcome<Self> {
        let mut own = CertificateParams::new(Vec::<String>::new())?;
        // Of one name with the server's, OpenSSL would take the server's certificate for its own authority's.
        own.distinguished_name.push(DnType::CommonName, "Amazon RDS of the tests");
        own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        own.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = own.self_signed(&key)?;
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), certificate.pem())?;

        let server_key = KeyPair::generate()?;
        let names = vec![HOST.to_owned(), ALIAS.to_owned()];
        let server = CertificateParams::new(names)?.signed_by(&server_key, &Issuer::new(own, key))?;
        let chain: Vec<CertificateDer<'static>> = vec![server.der().clone()];
        let server_key = PrivateKeyDer::try_from(server_key.serialize_der())?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, server_key)?;
        Ok(Self { file, acceptor: TlsAcceptor::from(Arc::new(config)) })
    }

    /// Its certificate, in PEM.
    pub(super) fn bundle(&self) -> PathBuf {
        self.file.path().to_owned()
    }
}
