//! Sustained trouble of a publisher, said in plain sentences.

use media::Micros;

use crate::{Repair, Severity, Stream};

/// Repairs are judged in windows of this length.
const WINDOW_US: u64 = 10_000_000;
/// Jumps, stray values and the like in one window that are worth a sentence.
const VIDEO_REPAIRS_MIN: u32 = 10;
const AUDIO_REPAIRS_MIN: u32 = 5;
const JUMPS_MIN: u32 = 2;
/// Pictures without a keyframe before it is said.
const KEYFRAME_WAIT_MIN: u32 = 60;
/// How late media may be against the wall clock.
const LAG_MAX_US: i64 = 3_000_000;

const VIDEO: &[Repair] = &[
    Repair::DuplicateDts,
    Repair::NonMonotonicDts,
    Repair::PtsBeforeDts,
    Repair::PtsTooLate,
    Repair::Outlier,
];
const AUDIO: &[Repair] = &[Repair::AudioGap, Repair::AudioOverlap];
const JUMPS: &[Repair] = &[Repair::BackwardJump, Repair::ForwardJump];

/// Repairs since the window began.
#[derive(Debug)]
pub(crate) struct Watch {
    began_us: Micros,
    counts: [u32; Repair::ALL.len()],
    has_sample: bool,
}

impl Watch {
    pub(crate) fn new(now: Micros) -> Self {
        Self {
            began_us: now,
            counts: [0; Repair::ALL.len()],
            has_sample: false,
        }
    }

    pub(crate) fn count(&mut self, kind: Repair) {
        let count = &mut self.counts[kind as usize];
        *count = count.saturating_add(1);
    }

    /// True once.
    pub(crate) fn is_first_sample(&mut self) -> bool {
        !std::mem::replace(&mut self.has_sample, true)
    }

    /// At the end of a window: puts sentences up and takes them down.
    pub(crate) fn tick(&mut self, stream: &Stream, now: Micros) {
        if now.saturating_sub(self.began_us) < WINDOW_US {
            return;
        }
        let sum = |kinds: &[Repair]| kinds.iter().map(|&kind| self.counts[kind as usize]).sum::<u32>();
        let (video, audio, jumps) = (sum(VIDEO), sum(AUDIO), sum(JUMPS));
        let say = |code, is_so, text: &dyn Fn() -> String| {
            if is_so {
                stream.notices().set(code, Severity::Warning, text());
            } else {
                stream.notices().clear(code);
            }
        };
        say("video_timestamps", video >= VIDEO_REPAIRS_MIN, &|| {
            format!(
                "The encoder sends wrong video timestamps ({video} repaired in 10 s); motion may be uneven. \
                 Restart or update the encoder."
            )
        });
        say("audio_timestamps", audio >= AUDIO_REPAIRS_MIN, &|| {
            format!(
                "The encoder's audio timestamps do not fit its sound ({audio} repairs in 10 s); sound may click. \
                 Set the same sample rate in the encoder and in the sound device."
            )
        });
        say("clock_jumps", jumps >= JUMPS_MIN, &|| {
            format!(
                "The encoder's clock jumped {jumps} times in 10 s; viewers see interruptions. Restart the encoder."
            )
        });
        let waiting = sum(&[Repair::BeforeKeyframe]);
        say("no_keyframe", waiting >= KEYFRAME_WAIT_MIN, &|| {
            "No keyframe comes from the encoder, so there is no picture. Set its keyframe interval to 2 s."
                .to_owned()
        });
        let lag_us = stream.origin_tracker().map_or(0, |tracker| tracker.lag_us());
        say("publisher_behind", lag_us > LAG_MAX_US, &|| {
            format!(
                "The encoder is {} s behind real time and viewers wait. Lower its bit rate or resolution.",
                lag_us / 1_000_000
            )
        });
        (self.began_us, self.counts) = (now, [0; Repair::ALL.len()]);
    }
}
