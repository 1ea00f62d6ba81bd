use std::sync::Arc;

use hub::{Feed, FeedLimits, Item, Reader, Start};
use media::MediaKind::{Audio, Video};

use crate::{audio_track, block_on, sample, video_track};

/// What a reader has now, in short: `V0` / `A0` track and epoch, `k` keyframe, `p` other picture, `a` audio, each with its
/// time in ms, `-n` skipped, `|` discontinuity, `.` end.
fn drain(reader: &mut Reader) -> String {
    let mut words = Vec::new();
    while let Some(item) = reader.try_next() {
        words.push(match item {
            Item::Track(track) if track.kind() == Video => format!("V{}", track.epoch),
            Item::Track(track) => format!("A{}", track.epoch),
            Item::Sample(Video, sample) if sample.is_sync => format!("k{}", sample.dts / 90),
            Item::Sample(Video, sample) => format!("p{}", sample.dts / 90),
            Item::Sample(Audio, sample) => format!("a{}", sample.dts / 48),
            Item::Skipped { samples } => format!("-{samples}"),
            Item::Discontinuity => "|".to_owned(),
            Item::End => {
                words.push(".".to_owned());
                break;
            }
        });
    }
    words.join(" ")
}

/// Pushes what `words` say, in the same letters.
fn push(feed: &Feed, words: &str) {
    for word in words.split_whitespace() {
        let (letter, number) = word.split_at(1);
        let millis = number.parse().unwrap_or(0);
        match letter {
            "V" => feed.set_track(video_track(number.parse().unwrap())),
            "A" => feed.set_track(audio_track(number.parse().unwrap())),
            "k" => feed.push(Video, sample(Video, millis, true, 100)),
            "p" => feed.push(Video, sample(Video, millis, false, 100)),
            "a" => feed.push(Audio, sample(Audio, millis, true, 10)),
            "|" => feed.discontinuity(),
            _ => feed.end(),
        }
    }
}

fn small(samples_max: usize) -> Arc<Feed> {
    Feed::new(
        "source",
        FeedLimits {
            samples_max,
            ..FeedLimits::default()
        },
    )
}

#[test]
fn where_readers_begin() {
    const PUSHED: &str = "V0 A0 a0 p10 k20 a25 p30 k40 a45 p50";
    let table = [
        (PUSHED, Start::LastSync, "V0 A0 k40 a45 p50", "p60 k70"),
        (
            PUSHED,
            Start::Oldest,
            "V0 A0 a0 k20 a25 p30 k40 a45 p50",
            "p60 k70",
        ),
        (PUSHED, Start::Live, "V0 A0", "k70"),
        ("A0 a0 a20 a40", Start::LastSync, "A0 a40", "p60 k70"),
        ("V0 A0 p0 a5 p10", Start::LastSync, "V0 A0", "k70"),
        // The track that holds at the place, not the newest; no discontinuity from before.
        ("V0 k0 p10 | V1 k20 p30", Start::LastSync, "V1 k20 p30", "p60 k70"),
        (
            "V0 k0 p10 | V1 k20 p30",
            Start::Oldest,
            "V0 k0 p10 | V1 k20 p30",
            "p60 k70",
        ),
        ("", Start::LastSync, "", "k70"),
    ];
    for (pushed, start, first, then) in table {
        let feed = small(100);
        push(&feed, pushed);
        let mut reader = feed.reader(start);
        assert_eq!(drain(&mut reader), first, "{pushed} from {start:?}");
        push(&feed, "p60 k70 .");
        let then = if pushed.starts_with("A0") {
            "p60 k70".replace("p60 ", "")
        } else {
            then.to_owned()
        };
        assert_eq!(drain(&mut reader), format!("{then} ."), "{pushed} from {start:?}");
        assert_eq!(reader.skipped(), 0, "the way in is no loss");
        assert_eq!(drain(&mut reader), ".", "the end repeats");
    }
}

#[test]
fn who_falls_behind_loses_whole_tails() {
    let feed = small(6);
    push(&feed, "V0 A0 k0");
    let mut reader = feed.reader(Start::LastSync);
    assert_eq!(drain(&mut reader), "V0 A0 k0");
    push(&feed, "p10 a15 p20 k30 p40 a45 k50 p60 a65");
    // Six are left: k30 p40 a45 k50 p60 a65. Lost: p10 a15 p20, and k30 p40 a45 up to the newest keyframe.
    assert_eq!(drain(&mut reader), "-6 k50 p60 a65");
    assert_eq!((reader.skipped(), feed.skipped()), (6, 6));
    push(&feed, "p70");
    assert_eq!(drain(&mut reader), "p70");
}

#[test]
fn without_a_keyframe_in_the_ring_video_waits_and_audio_goes_on() {
    let feed = small(4);
    push(&feed, "V0 A0 k0");
    let mut reader = feed.reader(Start::LastSync);
    drain(&mut reader);
    push(&feed, "p10 p20 p30 p40 p50 p60");
    assert_eq!(drain(&mut reader), "-6");
    push(&feed, "p70 a75");
    assert_eq!(drain(&mut reader), "a75");
    push(&feed, "p80 k90 p100");
    assert_eq!(drain(&mut reader), "-2 k90 p100", "p70 and p80 are lost too");
    assert_eq!(reader.skipped(), 8);
}

