//! The figures of the last two minutes of every stream, for charts that are opened in the middle.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{BufMut, Bytes, BytesMut};
use event_listener::{Event, EventListener};

use super::views::StreamStats;

/// Samples of a stream, one a second.
pub(crate) const SAMPLES_MAX: usize = 120;
/// Bytes of all samples of all streams. Where many streams run, each has a shorter history.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// Samples as JSON, so that many listeners share them.
#[derive(Debug, Default)]
pub(crate) struct History {
    streams: Mutex<HashMap<String, Samples>>,
    sampled: Event,
}

#[derive(Debug, Default)]
struct Samples {
    newest: VecDeque<Bytes>,
    bytes: usize,
    /// Samples ever taken.
    count: u64,
}

impl History {
    /// Takes the figures of the streams that run now, and forgets the others.
    pub(crate) fn sample(&self, running: Vec<(String, StreamStats)>) {
        let bytes_max = BYTES_MAX / running.len().max(1);
        {
            let mut streams = self.lock();
            streams.retain(|id, _| running.iter().any(|(known, _)| known == id));
            for (id, stats) in running {
                let json = Bytes::from(serde_json::to_vec(&stats).unwrap_or_default());
                streams.entry(id).or_default().push(json, bytes_max);
            }
        }
        self.sampled.notify(usize::MAX);
    }

    /// Fires with the next sample.
    pub(crate) fn sampled(&self) -> EventListener {
        self.sampled.listen()
    }

    /// All samples of a stream as a JSON array, and how many were ever taken. `None`: it does not run.
    pub(crate) fn all(&self, id: &str) -> Option<(Bytes, u64)> {
        let streams = self.lock();
        let samples = streams.get(id)?;
        let mut json = BytesMut::with_capacity(samples.bytes + samples.newest.len() + 2);
        json.put_u8(b'[');
        for (index, sample) in samples.newest.iter().enumerate() {
            if index > 0 {
                json.put_u8(b',');
            }
            json.put_slice(sample);
        }
        json.put_u8(b']');
        Some((json.freeze(), samples.count))
    }

    /// The newest sample, and how many were ever taken.
    pub(crate) fn newest(&self, id: &str) -> Option<(Bytes, u64)> {
        let streams = self.lock();
        let samples = streams.get(id)?;
        Some((samples.newest.back()?.clone(), samples.count))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Samples>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Samples {
    fn push(&mut self, json: Bytes, bytes_max: usize) {
        self.bytes += json.len();
        self.count += 1;
        self.newest.push_back(json);
        while self.newest.len() > SAMPLES_MAX || (self.bytes > bytes_max && self.newest.len() > 1) {
            self.bytes -= self.newest.pop_front().map_or(0, |oldest| oldest.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_bounded_in_samples_and_bytes() {
        let mut samples = Samples::default();
        for _ in 0..SAMPLES_MAX + 7 {
            samples.push(Bytes::from_static(b"{}"), 1000);
        }
        assert_eq!(
            (samples.newest.len(), samples.bytes),
            (SAMPLES_MAX, 2 * SAMPLES_MAX)
        );
        samples.push(Bytes::from_static(b"{\"a\":1}"), 8);
        assert_eq!((samples.newest.len(), samples.bytes, samples.count), (1, 7, 128));
    }
}
