//! Sources made by FFmpeg, sinks that remember, and waiting for what must happen.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use container::flv::{Demuxer, Muxer, TagKind, VideoStream, VideoTag, parse_video};
use media::ladder::Rung;
use media::{FrameRate, Sample, Track, TrackConfig, VIDEO_TIMESCALE};
use transcode::{
    EncoderSettings, Ffmpeg, LadderEvent, LadderLimits, LadderSpec, RungSink, Transcoder, VideoLadder,
};

pub(crate) const FRAME: i64 = 3000;

pub(crate) struct SourceStream {
    pub(crate) track: Track,
    pub(crate) samples: Vec<Arc<Sample>>,
}

/// `seconds` of 30 fps video. Times are moved off the millisecond grid, to show that they come back exactly.
pub(crate) fn source(size: &str, seconds: u32, gop_frames: u32, b_frames: u32) -> SourceStream {
    source_with(
        size,
        seconds,
        gop_frames,
        b_frames,
        "30",
        &["-pix_fmt", "yuv420p"],
    )
}

pub(crate) fn source_with(
    size: &str,
    seconds: u32,
    gop_frames: u32,
    b_frames: u32,
    rate: &str,
    extra: &[&str],
) -> SourceStream {
    let output = Command::new("ffmpeg")
        .args([
            "-hide_banner",
            "-nostdin",
            "-loglevel",
            "error",
            "-f",
            "lavfi",
            "-i",
        ])
        .arg(format!("testsrc2=s={size}:r={rate}:d={seconds}"))
        .args(["-c:v", "libx264", "-preset", "ultrafast", "-sc_threshold", "0"])
        .args([
            "-g",
            &gop_frames.to_string(),
            "-keyint_min",
            &gop_frames.to_string(),
            "-bf",
            &b_frames.to_string(),
        ])
        .args(extra)
        .args(["-f", "flv", "pipe:1"])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success());
    source_of(&output.stdout)
}

/// The video of an FLV file.
pub(crate) fn source_of(file: &[u8]) -> SourceStream {
    let mut bytes = BytesMut::from(file);
    let mut demuxer = Demuxer::new(1 << 24);
    let mut stream: Option<VideoStream> = None;
    let mut samples = Vec::new();
    while let Some(tag) = demuxer.next(&mut bytes).unwrap() {
        if tag.kind != TagKind::Video {
            continue;
        }
        match parse_video(&tag.body).unwrap() {
            VideoTag::SequenceHeader { codec, record } => {
                stream = Some(VideoStream::new(codec, &record).unwrap());
            }
            VideoTag::Frame {
                composition_time_ms,
                data,
                ..
            } => {
                let sample = stream.as_mut().unwrap().sample(&data);
                let jitter = i64::try_from(samples.len() * 7 % 30).unwrap();
                let dts = tag.timestamp_ms * 90 + jitter;
                samples.push(Arc::new(Sample {
                    dts,
                    pts: dts + i64::from(composition_time_ms) * 90,
                    duration: FRAME as u32,
                    is_sync: sample.is_sync,
                    is_disposable: sample.is_disposable,
                    arrived_us: 0,
                    data: sample.data,
                }));
            }
            _ => {}
        }
    }
    let config = TrackConfig::Video(stream.unwrap().config().clone());
    SourceStream {
        track: Track {
            timescale: VIDEO_TIMESCALE,
            epoch: 0,
            config,
        },
        samples,
    }
}

impl SourceStream {
    /// Indices of frames to force: the first at or after each multiple of `ticks`, in order of presentation.
    pub(crate) fn grid(&self, ticks: i64) -> BTreeSet<i64> {
        let mut times: Vec<i64> = self.samples.iter().map(|sample| sample.pts).collect();
        times.sort_unstable();
        let first = times[0];
        let mut wanted = BTreeSet::new();
        let mut next = first;
        for pts in times {
            if pts >= next {
                wanted.insert(pts);
                next += ticks;
            }
        }
        wanted
    }

    pub(crate) fn times(&self) -> Vec<i64> {
        let mut times: Vec<i64> = self.samples.iter().map(|sample| sample.pts).collect();
        times.sort_unstable();
        times
    }

    pub(crate) fn sync_times(&self) -> BTreeSet<i64> {
        self.samples
            .iter()
            .filter(|sample| sample.is_sync)
            .map(|sample| sample.pts)
            .collect()
    }
}

pub(crate) fn rung(name: &str, width: u32, height: u32, bitrate: u32) -> Rung {
    let frame_rate = rate(30, 1);
    Rung {
        name: name.to_owned(),
        width,
        height,
        bitrate,
        quality: None,
        frame_rate,
        frame_step: 1,
    }
}

