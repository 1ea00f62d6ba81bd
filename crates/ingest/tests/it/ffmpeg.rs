//! FFmpeg publishes; what arrives in the hub is what it sent.

use std::process::Stdio;
use std::sync::Arc;

use hub::{Item, Start};
use ingest::{CloseReason, Limits, MediaFault};
use media::{AudioCodec, MediaKind, Sample, Track, TrackConfig};
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::{PATIENCE, Server, WRONG_KEY, wait};

pub(crate) const SECONDS: usize = 4;
pub(crate) const FRAME_RATE: usize = 30;
const GOP: usize = 30;

fn ffmpeg(arguments: &str, url: &str) -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-loglevel", "error", "-nostdin"]);
    command.args(arguments.split_whitespace());
    command
        .args(["-f", "flv", url])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command.kill_on_drop(true);
    command
}

/// Moving picture with B-frames, and a beep.
pub(crate) fn usual() -> String {
    format!(
        "-f lavfi -i testsrc2=size=320x180:rate={FRAME_RATE}:duration={SECONDS} \
         -f lavfi -i sine=frequency=440:sample_rate=48000:duration={SECONDS} \
         -c:v libx264 -preset ultrafast -bf 2 -g {GOP} -keyint_min {GOP} -sc_threshold 0 -pix_fmt yuv420p \
         -c:a aac -b:a 96k"
    )
}

/// What a reader of the source feed saw.
#[derive(Default)]
pub(crate) struct Seen {
    tracks: Vec<Arc<Track>>,
    pub(crate) video: Vec<Arc<Sample>>,
    pub(crate) audio: Vec<Arc<Sample>>,
}

/// Runs FFmpeg to its end and gives what is in the hub then.
pub(crate) async fn run(server: &Server, arguments: &str, channel: &str) -> Seen {
    let url = server.url(&format!("KEY-{channel}"));
    let child = ffmpeg(arguments, &url).spawn().expect("ffmpeg is installed");
    let output = timeout(PATIENCE, child.wait_with_output())
        .await
        .expect("ffmpeg ends")
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    server.wait_closed(CloseReason::Unpublished, 1).await;
    let stream = server.registry.stream(channel).expect("within its grace window");
    let mut reader = stream.source().reader(Start::Oldest);
    let mut seen = Seen::default();
    while let Some(item) = reader.try_next() {
        match item {
            Item::Track(track) => seen.tracks.push(track),
            Item::Sample(MediaKind::Video, sample) => seen.video.push(sample),
            Item::Sample(MediaKind::Audio, sample) => seen.audio.push(sample),
            Item::Skipped { samples } => panic!("{samples} samples skipped"),
            _ => {}
        }
    }
    assert_eq!(
        stream.stats().repairs_total(),
        0,
        "a healthy source needs no repair"
    );
    seen
}

fn assert_monotone(samples: &[Arc<Sample>]) {
    for pair in samples.windows(2) {
        assert!(pair[0].dts < pair[1].dts, "{} then {}", pair[0].dts, pair[1].dts);
    }
}

#[tokio::test]
async fn video_and_audio_arrive_whole() {
    let server = Server::start(Limits::default());
    let seen = run(&server, &usual(), "a").await;
    let TrackConfig::Video(video) = &seen.tracks[0].config else {
        panic!("no video track first")
    };
    assert_eq!((video.width, video.height), (320, 180));
    assert_eq!(
        video
            .frame_rate
            .map(|rate| (rate.numerator.get(), rate.denominator.get())),
        Some((30, 1))
    );
    let TrackConfig::Audio(audio) = &seen.tracks[1].config else {
        panic!("no audio track second")
    };
    assert_eq!((audio.codec, audio.sample_rate.get()), (AudioCodec::Aac, 48_000));
    assert_eq!(seen.video.len(), SECONDS * FRAME_RATE);
    let keys: Vec<usize> = seen
        .video
        .iter()
        .enumerate()
        .filter(|(_, sample)| sample.is_sync)
        .map(|(index, _)| index)
        .collect();
    assert_eq!(keys, (0..SECONDS).map(|second| second * GOP).collect::<Vec<_>>());
    assert_monotone(&seen.video);
    assert_monotone(&seen.audio);
    // 4 s of 1024 samples at 48 kHz, and the encoder's priming.
    assert!((187..=190).contains(&seen.audio.len()), "{}", seen.audio.len());
    // Two of three pictures are B, one of them the reference of the other.
    let disposable = seen.video.iter().filter(|sample| sample.is_disposable).count();
    assert!((35..=45).contains(&disposable), "{disposable}");
    let delay = |sample: &Sample| sample.pts - sample.dts;
    assert!(
        seen.video
            .iter()
            .all(|sample| delay(sample) >= 0 && (!sample.is_disposable || delay(sample) <= 6100))
    );
    assert!(seen.video.iter().any(|sample| delay(sample) > 8900));
    let nal_types = |sample: &Sample| -> Vec<u8> {
        media::h264::nal_units(&sample.data)
            .map(|nal| nal[0] & 31)
            .collect()
    };
    for sample in &seen.video {
        let types = nal_types(sample);
        assert!(types.iter().all(|kind| matches!(kind, 1 | 5 | 6)), "{types:?}");
        assert_eq!(types.contains(&5), sample.is_sync);
    }
    let stats = server.server.stats();
    for fault in MediaFault::ALL {
        assert_eq!(stats.media_faults(fault), 0, "{}", fault.as_str());
    }
}

