use bytes::{BufMut, Bytes, BytesMut};

use super::super::{
    AudioTag, Demuxer, FileTag, TagKind, VideoTag, parse_audio, parse_mp3_config, parse_video,
};
use super::*;

/// What FFmpeg 5.1 wrote: 12 pictures of 64x64 with B-frames and 1.2 s of AAC.
const FILE: &[u8] = include_bytes!("../../tests/data/ffmpeg.flv");

/// x264, 320x180 and 64x64.
const WIDE: &[u8] =
    b"\x01\x4d\x40\x0d\xff\xe1\x00\x19\x67\x4d\x40\x0d\xec\xa0\xa0\xcf\xcf\x80\x88\x00\x00\x03\x00\x08\
    \x00\x00\x03\x01\xe0\x78\xa1\x4c\xb0\x01\x00\x04\x68\xce\x0f\xc8";
const SMALL: &[u8] =
    b"\x01\x4d\x40\x0a\xff\xe1\x00\x17\x67\x4d\x40\x0a\xec\xa2\x13\x60\x22\x00\x00\x03\x00\x02\x00\x00\
    \x03\x00\x78\x1e\x24\x4b\x2c\x01\x00\x04\x68\xce\x0f\xc8";

const IDR: &[u8] = &[0x65, 0x88, 0x80, 1, 2, 3, 4, 5, 6, 7, 8, 9];
const REFERENCE: &[u8] = &[0x41, 0x9a, 1, 2];
const DISPOSABLE: &[u8] = &[0x01, 0x9e, 1, 2];
const SEI: &[u8] = &[6, 1, 1, 0xc4, 0x80];
const DELIMITER: &[u8] = &[9, 0xf0];

fn stream(record: &[u8]) -> AvcStream {
    AvcStream::new(&Bytes::copy_from_slice(record)).unwrap()
}

fn unit(nals: &[&[u8]], length_size: usize) -> Bytes {
    let mut out = BytesMut::new();
    for nal in nals {
        out.put_uint(nal.len() as u64, length_size);
        out.put_slice(nal);
    }
    out.freeze()
}

/// SPS and PPS of a record.
fn sets(record: &[u8]) -> Vec<Bytes> {
    parameter_sets(&Bytes::copy_from_slice(record))
}

#[test]
fn what_needs_no_change_is_not_copied() {
    let mut stream = stream(WIDE);
    for nals in [&[IDR][..], &[SEI, REFERENCE], &[DISPOSABLE, DISPOSABLE]] {
        let data = unit(nals, 4);
        let sample = stream.sample(&data);
        assert_eq!(sample.data, data);
        assert_eq!(sample.data.as_ptr(), data.as_ptr());
        assert_eq!(sample.is_sync, nals[0] == IDR);
        assert_eq!(sample.is_disposable, nals[0] == DISPOSABLE);
        assert!(sample.has_picture && sample.new_config.is_none());
    }
}

#[test]
fn sets_and_delimiters_are_dropped_from_the_front_without_a_copy() {
    let mut stream = stream(WIDE);
    let sets = sets(WIDE);
    let data = unit(&[&sets[0], &sets[1], IDR, &[0x65; 200]], 4);
    let sample = stream.sample(&data);
    assert_eq!(sample.data, unit(&[IDR, &[0x65; 200]], 4));
    assert_eq!(sample.data.as_ptr_range().end, data.as_ptr_range().end);
    // The same sets as in force are no news.
    assert_eq!(sample.new_config, None);
    let sample = stream.sample(&unit(&[DELIMITER, SEI, REFERENCE, &[12, 0xff, 0xff, 0x80]], 4));
    assert_eq!(sample.data, unit(&[SEI, REFERENCE], 4));
}

#[test]
fn other_lengths_and_start_codes_become_four_bytes() {
    let mut record = WIDE.to_vec();
    for (bits, length_size) in [(0xfc, 1), (0xfd, 2)] {
        record[4] = bits;
        let mut stream = stream(&record);
        assert_eq!(
            stream.sample(&unit(&[SEI, IDR], length_size)).data,
            unit(&[SEI, IDR], 4)
        );
        // The record that goes on says four bytes.
        assert_eq!(stream.config().record[4] & 3, 3);
    }
    let mut bytes = b"\0\0\0\x01".to_vec();
    bytes.extend(DELIMITER);
    bytes.extend(b"\0\0\x01");
    bytes.extend(IDR);
    let sample = stream(WIDE).sample(&bytes.into());
    assert_eq!((sample.data, sample.is_sync), (unit(&[IDR], 4), true));
}

