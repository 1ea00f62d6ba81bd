//! What happens when a child misbehaves.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use media::ladder::{Source, SourceRung, default_profiles};
use transcode::{
    BudgetSettings, CostTable, EncodeBudget, EncoderSettings, Ffmpeg, FfmpegError, LadderEvent, LadderLimits,
    LadderSpec, RestartReason, RungSink, Transcoder,
};

use crate::support::*;

/// `hurt` gets the child's process id in mid-GOP of a 10 s GOP; nothing may be missing afterwards.
fn check_replaced(reason: RestartReason, b_frames: u32, hurt: impl Fn(u32), longest_gap: Duration) {
    let source = source("320x180", 5, 300, b_frames);
    let forced = source.grid(90_000);
    let fixture = Fixture::new(real_ffmpeg(), two_rungs(), LadderLimits::default());
    let mut victim = 0;
    let (mut newest, mut gap) = ((0, Instant::now()), Duration::ZERO);
    fixture.push_paced(&source, &forced, 2, |index| {
        if index == 75 {
            victim = fixture.pid();
            hurt(victim);
        }
        let count = fixture.sinks[0].get(|state| state.samples.len());
        if count != newest.0 {
            gap = gap.max(if newest.0 == 0 {
                Duration::ZERO
            } else {
                newest.1.elapsed()
            });
            newest = (count, Instant::now());
        }
    });
    // A decoder that reorders gives the last frames when its input ends.
    fixture.wait_samples(source.samples.len() - if b_frames > 0 { 4 } else { 0 });
    gap = gap.max(newest.1.elapsed());
    wait_event(
        &fixture.ladder,
        |event| matches!(event, LadderEvent::Restarting { reason: found, .. } if *found == reason),
    );
    wait_event(&fixture.ladder, |event| *event == LadderEvent::Recovered);
    println!("{reason:?}: longest gap {gap:?}");
    assert!(gap < longest_gap, "{gap:?}");
    let (stats, sinks) = (Arc::clone(fixture.ladder.stats()), fixture.sinks.clone());
    fixture.stop();
    assert_eq!((stats.restarts(reason), stats.restarts_total()), (1, 1));
    assert!(!is_alive(victim));
    for sink in &sinks {
        assert_eq!(sink.times(), source.times());
        assert!(sink.sync_times().is_superset(&forced));
        sink.assert_decodes();
        sink.get(|state| {
            assert_eq!((state.tracks.len(), state.lost.len()), (1, 0));
            // The first frame of the new child can be decoded without those of the old one.
            assert!(state.samples.iter().filter(|sample| sample.is_sync).count() > forced.len());
        });
    }
}

#[test]
fn killed_child_is_replaced_and_nothing_is_missing() {
    check_replaced(
        RestartReason::Exited,
        0,
        |pid| signal(pid, "KILL"),
        Duration::from_millis(1500),
    );
}

#[test]
fn killed_child_with_b_frames_is_replaced_and_nothing_is_missing() {
    check_replaced(
        RestartReason::Exited,
        2,
        |pid| signal(pid, "KILL"),
        Duration::from_millis(1500),
    );
}

#[test]
fn stopped_child_is_replaced_and_nothing_is_missing() {
    check_replaced(
        RestartReason::Hung,
        0,
        |pid| signal(pid, "STOP"),
        Duration::from_millis(2500),
    );
}

#[test]
fn garbage_is_noticed_and_the_child_replaced() {
    let seen = marker("garbage-once");
    let body = format!(
        "#!/bin/sh\nif [ ! -e {0} ]; then touch {0}; head -c 100000 /dev/urandom >&3; sleep 60; fi\nexec ffmpeg \"$@\"\n",
        seen.display()
    );
    let (_, ffmpeg) = script("garbage-once", &body);
    let source = source("320x180", 2, 30, 0);
    let fixture = Fixture::new(ffmpeg, two_rungs(), burst());
    fixture.push_all(&source, &BTreeSet::new());
    fixture.wait_samples(60);
    assert!(exists(&seen));
    assert_eq!(fixture.ladder.stats().restarts(RestartReason::Garbage), 1);
    assert!(fixture.sinks.iter().all(|sink| sink.times() == source.times()));
    fixture.stop();
}

#[test]
fn garbage_in_the_middle_of_good_output_is_noticed() {
    let seen = marker("garbage-middle");
    // The first child is cut off after 20 kB and goes on with noise.
    let body = format!(
        "#!/bin/bash\nif [ ! -e {0} ]; then touch {0}; ffmpeg \"$@\" 3> >(head -c 20000 >&3; head -c 50000 /dev/urandom >&3; cat >/dev/null); exit; fi\nexec ffmpeg \"$@\"\n",
        seen.display()
    );
    let (_, ffmpeg) = script("garbage-middle", &body);
    let source = source("320x180", 4, 60, 0);
    let fixture = Fixture::new(ffmpeg, two_rungs(), burst());
    fixture.push_all(&source, &BTreeSet::new());
    fixture.wait_samples(120);
    assert_eq!(fixture.ladder.stats().restarts_total(), 1);
    for sink in &fixture.sinks {
        assert_eq!(sink.times(), source.times());
        sink.get(|state| assert!(state.lost.is_empty()));
    }
    fixture.stop();
}

