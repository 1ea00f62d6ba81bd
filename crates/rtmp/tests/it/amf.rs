//! AMF values: vectors by hand, round trips, bounds.

use proptest::prelude::*;
use rtmp::amf::{Error, Limits, Value, decode, decode3, encode};

#[test]
fn vectors() {
    let limits = Limits::default();
    let object = Value::object([("a", Value::Boolean(true)), ("b", Value::Undefined)]);
    let array = Value::EcmaArray(vec![("w".into(), 1.0.into())]);
    for (bytes, expected) in [
        (&b"\0\x40\x45\0\0\0\0\0\0"[..], Value::Number(42.0)),
        (b"\x02\0\x02hi", "hi".into()),
        (b"\x03\0\x01a\x01\x01\0\x01b\x06\0\0\x09", object),
        (b"\x05", Value::Null),
        (
            b"\x08\0\0\0\0\0\x01w\0\x3f\xf0\0\0\0\0\0\0\0\0\x09",
            array.clone(),
        ),
        // Without its end marker, as some encoders leave it.
        (b"\x08\0\0\0\x01\0\x01w\0\x3f\xf0\0\0\0\0\0\0", array),
        (
            b"\x0a\0\0\0\x02\x05\x01\0",
            Value::StrictArray(vec![Value::Null, Value::Boolean(false)]),
        ),
        (b"\x0b\x40\x45\0\0\0\0\0\0\0\0", Value::Date(42.0)),
        (b"\x0c\0\0\0\x02hi", "hi".into()),
        (
            b"\x10\0\x01C\0\x01a\x05\0\0\x09",
            Value::object([("a", Value::Null)]),
        ),
        (b"\x11\x04\x81\x00", Value::Number(128.0)),
        (b"\x02\0\x01\xff", "\u{fffd}".into()),
    ] {
        assert_eq!(decode(bytes, &limits), Ok(vec![expected]), "{bytes:x?}");
    }
}

#[test]
fn amf3_vectors() {
    let limits = Limits::default();
    // A dynamic object {a: "x", b: "x"} whose second value is a reference to the first's text.
    let object = Value::object([("a", "x".into()), ("b", "x".into())]);
    for (bytes, expected) in [
        (&b"\x04\xff\xff\xff\xff"[..], Value::Number(-1.0)),
        (b"\x04\x7f", Value::Number(127.0)),
        (b"\x05\x40\x45\0\0\0\0\0\0", Value::Number(42.0)),
        (b"\x06\x05hi", "hi".into()),
        (b"\x0a\x0b\x01\x03a\x06\x03x\x03b\x06\x02\x01", object),
        (
            b"\x09\x05\x01\x02\x03",
            Value::StrictArray(vec![Value::Boolean(false), Value::Boolean(true)]),
        ),
    ] {
        assert_eq!(decode3(bytes, &limits), Ok(vec![expected]), "{bytes:x?}");
    }
    assert_eq!(decode3(b"\x06\x04", &limits), Err(Error::Reference { index: 2 }));
}

#[test]
fn bounds_hold() {
    let limits = Limits::default();
    let deep = b"\x03\0\x01a".repeat(100);
    assert_eq!(
        decode(&deep, &limits),
        Err(Error::Limit {
            what: "levels",
            limit: 16
        })
    );
    assert_eq!(
        decode(&[5; 2000], &limits),
        Err(Error::Limit {
            what: "values",
            limit: 1024
        })
    );
    let text = [&b"\x0c\0\x01\x86\xa0"[..], &[b'x'; 100_000]].concat();
    assert_eq!(
        decode(&text, &limits),
        Err(Error::Limit {
            what: "bytes of text",
            limit: 65_536
        })
    );
    assert_eq!(
        decode(b"\x0a\xff\xff\xff\xff\x05", &limits),
        Err(Error::Truncated)
    );
    assert_eq!(decode(b"\x0e", &limits), Err(Error::Marker { marker: 0x0e }));
    // References cost what they expand to: 60 kB of text, then many references to it.
    let mut bomb = vec![0x06, 0x83, 0xa9, 0x41];
    bomb.extend([b'x'; 27_168]);
    for _ in 0..900 {
        bomb.extend([0x06, 0x00]);
    }
    assert!(decode3(&bomb, &limits).is_err());
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<i32>().prop_map(|number| Value::Number(number.into())),
        any::<bool>().prop_map(Value::Boolean),
        "[a-zé]{0,12}".prop_map(Value::String),
        Just(Value::Null),
        Just(Value::Undefined),
        any::<i32>().prop_map(|number| Value::Date(number.into())),
    ];
    leaf.prop_recursive(4, 30, 5, |inner| {
        let properties = prop::collection::vec(("[a-z]{1,8}", inner.clone()), 0..5);
        prop_oneof![
            properties.clone().prop_map(Value::Object),
            properties.prop_map(Value::EcmaArray),
            prop::collection::vec(inner, 0..5).prop_map(Value::StrictArray),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(values in prop::collection::vec(any_value(), 0..6)) {
        prop_assert_eq!(decode(&encode(&values), &Limits::default()), Ok(values));
    }

    #[test]
    fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let limits = Limits::default();
        let _ = decode(&bytes, &limits);
        let _ = decode3(&bytes, &limits);
    }
}
