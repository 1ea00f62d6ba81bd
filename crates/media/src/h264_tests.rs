use super::*;
use crate::FrameRate;

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

struct Case {
    /// As FFmpeg 7 with x264 wrote it.
    record: &'static str,
    codec: &'static str,
    size: (u32, u32),
    aspect: (u32, u32),
    rate: (u32, u32),
    reorder: u8,
    is_fixed: bool,
    format: (u8, u8),
}

const CASES: &[Case] = &[
    Case {
        record: "014d401fffe10019674d401feca02802dd8088000003000800000301e078c18cb001000468ef8fc8",
        codec: "avc1.4d401f",
        size: (1280, 720),
        aspect: (1, 1),
        rate: (30, 1),
        reorder: 2,
        is_fixed: false,
        format: (1, 8),
    },
    Case {
        record: "01640028ffe1001967640028acd940780227e5c04400000fa40003a9803c60c65801000668ebe3cb22c0fdf8f800",
        codec: "avc1.640028",
        size: (1920, 1080),
        aspect: (1, 1),
        rate: (30_000, 1001),
        reorder: 2,
        is_fixed: false,
        format: (1, 8),
    },
    Case {
        record: "0142c01effe100196742c01ed900a02ff97011000003000100000300320f162e4801000568cb83cb20",
        codec: "avc1.42c01e",
        size: (640, 360),
        aspect: (1, 1),
        rate: (25, 1),
        reorder: 0,
        is_fixed: false,
        format: (1, 8),
    },
    // Interlaced, with HRD parameters and a table aspect ratio.
    Case {
        record: "0164001effe100226764001eacd940b424d82080000003008000001932400186a0030d7261807c50a658\
                 01000568fbacb22cfdf8f800",
        codec: "avc1.64001e",
        size: (720, 576),
        aspect: (16, 11),
        rate: (25, 1),
        reorder: 2,
        is_fixed: false,
        format: (1, 8),
    },
    // 4:2:2, 10 bits.
    Case {
        record: "017a001fffe1001a677a001fb6cd940d83de6f0110000003001000000780f183196001000668ebe3cb22c0fefafa00",
        codec: "avc1.7a001f",
        size: (854, 480),
        aspect: (1, 1),
        rate: (60, 1),
        reorder: 2,
        is_fixed: false,
        format: (2, 10),
    },
    // 4:4:4, odd size.
    Case {
        record: "01f4000cffe1001b67f4000c919b282a33c7c5e0220000030002000003003c1e28532c01000668ebe3c44844fff8f800",
        codec: "avc1.f4000c",
        size: (322, 182),
        aspect: (1, 1),
        rate: (15, 1),
        reorder: 2,
        is_fixed: false,
        format: (3, 8),
    },
    // force-cfr=1.
    Case {
        record: "014d400dffe10018674d400deca0a0fd80880000030008000003019478a14cb001000568ebe3cb20",
        codec: "avc1.4d400d",
        size: (320, 240),
        aspect: (1, 1),
        rate: (25, 1),
        reorder: 2,
        is_fixed: true,
        format: (1, 8),
    },
];

fn record(case: &Case) -> Vec<u8> {
    hex(&case.record.replace(' ', ""))
}

#[test]
fn records_of_real_encoders() {
    for case in CASES {
        let record = record(case);
        let config = parse_config(&record).unwrap_or_else(|error| panic!("{}: {error}", case.codec));
        assert_eq!(config.codec_string, case.codec);
        assert_eq!((config.width, config.height), case.size, "{}", case.codec);
        assert_eq!(config.pixel_aspect, case.aspect, "{}", case.codec);
        let FrameRate {
            numerator,
            denominator,
        } = config.frame_rate.unwrap();
        assert_eq!((numerator.get(), denominator.get()), case.rate, "{}", case.codec);
        assert_eq!(config.record, record, "{}: written anew as it was", case.codec);
        let sps = record_sps(&record).unwrap();
        assert_eq!(
            (sps.reorder_depth, sps.is_fixed_frame_rate),
            (case.reorder, case.is_fixed),
            "{}",
            case.codec
        );
        assert_eq!(
            (sps.chroma_format, sps.bit_depth_luma),
            case.format,
            "{}",
            case.codec
        );
    }
}

