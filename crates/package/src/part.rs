//! Where parts end, and the rendition's own decode timeline.
//!
//! A part is published with its last sample, before the next one is there, so the last duration is a prediction. What
//! follows starts exactly where the prediction ends: `tfdt(next) = tfdt + durations`, and the error is absorbed by the
//! durations of the samples that follow. Presentation times are never moved: they are decode time plus a signed offset.

use std::sync::Arc;

use bytes::Bytes;
use container::bmff::{ChunkHeader, ChunkSample, ProducerReference, write_chunk};
use media::Sample;

/// Least length of a part that does not end its segment, in hundredths of PART-TARGET (RFC 8216bis 4.4.3.7).
const PART_MIN_PERCENT: i64 = 85;

/// A part as it will be published.
#[derive(Debug)]
pub(crate) struct FinishedPart {
    /// Ticks.
    pub(crate) duration: i64,
    pub(crate) independent: bool,
    pub(crate) bytes: Bytes,
}

#[derive(Debug)]
struct Pending {
    sample: Arc<Sample>,
    /// Decode time on the rendition's own timeline.
    decode: i64,
}

/// Collects the samples of the part in work.
#[derive(Debug)]
pub(crate) struct PartBuilder {
    timescale: i64,
    /// Longest and shortest a part may be, ticks.
    part_target: i64,
    part_min: i64,
    is_audio: bool,
    /// Added to the samples' decode times, so that an epoch's first picture is decoded when it is presented.
    shift: i64,
    /// Decode time of the next sample, if nothing is pending: where the last part ended.
    next: i64,
    /// Frame duration: what the track says, or as observed.
    nominal: i64,
    observed: i64,
    last_input: Option<i64>,
    pending: Vec<Pending>,
    sequence: u32,
    /// Wall clock of the next part's first sample, NTP, to be written with it.
    producer_ntp: Option<u64>,
}

impl PartBuilder {
    /// `nominal` is the frame duration in ticks, exact for audio.
    pub(crate) fn new(timescale: i64, part_target_us: i64, nominal: i64, is_audio: bool) -> Self {
        let mut builder = Self {
            timescale,
            part_target: 0,
            part_min: 0,
            is_audio,
            shift: 0,
            next: 0,
            nominal: 1,
            observed: 1,
            last_input: None,
            pending: Vec::new(),
            sequence: 0,
            producer_ntp: None,
        };
        builder.retune(timescale, part_target_us, nominal);
        builder
    }

    /// Another timescale; PART-TARGET in seconds stays.
    pub(crate) fn retune(&mut self, timescale: i64, part_target_us: i64, nominal: i64) {
        self.timescale = timescale;
        self.part_target = part_target_us * timescale / 1_000_000;
        let percent = 100 * 1_000_000;
        self.part_min = (part_target_us * timescale * PART_MIN_PERCENT + percent - 1) / percent;
        self.set_nominal(nominal);
    }

    /// The frame duration changed with the track.
    pub(crate) fn set_nominal(&mut self, nominal: i64) {
        (self.nominal, self.observed) = (nominal.max(1), nominal.max(1));
    }

    /// Starts an epoch, or continues after a gap, at this sample with this decode time.
    pub(crate) fn anchor(&mut self, sample: &Sample, decode: i64) {
        self.next = decode.max(0);
        self.shift = if self.is_audio { 0 } else { self.next - sample.dts };
        self.last_input = None;
    }

    /// Where the timeline stands: the end of the last part, or of what is pending as far as can be told.
    pub(crate) fn expected(&self) -> i64 {
        self.pending.last().map_or(self.next, |last| self.following(last))
    }

    /// The end of the last finished part.
    pub(crate) fn end(&self) -> i64 {
        self.next
    }

    /// Decode time of a sample on the shifted source timeline.
    pub(crate) fn shifted(&self, sample: &Sample) -> i64 {
        sample.dts.saturating_add(self.shift)
    }

    /// How far the sample's timeline is ahead of ours, ticks; negative if behind.
    pub(crate) fn lead(&self, sample: &Sample) -> i64 {
        self.shifted(sample) - self.expected()
    }

    /// Has the next part carry the wall clock of its first sample.
    pub(crate) fn set_producer(&mut self, utc_ms: i64) {
        // Seconds between 1900 and 1970 (RFC 5905).
        let ms = utc_ms + 2_208_988_800_000;
        let (seconds, fraction) = (ms.div_euclid(1000) as u64, ms.rem_euclid(1000) as u64);
        self.producer_ntp = Some((seconds << 32) | ((fraction << 32) / 1000));
    }

    pub(crate) fn timescale(&self) -> i64 {
        self.timescale
    }

    /// The frame duration to count on.
    pub(crate) fn frame(&self) -> i64 {
        let differs = (self.observed - self.nominal).abs() > self.nominal / 4;
        if differs && !self.is_audio {
            self.observed
        } else {
            self.nominal
        }
    }

