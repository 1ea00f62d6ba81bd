//! The opening handshake: the simple one of the specification (5.2) and the digest one of Flash Player 9 and later.
//!
//! In the digest handshake each side hides an HMAC-SHA256 of its 1536 bytes within them, at an offset that four of
//! the bytes give (scheme 0: bytes 8-11, scheme 1: bytes 772-775), and proves with its second packet that it found
//! the other's.

use bytes::{BufMut, Bytes, BytesMut};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::Error;

/// Length of C1, S1, C2 and S2, bytes.
pub(crate) const PACKET_BYTES: usize = 1536;
const DIGEST_BYTES: usize = 32;
const VERSION: u8 = 3;

/// 30 bytes of text key the client's digest, all 62 its answer.
const CLIENT_KEY: &[u8; 62] = b"Genuine Adobe Flash Player 001\
    \xf0\xee\xc2\x4a\x80\x68\xbe\xe8\x2e\x00\xd0\xd1\x02\x9e\x7e\x57\
    \x6e\xec\x5d\x2d\x29\x80\x6f\xab\x93\xb8\xe6\x36\xcf\xeb\x31\xae";
/// 36 bytes of text key the server's digest, all 68 its answer.
const SERVER_KEY: &[u8; 68] = b"Genuine Adobe Flash Media Server 001\
    \xf0\xee\xc2\x4a\x80\x68\xbe\xe8\x2e\x00\xd0\xd1\x02\x9e\x7e\x57\
    \x6e\xec\x5d\x2d\x29\x80\x6f\xab\x93\xb8\xe6\x36\xcf\xeb\x31\xae";
const CLIENT_TEXT_BYTES: usize = 30;
const SERVER_TEXT_BYTES: usize = 36;

/// Which handshake is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeKind {
    /// As specified: random bytes, echoed.
    Simple,
    /// With digests, the offset at byte 8.
    Digest0,
    /// With digests, the offset at byte 772.
    Digest1,
}

/// Random enough to fill a handshake; nothing depends on its secrecy. SplitMix64.
pub(crate) struct Filler(u64);

impl Filler {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = self.0;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word ^= word >> 31;
            chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
        }
    }
}

/// The server's side: waits for C0 and C1, answers S0, S1 and S2, waits for C2.
pub(crate) struct ServerHandshake {
    filler: Filler,
    answered: Option<HandshakeKind>,
}

/// What a handshake did with its input.
pub(crate) enum Progress {
    /// More bytes are needed.
    NeedMore,
    /// These bytes go to the peer; call again.
    Send(Bytes),
    /// The handshake is over; what is left of the input is chunks.
    Done,
}

impl ServerHandshake {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            filler: Filler::new(seed),
            answered: None,
        }
    }

    pub(crate) fn kind(&self) -> Option<HandshakeKind> {
        self.answered
    }

    pub(crate) fn handle(&mut self, input: &mut BytesMut) -> Result<Progress, Error> {
        if self.answered.is_some() {
            // C2 is not checked: widespread clients send one that proves nothing.
            return Ok(take(input, PACKET_BYTES).map_or(Progress::NeedMore, |_| Progress::Done));
        }
        if let Some(&first) = input.first() {
            check_version(first)?;
        }
        let Some(hello) = take(input, 1 + PACKET_BYTES) else {
            return Ok(Progress::NeedMore);
        };
        Ok(Progress::Send(self.answer(&hello[1..])))
    }

    fn answer(&mut self, c1: &[u8]) -> Bytes {
        let found = find_digest(c1, &CLIENT_KEY[..CLIENT_TEXT_BYTES]);
        let kind = found.map_or(HandshakeKind::Simple, |(kind, _)| kind);
        self.answered = Some(kind);
        let mut out = BytesMut::with_capacity(1 + 2 * PACKET_BYTES);
        out.put_u8(VERSION);
        let mut s1 = [0; PACKET_BYTES];
        self.filler.fill(&mut s1[8..]);
        if kind != HandshakeKind::Simple {
            s1[4..8].copy_from_slice(&[4, 5, 0, 1]);
            write_digest(&mut s1, kind, &SERVER_KEY[..SERVER_TEXT_BYTES]);
        }
        out.put_slice(&s1);
        match found {
            None => out.put_slice(c1),
            Some((_, digest)) => {
                let mut s2 = [0; PACKET_BYTES];
                self.filler.fill(&mut s2);
                write_proof(&mut s2, SERVER_KEY, &digest);
                out.put_slice(&s2);
            }
        }
        out.freeze()
    }
}

/// The client's side: sends C0 and C1, waits for S0, S1 and S2, sends C2.
pub(crate) struct ClientHandshake {
    kind: HandshakeKind,
    filler: Filler,
}

impl ClientHandshake {
    pub(crate) fn new(kind: HandshakeKind, seed: u64) -> Self {
        Self {
            kind,
            filler: Filler::new(seed),
        }
    }

    pub(crate) fn hello(&mut self) -> Bytes {
        let mut c1 = [0; PACKET_BYTES];
        self.filler.fill(&mut c1[8..]);
        if self.kind != HandshakeKind::Simple {
            c1[4..8].copy_from_slice(&[9, 0, 124, 2]);
            write_digest(&mut c1, self.kind, &CLIENT_KEY[..CLIENT_TEXT_BYTES]);
        }
        let mut out = BytesMut::with_capacity(1 + PACKET_BYTES);
        out.put_u8(VERSION);
        out.put_slice(&c1);
        out.freeze()
    }

