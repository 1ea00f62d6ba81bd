//! The thread that owns all children.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::shared::{Job, Shared};
use crate::supervise::run;
use crate::thumbnail::{self, ThumbnailError};
use crate::{AudioToAac, EncoderSettings, Ffmpeg, LadderLimits, LadderSpec, RungSink, VideoLadder};

/// Thumbnails made at the same time.
const THUMBNAILS_MAX: usize = 1;

/// How long the thread waits for children to end after the last handle is gone.
const DRAIN: Duration = Duration::from_millis(2500);

/// Starts and owns FFmpeg children. Cheap to clone; the last clone (and the last ladder) ends the thread.
#[derive(Clone)]
pub struct Transcoder {
    inner: Arc<Inner>,
}

struct Inner {
    ffmpeg: Ffmpeg,
    settings: EncoderSettings,
    handle: Handle,
    thumbnails: Arc<Semaphore>,
    alive: mpsc::Sender<()>,
}

impl Transcoder {
    /// Starts the thread.
    pub fn start(ffmpeg: Ffmpeg, settings: EncoderSettings) -> io::Result<Self> {
        let (ready, started) = std::sync::mpsc::sync_channel(1);
        let (alive, mut gone) = mpsc::channel::<()>(1);
        std::thread::Builder::new()
            .name("transcode".to_owned())
            .spawn(move || {
                let runtime = match Builder::new_current_thread().enable_all().build() {
                    Ok(runtime) => runtime,
                    Err(error) => {
                        // The receiver waits for exactly this message.
                        let _ = ready.send(Err(error));
                        return;
                    }
                };
                let _ = ready.send(Ok(runtime.handle().clone()));
                // Supervisors hold a clone of `alive` too, so this returns when the last of them is done.
                runtime.block_on(async { while gone.recv().await.is_some() {} });
                runtime.shutdown_timeout(DRAIN);
            })?;
        let handle = started
            .recv()
            .map_err(|_| io::Error::other("the transcode thread ended before it started"))??;
        let thumbnails = Arc::new(Semaphore::new(THUMBNAILS_MAX));
        Ok(Self {
            inner: Arc::new(Inner {
                ffmpeg,
                settings,
                handle,
                thumbnails,
                alive,
            }),
        })
    }

    /// The program in use.
    pub fn ffmpeg(&self) -> &Ffmpeg {
        &self.inner.ffmpeg
    }

    /// The encoder settings in use.
    pub fn settings(&self) -> &EncoderSettings {
        &self.inner.settings
    }

    /// Starts a ladder. The child is spawned when the first sample that can be decoded arrives.
    pub fn start_ladder(&self, spec: LadderSpec) -> VideoLadder {
        let LadderSpec {
            label,
            frame_rate,
            rungs,
            permit,
            limits,
        } = spec;
        let (rungs, sinks) = rungs.into_iter().unzip();
        let job = Job::Video { rungs, frame_rate };
        VideoLadder {
            shared: self.spawn(label, job, sinks, permit, limits),
        }
    }

    /// Starts an audio transcode to AAC.
    pub fn start_audio(&self, label: String, sink: Box<dyn RungSink>, limits: LadderLimits) -> AudioToAac {
        AudioToAac {
            shared: self.spawn(label, Job::Audio, vec![sink], None, limits),
        }
    }

    /// One picture of a CMAF init segment and a part that starts with a sync sample, as JPEG, `width` pixels wide.
    ///
    /// At most one at a time; the others wait. The future runs on any executor.
    pub fn thumbnail(
        &self,
        init: Bytes,
        part: Bytes,
        width: u32,
    ) -> impl Future<Output = Result<Bytes, ThumbnailError>> + Send + use<> {
        let (result, made) = oneshot::channel();
        let inner = Arc::clone(&self.inner);
        self.inner.handle.spawn(async move {
            let Ok(_turn) = inner.thumbnails.acquire().await else {
                return;
            };
            if !result.is_closed() {
                // The asker may have gone meanwhile.
                let _ = result.send(thumbnail::make(&inner.ffmpeg, &init, &part, width).await);
            }
        });
        async move { made.await.unwrap_or(Err(ThumbnailError::Stopped)) }
    }

    fn spawn(
        &self,
        label: String,
        job: Job,
        sinks: Vec<Box<dyn RungSink>>,
        permit: Option<crate::Permit>,
        limits: LadderLimits,
    ) -> Arc<Shared> {
        let shared = Arc::new(Shared::new(label, job, limits));
        let (ffmpeg, settings) = (self.inner.ffmpeg.clone(), self.inner.settings.clone());
        let (task, alive) = (Arc::clone(&shared), self.inner.alive.clone());
        self.inner.handle.spawn(async move {
            run(task, ffmpeg, settings, sinks, permit).await;
            drop(alive);
        });
        shared
    }
}
