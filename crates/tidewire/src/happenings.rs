//! Tells the outbox what happens to a stream beside its states: publishers, renditions, notices.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use deliver::Shutdown;
use hub::{Notice, StreamState};
use live::{Broadcast, Live};
use platform::{EventType, NewEvent, Platform};
use serde_json::{Value, json};

/// What changes back and forth within this time is told once.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Looks at all streams whenever something changed, until `last` is given.
pub(crate) async fn tell(live: Arc<Live>, platform: Platform, last: Shutdown) {
    let mut known: BTreeMap<String, Known> = BTreeMap::new();
    let mut is_last = false;
    loop {
        let changes = live.changes();
        let broadcasts = live.broadcasts();
        known.retain(|id, _| broadcasts.iter().any(|broadcast| broadcast.stream.id() == id));
        let mut events = Vec::new();
        for broadcast in &broadcasts {
            let stream = &broadcast.stream;
            let before = known.entry(stream.id().to_owned()).or_default();
            let news = before.news(Known::of(broadcast));
            events.extend(news.into_iter().map(|(kind, data)| NewEvent {
                kind,
                channel: stream.channel().to_owned(),
                channel_id: stream.owner().to_owned(),
                stream_id: Some(stream.id().to_owned()),
                data,
            }));
        }
        if let Err(error) = platform.record_events(events).await {
            tracing::warn!(%error, "what happened to the streams was not recorded");
        }
        if is_last {
            return;
        }
        let next = async {
            changes.await;
            tokio::time::sleep(LOOK_EVERY).await;
        };
        tokio::select! {
            () = next => {}
            // The states of the shutdown were written by then; one more look tells the rest.
            () = last.triggered() => is_last = true,
        }
    }
}

/// What was told of a stream.
#[derive(Debug, Default)]
struct Known {
    /// Protocol and encoder of the publisher that is there.
    publisher: Option<Value>,
    /// Publishers that it has had.
    publishers: u64,
    renditions: BTreeSet<String>,
    notices: Vec<Notice>,
}

impl Known {
    fn of(broadcast: &Broadcast) -> Self {
        let (stream, window) = (&broadcast.stream, &broadcast.window);
        let state = stream.state();
        let is_there = !state.is_final() && state != StreamState::Reconnecting;
        let playable = window.renditions();
        let playable = playable.iter().filter_map(|log| log.info()).map(|info| info.name);
        Self {
            publisher: is_there.then(|| {
                let publisher = stream.publisher();
                json!({ "protocol": publisher.protocol, "encoder": publisher.encoder })
            }),
            publishers: stream.stats().publishers(),
            renditions: playable.collect(),
            notices: stream.notices().list(),
        }
    }

    /// What has happened until `now`, which is what is known from then on.
    fn news(&mut self, now: Self) -> Vec<(EventType, Value)> {
        let before = std::mem::replace(self, now);
        let now = &*self;
        let mut news = Vec::new();
        let is_another = now.publishers > before.publishers;
        if let Some(gone) = before
            .publisher
            .as_ref()
            .filter(|_| is_another || now.publisher.is_none())
        {
            news.push((EventType::PublisherDisconnected, gone.clone()));
        }
        if let Some(come) = now
            .publisher
            .as_ref()
            .filter(|_| is_another || before.publisher.is_none())
        {
            news.push((EventType::PublisherConnected, come.clone()));
        }
        let named = |name: &String| json!({ "name": name });
        let added = now.renditions.difference(&before.renditions);
        news.extend(added.map(|name| (EventType::RenditionAdded, named(name))));
        let removed = before.renditions.difference(&now.renditions);
        news.extend(removed.map(|name| (EventType::RenditionRemoved, named(name))));
        if now.notices != before.notices {
            let notices: Vec<Value> = now.notices.iter().map(notice).collect();
            news.push((EventType::HealthChanged, json!({ "notices": notices })));
        }
        news
    }
}

fn notice(notice: &Notice) -> Value {
    json!({ "code": notice.code, "severity": notice.severity.as_str(), "text": notice.text })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(publishers: u64, is_there: bool, renditions: &[&str]) -> Known {
        Known {
            publisher: is_there.then(|| json!({ "protocol": "rtmp" })),
            publishers,
            renditions: renditions.iter().map(|name| (*name).to_owned()).collect(),
            notices: Vec::new(),
        }
    }

    #[test]
    fn a_difference_is_told_once() {
        use EventType::{
            HealthChanged, PublisherConnected, PublisherDisconnected, RenditionAdded, RenditionRemoved,
        };
        let mut told = Known::default();
        let mut with_notice = known(2, true, &["720p"]);
        with_notice.notices.push(Notice {
            code: "no_audio",
            severity: hub::Severity::Info,
            text: "No sound.".to_owned(),
        });
        for (now, expected) in [
            (known(1, true, &[]), vec![PublisherConnected]),
            (
                known(1, true, &["720p", "source"]),
                vec![RenditionAdded, RenditionAdded],
            ),
            (known(1, true, &["720p", "source"]), vec![]),
            (
                known(1, false, &["720p"]),
                vec![PublisherDisconnected, RenditionRemoved],
            ),
            (with_notice, vec![PublisherConnected, HealthChanged]),
            // Another one came between two looks.
            (
                known(3, true, &["720p"]),
                vec![PublisherDisconnected, PublisherConnected, HealthChanged],
            ),
        ] {
            let kinds: Vec<EventType> = told.news(now).into_iter().map(|(kind, _)| kind).collect();
            assert_eq!(kinds, expected);
        }
    }
}
