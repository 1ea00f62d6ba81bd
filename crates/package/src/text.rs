//! Rendered text, ready to be served.

use std::fmt::Write as _;
use std::io::Write as _;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};

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
        let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4 + 64), Compression::new(3));
        let gzip = match encoder.write_all(&body).and_then(|()| encoder.finish()) {
            Ok(gzip) => Bytes::from(gzip),
            Err(error) => unreachable!("writing into memory cannot fail: {error}"),
        };
        let mut etag = String::with_capacity(18);
        let _ = write!(etag, "\"{:016x}\"", fnv1a(&body));
        Self { body, gzip, etag }
    }
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
        let text = Text::new("#EXTM3U\n".repeat(50));
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&text.gzip[..])
            .read_to_end(&mut plain)
            .unwrap();
        assert_eq!(plain, text.body);
        assert_ne!(text.etag, Text::new("#EXTM3U\n".into()).etag);
        assert!(text.etag.starts_with('"') && text.etag.ends_with('"'));
    }
}
