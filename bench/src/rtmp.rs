//! A publishing RTMP client, just enough to be an encoder for any server.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

use crate::flv::{Kind, Tag};

/// As OBS has it.
const CHUNK_BYTES: usize = 4096;
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Longer messages than this are not for a publisher.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Where to publish.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) host: String,
    pub(crate) app: String,
    pub(crate) name: String,
}

impl Target {
    /// `rtmp://HOST:PORT/APP/NAME`.
    pub(crate) fn parse(url: &str) -> Result<Self> {
        let rest = url
            .strip_prefix("rtmp://")
            .with_context(|| format!("{url} does not begin with rtmp://"))?;
        let mut parts = rest.splitn(3, '/');
        let (Some(host), Some(app), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
            bail!("{url} is not rtmp://HOST:PORT/APP/NAME");
        };
        let host = if host.contains(':') {
            host.to_owned()
        } else {
            format!("{host}:1935")
        };
        Ok(Self {
            host,
            app: app.to_owned(),
            name: name.to_owned(),
        })
    }
}

/// A connection on which media can be sent.
pub(crate) struct Publisher {
    out: OwnedWriteHalf,
    pongs: mpsc::UnboundedReceiver<[u8; 4]>,
    stream_id: u32,
    buffer: Vec<u8>,
}

impl Publisher {
    /// Connects and publishes; the server has accepted when this returns.
    pub(crate) async fn connect(target: &Target) -> Result<Self> {
        let work = Self::connect_inner(target);
        let done = tokio::time::timeout(ANSWER_WITHIN, work).await;
        done.with_context(|| format!("no answer from {} within {ANSWER_WITHIN:?}", target.host))?
    }

    async fn connect_inner(target: &Target) -> Result<Self> {
        let mut stream = TcpStream::connect(&target.host)
            .await
            .with_context(|| format!("cannot connect to {}", target.host))?;
        stream.set_nodelay(true)?;
        handshake(&mut stream).await?;
        let (input, mut out) = stream.into_split();
        let mut input = Reader::new(input);

        let mut buffer = Vec::new();
        message(
            &mut buffer,
            2,
            1,
            0,
            0,
            &u32::try_from(CHUNK_BYTES)?.to_be_bytes(),
        );
        let mut connect = Amf::default().string("connect").number(1.0).begin();
        connect = connect
            .key("app")
            .string(&target.app)
            .key("type")
            .string("nonprivate");
        connect = connect
            .key("flashVer")
            .string("FMLE/3.0 (compatible; tidewire-bench)");
        connect = connect
            .key("tcUrl")
            .string(&format!("rtmp://{}/{}", target.host, target.app))
            .end();
        message(&mut buffer, 3, 20, 0, 0, &connect.0);
        out.write_all(&buffer).await?;
        input.answer("_result", 1.0).await.context("connect")?;

        buffer.clear();
        message(
            &mut buffer,
            3,
            20,
            0,
            0,
            &Amf::default()
                .string("releaseStream")
                .number(2.0)
                .null()
                .string(&target.name)
                .0,
        );
        message(
            &mut buffer,
            3,
            20,
            0,
            0,
            &Amf::default()
                .string("FCPublish")
                .number(3.0)
                .null()
                .string(&target.name)
                .0,
        );
        message(
            &mut buffer,
            3,
            20,
            0,
            0,
            &Amf::default().string("createStream").number(4.0).null().0,
        );
        out.write_all(&buffer).await?;
        let stream_id = input.answer("_result", 4.0).await.context("createStream")?;

        buffer.clear();
        let publish = Amf::default()
            .string("publish")
            .number(5.0)
            .null()
            .string(&target.name)
            .string("live");
        message(&mut buffer, 4, 20, stream_id, 0, &publish.0);
        out.write_all(&buffer).await?;
        input.publish_started().await.context("publish")?;
        buffer.clear();

        let (sender, pongs) = mpsc::unbounded_channel();
        tokio::task::spawn_local(async move {
            // The server's bytes must be read, and its pings answered, or it gives us up.
            while let Ok((kind, body)) = input.message().await {
                if kind == 4 && body.len() == 6 && body[..2] == [0, 6] {
                    let _ = sender.send([body[2], body[3], body[4], body[5]]);
                }
            }
        });
        Ok(Self {
            out,
            pongs,
            stream_id,
            buffer,
        })
    }

