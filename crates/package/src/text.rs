//! Rendered text, ready to be served.

use std::cell::RefCell;
use std::fmt::Write as _;

use bytes::Bytes;
use flate2::{Compress, Compression, Crc, FlushCompress, Status};

/// One rendered playlist or manifest: an immutable snapshot that all requests share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// UTF-8 text.
    pub body: Bytes,
    /// The same, gzip (RFC 1952).
    pub gzip: Bytes,
    /// Strong entity tag of `body`, with its quotes.
    pub etag: String,
}

impl Text {
    pub(crate) fn new(body: String) -> Self {
        let body = Bytes::from(body);
        let mut etag = String::with_capacity(18);
        let _ = write!(etag, "\"{:016x}\"", fnv1a(&body));
        Self {
            gzip: gzip(&body),
            body,
            etag,
        }
    }
}

thread_local! {
    /// A compressor is 300 KB of tables: making one costs as much as rendering the text.
    static DEFLATE: RefCell<Compress> = RefCell::new(Compress::new(Compression::new(3), false));
}

/// RFC 1952, one member.
fn gzip(body: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(body.len() / 4 + 256);
    out.extend_from_slice(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
    DEFLATE.with_borrow_mut(|deflate| {
        deflate.reset();
        loop {
            let taken = usize::try_from(deflate.total_in()).unwrap_or(usize::MAX);
            let rest = body.get(taken..).unwrap_or_default();
            match deflate.compress_vec(rest, &mut out, FlushCompress::Finish) {
                Ok(Status::StreamEnd) => break,
                Ok(_) => out.reserve(out.capacity()),
                Err(error) => unreachable!("deflate takes any bytes: {error}"),
            }
        }
    });
    let mut crc = Crc::new();
    crc.update(body);
    out.extend_from_slice(&crc.sum().to_le_bytes());
    out.extend_from_slice(&crc.amount().to_le_bytes());
    Bytes::from(out)
}

/// FNV-1a, 64 bits: an entity tag has to differ between versions, not to resist an attacker.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn gzip_is_the_body_and_the_tag_follows_it() {
        let noise =
            (0..20_000_u32).map(|n| char::from(b'!' + (n.wrapping_mul(2_654_435_761) >> 25) as u8 % 90));
        for body in [
            String::new(),
            "#EXTM3U\n".repeat(50),
            noise.collect(),
            "#EXTINF:2\n".repeat(5000),
        ] {
            let text = Text::new(body);
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(&text.gzip[..])
                .read_to_end(&mut plain)
                .unwrap();
            assert_eq!(plain, text.body);
        }
        let text = Text::new("#EXTM3U\n".repeat(50));
        assert_ne!(text.etag, Text::new("#EXTM3U\n".into()).etag);
        assert!(text.etag.starts_with('"') && text.etag.ends_with('"'));
    }
}
