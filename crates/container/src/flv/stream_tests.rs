use bytes::{BufMut, BytesMut};

use super::super::{AudioTag, Demuxer, Error, TagKind, VideoTag, parse_audio, parse_video};
use super::*;

/// 30 pictures of 128x72 from x265 with open GOPs of 10 and B-frames, as FFmpeg 9 sends Enhanced RTMP.
const HEVC: &[u8] = include_bytes!("../../tests/data/hevc.flv");
/// 25 pictures of 128x72 from SVT-AV1, a key frame every 10.
const AV1: &[u8] = include_bytes!("../../tests/data/av1.flv");
/// HEVC as track 0, H.264 as track 1.
const TRACKS: &[u8] = include_bytes!("../../tests/data/tracks.flv");

/// Video tags: time and what was read.
fn tags(file: &[u8]) -> Vec<(i64, VideoTag)> {
    let mut demuxer = Demuxer::new(1 << 20);
    let mut input = BytesMut::from(file);
    let mut tags = Vec::new();
    while let Some(tag) = demuxer.next(&mut input).unwrap() {
        if tag.kind == TagKind::Video {
            tags.push((tag.timestamp_ms, parse_video(&tag.body).unwrap()));
        }
    }
    tags
}

/// Configuration and samples with their composition time.
fn samples(file: &[u8]) -> (VideoConfig, Vec<(i32, VideoSample)>) {
    let mut stream = None;
    let mut samples = Vec::new();
    for (_, tag) in tags(file) {
        match tag {
            VideoTag::SequenceHeader { codec, record } => {
                stream = Some(VideoStream::new(codec, &record).unwrap());
            }
            VideoTag::Frame {
                composition_time_ms,
                data,
                codec,
                ..
            } => {
                let stream = stream.as_mut().unwrap();
                assert_eq!(stream.codec(), codec);
                samples.push((composition_time_ms, stream.sample(&data)));
            }
            VideoTag::Nothing | VideoTag::EndOfSequence => {}
            other => panic!("{other:?}"),
        }
    }
    (stream.unwrap().config().clone(), samples)
}

fn sync_indices(samples: &[(i32, VideoSample)]) -> Vec<usize> {
    (0..samples.len()).filter(|at| samples[*at].1.is_sync).collect()
}

#[test]
fn hevc_of_ffmpeg_is_read() {
    let (config, samples) = samples(HEVC);
    assert_eq!(
        (config.codec, config.width, config.height),
        (VideoCodec::Hevc, 128, 72)
    );
    assert_eq!(samples.len(), 30);
    assert!(
        samples
            .iter()
            .all(|(_, sample)| sample.has_picture && sample.new_config.is_none())
    );
    let syncs = sync_indices(&samples);
    assert_eq!((syncs.len(), syncs[0]), (3, 0));
    assert!(samples.iter().any(|(time, _)| *time > 0), "B-frames");
    assert!(samples.iter().any(|(_, sample)| sample.is_open_gop));
    assert!(samples.iter().any(|(_, sample)| sample.is_disposable));
}

#[test]
fn av1_of_ffmpeg_is_read() {
    let (config, samples) = samples(AV1);
    assert_eq!(config.codec_string, "av01.0.00M.08");
    assert_eq!(samples.len(), 25);
    assert_eq!(sync_indices(&samples), [0, 10, 20]);
    for (index, (time, sample)) in samples.iter().enumerate() {
        assert_eq!(*time, 0);
        // SVT's pictures have other tools switched on than the header that it announces.
        assert!(sample.has_picture && sample.new_config.is_some() == (index == 0));
        // No temporal delimiter.
        assert_ne!(sample.data[0] >> 3 & 15, 2);
    }
}

#[test]
fn every_track_of_ffmpegs_multitrack_is_found() {
    let mut found: Vec<(u8, VideoCodec, usize)> = Vec::new();
    for (_, tag) in tags(TRACKS) {
        let parts: Vec<(u8, VideoTag)> = match tag {
            VideoTag::Tracks(tracks) => tracks.map(Result::unwrap).collect(),
            tag => vec![(0, tag)],
        };
        for (track, tag) in parts {
            let (codec, count) = match tag {
                VideoTag::SequenceHeader { codec, record } => {
                    VideoStream::new(codec, &record).unwrap();
                    (codec, 0)
                }
                VideoTag::Frame { codec, .. } => (codec, 1),
                _ => continue,
            };
            match found
                .iter_mut()
                .find(|entry| (entry.0, entry.1) == (track, codec))
            {
                Some(entry) => entry.2 += count,
                None => found.push((track, codec, count)),
            }
        }
    }
    found.sort_by_key(|entry| entry.0);
    assert_eq!(found, [(0, VideoCodec::Hevc, 10), (1, VideoCodec::H264, 10)]);
}

fn read(body: &[u8]) -> Result<VideoTag, Error> {
    parse_video(&Bytes::copy_from_slice(body))
}

fn frame(codec: VideoCodec, time: i32, data: &'static [u8]) -> VideoTag {
    VideoTag::Frame {
        codec,
        is_key_flag: true,
        composition_time_ms: time,
        data: Bytes::from_static(data),
    }
}

