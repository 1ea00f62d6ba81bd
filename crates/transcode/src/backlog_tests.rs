use std::num::NonZeroU32;

use bytes::Bytes;
use media::{TrackConfig, VIDEO_TIMESCALE, VideoCodec, VideoConfig};

use super::*;

const FRAME: i64 = 3000;

fn track(name: u8) -> Track {
    let config = VideoConfig {
        codec: VideoCodec::H264,
        record: Bytes::copy_from_slice(&[name]),
        codec_string: String::new(),
        width: 320,
        height: 180,
        pixel_aspect: (1, 1),
        frame_rate: None,
    };
    Track {
        timescale: VIDEO_TIMESCALE,
        epoch: 0,
        config: TrackConfig::Video(config),
    }
}

fn frame(dts: i64, pts: i64, is_sync: bool) -> Arc<Sample> {
    let data = Bytes::from_static(&[0; 1000]);
    Arc::new(Sample {
        dts,
        pts,
        duration: 3000,
        is_sync,
        is_disposable: false,
        arrived_us: 0,
        data,
    })
}

struct Rig {
    backlog: Backlog,
    now: Instant,
    number: i64,
}

impl Rig {
    fn new(limits: LadderLimits) -> Self {
        let mut backlog = Backlog::new(limits);
        backlog.set_track(&track(1));
        Self {
            backlog,
            now: Instant::now(),
            number: 0,
        }
    }

    /// `count` frames at 30 a second, an IDR each `gop`, boundaries each `grid`.
    fn push(&mut self, count: i64, gop: i64, grid: i64) {
        for _ in 0..count {
            let n = self.number;
            self.backlog
                .push(frame(n * FRAME, n * FRAME, n % gop == 0), n % grid == 0, self.now);
            self.number += 1;
        }
    }

    fn take(&mut self, count: usize) -> Vec<(i64, bool)> {
        let now = self.now;
        (0..count)
            .map_while(|_| self.backlog.take(now))
            .map(|work| (work.sample.pts / FRAME, work.forced))
            .collect()
    }

    fn start(&mut self, delivered: &[Option<i64>]) -> Option<Start> {
        let positions: Vec<Position> = delivered
            .iter()
            .map(|&frame| Position {
                delivered: frame.map(|frame| frame * FRAME),
                distance: 1,
            })
            .collect();
        self.backlog.start(&positions)
    }
}

fn gates(start: &Start) -> Vec<(i64, bool)> {
    start
        .gates
        .iter()
        .map(|gate| (gate.pts / FRAME, gate.lost))
        .collect()
}

#[test]
fn nothing_begins_before_a_sync_sample() {
    let mut rig = Rig::new(LadderLimits::default());
    assert_eq!(rig.start(&[None]), None);
    assert_eq!(
        rig.backlog.push(frame(0, 0, false), true, rig.now),
        Pushed::Dropped
    );
    assert_eq!(rig.start(&[None]), None);
    rig.number = 60;
    rig.push(3, 60, 60);
    let start = rig.start(&[None, None]).unwrap();
    assert_eq!(
        (start.select_from_ms, gates(&start)),
        (None, vec![(60, false), (60, false)])
    );
    assert_eq!(rig.take(9), [(60, false), (61, false), (62, false)]);
    assert_eq!(rig.backlog.dropped(), 1);
}

#[test]
fn forced_points_and_times() {
    let mut rig = Rig::new(LadderLimits::default());
    rig.push(130, 300, 60);
    rig.start(&[None]).unwrap();
    let now = rig.now;
    let works: Vec<Work> = std::iter::from_fn(|| rig.backlog.take(now)).collect();
    let forced: Vec<i64> = works
        .iter()
        .filter(|work| work.forced)
        .map(|work| work.sample.pts / FRAME)
        .collect();
    assert_eq!(forced, [60, 120]);
    assert_eq!(works.iter().filter(|work| work.track.is_some()).count(), 1);
    assert_eq!(
        (works[0].pts_ms, works[1].pts_ms, works[2].pts_ms),
        (10_000, 10_033, 10_067)
    );
    for work in &works {
        assert_eq!(rig.backlog.sent(work.pts_ms).unwrap().1.pts, work.sample.pts);
    }
    assert!(rig.backlog.sent(9_000).is_none());
}