#[test]
fn a_program_that_never_works_ends_in_passthrough() {
    let (_, ffmpeg) = script("never", "#!/bin/sh\necho '[error] no such luck' >&2\nexit 3\n");
    let limits = LadderLimits {
        backoff_first: Duration::from_millis(10),
        ..burst()
    };
    let source = source("320x180", 1, 30, 0);
    let fixture = Fixture::new(ffmpeg, two_rungs(), limits);
    fixture.push_all(&source, &BTreeSet::new());
    let dropped = wait_event(&fixture.ladder, |event| {
        matches!(event, LadderEvent::RungsDropped { .. })
    });
    let LadderEvent::RungsDropped { rungs, text } = dropped else {
        unreachable!()
    };
    assert_eq!(rungs, ["high"]);
    assert!(
        text.contains("exit code 3") && text.contains("no such luck"),
        "{text}"
    );
    wait_event(&fixture.ladder, |event| {
        matches!(event, LadderEvent::GaveUp { .. })
    });
    assert_eq!(fixture.ladder.rungs(), Vec::<String>::new());
    assert_eq!(fixture.ladder.stats().restarts(RestartReason::Exited), 6);
    assert!(fixture.sinks.iter().all(|sink| sink.get(|state| state.ended)));
    // It goes on taking samples and keeps none.
    fixture.push_all(&source, &BTreeSet::new());
    fixture.stop();
}

#[test]
fn missing_program_is_said_with_what_to_do() {
    let path = Path::new("/nonexistent/ffmpeg");
    let error = Ffmpeg::find(Some(path)).unwrap_err();
    assert!(matches!(error, FfmpegError::NotRunnable { .. }));
    assert!(error.to_string().contains("apt-get install ffmpeg"), "{error}");
    let error = Ffmpeg::find(Some(Path::new("/bin/echo"))).unwrap_err();
    assert!(matches!(error, FfmpegError::NotFfmpeg { .. }), "{error}");
    let limits = LadderLimits {
        backoff_first: Duration::from_millis(10),
        ..burst()
    };
    let fixture = Fixture::new(Ffmpeg::assume(path), two_rungs(), limits);
    fixture.push_all(&source("320x180", 1, 30, 0), &BTreeSet::new());
    let event = wait_event(&fixture.ladder, |event| {
        matches!(event, LadderEvent::GaveUp { .. })
    });
    let LadderEvent::GaveUp { text } = event else {
        unreachable!()
    };
    assert!(text.contains("/nonexistent/ffmpeg"), "{text}");
    fixture.stop();
}

#[test]
fn overflow_drops_whole_tails_and_is_counted() {
    // Takes nothing for three seconds.
    let body = "#!/bin/sh\nsleep 3\nexec ffmpeg \"$@\"\n".to_owned();
    let (_, ffmpeg) = script("overflow", &body);
    let limits = LadderLimits {
        backlog_time_max: Duration::from_millis(500),
        ..burst()
    };
    let source = source("480x272", 10, 30, 0);
    let fixture = Fixture::new(ffmpeg, two_rungs(), limits);
    fixture.push_paced(&source, &BTreeSet::new(), 4, |_| {});
    let stats = fixture.ladder.stats().clone();
    let dropped = stats.frames_dropped.load(Relaxed);
    assert!(dropped >= 30, "{dropped}");
    fixture.wait_samples(1);
    // It runs now. What comes after the hole starts with an IDR.
    let input = fixture.ladder.input();
    for sample in &source.samples[..30] {
        let mut sample = media::Sample::clone(sample);
        sample.dts += 900_000;
        sample.pts += 900_000;
        input.push(sample.into(), false);
    }
    let sent = 330 - usize::try_from(stats.frames_dropped.load(Relaxed)).unwrap();
    fixture.wait_samples(sent);
    for sink in &fixture.sinks {
        sink.get(|state| {
            assert_eq!(state.samples.len(), sent);
            assert!(!state.lost.is_empty());
            for &index in &state.lost {
                assert!(state.samples[index].is_sync, "goes on with a sync sample");
            }
            for (index, pair) in state.samples.windows(2).enumerate() {
                assert!(
                    pair[1].pts - pair[0].pts < 4000 || state.lost.contains(&(index + 1)),
                    "a hole is said"
                );
            }
        });
    }
    fixture.stop();
}