#[test]
fn what_changed_meanwhile_is_told_after_a_loss() {
    let feed = small(4);
    push(&feed, "V0 A0 k0");
    let mut reader = feed.reader(Start::LastSync);
    drain(&mut reader);
    push(&feed, "p10 | V1 k20 p30 p40 a45 k50 p60");
    assert_eq!(drain(&mut reader), "-5 | V1 k50 p60");
    push(&feed, "| k70 k80 k90 k100 k110");
    assert_eq!(
        drain(&mut reader),
        "-4 | k110",
        "a discontinuity that fell out counts too"
    );
    push(&feed, "A1 a120 a130 a140 a150 a160");
    assert_eq!(
        drain(&mut reader),
        "-5 A1",
        "no keyframe is left, so it goes on with what comes"
    );
    push(&feed, "a170 p170 k180");
    assert_eq!(drain(&mut reader), "a170 -1 k180");
}

#[test]
fn no_sample_is_lost_where_only_announcements_fell_out() {
    let feed = small(4);
    push(&feed, "V0 A0 k0");
    let mut reader = feed.reader(Start::LastSync);
    drain(&mut reader);
    push(&feed, "| V1 A1 V2 p10 a15 p20");
    assert_eq!(drain(&mut reader), "| V1 A1 V2 p10 a15 p20");
    push(&feed, "| V3 A2 p30 a35 p40");
    assert_eq!(
        (drain(&mut reader), reader.skipped()),
        ("| V3 A2 p30 a35 p40".to_owned(), 0)
    );
}

#[test]
fn the_ring_is_bounded_in_every_dimension() {
    let by_bytes = Feed::new(
        "b",
        FeedLimits {
            bytes_max: 1_000,
            ..FeedLimits::default()
        },
    );
    push(&by_bytes, "V0 k0");
    (1..1_000).for_each(|n| by_bytes.push(Video, sample(Video, n * 10, false, 100)));
    assert_eq!(by_bytes.held(), (1_000, 10));
    by_bytes.push(Video, sample(Video, 10_000, true, 5_000));
    assert_eq!(
        by_bytes.held(),
        (5_000, 1),
        "the newest stays, even if it alone is too large"
    );

    let by_count = small(100);
    (0..10_000).for_each(|n| by_count.push(Audio, sample(Audio, n, true, 1)));
    assert_eq!(by_count.held().1, 100);
    (0..10_000).for_each(|n| by_count.set_track(video_track(n)));
    (0..10_000).for_each(|_| by_count.discontinuity());
    assert_eq!(by_count.held().1, 0);

    let by_span = Feed::new("s", FeedLimits::default());
    push(&by_span, "V0 k0");
    (1..2_000).for_each(|n| by_span.push(Video, sample(Video, n * 40, false, 1)));
    assert_eq!(by_span.held().1, 30_000 / 40 + 1, "a GOP without end: 30 s");
}

#[test]
fn the_ring_holds_the_last_gop_and_the_slack() {
    let feed = Feed::new("source", FeedLimits::default());
    push(&feed, "V0 A0");
    for n in 0..500 {
        feed.push(Video, sample(Video, n * 40, n % 250 == 0, 1));
        feed.push(Audio, sample(Audio, n * 40, true, 1));
    }
    // Keyframes at 0 and 10 s, now 19.96 s: back to 10 s.
    assert_eq!(feed.held().1, 500);
    let mut reader = feed.reader(Start::LastSync);
    assert!(drain(&mut reader).starts_with("V0 A0 k10000 a10000 p10040"));
    feed.push(Video, sample(Video, 20_000, true, 1));
    // Now the slack of 2 s counts.
    assert_eq!(feed.held().1, 101);
}

#[test]
fn sleepers_wake_for_samples_and_for_the_end() {
    let feed = small(100);
    push(&feed, "V0");
    let writer = Arc::clone(&feed);
    let mut reader = feed.reader(Start::Live);
    let thread = std::thread::spawn(move || {
        let mut seen = Vec::new();
        loop {
            match block_on(reader.next()) {
                Item::End => return seen,
                Item::Sample(_, sample) => seen.push(sample.dts / 90),
                _ => {}
            }
        }
    });
    push(&writer, "k0 p10");
    push(&writer, "p20 .");
    assert_eq!(thread.join().unwrap(), [0, 10, 20]);
}

#[test]
fn readers_share_the_bytes() {
    let feed = small(10);
    let pushed = sample(Video, 0, true, 1_000);
    feed.push(Video, Arc::clone(&pushed));
    for _ in 0..3 {
        let mut reader = feed.reader(Start::LastSync);
        let Some(Item::Sample(Video, got)) = reader.try_next() else {
            panic!("no sample")
        };
        assert!(Arc::ptr_eq(&got, &pushed));
    }
}
