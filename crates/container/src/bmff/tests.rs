//! Against an independent reader, and goldens. `UPDATE=1` rewrites the goldens.

use std::num::NonZeroU32;

use bytes::Bytes;
use media::{AudioCodec, AudioConfig, Track, TrackConfig, VIDEO_TIMESCALE, VideoCodec, VideoConfig};
use mp4_atom::{Any, ReadFrom as _};
use proptest::prelude::*;

use super::*;

const RECORD: &[u8] = &[
    1, 0x64, 0, 0x1e, 0xff, 0xe1, 0, 8, 0x67, 0x64, 0, 0x1e, 0xac, 0xd9, 0x40, 0xa0, 1, 0, 4, 0x68, 0xeb,
    0xe3, 0xcb, 0xfd, 0xf8, 0xf8, 0,
];

fn video() -> Track {
    Track {
        timescale: VIDEO_TIMESCALE,
        epoch: 0,
        config: TrackConfig::Video(VideoConfig {
            codec: VideoCodec::H264,
            record: Bytes::from_static(RECORD),
            codec_string: "avc1.64001e".into(),
            width: 640,
            height: 360,
            pixel_aspect: (4, 3),
            frame_rate: None,
        }),
    }
}

fn audio() -> Track {
    let rate = NonZeroU32::new(48_000).unwrap();
    Track {
        timescale: rate,
        epoch: 0,
        config: TrackConfig::Audio(AudioConfig {
            codec: AudioCodec::Aac,
            record: Bytes::from_static(&[0x11, 0x90]),
            codec_string: "mp4a.40.2".into(),
            sample_rate: rate,
            channels: 2,
            frame_samples: 1024,
        }),
    }
}

fn atoms(mut bytes: &[u8]) -> Vec<Any> {
    let mut atoms = Vec::new();
    while !bytes.is_empty() {
        atoms.push(Any::read_from(&mut bytes).unwrap());
    }
    atoms
}

#[test]
fn init_segments_read_back() {
    let init = init_segment(&video(), 2_500_000).unwrap();
    let [Any::Ftyp(ftyp), Any::Moov(moov)] = &atoms(&init)[..] else {
        panic!("{:?}", atoms(&init))
    };
    assert_eq!(ftyp.major_brand.to_string(), "iso6");
    let [trak] = &moov.trak[..] else { panic!() };
    assert_eq!((trak.mdia.mdhd.timescale, trak.tkhd.track_id), (90_000, TRACK_ID));
    assert!(trak.edts.is_none());
    let [mp4_atom::Codec::Avc1(avc1)] = &trak.mdia.minf.stbl.stsd.codecs[..] else {
        panic!()
    };
    assert_eq!((avc1.visual.width, avc1.visual.height), (640, 360));
    assert_eq!(avc1.avcc.avc_level_indication, 0x1e);
    let pasp = avc1.pasp.as_ref().unwrap();
    assert_eq!((pasp.h_spacing, pasp.v_spacing), (4, 3));
    assert_eq!(avc1.btrt.as_ref().unwrap().max_bitrate, 2_500_000);

    let init = init_segment(&audio(), 0).unwrap();
    let [_, Any::Moov(moov)] = &atoms(&init)[..] else {
        panic!()
    };
    let [mp4_atom::Codec::Mp4a(mp4a)] = &moov.trak[0].mdia.minf.stbl.stsd.codecs[..] else {
        panic!()
    };
    assert_eq!(mp4a.audio.channel_count, 2);
    let specific = &mp4a.esds.es_desc.dec_config.dec_specific.as_ref().unwrap();
    assert_eq!(
        (specific.profile, specific.freq_index, specific.chan_conf),
        (2, 3, 2)
    );
}

/// The configuration that a file of FFmpeg's begins with.
fn track_of(file: &[u8]) -> Track {
    use crate::flv::{Demuxer, VideoStream, VideoTag, parse_video};
    let mut demuxer = Demuxer::new(1 << 20);
    let mut input = bytes::BytesMut::from(file);
    let mut track = video();
    while let Some(tag) = demuxer.next(&mut input).unwrap() {
        if let Ok(VideoTag::SequenceHeader { codec, record }) = parse_video(&tag.body) {
            let stream = VideoStream::new(codec, &record).unwrap();
            track.config = TrackConfig::Video(stream.config().clone());
        }
    }
    track
}