#[test]
fn falling_behind_drops_the_top_rung_and_frees_its_budget() {
    // With two outputs (the third pipe is for progress) the input trickles.
    let body = r#"#!/usr/bin/env python3
import os, subprocess, sys, time
args = ["ffmpeg"] + sys.argv[1:]
if "pipe:5" not in args:
    os.execvp("ffmpeg", args)
child = subprocess.Popen(args, stdin=subprocess.PIPE, pass_fds=(3, 4, 5))
while True:
    data = os.read(0, 2000)
    if not data:
        break
    child.stdin.write(data)
    child.stdin.flush()
    time.sleep(len(data) / RATE)
child.stdin.close()
child.wait()
"#;
    let source = source("320x180", 8, 30, 0);
    let bytes: usize = source.samples.iter().map(|sample| sample.data.len()).sum();
    let (_, ffmpeg) = script("trickle", &body.replace("RATE", &(bytes / 8).to_string()));
    let limits = LadderLimits {
        behind_after: Duration::from_millis(800),
        behind_for: Duration::from_millis(500),
        ..LadderLimits::default()
    };
    let costs = CostTable::guess(64);
    let budget = EncodeBudget::new(BudgetSettings::default(), costs);
    let shape = Source {
        width: 1280,
        height: 720,
        pixel_aspect: (1, 1),
        frame_rate: rate(30, 1),
        bitrate: None,
    };
    let admission = budget.admit(&shape, &default_profiles(), SourceRung::Offered);
    let mut rungs = admission.rungs;
    for (rung, (width, height)) in rungs.iter_mut().zip([(160, 90), (240, 136)]) {
        (rung.width, rung.height) = (width, height);
    }
    let held = budget.used_ppm();
    let transcoder = Transcoder::start(ffmpeg, EncoderSettings::default()).unwrap();
    let sinks: Vec<Collector> = rungs.iter().map(|_| Collector::default()).collect();
    let boxed = sinks
        .iter()
        .map(|sink| Box::new(sink.clone()) as Box<dyn RungSink>);
    let ladder = transcoder.start_ladder(LadderSpec {
        label: "behind".to_owned(),
        frame_rate: rate(30, 1),
        rungs: rungs.into_iter().zip(boxed).collect(),
        permit: Some(admission.permit),
        limits,
    });
    let fixture = Fixture::of(transcoder, ladder, sinks);
    fixture.push_paced(&source, &BTreeSet::new(), 2, |_| {});
    let event = wait_event(&fixture.ladder, |event| {
        matches!(event, LadderEvent::RungsDropped { .. })
    });
    let LadderEvent::RungsDropped { rungs, text } = event else {
        unreachable!()
    };
    assert_eq!(rungs, ["480p"]);
    assert!(text.contains("behind live"), "{text}");
    assert_eq!(fixture.ladder.stats().restarts(RestartReason::FellBehind), 1);
    fixture.sinks[0].wait("the low rung", Duration::from_secs(10), |state| {
        state.samples.len() == 240
    });
    assert!(budget.used_ppm() < held && budget.used_ppm() > 0);
    assert!(fixture.sinks[1].get(|state| state.ended));
    fixture.stop();
    assert_eq!(budget.used_ppm(), 0);
}

#[test]
fn dropping_the_ladder_ends_child_and_grandchild() {
    let pids = marker("family");
    let body = format!(
        "#!/bin/sh\nsleep 300 &\necho $! > {0}.tmp\nmv {0}.tmp {0}\ncat >/dev/null\nwait\n",
        pids.display()
    );
    let (_, ffmpeg) = script("family", &body);
    let limits = LadderLimits {
        stop_step: Duration::from_millis(200),
        ..burst()
    };
    let fixture = Fixture::new(ffmpeg, two_rungs(), limits);
    fixture.push_all(&source("320x180", 1, 30, 0), &BTreeSet::new());
    let deadline = Instant::now() + Duration::from_secs(5);
    while !exists(&pids) {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    }
    let (parent, grandchild) = (
        fixture.pid(),
        std::fs::read_to_string(&pids).unwrap().trim().parse().unwrap(),
    );
    assert!(is_alive(parent) && is_alive(grandchild));
    drop(fixture);
    wait_dead(parent);
    wait_dead(grandchild);
}

/// Not a test by itself: the process that the next test kills.
#[test]
fn victim() {
    if std::env::var_os("TIDEWIRE_TEST_VICTIM").is_none() {
        return;
    }
    // A program that does not care about the end of its input: only the signal ends it.
    let (_, ffmpeg) = script("victim", "#!/bin/sh\nexec sleep 300\n");
    let fixture = Fixture::new(
        ffmpeg,
        two_rungs(),
        LadderLimits {
            first_frame_after: Duration::MAX,
            ..burst()
        },
    );
    fixture.push_all(&source("320x180", 1, 30, 0), &BTreeSet::new());
    while fixture.pid() == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    println!("\nchild {}", fixture.pid());
    std::thread::sleep(Duration::from_secs(30));
}

#[test]
fn children_die_with_a_killed_process() {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "faults::victim", "--nocapture"])
        .env("TIDEWIRE_TEST_VICTIM", "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(process.stdout.take().unwrap()));
    let child = lines
        .map(Result::unwrap)
        .find_map(|line| line.strip_prefix("child ")?.parse().ok())
        .unwrap();
    assert!(is_alive(child));
    process.kill().unwrap();
    process.wait().unwrap();
    wait_dead(child);
}
