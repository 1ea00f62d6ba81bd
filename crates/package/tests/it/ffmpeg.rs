//! FFmpeg makes a publisher's stream, the packager packages it, FFmpeg plays it from files.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use bytes::BytesMut;
use container::flv::{AudioTag, AvcStream, Demuxer, TagKind, VideoTag, parse_audio, parse_video};
use media::{Sample, Track, TrackConfig, VIDEO_TIMESCALE, aac, rescale};
use package::{Answer, LiveWindow, PackageConfig, Packager, RenditionId, RenditionSpec, Role};

fn run(program: &str, arguments: &[&str]) -> (String, String) {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .expect("ffmpeg and ffprobe are needed for this test");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        text(&output.stderr)
    );
    (text(&output.stdout), text(&output.stderr))
}

/// Twelve seconds with B-frames and sound.
fn publish(directory: &Path) -> PathBuf {
    let path = directory.join("source.flv");
    let target = path.to_str().unwrap();
    let filters = "testsrc2=size=320x180:rate=30:duration=12[out0];sine=frequency=440:sample_rate=48000:duration=12[out1]";
    let video = [
        "-c:v",
        "libx264",
        "-preset",
        "veryfast",
        "-bf",
        "2",
        "-g",
        "60",
        "-sc_threshold",
        "0",
    ];
    let sound = ["-c:a", "aac", "-b:a", "96k", "-ac", "2", "-f", "flv", target];
    let head = ["-v", "error", "-y", "-f", "lavfi", "-i", filters];
    run("ffmpeg", &[&head[..], &video, &sound].concat());
    path
}

struct Channel {
    packager: Packager,
    window: Arc<LiveWindow>,
    source: RenditionId,
    audio: RenditionId,
}

fn channel() -> Channel {
    let window = LiveWindow::new("demo", "s1");
    let mut packager = Packager::new(PackageConfig::default(), Arc::clone(&window));
    packager.set_clock(1_800_000_000_000);
    let spec = |name: &str, role| RenditionSpec {
        name: name.into(),
        role,
        declared_bitrate: None,
    };
    let source = packager.add_rendition(spec("source", Role::Source));
    let audio = packager.add_rendition(spec("audio", Role::Audio));
    Channel {
        packager,
        window,
        source,
        audio,
    }
}

fn track(timescale: NonZeroU32, config: TrackConfig) -> Arc<Track> {
    Arc::new(Track {
        timescale,
        epoch: 0,
        config,
    })
}

fn feed(channel: &mut Channel, path: &Path) -> (usize, usize) {
    let mut input = BytesMut::from(&std::fs::read(path).unwrap()[..]);
    let (mut demuxer, mut avc, mut rate) = (Demuxer::new(1 << 24), None, VIDEO_TIMESCALE);
    let (mut pictures, mut frames) = (0, 0);
    while let Some(tag) = demuxer.next(&mut input).unwrap() {
        let now = 1_000_000 + tag.timestamp_ms.unsigned_abs() * 1000;
        let ticks = |ms: i64, scale| rescale(ms, media::MILLISECONDS, scale).unwrap();
        match tag.kind {
            TagKind::Video => match parse_video(&tag.body).unwrap() {
                VideoTag::SequenceHeader { record, .. } => {
                    let stream = AvcStream::new(&record).unwrap();
                    let config = TrackConfig::Video(stream.config().clone());
                    channel
                        .packager
                        .set_track(channel.source, track(VIDEO_TIMESCALE, config));
                    avc = Some(stream);
                }
                VideoTag::Frame {
                    composition_time_ms,
                    data,
                    ..
                } => {
                    let unit = avc.as_mut().unwrap().sample(&data);
                    let pts = ticks(tag.timestamp_ms + i64::from(composition_time_ms), VIDEO_TIMESCALE);
                    let sample = Sample {
                        dts: ticks(tag.timestamp_ms, VIDEO_TIMESCALE),
                        pts,
                        duration: 3000,
                        is_sync: unit.is_sync,
                        is_disposable: unit.is_disposable,
                        arrived_us: now,
                        data: unit.data,
                    };
                    pictures += 1;
                    channel.packager.push(channel.source, Arc::new(sample), now);
                }
                _ => {}
            },
            TagKind::Audio => match parse_audio(&tag.body).unwrap() {
                AudioTag::AacHeader(record) => {
                    let config = aac::parse_config(&record).unwrap();
                    rate = config.sample_rate;
                    channel
                        .packager
                        .set_track(channel.audio, track(rate, TrackConfig::Audio(config)));
                }
                AudioTag::Aac(data) => {
                    let at = ticks(tag.timestamp_ms, rate);
                    let sample = Sample {
                        dts: at,
                        pts: at,
                        duration: 1024,
                        is_sync: true,
                        is_disposable: false,
                        arrived_us: now,
                        data,
                    };
                    frames += 1;
                    channel.packager.push(channel.audio, Arc::new(sample), now);
                }
                _ => {}
            },
            TagKind::Script => {}
        }
    }
    channel.packager.end(20_000_000);
    (pictures, frames)
}

