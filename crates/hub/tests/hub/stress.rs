use std::sync::Arc;

use hub::{Feed, FeedLimits, Item, Start};
use media::MediaKind::{Audio, Video};

use crate::{audio_track, block_on, sample, video_track};

/// One writer as fast as it can, eight readers, half of them slow: each sees a strictly growing sequence, every sample is
/// received or counted as skipped, pictures after a loss begin with a keyframe, and all of them see the end.
#[test]
fn one_writer_and_many_readers() {
    const SAMPLES: i64 = 40_000;
    let limits = FeedLimits {
        samples_max: 500,
        ..FeedLimits::default()
    };
    let feed = Feed::new("source", limits);
    feed.set_track(video_track(0));
    feed.set_track(audio_track(0));
    let readers: Vec<_> = (0..8)
        .map(|number: u64| {
            let mut reader = feed.reader(Start::Oldest);
            std::thread::spawn(move || {
                let (mut received, mut skipped, mut last, mut needs_key) = (0_u64, 0_u64, -1, true);
                loop {
                    match block_on(reader.next()) {
                        Item::Sample(kind, sample) => {
                            let number = if kind == Video {
                                sample.dts / 90
                            } else {
                                sample.dts / 48
                            };
                            assert!(number > last, "{number} after {last}");
                            last = number;
                            received += 1;
                            if kind == Video {
                                assert!(!needs_key || sample.is_sync);
                                needs_key = false;
                            }
                        }
                        Item::Skipped { samples } => {
                            skipped += samples;
                            needs_key = true;
                        }
                        Item::End => break,
                        Item::Track(_) | Item::Discontinuity => {}
                    }
                    if number % 2 == 1 && received.is_multiple_of(64) {
                        std::thread::yield_now();
                    }
                }
                assert_eq!(skipped, reader.skipped());
                (received, skipped)
            })
        })
        .collect();
    let writer = Arc::clone(&feed);
    for number in 0..SAMPLES {
        // The last one is a keyframe, so that no reader ends with pictures withheld.
        let is_key = number % 50 == 0 || number == SAMPLES - 1;
        let kind = if is_key || number % 3 > 0 { Video } else { Audio };
        writer.push(kind, sample(kind, number, is_key, 10));
    }
    writer.end();
    let mut total_skipped = 0;
    for reader in readers {
        let (received, skipped) = reader.join().unwrap();
        assert_eq!(received + skipped, SAMPLES as u64);
        total_skipped += skipped;
    }
    assert_eq!(total_skipped, feed.skipped());
}