    /// Where the sample after `last` will be decoded.
    fn following(&self, last: &Pending) -> i64 {
        if self.is_audio {
            return last.decode + i64::from(last.sample.duration.max(1));
        }
        (self.shifted(&last.sample) + self.frame()).max(last.decode + 1)
    }

    fn observe(&mut self, sample: &Sample) {
        let step = self
            .last_input
            .replace(sample.dts)
            .map_or(0, |last| sample.dts.saturating_sub(last));
        if step > 0 && step < self.timescale {
            // An eighth of the way, at least a tick: follows a change of rate within a second, not one odd frame.
            let difference = step - self.observed;
            self.observed +=
                difference / 8 + difference.signum() * i64::from(difference.abs() < 8 && difference != 0);
        }
    }

    /// Adds a sample. The part that it finds too full to take it is handed back.
    pub(crate) fn add(&mut self, sample: Arc<Sample>) -> Option<FinishedPart> {
        let input = self.decode_time(&sample);
        self.observe(&sample);
        let Some(last) = self.pending.last() else {
            self.pending.push(Pending {
                decode: self.next,
                sample,
            });
            return None;
        };
        let earliest = last.decode + 1;
        let limit = self.pending[0].decode + self.part_target;
        if input.max(earliest) < limit {
            self.pending.push(Pending {
                decode: input.max(earliest),
                sample,
            });
            return None;
        }
        let finished = self.finish(limit);
        self.pending.push(Pending {
            decode: self.next,
            sample,
        });
        finished
    }

    /// Where this sample belongs on our timeline. Audio keeps its own pace and follows the timestamps by at most a tick a
    /// frame, because they may have been rounded to milliseconds on the way.
    pub(crate) fn decode_time(&self, sample: &Sample) -> i64 {
        let shifted = self.shifted(sample);
        if !self.is_audio {
            return shifted;
        }
        let expected = self.expected();
        let error = shifted - expected;
        if error.abs() > self.audio_tolerance() {
            return shifted;
        }
        let slack = self.timescale / 500;
        expected + if error.abs() > slack { error.signum() } else { 0 }
    }

    /// Timestamps of audio this close to the running count of samples are taken for rounding and drift: 60 ms.
    fn audio_tolerance(&self) -> i64 {
        self.timescale * 60 / 1000
    }

    /// Whether the part in work should be published now, because another frame would not fit.
    pub(crate) fn is_full(&self) -> bool {
        let (Some(first), Some(last)) = (self.pending.first(), self.pending.last()) else {
            return false;
        };
        let (frame, length) = (self.frame(), self.following(last) - first.decode);
        // A quarter of a frame of jitter must not end a part one frame early.
        let another_fits = length + frame <= self.part_target + frame / 4;
        !another_fits && length >= self.part_min - frame / 2
    }

    /// Publishes what is pending as a part that does not end its segment.
    pub(crate) fn finish_full(&mut self) -> Option<FinishedPart> {
        let (first, last) = (self.pending.first()?, self.pending.last()?);
        let end = self
            .following(last)
            .clamp(first.decode + self.part_min, first.decode + self.part_target);
        self.finish(end)
    }

    /// Publishes what is pending as the segment's last part; `end` is where the next segment starts, if known.
    pub(crate) fn finish_last(&mut self, end: Option<i64>) -> Option<FinishedPart> {
        let last = self.pending.last()?;
        let end = end.unwrap_or_else(|| self.following(last));
        self.finish(end)
    }

    /// Ends the part at `end`, or as near to it as its samples and PART-TARGET allow.
    fn finish(&mut self, end: i64) -> Option<FinishedPart> {
        let (start, last) = (self.pending.first()?.decode, self.pending.last()?.decode);
        let end = end.clamp(last + 1, (start + self.part_target).max(last + 1));
        let next = |index: usize| self.pending.get(index + 1).map_or(end, |next| next.decode);
        let tolerance = self.audio_tolerance();
        let samples = self.pending.iter().enumerate().map(|(index, pending)| {
            let offset = pending.sample.pts.saturating_sub(pending.decode);
            let offset = if self.is_audio && offset.abs() <= tolerance {
                0
            } else {
                offset
            };
            ChunkSample {
                duration: u32::try_from(next(index) - pending.decode).unwrap_or(u32::MAX),
                composition_offset: offset.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32,
                is_sync: pending.sample.is_sync,
                is_disposable: pending.sample.is_disposable,
                data: &pending.sample.data,
            }
        });
        let header = ChunkHeader {
            sequence: self.sequence.wrapping_add(1),
            base_decode_time: start.unsigned_abs(),
            producer: self.producer_ntp.map(|ntp| ProducerReference {
                ntp,
                media_time: start.unsigned_abs(),
            }),
        };
        let bytes = write_chunk(&header, samples);
        let independent = self.pending[0].sample.is_sync;
        self.sequence = header.sequence;
        self.producer_ntp = None;
        self.pending.clear();
        self.next = end;
        Some(FinishedPart {
            duration: end - start,
            independent,
            bytes,
        })
    }

    /// Forgets what is pending.
    pub(crate) fn discard(&mut self) {
        self.pending.clear();
    }
}