/// Writes everything where its URL says.
fn write(window: &LiveWindow, directory: &Path) {
    std::fs::write(directory.join("master.m3u8"), &window.master().unwrap().body).unwrap();
    std::fs::write(
        directory.join("manifest.mpd"),
        &window.mpd(1_800_000_020_000).unwrap().body,
    )
    .unwrap();
    for log in window.renditions() {
        let home = directory.join(log.name());
        std::fs::create_dir_all(home.join("s1")).unwrap();
        let Answer::Ready(list) = log.playlist(None, None, false) else {
            panic!("no playlist")
        };
        std::fs::write(home.join("playlist.m3u8"), &list.body).unwrap();
        for epoch in 0..8 {
            if let Some(init) = log.init(epoch) {
                std::fs::write(home.join(format!("s1/init-{epoch}.mp4")), init).unwrap();
            }
        }
        for msn in 0.. {
            let Answer::Ready(body) = log.segment(msn) else {
                break;
            };
            std::fs::write(home.join(format!("s1/seg-{msn}.m4s")), body.parts.concat()).unwrap();
        }
    }
}

#[test]
fn ffmpeg_plays_what_ffmpeg_published() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("played");
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory).unwrap();
    let mut channel = channel();
    let (pictures, frames) = feed(&mut channel, &publish(&directory));
    write(&channel.window, &directory);
    for manifest in ["master.m3u8", "manifest.mpd"] {
        let path = directory.join(manifest);
        let path = path.to_str().unwrap();
        let (_, warnings) = run(
            "ffmpeg",
            &[
                "-v", "warning", "-i", path, "-map", "0:v:0", "-map", "0:a:0", "-f", "null", "-",
            ],
        );
        assert_eq!(warnings, "", "{manifest}");
        let count = |stream: &str| {
            let show = [
                "-v",
                "error",
                "-select_streams",
                stream,
                "-count_packets",
                "-show_entries",
                "stream=nb_read_packets",
            ];
            let (out, _) = run("ffprobe", &[&show[..], &["-of", "csv=p=0", path]].concat());
            out.trim()
                .lines()
                .next()
                .unwrap_or_default()
                .trim_end_matches(',')
                .parse::<usize>()
                .unwrap()
        };
        assert_eq!(count("v:0"), pictures, "{manifest}");
        // Sound from before the first picture belongs to no segment.
        assert!((frames - 4..=frames).contains(&count("a:0")), "{manifest}");
    }
    // Presentation times are those of the source, to the millisecond that FLV has; both tracks start together.
    let times = |name: &str| {
        let path = directory.join(name);
        let show = [
            "-v",
            "error",
            "-select_streams",
            "v:0",
            "-show_entries",
            "packet=pts_time",
            "-of",
            "csv=p=0",
        ];
        let (out, _) = run("ffprobe", &[&show[..], &[path.to_str().unwrap()]].concat());
        let mut ms: Vec<i64> = out
            .lines()
            .map(|line| (line.trim_end_matches(',').parse::<f64>().unwrap() * 1000.0).round() as i64)
            .collect();
        ms.sort_unstable();
        ms
    };
    let (published, played) = (times("source.flv"), times("source/playlist.m3u8"));
    let shift = played[0] - published[0];
    assert!(
        published
            .iter()
            .zip(&played)
            .all(|(a, b)| (a + shift - b).abs() <= 1),
        "{published:?}\n{played:?}"
    );
}