    /// Sends one tag with one write.
    pub(crate) async fn send(&mut self, tag: &Tag, time_ms: u32) -> Result<()> {
        self.buffer.clear();
        while let Ok(stamp) = self.pongs.try_recv() {
            let body = [0, 7, stamp[0], stamp[1], stamp[2], stamp[3]];
            message(&mut self.buffer, 2, 4, 0, 0, &body);
        }
        match tag.kind {
            Kind::Audio => message(&mut self.buffer, 4, 8, self.stream_id, time_ms, &tag.body),
            Kind::Video => message(&mut self.buffer, 6, 9, self.stream_id, time_ms, &tag.body),
            Kind::Metadata => {
                let body = [&Amf::default().string("@setDataFrame").0[..], &tag.body].concat();
                message(&mut self.buffer, 4, 18, self.stream_id, time_ms, &body);
            }
        }
        self.out.write_all(&self.buffer).await?;
        Ok(())
    }
}

async fn handshake(stream: &mut TcpStream) -> Result<()> {
    let mut hello = vec![0_u8; 1 + 1536];
    hello[0] = 3;
    for (at, byte) in hello.iter_mut().enumerate().skip(9) {
        *byte = (at % 251) as u8;
    }
    stream.write_all(&hello).await?;
    let mut answer = vec![0_u8; 1 + 1536 + 1536];
    stream.read_exact(&mut answer).await.context("handshake")?;
    ensure!(answer[0] == 3, "the server speaks RTMP version {}", answer[0]);
    stream.write_all(&answer[1..=1536]).await?;
    Ok(())
}

/// Appends a message as chunks: one with a full header (type 0), the rest type 3.
fn message(out: &mut Vec<u8>, chunk_stream: u8, kind: u8, stream_id: u32, time_ms: u32, body: &[u8]) {
    let extended = time_ms >= 0xff_ffff;
    let field = if extended { 0xff_ffff } else { time_ms };
    out.push(chunk_stream);
    out.extend(&field.to_be_bytes()[1..]);
    out.extend(&(body.len() as u32).to_be_bytes()[1..]);
    out.push(kind);
    out.extend(stream_id.to_le_bytes());
    for (at, chunk) in body.chunks(CHUNK_BYTES).enumerate() {
        if at > 0 {
            out.push(0xc0 | chunk_stream);
        }
        if extended {
            out.extend(time_ms.to_be_bytes());
        }
        out.extend(chunk);
    }
}

/// Reads the server's messages.
struct Reader {
    input: OwnedReadHalf,
    chunk_bytes: usize,
    /// Per chunk stream: message length, type, extended time, and what has come of the message.
    streams: std::collections::HashMap<u8, (usize, u8, bool, Vec<u8>)>,
}

impl Reader {
    fn new(input: OwnedReadHalf) -> Self {
        Self {
            input,
            chunk_bytes: 128,
            streams: std::collections::HashMap::new(),
        }
    }