    /// C2, once the server's packets are there.
    pub(crate) fn handle(&mut self, input: &mut BytesMut) -> Result<Option<Bytes>, Error> {
        if let Some(&first) = input.first() {
            check_version(first)?;
        }
        let Some(packets) = take(input, 1 + 2 * PACKET_BYTES) else {
            return Ok(None);
        };
        let s1 = &packets[1..1 + PACKET_BYTES];
        if self.kind != HandshakeKind::Simple
            && let Some((_, digest)) = find_digest(s1, &SERVER_KEY[..SERVER_TEXT_BYTES])
        {
            let mut c2 = [0; PACKET_BYTES];
            self.filler.fill(&mut c2);
            write_proof(&mut c2, CLIENT_KEY, &digest);
            return Ok(Some(Bytes::copy_from_slice(&c2)));
        }
        Ok(Some(Bytes::copy_from_slice(s1)))
    }
}

fn take(input: &mut BytesMut, count: usize) -> Option<BytesMut> {
    (input.len() >= count).then(|| input.split_to(count))
}

fn check_version(found: u8) -> Result<(), Error> {
    let guess = match found {
        VERSION => return Ok(()),
        6 | 8 => "encrypted RTMPE",
        0x16 => "TLS; use an rtmps:// address",
        b'G' | b'P' | b'H' | b'O' => "HTTP",
        _ => "unknown",
    };
    Err(Error::NotRtmp { found, guess })
}

fn digest_offset(packet: &[u8], kind: HandshakeKind) -> usize {
    let base = if kind == HandshakeKind::Digest1 { 772 } else { 8 };
    let sum: usize = packet[base..base + 4].iter().map(|byte| usize::from(*byte)).sum();
    base + 4 + sum % 728
}

fn find_digest(packet: &[u8], key: &[u8]) -> Option<(HandshakeKind, [u8; DIGEST_BYTES])> {
    // Version 0 says the simple handshake; skip two hashes for it.
    if packet[4..8] == [0; 4] {
        return None;
    }
    [HandshakeKind::Digest0, HandshakeKind::Digest1]
        .into_iter()
        .find_map(|kind| {
            let offset = digest_offset(packet, kind);
            let digest = packet_digest(packet, offset, key);
            (digest == packet[offset..offset + DIGEST_BYTES]).then_some((kind, digest))
        })
}

fn write_digest(packet: &mut [u8; PACKET_BYTES], kind: HandshakeKind, key: &[u8]) {
    let offset = digest_offset(packet, kind);
    let digest = packet_digest(packet, offset, key);
    packet[offset..offset + DIGEST_BYTES].copy_from_slice(&digest);
}

/// HMAC of the packet without its digest.
fn packet_digest(packet: &[u8], offset: usize, key: &[u8]) -> [u8; DIGEST_BYTES] {
    hmac(key, &[&packet[..offset], &packet[offset + DIGEST_BYTES..]])
}

/// The last 32 bytes prove that the other side's digest was found.
fn write_proof(packet: &mut [u8; PACKET_BYTES], key: &[u8], digest: &[u8; DIGEST_BYTES]) {
    let proof_key = hmac(key, &[digest]);
    let end = PACKET_BYTES - DIGEST_BYTES;
    let proof = hmac(&proof_key, &[&packet[..end]]);
    packet[end..].copy_from_slice(&proof);
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; DIGEST_BYTES] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_answered_in_kind_and_proved() {
        for (kind, seed) in [
            HandshakeKind::Simple,
            HandshakeKind::Digest0,
            HandshakeKind::Digest1,
        ]
        .into_iter()
        .flat_map(|kind| (0..50).map(move |seed| (kind, seed)))
        {
            let mut client = ClientHandshake::new(kind, seed);
            let mut server = ServerHandshake::new(seed + 1000);
            let mut input = BytesMut::from(&client.hello()[..]);
            let c1 = input.clone().split_off(1);
            let Ok(Progress::Send(answer)) = server.handle(&mut input) else {
                panic!("no answer")
            };
            assert_eq!(server.kind(), Some(kind));
            assert_eq!(answer.len(), 1 + 2 * PACKET_BYTES);
            let (s1, s2) = answer[1..].split_at(PACKET_BYTES);
            if kind == HandshakeKind::Simple {
                assert_eq!(s2, &c1[..]);
                assert_eq!(&s1[..8], &[0; 8]);
            } else {
                let (found, _) = find_digest(s1, &SERVER_KEY[..SERVER_TEXT_BYTES]).unwrap();
                assert_eq!(found, kind);
                let (_, digest) = find_digest(&c1, &CLIENT_KEY[..CLIENT_TEXT_BYTES]).unwrap();
                let mut expected = [0; PACKET_BYTES];
                expected.copy_from_slice(s2);
                write_proof(&mut expected, SERVER_KEY, &digest);
                assert_eq!(s2, &expected[..]);
            }
            let mut input = BytesMut::from(&answer[..]);
            let mut c2 = BytesMut::from(&client.handle(&mut input).unwrap().unwrap()[..]);
            assert!(matches!(server.handle(&mut c2), Ok(Progress::Done)));
        }
    }

    #[test]
    fn another_protocol_is_named() {
        let mut server = ServerHandshake::new(1);
        for (bytes, word) in [
            (&b"GET / HTTP/1.1"[..], "HTTP"),
            (&[0x16, 3, 1], "TLS"),
            (&[6], "RTMPE"),
        ] {
            let Err(error) = server.handle(&mut BytesMut::from(bytes)) else {
                panic!("taken")
            };
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}