#[test]
fn frames_of_the_same_millisecond_get_their_own() {
    let mut rig = Rig::new(LadderLimits::default());
    for tick in 0..5 {
        rig.backlog.push(frame(tick, tick, tick == 0), false, rig.now);
    }
    rig.start(&[None]).unwrap();
    let now = rig.now;
    let times: Vec<i64> = std::iter::from_fn(|| rig.backlog.take(now))
        .map(|work| work.pts_ms)
        .collect();
    assert_eq!(times, [10_000, 10_001, 10_002, 10_003, 10_004]);
    assert_eq!(rig.backlog.sent(10_003).unwrap().1.pts, 3);
}

#[test]
fn restart_begins_at_the_idr_before_the_first_missing_frame() {
    let mut rig = Rig::new(LadderLimits::default());
    rig.push(100, 60, 60);
    rig.start(&[None, None]).unwrap();
    rig.take(100);
    rig.backlog.detach();
    let start = rig.start(&[Some(70), Some(72)]).unwrap();
    assert_eq!(gates(&start), [(71, false), (73, false)]);
    // 60 is the first frame of the new child, at 10 s of its timeline.
    assert_eq!(start.select_from_ms, Some(10_367));
    let works = rig.take(100);
    assert_eq!((works[0], works.len()), ((60, false), 40));
    let forced: Vec<i64> = works.iter().filter(|work| work.1).map(|work| work.0).collect();
    assert_eq!(forced, [71, 73], "each rung goes on with an IDR of its own");
}

#[test]
fn restart_with_nothing_missing_waits_for_the_next_frame() {
    let mut rig = Rig::new(LadderLimits::default());
    rig.push(10, 60, 60);
    rig.start(&[None]).unwrap();
    rig.take(10);
    rig.backlog.detach();
    assert_eq!(rig.start(&[Some(9)]), None);
    rig.push(1, 60, 60);
    assert_eq!(gates(&rig.start(&[Some(9)]).unwrap()), [(10, false)]);
}

#[test]
fn an_output_that_has_everything_goes_on_with_what_comes() {
    let mut rig = Rig::new(LadderLimits::default());
    rig.push(10, 60, 60);
    rig.start(&[None, None]).unwrap();
    rig.take(10);
    rig.backlog.detach();
    let start = rig.start(&[Some(3), Some(9)]).unwrap();
    assert_eq!(
        start.gates[0],
        Gate {
            pts: 4 * FRAME,
            lost: false
        }
    );
    assert_eq!(
        start.gates[1],
        Gate {
            pts: 9 * FRAME + 1,
            lost: false
        }
    );
    rig.push(2, 60, 60);
    let forced: Vec<i64> = rig
        .take(99)
        .iter()
        .filter(|work| work.1)
        .map(|work| work.0)
        .collect();
    assert_eq!(forced, [4, 10]);
}

#[test]
fn restart_far_behind_goes_on_at_the_newest_boundary() {
    let mut rig = Rig::new(LadderLimits::default());
    rig.push(290, 300, 60);
    rig.start(&[None]).unwrap();
    rig.take(290);
    rig.backlog.detach();
    let start = rig.start(&[Some(20)]).unwrap();
    assert_eq!(gates(&start), [(240, true)]);
    assert_eq!(start.select_from_ms, Some(10_000 + 8_000));
}

#[test]
fn without_the_idr_it_goes_on_at_the_next_one() {
    let limits = LadderLimits {
        backlog_bytes_max: 100_000,
        ..LadderLimits::default()
    };
    let mut rig = Rig::new(limits);
    rig.push(10, 300, 60);
    rig.start(&[None]).unwrap();
    for _ in 0..15 {
        rig.push(10, 300, 60);
        rig.take(20);
    }
    assert!(rig.backlog.bytes <= 100_000);
    rig.backlog.detach();
    assert_eq!(rig.start(&[Some(120)]), None, "the IDR was let go");
    rig.push(6, 165, 60);
    assert_eq!(gates(&rig.start(&[Some(120)]).unwrap()), [(165, true)]);
}

