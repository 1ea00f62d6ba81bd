//! Every target over some thousands of inputs from a fixed seed, on the stable compiler.

use tidewire_fuzz::{amf, flv_tags, rtmp_ops, rtmp_session};

const PUBLISH: &[u8] = include_bytes!("../../crates/rtmp/tests/data/ffmpeg-publish.bin");
const FILE: &[u8] = include_bytes!("../../crates/container/tests/data/ffmpeg.flv");

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
    smoke(flv_tags, &[FILE], 3000);
}

#[test]
fn amf_smoke() {
    let amf0 = b"\x02\0\x07connect\0\x3f\xf0\0\0\0\0\0\0\x03\0\x03app\x02\0\x04live\0\x01a\x08\0\0\0\x01\0\x01w\x01\x01\0\0\x09\0\0\x09";
    let amf3 = b"\x0a\x0b\x01\x03a\x06\x03x\x03b\x06\x02\x01\x09\x05\x01\x02\x04\x81\x00";
    smoke(amf, &[amf0, amf3], 20_000);
}
