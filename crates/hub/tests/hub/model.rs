//! Any interleaving of pushes and reads: a reader sees exactly what was pushed, less whole tails.

use std::sync::Arc;

use hub::{Feed, FeedLimits, Item, Start};
use media::MediaKind::{self, Audio, Video};
use media::Sample;
use proptest::prelude::*;

use crate::{audio_track, sample, video_track};

#[derive(Clone, Copy, Debug)]
enum Step {
    Key(usize),
    Picture(usize),
    Sound(usize),
    Track(MediaKind),
    Discontinuity,
    Read(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..400_usize).prop_map(Step::Key),
        12 => (0..200_usize).prop_map(Step::Picture),
        8 => (0..50_usize).prop_map(Step::Sound),
        1 => any::<bool>().prop_map(|video| Step::Track(if video { Video } else { Audio })),
        1 => Just(Step::Discontinuity),
        4 => (0..30_usize).prop_map(Step::Read),
    ]
}

/// All that was pushed, in order.
#[derive(Default)]
struct Log {
    samples: Vec<(MediaKind, Arc<Sample>)>,
    /// For each sample: epoch of its track, discontinuities before it.
    context: Vec<(u32, u32)>,
    epochs: [u32; 2],
    discontinuities: u32,
}

/// Checks one reader's items against the log.
#[derive(Default)]
struct Check {
    /// Index of the sample that must come next, where nothing is lost.
    next: usize,
    epochs: [Option<u32>; 2],
    /// Discontinuities before the newest sample, in the log; and whether one was told since.
    discontinuities: u32,
    has_hole: bool,
    skipped: u64,
    /// Losses said and not yet seen in what came.
    owed: u64,
    /// The next picture must be a keyframe.
    needs_key: bool,
    has_begun: bool,
}

impl Check {
    fn item(&mut self, item: Item, log: &Log) {
        match item {
            Item::Track(track) => self.epochs[track.kind() as usize] = Some(track.epoch),
            Item::Discontinuity => self.has_hole = true,
            Item::Skipped { samples } => {
                self.skipped += samples;
                self.owed += samples;
                self.needs_key = true;
            }
            Item::Sample(kind, got) => self.sample(kind, &got, log),
            Item::End => {}
        }
    }

    fn sample(&mut self, kind: MediaKind, got: &Arc<Sample>, log: &Log) {
        let at = log.samples[self.next..]
            .iter()
            .position(|(_, pushed)| Arc::ptr_eq(pushed, got));
        let at = self.next + at.expect("samples come in order, each once");
        assert_eq!(
            self.epochs[kind as usize],
            Some(log.context[at].0),
            "the track was told"
        );
        if self.has_begun {
            // What is missing is owed, or video on the way to a keyframe that will be said.
            let missing = &log.samples[self.next..at];
            let said = self.owed.min(missing.len() as u64) as usize;
            assert!(
                missing[said..]
                    .iter()
                    .all(|(kind, sample)| *kind == Video && !sample.is_sync)
            );
            // Several holes within a loss are told as one.
            assert_eq!(
                self.has_hole,
                self.discontinuities != log.context[at].1,
                "every hole was told"
            );
        }
        (self.has_hole, self.discontinuities) = (false, log.context[at].1);
        self.owed = 0;
        if kind == Video {
            assert!(!self.needs_key || got.is_sync, "never a random picture");
            self.needs_key = false;
        }
        self.next = at + 1;
    }
}

/// 400 cases; `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig {
        cases: config.cases.max(400),
        failure_persistence: None,
        ..config
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn readers_see_what_was_pushed_less_whole_tails(steps in proptest::collection::vec(step(), 1..400)) {
        let limits = FeedLimits { bytes_max: 4_000, samples_max: 40, span_max_us: 2_000_000, keep_us: 400_000 };
        let feed = Feed::new("source", limits);
        feed.set_track(video_track(0));
        feed.set_track(audio_track(0));
        let mut log = Log::default();
        let mut reader = feed.reader(Start::Oldest);
        // The way in skips pictures up to the first keyframe, which are no loss: begin with one.
        let mut check = Check { needs_key: true, has_begun: true, ..Check::default() };
        let mut millis = 0;
        let first = [Step::Key(1)];
        for step in first.iter().chain(&steps) {
            millis += 20;
            let (kind, size, is_sync) = match *step {
                Step::Key(size) => (Video, size, true),
                Step::Picture(size) => (Video, size, false),
                Step::Sound(size) => (Audio, size, true),
                Step::Track(kind) => {
                    log.epochs[kind as usize] += 1;
                    let epoch = log.epochs[kind as usize];
                    feed.set_track(if kind == Video { video_track(epoch) } else { audio_track(epoch) });
                    continue;
                }
                Step::Discontinuity => {
                    log.discontinuities += 1;
                    feed.discontinuity();
                    continue;
                }
                Step::Read(count) => {
                    for item in std::iter::from_fn(|| reader.try_next()).take(count) {
                        check.item(item, &log);
                    }
                    continue;
                }
            };
            let pushed = sample(kind, millis, is_sync, size);
            log.samples.push((kind, Arc::clone(&pushed)));
            log.context.push((log.epochs[kind as usize], log.discontinuities));
            feed.push(kind, pushed);
            let (bytes, samples) = feed.held();
            prop_assert!(samples <= 40 && (bytes <= 4_000 || samples == 1));
        }
        // A keyframe at the end settles all debts.
        let last = sample(Video, millis + 20, true, 1);
        log.samples.push((Video, Arc::clone(&last)));
        log.context.push((log.epochs[0], log.discontinuities));
        feed.push(Video, last);
        feed.end();
        let mut received = 0;
        while let Some(item) = reader.try_next() {
            if matches!(item, Item::End) {
                break;
            }
            received += 1;
            check.item(item, &log);
        }
        prop_assert!(received > 0);
        prop_assert_eq!(check.next, log.samples.len(), "everything was reached");
        prop_assert_eq!(check.skipped, reader.skipped());
        prop_assert_eq!(check.skipped, feed.skipped());
    }
}
