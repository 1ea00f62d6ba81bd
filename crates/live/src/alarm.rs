//! One timer that is set again and again.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use media::Micros;
use tokio::time::{Instant, Sleep};

/// Fires once for each time it is set. A sleep that has fired says so at every look: a task that polled it without a next
/// deadline would never rest.
pub(crate) struct Alarm {
    sleep: Pin<Box<Sleep>>,
    at: Option<Micros>,
}

impl Alarm {
    /// Not set. It belongs to the runtime that makes it.
    pub(crate) fn new() -> Self {
        Self {
            sleep: Box::pin(tokio::time::sleep_until(Instant::now())),
            at: None,
        }
    }

    /// Sets it to `at`, whose instant is `deadline`, unless it is set to that or an earlier time. True if it was not set:
    /// then it must be polled to wake the task. (A timer that is moved keeps the waker of its last poll.)
    pub(crate) fn set(&mut self, at: Micros, deadline: impl FnOnce() -> Instant) -> bool {
        let was_off = self.at.is_none();
        if self.at.is_none_or(|set| at < set) {
            self.at = Some(at);
            self.sleep.as_mut().reset(deadline());
        }
        was_off
    }

    /// Ready when the time has come that it was set to; then it is not set any more.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.at.is_none() {
            return Poll::Pending;
        }
        let fired = self.sleep.as_mut().poll(context);
        if fired.is_ready() {
            self.at = None;
        }
        fired
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_fires_once_for_each_setting_and_rests_between() {
        let mut alarm = Alarm::new();
        let begin = Instant::now();
        let hour = Duration::from_secs(3600);
        let silent = timeout(hour, poll_fn(|context| alarm.poll(context))).await;
        assert!(silent.is_err(), "it fires without having been set");
        let now = Instant::now();
        alarm.set(9, || now + Duration::from_secs(9));
        alarm.set(3, || now + Duration::from_secs(3));
        alarm.set(5, || now + Duration::from_secs(5));
        poll_fn(|context| alarm.poll(context)).await;
        assert_eq!(Instant::now() - begin, hour + Duration::from_secs(3));
        let silent = timeout(hour, poll_fn(|context| alarm.poll(context))).await;
        assert!(silent.is_err(), "it fires twice");
    }
}
