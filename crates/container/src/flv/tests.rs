use bytes::{Bytes, BytesMut};

use super::*;

fn video(bytes: &[u8]) -> Result<VideoTag, Error> {
    parse_video(&Bytes::copy_from_slice(bytes))
}

fn audio(bytes: &[u8]) -> Result<AudioTag, Error> {
    parse_audio(&Bytes::copy_from_slice(bytes))
}

#[test]
fn video_bodies() {
    let data = Bytes::from_static(&[9, 9]);
    for (bytes, expected) in [
        (&[][..], Ok(VideoTag::Nothing)),
        (
            &[0x17, 0, 0, 0, 0, 9, 9],
            Ok(VideoTag::SequenceHeader {
                codec: VideoCodec::H264,
                record: data.clone(),
            }),
        ),
        (
            &[0x27, 1, 0xff, 0xff, 0xd6, 9, 9],
            Ok(VideoTag::Frame {
                codec: VideoCodec::H264,
                is_key_flag: false,
                composition_time_ms: -42,
                data: data.clone(),
            }),
        ),
        (
            &[0x17, 1, 0, 0, 80, 9, 9],
            Ok(VideoTag::Frame {
                codec: VideoCodec::H264,
                is_key_flag: true,
                composition_time_ms: 80,
                data: data.clone(),
            }),
        ),
        (&[0x17, 2], Ok(VideoTag::EndOfSequence)),
        (&[0x17, 2, 0, 0, 0], Ok(VideoTag::EndOfSequence)),
        (&[0x57, 0], Ok(VideoTag::Nothing)),
        (&[0x12, 0, 0], Ok(VideoTag::Unsupported(Codec::Video(2)))),
        (b"\x90vp09xyz", Ok(VideoTag::Unsupported(Codec::FourCc(*b"vp09")))),
        (
            b"\x90hv",
            Err(Error::Truncated {
                what: "video",
                found: 3,
                expected: 5,
            }),
        ),
        (
            &[0x17],
            Err(Error::Truncated {
                what: "video",
                found: 1,
                expected: 5,
            }),
        ),
        (
            &[0x17, 7, 0, 0, 0],
            Err(Error::PacketType {
                what: "video",
                found: 7,
            }),
        ),
    ] {
        assert_eq!(video(bytes), expected, "{bytes:x?}");
    }
    assert_eq!(Codec::FourCc(*b"hvc1").to_string(), "HEVC");
    assert_eq!(Codec::FourCc(*b"a\0\"z").to_string(), "FourCC \"a\\x00\\\"z\"");
}

#[test]
fn audio_bodies() {
    let data = Bytes::from_static(&[9, 9]);
    for (bytes, expected) in [
        (&[][..], Ok(AudioTag::Nothing)),
        (&[0xaf, 0, 9, 9], Ok(AudioTag::AacHeader(data.clone()))),
        (&[0xaf, 1, 9, 9], Ok(AudioTag::Aac(data.clone()))),
        (&[0xaf, 1], Ok(AudioTag::Nothing)),
        (&[0x2f, 9, 9], Ok(AudioTag::Mp3(data.clone()))),
        (&[0xb6, 9], Ok(AudioTag::Unsupported(Codec::Audio(11)))),
        (b"\x91ac-3x", Ok(AudioTag::Unsupported(Codec::FourCc(*b"ac-3")))),
        (b"\x90Opus\x09\x09", Ok(AudioTag::OpusHeader(data.clone()))),
        (b"\x91Opus\x09\x09", Ok(AudioTag::Opus(data.clone()))),
        (b"\x91Opus", Ok(AudioTag::Nothing)),
        (b"\x90fLaC\x09\x09", Ok(AudioTag::FlacHeader(data.clone()))),
        (b"\x91fLaC\x09\x09", Ok(AudioTag::Flac(data.clone()))),
        (b"\x90mp4a\x09\x09", Ok(AudioTag::AacHeader(data.clone()))),
        (b"\x91mp4a\x09\x09", Ok(AudioTag::Aac(data.clone()))),
        (b"\x91.mp3\x09\x09", Ok(AudioTag::Mp3(data.clone()))),
        (b"\x92Opus", Ok(AudioTag::Nothing)),
        (b"\x94Opus\x01\x02\0\0\0\x03", Ok(AudioTag::Nothing)),
        (
            b"\x97\x02\0\0\0\x01Opus\x09\x09",
            Ok(AudioTag::Opus(data.clone())),
        ),
        (
            b"\x96Opus",
            Err(Error::PacketType {
                what: "audio",
                found: 6,
            }),
        ),
        (
            &[0xaf],
            Err(Error::Truncated {
                what: "audio",
                found: 1,
                expected: 2,
            }),
        ),
        (
            &[0xaf, 5, 1],
            Err(Error::PacketType {
                what: "audio",
                found: 5,
            }),
        ),
    ] {
        assert_eq!(audio(bytes), expected, "{bytes:x?}");
    }
}

