//! Who watches: an estimate of viewer sessions for each channel.
//!
//! A session is an (address, user agent) pair that asked for a playlist within the last [`SESSION_S`] seconds. People who
//! share both count once; someone behind a changing address may count twice for ten seconds.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// A session ends this many seconds after its last playlist request.
pub const SESSION_S: u32 = 10;

const SHARDS: usize = 16;

/// Sessions of all channels; shared by all cores.
#[derive(Debug)]
pub struct Viewers {
    shards: [Mutex<Shard>; SHARDS],
    counts: RwLock<HashMap<Arc<str>, u32>>,
    sessions: AtomicUsize,
    sessions_max: usize,
    uncounted: AtomicU64,
}

#[derive(Debug, Default)]
struct Shard {
    by_channel: HashMap<Arc<str>, HashMap<u64, u32>>,
}

impl Viewers {
    /// Remembers at most `sessions_max` sessions at once.
    pub fn new(sessions_max: usize) -> Self {
        Self {
            shards: Default::default(),
            counts: RwLock::default(),
            sessions: AtomicUsize::new(0),
            sessions_max,
            uncounted: AtomicU64::new(0),
        }
    }

    /// Viewers of `channel` as of the last sweep, at most a second ago.
    pub fn of(&self, channel: &str) -> u32 {
        let counts = self.counts.read().unwrap_or_else(PoisonError::into_inner);
        counts.get(channel).copied().unwrap_or(0)
    }

    /// Playlist requests of viewers who were not remembered because `sessions_max` sessions were.
    pub fn uncounted(&self) -> u64 {
        self.uncounted.load(Ordering::Relaxed)
    }

    /// The session's identity; never leaves the process.
    pub(crate) fn key(channel: &str, address: IpAddr, user_agent: &[u8]) -> u64 {
        let mut hasher = DefaultHasher::new();
        channel.hash(&mut hasher);
        address.hash(&mut hasher);
        user_agent.hash(&mut hasher);
        hasher.finish()
    }

    /// A playlist of `channel` was asked for at second `now_s` of the server's clock.
    pub(crate) fn seen(&self, channel: &str, key: u64, now_s: u32) {
        let mut shard = self.lock((key as usize) % SHARDS);
        if let Some(last) = shard
            .by_channel
            .get_mut(channel)
            .and_then(|sessions| sessions.get_mut(&key))
        {
            *last = now_s;
            return;
        }
        if self.sessions.load(Ordering::Relaxed) >= self.sessions_max {
            self.uncounted.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.sessions.fetch_add(1, Ordering::Relaxed);
        if let Some(sessions) = shard.by_channel.get_mut(channel) {
            sessions.insert(key, now_s);
        } else {
            shard
                .by_channel
                .insert(Arc::from(channel), HashMap::from([(key, now_s)]));
        }
    }

    /// Forgets ended sessions and counts the others. Called once a second.
    pub(crate) fn sweep(&self, now_s: u32) {
        let mut counts: HashMap<Arc<str>, u32> = HashMap::new();
        for index in 0..SHARDS {
            let mut removed = 0;
            let mut shard = self.lock(index);
            shard.by_channel.retain(|channel, sessions| {
                let before = sessions.len();
                sessions.retain(|_, last| now_s.saturating_sub(*last) < SESSION_S);
                removed += before - sessions.len();
                if sessions.is_empty() {
                    return false;
                }
                *counts.entry(Arc::clone(channel)).or_default() +=
                    u32::try_from(sessions.len()).unwrap_or(u32::MAX);
                true
            });
            drop(shard);
            self.sessions.fetch_sub(removed, Ordering::Relaxed);
        }
        *self.counts.write().unwrap_or_else(PoisonError::into_inner) = counts;
    }

    fn lock(&self, index: usize) -> MutexGuard<'_, Shard> {
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_lasts_ten_seconds_and_is_counted_once() {
        let viewers = Viewers::new(100);
        let address = IpAddr::from([192, 0, 2, 1]);
        let one = Viewers::key("demo", address, b"one");
        let two = Viewers::key("demo", address, b"two");
        assert_ne!(one, two);
        viewers.seen("demo", one, 0);
        viewers.seen("demo", one, 3);
        viewers.seen("demo", two, 5);
        viewers.sweep(6);
        assert_eq!(viewers.of("demo"), 2);
        viewers.sweep(13);
        assert_eq!(viewers.of("demo"), 1);
        viewers.sweep(15);
        assert_eq!(viewers.of("demo"), 0);
        assert_eq!(viewers.sessions.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_full_memory_counts_what_it_does_not_count() {
        let viewers = Viewers::new(1);
        viewers.seen("demo", 1, 0);
        viewers.seen("demo", 2, 0);
        viewers.seen("demo", 1, 1);
        viewers.sweep(1);
        assert_eq!((viewers.of("demo"), viewers.uncounted()), (1, 1));
    }
}
