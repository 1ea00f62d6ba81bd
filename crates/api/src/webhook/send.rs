//! One POST to somewhere else: bounded in time and bytes, to public addresses only, redirects not followed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Uri, header};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::address::is_public;

/// Bytes of a webhook's URL.
const URL_BYTES_MAX: usize = 2048;

/// How webhooks are reached.
#[derive(Clone, Debug)]
pub struct SenderOptions {
    /// Whether addresses of private networks and of this machine may be reached.
    pub allow_private: bool,
    /// From the look-up of the name to the head of the answer.
    pub timeout: Duration,
    /// Pause before the second attempt.
    pub retry_first: Duration,
}

impl Default for SenderOptions {
    fn default() -> Self {
        Self {
            allow_private: false,
            timeout: Duration::from_secs(10),
            retry_first: super::RETRY_FIRST,
        }
    }
}

/// Sends to webhooks.
pub struct Sender {
    options: SenderOptions,
    tls: TlsConnector,
}

/// Why nothing was answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    #[error("the URL is not one of http or https with a host")]
    Url,
    #[error("the name cannot be looked up: {0}")]
    Name(std::io::Error),
    #[error("{0} is not a public address; `webhooks.allow_private` in the settings lets it be reached")]
    Private(SocketAddr),
    #[error("the name has no address")]
    NoAddress,
    #[error("the connection failed: {0}")]
    Connect(std::io::Error),
    #[error("no answer came: {0}")]
    Http(#[from] hyper::Error),
    #[error("no answer came within {} s", .0.as_secs_f64())]
    Timeout(Duration),
}

/// A URL that events may be posted to: `http` or `https`, a host, no user and password.
pub(crate) fn check_url(url: &str) -> bool {
    let parsed = url.parse::<Uri>().ok().filter(|_| url.len() <= URL_BYTES_MAX);
    parsed.is_some_and(|uri| {
        let has_host = uri
            .authority()
            .is_some_and(|authority| !authority.host().is_empty() && !authority.as_str().contains('@'));
        has_host && matches!(uri.scheme_str(), Some("http" | "https"))
    })
}

impl Sender {
    /// A sender that trusts the certificates that this machine trusts.
    pub fn new(options: SenderOptions) -> Arc<Self> {
        let mut roots = rustls::RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            tracing::warn!("this machine has no certificate authorities: webhooks with https will fail");
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring offers TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(Self {
            options,
            tls: TlsConnector::from(Arc::new(config)),
        })
    }

    pub(crate) fn retry_first(&self) -> Duration {
        self.options.retry_first
    }

    /// The status of the answer.
    pub(crate) async fn post(
        &self,
        url: &str,
        headers: &[(&'static str, String)],
        body: Bytes,
    ) -> Result<u16, SendError> {
        let timeout = self.options.timeout;
        let posted = tokio::time::timeout(timeout, self.post_at_leisure(url, headers, body));
        posted.await.unwrap_or(Err(SendError::Timeout(timeout)))
    }

    async fn post_at_leisure(
        &self,
        url: &str,
        headers: &[(&'static str, String)],
        body: Bytes,
    ) -> Result<u16, SendError> {
        let uri: Uri = url.parse().map_err(|_| SendError::Url)?;
        let authority = uri.authority().ok_or(SendError::Url)?;
        let is_tls = uri.scheme_str() == Some("https");
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(header::HOST, authority.as_str())
            .header(header::CONTENT_TYPE, "application/json")
            .header(
                header::USER_AGENT,
                concat!("Tidewire/", env!("CARGO_PKG_VERSION")),
            );
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(body)).map_err(|_| SendError::Url)?;
        let socket = self.connect(host, port).await?;
        if !is_tls {
            return exchange(socket, request).await;
        }
        let name = ServerName::try_from(host.to_owned()).map_err(|_| SendError::Url)?;
        let secured = self.tls.connect(name, socket).await.map_err(SendError::Connect)?;
        exchange(secured, request).await
    }

    /// The address that was judged is the one that is connected to: a name that says something else a moment later does not
    /// get in.
    async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, SendError> {
        let addresses = tokio::net::lookup_host((host, port))
            .await
            .map_err(SendError::Name)?;
        let mut last = SendError::NoAddress;
        for address in addresses {
            if !self.options.allow_private && !is_public(address.ip()) {
                last = SendError::Private(address);
                continue;
            }
            match TcpStream::connect(address).await {
                Ok(socket) => return Ok(socket),
                Err(error) => last = SendError::Connect(error),
            }
        }
        Err(last)
    }
}

/// Sends the request and takes the head of the answer; its body is nobody's business.
async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<u16, SendError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut requests, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let mut connection = std::pin::pin!(connection);
    let mut answering = std::pin::pin!(requests.send_request(request));
    let answer = tokio::select! {
        answer = &mut answering => answer?,
        ended = &mut connection => {
            ended?;
            // What came before the end is in the answer.
            answering.await?
        }
    };
    Ok(answer.status().as_u16())
}
