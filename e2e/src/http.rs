//! A blocking HTTP/1.1 client with keep-alive: enough for a media client, small enough to trust.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

/// Bodies above this are refused (bytes).
const BODY_BYTES_MAX: usize = 256 << 20;

/// An answer with its body read to the end.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    headers: Vec<(String, String)>,
    /// The decoded body.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of that name (any case).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The body as text; anything that is not UTF-8 is replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One client with one kept connection.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    timeout: Duration,
    connection: Option<BufReader<TcpStream>>,
}

impl Client {
    /// Connects on the first request. `timeout` bounds each wait for bytes.
    #[must_use]
    pub fn new(address: SocketAddr, timeout: Duration) -> Self {
        Self {
            address,
            timeout,
            connection: None,
        }
    }

    /// GET without further headers.
    ///
    /// # Errors
    /// When the server cannot be reached or breaks HTTP. A status is not an error.
    pub fn get(&mut self, path: &str) -> Result<Response> {
        self.request("GET", path, &[])
    }

    /// Any request without a body; tried a second time on a fresh connection when a kept one was closed meanwhile.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn request(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) -> Result<Response> {
        if let Some(connection) = self.connection.take()
            && let Ok(response) = self.exchange(connection, method, path, headers)
        {
            return Ok(response);
        }
        let stream = TcpStream::connect_timeout(&self.address, self.timeout)
            .with_context(|| format!("cannot connect to {}", self.address))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(self.timeout))?;
        stream.set_write_timeout(Some(self.timeout))?;
        self.exchange(BufReader::with_capacity(64 << 10, stream), method, path, headers)
            .with_context(|| format!("{method} {path}"))
    }

    fn exchange(
        &mut self,
        mut connection: BufReader<TcpStream>,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Response> {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        connection.get_mut().write_all(request.as_bytes())?;
        let mut response = read_head(&mut connection)?;
        let bodiless = method == "HEAD" || response.status == 204 || response.status == 304;
        if !bodiless {
            response.body = read_body(&mut connection, &response)?;
        }
        let close = response
            .header("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let framed = bodiless || response.header("content-length").is_some() || is_chunked(&response);
        if !close && framed {
            self.connection = Some(connection);
        }
        Ok(response)
    }
}

fn line(connection: &mut BufReader<TcpStream>) -> Result<String> {
    let mut line = String::new();
    let read = connection.read_line(&mut line)?;
    ensure!(read > 0, "the connection was closed");
    Ok(line.trim_end().to_owned())
}

fn read_head(connection: &mut BufReader<TcpStream>) -> Result<Response> {
    loop {
        let first = line(connection)?;
        let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
        let Some(status) = status.filter(|_| first.starts_with("HTTP/1.1 ")) else {
            bail!("not an HTTP/1.1 status line: {first:?}");
        };
        let mut headers = Vec::new();
        loop {
            let text = line(connection)?;
            if text.is_empty() {
                break;
            }
            let (name, value) = text
                .split_once(':')
                .with_context(|| format!("not a header: {text:?}"))?;
            headers.push((name.trim().to_owned(), value.trim().to_owned()));
        }
        if status >= 200 {
            return Ok(Response {
                status,
                headers,
                body: Vec::new(),
            });
        }
    }
}

fn is_chunked(response: &Response) -> bool {
    response
        .header("transfer-encoding")
        .is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
}

fn read_body(connection: &mut BufReader<TcpStream>, response: &Response) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    if is_chunked(response) {
        loop {
            let head = line(connection)?;
            let size = head.split(';').next().unwrap_or_default();
            let size =
                usize::from_str_radix(size.trim(), 16).with_context(|| format!("chunk size {head:?}"))?;
            ensure!(
                body.len() + size <= BODY_BYTES_MAX,
                "body above {BODY_BYTES_MAX} bytes"
            );
            let start = body.len();
            body.resize(start + size, 0);
            connection.read_exact(&mut body[start..])?;
            ensure!(line(connection)?.is_empty(), "a chunk is longer than it said");
            if size == 0 {
                return Ok(body);
            }
        }
    }
    if let Some(length) = response.header("content-length") {
        let length: usize = length
            .parse()
            .with_context(|| format!("Content-Length {length:?}"))?;
        ensure!(length <= BODY_BYTES_MAX, "body above {BODY_BYTES_MAX} bytes");
        body.resize(length, 0);
        connection
            .read_exact(&mut body)
            .context("the body is shorter than Content-Length")?;
        return Ok(body);
    }
    connection.read_to_end(&mut body)?;
    Ok(body)
}
