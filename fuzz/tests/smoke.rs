//! Every target over some thousands of inputs from a fixed seed, on the stable compiler.

use tidewire_fuzz::{
    aac_config, amf, av1_headers, flv_tags, h264_headers, hevc_headers, hub_ops, rtmp_ops, rtmp_session,
};

const PUBLISH: &[u8] = include_bytes!("../../crates/rtmp/tests/data/ffmpeg-publish.bin");
const FILE: &[u8] = include_bytes!("../../crates/container/tests/data/ffmpeg.flv");
const HEVC: &[u8] = include_bytes!("../../crates/container/tests/data/hevc.flv");
const AV1: &[u8] = include_bytes!("../../crates/container/tests/data/av1.flv");
const TRACKS: &[u8] = include_bytes!("../../crates/container/tests/data/tracks.flv");
const OPUS: &[u8] = include_bytes!("../../crates/container/tests/data/opus.flv");
const FLAC: &[u8] = include_bytes!("../../crates/container/tests/data/flac.flv");

/// xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound.max(1)
    }

    fn noise(&mut self, length_max: usize) -> Vec<u8> {
        (0..self.below(length_max))
            .map(|_| self.below(256) as u8)
            .collect()
    }

    /// A changed copy.
    fn change(&mut self, original: &[u8]) -> Vec<u8> {
        let mut bytes = original.to_vec();
        for _ in 0..1 + self.below(10) {
            let at = self.below(bytes.len());
            match self.below(6) {
                0 => bytes[at] = self.below(256) as u8,
                1 => bytes[at] ^= 1 << self.below(8),
                2 => bytes.truncate(at + 1),
                3 => bytes.insert(at, self.below(256) as u8),
                4 => {
                    let piece = bytes[at..(at + self.below(200)).min(bytes.len())].to_vec();
                    let to = self.below(bytes.len());
                    bytes.splice(to..to, piece);
                }
                _ => drop(bytes.drain(at..(at + self.below(40)).min(bytes.len()))),
            }
            if bytes.is_empty() {
                bytes.push(0);
            }
        }
        bytes
    }
}

/// Runs `target` over the seeds, changes of them, and noise.
fn smoke(target: impl Fn(&[u8]), seeds: &[&[u8]], rounds: usize) {
    let mut random = Random(0x0dd0_5eed_0dd0_5eed);
    target(&[]);
    for round in 0..rounds {
        let bytes = match seeds.get(round % (seeds.len() + 1)) {
            Some(seed) => random.change(seed),
            None => random.noise(2000),
        };
        target(&bytes);
    }
    for seed in seeds {
        target(seed);
    }
}

#[test]
fn rtmp_session_smoke() {
    let seeds = [0, 1, 255].map(|step| [&[step][..], PUBLISH].concat());
    smoke(rtmp_session, &[&seeds[0], &seeds[1], &seeds[2]], 3000);
}

#[test]
fn rtmp_ops_smoke() {
    // Connect, create, publish, accept, metadata, a few tags, unpublish.
    let seed = [
        &[6, 0, 0, 6, 1, 2, 0, 6, 2, 3, 1, 11, 6, 10, 0][..],
        &[
            0, 0, 2, 0, 0, 0, 0, 4, 2, 0xaf, 0, 1, 2, 0, 0, 1, 4, 0, 0, 0, 40, 5, 7, 0x17, 1, 0, 0, 0, 9,
        ],
        &[6, 6, 6, 0],
    ]
    .concat();
    smoke(rtmp_ops, &[&seed], 6000);
}

#[test]
fn flv_tags_smoke() {
    smoke(flv_tags, &[FILE, HEVC, AV1, TRACKS, OPUS, FLAC], 8000);
}

#[test]
fn amf_smoke() {
    let amf0 = b"\x02\0\x07connect\0\x3f\xf0\0\0\0\0\0\0\x03\0\x03app\x02\0\x04live\0\x01a\x08\0\0\0\x01\0\x01w\x01\x01\0\0\x09\0\0\x09";
    let amf3 = b"\x0a\x0b\x01\x03a\x06\x03x\x03b\x06\x02\x01\x09\x05\x01\x02\x04\x81\x00";
    smoke(amf, &[amf0, amf3], 20_000);
}

/// Records as x264 writes them: 720p main, and interlaced high with HRD parameters.
#[test]
fn h264_headers_smoke() {
    let main = b"\x01\x4d\x40\x1f\xff\xe1\x00\x19\x67\x4d\x40\x1f\xec\xa0\x28\x02\xdd\x80\x88\x00\x00\x03\x00\x08\x00\x00\x03\x01\xe0\x78\xc1\x8c\xb0\x01\x00\x04\x68\xef\x8f\xc8";
    let high = b"\x01\x64\x00\x1e\xff\xe1\x00\x22\x67\x64\x00\x1e\xac\xd9\x40\xb4\x24\xd8\x20\x80\x00\x00\x03\x00\x80\x00\x00\x19\x32\x40\x01\x86\xa0\x03\x0d\x72\x61\x80\x7c\x50\xa6\x58\x01\x00\x05\x68\xfb\xac\xb2\x2c\xfd\xf8\xf8\x00";
    let sample = [
        &[
            0, 0, 0, 2, 9, 0xf0, 0, 0, 0, 6, 6, 6, 1, 0xc0, 0x80, 0, 0, 0, 0, 3,
        ][..],
        &[
            0x65, 0x88, 0x84, 0, 0, 0, 3, 0x41, 0x9a, 0x24, 0, 0, 0, 3, 1, 0x9e, 0x42,
        ],
    ]
    .concat();
    smoke(h264_headers, &[main, high, &sample], 20_000);
}

/// A record of x265's, and the first picture behind it.
#[test]
fn hevc_headers_smoke() {
    smoke(
        hevc_headers,
        &[&HEVC[0xbd..][..108], &HEVC[0x175..][..300]],
        20_000,
    );
}

/// A record of SVT-AV1's, and the first temporal unit behind it.
#[test]
fn av1_headers_smoke() {
    smoke(av1_headers, &[&AV1[0xbd..][..17], &AV1[0x116..][..300]], 20_000);
}

#[test]
fn aac_config_smoke() {
    smoke(
        aac_config,
        &[
            &[0x11, 0x90, 0x56, 0xe5, 0x00],
            &[0x2b, 0x11, 0x88, 0x00],
            &[0xeb, 0x09, 0x88, 0x00],
        ],
        50_000,
    );
}

#[test]
fn hub_ops_smoke() {
    // Publish, both configurations, a reader; then samples, a reconnect, and samples.
    let sample = |flags| [9, 100, flags, 0, 0, 0, 33, 0, 10];
    let play = [
        [sample(2), sample(6)].concat(),
        [sample(18), sample(6)].concat().repeat(20),
        vec![8],
    ]
    .concat();
    let open = [
        &[0, 3, 0, 0, 0, 1, 4, 0, 0, 0xb7, 0x98, 0, 0, 3, 0xff][..],
        &[5, 0],
        &play,
        &play,
    ]
    .concat();
    let again = [&[1, 6, 0, 0x2d, 0xc6, 0xc0, 0, 3, 0, 0, 0, 2][..], &play].concat();
    smoke(hub_ops, &[&[open.clone(), again].concat(), &open], 5_000);
}
