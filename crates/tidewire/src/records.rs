//! Writes every stream's states into the database, so that what happened is known after it is over.

use std::collections::BTreeMap;
use std::sync::Arc;

use hub::{Registry, Stream, StreamEvent, StreamState};
use media::{MediaKind, TrackConfig};
use platform::{Platform, SourceFacts};

/// Follows the registry. Runs as long as the process; a write that fails is logged and does not hold up the next one.
pub(crate) async fn record(registry: Arc<Registry>, platform: Platform) {
    let mut events = registry.events();
    let mut channel_ids: BTreeMap<String, String> = BTreeMap::new();
    loop {
        let (stream, state) = match events.next().await {
            StreamEvent::Opened(stream) => {
                let state = stream.state();
                (stream, state)
            }
            StreamEvent::StateChanged(stream, state) => (stream, state),
            StreamEvent::Ended(stream) => {
                channel_ids.remove(stream.channel());
                continue;
            }
            StreamEvent::Missed { events } => {
                tracing::warn!(
                    events,
                    "stream states were not recorded: the database is too slow"
                );
                continue;
            }
            _ => continue,
        };
        let channel_id = match channel_ids.get(stream.channel()) {
            Some(id) => id.clone(),
            None => match platform.channel(stream.channel()).await {
                Ok(channel) => {
                    channel_ids.insert(channel.name, channel.id.clone());
                    channel.id
                }
                Err(error) => {
                    tracing::warn!(channel = stream.channel(), %error, "the stream's state was not recorded");
                    continue;
                }
            },
        };
        let written = platform
            .record_stream_state(
                &channel_id,
                stream.id(),
                state_name(state),
                Some(&facts(&stream)),
                None,
            )
            .await;
        if let Err(error) = written {
            tracing::warn!(channel = stream.channel(), %error, "the stream's state was not recorded");
        }
    }
}

fn state_name(state: StreamState) -> platform::StreamState {
    match state {
        StreamState::Starting => platform::StreamState::Starting,
        StreamState::Live => platform::StreamState::Live,
        StreamState::Reconnecting => platform::StreamState::Reconnecting,
        StreamState::Ended => platform::StreamState::Ended,
        StreamState::Failed => platform::StreamState::Failed,
    }
}

fn facts(stream: &Stream) -> SourceFacts {
    let publisher = stream.publisher();
    let mut facts = SourceFacts {
        protocol: Some(publisher.protocol.to_owned()),
        encoder: publisher.encoder,
        ..SourceFacts::default()
    };
    let mut codecs = Vec::new();
    for kind in [MediaKind::Video, MediaKind::Audio] {
        match stream.source().track(kind).map(|track| track.config.clone()) {
            Some(TrackConfig::Video(video)) => {
                facts.width = Some(video.width);
                facts.height = Some(video.height);
                facts.frame_rate_milli = video.frame_rate.and_then(|rate| {
                    let milli = u64::from(rate.numerator.get()) * 1000 / u64::from(rate.denominator.get());
                    u32::try_from(milli).ok()
                });
                codecs.push(video.codec_string);
            }
            Some(TrackConfig::Audio(audio)) => codecs.push(audio.codec_string),
            None => {}
        }
    }
    facts.codecs = (!codecs.is_empty()).then(|| codecs.join(","));
    facts
}
