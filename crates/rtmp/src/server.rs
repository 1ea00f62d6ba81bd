//! The server's side of a session.

mod commands;

use std::collections::VecDeque;
use std::fmt;

use bytes::{Bytes, BytesMut};
use media::{MediaKind, Micros};

use crate::amf::Value;
use crate::chunk::{CHUNK_BYTES_DEFAULT, ChunkReader, ChunkWriter, Message};
use crate::handshake::{HandshakeKind, Progress, ServerHandshake};
use crate::message::{self, chunk_streams, control, types};
use crate::unwrap::TimestampUnwrapper;
use crate::{Capabilities, Error, Limits, Offer, caps_ex};

/// What we tell the peer to acknowledge after, and acknowledge ourselves after until it says otherwise, bytes.
const WINDOW_ACK_BYTES: u32 = 2_500_000;
/// Chunk size of what we send, bytes. FFmpeg adopts it for its own direction, so that nearly all of its messages
/// come in one chunk.
const CHUNK_BYTES: usize = 65_536;

/// What a session wants.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Bytes for the peer, in order.
    Send(Bytes),
    /// The peer said something.
    Event(Event),
    /// Everything is said: send what came before, then close in good order.
    Close,
}

/// What the peer said.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// `connect` was answered.
    Connected(ConnectInfo),
    /// The peer asks to publish. The session takes no further input until [`ServerSession::accept_publish`] or
    /// [`ServerSession::reject_publish`]; call [`ServerSession::handle_input`] once more after the answer.
    PublishRequested(PublishRequest),
    /// `onMetaData`: the encoder's description of the stream.
    Metadata(Vec<(String, Value)>),
    /// One FLV tag body.
    Media {
        /// Which message type carried it.
        kind: MediaKind,
        /// Decode time, milliseconds, never wrapped. It may step back or jump: as the peer sent it.
        timestamp_ms: i64,
        /// The tag body, `container::flv` reads it.
        body: Bytes,
    },
    /// Another data message: `onTextData`, `onCuePoint`, ...
    Data {
        /// Name of the handler.
        name: String,
        /// As for media.
        timestamp_ms: i64,
        /// The values behind the name.
        values: Vec<Value>,
    },
    /// The peer ended its stream in good order. It may publish again.
    Unpublished,
    /// A play request was refused; a `Close` follows.
    PlayRefused,
}

/// What `connect` says about the peer. `Debug` leaves out what may hold a key.
#[derive(Clone, Default, PartialEq)]
pub struct ConnectInfo {
    /// Application: the first part of the URL's path.
    pub app: String,
    /// The URL as the peer has it.
    pub tc_url: String,
    /// The peer's name for itself (`flashVer`): `FMLE/3.0 (compatible; FMSc/1.0)` from OBS.
    pub flash_version: String,
    /// Enhanced RTMP: what the peer could send and do.
    pub offer: Offer,
}

/// A wish to publish. `Debug` leaves out the key and the query.
#[derive(Clone, PartialEq, Eq)]
pub struct PublishRequest {
    /// Application: `live` of `rtmp://host/live/KEY`.
    pub app: String,
    /// The secret part: last part of the path, without a query.
    pub stream_key: String,
    /// What stood behind `?`, without it; empty if nothing did.
    pub query: String,
    /// The peer's name for itself.
    pub flash_version: String,
}

impl fmt::Debug for ConnectInfo {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An encoder without a key field has its key in `app` and `tc_url`.
        let mut out = formatter.debug_struct("ConnectInfo");
        out.field("flash_version", &self.flash_version)
            .field("offer", &self.offer);
        out.finish_non_exhaustive()
    }
}

impl fmt::Debug for PublishRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = formatter.debug_struct("PublishRequest");
        out.field("app", &self.app)
            .field("flash_version", &self.flash_version);
        out.finish_non_exhaustive()
    }
}

/// Counts of one session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerStats {
    /// Bytes taken, handshake included.
    pub bytes_in: u64,
    /// Bytes given out.
    pub bytes_out: u64,
    /// Media messages handed on.
    pub media_messages: u64,
    /// Messages and commands passed over: unknown, or media while nothing is published.
    pub ignored_messages: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Handshake,
    /// Commands, nothing published.
    Open,
    /// A publish request waits for its answer.
    Asked {
        stream: u32,
    },
    Publishing {
        stream: u32,
    },
    /// Closed or failed: input is dropped.
    Over,
}

