//! When a stream's task looks at what seldom happens.

/// Wakes by samples after which the seldom sources are looked at all the same: they may have woken the task too. At 70
/// samples a second that is a tenth of a second.
const UNLOOKED_MAX: u8 = 8;

/// A task that a sample has woken need not ask four other sources, each behind a lock, as long as all of them know whom to
/// wake: it was 3 % of the CPU of a stream.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    /// A sample was taken since the task woke.
    sampled: bool,
    /// All seldom sources have the task's waker.
    registered: bool,
    unlooked: u8,
}

impl Looks {
    pub(crate) fn sampled(&mut self) {
        self.sampled = true;
    }

    /// One of the seldom sources is new and knows no waker.
    pub(crate) fn renewed(&mut self) {
        self.registered = false;
    }

    /// All of them were asked, and none had anything.
    pub(crate) fn registered(&mut self) {
        self.registered = true;
        self.unlooked = 0;
    }

    /// Whether the task may sleep without asking them.
    pub(crate) fn may_wait(&mut self) -> bool {
        let woken_by_sample = std::mem::take(&mut self.sampled);
        let may = woken_by_sample && self.registered && self.unlooked < UNLOOKED_MAX;
        self.unlooked += u8::from(may);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seldom_sources_are_asked_when_new_when_idle_and_now_and_then() {
        let mut looks = Looks::default();
        looks.sampled();
        assert!(!looks.may_wait(), "nobody has the waker yet");
        looks.registered();
        assert!(!looks.may_wait(), "no sample woke the task");
        for _ in 0..UNLOOKED_MAX {
            looks.sampled();
            assert!(looks.may_wait());
        }
        looks.sampled();
        assert!(!looks.may_wait(), "it is time to look");
        looks.registered();
        looks.renewed();
        looks.sampled();
        assert!(!looks.may_wait(), "a new one has no waker");
    }
}
