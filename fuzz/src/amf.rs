//! AMF0 and AMF3: what can be read can be written and read again.

use ::rtmp::amf::{Limits, Value, decode, decode3, encode};

/// Decodes the bytes both ways.
pub fn amf(data: &[u8]) {
    let limits = Limits::default();
    for values in [decode(data, &limits), decode3(data, &limits)]
        .into_iter()
        .flatten()
    {
        assert!(values.len() <= limits.values_max as usize);
        let written = encode(&values);
        // Replaced characters take three bytes for one, so the text may pass its bound the second time.
        let Ok(again) = decode(
            &written,
            &Limits {
                text_bytes_max: usize::MAX,
                depth_max: 64,
                ..limits.clone()
            },
        ) else {
            panic!("what was written cannot be read: {values:?}");
        };
        assert!(
            again.len() == values.len() && again.iter().zip(&values).all(|(a, b)| is_same(a, b)),
            "{values:?}"
        );
    }
}

/// Equality under which NaN is NaN.
fn is_same(a: &Value, b: &Value) -> bool {
    format!("{a:?}") == format!("{b:?}")
}