#[test]
fn length_size_is_read_and_written_as_four() {
    let mut two = record(&CASES[0]);
    two[4] = 0xfd;
    assert_eq!(record_length_size(&two), Ok(2));
    assert_eq!(record_length_size(&parse_config(&two).unwrap().record), Ok(4));
}

#[test]
fn parameter_sets_make_the_record_and_repeats_vanish() {
    let record = record(&CASES[0]);
    let sets = RecordSets::read(&record).unwrap();
    let (sps, pps) = (sets.sps[0], sets.pps[0]);
    assert_eq!(
        config_from_parameter_sets([sps, sps], [pps, pps]).unwrap().record,
        record
    );
    assert_eq!(
        config_from_parameter_sets([], [pps]),
        Err(H264Error::Missing { what: "SPS" })
    );
    assert_eq!(
        config_from_parameter_sets([sps], []),
        Err(H264Error::Missing { what: "PPS" })
    );
    let wrong = config_from_parameter_sets([pps], [pps]);
    assert_eq!(
        wrong,
        Err(H264Error::NalType {
            expected: 7,
            found: 8
        })
    );
    let many: Vec<Vec<u8>> = (0..40).map(|id| [sps, &[id]].concat()).collect();
    let many = config_from_parameter_sets(many.iter().map(Vec::as_slice), [pps]);
    assert_eq!(many, Err(H264Error::TooLarge));
}

#[test]
fn a_broken_vui_is_no_reason_to_refuse() {
    let record = record(&CASES[3]);
    let whole = RecordSets::read(&record).unwrap().sps[0].to_vec();
    // Bytes 10 on are VUI in this one.
    for len in 12..whole.len() {
        let sps = parse_sps(&whole[..len]).unwrap_or_else(|error| panic!("{len}: {error}"));
        assert_eq!((sps.width, sps.height), (720, 576));
        // Level 3 at 45 x 36 macroblocks: 8100 / 1620 = 5 frames at most.
        assert!(sps.reorder_depth == 5 || len + 1 >= whole.len());
    }
}

#[test]
fn every_cut_and_every_changed_byte_is_survived() {
    for case in CASES {
        let good = record(case);
        for len in 0..good.len() {
            let cut = parse_config(&good[..len]);
            // The last four bytes are the high profiles' extension, which is worked out anew.
            assert!(
                cut.is_err() || len + 4 >= good.len(),
                "{} cut at {len}",
                case.codec
            );
        }
        for at in 0..good.len() {
            for value in 0..=255 {
                let mut bad = good.clone();
                bad[at] = value;
                if let Ok(config) = parse_config(&bad) {
                    assert!(config.width > 0 && config.height > 0);
                    assert!(config.width <= 16_880 && config.height <= 33_760);
                    assert_eq!(
                        parse_config(&config.record).as_ref(),
                        Ok(&config),
                        "a fixed point"
                    );
                }
            }
        }
    }
}

#[test]
fn random_bytes_are_survived() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..50_000 {
        let len = usize::try_from(next() % 64).unwrap();
        let mut bytes: Vec<u8> = (0..len)
            .map(|_| next().to_le_bytes()[0] & next().to_le_bytes()[1])
            .collect();
        let _ = (
            parse_config(&bytes),
            parse_sps(&bytes),
            is_b_slice(&bytes),
            sei_has(&bytes, 6),
        );
        let _ = (
            nal_units(&bytes).count(),
            annexb_units(&bytes).count(),
            AccessUnit::of(&bytes),
        );
        if let Some(first) = bytes.first_mut() {
            *first = 0x67;
        }
        let _ = parse_sps(&bytes);
        for length_size in 0..=5 {
            let (data, unit) = normalise(&Bytes::copy_from_slice(&bytes), length_size);
            assert_eq!(AccessUnit::of(&data).is_disposable, unit.is_disposable);
            assert!(!AccessUnit::of(&data).has_parameter_sets);
            assert_eq!(normalise(&data, 4).0, data, "a fixed point");
        }
    }
}

fn sized(nals: &[&[u8]]) -> Bytes {
    let mut data = BytesMut::new();
    for nal in nals {
        data.put_u32(u32::try_from(nal.len()).unwrap());
        data.put_slice(nal);
    }
    data.freeze()
}