#[test]
fn hevc_and_av1_init_segments_read_back() {
    let init = init_segment(&track_of(include_bytes!("../../tests/data/hevc.flv")), 0).unwrap();
    let [_, Any::Moov(moov)] = &atoms(&init)[..] else {
        panic!()
    };
    let [mp4_atom::Codec::Hvc1(hvc1)] = &moov.trak[0].mdia.minf.stbl.stsd.codecs[..] else {
        panic!("{:?}", moov.trak[0].mdia.minf.stbl.stsd.codecs)
    };
    assert_eq!((hvc1.visual.width, hvc1.visual.height), (128, 72));
    assert_eq!(
        (hvc1.hvcc.general_level_idc, hvc1.hvcc.length_size_minus_one),
        (30, 3)
    );
    assert!(hvc1.hvcc.arrays.iter().all(|array| array.completeness));
    assert_eq!(hvc1.hvcc.arrays.len(), 3);

    let init = init_segment(&track_of(include_bytes!("../../tests/data/av1.flv")), 0).unwrap();
    let [Any::Ftyp(ftyp), Any::Moov(moov)] = &atoms(&init)[..] else {
        panic!()
    };
    assert!(
        ftyp.compatible_brands
            .iter()
            .any(|brand| brand.to_string() == "av01")
    );
    let [mp4_atom::Codec::Av01(av01)] = &moov.trak[0].mdia.minf.stbl.stsd.codecs[..] else {
        panic!("{:?}", moov.trak[0].mdia.minf.stbl.stsd.codecs)
    };
    assert_eq!((av01.visual.width, av01.visual.height), (128, 72));
    assert!(av01.av1c.chroma_subsampling_x && !av01.av1c.high_bitdepth);
    assert_eq!(av01.av1c.config_obus.len(), 13);
}

#[test]
fn opus_and_flac_init_segments_read_back() {
    let entry = |config: AudioConfig| {
        let track = Track {
            timescale: config.sample_rate,
            epoch: 0,
            config: TrackConfig::Audio(config),
        };
        let init = init_segment(&track, 0).unwrap();
        let [_, Any::Moov(moov)] = &atoms(&init)[..] else {
            panic!()
        };
        moov.trak[0].mdia.minf.stbl.stsd.codecs[0].clone()
    };
    let head = b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0";
    let mp4_atom::Codec::Opus(opus) = entry(media::opus::parse_head(head, 960).unwrap()) else {
        panic!()
    };
    assert_eq!((opus.dops.output_channel_count, opus.dops.pre_skip), (2, 312));
    assert_eq!(opus.dops.input_sample_rate, 48_000);
    let mut header = b"\x80\0\0\x22\x12\0\x12\0\0\0\x10\0\x20\0\x0b\xb8\x02\xf0".to_vec();
    header.resize(38, 0);
    let mp4_atom::Codec::Flac(flac) = entry(media::flac::parse_header(&header).unwrap()) else {
        panic!()
    };
    assert_eq!(flac.audio.channel_count, 2);
    assert_eq!(flac.dfla.blocks.len(), 1);
}

#[test]
fn what_cannot_be_written_is_refused() {
    let mut track = audio();
    let TrackConfig::Audio(config) = &mut track.config else {
        panic!()
    };
    config.record = Bytes::new();
    assert_eq!(init_segment(&track, 0), Err(InitError::Record { bytes: 0 }));
    let TrackConfig::Audio(config) = &mut track.config else {
        panic!()
    };
    config.codec = AudioCodec::Mp3;
    assert_eq!(
        init_segment(&track, 0),
        Err(InitError::Audio {
            codec: AudioCodec::Mp3
        })
    );
}

