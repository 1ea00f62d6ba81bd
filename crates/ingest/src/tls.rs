//! TLS of the RTMPS listener: 1.3 and 1.2 with rustls on ring, as `deliver` has it for HTTPS, without ALPN, which
//! encoders do not send.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// A certificate or key file that cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot use {path} for rtmps: {reason}", path = path.display())]
pub struct TlsError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// What a TLS listener needs; made once, shared by all cores.
#[derive(Clone)]
pub struct Tls {
    pub(crate) acceptor: TlsAcceptor,
}

impl Tls {
    /// From PEM files: the certificate chain, the server's own first, and the private key.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let wrong = |path: &Path, reason: String| TlsError {
            path: path.to_owned(),
            reason,
        };
        let chain = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| wrong(certificate, error.to_string()))?;
        if chain.is_empty() {
            return Err(wrong(certificate, "it holds no PEM certificate".to_owned()));
        }
        let private = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, error.to_string()))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(certificate, error.to_string()))?
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .map_err(|error| wrong(key, format!("certificate and key do not fit together: {error}")))?;
        // A publisher connects once; what it would need to resume a session is not worth sending.
        config.send_tls13_tickets = 0;
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
        })
    }
}
