//! The server against bytes that were written by hand from the specification.

use bytes::{BufMut, BytesMut};
use media::MediaKind;
use rtmp::amf::{Value, encode};
use rtmp::chunk::{ChunkReader, ChunkWriter, Message};
use rtmp::message::{types, write_aggregate_tag};
use rtmp::{
    Capabilities, Error, ErrorReason, Event, Limits, Offer, Output, PublishRequest, ServerSession, caps_ex,
};

/// A server behind a simple handshake, and the client's pen.
struct Peer {
    server: ServerSession,
    writer: ChunkWriter,
    reader: ChunkReader,
    events: Vec<Event>,
    is_closed: bool,
}

impl Peer {
    fn new(limits: Limits) -> Self {
        let mut server = ServerSession::new(limits.clone(), 1, 0);
        let mut hello = BytesMut::from(&[3][..]);
        hello.put_bytes(0, 1536);
        hello.put_bytes(0, 1536);
        server.handle_input(&mut hello, 0).unwrap();
        let Some(Output::Send(answer)) = server.poll_output() else {
            panic!("no handshake")
        };
        assert_eq!(answer.len(), 1 + 2 * 1536);
        let reader = ChunkReader::new(&limits);
        Self {
            server,
            writer: ChunkWriter::default(),
            reader,
            events: Vec::new(),
            is_closed: false,
        }
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<Vec<Message>, Error> {
        self.server.handle_input(&mut BytesMut::from(bytes), 0)?;
        Ok(self.drain())
    }

    fn drain(&mut self) -> Vec<Message> {
        let mut sent = BytesMut::new();
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Send(bytes) => sent.extend_from_slice(&bytes),
                Output::Event(event) => self.events.push(event),
                Output::Close => self.is_closed = true,
            }
        }
        let mut messages = Vec::new();
        while let Some(message) = self.reader.next(&mut sent).unwrap() {
            if message.type_id == types::SET_CHUNK_SIZE {
                self.reader.set_chunk_bytes(65_536);
            }
            messages.push(message);
        }
        messages
    }

    fn message(&mut self, type_id: u8, stream: u32, at: u32, payload: &[u8]) -> Result<Vec<Message>, Error> {
        let mut out = BytesMut::new();
        self.writer.write(&mut out, 3, type_id, stream, at, &[payload]);
        self.bytes(&out)
    }

    fn command(&mut self, stream: u32, values: &[Value]) -> Result<Vec<Message>, Error> {
        self.message(types::COMMAND_AMF0, stream, 0, &encode(values))
    }

    fn connect(&mut self) -> Vec<Message> {
        let object = Value::object([("app", "live".into()), ("flashVer", "x".into())]);
        self.command(0, &["connect".into(), 1.0.into(), object]).unwrap()
    }

    fn publish(&mut self) {
        self.connect();
        self.command(0, &["createStream".into(), 2.0.into(), Value::Null])
            .unwrap();
        let values = [
            "publish".into(),
            3.0.into(),
            Value::Null,
            "KEY?a=1".into(),
            "live".into(),
        ];
        self.command(1, &values).unwrap();
        self.server.accept_publish(0);
        self.drain();
    }
}

/// Code and description of an `onStatus`.
fn status(message: &Message) -> (String, String) {
    let values = rtmp::amf::decode(&message.payload, &rtmp::amf::Limits::default()).unwrap();
    assert_eq!(values[0].as_str(), Some("onStatus"));
    let text = |key| values[3].get(key).and_then(Value::as_str).unwrap().to_owned();
    (text("code"), text("description"))
}