#[test]
fn gop_is_let_go_when_the_next_idr_is_back() {
    let mut rig = Rig::new(LadderLimits::default());
    rig.push(70, 30, 30);
    rig.start(&[None]).unwrap();
    rig.take(70);
    rig.backlog.forget(29 * FRAME, 10_967, false);
    assert_eq!(rig.backlog.entries.len(), 70);
    rig.backlog.forget(30 * FRAME, 11_000, true);
    assert_eq!(rig.backlog.entries.len(), 40);
    assert_eq!(rig.backlog.in_flight.len(), 39);
    rig.backlog.forget(69 * FRAME, 12_300, true);
    assert_eq!(
        rig.backlog.entries.len(),
        10,
        "the newest GOP stays for a restart"
    );
}

#[test]
fn overflow_drops_the_tail_up_to_the_next_idr() {
    let limits = LadderLimits {
        backlog_time_max: Duration::from_secs(1),
        ..LadderLimits::default()
    };
    let mut rig = Rig::new(limits);
    rig.push(1, 60, 60);
    rig.start(&[None]).unwrap();
    rig.take(1);
    rig.push(58, 60, 60);
    assert_eq!(rig.backlog.dropped(), 0, "a burst is no overflow");
    rig.now += Duration::from_millis(1001);
    rig.push(1, 60, 60);
    assert_eq!(rig.backlog.waiting(), 0);
    assert_eq!(rig.backlog.dropped(), 59);
    rig.push(5, 60, 60);
    assert_eq!(
        rig.take(9),
        [(60, false), (61, false), (62, false), (63, false), (64, false)]
    );
    assert!(
        rig.backlog
            .in_flight
            .values()
            .any(|frame| frame.hole && frame.pts == 60 * FRAME)
    );
}

#[test]
fn without_a_child_the_newest_gops_are_kept() {
    let limits = LadderLimits {
        backlog_time_max: Duration::from_secs(3),
        ..LadderLimits::default()
    };
    let mut rig = Rig::new(limits);
    rig.push(300, 30, 30);
    assert!(rig.backlog.entries.len() <= 91, "{}", rig.backlog.entries.len());
    assert!(rig.backlog.entries[0].sample.is_sync && rig.backlog.entries[0].hole);
    let start = rig.start(&[Some(20)]).unwrap();
    assert_eq!(gates(&start), [(210, false)]);
    assert_eq!(rig.take(1), [(210, false)]);
    assert!(
        rig.backlog.sent(10_000).unwrap().1.hole,
        "the frame itself says what is missing before it"
    );
}

#[test]
fn time_going_back_starts_anew() {
    let mut rig = Rig::new(LadderLimits::default());
    rig.push(40, 30, 30);
    rig.start(&[None]).unwrap();
    rig.take(40);
    assert_eq!(
        rig.backlog.push(frame(0, 0, false), false, rig.now),
        Pushed::Backwards
    );
    assert_eq!(
        rig.backlog.push(frame(3000, 3000, true), false, rig.now),
        Pushed::Queued
    );
    rig.backlog.detach();
    assert_eq!(gates(&rig.start(&[None]).unwrap()), [(1, false)]);
}

#[test]
fn change_of_configuration_is_told_with_its_first_frame() {
    let mut rig = Rig::new(LadderLimits::default());
    rig.push(2, 60, 60);
    rig.start(&[None]).unwrap();
    rig.backlog.set_track(&track(1));
    rig.push(1, 60, 60);
    rig.backlog.set_track(&track(2));
    assert_eq!(
        rig.backlog.push(frame(9000, 9000, false), false, rig.now),
        Pushed::Dropped
    );
    assert_eq!(
        rig.backlog.push(frame(12_000, 12_000, true), false, rig.now),
        Pushed::Queued
    );
    let now = rig.now;
    let told: Vec<bool> = std::iter::from_fn(|| rig.backlog.take(now))
        .map(|work| work.track.is_some())
        .collect();
    assert_eq!(told, [true, false, false, true]);
}