pub(crate) fn rate(numerator: u32, denominator: u32) -> Option<FrameRate> {
    Some(FrameRate {
        numerator: NonZeroU32::new(numerator).unwrap(),
        denominator: NonZeroU32::new(denominator).unwrap(),
    })
}

pub(crate) fn two_rungs() -> Vec<Rung> {
    vec![rung("low", 160, 90, 100_000), rung("high", 240, 136, 200_000)]
}

#[derive(Default)]
pub(crate) struct Collected {
    pub(crate) tracks: Vec<Arc<Track>>,
    pub(crate) samples: Vec<Arc<Sample>>,
    /// Numbers of the samples before which something was lost.
    pub(crate) lost: Vec<usize>,
    pub(crate) ended: bool,
}

/// A sink that keeps everything.
#[derive(Clone, Default)]
pub(crate) struct Collector(Arc<(Mutex<Collected>, Condvar)>);

impl Collector {
    /// Waits until `condition` holds; panics with `what` after `timeout`.
    pub(crate) fn wait(&self, what: &str, timeout: Duration, condition: impl Fn(&Collected) -> bool) {
        let (state, changed) = &*self.0;
        let guard = state.lock().unwrap();
        let (guard, result) = changed
            .wait_timeout_while(guard, timeout, |state| !condition(state))
            .unwrap();
        assert!(
            !result.timed_out(),
            "{what}: {} samples, {} tracks, lost {:?}, ended {}",
            guard.samples.len(),
            guard.tracks.len(),
            guard.lost,
            guard.ended
        );
    }

    /// Waits until `condition` holds; false after `timeout`.
    pub(crate) fn waited(&self, timeout: Duration, condition: impl Fn(&Collected) -> bool) -> bool {
        let (state, changed) = &*self.0;
        let guard = state.lock().unwrap();
        !changed
            .wait_timeout_while(guard, timeout, |state| !condition(state))
            .unwrap()
            .1
            .timed_out()
    }

    pub(crate) fn get<T>(&self, read: impl FnOnce(&Collected) -> T) -> T {
        read(&self.0.0.lock().unwrap())
    }

    pub(crate) fn times(&self) -> Vec<i64> {
        self.get(|state| state.samples.iter().map(|sample| sample.pts).collect())
    }

    pub(crate) fn sync_times(&self) -> BTreeSet<i64> {
        self.get(|state| {
            state
                .samples
                .iter()
                .filter(|sample| sample.is_sync)
                .map(|sample| sample.pts)
                .collect()
        })
    }