/// first_mb_in_slice 0, then slice_type: P = 0 (`1`), B = 1 (`010`), I = 2 (`011`), B only = 6 (`00111`).
const P_REFERENCE: &[u8] = &[0x41, 0b1100_0000];
const P_DISPOSABLE: &[u8] = &[0x01, 0b1100_0000];
const B_DISPOSABLE: &[u8] = &[0x01, 0b1010_0000];
const B_ONLY: &[u8] = &[0x21, 0b1001_1100];
const IDR: &[u8] = &[0x65, 0b1011_0000];
const RECOVERY_SEI: &[u8] = &[0x06, 5, 2, 9, 9, 6, 1, 0xc0, 0x80];
const OTHER_SEI: &[u8] = &[0x06, 5, 2, 6, 6, 0x80];
const DELIMITER: &[u8] = &[0x09, 0xf0];

#[test]
fn access_units_show_what_they_hold() {
    let look = |nals: &[&[u8]]| AccessUnit::of(&sized(nals));
    let picture = AccessUnit {
        has_picture: true,
        ..AccessUnit::default()
    };
    assert_eq!(look(&[]), AccessUnit::default());
    assert_eq!(look(&[OTHER_SEI]), AccessUnit::default());
    assert_eq!(
        look(&[IDR, IDR]),
        AccessUnit {
            is_idr: true,
            ..picture
        }
    );
    assert_eq!(look(&[P_REFERENCE]), picture);
    assert_eq!(
        look(&[P_DISPOSABLE]),
        AccessUnit {
            is_disposable: true,
            ..picture
        }
    );
    assert_eq!(look(&[P_DISPOSABLE, P_REFERENCE]), picture);
    assert_eq!(look(&[P_REFERENCE, P_DISPOSABLE]), picture);
    assert_eq!(
        look(&[B_DISPOSABLE]),
        AccessUnit {
            is_disposable: true,
            has_b_slice: true,
            ..picture
        }
    );
    assert_eq!(
        look(&[B_ONLY]),
        AccessUnit {
            has_b_slice: true,
            ..picture
        }
    );
    assert_eq!(
        look(&[RECOVERY_SEI, P_REFERENCE]),
        AccessUnit {
            has_recovery_point: true,
            ..picture
        }
    );
}

#[test]
fn normalising_copies_only_where_it_must() {
    let points_into = |inner: &Bytes, outer: &Bytes| outer.as_ptr_range().contains(&inner.as_ptr());
    let clean = sized(&[OTHER_SEI, IDR]);
    let (data, _) = normalise(&clean, 4);
    assert!(data == clean && points_into(&data, &clean));

    let (sps, pps) = (&[0x67, 1, 2, 3][..], &[0x68, 1][..]);
    let led = sized(&[DELIMITER, sps, pps, OTHER_SEI, IDR, &[0x0c, 0xff, 0x80]]);
    let (data, unit) = normalise(&led, 4);
    assert!(data == clean && points_into(&data, &led) && unit.is_idr && unit.has_parameter_sets);

    let (data, _) = normalise(&sized(&[OTHER_SEI, sps, IDR]), 4);
    assert_eq!(data, clean);

    let two_byte_lengths = Bytes::from([&[0, 6], OTHER_SEI, &[0, 2], IDR].concat());
    assert_eq!(normalise(&two_byte_lengths, 2).0, clean);

    let mut cut = clean.to_vec();
    cut.extend([0, 0, 0, 9, 1]);
    let (data, _) = normalise(&Bytes::from(cut), 4);
    assert_eq!(data, clean);
}

#[test]
fn annex_b_streams_split() {
    let stream = [
        &[9, 9][..],
        &[0, 0, 0, 1],
        IDR,
        &[0, 0, 1],
        P_REFERENCE,
        &[0, 0, 0, 0, 1],
        DELIMITER,
        &[0, 0],
    ];
    let stream = stream.concat();
    let nals: Vec<_> = annexb_units(&stream).collect();
    assert_eq!(nals, [IDR, P_REFERENCE, DELIMITER]);
    assert_eq!(annexb_units(&[1, 2, 3]).count(), 0);
    assert_eq!(annexb_units(&[0, 0, 1]).count(), 0);
}