#[test]
fn overdue_needs_frames_behind_it() {
    let mut rig = Rig::new(LadderLimits::default());
    rig.push(4, 60, 60);
    rig.start(&[None]).unwrap();
    rig.take(2);
    let first = rig.now;
    rig.now += Duration::from_secs(1);
    rig.push(1, 60, 60);
    assert_eq!(rig.backlog.overdue_since(9_999, 1), Some(first));
    assert_eq!(
        rig.backlog.overdue_since(9_999, 3),
        Some(first),
        "one that waits counts"
    );
    assert_eq!(rig.backlog.overdue_since(9_999, 4), Some(rig.now));
    assert_eq!(rig.backlog.overdue_since(9_999, 5), None);
    assert_eq!(rig.backlog.overdue_since(10_033, 1), None, "all are back");
}

/// Any order of operations keeps the books right and gives out only what can be decoded.
#[test]
fn books_balance_under_any_sequence() {
    let limits = LadderLimits {
        backlog_bytes_max: 60_000,
        backlog_time_max: Duration::from_millis(700),
        replay_max: Duration::from_millis(500),
        ..LadderLimits::default()
    };
    for seed in 1_u64..400 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut random = move |bound: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % bound
        };
        let mut rig = Rig::new(limits);
        let (mut delivered, mut needs_sync, mut has_child) = (None, true, false);
        for _ in 0..200 {
            match random(10) {
                0..5 => {
                    let gop = 1 + random(40) as i64;
                    rig.push(1 + random(8) as i64, gop, 10);
                }
                5..8 if has_child => {
                    for (pts, _) in rig.take(random(12) as usize) {
                        let entry = rig
                            .backlog
                            .in_flight
                            .values()
                            .find(|frame| frame.pts == pts * FRAME)
                            .unwrap();
                        let mut entries = rig.backlog.entries.iter();
                        let is_sync =
                            entries.any(|other| other.sample.pts == pts * FRAME && other.sample.is_sync);
                        assert!(!needs_sync || is_sync, "seed {seed}: begins with a sync sample");
                        assert!(
                            !entry.hole || is_sync,
                            "seed {seed}: after a hole comes a sync sample"
                        );
                        needs_sync = false;
                        delivered = delivered.max(Some(pts));
                    }
                }
                8 => {
                    rig.backlog.detach();
                    needs_sync = true;
                    has_child = rig.start(&[delivered]).is_some();
                }
                _ => {
                    if let Some(pts) = delivered {
                        rig.backlog
                            .forget(pts * FRAME, rig.backlog.millis(pts * FRAME), true);
                    }
                }
            }
            let backlog = &rig.backlog;
            let bytes: usize = backlog.entries.iter().map(|entry| entry.sample.data.len()).sum();
            let waiting: usize = backlog
                .entries
                .iter()
                .skip(backlog.next)
                .map(|entry| entry.sample.data.len())
                .sum();
            assert_eq!(
                (backlog.bytes, backlog.waiting_bytes),
                (bytes, waiting),
                "seed {seed}"
            );
            assert!(
                backlog.bytes <= limits.backlog_bytes_max + 1000,
                "seed {seed}: {}",
                backlog.bytes
            );
            assert!(backlog.next <= backlog.entries.len());
        }
    }
}

#[test]
fn timescales_other_than_90_khz() {
    let mut backlog = Backlog::new(LadderLimits::default());
    backlog.set_track(&Track {
        timescale: NonZeroU32::new(44_100).unwrap(),
        ..track(1)
    });
    for number in 0..100 {
        backlog.push(frame(number * 1152, number * 1152, true), false, Instant::now());
    }
    backlog
        .start(&[Position {
            delivered: None,
            distance: 1,
        }])
        .unwrap();
    assert_eq!(backlog.take(Instant::now()).unwrap().pts_ms, 10_000);
    assert_eq!(backlog.take(Instant::now()).unwrap().pts_ms, 10_026);
    assert_eq!(backlog.ticks(10_026), Some(1147));
    assert_eq!(backlog.lag(Some(0)), Duration::from_millis(2586));
}
