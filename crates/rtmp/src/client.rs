//! The publishing client's side of a session, for load, tests and restreaming.

use std::collections::VecDeque;
use std::fmt;

use bytes::{Bytes, BytesMut};
use media::MediaKind;

use crate::amf::Value;
use crate::chunk::{ChunkReader, ChunkWriter, Message};
use crate::handshake::{ClientHandshake, HandshakeKind};
use crate::message::{self, chunk_streams, control, types};
use crate::{Error, Limits};

/// What to publish where. `Debug` leaves out the key.
#[derive(Clone)]
pub struct ClientConfig {
    /// Application: `live` of `rtmp://host/live/KEY`.
    pub app: String,
    /// The whole URL up to the application: `rtmp://host/live`.
    pub tc_url: String,
    /// The key.
    pub stream_key: String,
    /// Chunk size of what the client sends, bytes.
    pub chunk_bytes: usize,
    /// Which handshake to speak.
    pub handshake: HandshakeKind,
    /// Fills the handshake.
    pub seed: u64,
}

impl fmt::Debug for ClientConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = formatter.debug_struct("ClientConfig");
        out.field("tc_url", &self.tc_url)
            .field("chunk_bytes", &self.chunk_bytes);
        out.field("handshake", &self.handshake).finish_non_exhaustive()
    }
}

/// What a client session wants.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientOutput {
    /// Bytes for the server, in order.
    Send(Bytes),
    /// The server said something.
    Event(ClientEvent),
}

/// What the server said.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ClientEvent {
    /// Media may be sent.
    Publishing,
    /// A status message after that.
    Status {
        /// `status`, `warning` or `error`.
        level: String,
        /// `NetStream.Unpublish.Success` and the like.
        code: String,
        /// The server's sentence.
        description: String,
    },
}

const TRANSACTION_CONNECT: f64 = 1.0;
const TRANSACTION_CREATE: f64 = 4.0;

/// A publishing client. Give it bytes, drain its output; media is written straight into the caller's buffer.
pub struct ClientSession {
    config: ClientConfig,
    handshake: Option<ClientHandshake>,
    reader: ChunkReader,
    writer: ChunkWriter,
    output: VecDeque<ClientOutput>,
    /// Message stream, once created.
    stream: u32,
    is_publishing: bool,
    limits: Limits,
}

impl ClientSession {
    /// A session that begins with its hello.
    pub fn new(config: ClientConfig) -> Self {
        let mut handshake = ClientHandshake::new(config.handshake, config.seed);
        let hello = handshake.hello();
        let limits = Limits::default();
        Self {
            config,
            handshake: Some(handshake),
            reader: ChunkReader::new(&limits),
            writer: ChunkWriter::default(),
            output: VecDeque::from([ClientOutput::Send(hello)]),
            stream: 0,
            is_publishing: false,
            limits,
        }
    }

    /// Takes from the front of `input` what it can use.
    pub fn handle_input(&mut self, input: &mut BytesMut) -> Result<(), Error> {
        if let Some(handshake) = &mut self.handshake {
            let Some(answer) = handshake.handle(input)? else {
                return Ok(());
            };
            self.handshake = None;
            self.output.push_back(ClientOutput::Send(answer));
            self.begin();
        }
        while let Some(message) = self.reader.next(input)? {
            self.handle_message(message)?;
        }
        Ok(())
    }

    /// The next thing that the session wants; `None` when it waits.
    pub fn poll_output(&mut self) -> Option<ClientOutput> {
        self.output.pop_front()
    }

    /// Media may be sent.
    pub fn is_publishing(&self) -> bool {
        self.is_publishing
    }

    /// Appends one media message to `out`; its body, an FLV tag body, is the concatenation of `parts`.
    /// `timestamp_ms` wraps on the wire.
    pub fn write_media(&mut self, out: &mut BytesMut, kind: MediaKind, timestamp_ms: i64, parts: &[&[u8]]) {
        let (chunk_stream, type_id) = match kind {
            MediaKind::Audio => (chunk_streams::AUDIO, types::AUDIO),
            MediaKind::Video => (chunk_streams::VIDEO, types::VIDEO),
        };
        self.writer.write(
            out,
            chunk_stream,
            type_id,
            self.stream,
            timestamp_ms as u32,
            parts,
        );
    }

    /// Appends `@setDataFrame` with the given metadata.
    pub fn write_metadata(&mut self, out: &mut BytesMut, properties: &[(String, Value)]) {
        let mut payload = BytesMut::new();
        Value::from("@setDataFrame").write(&mut payload);
        Value::from("onMetaData").write(&mut payload);
        Value::EcmaArray(properties.to_vec()).write(&mut payload);
        self.writer.write(
            out,
            chunk_streams::AUDIO,
            types::DATA_AMF0,
            self.stream,
            0,
            &[&payload],
        );
    }

    /// Appends the end of the stream.
    pub fn write_unpublish(&mut self, out: &mut BytesMut) {
        let key = Value::from(self.config.stream_key.as_str());
        let unpublish = message::command("FCUnpublish", 6.0, &[Value::Null, key]);
        let delete = message::command("deleteStream", 7.0, &[Value::Null, f64::from(self.stream).into()]);
        for payload in [unpublish, delete] {
            self.writer.write(
                out,
                chunk_streams::COMMAND,
                types::COMMAND_AMF0,
                0,
                0,
                &[&payload],
            );
        }
        self.is_publishing = false;
    }