#[test]
fn ex_headers() {
    use VideoCodec::{Av1, H264, Hevc};
    for (body, expected) in [
        (&b"\x91hvc1\xff\xff\xd6xy"[..], Ok(frame(Hevc, -42, b"xy"))),
        (b"\x93hvc1xy", Ok(frame(Hevc, 0, b"xy"))),
        (b"\x93avc1xy", Ok(frame(H264, 0, b"xy"))),
        (b"\x91av01xy", Ok(frame(Av1, 0, b"xy"))),
        (b"\x92hvc1", Ok(VideoTag::EndOfSequence)),
        (b"\xd4av01\x02", Ok(VideoTag::Nothing)),
        (b"\xd1\x00", Ok(VideoTag::Nothing)),
        // ModEx: three bytes of nanoseconds; then one of 256 bytes of a type to come.
        (b"\x97\x02\x00\x01\x02\x03hvc1xy", Ok(frame(Hevc, 0, b"xy"))),
        (
            b"\x97\x02\x00\x01\x02\x07\x00x\x03hvc1xy",
            Ok(frame(Hevc, 0, b"xy")),
        ),
        (
            b"\x98hvc1",
            Err(Error::PacketType {
                what: "video",
                found: 8,
            }),
        ),
        (
            b"\x97\x09\x00",
            Err(Error::Truncated {
                what: "video",
                found: 3,
                expected: 12,
            }),
        ),
        (
            b"\x91hvc1\x00\x00",
            Err(Error::Truncated {
                what: "video",
                found: 7,
                expected: 8,
            }),
        ),
        (
            b"\x96\x31hvc1",
            Err(Error::Multitrack {
                what: "video",
                found: 3,
            }),
        ),
    ] {
        assert_eq!(read(body), expected, "{:?}", body.escape_ascii());
    }
    let long = [&b"\x97\xff\x01\x00"[..], &[7; 257], b"\x13av01z"].concat();
    assert_eq!(read(&long), Ok(frame(Av1, 0, b"z")));
    let endless = [&b"\x97"[..], &[0, 0, 7].repeat(100)].concat();
    assert!(matches!(read(&endless), Err(Error::PacketType { .. })));
}

#[test]
fn multitrack_bodies() {
    let tracks = |body: &[u8]| -> Vec<Result<(u8, VideoTag), Error>> {
        match read(body) {
            Ok(VideoTag::Tracks(tracks)) => tracks.collect(),
            other => panic!("{other:?}"),
        }
    };
    let first = frame(VideoCodec::Hevc, 0, b"xy");
    assert_eq!(tracks(b"\x96\x03hvc1\x05xy"), [Ok((5, first.clone()))]);
    assert_eq!(
        tracks(b"\x96\x13hvc1\x00\x00\x00\x02xy\x01\x00\x00\x01z"),
        [Ok((0, first.clone())), Ok((1, frame(VideoCodec::Hevc, 0, b"z")))]
    );
    let many = tracks(b"\x96\x23hvc1\x00\x00\x00\x02xyav01\x01\x00\x00\x01zvp09\x02\x00\x00\x09z");
    assert_eq!(
        many[..2],
        [Ok((0, first)), Ok((1, frame(VideoCodec::Av1, 0, b"z")))]
    );
    assert!(matches!(&many[2..], [Err(Error::Truncated { .. })]));
    let short = [&b"\x96\x13hvc1"[..], &[0, 0, 0, 0].repeat(1000)].concat();
    assert_eq!(tracks(&short).len(), super::super::TRACKS_PER_TAG_MAX);
}

#[test]
fn multitrack_audio_bodies() {
    let body = Bytes::from_static(b"\x95\x11Opus\x00\x00\x00\x02xy\x01\x00\x00\x01z");
    let Ok(AudioTag::Tracks(tracks)) = parse_audio(&body) else {
        panic!()
    };
    let expected = [(0, &b"xy"[..]), (1, b"z")].map(|(track, data)| Ok((track, AudioTag::Opus(data.into()))));
    assert_eq!(tracks.collect::<Vec<_>>(), expected);
}

#[test]
fn new_parameter_sets_in_a_sample_are_news_once() {
    let (config, _) = samples(HEVC);
    let mut stream = HevcStream::new(&config.record).unwrap();
    let sets = ParameterSets::of_record(&config.record).unwrap();
    let unit = |pps: &[u8]| {
        let mut out = BytesMut::new();
        for nal in [sets.sps[0], pps, &[0x26, 1, 0xaf, 1, 2, 3]] {
            out.put_u32(nal.len() as u32);
            out.put_slice(nal);
        }
        out.freeze()
    };
    assert_eq!(stream.sample(&unit(sets.pps[0])).new_config, None);
    let other = [sets.pps[0], &[0x80]].concat();
    let sample = stream.sample(&unit(&other));
    assert!(sample.is_sync && sample.has_picture);
    let new = sample.new_config.unwrap();
    assert_eq!(ParameterSets::of_record(&new.record).unwrap().pps, [&other[..]]);
    assert_eq!(stream.sample(&unit(&other)).new_config, None);

    let (config, samples) = samples(AV1);
    let mut stream = Av1Stream::new(&config.record).unwrap();
    let mut data = samples[0].1.data.to_vec();
    // Main profile at level 2.1.
    data[2 + 2] |= 0x04;
    let new = stream.sample(&Bytes::from(data.clone())).new_config;
    assert_ne!(new.unwrap().record, config.record);
    assert_eq!(stream.sample(&Bytes::from(data)).new_config, None);
}

#[test]
fn byte_streams_are_taken_too() {
    let (config, _) = samples(HEVC);
    let mut stream = HevcStream::new(&config.record).unwrap();
    let sample = stream.sample(&Bytes::from_static(
        b"\0\0\0\x01\x26\x01\xaf\x01\0\0\x01\x26\x01\x2f\x05",
    ));
    assert!(sample.is_sync);
    assert_eq!(
        sample.data[..],
        *b"\0\0\0\x04\x26\x01\xaf\x01\0\0\0\x04\x26\x01\x2f\x05"
    );
}
