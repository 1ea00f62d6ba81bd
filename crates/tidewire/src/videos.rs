//! What the API says of titles.

use std::time::{Duration, UNIX_EPOCH};

use api::{RenditionKind, RenditionView, VideoCursor, VideoPage, VideoView};
use package::{Role, TrackFacts};
use store::{Recording, RecordingState, RenditionFacts, Store, StoreError};

/// Titles that `is_open` lets everybody watch, newest first.
pub(crate) async fn list(
    store: &Store,
    is_open: impl Fn(&Recording) -> bool,
    before: Option<VideoCursor>,
    limit: u32,
) -> Result<VideoPage, StoreError> {
    let mut at = before.map_or((i64::MAX, String::new()), |cursor| (cursor.started_ms, cursor.id));
    let mut page = VideoPage::default();
    loop {
        // One more than is wanted says whether there are others.
        let found = store
            .recordings_before((at.0, &at.1), limit.saturating_add(1))
            .await?;
        let Some(last) = found.last() else {
            return Ok(page);
        };
        let next = (last.started_ms, last.stream_id.clone());
        for recording in found.iter().filter(|one| one.state.is_title() && is_open(one)) {
            if page.data.len() == limit as usize {
                let (started_ms, id) = at;
                page.next = Some(VideoCursor { started_ms, id }.to_string());
                return Ok(page);
            }
            page.data.push(view(store, recording).await?);
            at = (recording.started_ms, recording.stream_id.clone());
        }
        at = next;
    }
}

/// The title of that id, if `is_open` lets everybody watch it.
pub(crate) async fn one(
    store: &Store,
    is_open: impl Fn(&Recording) -> bool,
    id: &str,
) -> Result<Option<VideoView>, StoreError> {
    match store
        .recording(id)
        .await?
        .filter(|one| one.state.is_title() && is_open(one))
    {
        Some(recording) => Ok(Some(view(store, &recording).await?)),
        None => Ok(None),
    }
}

async fn view(store: &Store, recording: &Recording) -> Result<VideoView, StoreError> {
    let id = &recording.stream_id;
    let started = Duration::from_millis(u64::try_from(recording.started_ms).unwrap_or(0));
    let mut renditions: Vec<_> = store.renditions(id).await?.into_iter().map(rendition).collect();
    renditions.sort_by_key(|view| std::cmp::Reverse((view.height, view.source)));
    Ok(VideoView {
        channel: recording.channel.clone(),
        started_at: api::rfc3339_utc(UNIX_EPOCH + started),
        duration_ms: u64::try_from(recording.duration_ms).unwrap_or(0),
        bytes: recording.bytes,
        complete: recording.state == RecordingState::Sealed,
        hls: format!("/vod/{id}/master.m3u8"),
        dash: format!("/vod/{id}/manifest.mpd"),
        renditions,
        id: id.clone(),
    })
}

fn rendition(rendition: RenditionFacts) -> RenditionView {
    let codecs = rendition.facts.codecs().to_owned();
    let (kind, size, frame_rate) = match rendition.facts {
        TrackFacts::Video {
            width,
            height,
            frame_rate,
            ..
        } => {
            let rate =
                frame_rate.map(|rate| f64::from(rate.numerator.get()) / f64::from(rate.denominator.get()));
            (RenditionKind::Video, Some((width, height)), rate)
        }
        TrackFacts::Audio { .. } => (RenditionKind::Audio, None, None),
    };
    RenditionView {
        name: rendition.name,
        kind,
        width: size.map(|(width, _)| width),
        height: size.map(|(_, height)| height),
        frame_rate,
        bitrate: None,
        codecs,
        source: rendition.role == Role::Source,
    }
}
