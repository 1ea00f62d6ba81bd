//! The bodies of the fuzz targets: each takes any bytes, and panics only if it found something.
//!
//! `fuzz_targets/` hands them to libFuzzer; `tests/smoke.rs` runs them over seeded changes of real streams. A finding
//! becomes a test of the crate that it was found in.

mod amf;
mod flv;
mod headers;
mod hub;
mod rtmp;

pub use self::amf::amf;
pub use self::flv::flv_tags;
pub use self::headers::{aac_config, av1_headers, h264_headers, hevc_headers};
pub use self::hub::hub_ops;
pub use self::rtmp::{rtmp_ops, rtmp_session};

/// Reads a fuzzer's bytes as decisions. When they run out, everything is 0.
pub(crate) struct Decisions<'a> {
    rest: &'a [u8],
}

impl<'a> Decisions<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn u8(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else {
            return 0;
        };
        self.rest = rest;
        *first
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_be_bytes([self.u8(), self.u8(), self.u8(), self.u8()])
    }

    pub(crate) fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (head, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        head
    }
}
