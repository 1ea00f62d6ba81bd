//! Writes every stream's states into the database, so that what happened is known after it is over.

use std::sync::Arc;

use deliver::Shutdown;
use hub::{Registry, Stream, StreamEvent, StreamState};
use media::{MediaKind, TrackConfig};
use platform::{Platform, SourceFacts};

/// Follows the registry until `last` is given and all that happened before it is written. A write that fails is logged
/// and does not hold up the next one.
pub(crate) async fn record(registry: Arc<Registry>, platform: Platform, last: Shutdown) {
    let mut events = registry.events();
    loop {
        let event = tokio::select! {
            biased;
            event = events.next() => event,
            () = last.triggered() => return,
        };
        let (stream, state) = match event {
            StreamEvent::Opened(stream) => {
                let state = stream.state();
                (stream, state)
            }
            StreamEvent::StateChanged(stream, state) => (stream, state),
            StreamEvent::Missed { events } => {
                tracing::warn!(
                    events,
                    "stream states were not recorded: the database is too slow"
                );
                continue;
            }
            _ => continue,
        };
        let written = platform
            .record_stream_state(
                stream.owner(),
                stream.id(),
                state_name(state),
                Some(&facts(&stream)),
                None,
            )
            .await;
        match written {
            // Its records went with the channel.
            Ok(_) | Err(platform::Error::ChannelNotFound { .. }) => {}
            Err(error) => {
                tracing::warn!(channel = stream.channel(), %error, "the stream's state was not recorded");
            }
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