#[tokio::test]
async fn audio_alone_and_video_alone_arrive() {
    let server = Server::start(Limits::default());
    let sound = "-f lavfi -i sine=sample_rate=44100:duration=1 -c:a aac";
    let seen = run(&server, sound, "a").await;
    assert!(
        seen.video.is_empty() && (43..=46).contains(&seen.audio.len()),
        "{}",
        seen.audio.len()
    );
    let server = Server::start(Limits::default());
    let picture =
        "-f lavfi -i testsrc2=size=64x64:rate=25:duration=1 -c:v libx264 -preset ultrafast -pix_fmt yuv420p";
    let seen = run(&server, picture, "v").await;
    assert!(
        seen.audio.is_empty() && seen.video.len() == 25,
        "{}",
        seen.video.len()
    );
}

#[tokio::test]
async fn mp3_is_taken() {
    let server = Server::start(Limits::default());
    let seen = run(
        &server,
        "-f lavfi -i sine=sample_rate=44100:duration=1 -c:a libmp3lame",
        "m",
    )
    .await;
    let TrackConfig::Audio(audio) = &seen.tracks[0].config else {
        panic!("no audio track")
    };
    assert_eq!((audio.codec, audio.frame_samples), (AudioCodec::Mp3, 1152));
    assert!(seen.audio.len() >= 38, "{}", seen.audio.len());
}

#[tokio::test]
async fn a_wrong_key_is_told_so() {
    let server = Server::start(Limits::default());
    let child = ffmpeg(&usual(), &server.url("NONSENSE"))
        .spawn()
        .expect("ffmpeg is installed");
    let output = timeout(PATIENCE, child.wait_with_output())
        .await
        .expect("ffmpeg ends")
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(WRONG_KEY), "{said}");
    server.wait_closed(CloseReason::WrongKey, 1).await;
}

#[tokio::test]
async fn a_second_publisher_is_told_that_the_channel_is_live() {
    let server = Server::start(Limits::default());
    let (socket, client) = crate::support::publish(&server, "KEY-a").await.unwrap();
    let child = ffmpeg(&usual(), &server.url("KEY-a"))
        .spawn()
        .expect("ffmpeg is installed");
    let output = timeout(PATIENCE, child.wait_with_output())
        .await
        .expect("ffmpeg ends")
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("already live"), "{said}");
    server.wait_closed(CloseReason::AlreadyLive, 1).await;
    drop((socket, client));
    server.wait_closed(CloseReason::ConnectionLost, 1).await;
    wait(
        || server.server.publishers().is_empty(),
        "the first publisher to leave",
    )
    .await;
}

#[tokio::test]
async fn a_codec_that_we_do_not_take_is_named() {
    let server = Server::start(Limits::default());
    let arguments = "-f lavfi -i testsrc2=size=64x64:rate=25:duration=5 -c:v flv1";
    let child = ffmpeg(arguments, &server.url("KEY-a"))
        .spawn()
        .expect("ffmpeg is installed");
    timeout(PATIENCE, child.wait_with_output())
        .await
        .expect("ffmpeg ends")
        .unwrap();
    server.wait_closed(CloseReason::UnsupportedCodec, 1).await;
}
