//! FLV files and the tags in them, through to samples.

use bytes::BytesMut;
use container::flv::{
    AudioTag, AvcStream, Demuxer, TagKind, VideoTag, parse_audio, parse_mp3_config, parse_video,
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

fn video(tag: Result<VideoTag, container::flv::Error>, stream: &mut Option<AvcStream>) -> String {
    match (tag, stream) {
        (Ok(VideoTag::SequenceHeader(record)), stream) => match AvcStream::new(&record) {
            Ok(found) => {
                let text = format!("{:?}", found.config());
                *stream = Some(found);
                text
            }
            Err(error) => error.to_string(),
        },
        (Ok(VideoTag::Nalus { data, .. }), Some(stream)) => {
            let sample = stream.sample(&data);
            // One-byte lengths become four bytes; nothing else grows.
            assert!(sample.data.len() <= 4 * data.len() + 4);
            assert!(!(sample.is_sync && sample.is_disposable));
            let mut total = 0;
            for nal in media::h264::nal_units(&sample.data) {
                assert!(!nal.is_empty());
                total += 4 + nal.len();
            }
            assert_eq!(total, sample.data.len(), "a sample is whole NAL units");
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
        tag => format!("{tag:?}"),
    }
}
