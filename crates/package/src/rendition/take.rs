//! Where a sample goes: on with the segment in work, into the next one, back to wait, or nowhere.

use std::sync::Arc;

use media::Sample;

use super::{Context, Rendition, Taken};
use crate::part::PartBuilder;

impl Rendition {
    /// Takes an audio frame; `may_pass_us`: frames before this cannot meet a boundary that is still to be made.
    pub(crate) fn take_audio(
        &mut self,
        sample: &Arc<Sample>,
        may_pass_us: i64,
        context: &mut Context<'_>,
    ) -> Taken {
        let at = self.audio_time(sample);
        let time = self.time(at);
        let may_pass = time.micros() < may_pass_us;
        if self.waits_epoch && self.started {
            let Some(boundary) = context
                .plan
                .iter()
                .find(|b| b.msn >= self.next_msn && b.discontinuity)
                .copied()
            else {
                return Taken::Held;
            };
            let early = time < boundary.at;
            return if early {
                self.drop_sample()
            } else {
                self.enter(&boundary, sample, context)
            };
        }
        if !self.started {
            if let Some(boundary) = context
                .plan
                .iter()
                .rev()
                .find(|boundary| boundary.at <= time)
                .copied()
            {
                let is_last = context.plan.last() == Some(&boundary);
                return if is_last && !may_pass {
                    Taken::Held
                } else {
                    self.enter(&boundary, sample, context)
                };
            }
            return if context.plan.last().is_some() {
                self.drop_sample()
            } else {
                Taken::Held
            };
        }
        // A segment that was ended in expectation of this boundary leaves no other place for the frame.
        let ended = self.segment.is_none() && !self.lost;
        let next = context.plan.iter().rev().find(|boundary| {
            let promised = ended && boundary.msn == self.next_msn && !boundary.discontinuity;
            boundary.msn >= self.next_msn && (time >= boundary.at || promised)
        });
        if let Some(boundary) = next.copied() {
            let is_last = context.plan.last() == Some(&boundary);
            return if is_last && !may_pass {
                Taken::Held
            } else {
                self.enter(&boundary, sample, context)
            };
        }
        // Sound from within an interruption of the pictures belongs to no segment.
        let interrupted = ended && context.plan.get(self.next_msn).is_some();
        if self.lost || interrupted {
            let wait = !may_pass && !interrupted;
            return if wait { Taken::Held } else { self.drop_sample() };
        }
        if ended || !may_pass {
            return Taken::Held;
        }
        self.accept_or_lose(sample, context)
    }

    /// Takes a picture of a transcoded rendition.
    pub(crate) fn take_rung(&mut self, sample: &Arc<Sample>, context: &mut Context<'_>) -> Taken {
        let Some(last) = context.plan.last().copied() else {
            return Taken::Held;
        };
        let frame = self.builder.as_ref().map_or(3000, PartBuilder::frame);
        let pts = sample.pts;
        if !self.started || self.lost {
            let matches = |at: i64| (pts - at).abs() <= frame;
            let found = context.plan.iter().rev().find(|b| {
                (b.msn >= self.next_msn || !self.started) && sample.is_sync && matches(self.ticks(b.at))
            });
            return match found.copied() {
                Some(boundary) => self.enter(&boundary, sample, context),
                None => self.drop_sample(),
            };
        }
        let early = frame / 4;
        let next = context
            .plan
            .get(self.next_msn)
            .copied()
            .filter(|next| pts >= self.ticks(next.at) - early);
        let Some(next) = next else {
            return if self.segment.is_some() {
                self.accept_or_lose(sample, context)
            } else {
                self.drop_sample()
            };
        };
        let newest = context
            .plan
            .iter()
            .rev()
            .find(|b| pts >= self.ticks(b.at) - early)
            .copied()
            .unwrap_or(last);
        let on_newest = newest.msn == next.msn || (pts - self.ticks(newest.at)).abs() <= frame;
        if sample.is_sync && on_newest {
            return self.enter(&newest, sample, context);
        }
        // The boundary has passed without its IDR: this segment will be a gap.
        self.end_segment(Some(self.ticks(next.previous_end)), context);
        self.lose();
        self.drop_sample()
    }

    /// Takes a picture of the source. `cut`: the plan has just made its newest boundary at it. True if a segment
    /// starts here.
    pub(crate) fn take_source(&mut self, sample: &Arc<Sample>, cut: bool, context: &mut Context<'_>) -> bool {
        let shifted = self
            .builder
            .as_ref()
            .map_or(sample.dts, |builder| builder.shifted(sample));
        let boundary = if cut {
            context.plan.last().copied()
        } else {
            // Made by audio while the pictures were late.
            let early = self.builder.as_ref().map_or(0, |builder| builder.frame() / 4);
            context
                .plan
                .iter()
                .rev()
                .find(|b| b.msn >= self.next_msn && shifted >= self.ticks(b.at) - early)
                .copied()
        };
        let needs_sync = !self.started || self.lost || self.waits_epoch;
        match boundary.filter(|_| sample.is_sync || !needs_sync) {
            Some(boundary) if self.started || cut => {
                self.enter(&boundary, sample, context);
                return true;
            }
            _ => {}
        }
        if needs_sync || self.segment.is_none() {
            self.drop_sample();
        } else {
            self.accept_or_lose(sample, context);
        }
        false
    }
}