/// The server's side of one connection. See the crate's documentation for the loop.
pub struct ServerSession {
    limits: Limits,
    phase: Phase,
    handshake: ServerHandshake,
    reader: ChunkReader,
    writer: ChunkWriter,
    output: VecDeque<Output>,
    capabilities: Capabilities,
    connect: Option<ConnectInfo>,
    streams_created: u32,
    unwrapper: TimestampUnwrapper,
    started_at: Micros,
    last_input_at: Micros,
    is_ping_sent: bool,
    /// Publishing was accepted at least once.
    has_published: bool,
    window_bytes: u64,
    acknowledged: u64,
    stats: ServerStats,
}

impl ServerSession {
    /// A session whose first byte is expected at `now`. `seed` fills the handshake; it need not be secret.
    pub fn new(limits: Limits, seed: u64, now: Micros) -> Self {
        Self {
            phase: Phase::Handshake,
            handshake: ServerHandshake::new(seed),
            reader: ChunkReader::new(&limits),
            writer: ChunkWriter::default(),
            output: VecDeque::new(),
            capabilities: Capabilities::default(),
            connect: None,
            streams_created: 0,
            unwrapper: TimestampUnwrapper::default(),
            started_at: now,
            last_input_at: now,
            is_ping_sent: false,
            has_published: false,
            window_bytes: u64::from(WINDOW_ACK_BYTES),
            acknowledged: 0,
            stats: ServerStats::default(),
            limits,
        }
    }

    /// What is told to peers that speak Enhanced RTMP. To be called before the first input.
    pub fn set_capabilities(&mut self, capabilities: Capabilities) {
        self.capabilities = capabilities;
    }

    /// Takes from the front of `input` what it can use; the rest must stay in front of what comes next.
    pub fn handle_input(&mut self, input: &mut BytesMut, now: Micros) -> Result<(), Error> {
        let before = input.len();
        if before > 0 {
            self.last_input_at = now;
            self.is_ping_sent = false;
        }
        let result = self.consume(input);
        self.stats.bytes_in += (before - input.len()) as u64;
        match result {
            Ok(()) => self.acknowledge(),
            Err(_) => self.phase = Phase::Over,
        }
        if self.phase == Phase::Over {
            input.clear();
        }
        result
    }

