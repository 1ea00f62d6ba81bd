//! MP3 to AAC.

use std::num::NonZeroU32;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::BytesMut;
use container::flv::{AudioTag, Demuxer, TagKind, parse_audio};
use media::{AudioCodec, AudioConfig, Sample, Track, TrackConfig};
use transcode::{EncoderSettings, LadderLimits, RestartReason, Transcoder};

use crate::support::*;

const FRAME_SAMPLES: i64 = 1152;

/// Two seconds of silence, then a tone, as MP3 frames; the first at `from` samples.
fn mp3(sample_rate: u32, from: i64) -> (Track, Vec<Arc<Sample>>) {
    let sound = format!("aevalsrc=if(lt(t\\,2)\\,0\\,0.5*sin(2*PI*440*t)):s={sample_rate}:d=4");
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "error", "-f", "lavfi", "-i", &sound])
        .args([
            "-c:a",
            "libmp3lame",
            "-b:a",
            "96k",
            "-ac",
            "2",
            "-f",
            "mp3",
            "-write_xing",
            "0",
            "pipe:1",
        ])
        .output()
        .unwrap();
    let mut bytes = BytesMut::new();
    // FLV knows no 48 kHz, so the frames are cut here: constant bit rate, layer III of MPEG-1.
    let stream = output.stdout;
    let mut at = stream
        .windows(2)
        .position(|head| head[0] == 0xff && head[1] & 0xfe == 0xfa)
        .unwrap();
    container::flv::Muxer.header(&mut bytes, true, false);
    while at + 4 < stream.len() {
        let padding = usize::from(stream[at + 2] >> 1 & 1);
        let length = 144 * 96_000 / sample_rate as usize + padding;
        if at + length > stream.len() {
            break;
        }
        container::flv::Muxer.mp3_sample(&mut bytes, 0, &stream[at..at + length]);
        at += length;
    }
    let mut demuxer = Demuxer::new(1 << 20);
    let mut samples = Vec::new();
    while let Some(tag) = demuxer.next(&mut bytes).unwrap() {
        assert_eq!(tag.kind, TagKind::Audio);
        let AudioTag::Mp3(data) = parse_audio(&tag.body).unwrap() else {
            panic!("not MP3")
        };
        let pts = from + samples.len() as i64 * FRAME_SAMPLES;
        samples.push(Arc::new(Sample {
            dts: pts,
            pts,
            duration: FRAME_SAMPLES as u32,
            is_sync: true,
            is_disposable: false,
            arrived_us: 0,
            data,
        }));
    }
    let sample_rate = NonZeroU32::new(sample_rate).unwrap();
    let config = AudioConfig {
        codec: AudioCodec::Mp3,
        record: bytes::Bytes::new(),
        codec_string: "mp3".to_owned(),
        sample_rate,
        channels: 2,
        frame_samples: FRAME_SAMPLES as u32,
    };
    (
        Track {
            timescale: sample_rate,
            epoch: 0,
            config: TrackConfig::Audio(config),
        },
        samples,
    )
}

fn check(sample_rate: u32, kill: bool) {
    let from = 12_345;
    let (track, samples) = mp3(sample_rate, from);
    let transcoder = Transcoder::start(real_ffmpeg(), EncoderSettings::default()).unwrap();
    let sink = Collector::default();
    let limits = LadderLimits {
        backlog_time_max: Duration::from_secs(60),
        ..LadderLimits::default()
    };
    let audio = transcoder.start_audio("test".to_owned(), Box::new(sink.clone()), limits);
    let input = audio.input();
    input.set_track(&track);
    let half = samples.len() / 2;
    for sample in &samples[..half] {
        input.push(Arc::clone(sample));
    }
    sink.wait("the first half", Duration::from_secs(10), |state| {
        state.samples.len() > half * 9 / 8 - 10
    });
    if kill {
        signal(audio.stats().pid.load(Relaxed), "KILL");
    }
    for sample in &samples[half..] {
        input.push(Arc::clone(sample));
    }
    let expected = samples.len() * 9 / 8;
    sink.wait("all", Duration::from_secs(10), |state| {
        state.samples.len() > expected - 10
    });
    let stats = Arc::clone(audio.stats());
    block_on(audio.stop());
    assert_eq!(stats.restarts(RestartReason::Exited), u64::from(kill));
    sink.get(|state| {
        assert!(state.ended && state.lost.is_empty());
        assert_eq!(state.tracks.len(), 1);
        let TrackConfig::Audio(config) = &state.tracks[0].config else {
            panic!("video")
        };
        assert_eq!(
            (config.codec, config.sample_rate.get(), config.channels),
            (AudioCodec::Aac, sample_rate, 2)
        );
        assert_eq!(state.samples[0].pts, from);
        for (index, sample) in state.samples.iter().enumerate() {
            assert_eq!(sample.pts, from + index as i64 * 1024, "one exact grid");
        }
        assert!(
            (expected - 3..=expected + 3).contains(&state.samples.len()),
            "{}",
            state.samples.len()
        );
        // Frames of silence take a few bytes.
        let loud = state
            .samples
            .iter()
            .find(|sample| sample.data.len() > 100)
            .unwrap()
            .pts
            - from;
        let at_ms = loud * 1000 / i64::from(sample_rate);
        assert!(
            (1930..=2070).contains(&at_ms),
            "the tone begins at 2000 ms, found at {at_ms} ms"
        );
    });
}

#[test]
fn mp3_becomes_aac_on_an_exact_grid() {
    check(44_100, false);
}

#[test]
fn mp3_of_48_khz_becomes_aac() {
    check(48_000, false);
}

#[test]
fn killed_audio_child_is_replaced_on_the_same_grid() {
    check(44_100, true);
}