#[test]
fn connect_is_answered_byte_for_byte() {
    let mut peer = Peer::new(Limits::default());
    let answer = peer.connect();
    let kinds: Vec<u8> = answer.iter().map(|message| message.type_id).collect();
    assert_eq!(kinds, [5, 6, 1, 20]);
    assert_eq!(answer[0].payload[..], 2_500_000u32.to_be_bytes());
    assert_eq!(answer[1].payload[..], [0, 0x26, 0x25, 0xa0, 2]);
    assert_eq!(answer[2].payload[..], 65_536u32.to_be_bytes());
    assert_eq!(
        answer[3].payload[..19],
        *b"\x02\0\x07_result\0\x3f\xf0\0\0\0\0\0\0"
    );
    assert!(matches!(&peer.events[..], [Event::Connected(info)] if info.app == "live"));
}

/// Enhanced RTMP: asked for, told; and the request to reconnect goes to who understands it.
#[test]
fn capabilities_are_exchanged() {
    let capabilities = Capabilities {
        video_four_ccs: &["avc1", "hvc1"],
        audio_four_ccs: &["mp4a"],
        caps_ex: caps_ex::RECONNECT | caps_ex::MOD_EX,
    };
    let properties = |message: &Message| {
        let values = rtmp::amf::decode(&message.payload, &rtmp::amf::Limits::default()).unwrap();
        values[2].clone()
    };
    let mut classic = Peer::new(Limits::default());
    classic.server.set_capabilities(capabilities);
    assert_eq!(properties(&classic.connect()[3]).get("capsEx"), None);
    classic.server.request_reconnect("Come back.");
    assert_eq!(classic.drain(), []);

    let mut peer = Peer::new(Limits::default());
    peer.server.set_capabilities(capabilities);
    let object = Value::object([
        ("app", "live".into()),
        (
            "fourCcList",
            Value::StrictArray(vec!["hvc1".into(), "much too long".into()]),
        ),
        ("videoFourCcInfoMap", Value::object([("*", 7.0.into())])),
        ("capsEx", 15.0.into()),
    ]);
    let answer = peer.command(0, &["connect".into(), 1.0.into(), object]).unwrap();
    let told = properties(&answer[3]);
    assert_eq!(told.get("capsEx"), Some(&5.0.into()));
    let video = Value::object([("avc1", 4.0.into()), ("hvc1", 4.0.into())]);
    assert_eq!(told.get("videoFourCcInfoMap"), Some(&video));
    let list = ["avc1", "hvc1", "mp4a"].map(Value::from).to_vec();
    assert_eq!(told.get("fourCcList"), Some(&Value::StrictArray(list)));
    let Some(Event::Connected(info)) = peer.events.first() else {
        panic!("{:?}", peer.events)
    };
    let expected = Offer {
        four_cc_list: vec!["hvc1".into()],
        video_four_ccs: vec!["*".into()],
        audio_four_ccs: Vec::new(),
        caps_ex: 15,
    };
    assert_eq!(info.offer, expected);
    peer.server.request_reconnect("Come back.");
    let said = peer.drain();
    assert_eq!(said[0].stream_id, 0);
    let expected = (
        "NetConnection.Connect.ReconnectRequest".into(),
        "Come back.".into(),
    );
    assert_eq!(status(&said[0]), expected);
}

#[test]
fn publish_request_carries_key_and_query() {
    let mut peer = Peer::new(Limits::default());
    peer.publish();
    let expected = PublishRequest {
        app: "live".into(),
        stream_key: "KEY".into(),
        query: "a=1".into(),
        flash_version: "x".into(),
    };
    assert_eq!(peer.events[1], Event::PublishRequested(expected));
    let shown = format!("{:?}", peer.events);
    assert!(
        !shown.contains("KEY") && !shown.contains("a=1"),
        "a secret in a log: {shown}"
    );
}

