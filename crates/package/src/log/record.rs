//! What those who keep segments read of a rendition's log.

use std::sync::Arc;

use bytes::Bytes;

use super::{RenditionLog, Segment, lock};
use crate::title::TitleSegment;

/// A complete segment: what it is, and its bytes.
#[derive(Clone, Debug)]
pub struct CompletedSegment {
    /// What playlists say of it.
    pub facts: TitleSegment,
    /// Its parts in order; concatenated they are the segment. None of a gap.
    pub parts: Vec<Bytes>,
}

/// Complete segments of a rendition from some number on.
#[derive(Clone, Debug)]
pub struct Completed {
    /// Oldest first.
    pub segments: Vec<CompletedSegment>,
    /// Segments before these have left the window: whoever asks was too slow.
    pub missed: bool,
    /// Nothing will follow them.
    pub is_last: bool,
}

impl RenditionLog {
    /// Complete segments from number `msn` on, as many as fit in `bytes_max` bytes, but one if there is any.
    ///
    /// The window is the queue of whoever keeps segments: it holds what was not asked for yet, within its own bounds, and
    /// nothing is copied.
    pub fn completed(&self, msn: u64, bytes_max: usize) -> Completed {
        let state = lock(&self.state);
        let wanted = msn.max(state.first_msn.unwrap_or(0));
        let oldest = state.segments.front().map(|segment| segment.msn);
        let mut bytes = 0;
        let mut segments = Vec::new();
        let mut later = state
            .segments
            .iter()
            .skip_while(|segment| segment.msn < wanted)
            .peekable();
        while let Some(segment) =
            later.next_if(|segment| segments.is_empty() || bytes + segment.bytes <= bytes_max)
        {
            bytes += segment.bytes;
            segments.push(completed(segment));
        }
        Completed {
            missed: oldest.is_some_and(|oldest| oldest > wanted),
            is_last: state.ended && later.peek().is_none(),
            segments,
        }
    }
}

fn completed(segment: &Arc<Segment>) -> CompletedSegment {
    let parts = segment.parts.iter().filter(|_| !segment.gap);
    CompletedSegment {
        facts: TitleSegment {
            msn: segment.msn,
            init: segment.init,
            period: segment.period,
            discontinuity: segment.discontinuity,
            gap: segment.gap,
            independent: segment.independent(),
            timescale: segment.timescale,
            start: segment.start,
            duration: segment.duration,
            utc_ms: segment.utc_ms,
            bytes: if segment.gap { 0 } else { segment.bytes as u64 },
        },
        parts: parts.map(|part| part.bytes.clone()).collect(),
    }
}
