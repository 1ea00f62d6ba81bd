//! FLV files and the tags in them, through to samples.

use bytes::BytesMut;
use container::flv::{
    AudioTag, Demuxer, TagKind, VideoStream, VideoTag, parse_audio, parse_mp3_config, parse_video,
};

const TAG_BYTES_MAX: usize = 1 << 20;

/// Reads the bytes as a file, in two cuts that must give the same.
pub fn flv_tags(data: &[u8]) {
    let whole = read(data, data.len().max(1));
    let step = 1 + data.first().map_or(0, |byte| usize::from(*byte));
    assert_eq!(whole, read(data, step));
}

/// A line for each tag, and how it ended.
fn read(data: &[u8], step: usize) -> Vec<String> {
    let mut demuxer = Demuxer::new(TAG_BYTES_MAX);
    let mut input = BytesMut::new();
    let mut stream = None;
    let mut lines = Vec::new();
    for piece in data.chunks(step) {
        input.extend_from_slice(piece);
        assert!(demuxer.missing(&input) <= TAG_BYTES_MAX + 15);
        loop {
            match demuxer.next(&mut input) {
                Ok(None) => break,
                Err(error) => {
                    lines.push(error.to_string());
                    return lines;
                }
                Ok(Some(tag)) => {
                    let what = match tag.kind {
                        TagKind::Video => video(parse_video(&tag.body), &mut stream),
                        TagKind::Audio => audio(parse_audio(&tag.body)),
                        TagKind::Script => String::new(),
                    };
                    lines.push(format!(
                        "{:?} {} {} {what}",
                        tag.kind,
                        tag.timestamp_ms,
                        tag.body.len()
                    ));
                }
            }
        }
    }
    lines
}

fn video(tag: Result<VideoTag, container::flv::Error>, stream: &mut Option<VideoStream>) -> String {
    match (tag, stream) {
        (Ok(VideoTag::Tracks(tracks)), stream) => tracks
            .map(|track| match track {
                Ok((track, tag)) => format!("{track}: {}", video(Ok(tag), stream)),
                Err(error) => error.to_string(),
            })
            .collect(),
        (Ok(VideoTag::SequenceHeader { codec, record }), stream) => match VideoStream::new(codec, &record) {
            Ok(found) => {
                let text = format!("{:?}", found.config());
                *stream = Some(found);
                text
            }
            Err(error) => error.to_string(),
        },
        (Ok(VideoTag::Frame { data, .. }), Some(stream)) => {
            let sample = stream.sample(&data);
            // One-byte lengths become four bytes, AV1 key frames get a sequence header; nothing else grows.
            assert!(sample.data.len() <= 4 * data.len() + 4 + media::av1::SEQUENCE_HEADER_BYTES_MAX + 3);
            assert!(!(sample.is_sync && sample.is_disposable));
            if stream.codec() != media::VideoCodec::Av1 {
                let mut total = 0;
                for nal in media::h264::nal_units(&sample.data) {
                    assert!(!nal.is_empty());
                    total += 4 + nal.len();
                }
                assert_eq!(total, sample.data.len(), "a sample is whole NAL units");
            }
            format!(
                "{} {} {}",
                sample.data.len(),
                sample.is_sync,
                sample.new_config.is_some()
            )
        }
        (tag, _) => format!("{tag:?}"),
    }
}

fn audio(tag: Result<AudioTag, container::flv::Error>) -> String {
    match tag {
        Ok(AudioTag::AacHeader(record)) => format!("{:?}", media::aac::parse_config(&record)),
        Ok(AudioTag::Mp3(frame)) => format!("{:?}", parse_mp3_config(&frame)),
        Ok(AudioTag::OpusHeader(head)) => format!("{:?}", media::opus::parse_head(&head, 960)),
        Ok(AudioTag::Opus(packet)) => format!("{:?}", media::opus::packet_samples(&packet)),
        Ok(AudioTag::FlacHeader(header)) => format!("{:?}", media::flac::parse_header(&header)),
        Ok(AudioTag::Tracks(tracks)) => tracks.map(|track| audio(track.map(|(_, tag)| tag))).collect(),
        tag => format!("{tag:?}"),
    }
}