#[test]
fn nothing_is_taken_between_request_and_answer() {
    let mut peer = Peer::new(Limits::default());
    peer.connect();
    let mut out = BytesMut::new();
    let publish = encode(&["publish".into(), 3.0.into(), Value::Null, "KEY".into()]);
    peer.writer
        .write(&mut out, 3, types::COMMAND_AMF0, 1, 0, &[&publish]);
    let request_bytes = out.len();
    peer.writer
        .write(&mut out, 4, types::AUDIO, 1, 7, &[&[0xaf, 1, 2]]);
    let all = out.len();
    peer.server.handle_input(&mut out, 0).unwrap();
    assert_eq!(out.len(), all - request_bytes);
    peer.server.accept_publish(0);
    peer.server.handle_input(&mut out, 0).unwrap();
    peer.drain();
    let body = vec![0xaf, 1, 2].into();
    assert_eq!(
        peer.events.last(),
        Some(&Event::Media {
            kind: MediaKind::Audio,
            timestamp_ms: 7,
            body
        })
    );
}

#[test]
fn commands_in_amf3_messages_are_read() {
    let mut peer = Peer::new(Limits::default());
    let object = Value::object([("app", "live".into()), ("objectEncoding", 3.0.into())]);
    let mut payload = vec![0];
    payload.extend_from_slice(&encode(&["connect".into(), 1.0.into(), object]));
    let answer = peer.message(types::COMMAND_AMF3, 0, 0, &payload).unwrap();
    assert_eq!(answer.len(), 4);
    // "createStream", 2 (an AMF3 integer), null, all AMF3.
    let payload = b"\x06\x19createStream\x04\x02\x01";
    let answer = peer.message(types::COMMAND_AMF3, 0, 0, payload).unwrap();
    let values = rtmp::amf::decode(&answer[0].payload, &rtmp::amf::Limits::default()).unwrap();
    assert_eq!(values, ["_result".into(), 2.0.into(), Value::Null, 1.0.into()]);
}

#[test]
fn play_is_refused_in_words() {
    let mut peer = Peer::new(Limits::default());
    peer.connect();
    let answer = peer
        .command(1, &["play".into(), 4.0.into(), Value::Null, "KEY".into()])
        .unwrap();
    let (code, description) = status(&answer[0]);
    assert_eq!(code, "NetStream.Play.Failed");
    assert!(description.contains("HLS"));
    assert!(peer.is_closed);
}

#[test]
fn pings_are_answered_and_unknown_calls_too() {
    let mut peer = Peer::new(Limits::default());
    peer.connect();
    let answer = peer
        .message(types::USER_CONTROL, 0, 0, &[0, 6, 1, 2, 3, 4])
        .unwrap();
    assert_eq!(answer[0].payload[..], [0, 7, 1, 2, 3, 4]);
    let answer = peer
        .command(0, &["_checkbw".into(), 5.0.into(), Value::Null])
        .unwrap();
    assert_eq!(answer[0].payload[..10], *b"\x02\0\x07_result");
    let answer = peer
        .command(0, &["whatever".into(), 6.0.into(), Value::Null])
        .unwrap();
    assert_eq!(answer[0].payload[..9], *b"\x02\0\x06_error");
    assert!(
        peer.command(0, &["whatever".into(), 0.0.into()])
            .unwrap()
            .is_empty()
    );
}

#[test]
fn aggregates_are_taken_apart() {
    let mut peer = Peer::new(Limits::default());
    peer.publish();
    peer.events.clear();
    let mut payload = BytesMut::new();
    write_aggregate_tag(&mut payload, types::VIDEO, 1000, &[0x17, 1]);
    write_aggregate_tag(&mut payload, types::AUDIO, 1020, &[0xaf, 1]);
    write_aggregate_tag(&mut payload, types::VIDEO, 0x100_0000, &[0x27]);
    payload.extend_from_slice(&[9, 0, 0, 50, 0]);
    peer.message(types::AGGREGATE, 1, 5000, &payload).unwrap();
    let times: Vec<_> = peer
        .events
        .iter()
        .map(|event| match event {
            Event::Media {
                kind,
                timestamp_ms,
                body,
            } => (*kind, *timestamp_ms, body.len()),
            other => panic!("{other:?}"),
        })
        .collect();
    let (audio, video) = (MediaKind::Audio, MediaKind::Video);
    assert_eq!(
        times,
        [(video, 5000, 2), (audio, 5020, 2), (video, 0x100_0000 + 4000, 1)]
    );
}

