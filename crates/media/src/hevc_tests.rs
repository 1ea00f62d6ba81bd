use super::*;

/// What x265 writes for 128x72 at 25 frames a second with two B-frames, by way of FFmpeg.
const RECORD: &[u8] = b"\x01\x01\x60\x00\x00\x00\x90\x00\x00\x00\x00\x00\x1e\xf0\x00\xfc\xfd\xf8\xf8\x00\x00\x0f\x03\
    \x20\x00\x01\x00\x18\x40\x01\x0c\x01\xff\xff\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\x03\x00\x1e\x95\x90\x09\
    \x21\x00\x01\x00\x2a\x42\x01\x01\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\x03\x00\x1e\xa0\x10\x20\x51\xf2\xe5\
    \x95\x91\x29\x30\xbc\x05\xa0\x20\x00\x00\x03\x00\x20\x00\x00\x03\x03\x21\
    \x22\x00\x01\x00\x06\x44\x01\xc0\x73\xc1\x89";

const IDR: &[u8] = &[0x26, 1, 0xaf, 1, 2, 3];
const CRA: &[u8] = &[0x2a, 1, 0xaf, 1, 2, 3];
const TRAILING: &[u8] = &[0x02, 1, 0xd0, 1, 2];
const NON_REFERENCE: &[u8] = &[0x00, 1, 0xe0, 1, 2];
const SKIPPED_LEADING: &[u8] = &[0x10, 1, 0xe0, 1, 2];
const SEI: &[u8] = &[0x4e, 1, 5, 1, 0, 0x80];
const DELIMITER: &[u8] = &[0x46, 1, 0x50];

fn unit(nals: &[&[u8]]) -> Bytes {
    let mut out = BytesMut::new();
    for nal in nals {
        out.put_u32(nal.len() as u32);
        out.put_slice(nal);
    }
    out.freeze()
}

#[test]
fn a_record_of_x265_is_read_and_written_the_same() {
    let config = parse_config(RECORD).unwrap();
    assert_eq!((config.width, config.height), (128, 72));
    assert_eq!(config.codec_string, "hvc1.1.6.L30.90");
    let rate = config.frame_rate.unwrap();
    assert_eq!((rate.numerator.get(), rate.denominator.get()), (25, 1));
    let sps = record_sps(RECORD).unwrap();
    assert_eq!(
        (
            sps.reorder_depth,
            sps.sub_layers,
            sps.bit_depth_luma,
            sps.chroma_format
        ),
        (2, 1, 8, 1)
    );
    // FFmpeg says that sets may stand in samples too; ours are all in the record.
    let mut expected = RECORD.to_vec();
    for at in [23, 23 + 5 + 24, 23 + 5 + 24 + 5 + 42] {
        expected[at] |= 0x80;
    }
    expected[21] = config.record[21];
    assert_eq!(config.record[..], expected);
    assert_eq!(parse_config(&config.record), Ok(config));
}

#[test]
fn codec_strings_follow_the_standard() {
    for (bytes, expected) in [
        ([0x01, 0x60, 0, 0, 0, 0xb0, 0, 0, 0, 0, 0, 93], "hvc1.1.6.L93.B0"),
        (
            [0x22, 0x20, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 153],
            "hvc1.2.4.H153.90",
        ),
        ([0x41, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 30], "hvc1.A1.1.L30"),
        (
            [0x01, 0x60, 0, 0, 0, 0x90, 0, 0x10, 0, 0, 0, 120],
            "hvc1.1.6.L120.90.0.10",
        ),
    ] {
        assert_eq!(codec_string(&bytes), expected);
    }
}

#[test]
fn what_is_cut_short_is_refused() {
    for end in 0..RECORD.len() {
        assert!(parse_config(&RECORD[..end]).is_err(), "{end}");
    }
    let mut odd = RECORD.to_vec();
    odd[0] = 2;
    assert_eq!(parse_config(&odd), Err(HevcError::Version { found: 2 }));
    // The arrays end behind the VPS.
    odd[0] = 1;
    odd[22] = 1;
    assert_eq!(parse_config(&odd), Err(HevcError::Missing { what: "SPS" }));
    // A whole VUI is not needed.
    let sps = ParameterSets::of_record(RECORD).unwrap().sps[0];
    let cut = parse_sps(&sps[..sps.len() - 8]).unwrap();
    assert_eq!((cut.width, cut.frame_rate), (128, None));
}

#[test]
fn access_units_say_what_they_hold() {
    for (nals, irap, non_reference, leading) in [
        (&[IDR][..], true, false, false),
        (&[SEI, CRA], true, false, false),
        (&[TRAILING], false, false, false),
        (&[NON_REFERENCE, NON_REFERENCE], false, true, false),
        (&[NON_REFERENCE, TRAILING], false, false, false),
        (&[SKIPPED_LEADING], false, true, true),
    ] {
        let data = unit(nals);
        let (out, found) = normalise(&data, 4);
        assert_eq!(
            (found.is_irap, found.is_non_reference, found.is_skipped_leading),
            (irap, non_reference, leading),
            "{nals:x?}"
        );
        assert!(found.has_picture && !found.has_parameter_sets);
        assert_eq!((out.as_ptr(), out.len()), (data.as_ptr(), data.len()), "no copy");
    }
}

#[test]
fn sets_delimiters_and_other_layers_are_left_out() {
    let sets = ParameterSets::of_record(RECORD).unwrap();
    let second_layer = &[0x02, 9, 0xd0, 1];
    let data = unit(&[
        DELIMITER,
        sets.vps[0],
        sets.sps[0],
        sets.pps[0],
        SEI,
        IDR,
        second_layer,
    ]);
    let (out, found) = normalise(&data, 4);
    assert_eq!(out, unit(&[SEI, IDR]));
    assert!(found.has_parameter_sets && found.is_irap);
    assert_eq!(ParameterSets::of_sample(&data, 4), Ok(sets));
    let (out, found) = normalise(&unit(&[DELIMITER]), 4);
    assert!(out.is_empty() && !found.has_picture);
}