#[test]
fn new_sets_in_band_are_a_new_configuration_once() {
    let mut stream = stream(WIDE);
    assert_eq!((stream.config().width, stream.config().height), (320, 180));
    let sets = sets(SMALL);
    let data = unit(&[&sets[0], &sets[1], IDR], 4);
    let config = stream.sample(&data).new_config.expect("a new size");
    assert_eq!((config.width, config.height), (64, 64));
    assert_eq!(&config, stream.config());
    assert_eq!(stream.sample(&data).new_config, None);
    // A set that cannot be read changes nothing.
    let sample = stream.sample(&unit(&[&[0x67, 1], IDR], 4));
    assert_eq!((sample.new_config, sample.is_sync), (None, true));
}

#[test]
fn the_odd_and_the_broken() {
    let mut stream = stream(WIDE);
    let empty = stream.sample(&Bytes::new());
    assert!(empty.data.is_empty() && !empty.has_picture && !empty.is_sync && !empty.is_disposable);
    // A malformed tail is left out.
    let mut data = unit(&[REFERENCE], 4).to_vec();
    data.extend([0, 0, 1, 0, 0x41]);
    assert_eq!(stream.sample(&data.into()).data, unit(&[REFERENCE], 4));
    // Much filler around a little picture is not kept alive by it.
    let data = unit(&[&[12; 10_000], REFERENCE], 4);
    let sample = stream.sample(&data);
    assert_eq!(sample.data, unit(&[REFERENCE], 4));
    assert!(!data.as_ptr_range().contains(&sample.data.as_ptr()));
    for record in [&b""[..], b"\x02", &WIDE[..10], b"\x01\x4d\x40\x0d\xff\xe0\0"] {
        assert!(AvcStream::new(&Bytes::copy_from_slice(record)).is_err());
    }
}

fn tags(bytes: &[u8]) -> Vec<FileTag> {
    let mut demuxer = Demuxer::new(1 << 20);
    let mut input = BytesMut::from(bytes);
    let mut tags = Vec::new();
    while let Ok(Some(tag)) = demuxer.next(&mut input) {
        tags.push(tag);
    }
    tags
}

/// Reads a whole file the way a user would; gives pictures, key pictures and sounds.
fn read(bytes: &[u8]) -> (usize, usize, usize) {
    let (mut pictures, mut keys, mut sounds) = (0, 0, 0);
    let mut stream = None;
    for tag in tags(bytes) {
        match tag.kind {
            TagKind::Video => match parse_video(&tag.body) {
                Ok(VideoTag::SequenceHeader { record, .. }) => stream = AvcStream::new(&record).ok(),
                Ok(VideoTag::Frame { data, .. }) => {
                    let Some(stream) = &mut stream else { continue };
                    let sample = stream.sample(&data);
                    assert!(sample.data.len() <= 2 * data.len() + 16);
                    pictures += usize::from(sample.has_picture);
                    keys += usize::from(sample.is_sync);
                }
                _ => {}
            },
            TagKind::Audio => match parse_audio(&tag.body) {
                Ok(AudioTag::Aac(_)) => sounds += 1,
                Ok(AudioTag::Mp3(data)) => drop(parse_mp3_config(&data)),
                _ => {}
            },
            TagKind::Script => {}
        }
    }
    (pictures, keys, sounds)
}

#[test]
fn a_real_file_is_read_whole() {
    assert_eq!(read(FILE).0, 12);
    assert_eq!(read(FILE).1, 3);
    assert!((50..60).contains(&read(FILE).2));
    let times: Vec<i64> = tags(FILE)
        .iter()
        .filter(|tag| tag.kind == TagKind::Video)
        .map(|tag| tag.timestamp_ms)
        .collect();
    assert!(times.is_sorted());
}

/// Thousands of changed copies of a real file, from a fixed seed: no panic, nothing larger than its input.
#[test]
fn changed_files_do_no_harm() {
    let mut state = 0x1234_5678_9abc_def1u64;
    let mut random = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % bound.max(1)
    };
    for _ in 0..4000 {
        let mut bytes = FILE.to_vec();
        for _ in 0..1 + random(10) {
            let at = random(bytes.len());
            match random(5) {
                0 => bytes[at] = random(256) as u8,
                1 => bytes[at] ^= 1 << random(8),
                2 => bytes.truncate(at + 1),
                3 => bytes.insert(at, random(256) as u8),
                _ => drop(bytes.drain(at..(at + random(30)).min(bytes.len()))),
            }
            if bytes.is_empty() {
                bytes.push(0);
            }
        }
        read(&bytes);
    }
}
