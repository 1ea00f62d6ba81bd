use std::sync::Arc;

use hub::{
    Events, FeedError, Item, Limits, PublishError, PublisherInfo, Registry, Start, Stream, StreamEvent,
    StreamState,
};

use crate::block_on;

const SECOND: u64 = 1_000_000;

pub(crate) fn info() -> PublisherInfo {
    PublisherInfo {
        owner: "ch_1".to_owned(),
        protocol: "rtmp",
        peer: "192.0.2.1:50000".to_owned(),
        encoder: None,
        is_backup: false,
    }
}

fn log(events: &mut Events) -> String {
    let words = std::iter::from_fn(|| events.try_next()).map(|event| match event {
        StreamEvent::Opened(stream) => format!("opened {}", stream.channel()),
        StreamEvent::StateChanged(_, state) => state.as_str().to_owned(),
        StreamEvent::Ended(_) => "over".to_owned(),
        StreamEvent::Missed { events } => format!("missed {events}"),
        _ => "?".to_owned(),
    });
    words.collect::<Vec<_>>().join(", ")
}

#[test]
fn one_publisher_a_channel() {
    let registry = Registry::new(Limits::default());
    let publisher = registry.publish("demo", info(), 3 * SECOND).unwrap();
    let refused = registry.publish("demo", info(), 75 * SECOND).unwrap_err();
    let PublishError::AlreadyLive {
        since,
        protocol,
        age_us,
        ..
    } = &refused
    else {
        panic!("{refused}")
    };
    assert_eq!((*since, *protocol, *age_us), (3 * SECOND, "rtmp", 72 * SECOND));
    assert_eq!(
        refused.to_string(),
        "channel demo is already live: a publisher came over rtmp 72 s ago; stop it first"
    );
    assert!(registry.publish("other", info(), 75 * SECOND).is_ok());
    drop(publisher);
    assert!(registry.publish("demo", info(), 76 * SECOND).is_ok());
}

#[test]
fn a_stream_outlives_its_publisher_by_the_grace_window() {
    let registry = Registry::with_unix_origin(Limits::default(), 1_790_000_000_000_000);
    let mut events = registry.events();
    let publisher = registry.publish("demo", info(), SECOND).unwrap();
    let stream = Arc::clone(publisher.stream());
    assert_eq!(
        (stream.state(), registry.poll_timeout()),
        (StreamState::Starting, None)
    );
    publisher.finish(20 * SECOND);
    assert_eq!(
        (stream.state(), registry.poll_timeout()),
        (StreamState::Reconnecting, Some(30 * SECOND))
    );
    let again = registry.publish("demo", info(), 29 * SECOND).unwrap();
    assert!(Arc::ptr_eq(again.stream(), &stream));
    assert_eq!((registry.poll_timeout(), stream.stats().publishers()), (None, 2));

    // Dropped without a time: the next timeout starts the window.
    drop(again);
    assert_eq!(registry.poll_timeout(), Some(0));
    registry.handle_timeout(40 * SECOND);
    assert_eq!(registry.poll_timeout(), Some(50 * SECOND));
    registry.handle_timeout(50 * SECOND - 1);
    assert!(registry.stream("demo").is_some());
    registry.handle_timeout(50 * SECOND);
    assert_eq!(
        (stream.state(), registry.poll_timeout()),
        (StreamState::Ended, None)
    );
    assert!(registry.stream("demo").is_none() && registry.streams().is_empty());
    assert_eq!(log(&mut events), "opened demo, reconnecting, ended, over");
    assert!(matches!(
        stream.source().reader(Start::Live).try_next(),
        Some(Item::End)
    ));

    // Too late, also where no timer ran: another stream.
    let next = registry.publish("demo", info(), 51 * SECOND).unwrap();
    assert_ne!(next.stream().id(), stream.id());
    next.finish(52 * SECOND);
    let third = registry.publish("demo", info(), 63 * SECOND).unwrap();
    assert_eq!(third.stream().stats().publishers(), 1);
}

#[test]
fn a_withdrawn_publisher_takes_its_stream_along() {
    let registry = Registry::new(Limits::default());
    let mut events = registry.events();
    let publisher = registry.publish("demo", info(), 0).unwrap();
    let first = Arc::clone(publisher.stream());
    publisher.withdraw();
    assert_eq!(log(&mut events), "opened demo, ended, over");
    assert!(registry.stream("demo").is_none());
    // The place is free at once, with or without the timer.
    assert_eq!(registry.poll_timeout(), Some(0));
    let publisher = registry.publish("demo", info(), SECOND).unwrap();
    assert_ne!(publisher.stream().id(), first.id());
    registry.handle_timeout(2 * SECOND);
    assert!(registry.stream("demo").is_some());
    assert_eq!(registry.poll_timeout(), None);
}

