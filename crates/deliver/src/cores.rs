//! One thread and one tokio `current_thread` runtime for each core, and the token that stops them.

use std::future::Future;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

/// A signal that is given once and stays given.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    inner: Arc<ShutdownInner>,
}

#[derive(Debug, Default)]
struct ShutdownInner {
    triggered: AtomicBool,
    notify: Notify,
}

impl Shutdown {
    /// A signal not yet given.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the signal. Giving it again changes nothing.
    pub fn trigger(&self) {
        self.inner.triggered.store(true, Ordering::Release);
        self.inner.notify.notify_waiters();
    }

    /// The signal was given.
    pub fn is_triggered(&self) -> bool {
        self.inner.triggered.load(Ordering::Acquire)
    }

    /// Returns once the signal is given, at once if it was.
    pub async fn triggered(&self) {
        let notified = self.inner.notify.notified();
        let mut notified = std::pin::pin!(notified);
        // Registered before the flag is read, so that a signal in between is not lost.
        notified.as_mut().enable();
        if !self.is_triggered() {
            notified.await;
        }
    }
}

/// A fixed set of threads, each with its own single-threaded runtime: what starts on a core stays there.
///
/// HTTP and RTMP listeners live on the same cores. Dropping it without [`Cores::stop`] stops the threads and does not
/// wait for them.
#[derive(Debug)]
pub struct Cores {
    cores: Vec<Core>,
}

#[derive(Debug)]
struct Core {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Cores {
    /// Starts `count` threads named `NAME-0`, `NAME-1`, ...
    ///
    /// # Errors
    /// A thread or a runtime could not be made; those already started are stopped.
    pub fn start(count: NonZeroUsize, name: &str) -> io::Result<Self> {
        let mut cores = Vec::with_capacity(count.get());
        for index in 0..count.get() {
            cores.push(Core::start(format!("{name}-{index}"))?);
        }
        Ok(Self { cores })
    }

    /// How many there are; never 0.
    #[allow(clippy::len_without_is_empty)] // there is always one
    pub fn len(&self) -> usize {
        self.cores.len()
    }

    /// The runtime of core `index`, counted round.
    pub fn handle(&self, index: usize) -> &Handle {
        &self.cores[index % self.cores.len()].handle
    }

    /// Runs `future` on core `index`, counted round.
    pub fn spawn_on<F>(&self, index: usize, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handle(index).spawn(future)
    }

    /// Drops whatever still runs and joins the threads, at most until `limit` has passed.
    /// Says whether all of them ended.
    pub fn stop(mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        for core in &mut self.cores {
            core.stop.take();
        }
        let mut all_ended = true;
        for core in &mut self.cores {
            let Some(thread) = core.thread.take() else {
                continue;
            };
            while !thread.is_finished() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(2));
            }
            if thread.is_finished() {
                all_ended &= thread.join().is_ok();
            } else {
                all_ended = false;
            }
        }
        all_ended
    }
}

impl Core {
    fn start(name: String) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::Builder::new().name(name).spawn(move || {
            // Ends with the sender's drop.
            let _ = runtime.block_on(stopped);
            runtime.shutdown_background();
        })?;
        Ok(Self {
            handle,
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_stays_on_its_core_and_stop_joins() {
        let cores = Cores::start(NonZeroUsize::new(2).unwrap(), "core").unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        for index in 0..4 {
            let sender = sender.clone();
            cores.spawn_on(index, async move {
                sender.send(thread::current().name().map(str::to_owned)).unwrap();
            });
        }
        let mut names: Vec<_> = (0..4).filter_map(|_| receiver.recv().unwrap()).collect();
        names.sort();
        assert_eq!(names, ["core-0", "core-0", "core-1", "core-1"]);
        assert!(cores.stop(Duration::from_secs(5)));
    }

    #[test]
    fn a_signal_given_early_is_seen_late() {
        let runtime = Builder::new_current_thread().build().unwrap();
        let shutdown = Shutdown::new();
        shutdown.trigger();
        runtime.block_on(shutdown.triggered());
        assert!(shutdown.is_triggered());
    }
}
