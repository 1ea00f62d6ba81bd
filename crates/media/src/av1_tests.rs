use super::*;

/// What SVT-AV1 writes for 128x72, by way of FFmpeg: the sequence header of its record.
const HEADER: &[u8] = &[0x02, 0, 0, 4, 0x99, 0xbf, 0xc7, 0, 0xbe, 0, 0x10];

fn record(header: &[u8]) -> Vec<u8> {
    let mut record = BytesMut::from(&[0x81, 0, 0x0c, 0][..]);
    put_sequence_header(&mut record, header);
    record.to_vec()
}

/// An OBU with a size.
fn unit(kind: u8, payload: &[u8]) -> Vec<u8> {
    [&[kind << 3 | 2, payload.len() as u8][..], payload].concat()
}

#[test]
fn a_record_of_svt_is_read_and_written_the_same() {
    let config = parse_config(&record(HEADER)).unwrap();
    assert_eq!((config.width, config.height), (128, 72));
    assert_eq!(config.codec_string, "av01.0.00M.08");
    assert_eq!(config.record[..], record(HEADER));
    assert_eq!(record_sequence_header(&config.record), Some(HEADER));
}

/// Packs bits from (value, count).
fn pack(fields: &[(u32, u32)]) -> Vec<u8> {
    let mut bits = Vec::new();
    for &(value, count) in fields {
        bits.extend((0..count).rev().map(|at| value >> at & 1));
    }
    bits.chunks(8)
        .map(|byte| {
            let value = byte.iter().fold(0, |value, bit| value << 1 | *bit as u8);
            value << (8 - byte.len())
        })
        .collect()
}

#[test]
fn every_field_of_a_full_header_is_passed() {
    let header = pack(&[
        (0, 3), // main profile
        (0, 2),
        (1, 1), // timing: 1001 units of a 60000th, two a picture
        (1001, 32),
        (60_000, 32),
        (1, 1),
        (0b010, 3),
        (1, 1), // decoder model, 10 bits of delay
        (9, 5),
        (1, 32),
        (0, 10),
        (1, 1), // initial display delay
        (0, 5),
        (0, 12),
        (13, 5), // level 5.1, high tier
        (1, 1),
        (1, 1),
        (0, 21),
        (1, 1),
        (3, 4),
        (11, 4),
        (11, 4),
        (3839, 12),
        (2159, 12),
        (1, 1), // frame ids
        (0, 7),
        (0, 3),
        (0, 4),
        (1, 1), // order hint
        (0, 2),
        (0, 1),
        (1, 1), // screen content, integer motion vectors by choice
        (0, 1),
        (1, 1),
        (6, 3),
        (0, 3),
        (1, 1), // 10 bits
        (0, 1),
        (1, 1),
        (9, 8),
        (16, 8),
        (9, 8),
        (0, 1),
        (2, 2),
        (0, 2),
    ]);
    let config = config_from_sequence_header(&header).unwrap();
    assert_eq!((config.width, config.height), (3840, 2160));
    assert_eq!(config.codec_string, "av01.0.13H.10.0.112.09.16.09.0");
    let rate = config.frame_rate.unwrap();
    assert_eq!((rate.numerator.get(), rate.denominator.get()), (30_000, 1001));
    assert_eq!(config.record[..4], [0x81, 13, 0x80 | 0x40 | 0x0c | 2, 0]);
    for end in 0..header.len() - 1 {
        assert!(parse_sequence_header(&header[..end]).is_err(), "{end}");
    }
}

#[test]
fn what_is_no_configuration_is_refused() {
    assert_eq!(
        parse_config(&[0x01, 0, 0, 0]),
        Err(Av1Error::Version { found: 1 })
    );
    assert_eq!(parse_config(&[0x81, 0, 0, 0]), Err(Av1Error::NoSequenceHeader));
    assert!(matches!(parse_config(&[]), Err(Av1Error::Truncated { .. })));
    assert_eq!(
        parse_sequence_header(&[0x60]),
        Err(Av1Error::Profile { found: 3 })
    );
    let long = vec![0; SEQUENCE_HEADER_BYTES_MAX + 1];
    assert!(matches!(
        parse_sequence_header(&long),
        Err(Av1Error::TooLarge { .. })
    ));
}

#[test]
fn temporal_units_say_what_they_hold() {
    let (delimiter, header) = (unit(2, &[]), unit(1, HEADER));
    let (key, hidden_key, inter, shown_again) = (
        unit(6, &[0x10, 1]),
        unit(6, &[0x00, 1]),
        unit(6, &[0x30, 1]),
        unit(3, &[0x80]),
    );
    for (units, is_key) in [
        (vec![&delimiter, &header, &key], true),
        (vec![&header, &hidden_key, &inter], false),
        (vec![&inter], false),
        (vec![&shown_again], false),
    ] {
        let data = Bytes::from(units.iter().flat_map(|unit| unit.to_vec()).collect::<Vec<_>>());
        let (out, found) = normalise(&data, HEADER, false);
        assert_eq!((found.has_picture, found.is_key), (true, is_key), "{units:x?}");
        let skipped = if units[0] == &delimiter { 2 } else { 0 };
        assert_eq!(out, data.slice(skipped..));
        assert_eq!(out.as_ptr(), data[skipped..].as_ptr(), "no copy");
    }
}

#[test]
fn a_key_frame_without_a_sequence_header_gets_it_and_padding_goes() {
    let key = unit(6, &[0x10, 1]);
    let data = Bytes::from([unit(2, &[]), key.clone(), unit(15, &[0; 9]), unit(5, &[1])].concat());
    let (out, found) = normalise(&data, HEADER, false);
    assert!(found.is_key && found.has_sequence_header);
    assert_eq!(out[..], [unit(1, HEADER), key, unit(5, &[1])].concat());
    // A size that points beyond the data ends the walk.
    let (out, found) = normalise(&Bytes::from_static(&[0x32, 200, 1]), HEADER, false);
    assert!(out.is_empty() && !found.has_picture);
    assert_eq!(leb128(&[0x80; 9]), None);
    assert_eq!(leb128(&[0xe5, 0x8e, 0x26]), Some((624_485, 3)));
}