#[test]
fn bodies_are_slices() {
    let body = Bytes::from(vec![0x27, 1, 0, 0, 0, 1, 2, 3, 4]);
    let Ok(VideoTag::Frame { data, .. }) = parse_video(&body) else {
        panic!("no NAL units")
    };
    assert_eq!(data.as_ptr(), body[5..].as_ptr());
}

#[test]
fn mp3_headers() {
    let config = parse_mp3_config(&[0xff, 0xfb, 0x90, 0x64]).unwrap();
    assert_eq!(
        (config.sample_rate.get(), config.channels, config.frame_samples),
        (44_100, 2, 1152)
    );
    assert_eq!(config.codec_string, "mp4a.6B");
    let config = parse_mp3_config(&[0xff, 0xf3, 0x44, 0xc4]).unwrap();
    assert_eq!(
        (config.sample_rate.get(), config.channels, config.frame_samples),
        (24_000, 1, 576)
    );
    assert_eq!(
        parse_mp3_config(&[0xff, 0xfd, 0x90, 0x64]),
        Err(Mp3Error::Layer { found: 2 })
    );
    assert_eq!(parse_mp3_config(b"ID3"), Err(Mp3Error::NoHeader));
}

/// Every tag comes out as it went in, however the bytes are cut.
#[test]
fn files_round_trip_in_pieces() {
    let mut file = BytesMut::new();
    Muxer.header(&mut file, true, true);
    Muxer.metadata(
        &mut file,
        &[
            ("framerate", MetadataValue::Number(30.0)),
            ("encoder", MetadataValue::Text("x")),
        ],
    );
    Muxer.avc_config(&mut file, 0, b"record");
    Muxer.aac_config(&mut file, 0, &[0x12, 0x10]);
    for frame in 0..20i64 {
        Muxer.avc_sample(
            &mut file,
            frame * 40,
            frame * 40 + 80,
            frame == 0,
            &[frame as u8; 100],
        );
        Muxer.aac_sample(&mut file, frame * 40, &[frame as u8; 7]);
    }
    for step in [1, 2, 7, 64, 10_000] {
        let mut demuxer = Demuxer::new(1 << 20);
        let mut input = BytesMut::new();
        let mut tags = Vec::new();
        for piece in file.chunks(step) {
            input.extend_from_slice(piece);
            while let Some(tag) = demuxer.next(&mut input).unwrap() {
                tags.push(tag);
            }
        }
        assert!(input.is_empty());
        assert_eq!(tags.len(), 3 + 40);
        assert_eq!(tags[0].kind, TagKind::Script);
        let last = &tags[41];
        assert_eq!((last.kind, last.timestamp_ms), (TagKind::Video, 760));
        let expected = VideoTag::Frame {
            codec: VideoCodec::H264,
            is_key_flag: false,
            composition_time_ms: 80,
            data: vec![19; 100].into(),
        };
        assert_eq!(parse_video(&last.body), Ok(expected));
    }
}

#[test]
fn times_go_on_over_31_bits() {
    let mut file = BytesMut::new();
    Muxer.header(&mut file, false, true);
    let start = (1i64 << 31) - 50;
    for step in [0, 40, 80, 60, 3_600_000] {
        Muxer.tag(&mut file, TagKind::Video, start + step, &[]);
    }
    let mut demuxer = Demuxer::new(16);
    let times: Vec<i64> = std::iter::from_fn(|| demuxer.next(&mut file).unwrap())
        .map(|tag| tag.timestamp_ms - start)
        .collect();
    assert_eq!(times, [0, 40, 80, 60, 3_600_000]);
}

#[test]
fn what_is_not_flv_is_refused() {
    let refuse = |bytes: &[u8]| Demuxer::new(100).next(&mut BytesMut::from(bytes)).unwrap_err();
    assert_eq!(refuse(b"RIFF"), FileError::Signature);
    assert_eq!(
        refuse(b"FLV\x01\x05\x01\0\0\0"),
        FileError::HeaderLength { found: 0x0100_0000 }
    );
    let head = b"FLV\x01\x05\0\0\0\x09\0\0\0\0";
    let with = |tag: &[u8]| refuse(&[&head[..], tag].concat());
    assert_eq!(with(&[7; 11]), FileError::TagType { found: 7 });
    assert_eq!(with(&[0x29; 11]), FileError::Encrypted);
    assert_eq!(
        with(&[9, 0, 0, 101, 0, 0, 0, 0, 0, 0, 0]),
        FileError::TagTooLong {
            found: 101,
            limit: 100
        }
    );
}
