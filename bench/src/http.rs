//! A lean HTTP/1.1 client: one kept connection, bodies counted and mostly thrown away.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// `http://HOST:PORT/PATH`, resolved.
#[derive(Clone, Debug)]
pub(crate) struct Url {
    pub(crate) address: SocketAddr,
    pub(crate) path: String,
}

impl Url {
    pub(crate) async fn parse(url: &str) -> Result<Self> {
        let rest = url
            .strip_prefix("http://")
            .with_context(|| format!("{url} does not begin with http://"))?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let host = if host.contains(':') {
            host.to_owned()
        } else {
            format!("{host}:80")
        };
        let address = tokio::net::lookup_host(&host)
            .await?
            .next()
            .with_context(|| format!("{host} has no address"))?;
        Ok(Self {
            address,
            path: format!("/{path}"),
        })
    }
}

/// How much of a body the caller wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Keep,
    Discard,
}

/// One kept connection. The body of the last answer stays in `body` until the next request.
pub(crate) struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// The last answer's body, when it was kept.
    pub(crate) body: Vec<u8>,
}

const BUFFER_BYTES: usize = 16 << 10;
const HEAD_BYTES_MAX: usize = 8 << 10;

struct Head {
    status: u16,
    length: Option<usize>,
    chunked: bool,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)
            .await
            .with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        let buffer = vec![0; BUFFER_BYTES];
        Ok(Self {
            stream,
            request: Vec::new(),
            buffer,
            start: 0,
            end: 0,
            body: Vec::new(),
        })
    }

    /// Asks for `path` and reads the whole answer: status and size of the body.
    pub(crate) async fn get(&mut self, path: &str, body: Body) -> Result<(u16, usize)> {
        self.request.clear();
        self.request.extend_from_slice(b"GET ");
        self.request.extend_from_slice(path.as_bytes());
        self.request
            .extend_from_slice(b" HTTP/1.1\r\nHost: bench\r\nUser-Agent: tidewire-bench\r\n\r\n");
        self.stream.write_all(&self.request).await?;
        self.body.clear();
        let head = self.head().await?;
        let size = if head.chunked {
            self.chunked(body).await?
        } else {
            let length = head.length.context("an answer without a length")?;
            self.take(length, body).await?;
            length
        };
        Ok((head.status, size))
    }

    async fn fill(&mut self) -> Result<()> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        ensure!(self.end < self.buffer.len(), "a head longer than the buffer");
        let read = self.stream.read(&mut self.buffer[self.end..]).await?;
        ensure!(read > 0, "the server closed the connection");
        self.end += read;
        Ok(())
    }

    async fn head(&mut self) -> Result<Head> {
        let length = loop {
            let bytes = &self.buffer[self.start..self.end];
            if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            ensure!(
                bytes.len() < HEAD_BYTES_MAX,
                "a head of more than {HEAD_BYTES_MAX} bytes"
            );
            self.fill().await?;
        };
        let bytes = &self.buffer[self.start..self.start + length];
        let status = bytes
            .get(9..12)
            .and_then(|code| std::str::from_utf8(code).ok())
            .and_then(|code| code.parse().ok());
        let mut head = Head {
            status: status.context("no status line")?,
            length: None,
            chunked: false,
        };
        for line in bytes.split(|byte| *byte == b'\n') {
            let Some(colon) = line.iter().position(|byte| *byte == b':') else {
                continue;
            };
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            if name.eq_ignore_ascii_case(b"content-length") {
                head.length = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
                head.chunked = value.eq_ignore_ascii_case(b"chunked");
            }
        }
        self.start += length;
        Ok(head)
    }

    async fn take(&mut self, mut length: usize, body: Body) -> Result<()> {
        while length > 0 {
            if self.start == self.end {
                self.fill().await?;
            }
            let step = length.min(self.end - self.start);
            if body == Body::Keep {
                self.body
                    .extend_from_slice(&self.buffer[self.start..self.start + step]);
            }
            self.start += step;
            length -= step;
        }
        Ok(())
    }

    async fn chunked(&mut self, body: Body) -> Result<usize> {
        let mut total = 0;
        loop {
            let line = loop {
                let bytes = &self.buffer[self.start..self.end];
                if let Some(at) = bytes.windows(2).position(|two| two == b"\r\n") {
                    let text = std::str::from_utf8(&bytes[..at])?
                        .split(';')
                        .next()
                        .unwrap_or_default()
                        .trim();
                    let size =
                        usize::from_str_radix(text, 16).with_context(|| format!("chunk size {text:?}"))?;
                    self.start += at + 2;
                    break size;
                }
                self.fill().await?;
            };
            self.take(line, body).await?;
            self.take(2, Body::Discard).await?;
            total += line;
            if line == 0 {
                return Ok(total);
            }
        }
    }
}