    async fn bytes<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.input
            .read_exact(&mut bytes)
            .await
            .context("the server closed the connection")?;
        Ok(bytes)
    }

    /// The next whole message: type and body. Chunk sizes are applied.
    async fn message(&mut self) -> Result<(u8, Vec<u8>)> {
        loop {
            let [first] = self.bytes::<1>().await?;
            let id = first & 0x3f;
            ensure!(id >= 2, "chunk stream ids above 63 are not for a publisher");
            let (mut length, mut kind, mut extended, mut body) = self.streams.remove(&id).unwrap_or_default();
            let format = first >> 6;
            if format < 3 {
                let [a, b, c] = self.bytes::<3>().await?;
                extended = (a, b, c) == (0xff, 0xff, 0xff);
            }
            if format < 2 {
                let [a, b, c, new_kind] = self.bytes::<4>().await?;
                length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                kind = new_kind;
            }
            if format == 0 {
                self.bytes::<4>().await?;
            }
            if extended {
                self.bytes::<4>().await?;
            }
            ensure!(length <= MESSAGE_BYTES_MAX, "a message of {length} bytes");
            let take = (length - body.len()).min(self.chunk_bytes);
            let start = body.len();
            body.resize(start + take, 0);
            self.input.read_exact(&mut body[start..]).await?;
            if body.len() < length {
                self.streams.insert(id, (length, kind, extended, body));
                continue;
            }
            self.streams.insert(id, (length, kind, extended, Vec::new()));
            if kind == 1 && body.len() == 4 {
                self.chunk_bytes =
                    u32::from_be_bytes([body[0], body[1], body[2], body[3]]) as usize & 0x7fff_ffff;
                continue;
            }
            return Ok((kind, body));
        }
    }

    /// Waits for the command `name` of that transaction; its last number is returned (`createStream`'s stream id).
    async fn answer(&mut self, name: &str, transaction: f64) -> Result<u32> {
        loop {
            let (kind, body) = self.message().await?;
            if kind != 20 {
                continue;
            }
            let values = amf_values(&body);
            if values.first() == Some(&Value::Text("_error".into())) {
                bail!("refused: {values:?}");
            }
            if values.first() == Some(&Value::Text(name.into()))
                && values.get(1) == Some(&Value::Number(transaction))
            {
                let last = values.iter().rev().find_map(|value| {
                    if let Value::Number(n) = value {
                        Some(*n)
                    } else {
                        None
                    }
                });
                return Ok(last.unwrap_or(1.0) as u32);
            }
        }
    }

    async fn publish_started(&mut self) -> Result<()> {
        loop {
            let (kind, body) = self.message().await?;
            if kind != 20 {
                continue;
            }
            let values = amf_values(&body);
            let has = |text: &str| {
                values
                    .iter()
                    .any(|value| matches!(value, Value::Text(t) if t.starts_with(text)))
            };
            if has("NetStream.Publish.Start") {
                return Ok(());
            }
            if has("error") || has("_error") {
                bail!("refused: {values:?}");
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Number(f64),
    Text(String),
}

/// All numbers and strings of an AMF0 body in order; objects are flattened with their keys.
fn amf_values(body: &[u8]) -> Vec<Value> {
    fn text(body: &[u8], at: &mut usize) -> Option<String> {
        let length = usize::from(u16::from_be_bytes(body.get(*at..*at + 2)?.try_into().ok()?));
        let bytes = body.get(*at + 2..*at + 2 + length)?;
        *at += 2 + length;
        Some(String::from_utf8_lossy(bytes).into_owned())
    }
    fn walk(body: &[u8], at: &mut usize, values: &mut Vec<Value>) -> Option<()> {
        let kind = *body.get(*at)?;
        *at += 1;
        match kind {
            0 => {
                let bytes = body.get(*at..*at + 8)?;
                values.push(Value::Number(f64::from_be_bytes(bytes.try_into().ok()?)));
                *at += 8;
            }
            1 => *at += 1,
            2 => values.push(Value::Text(text(body, at)?)),
            3 | 8 => {
                if kind == 8 {
                    *at += 4;
                }
                loop {
                    let key = text(body, at)?;
                    if key.is_empty() && body.get(*at) == Some(&9) {
                        *at += 1;
                        break;
                    }
                    values.push(Value::Text(key));
                    walk(body, at, values)?;
                }
            }
            5 | 6 => {}
            _ => return None,
        }
        Some(())
    }
    let (mut at, mut values) = (0, Vec::new());
    while at < body.len() && walk(body, &mut at, &mut values).is_some() {}
    values
}

/// An AMF0 body in the making.
#[derive(Default)]
struct Amf(Vec<u8>);

impl Amf {
    fn string(mut self, text: &str) -> Self {
        self.0.push(2);
        self.key(text)
    }

    fn key(mut self, text: &str) -> Self {
        self.0
            .extend(u16::try_from(text.len()).unwrap_or(0).to_be_bytes());
        self.0.extend(text.as_bytes());
        self
    }

    fn number(mut self, number: f64) -> Self {
        self.0.push(0);
        self.0.extend(number.to_be_bytes());
        self
    }

    fn null(mut self) -> Self {
        self.0.push(5);
        self
    }

    fn begin(mut self) -> Self {
        self.0.push(3);
        self
    }

    fn end(mut self) -> Self {
        self.0.extend([0, 0, 9]);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::{Amf, Value, amf_values, message};

    #[test]
    fn amf_is_read_as_it_is_written() {
        let body = Amf::default()
            .string("_result")
            .number(4.0)
            .null()
            .begin()
            .key("code")
            .string("x")
            .end()
            .number(7.0)
            .0;
        let expected = [
            Value::Text("_result".into()),
            Value::Number(4.0),
            Value::Text("code".into()),
            Value::Text("x".into()),
            Value::Number(7.0),
        ];
        assert_eq!(amf_values(&body), expected);
        assert!(amf_values(&body[..9]).len() < expected.len());
    }

    #[test]
    fn long_messages_are_cut_into_chunks() {
        let mut out = Vec::new();
        message(&mut out, 6, 9, 1, 0x0100_0000, &[7; 5000]);
        assert_eq!(out.len(), 12 + 4 + 4096 + 1 + 4 + 904);
        assert_eq!(out[1..4], [0xff; 3]);
        assert_eq!(out[12..16], [1, 0, 0, 0]);
        assert_eq!(out[16 + 4096], 0xc6);
    }
}