    /// A deadline has come, or may have.
    pub fn handle_timeout(&mut self, now: Micros) -> Result<(), Error> {
        let result = self.check_deadlines(now);
        if result.is_err() {
            self.phase = Phase::Over;
        }
        result
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due; `None` once the session is over.
    pub fn poll_timeout(&self) -> Option<Micros> {
        let ping_at = self.last_input_at + self.limits.idle_timeout / 2;
        let idle_at = self.last_input_at + self.limits.idle_timeout;
        match self.phase {
            Phase::Handshake => Some(idle_at.min(self.started_at + self.limits.handshake_timeout)),
            Phase::Open if !self.has_published => {
                Some(idle_at.min(self.started_at + self.limits.publish_timeout))
            }
            Phase::Open | Phase::Publishing { .. } if self.is_ping_sent => Some(idle_at),
            Phase::Open | Phase::Publishing { .. } => Some(ping_at),
            // The one who is waited for is the driver.
            Phase::Asked { .. } | Phase::Over => None,
        }
    }

    /// The next thing that the session wants; `None` when it waits.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    /// The peer may publish what it asked for.
    pub fn accept_publish(&mut self, now: Micros) {
        let Phase::Asked { stream } = self.phase else {
            return;
        };
        self.phase = Phase::Publishing { stream };
        self.has_published = true;
        self.last_input_at = now;
        self.reader.set_message_bytes_max(self.limits.message_bytes_max);
        self.unwrapper = TimestampUnwrapper::default();
        let mut out = BytesMut::new();
        let begin = message::user_control(control::STREAM_BEGIN, stream);
        self.write_control(&mut out, types::USER_CONTROL, &begin);
        self.write_status(
            &mut out,
            stream,
            "status",
            "NetStream.Publish.Start",
            "Publishing has begun.",
        );
        self.send(out);
    }

    /// The peer may not publish: it is told so by `code` (`NetStream.Publish.BadName`) and a sentence, then closed.
    pub fn reject_publish(&mut self, code: &str, sentence: &str) {
        self.close_with("error", code, sentence);
    }

    /// Asks a peer that understands it (Enhanced RTMP, `capsEx`) to connect again to the same address; others hear nothing.
    /// It may stay on this connection until it has another.
    pub fn request_reconnect(&mut self, sentence: &str) {
        let understands = |info: &ConnectInfo| info.offer.caps_ex & caps_ex::RECONNECT != 0;
        if self.phase == Phase::Over || !self.connect.as_ref().is_some_and(understands) {
            return;
        }
        let mut out = BytesMut::new();
        self.write_status(
            &mut out,
            0,
            "status",
            "NetConnection.Connect.ReconnectRequest",
            sentence,
        );
        self.send(out);
    }

    /// Ends the session in words: `level` is `status` or `error`. A `Close` follows.
    pub fn close_with(&mut self, level: &str, code: &str, sentence: &str) {
        let stream = match self.phase {
            Phase::Asked { stream } | Phase::Publishing { stream } => stream,
            Phase::Open => 0,
            Phase::Handshake | Phase::Over => {
                self.close();
                return;
            }
        };
        let mut out = BytesMut::new();
        self.write_status(&mut out, stream, level, code, sentence);
        self.send(out);
        self.close();
    }

    /// Counts so far.
    pub fn stats(&self) -> ServerStats {
        self.stats
    }

    /// What `connect` said.
    pub fn connect_info(&self) -> Option<&ConnectInfo> {
        self.connect.as_ref()
    }

    /// Which handshake the peer spoke.
    pub fn handshake_kind(&self) -> Option<HandshakeKind> {
        self.handshake.kind()
    }

    /// Publishing was accepted and not yet ended.
    pub fn is_publishing(&self) -> bool {
        matches!(self.phase, Phase::Publishing { .. })
    }

    /// Bytes that unfinished messages hold or will need.
    pub fn partial_bytes(&self) -> usize {
        self.reader.partial_bytes()
    }

    fn consume(&mut self, input: &mut BytesMut) -> Result<(), Error> {
        while self.phase == Phase::Handshake {
            match self.handshake.handle(input)? {
                Progress::NeedMore => return Ok(()),
                Progress::Send(bytes) => self.push_send(bytes),
                Progress::Done => self.phase = Phase::Open,
            }
        }
        while matches!(self.phase, Phase::Open | Phase::Publishing { .. }) {
            match self.reader.next(input)? {
                Some(message) => self.handle_message(message)?,
                None => break,
            }
        }
        Ok(())
    }

    fn handle_message(&mut self, message: Message) -> Result<(), Error> {
        match message.type_id {
            types::AUDIO => self.media(MediaKind::Audio, message.timestamp, message.payload),
            types::VIDEO => self.media(MediaKind::Video, message.timestamp, message.payload),
            types::SET_CHUNK_SIZE => {
                let bytes = control_value(&message, "Set Chunk Size")?;
                // The top bit must be zero; more than a message can be long (0xFFFFFF) makes no difference (5.4.1).
                if bytes == 0 || bytes > i32::MAX as u32 {
                    return Err(Error::Malformed {
                        what: "Set Chunk Size",
                    });
                }
                self.reader.set_chunk_bytes(bytes as usize);
            }
            types::ABORT => self.reader.abort(control_value(&message, "Abort")?),
            types::WINDOW_ACK_SIZE => {
                let bytes = control_value(&message, "Window Acknowledgement Size")?;
                // A tiny window would make us answer every chunk.
                self.window_bytes = u64::from(bytes).max(CHUNK_BYTES_DEFAULT as u64 * 128);
            }
            types::ACKNOWLEDGEMENT | types::SET_PEER_BANDWIDTH => {}
            types::USER_CONTROL => self.user_control(&message.payload)?,
            types::COMMAND_AMF0 | types::COMMAND_AMF3 => {
                self.check_command_length(&message)?;
                let values = message::values(message.type_id, &message.payload, &self.limits.amf)?;
                self.handle_command(message.stream_id, values)?;
            }
            types::DATA_AMF0 | types::DATA_AMF3 => {
                self.check_command_length(&message)?;
                let values = message::values(message.type_id, &message.payload, &self.limits.amf)?;
                self.handle_data(message.timestamp, values);
            }
            types::AGGREGATE => self.aggregate(message),
            _ => self.stats.ignored_messages += 1,
        }
        Ok(())
    }

    fn media(&mut self, kind: MediaKind, timestamp: u32, body: Bytes) {
        if !self.is_publishing() {
            self.stats.ignored_messages += 1;
            return;
        }
        self.stats.media_messages += 1;
        let timestamp_ms = self.unwrapper.unwrap(timestamp);
        self.output.push_back(Output::Event(Event::Media {
            kind,
            timestamp_ms,
            body,
        }));
    }

    /// The tags' times are moved so that the first one's is the message's (7.1.6).
    fn aggregate(&mut self, message: Message) {
        let mut shift = None;
        for (type_id, timestamp, body) in message::Aggregate::new(message.payload) {
            let shift = *shift.get_or_insert(message.timestamp.wrapping_sub(timestamp));
            let timestamp = timestamp.wrapping_add(shift);
            // A copy: one small sample that somebody keeps must not keep the whole aggregate.
            let body = Bytes::copy_from_slice(&body);
            match type_id {
                types::AUDIO => self.media(MediaKind::Audio, timestamp, body),
                types::VIDEO => self.media(MediaKind::Video, timestamp, body),
                _ => self.stats.ignored_messages += 1,
            }
        }
    }

    fn user_control(&mut self, payload: &[u8]) -> Result<(), Error> {
        let (event, value) = payload
            .split_first_chunk::<2>()
            .ok_or(Error::Malformed { what: "User Control" })?;
        if u16::from_be_bytes(*event) == control::PING_REQUEST {
            let value = message::u32_of(value).ok_or(Error::Malformed { what: "Ping Request" })?;
            let mut out = BytesMut::new();
            let pong = message::user_control(control::PING_RESPONSE, value);
            self.write_control(&mut out, types::USER_CONTROL, &pong);
            self.send(out);
        }
        Ok(())
    }

    fn check_command_length(&self, message: &Message) -> Result<(), Error> {
        let (found, limit) = (message.payload.len(), self.limits.command_bytes_max);
        if found > limit {
            return Err(Error::MessageTooLong {
                type_id: message.type_id,
                found,
                limit,
            });
        }
        Ok(())
    }

    fn check_deadlines(&mut self, now: Micros) -> Result<(), Error> {
        let limits = &self.limits;
        match self.phase {
            Phase::Asked { .. } | Phase::Over => return Ok(()),
            Phase::Handshake if now >= self.started_at + limits.handshake_timeout => {
                return Err(Error::HandshakeTimeout {
                    limit_ms: limits.handshake_timeout / 1000,
                });
            }
            Phase::Open if !self.has_published && now >= self.started_at + limits.publish_timeout => {
                return Err(Error::PublishTimeout {
                    limit_ms: limits.publish_timeout / 1000,
                });
            }
            _ => {}
        }
        if now >= self.last_input_at + limits.idle_timeout {
            return Err(Error::Idle {
                limit_ms: limits.idle_timeout / 1000,
            });
        }
        if self.phase != Phase::Handshake
            && !self.is_ping_sent
            && now >= self.last_input_at + limits.idle_timeout / 2
        {
            self.is_ping_sent = true;
            let mut out = BytesMut::new();
            let ping = message::user_control(control::PING_REQUEST, (now / 1000) as u32);
            self.write_control(&mut out, types::USER_CONTROL, &ping);
            self.send(out);
        }
        Ok(())
    }

    fn acknowledge(&mut self) {
        if self.stats.bytes_in - self.acknowledged < self.window_bytes || self.phase == Phase::Handshake {
            return;
        }
        self.acknowledged = self.stats.bytes_in;
        let mut out = BytesMut::new();
        // A sequence number of 32 bits that wraps (5.4.3).
        self.write_control(
            &mut out,
            types::ACKNOWLEDGEMENT,
            &(self.acknowledged as u32).to_be_bytes(),
        );
        self.send(out);
    }

    fn write_control(&mut self, out: &mut BytesMut, type_id: u8, payload: &[u8]) {
        self.writer
            .write(out, chunk_streams::CONTROL, type_id, 0, 0, &[payload]);
    }

    fn write_command(&mut self, out: &mut BytesMut, stream: u32, payload: &[u8]) {
        let chunk_stream = if stream == 0 {
            chunk_streams::COMMAND
        } else {
            chunk_streams::STATUS
        };
        self.writer
            .write(out, chunk_stream, types::COMMAND_AMF0, stream, 0, &[payload]);
    }

    fn write_status(&mut self, out: &mut BytesMut, stream: u32, level: &str, code: &str, sentence: &str) {
        let information = message::status(level, code, sentence);
        let payload = message::command("onStatus", 0.0, &[Value::Null, information]);
        self.write_command(out, stream, &payload);
    }

    fn send(&mut self, out: BytesMut) {
        self.push_send(out.freeze());
    }

    fn push_send(&mut self, bytes: Bytes) {
        self.stats.bytes_out += bytes.len() as u64;
        self.output.push_back(Output::Send(bytes));
    }

    fn close(&mut self) {
        if self.phase != Phase::Over {
            self.phase = Phase::Over;
            self.output.push_back(Output::Close);
        }
    }
}

fn control_value(message: &Message, what: &'static str) -> Result<u32, Error> {
    message::u32_of(&message.payload).ok_or(Error::Malformed { what })
}
