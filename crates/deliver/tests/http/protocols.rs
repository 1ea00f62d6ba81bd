//! HTTP/1.1, HTTP/2 in clear and over TLS.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty};
use hyper::{Request, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::feed::Feed;
use crate::support::Harness;

async fn get_h2<S>(stream: S, path: &str) -> (Version, u16, bytes::Bytes)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let request = Request::get(format!("http://localhost{path}"))
        .body(Empty::<bytes::Bytes>::new())
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    let (version, status) = (response.version(), response.status().as_u16());
    (
        version,
        status,
        response.into_body().collect().await.unwrap().to_bytes(),
    )
}

fn connector(protocols: &[&[u8]]) -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    let certificate = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/http/cert.pem");
    roots
        .add(CertificateDer::from_pem_file(certificate).unwrap())
        .unwrap();
    let mut config =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

#[tokio::test]
async fn http2_with_prior_knowledge() {
    let harness = Harness::start();
    let stream = TcpStream::connect(harness.address()).await.unwrap();
    let (version, status, body) = get_h2(stream, "/hello").await;
    assert_eq!(
        (version, status, &body[..]),
        (Version::HTTP_2, 200, &b"hello"[..])
    );
}

#[tokio::test]
async fn one_http2_connection_holds_and_answers_at_once() {
    let harness = Harness::start();
    let mut feed = Feed::new("demo", "s1", 100);
    feed.push(115);
    harness.windows.insert(&feed.window);
    let stream = TcpStream::connect(harness.address()).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let ask = |method: &str, path: &str| {
        let uri = format!("http://localhost/live/demo/source/{path}");
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .body(Empty::<bytes::Bytes>::new())
            .unwrap();
        let mut sender = sender.clone();
        async move {
            let response = sender.send_request(request).await.unwrap();
            let (parts, body) = response.into_parts();
            (
                parts.status.as_u16(),
                parts.headers,
                body.collect().await.unwrap().to_bytes(),
            )
        }
    };
    let held = tokio::spawn(ask("GET", "playlist.m3u8?_HLS_msn=2&_HLS_part=2"));
    let hinted = tokio::spawn(ask("GET", "s1/part-2.2.m4s"));
    harness.until("two held", |http| http.held_now == 2).await;
    let (status, _, whole) = ask("GET", "s1/seg-0.m4s").await;
    assert_eq!(status, 200);
    let (status, headers, body) = ask("HEAD", "s1/seg-0.m4s").await;
    assert_eq!(
        (status, headers["content-length"].to_str().unwrap()),
        (200, whole.len().to_string().as_str())
    );
    assert!(body.is_empty());
    feed.push(6);
    assert_eq!((held.await.unwrap().0, hinted.await.unwrap().0), (200, 200));
}

#[tokio::test]
async fn tls_speaks_both() {
    let harness = Harness::start();
    let address = harness.server.https_addresses()[0];
    for (offered, chosen) in [
        (&[&b"h2"[..], b"http/1.1"][..], &b"h2"[..]),
        (&[b"http/1.1"], b"http/1.1"),
    ] {
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = connector(offered).connect(name, stream).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(chosen));
        assert_eq!(
            stream.get_ref().1.protocol_version(),
            Some(rustls::ProtocolVersion::TLSv1_3)
        );
        if chosen == b"h2" {
            let (_, status, body) = get_h2(stream, "/hello").await;
            assert_eq!((status, &body[..]), (200, &b"hello"[..]));
        }
    }
    // Cleartext on the TLS port ends as a failed handshake.
    let mut plain = TcpStream::connect(address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut plain, b"GET / HTTP/1.1\r\n\r\n")
        .await
        .unwrap();
    harness
        .until("handshake", |http| {
            http.closed_for(deliver::CloseReason::HandshakeFailed) == 1
        })
        .await;
}

#[tokio::test]
async fn shutdown_answers_held_requests_on_both_protocols() {
    let harness = Harness::start();
    let mut feed = Feed::new("demo", "s1", 100);
    feed.push(60);
    harness.windows.insert(&feed.window);
    let address = harness.address();
    let path = "/live/demo/source/playlist.m3u8?_HLS_msn=2&_HLS_part=0";
    let h2 = tokio::spawn(async move { get_h2(TcpStream::connect(address).await.unwrap(), path).await.1 });
    let h1 = tokio::spawn(async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: t\r\n\r\n");
        tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes())
            .await
            .unwrap();
        let mut bytes = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut bytes)
            .await
            .unwrap();
        crate::support::Answer::parse(&bytes).code()
    });
    harness.until("held", |http| http.held_now == 2).await;
    let began = Instant::now();
    harness.server.stop().await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(h2.await.unwrap(), 503);
    assert_eq!(h1.await.unwrap(), "shutting_down");
    let http = harness.counters.http.snapshot();
    assert_eq!((http.open, http.held_now), (0, 0));
    assert!(harness.cores.stop(Duration::from_secs(5)));
}

#[tokio::test]
async fn a_shutdown_ends_although_a_client_does_not_read() {
    let limits = deliver::Limits {
        drain_timeout: Duration::from_millis(300),
        ..deliver::Limits::default()
    };
    let harness = Harness::with(limits, deliver::Timing::default());
    let mut stuck = TcpStream::connect(harness.address()).await.unwrap();
    let _idle = TcpStream::connect(harness.address()).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stuck, b"GET /big HTTP/1.1\r\nhost: t\r\n\r\n")
        .await
        .unwrap();
    harness
        .until("asked", |http| http.class(deliver::Class::Page).by_status[1] == 1)
        .await;
    let began = Instant::now();
    harness.server.stop().await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let http = harness.counters.http.snapshot();
    assert_eq!(
        (http.open, http.closed_for(deliver::CloseReason::Shutdown)),
        (0, 1)
    );
}
