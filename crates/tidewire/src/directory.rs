//! What the API and the delivery see of the channels: the database's list joined with the running broadcasts.

use std::sync::{Arc, Mutex, PoisonError};

use api::{
    ChannelState, ChannelView, FindingVideo, FindingVideos, NoticeView, RenditionKind, RenditionView,
    Severity, VideoCursor,
};
use deliver::{FindingTitle, Streams, Thumbnail, Viewer, Viewers};
use event_listener::{Event, EventListener};
use hub::StreamState;
use live::{Broadcast, Live};
use media::TrackConfig;
use package::{LiveWindow, RenditionInfo, Role};
use platform::{Channel, Platform};
use store::{Recording, Store, StoreError};

use crate::figures::Figures;
use crate::videos;

/// Joins channels and broadcasts. Answers from memory.
pub(crate) struct Directory {
    pub(crate) live: Arc<Live>,
    store: Store,
    pub(crate) viewers: Arc<Viewers>,
    figures: Figures,
    /// As the database sorts them; `None` until it was read.
    channels: Mutex<Option<Arc<Vec<Channel>>>>,
    changed: Event,
}

impl Directory {
    pub(crate) fn new(live: Arc<Live>, store: Store, viewers: Arc<Viewers>, figures: Figures) -> Arc<Self> {
        Arc::new(Self {
            live,
            store,
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
                    *self.channels.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(channels));
                    self.changed.notify(usize::MAX);
                }
                Err(error) => tracing::warn!(%error, "the list of channels could not be read"),
            }
            if changes.changed().await.is_err() {
                return Ok(());
            }
        }
    }

    fn known(&self) -> Option<Arc<Vec<Channel>>> {
        self.channels
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn list(&self) -> Arc<Vec<Channel>> {
        self.known().unwrap_or_default()
    }

    fn find(&self, name: &str) -> Option<Channel> {
        find(&self.list(), name).cloned()
    }

    /// The channel's own broadcast, not one of a removed channel of its name, which may have been private.
    fn broadcast(&self, channel: &Channel) -> Option<Arc<Broadcast>> {
        let broadcast = self.live.broadcast(&channel.name)?;
        (broadcast.stream.owner() == channel.id).then_some(broadcast)
    }

    /// The broadcast of a channel that the viewer may watch.
    fn broadcast_for(&self, name: &str, viewer: Viewer) -> Option<Arc<Broadcast>> {
        let channels = self.list();
        let channel = find(&channels, name).filter(|channel| may_watch(channel, viewer))?;
        self.broadcast(channel)
    }

    fn views(&self, of_private: bool) -> Vec<ChannelView> {
        self.list()
            .iter()
            .filter(|channel| channel.private == of_private)
            .map(|channel| self.view(channel))
            .collect()
    }

    pub(crate) fn view(&self, channel: &Channel) -> ChannelView {
        let mut view = ChannelView::offline(&channel.name);
        if let Some(broadcast) = self.broadcast(channel) {
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

/// Everybody may watch an open channel, whoever came with a token for it also a private one.
fn may_watch(channel: &Channel, viewer: Viewer) -> bool {
    !channel.private || viewer == Viewer::Granted
}

/// The channel of that name in a list as the database sorts it. Asked for every media request.
fn find<'a>(channels: &'a [Channel], name: &str) -> Option<&'a Channel> {
    let at = channels.binary_search_by(|channel| channel.name.as_str().cmp(name));
    at.ok().and_then(|at| channels.get(at))
}

/// What viewers are told; the reason names files, and goes to the log.
fn unreadable(error: &StoreError) -> String {
    tracing::error!(%error, "titles could not be read");
    "The list of titles cannot be read just now.".to_owned()
}

/// Whether the viewer may watch what was recorded on a channel: the channel is there still, and open to them now. One that
/// has taken over the name of a removed one has no part in its recordings.
fn is_open(channels: &[Channel], recording: &Recording, viewer: Viewer) -> bool {
    find(channels, &recording.channel)
        .is_some_and(|channel| channel.id == recording.channel_id && may_watch(channel, viewer))
}

/// What stands for a channel in the metrics, which everybody may read: a private one's name does not, the id that
/// `tidewire channel list --json` shows does.
fn metrics_label(channels: &[Channel], name: &str, id: &str) -> String {
    let is_open = find(channels, name).is_some_and(|channel| channel.id == id && !channel.private);
    if is_open { name } else { id }.to_owned()
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

pub(crate) fn notice(notice: hub::Notice) -> NoticeView {
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

pub(crate) fn rendition(info: RenditionInfo) -> RenditionView {
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
        self.views(false)
    }

    fn private_channels(&self) -> Vec<ChannelView> {
        self.views(true)
    }

    fn any_channel(&self, name: &str) -> Option<ChannelView> {
        self.find(name).map(|channel| self.view(&channel))
    }

    fn channel(&self, name: &str) -> Option<ChannelView> {
        self.find(name)
            .filter(|channel| !channel.private)
            .map(|channel| self.view(&channel))
    }

    fn changes(&self) -> EventListener {
        self.changed.listen()
    }

    fn videos(&self, before: Option<VideoCursor>, limit: u32) -> FindingVideos {
        let (store, channels) = (self.store.clone(), self.list());
        Box::pin(async move {
            let is_open = |recording: &Recording| is_open(&channels, recording, Viewer::Anyone);
            let found = videos::list(&store, is_open, before, limit).await;
            found.map_err(|error| unreadable(&error))
        })
    }

    fn video(&self, id: &str) -> FindingVideo {
        let (store, channels, id) = (self.store.clone(), self.list(), id.to_owned());
        Box::pin(async move {
            let is_open = |recording: &Recording| is_open(&channels, recording, Viewer::Anyone);
            let found = videos::one(&store, is_open, &id).await;
            found.map_err(|error| unreadable(&error))
        })
    }

    fn ready(&self) -> Result<(), String> {
        if !self.live.takes_publishers() {
            return Err("The server is shutting down.".to_owned());
        }
        if self.known().is_none() {
            return Err("The list of channels has not been read yet.".to_owned());
        }
        Ok(())
    }

    fn metrics(&self) -> String {
        let channels = self.list();
        self.figures.render(&self.live, &self.viewers, |broadcast| {
            metrics_label(&channels, broadcast.stream.channel(), broadcast.stream.owner())
        })
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
    fn window(&self, channel: &str, viewer: Viewer) -> Option<Arc<LiveWindow>> {
        self.broadcast_for(channel, viewer)
            .map(|broadcast| Arc::clone(&broadcast.window))
    }

    fn thumbnail(&self, channel: &str, viewer: Viewer) -> Thumbnail {
        match self.broadcast_for(channel, viewer) {
            Some(broadcast) => Box::pin(self.live.thumbnail(broadcast)),
            None => Box::pin(std::future::ready(None)),
        }
    }

    fn title(&self, id: &str, viewer: Viewer) -> FindingTitle {
        let (store, channels, id) = (self.store.clone(), self.list(), id.to_owned());
        Box::pin(async move {
            let title = store.title(&id).await?;
            Ok(title.filter(|title| is_open(&channels, title.recording(), viewer)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channels(list: &[(&str, &str)]) -> Vec<Channel> {
        let channel = |(name, id): &(&str, &str)| Channel {
            id: (*id).to_owned(),
            name: (*name).to_owned(),
            private: false,
            created_at_ms: 0,
        };
        list.iter().map(channel).collect()
    }

    #[test]
    fn channels_are_found_in_the_order_of_the_database() {
        let list = channels(&[("a", "1"), ("b", "2"), ("c-d", "3"), ("c_d", "4")]);
        assert_eq!(find(&list, "c_d").map(|channel| channel.id.as_str()), Some("4"));
        assert!(find(&list, "c").is_none());
    }

    #[test]
    fn metrics_name_no_private_channel() {
        let mut list = channels(&[("open", "ch_1"), ("secret", "ch_2")]);
        list[1].private = true;
        assert_eq!(metrics_label(&list, "open", "ch_1"), "open");
        assert_eq!(metrics_label(&list, "open", "ch_0"), "ch_0");
        assert_eq!(metrics_label(&list, "secret", "ch_2"), "ch_2");
        assert_eq!(metrics_label(&list, "gone", "ch_3"), "ch_3");
    }
}