    fn begin(&mut self) {
        let chunk_bytes = self.config.chunk_bytes.clamp(1, 0xff_ffff);
        let mut out = BytesMut::new();
        let size = (chunk_bytes as u32).to_be_bytes();
        self.writer.write(
            &mut out,
            chunk_streams::CONTROL,
            types::SET_CHUNK_SIZE,
            0,
            0,
            &[&size],
        );
        self.writer.set_chunk_bytes(chunk_bytes);
        let object = Value::object([
            ("app", self.config.app.as_str().into()),
            ("type", "nonprivate".into()),
            ("flashVer", "FMLE/3.0 (compatible; Tidewire)".into()),
            ("tcUrl", self.config.tc_url.as_str().into()),
        ]);
        let payload = message::command("connect", TRANSACTION_CONNECT, &[object]);
        self.writer.write(
            &mut out,
            chunk_streams::COMMAND,
            types::COMMAND_AMF0,
            0,
            0,
            &[&payload],
        );
        self.output.push_back(ClientOutput::Send(out.freeze()));
    }

    fn handle_message(&mut self, message: Message) -> Result<(), Error> {
        match message.type_id {
            types::SET_CHUNK_SIZE => {
                let bytes = message::u32_of(&message.payload).ok_or(Error::Malformed {
                    what: "Set Chunk Size",
                })?;
                self.reader.set_chunk_bytes(bytes as usize);
            }
            types::USER_CONTROL => self.user_control(&message.payload),
            types::COMMAND_AMF0 | types::COMMAND_AMF3 => {
                let values = message::values(message.type_id, &message.payload, &self.limits.amf)?;
                self.handle_command(&values)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn user_control(&mut self, payload: &[u8]) {
        let Some((event, value)) = payload.split_first_chunk::<2>() else {
            return;
        };
        if u16::from_be_bytes(*event) == control::PING_REQUEST
            && let Some(value) = message::u32_of(value)
        {
            let pong = message::user_control(control::PING_RESPONSE, value);
            let mut out = BytesMut::new();
            self.writer.write(
                &mut out,
                chunk_streams::CONTROL,
                types::USER_CONTROL,
                0,
                0,
                &[&pong],
            );
            self.output.push_back(ClientOutput::Send(out.freeze()));
        }
    }

    fn handle_command(&mut self, values: &[Value]) -> Result<(), Error> {
        let name = values.first().and_then(Value::as_str).unwrap_or_default();
        let transaction = values.get(1).and_then(Value::as_number).unwrap_or(0.0);
        let information = values.get(3);
        let text = |key| {
            let value = information.and_then(|information| information.get(key));
            value.and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        match name {
            "_result" if transaction == TRANSACTION_CONNECT => self.create_stream(),
            "_result" if transaction == TRANSACTION_CREATE => {
                self.stream = information.and_then(Value::as_number).unwrap_or(1.0) as u32;
                self.publish();
            }
            "_error" if transaction == TRANSACTION_CONNECT || transaction == TRANSACTION_CREATE => {
                return Err(Error::Refused {
                    code: text("code"),
                    description: text("description"),
                });
            }
            "onStatus" => return self.status(text("level"), text("code"), text("description")),
            _ => {}
        }
        Ok(())
    }

    fn create_stream(&mut self) {
        let key = Value::from(self.config.stream_key.as_str());
        let mut out = BytesMut::new();
        for payload in [
            message::command("releaseStream", 2.0, &[Value::Null, key.clone()]),
            message::command("FCPublish", 3.0, &[Value::Null, key]),
            message::command("createStream", TRANSACTION_CREATE, &[Value::Null]),
        ] {
            self.writer.write(
                &mut out,
                chunk_streams::COMMAND,
                types::COMMAND_AMF0,
                0,
                0,
                &[&payload],
            );
        }
        self.output.push_back(ClientOutput::Send(out.freeze()));
    }

    fn publish(&mut self) {
        let key = Value::from(self.config.stream_key.as_str());
        let payload = message::command("publish", 5.0, &[Value::Null, key, "live".into()]);
        let mut out = BytesMut::new();
        let stream = self.stream;
        self.writer.write(
            &mut out,
            chunk_streams::AUDIO,
            types::COMMAND_AMF0,
            stream,
            0,
            &[&payload],
        );
        self.output.push_back(ClientOutput::Send(out.freeze()));
    }

    fn status(&mut self, level: String, code: String, description: String) -> Result<(), Error> {
        if level == "error" {
            self.is_publishing = false;
            return Err(Error::Refused { code, description });
        }
        let event = if code == "NetStream.Publish.Start" && !self.is_publishing {
            self.is_publishing = true;
            ClientEvent::Publishing
        } else {
            ClientEvent::Status {
                level,
                code,
                description,
            }
        };
        self.output.push_back(ClientOutput::Event(event));
        Ok(())
    }
}