#[test]
fn a_second_publish_on_a_connection_is_refused_and_harms_nothing() {
    let mut peer = Peer::new(Limits::default());
    peer.publish();
    let answer = peer
        .command(1, &["publish".into(), 9.0.into(), Value::Null, "OTHER".into()])
        .unwrap();
    assert_eq!(status(&answer[0]).0, "NetStream.Publish.BadName");
    assert!(peer.server.is_publishing() && !peer.is_closed);
}

#[test]
fn limits_end_a_session_by_name() {
    let limits = Limits {
        message_bytes_max: 100_000,
        ..Limits::default()
    };
    let too_long = |peer: &mut Peer, length: u32| {
        let [_, a, b, c] = length.to_be_bytes();
        peer.bytes(&[4, 0, 0, 0, a, b, c, 9, 1, 0, 0, 0]).unwrap_err()
    };
    let mut peer = Peer::new(limits.clone());
    peer.connect();
    let expected = Error::MessageTooLong {
        type_id: 9,
        found: 70_000,
        limit: 65_536,
    };
    assert_eq!(too_long(&mut peer, 70_000), expected);
    let mut peer = Peer::new(limits.clone());
    peer.publish();
    let expected = Error::MessageTooLong {
        type_id: 9,
        found: 100_001,
        limit: 100_000,
    };
    assert_eq!(too_long(&mut peer, 100_001), expected);
    // A dead session takes no more and says nothing.
    assert!(peer.bytes(&[0; 100]).unwrap().is_empty());

    let mut peer = Peer::new(limits.clone());
    let error = peer
        .command(0, &["createStream".into(), 2.0.into(), Value::Null])
        .unwrap_err();
    assert_eq!(error.reason(), ErrorReason::BadCommand);

    let mut peer = Peer::new(limits.clone());
    assert_eq!(
        peer.message(types::SET_CHUNK_SIZE, 0, 0, &[0; 4])
            .unwrap_err()
            .reason(),
        ErrorReason::BadMessage
    );
    let mut peer = Peer::new(limits);
    let error = peer
        .message(types::COMMAND_AMF0, 0, 0, &[2, 0, 9, b'x'])
        .unwrap_err();
    assert_eq!(error.reason(), ErrorReason::BadAmf);
}

#[test]
fn deadlines_end_a_session_by_name() {
    let limits = Limits::default();
    let mut server = ServerSession::new(limits.clone(), 1, 1000);
    assert_eq!(server.poll_timeout(), Some(1000 + limits.handshake_timeout));
    server
        .handle_timeout(1000 + limits.handshake_timeout - 1)
        .unwrap();
    let error = server
        .handle_timeout(1000 + limits.handshake_timeout)
        .unwrap_err();
    assert_eq!(error, Error::HandshakeTimeout { limit_ms: 5000 });

    let mut peer = Peer::new(limits.clone());
    peer.connect();
    assert_eq!(peer.server.poll_timeout(), Some(limits.publish_timeout));
    let error = peer.server.handle_timeout(limits.publish_timeout).unwrap_err();
    assert_eq!(error, Error::PublishTimeout { limit_ms: 15_000 });

    // Who published once is not hurried; who waits for our answer neither.
    let mut peer = Peer::new(limits.clone());
    peer.publish();
    peer.command(0, &["FCUnpublish".into(), 5.0.into(), Value::Null, "KEY".into()])
        .unwrap();
    assert_eq!(peer.server.poll_timeout(), Some(limits.idle_timeout / 2));
    peer.command(1, &["publish".into(), 9.0.into(), Value::Null, "KEY".into()])
        .unwrap();
    assert_eq!(peer.server.poll_timeout(), None);
}
