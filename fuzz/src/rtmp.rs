//! RTMP sessions: raw bytes, and well-formed messages in any order.

use ::rtmp::amf::{Value, encode};
use ::rtmp::chunk::ChunkWriter;
use ::rtmp::{Event, Limits, Output, ServerSession};
use bytes::BytesMut;

use crate::Decisions;

/// Small bounds, so that the fuzzer reaches them.
fn limits() -> Limits {
    Limits {
        message_bytes_max: 100_000,
        command_bytes_max: 20_000,
        partial_bytes_max: 150_000,
        contiguous_bytes_max: 2_000,
        copy_below_bytes: 100,
        chunk_streams_max: 8,
        ..Limits::default()
    }
}

/// A session under watch.
struct Watched {
    session: ServerSession,
    limits: Limits,
    input: BytesMut,
    now: u64,
    is_asked: bool,
    is_accepted: bool,
    is_closed: bool,
    is_failed: bool,
}

impl Watched {
    fn new() -> Self {
        let limits = limits();
        Self {
            session: ServerSession::new(limits.clone(), 5, 0),
            limits,
            input: BytesMut::new(),
            now: 0,
            is_asked: false,
            is_accepted: false,
            is_closed: false,
            is_failed: false,
        }
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        self.pump();
    }

    fn pump(&mut self) {
        let before = self.input.len();
        self.is_failed |= self.session.handle_input(&mut self.input, self.now).is_err();
        assert!(self.input.len() <= before);
        self.drain();
        assert!(self.session.partial_bytes() <= self.limits.partial_bytes_max);
        if self.is_failed || self.is_closed {
            assert!(self.input.is_empty(), "a dead session keeps nothing");
            assert_eq!(self.session.poll_timeout(), None);
        } else if !self.is_asked {
            let left_max = self.limits.contiguous_bytes_max.max(1 + 2 * 1536) + 18;
            assert!(self.input.len() <= left_max, "{} bytes left", self.input.len());
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Send(bytes) => assert!(!bytes.is_empty()),
                Output::Close => {
                    assert!(!self.is_closed, "closed twice");
                    self.is_closed = true;
                }
                Output::Event(event) => {
                    assert!(!self.is_closed, "{event:?} after the close");
                    match event {
                        Event::PublishRequested(_) => {
                            assert!(!self.is_asked && !self.is_accepted);
                            self.is_asked = true;
                        }
                        Event::Media { .. } | Event::Metadata(_) | Event::Data { .. } => {
                            assert!(self.is_accepted, "{event:?} while nothing is published");
                        }
                        Event::Unpublished => {
                            assert!(self.is_accepted);
                            self.is_accepted = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }

    fn answer(&mut self, is_accepted: bool) {
        if !self.is_asked {
            return;
        }
        self.is_asked = false;
        if is_accepted {
            self.session.accept_publish(self.now);
            self.is_accepted = true;
        } else {
            self.session.reject_publish("NetStream.Publish.BadName", "No.");
        }
        self.pump();
    }

    fn wait(&mut self, micros: u64) {
        self.now += micros;
        self.is_failed |= self.session.handle_timeout(self.now).is_err();
        self.drain();
    }
}

/// The first byte chooses how the rest is cut; publishes are accepted.
pub fn rtmp_session(data: &[u8]) {
    let Some((&step, rest)) = data.split_first() else {
        return;
    };
    let mut watched = Watched::new();
    for piece in rest.chunks(1 + usize::from(step) * 16) {
        watched.feed(piece);
        watched.answer(true);
        watched.wait(100);
    }
}

const COMMANDS: [&str; 14] = [
    "connect",
    "createStream",
    "publish",
    "publish",
    "releaseStream",
    "FCPublish",
    "FCUnpublish",
    "deleteStream",
    "closeStream",
    "_checkbw",
    "@setDataFrame",
    "onMetaData",
    "play",
    "whatever",
];

/// The bytes are decisions: which message, on which chunk stream, cut how; and what the driver does between.
pub fn rtmp_ops(data: &[u8]) {
    let mut decisions = Decisions::new(data);
    let mut watched = Watched::new();
    let mut writer = ChunkWriter::default();
    watched.feed(&[3; 1 + 1536 + 1536]);
    while !decisions.is_empty() {
        match decisions.u8() % 16 {
            0..=5 => send(&mut watched, &mut writer, &mut decisions),
            6..=9 => command(&mut watched, &mut writer, &mut decisions),
            10 => {
                let size = 1 + decisions.u32() % 70_000;
                let mut out = BytesMut::new();
                writer.write(&mut out, 2, 1, 0, 0, &[&size.to_be_bytes()]);
                writer.set_chunk_bytes(size as usize);
                watched.feed(&out);
            }
            11 => watched.answer(true),
            12 => watched.answer(decisions.u8() > 20),
            13 => watched.wait(u64::from(decisions.u32() % 40_000_000)),
            14 => {
                let count = usize::from(decisions.u8());
                watched.feed(decisions.bytes(count));
            }
            _ => watched
                .session
                .close_with("status", "NetStream.Unpublish.Success", "Bye."),
        }
        if watched.is_failed || watched.is_closed {
            return;
        }
    }
}

/// A message of any type with any payload, perhaps not whole.
fn send(watched: &mut Watched, writer: &mut ChunkWriter, decisions: &mut Decisions<'_>) {
    const TYPES: [u8; 16] = [8, 9, 8, 9, 18, 15, 20, 17, 22, 2, 3, 4, 5, 6, 16, 99];
    let type_id = TYPES[usize::from(decisions.u8() % 16)];
    let chunk_stream = [2, 3, 4, 5, 6, 64, 320, 65_599][usize::from(decisions.u8() % 8)];
    let timestamp = decisions.u32();
    let length = usize::from(decisions.u8());
    let fill = [7; 9000];
    let long = &fill[..usize::from(decisions.u8() & 7) * 1000];
    let mut out = BytesMut::new();
    writer.write(
        &mut out,
        chunk_stream,
        type_id,
        1,
        timestamp,
        &[decisions.bytes(length), long],
    );
    let cut = if decisions.u8() > 240 {
        out.len() / 2
    } else {
        out.len()
    };
    watched.feed(&out[..cut]);
}

fn command(watched: &mut Watched, writer: &mut ChunkWriter, decisions: &mut Decisions<'_>) {
    let name = COMMANDS[usize::from(decisions.u8()) % COMMANDS.len()];
    let payload = match name {
        "connect" => {
            let object = Value::object([("app", "live".into()), ("objectEncoding", 0.0.into())]);
            encode(&[name.into(), 1.0.into(), object])
        }
        "@setDataFrame" | "onMetaData" => {
            let values = [
                name.into(),
                "onMetaData".into(),
                Value::object([("width", 1.0.into())]),
            ];
            encode(&values[usize::from(name == "onMetaData")..])
        }
        _ => encode(&[
            name.into(),
            f64::from(decisions.u8()).into(),
            Value::Null,
            "KEY".into(),
            "live".into(),
        ]),
    };
    let type_id = if payload.starts_with(b"\x02\0\x0d@") || payload.starts_with(b"\x02\0\x0aonM") {
        18
    } else {
        20
    };
    let mut out = BytesMut::new();
    writer.write(
        &mut out,
        3,
        type_id,
        u32::from(decisions.u8() & 1),
        0,
        &[&payload],
    );
    watched.feed(&out);
}