#[test]
fn goldens() {
    let samples = [
        (3000, 6000, true, &b"IDR picture"[..]),
        (3000, 0, false, b"B one"),
        (2970, -3000, false, b"B two"),
    ];
    let samples = samples.map(|(duration, composition_offset, is_sync, data)| ChunkSample {
        duration,
        composition_offset,
        is_sync,
        is_disposable: !is_sync,
        data,
    });
    let producer = Some(ProducerReference {
        ntp: 0xe000_0000_8000_0000,
        media_time: 90_000,
    });
    let header = ChunkHeader {
        sequence: 7,
        base_decode_time: 90_000,
        producer,
    };
    let text = format!(
        "# video init\n{}\n# audio init\n{}\n# chunk\n{}",
        dump(&init_segment(&video(), 2_500_000).unwrap()),
        dump(&init_segment(&audio(), 128_000).unwrap()),
        dump(&write_chunk(&header, samples.into_iter())),
    );
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/bmff/golden.txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    assert_eq!(
        text,
        std::fs::read_to_string(path).unwrap_or_default(),
        "UPDATE=1 rewrites it"
    );
}

prop_compose! {
    fn sample()(duration in 1..5000_u32, offset in -9000..9000_i32, sync: bool, disposable: bool, size in 0..300_usize)
        -> (u32, i32, bool, bool, Vec<u8>) {
        (duration, offset, sync, disposable, vec![size as u8; size])
    }
}

proptest! {
    #[test]
    fn chunks_read_back(
        samples in prop::collection::vec(sample(), 1..30), equal: bool, time in 0..u64::MAX / 2, producer: bool,
    ) {
        let samples: Vec<_> = if equal { vec![samples[0].clone(); samples.len()] } else { samples };
        let header = ChunkHeader {
            sequence: 3,
            base_decode_time: time,
            producer: producer.then_some(ProducerReference { ntp: 5, media_time: time }),
        };
        let bytes = write_chunk(&header, samples.iter().map(|(duration, offset, sync, disposable, data)| ChunkSample {
            duration: *duration,
            composition_offset: *offset,
            is_sync: *sync,
            is_disposable: *disposable,
            data,
        }));
        let chunk = read_chunk(&bytes).unwrap();
        prop_assert_eq!((chunk.sequence, chunk.base_decode_time, chunk.samples.len()), (3, time, samples.len()));
        for (read, sample) in chunk.samples.iter().zip(&samples) {
            prop_assert_eq!((read.duration, read.composition_offset, read.size as usize), (sample.0, sample.1, sample.4.len()));
            prop_assert_eq!(read.is_sync(), sample.2);
        }
        let data: Vec<u8> = samples.iter().flat_map(|sample| sample.4.clone()).collect();
        prop_assert_eq!(chunk.data, &data[..]);
        let rest = &bytes[if producer { 32 } else { 0 }..];
        let atoms = atoms(rest);
        let [Any::Moof(moof), Any::Mdat(mdat)] = &atoms[..] else { panic!("{atoms:?}") };
        let traf = &moof.traf[0];
        prop_assert_eq!(traf.tfdt.as_ref().unwrap().base_media_decode_time, time);
        prop_assert_eq!(traf.trun[0].samples.iter().count(), samples.len());
        prop_assert_eq!(&mdat.data[..], &data[..]);
        let entries = traf.trun[0].samples.iter().map(|entry| entry.cts.unwrap_or(0));
        prop_assert!(entries.eq(samples.iter().map(|sample| i64::from(sample.1))));
    }

    #[test]
    fn the_reader_survives_anything(mut bytes in prop::collection::vec(any::<u8>(), 0..200), flips in prop::collection::vec((0..400_usize, any::<u8>()), 0..6)) {
        let _ = (read_chunk(&bytes), dump(&bytes), find(&bytes, "moov/trak/mdia"));
        bytes = write_chunk(
            &ChunkHeader { sequence: 1, base_decode_time: 2, producer: None },
            std::iter::once(ChunkSample { duration: 1, composition_offset: 1, is_sync: true, is_disposable: false, data: b"x" }),
        ).to_vec();
        for (at, value) in flips {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        let _ = (read_chunk(&bytes), dump(&bytes));
    }
}