#[test]
fn a_stream_is_continued_by_its_owner_only() {
    let registry = Registry::new(Limits::default());
    let mut events = registry.events();
    let other = || PublisherInfo {
        owner: "ch_2".to_owned(),
        ..info()
    };
    let first = registry.publish("demo", info(), 0).unwrap();
    assert!(registry.publish("demo", other(), SECOND).is_err());
    let old = Arc::clone(first.stream());
    first.finish(2 * SECOND);
    let second = registry.publish("demo", other(), 3 * SECOND).unwrap();
    assert_eq!(
        log(&mut events),
        "opened demo, reconnecting, ended, over, opened demo"
    );
    assert_eq!((old.owner(), second.stream().owner()), ("ch_1", "ch_2"));
    assert_ne!(second.stream().id(), old.id());
    assert_eq!(registry.streams().len(), 1);
}

#[test]
fn ids_are_unique_short_and_lowercase() {
    let registry = Registry::with_unix_origin(Limits::default(), 1_790_000_000_000_000);
    let publishers: Vec<_> = (0..100)
        .map(|number| registry.publish(&format!("c{number}"), info(), 5).unwrap())
        .collect();
    let mut ids: Vec<_> = publishers
        .iter()
        .map(|publisher| publisher.stream().id().to_owned())
        .collect();
    assert!(ids.iter().all(|id| {
        id.len() <= 11
            && id
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    }));
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 100);
}

#[test]
fn limits_and_draining_refuse_in_words() {
    let registry = Registry::new(Limits {
        streams_max: 1,
        feeds_per_stream_max: 1,
        ..Limits::default()
    });
    let publisher = registry.publish("a", info(), 0).unwrap();
    assert_eq!(
        registry.publish("b", info(), 0).unwrap_err(),
        PublishError::TooManyStreams { max: 1 }
    );
    let stream: &Arc<Stream> = publisher.stream();
    let rung = stream.open_feed("720p").unwrap();
    assert!(Arc::ptr_eq(&rung, &stream.open_feed("720p").unwrap()));
    assert_eq!(
        stream.open_feed("480p").unwrap_err(),
        FeedError::TooMany { max: 1 }
    );
    stream.close_feed("720p");
    assert!(rung.is_ended() && stream.feed("720p").is_none() && stream.open_feed("480p").is_ok());
    assert!(!registry.is_draining());
    registry.drain();
    assert!(registry.is_draining());
    drop(publisher);
    assert_eq!(
        registry.publish("a", info(), 1).unwrap_err(),
        PublishError::Draining
    );
}

#[test]
fn a_failed_stream_makes_room() {
    let registry = Registry::new(Limits::default());
    let mut events = registry.events();
    let publisher = registry.publish("demo", info(), 0).unwrap();
    assert!(publisher.stream().set_state(StreamState::Failed));
    assert!(!publisher.stream().set_state(StreamState::Live), "final");
    assert!(publisher.is_over() && registry.stream("demo").is_none());
    let second = registry.publish("demo", info(), 1).unwrap();
    drop(publisher);
    assert_eq!(
        second.stream().state(),
        StreamState::Starting,
        "the old one's end is not the new one's"
    );
    assert_eq!(log(&mut events), "opened demo, failed, over, opened demo");
}

#[test]
fn slow_subscribers_hear_that_they_missed_something() {
    let registry = Registry::new(Limits {
        events_max: 2,
        ..Limits::default()
    });
    let mut events = registry.events();
    let publishers: Vec<_> = (0..5)
        .map(|number| registry.publish(&number.to_string(), info(), 0).unwrap())
        .collect();
    assert_eq!(log(&mut events), "opened 0, opened 1, missed 3");
    let waiting =
        std::thread::spawn(move || matches!(block_on(events.next()), StreamEvent::StateChanged(..)));
    drop(publishers);
    assert!(waiting.join().unwrap());
}

#[test]
fn timers_hear_of_new_deadlines() {
    let registry = Registry::new(Limits::default());
    let publisher = registry.publish("demo", info(), 0).unwrap();
    let changed = registry.timeout_changed();
    drop(publisher);
    block_on(changed);
    assert_eq!(registry.poll_timeout(), Some(0));
}
