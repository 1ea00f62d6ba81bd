//! Pictures that wait for a ladder to start.

use std::sync::Arc;

use media::Sample;

/// Pictures kept at most: 10 s at 120 a second.
const PICTURES_MAX: usize = 1200;
/// Payload kept at most, bytes: as much as the ring of a feed.
const BYTES_MAX: usize = 32 << 20;

/// What a ladder would need to start now, from a sync sample on. More than the bounds starts anew at the next one.
#[derive(Default)]
pub(crate) struct Kept {
    pictures: Vec<(Arc<Sample>, bool)>,
    bytes: usize,
}

impl Kept {
    /// Adds a picture; `force_idr` as the packager wants it. A sync sample with `starts_anew` makes those before it needless.
    pub(crate) fn push(&mut self, sample: Arc<Sample>, force_idr: bool, starts_anew: bool) {
        let bytes = self.bytes.saturating_add(sample.data.len());
        let is_full = self.pictures.len() >= PICTURES_MAX || bytes > BYTES_MAX;
        if is_full || (sample.is_sync && starts_anew) {
            self.clear();
        }
        if sample.is_sync || !self.pictures.is_empty() {
            self.bytes += sample.data.len();
            self.pictures.push((sample, force_idr));
        }
    }

    /// Forgets all, and gives the memory back.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// All of them, oldest first; none are kept then.
    pub(crate) fn take(&mut self) -> Vec<(Arc<Sample>, bool)> {
        std::mem::take(self).pictures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(bytes: usize, is_sync: bool) -> Arc<Sample> {
        Arc::new(Sample {
            dts: 0,
            pts: 0,
            duration: 3000,
            is_sync,
            is_disposable: false,
            arrived_us: 0,
            data: vec![0; bytes].into(),
        })
    }

    #[test]
    fn it_begins_at_a_sync_sample() {
        let mut kept = Kept::default();
        kept.push(picture(1, false), false, false);
        kept.push(picture(2, true), true, false);
        kept.push(picture(3, false), false, false);
        kept.push(picture(4, true), true, false);
        kept.push(picture(5, true), true, true);
        let sizes = kept
            .take()
            .iter()
            .map(|(sample, _)| sample.data.len())
            .collect::<Vec<_>>();
        assert_eq!(sizes, [5]);
    }

    #[test]
    fn both_bounds_hold() {
        let mut kept = Kept::default();
        kept.push(picture(1, true), true, false);
        for _ in 0..2 * PICTURES_MAX {
            kept.push(picture(1, false), false, false);
            assert!(kept.pictures.len() <= PICTURES_MAX);
        }
        for _ in 0..9 {
            kept.push(picture(8 << 20, true), true, false);
            assert!(kept.bytes <= BYTES_MAX, "{} bytes are kept", kept.bytes);
        }
        let held: usize = kept.pictures.iter().map(|(sample, _)| sample.data.len()).sum();
        assert_eq!(kept.bytes, held);
    }
}
