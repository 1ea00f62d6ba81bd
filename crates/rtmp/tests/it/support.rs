//! A client and a server on one wire, and a small random source.

use bytes::{Bytes, BytesMut};
use rtmp::{
    ClientConfig, ClientEvent, ClientOutput, ClientSession, Event, HandshakeKind, Limits, Output,
    PublishRequest, ServerSession,
};

/// xorshift64*.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound.max(1)
    }
}

pub(crate) fn config(chunk_bytes: usize, handshake: HandshakeKind) -> ClientConfig {
    ClientConfig {
        app: "live".into(),
        tc_url: "rtmp://localhost/live".into(),
        stream_key: "KEY".into(),
        chunk_bytes,
        handshake,
        seed: 7,
    }
}

/// Both ends and what they said.
pub(crate) struct Pair {
    pub(crate) client: ClientSession,
    pub(crate) server: ServerSession,
    pub(crate) to_server: BytesMut,
    pub(crate) to_client: BytesMut,
    pub(crate) server_events: Vec<Event>,
    pub(crate) client_events: Vec<ClientEvent>,
    pub(crate) is_closed: bool,
    /// Every byte that went to the server.
    pub(crate) capture: Vec<u8>,
}

impl Pair {
    pub(crate) fn new(config: ClientConfig, limits: Limits) -> Self {
        Self {
            client: ClientSession::new(config),
            server: ServerSession::new(limits, 11, 0),
            to_server: BytesMut::new(),
            to_client: BytesMut::new(),
            server_events: Vec::new(),
            client_events: Vec::new(),
            is_closed: false,
            capture: Vec::new(),
        }
    }

    /// Lets both talk until neither has anything to say. The client's error, if it is refused.
    pub(crate) fn step(&mut self, now: u64) -> Result<(), rtmp::Error> {
        loop {
            let mut is_quiet = true;
            while let Some(output) = self.client.poll_output() {
                is_quiet = false;
                match output {
                    ClientOutput::Send(bytes) => self.send(&bytes),
                    ClientOutput::Event(event) => self.client_events.push(event),
                }
            }
            self.server.handle_input(&mut self.to_server, now)?;
            while let Some(output) = self.server.poll_output() {
                is_quiet = false;
                match output {
                    Output::Send(bytes) => self.to_client.extend_from_slice(&bytes),
                    Output::Event(event) => self.server_events.push(event),
                    Output::Close => self.is_closed = true,
                }
            }
            self.client.handle_input(&mut self.to_client)?;
            if is_quiet {
                return Ok(());
            }
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.capture.extend_from_slice(bytes);
        self.to_server.extend_from_slice(bytes);
    }

    /// Up to an accepted publish.
    pub(crate) fn publish(&mut self) {
        let request = self.ask();
        assert_eq!(request.stream_key, "KEY");
        self.server.accept_publish(0);
        self.step(0).unwrap();
        assert_eq!(self.client_events, [ClientEvent::Publishing]);
        assert!(self.client.is_publishing() && self.server.is_publishing());
    }

    /// Up to the request.
    pub(crate) fn ask(&mut self) -> PublishRequest {
        self.step(0).unwrap();
        let requests: Vec<_> = self.server_events.drain(..).collect();
        match &requests[..] {
            [Event::Connected(info), Event::PublishRequested(request)] => {
                assert_eq!(info.app, "live");
                request.clone()
            }
            other => panic!("unexpected events {other:?}"),
        }
    }

    /// Takes the media that arrived: kind is audio, time, body.
    pub(crate) fn media(&mut self) -> Vec<(media::MediaKind, i64, Bytes)> {
        let events = self.server_events.drain(..);
        events
            .filter_map(|event| match event {
                Event::Media {
                    kind,
                    timestamp_ms,
                    body,
                } => Some((kind, timestamp_ms, body)),
                _ => None,
            })
            .collect()
    }
}