    /// Decodes everything as one stream: no error may be found and no frame be missing.
    pub(crate) fn assert_decodes(&self) {
        let mut flv = BytesMut::new();
        Muxer.header(&mut flv, false, true);
        self.get(|state| {
            let TrackConfig::Video(config) = &state.tracks[0].config else {
                panic!("audio")
            };
            Muxer.avc_config(&mut flv, 0, &config.record);
            for sample in &state.samples {
                Muxer.avc_sample(
                    &mut flv,
                    sample.dts / 90,
                    sample.pts / 90,
                    sample.is_sync,
                    &sample.data,
                );
            }
        });
        let mut child = Command::new("ffmpeg")
            .args([
                "-hide_banner",
                "-loglevel",
                "error",
                "-f",
                "flv",
                "-i",
                "pipe:0",
                "-fps_mode",
                "passthrough",
            ])
            .args(["-f", "framecrc", "pipe:1"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || std::io::Write::write_all(&mut stdin, &flv));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        let lines = String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter(|line| !line.starts_with('#'))
            .count();
        assert_eq!(lines, self.get(|state| state.samples.len()));
    }

    fn change(&self, change: impl FnOnce(&mut Collected)) {
        change(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
    }
}

impl RungSink for Collector {
    fn set_track(&mut self, track: Arc<Track>) {
        self.change(|state| state.tracks.push(track));
    }

    fn sample(&mut self, sample: Arc<Sample>) {
        self.change(|state| state.samples.push(sample));
    }

    fn lost(&mut self) {
        self.change(|state| state.lost.push(state.samples.len()));
    }

    fn ended(&mut self) {
        self.change(|state| state.ended = true);
    }
}

pub(crate) struct Fixture {
    /// Kept, because the last handle ends the thread.
    _transcoder: Transcoder,
    pub(crate) ladder: VideoLadder,
    pub(crate) sinks: Vec<Collector>,
}

impl Fixture {
    pub(crate) fn new(ffmpeg: Ffmpeg, rungs: Vec<Rung>, limits: LadderLimits) -> Self {
        Self::with_rate(ffmpeg, rungs, limits, rate(30, 1))
    }

    pub(crate) fn with_rate(
        ffmpeg: Ffmpeg,
        rungs: Vec<Rung>,
        limits: LadderLimits,
        frame_rate: Option<FrameRate>,
    ) -> Self {
        let transcoder = Transcoder::start(ffmpeg, EncoderSettings::default()).unwrap();
        let sinks: Vec<Collector> = rungs.iter().map(|_| Collector::default()).collect();
        let boxed = sinks
            .iter()
            .map(|sink| Box::new(sink.clone()) as Box<dyn RungSink>);
        let spec = LadderSpec {
            label: "test".to_owned(),
            frame_rate,
            rungs: rungs.into_iter().zip(boxed).collect(),
            permit: None,
            limits,
        };
        let ladder = transcoder.start_ladder(spec);
        Self::of(transcoder, ladder, sinks)
    }

    pub(crate) fn of(transcoder: Transcoder, ladder: VideoLadder, sinks: Vec<Collector>) -> Self {
        Self {
            _transcoder: transcoder,
            ladder,
            sinks,
        }
    }

    /// Pushes everything at once.
    pub(crate) fn push_all(&self, source: &SourceStream, forced: &BTreeSet<i64>) {
        let input = self.ladder.input();
        input.set_track(&source.track);
        for sample in &source.samples {
            input.push(Arc::clone(sample), forced.contains(&sample.pts));
        }
    }

    /// Pushes at `speed` times real time and calls `at` before each frame.
    pub(crate) fn push_paced(
        &self,
        source: &SourceStream,
        forced: &BTreeSet<i64>,
        speed: u32,
        mut at: impl FnMut(usize),
    ) {
        let input = self.ladder.input();
        input.set_track(&source.track);
        let start = Instant::now();
        for (index, sample) in source.samples.iter().enumerate() {
            let due = start + Duration::from_millis(index as u64 * 1000 / 30) / speed;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            at(index);
            input.push(Arc::clone(sample), forced.contains(&sample.pts));
        }
    }

    pub(crate) fn wait_samples(&self, count: usize) {
        for (index, sink) in self.sinks.iter().enumerate() {
            let is_there = sink.waited(Duration::from_secs(20), |state| state.samples.len() >= count);
            if !is_there {
                let mut events = Vec::new();
                block_on(async {
                    let more = Duration::from_millis(50);
                    while let Ok(Some(event)) = tokio::time::timeout(more, self.ladder.next_event()).await {
                        events.push(event);
                    }
                });
                let have = sink.get(|state| state.samples.len());
                panic!("rung {index} has {have} of {count} samples; {events:#?}");
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.ladder.stats().pid.load(std::sync::atomic::Ordering::Relaxed)
    }

    pub(crate) fn stop(self) {
        block_on(self.ladder.stop());
    }
}

pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(future)
}

/// Waits for the first event that `wanted` takes.
pub(crate) fn wait_event(ladder: &VideoLadder, wanted: impl Fn(&LadderEvent) -> bool) -> LadderEvent {
    block_on(async {
        let search = async {
            loop {
                let event = ladder.next_event().await.expect("the ladder ended");
                if wanted(&event) {
                    return event;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), search)
            .await
            .expect("no such event in 20 s")
    })
}

/// Limits for sources that are pushed at once.
pub(crate) fn burst() -> LadderLimits {
    LadderLimits {
        backlog_time_max: Duration::from_secs(100),
        replay_max: Duration::from_secs(100),
        behind_for: Duration::from_secs(100),
        ..LadderLimits::default()
    }
}

pub(crate) fn real_ffmpeg() -> Ffmpeg {
    Ffmpeg::find(None).unwrap()
}

/// A program that is called instead of FFmpeg.
pub(crate) fn script(name: &str, body: &str) -> (PathBuf, Ffmpeg) {
    use std::os::unix::fs::PermissionsExt;
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tidewire-{}-{name}", std::process::id()));
    // Another test's fork may hold the file open for writing for a moment, and then it cannot be executed: it is
    // written by a process of its own.
    let mut child = Command::new("tee")
        .arg(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), body.as_bytes()).unwrap();
    child.wait().unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let ffmpeg = Ffmpeg::assume(&path);
    (path, ffmpeg)
}

pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.rsplit(") ").next().unwrap().starts_with('Z')
}

pub(crate) fn wait_dead(pid: u32) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while is_alive(pid) {
        assert!(Instant::now() < deadline, "process {pid} lives on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn signal(pid: u32, signal: &str) {
    assert!(
        Command::new("kill")
            .args([&format!("-{signal}"), &pid.to_string()])
            .status()
            .unwrap()
            .success()
    );
}

/// Where there is a file of this name, the script has been here.
pub(crate) fn marker(name: &str) -> PathBuf {
    let path =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tidewire-{}-{name}.marker", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

pub(crate) fn exists(path: &Path) -> bool {
    path.exists()
}
