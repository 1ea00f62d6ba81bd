use super::*;

/// (AudioSpecificConfig, codec string, rate, channels, samples a frame).
const GOOD: &[(&[u8], &str, u32, u16, u32)] = &[
    // LC 48 kHz stereo, as OBS and FFmpeg write it; with FFmpeg's "no SBR" extension (56 e5 00) behind it.
    (&[0x11, 0x90], "mp4a.40.2", 48_000, 2, 1024),
    (&[0x11, 0x90, 0x56, 0xe5, 0x00], "mp4a.40.2", 48_000, 2, 1024),
    (&[0x12, 0x10], "mp4a.40.2", 44_100, 2, 1024),
    (&[0x12, 0x08], "mp4a.40.2", 44_100, 1, 1024),
    // frameLengthFlag.
    (&[0x11, 0x94], "mp4a.40.2", 48_000, 2, 960),
    // 5.1 and 7.1.
    (&[0x11, 0xb0], "mp4a.40.2", 48_000, 6, 1024),
    (&[0x11, 0xb8], "mp4a.40.2", 48_000, 8, 1024),
    // Main.
    (&[0x09, 0x90], "mp4a.40.1", 48_000, 2, 1024),
    // HE-AAC: type 5 first, core 24 kHz, output 48 kHz, core type 2.
    (&[0x2b, 0x11, 0x88, 0x00], "mp4a.40.5", 48_000, 2, 2048),
    // HE-AAC v2: type 29 first, core 24 kHz mono.
    (&[0xeb, 0x09, 0x88, 0x00], "mp4a.40.29", 48_000, 2, 2048),
    // Backward compatible SBR: LC 24 kHz stereo, 0x2b7, type 5, flag, 48 kHz.
    (&[0x13, 0x10, 0x56, 0xe5, 0x98], "mp4a.40.5", 48_000, 2, 2048),
    // And PS behind it: LC 24 kHz mono, ..., 0x548, flag.
    (
        &[0x13, 0x08, 0x56, 0xe5, 0x9d, 0x48, 0x80],
        "mp4a.40.29",
        48_000,
        2,
        2048,
    ),
];

#[test]
fn good_configurations() {
    for &(record, codec_string, rate, channels, frame_samples) in GOOD {
        let config = parse_config(record).unwrap_or_else(|error| panic!("{record:02x?}: {error}"));
        assert_eq!(
            (
                config.codec_string.as_str(),
                config.sample_rate.get(),
                config.channels,
                config.frame_samples
            ),
            (codec_string, rate, channels, frame_samples),
            "{record:02x?}"
        );
        assert_eq!(config.record, record);
    }
}

/// Packs (value, bits) pairs, most significant first.
fn pack(fields: &[(u32, u32)]) -> Vec<u8> {
    let mut bits = Vec::new();
    for &(value, count) in fields {
        bits.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
    }
    bits.chunks(8)
        .map(|chunk| {
            chunk
                .iter()
                .enumerate()
                .fold(0, |byte, (at, &bit)| byte | u8::from(bit) << (7 - at))
        })
        .collect()
}

#[test]
fn explicit_frequency_and_program_config() {
    let record = pack(&[(2, 5), (15, 4), (47_999, 24), (2, 4), (0, 3)]);
    assert_eq!(parse_config(&record).unwrap().sample_rate.get(), 47_999);

    let mut fields = vec![(2, 5), (3, 4), (0, 4), (0, 3)];
    fields.extend([
        (0, 4),
        (1, 2),
        (3, 4),
        (2, 4),
        (0, 4),
        (1, 4),
        (1, 2),
        (0, 3),
        (0, 4),
        (0, 3),
    ]);
    // Front: one single and one pair; back: one pair; one LFE: 1 + 2 + 2 + 1.
    fields.extend([(0, 1), (0, 4), (1, 1), (0, 4), (1, 1), (1, 4), (0, 4)]);
    let written: u32 = fields.iter().map(|field| field.1).sum();
    fields.extend([(0, (8 - written % 8) % 8), (2, 8), (0x4142, 16)]);
    assert_eq!(parse_config(&pack(&fields)).unwrap().channels, 6);
}

#[test]
fn refusals_say_why() {
    let unsupported = |object_type| Err(AacError::UnsupportedObjectType { object_type });
    assert_eq!(parse_config(&[]), Err(AacError::Truncated { len: 0 }));
    assert_eq!(parse_config(&[0x11]), Err(AacError::Truncated { len: 1 }));
    assert_eq!(
        parse_config(&pack(&[(31, 5), (10, 6), (3, 4), (2, 4), (0, 8)])),
        unsupported(42)
    );
    assert_eq!(
        parse_config(&pack(&[(23, 5), (3, 4), (2, 4), (0, 8)])),
        unsupported(23)
    );
    assert_eq!(
        parse_config(&pack(&[(0, 5), (3, 4), (2, 4), (0, 8)])),
        unsupported(0)
    );
    assert_eq!(
        parse_config(&pack(&[(2, 5), (13, 4), (2, 4), (0, 3)])),
        Err(AacError::SamplingFrequency { found: 13 })
    );
    assert_eq!(
        parse_config(&pack(&[(2, 5), (15, 4), (0, 24), (2, 4), (0, 3)])),
        Err(AacError::SamplingFrequency { found: 0 })
    );
    assert_eq!(
        parse_config(&pack(&[(2, 5), (3, 4), (9, 4), (0, 3)])),
        Err(AacError::Channels { found: 9 })
    );
}

#[test]
fn any_two_and_three_bytes_are_survived() {
    for value in 0..=u16::MAX {
        let [first, second] = value.to_be_bytes();
        let _ = parse_config(&[first, second]);
        for third in [0, 0x55, 0xff] {
            if let Ok(config) = parse_config(&[first, second, third, third]) {
                assert!(config.channels > 0 && config.sample_rate.get() <= FREQUENCY_MAX);
            }
        }
    }
}
