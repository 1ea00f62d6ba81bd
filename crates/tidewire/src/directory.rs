//! What the API and the delivery see of the channels: the database's list joined with the running broadcasts.

use std::sync::{Arc, Mutex, PoisonError};

use api::{ChannelState, ChannelView, NoticeView, RenditionKind, RenditionView, Severity};
use deliver::{Streams, Thumbnail, Viewers};
use event_listener::{Event, EventListener};
use hub::StreamState;
use live::{Broadcast, Live};
use media::TrackConfig;
use package::{LiveWindow, RenditionInfo, Role};
use platform::{Channel, Platform};

use crate::figures::Figures;

/// Joins channels and broadcasts. Answers from memory.
pub(crate) struct Directory {
    live: Arc<Live>,
    viewers: Arc<Viewers>,
    figures: Figures,
    channels: Mutex<Arc<Vec<Channel>>>,
    changed: Event,
}

impl Directory {
    pub(crate) fn new(live: Arc<Live>, viewers: Arc<Viewers>, figures: Figures) -> Arc<Self> {
        Arc::new(Self {
            live,
            viewers,
            figures,
            channels: Mutex::default(),
            changed: Event::new(),
        })
    }

    /// Keeps the list of channels current until the database goes away.
    pub(crate) async fn follow(self: Arc<Self>, platform: Platform) -> Result<(), platform::Error> {
        let mut changes = platform.changes().await?;
        loop {
            match platform.list_channels().await {
                Ok(channels) => {
                    *self.channels.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(channels);
                    self.changed.notify(usize::MAX);
                }
                Err(error) => tracing::warn!(%error, "the list of channels could not be read"),
            }
            if changes.changed().await.is_err() {
                return Ok(());
            }
        }
    }

    fn list(&self) -> Arc<Vec<Channel>> {
        Arc::clone(&self.channels.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn find(&self, name: &str) -> Option<Channel> {
        self.list().iter().find(|channel| channel.name == name).cloned()
    }

    fn view(&self, channel: &Channel) -> ChannelView {
        let mut view = ChannelView::offline(&channel.name);
        if let Some(broadcast) = self.live.broadcast(&channel.name) {
            self.add_broadcast(&mut view, &broadcast);
        }
        view
    }

    fn add_broadcast(&self, view: &mut ChannelView, broadcast: &Broadcast) {
        let stream = &broadcast.stream;
        view.state = state(stream.state(), &broadcast.window);
        view.stream_id = Some(stream.id().to_owned());
        view.viewers = self.viewers.of(&view.name);
        let started = u64::try_from(self.live.clock().unix_ms(stream.started_us())).unwrap_or(0);
        let started = std::time::UNIX_EPOCH + std::time::Duration::from_millis(started);
        view.started_at = Some(api::rfc3339_utc(started));
        view.thumbnail = self
            .live
            .thumbnail_version(broadcast)
            .map(|version| format!("/live/{}/thumbnail.jpg?v={}-{version}", view.name, stream.id()));
        view.renditions = renditions(&broadcast.window);
        view.notices = stream.notices().list().into_iter().map(notice).collect();
    }
}

fn state(state: StreamState, window: &LiveWindow) -> ChannelState {
    match state {
        StreamState::Live if window.ready().is_some() => ChannelState::Starting,
        StreamState::Live => ChannelState::Live,
        StreamState::Starting => ChannelState::Starting,
        StreamState::Reconnecting => ChannelState::Reconnecting,
        StreamState::Ended => ChannelState::Ended,
        StreamState::Failed => ChannelState::Failed,
    }
}

fn notice(notice: hub::Notice) -> NoticeView {
    NoticeView {
        code: notice.code.to_owned(),
        severity: match notice.severity {
            hub::Severity::Info => Severity::Info,
            hub::Severity::Warning => Severity::Warning,
            hub::Severity::Error => Severity::Error,
        },
        text: notice.text,
    }
}

fn renditions(window: &LiveWindow) -> Vec<RenditionView> {
    let infos = window.renditions();
    let mut views: Vec<_> = infos.iter().filter_map(|log| log.info()).map(rendition).collect();
    views.sort_by_key(|view| std::cmp::Reverse((view.height, view.bitrate)));
    views
}

fn rendition(info: RenditionInfo) -> RenditionView {
    let (kind, size, frame_rate, codecs) = match &info.track.config {
        TrackConfig::Video(video) => (
            RenditionKind::Video,
            Some((video.width, video.height)),
            video
                .frame_rate
                .map(|rate| f64::from(rate.numerator.get()) / f64::from(rate.denominator.get())),
            video.codec_string.clone(),
        ),
        TrackConfig::Audio(audio) => (RenditionKind::Audio, None, None, audio.codec_string.clone()),
    };
    RenditionView {
        source: info.role == Role::Source,
        name: info.name,
        kind,
        width: size.map(|(width, _)| width),
        height: size.map(|(_, height)| height),
        frame_rate,
        bitrate: Some(info.average_bitrate).filter(|bitrate| *bitrate > 0),
        codecs,
    }
}

impl api::Directory for Directory {
    fn channels(&self) -> Vec<ChannelView> {
        self.list()
            .iter()
            .filter(|channel| !channel.private)
            .map(|channel| self.view(channel))
            .collect()
    }

    fn channel(&self, name: &str) -> Option<ChannelView> {
        self.find(name)
            .filter(|channel| !channel.private)
            .map(|channel| self.view(&channel))
    }

    fn changes(&self) -> EventListener {
        self.changed.listen()
    }

    fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    fn metrics(&self) -> String {
        self.figures.render(&self.live, &self.viewers)
    }
}

impl Directory {
    /// Passes the broadcasts' changes on to those who wait for any change.
    pub(crate) async fn forward_changes(self: Arc<Self>) {
        loop {
            self.live.changes().await;
            self.changed.notify(usize::MAX);
        }
    }
}

impl Streams for Directory {
    fn window(&self, channel: &str) -> Option<Arc<LiveWindow>> {
        self.live.window(channel)
    }

    fn thumbnail(&self, channel: &str) -> Thumbnail {
        Box::pin(self.live.thumbnail(channel))
    }

    /// Private channels open only to viewer credentials, which do not exist yet.
    fn allow_view(&self, channel: &str) -> bool {
        self.list()
            .iter()
            .any(|known| known.name == channel && !known.private)
    }
}
