//! Tests on a real database in a temporary directory, some with a second process.

use std::fs;
use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sqlx::{ConnectOptions, Connection};

use crate::*;

/// A directory that goes with the test.
struct TempDir(PathBuf);

impl TempDir {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tidewire-platform-{}-{count}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(work)
}

/// The test binary again, as another process that runs only `test`.
fn second_process(test: &str, dir: &Path, argument: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("tests::{test}"), "--nocapture"])
        .env("PLATFORM_TEST_DIR", dir)
        .env("PLATFORM_TEST_ARGUMENT", argument)
        .spawn()
        .unwrap()
}

fn second_process_part() -> Option<(PathBuf, String)> {
    let dir = std::env::var_os("PLATFORM_TEST_DIR")?;
    Some((dir.into(), std::env::var("PLATFORM_TEST_ARGUMENT").unwrap()))
}

#[test]
fn channel_names() {
    for name in ["a", "0", "stage", "a-b_c", &"x".repeat(63)] {
        assert!(valid_channel_name(name), "{name}");
    }
    for name in [
        "",
        "-a",
        "_a",
        "A",
        "a b",
        "a/b",
        "a.b",
        "ü",
        "a\n",
        "..",
        &"x".repeat(64),
    ] {
        assert!(!valid_channel_name(name), "{name}");
    }
}

#[test]
fn channels_come_and_go() {
    let dir = TempDir::new();
    run(async {
        let platform = Platform::open(dir.path()).await.unwrap();
        let stage = platform.create_channel("stage", false).await.unwrap();
        let attic = platform.create_channel("attic", true).await.unwrap();
        assert!(stage.id.starts_with("ch_") && stage.id.len() == 29);
        assert_eq!(platform.list_channels().await.unwrap(), [attic, stage.clone()]);
        assert_eq!(platform.channel("stage").await.unwrap(), stage);
        let again = platform.create_channel("stage", true).await.unwrap_err();
        assert!(
            matches!(again, Error::ChannelExists { ref name } if name == "stage"),
            "{again}"
        );
        let bad = platform.create_channel("Stage\n", false).await.unwrap_err();
        assert!(matches!(bad, Error::InvalidName { .. }), "{bad}");
        let key = platform.add_key("stage", "", None).await.unwrap();
        platform.remove_channel("stage").await.unwrap();
        assert!(matches!(
            platform.channel("stage").await,
            Err(Error::ChannelNotFound { .. })
        ));
        assert!(matches!(
            platform.remove_channel("stage").await,
            Err(Error::ChannelNotFound { .. })
        ));
        // Its keys are gone with it.
        let refused = platform.authorize_publish(key.stream_key.expose()).await;
        assert!(matches!(refused, Err(KeyRefusal::Unknown)), "{refused:?}");
    });
}

#[test]
fn keys_open_their_channel_until_revoked() {
    let dir = TempDir::new();
    run(async {
        let server = Platform::open_server(dir.path()).await.unwrap();
        let command = Platform::open(dir.path()).await.unwrap();
        let (channel, first) = command.create_channel_with_key("stage", true).await.unwrap();
        let second = command.add_key("stage", "guest", None).await.unwrap();
        let text = first.stream_key.expose();
        assert!(text.starts_with("tw_") && text.len() == 35, "{text}");
        let found = server.authorize_publish(&format!(" {text}\n")).await.unwrap();
        assert_eq!(
            (found.id, found.name.as_str(), found.private),
            (channel.id, "stage", true)
        );
        assert_eq!(
            (found.key_id.as_str(), found.key_label.as_str()),
            (first.info.id.as_str(), "first key")
        );
        command.revoke_key("stage", &first.info.prefix).await.unwrap();
        // At once, by another connection of another pool, and for the stream that is live with it.
        assert!(matches!(
            server.authorize_publish(text).await,
            Err(KeyRefusal::Revoked)
        ));
        assert!(matches!(
            server.check_key(&first.info.id).await,
            Err(KeyRefusal::Revoked)
        ));
        // The other key is untouched.
        assert_eq!(
            server
                .authorize_publish(second.stream_key.expose())
                .await
                .unwrap()
                .key_label,
            "guest"
        );
        server.check_key(&second.info.id).await.unwrap();
        // Named by the whole key; a second time changes nothing.
        let revoked = command
            .revoke_key("stage", second.stream_key.expose())
            .await
            .unwrap();
        let again = command.revoke_key("stage", &second.info.id).await.unwrap();
        assert_eq!(revoked.revoked_at_ms, again.revoked_at_ms);
        assert!(matches!(
            command.revoke_key("stage", "tw_zzzz").await,
            Err(Error::KeyNotFound { .. })
        ));
        server.close().await.unwrap();
        let keys = command.list_keys("stage").await.unwrap();
        assert!(
            keys.iter()
                .all(|key| key.revoked_at_ms.is_some() && key.used_at_ms.is_some()),
            "{keys:?}"
        );
    });
}

#[test]
fn malformed_and_foreign_keys_are_refused() {
    let (dir, other_dir) = (TempDir::new(), TempDir::new());
    run(async {
        let platform = Platform::open(dir.path()).await.unwrap();
        let other = Platform::open(other_dir.path()).await.unwrap();
        let (_, foreign) = other.create_channel_with_key("stage", false).await.unwrap();
        let token = platform.create_admin_token("", Scopes::ALL, None).await.unwrap();
        for text in [
            "",
            "tw_",
            "stage",
            "tw_u",
            &"tw_u".repeat(9)[..35],
            &"x".repeat(100_000),
            token.token.expose(),
        ] {
            let refused = platform.authorize_publish(text).await;
            assert!(
                matches!(refused, Err(KeyRefusal::Malformed)),
                "{text:.40}: {refused:?}"
            );
        }
        let refused = platform.authorize_publish(foreign.stream_key.expose()).await;
        assert!(matches!(refused, Err(KeyRefusal::Unknown)), "{refused:?}");
    });
}

#[test]
fn keys_expire() {
    let dir = TempDir::new();
    run(async {
        let platform = Platform::open(dir.path()).await.unwrap();
        platform.create_channel("stage", false).await.unwrap();
        let past = platform.add_key("stage", "", Some(now_ms())).await;
        assert!(matches!(past, Err(Error::ExpiryPast)), "{past:?}");
        let key = platform.add_key("stage", "", Some(now_ms() + 150)).await.unwrap();
        platform.authorize_publish(key.stream_key.expose()).await.unwrap();
        // The expiry is an instant of the wall clock, so the wall clock must pass it.
        while now_ms() < key.info.expires_at_ms.unwrap() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(matches!(
            platform.authorize_publish(key.stream_key.expose()).await,
            Err(KeyRefusal::Expired)
        ));
        assert!(matches!(
            platform.check_key(&key.info.id).await,
            Err(KeyRefusal::Expired)
        ));
    });
}

#[test]
fn admin_tokens() {
    let dir = TempDir::new();
    run(async {
        let platform = Platform::open(dir.path()).await.unwrap();
        let made = platform
            .create_admin_token("ops", Scopes::ALL, None)
            .await
            .unwrap();
        assert_eq!(
            platform.verify_admin_token(made.token.expose()).await.unwrap(),
            Some(made.info.clone())
        );
        let (_, key) = platform.create_channel_with_key("stage", false).await.unwrap();
        // A publisher's key is no admin token, in neither form.
        let disguised = key.stream_key.expose().replace("tw_", "twa_");
        for text in ["", key.stream_key.expose(), &disguised] {
            assert_eq!(platform.verify_admin_token(text).await.unwrap(), None);
        }
        platform.revoke_admin_token(&made.info.id).await.unwrap();
        assert_eq!(
            platform.verify_admin_token(made.token.expose()).await.unwrap(),
            None
        );
        assert!(matches!(
            platform.revoke_admin_token("tok_0").await,
            Err(Error::TokenNotFound { .. })
        ));
        assert_eq!(platform.list_admin_tokens().await.unwrap().len(), 1);
        assert!(matches!(
            platform.create_admin_token("a\nb", Scopes::ALL, None).await,
            Err(Error::InvalidLabel)
        ));
    });
}

#[test]
fn a_rotated_key_opens_until_its_overlap_ends() {
    let dir = TempDir::new();
    run(async {
        let platform = Platform::open(dir.path()).await.unwrap();
        let (_, first) = platform.create_channel_with_key("stage", false).await.unwrap();
        let (_, second) = platform
            .rotate_key("stage", &first.info.id, 3_600_000)
            .await
            .unwrap();
        for key in [&first, &second] {
            platform.authorize_publish(key.stream_key.expose()).await.unwrap();
        }
        let listed = platform.list_keys("stage").await.unwrap();
        let expiry = listed[0].expires_at_ms.unwrap();
        assert!(
            (now_ms()..=now_ms() + 3_600_000).contains(&expiry) && listed[1].expires_at_ms.is_none(),
            "{listed:?}"
        );
        // An expiry that is nearer than the overlap stands.
        let (_, third) = platform
            .rotate_key("stage", &first.info.id, 7_200_000)
            .await
            .unwrap();
        assert_eq!(
            platform.list_keys("stage").await.unwrap()[0].expires_at_ms,
            Some(expiry)
        );
        // Without overlap the old one is over at once, and cannot be exchanged again.
        platform.rotate_key("stage", &third.info.id, 0).await.unwrap();
        let refused = platform.authorize_publish(third.stream_key.expose()).await;
        assert!(matches!(refused, Err(KeyRefusal::Expired)), "{refused:?}");
        let again = platform.rotate_key("stage", &third.info.id, 0).await;
        assert!(matches!(again, Err(Error::KeyOver { .. })), "{again:?}");
        assert_eq!(platform.list_keys("stage").await.unwrap().len(), 4);
    });
}

#[test]
fn changes_are_events_of_the_same_transaction() {
    let dir = TempDir::new();
    run(async {
        let platform = Platform::open(dir.path()).await.unwrap();
        let (channel, key) = platform.create_channel_with_key("stage", false).await.unwrap();
        // What is refused leaves no event.
        platform.create_channel("stage", false).await.unwrap_err();
        platform.set_channel_private("stage", true).await.unwrap();
        platform.set_channel_private("stage", true).await.unwrap();
        for state in [
            StreamState::Live,
            StreamState::Live,
            StreamState::Reconnecting,
            StreamState::Ended,
            StreamState::Live,
        ] {
            platform
                .record_stream_state(&channel.id, "one", state, None, None)
                .await
                .unwrap();
        }
        for _ in 0..2 {
            platform.revoke_key("stage", &key.info.id).await.unwrap();
        }
        platform.remove_channel("stage").await.unwrap();
        let all = platform
            .list_events_after(0, &EventFilter::default(), 100)
            .await
            .unwrap();
        let kinds: Vec<&str> = all.iter().map(|event| event.kind.as_str()).collect();
        let expected = [
            "channel.created",
            "key.created",
            "channel.changed",
            "stream.started",
            "stream.live",
            "stream.reconnecting",
            "stream.ended",
            "key.revoked",
            "channel.removed",
        ];
        assert_eq!(kinds, expected);
        assert!(all.iter().zip(1..).all(|(event, seq)| event.seq == seq));
        assert!(all.iter().all(|event| event_seq(&event.id) == Some(event.seq)));
        assert!(all.is_sorted_by(|one, two| one.id < two.id));
        let of_keys = EventFilter {
            kind: Some(EventType::KeyRevoked),
            channel: Some("stage".to_owned()),
        };
        let found = platform.list_events_before(i64::MAX, &of_keys, 9).await.unwrap();
        assert_eq!((found.len(), found[0].seq), (1, 8));
        assert!(!found[0].data.to_string().contains(key.stream_key.expose()));
        assert_eq!(platform.newest_event_seq().await.unwrap(), 9);
    });
}

#[test]
fn a_webhook_is_tried_for_a_day_and_disabled_after_five() {
    let dir = TempDir::new();
    run(async {
        let platform = Platform::open(dir.path()).await.unwrap();
        platform.create_channel("before", false).await.unwrap();
        let webhook = platform
            .create_webhook("https://example.org/", "", &[EventType::ChannelCreated])
            .await
            .unwrap();
        platform.create_channel_with_key("stage", false).await.unwrap();
        assert!(!platform.queue_deliveries().await.unwrap());
        assert!(!platform.queue_deliveries().await.unwrap());
        let due = platform.due_deliveries(now_ms()).await.unwrap();
        assert_eq!((due.len(), due[0].event.channel.as_str()), (1, "stage"));
        let failed = |retry_at_ms| Attempt {
            status: Some(500),
            error: Some("it answered 500".to_owned()),
            duration_ms: 1,
            retry_at_ms,
        };
        // It waits, then is due again, and is given up when the next attempt would be after a day.
        let soon = now_ms() + 60_000;
        assert!(platform.record_attempt(&due[0], failed(soon)).await.unwrap());
        assert_eq!(platform.due_deliveries(now_ms()).await.unwrap(), []);
        assert_eq!(platform.next_delivery_ms().await.unwrap(), Some(soon));
        assert_eq!(platform.due_deliveries(soon).await.unwrap()[0].attempt, 1);
        let late = now_ms() + DELIVERY_TRIED_MS + 60_000;
        assert!(platform.record_attempt(&due[0], failed(late)).await.unwrap());
        let log = platform.list_deliveries(&webhook.id, None, 9).await.unwrap();
        assert_eq!((log[0].state.as_str(), log[0].attempt), ("failed", 2));
        assert_eq!(platform.next_delivery_ms().await.unwrap(), None);
        // Failing for five days disables it; a success before would have begun anew.
        platform.replay_delivery(&webhook.id, &log[0].id).await.unwrap();
        platform
            .write(|db| {
                Box::pin(async move {
                    sqlx::query("UPDATE webhooks SET failing_since = failing_since - $1")
                        .bind(WEBHOOK_FAILS_MS + 60_000)
                        .execute(db)
                        .await?;
                    Ok(())
                })
            })
            .await
            .unwrap();
        assert!(!platform.record_attempt(&due[0], failed(soon)).await.unwrap());
        assert!(!platform.webhook(&webhook.id).await.unwrap().enabled);
        assert_eq!(platform.due_deliveries(i64::MAX).await.unwrap(), []);
    });
}

#[test]
fn what_waits_for_a_webhook_is_bounded() {
    let dir = TempDir::new();
    run(async {
        let platform = Platform::open(dir.path()).await.unwrap();
        let webhook = platform
            .create_webhook("https://example.org/", "", &[])
            .await
            .unwrap();
        let event = NewEvent {
            kind: EventType::HealthChanged,
            channel: "stage".to_owned(),
            channel_id: "ch_0".to_owned(),
            stream_id: None,
            data: serde_json::Value::Null,
        };
        let beyond = 700;
        for count in [PENDING_MAX as usize, beyond] {
            platform.record_events(vec![event.clone(); count]).await.unwrap();
            while platform.queue_deliveries().await.unwrap() {}
        }
        let log: (i64, i64) = sqlx::query_as(
            "SELECT SUM(state = 'pending'), SUM(state = 'failed') FROM webhook_deliveries WHERE webhook_id = $1",
        )
        .bind(&webhook.id)
        .fetch_one(platform.readers())
        .await
        .unwrap();
        assert_eq!(log, (PENDING_MAX, DELIVERIES_MAX));
    });
}

#[test]
fn a_crash_is_an_event_and_old_events_go() {
    let dir = TempDir::new();
    run(async {
        let first = Platform::open(dir.path()).await.unwrap();
        let channel = first.create_channel("stage", false).await.unwrap();
        first
            .record_stream_state(&channel.id, "one", StreamState::Live, None, None)
            .await
            .unwrap();
        let server = Platform::open_server(dir.path()).await.unwrap();
        let newest = server
            .list_events_before(i64::MAX, &EventFilter::default(), 1)
            .await
            .unwrap();
        assert_eq!(
            (newest[0].kind.as_str(), newest[0].stream_id.as_deref()),
            ("stream.failed", Some("one"))
        );
        // As if a month had gone by since.
        server
            .write(|db| {
                Box::pin(async move {
                    sqlx::query("UPDATE events SET at = at - $1")
                        .bind(EVENTS_KEPT_MS)
                        .execute(db)
                        .await?;
                    Ok(())
                })
            })
            .await
            .unwrap();
        let event = NewEvent {
            kind: EventType::HealthChanged,
            channel: "stage".to_owned(),
            channel_id: channel.id,
            stream_id: None,
            data: serde_json::Value::Null,
        };
        server.record_events(vec![event; 300]).await.unwrap();
        let left = server
            .list_events_after(0, &EventFilter::default(), 1000)
            .await
            .unwrap();
        assert_eq!((left.len(), left[0].seq), (300, 5));
    });
}

#[test]
fn streams_are_listed_newest_first_in_pages() {
    let dir = TempDir::new();
    run(async {
        let platform = Platform::open(dir.path()).await.unwrap();
        for name in ["a", "b"] {
            let channel = platform.create_channel(name, false).await.unwrap();
            for number in 0..3 {
                let (id, state) = (format!("{name}{number}"), StreamState::Live);
                platform
                    .record_stream_state(&channel.id, &id, state, None, None)
                    .await
                    .unwrap();
            }
        }
        let (mut seen, mut before): (Vec<StreamRecord>, Option<(i64, String)>) = (Vec::new(), None);
        loop {
            let at = before.as_ref().map(|(at, id)| (*at, id.as_str()));
            let page = platform.list_streams_before(None, at, 4).await.unwrap();
            let Some(last) = page.last() else { break };
            before = Some((last.started_at_ms, last.id.clone()));
            seen.extend(page);
        }
        assert_eq!(seen.len(), 6);
        assert!(seen.is_sorted_by(|one, two| (one.started_at_ms, &one.id) > (two.started_at_ms, &two.id)));
        let one = platform.stream_record("b1").await.unwrap().unwrap();
        assert_eq!((one.channel.as_str(), one.state), ("b", StreamState::Live));
        assert_eq!(platform.stream_record("c1").await.unwrap(), None);
    });
}

#[test]
fn secrets_are_nowhere_in_the_files() {
    let dir = TempDir::new();
    let secrets = run(async {
        let platform = Platform::open(dir.path()).await.unwrap();
        let (_, key) = platform.create_channel_with_key("stage", false).await.unwrap();
        let token = platform
            .create_admin_token("ops", Scopes::ALL, None)
            .await
            .unwrap();
        platform.authorize_publish(key.stream_key.expose()).await.unwrap();
        platform
            .authorize_publish(&key.stream_key.expose().replace(&key.info.prefix, "tw_0000"))
            .await
            .unwrap_err();
        platform.close().await.unwrap();
        // Everything into the main file: closing connections take the others away meanwhile.
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
            .execute(&mut raw(dir.path()).await)
            .await
            .unwrap();
        assert!(!format!("{key:?} {token:?}").contains(&key.stream_key.expose()[7..]));
        [
            key.stream_key.expose().to_owned(),
            token.token.expose().to_owned(),
        ]
    });
    let mut seen_prefix = false;
    for file in fs::read_dir(dir.path()).unwrap() {
        let Ok(bytes) = fs::read(file.unwrap().path()) else {
            continue;
        };
        for secret in &secrets {
            // Any 12 characters of it would already be 60 bits.
            for piece in secret.as_bytes()[7..].windows(12) {
                assert!(!bytes.windows(12).any(|window| window == piece));
            }
            seen_prefix |= bytes.windows(7).any(|window| window == &secret.as_bytes()[..7]);
        }
    }
    assert!(seen_prefix, "the search looks at the bytes that were written");
    let mode = fs::metadata(dir.path().join("server.secret"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(
        fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777,
        0o700
    );
}

#[test]
fn stream_records_follow_the_stream() {
    let dir = TempDir::new();
    run(async {
        let platform = Platform::open(dir.path()).await.unwrap();
        let channel = platform.create_channel("stage", false).await.unwrap().id;
        let facts = SourceFacts {
            protocol: Some("rtmp".to_owned()),
            width: Some(1280),
            ..SourceFacts::default()
        };
        let set = |state, facts, reason| platform.record_stream_state(&channel, "s1", state, facts, reason);
        assert!(set(StreamState::Starting, None, None).await.unwrap());
        assert!(set(StreamState::Live, Some(&facts), None).await.unwrap());
        assert!(
            set(StreamState::Reconnecting, None, Some("connection lost"))
                .await
                .unwrap()
        );
        let record = platform.list_streams(&channel, 10).await.unwrap().pop().unwrap();
        assert_eq!(
            (record.state, record.ended_at_ms),
            (StreamState::Reconnecting, None)
        );
        assert_eq!(
            (&record.source, record.reason.as_deref()),
            (&facts, Some("connection lost"))
        );
        assert!(set(StreamState::Ended, None, None).await.unwrap());
        // Final is final.
        assert!(!set(StreamState::Live, None, None).await.unwrap());
        let record = platform.list_streams(&channel, 10).await.unwrap().pop().unwrap();
        assert!(record.ended_at_ms.unwrap() >= record.started_at_ms);
        assert_eq!((record.state, record.source), (StreamState::Ended, facts));
        let gone = platform
            .record_stream_state("ch_gone", "s2", StreamState::Live, None, None)
            .await;
        assert!(matches!(gone, Err(Error::ChannelNotFound { .. })), "{gone:?}");
    });
}

#[test]
fn stream_records_are_bounded_while_the_server_runs() {
    let dir = TempDir::new();
    run(async {
        let platform = Platform::open(dir.path()).await.unwrap();
        let channel = platform.create_channel("stage", false).await.unwrap().id;
        let set = |id, state| platform.record_stream_state(&channel, id, state, None, None);
        sqlx::query(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10400) \
             INSERT INTO streams (id, channel_id, state, started_at, updated_at) \
             SELECT 'old' || i, $1, CASE i WHEN 1 THEN 'live' ELSE 'ended' END, i, i FROM n",
        )
        .bind(&channel)
        .execute(&mut raw(dir.path()).await)
        .await
        .unwrap();
        set("new", StreamState::Live).await.unwrap();
        set("new", StreamState::Ended).await.unwrap();
        let left = platform.list_streams(&channel, u32::MAX).await.unwrap();
        // One is live, however old.
        assert_eq!(left.len(), 10_001);
        assert_eq!((left[0].id.as_str(), left[10_000].id.as_str()), ("new", "old1"));
    });
}

#[test]
fn a_crash_leaves_failed_streams() {
    if let Some((dir, _)) = second_process_part() {
        run(async {
            let platform = Platform::open_server(&dir).await.unwrap();
            let channel = platform.create_channel("stage", false).await.unwrap().id;
            for (id, state) in [
                ("s1", StreamState::Live),
                ("s2", StreamState::Reconnecting),
                ("s3", StreamState::Ended),
            ] {
                platform
                    .record_stream_state(&channel, id, state, None, None)
                    .await
                    .unwrap();
            }
        });
        // As SIGKILL would: nothing is closed.
        std::process::abort();
    }
    let dir = TempDir::new();
    assert!(
        !second_process("a_crash_leaves_failed_streams", dir.path(), "")
            .wait()
            .unwrap()
            .success()
    );
    run(async {
        // A command does not touch them: the server may be running.
        let command = Platform::open(dir.path()).await.unwrap();
        let channel = command.channel("stage").await.unwrap().id;
        let states = async |platform: &Platform| {
            let records = platform.list_streams(&channel, 10).await.unwrap();
            let mut states: Vec<_> = records
                .into_iter()
                .map(|record| (record.id, record.state))
                .collect();
            states.sort_by(|one, two| one.0.cmp(&two.0));
            states.into_iter().map(|(_, state)| state).collect::<Vec<_>>()
        };
        assert_eq!(
            states(&command).await,
            [StreamState::Live, StreamState::Reconnecting, StreamState::Ended]
        );
        let server = Platform::open_server(dir.path()).await.unwrap();
        assert_eq!(
            states(&server).await,
            [StreamState::Failed, StreamState::Failed, StreamState::Ended]
        );
        let records = server.list_streams(&channel, 10).await.unwrap();
        let failed = records
            .iter()
            .find(|record| record.state == StreamState::Failed)
            .unwrap();
        assert!(failed.ended_at_ms.is_some() && failed.reason.as_deref().unwrap().contains("server stopped"));
        // A second server is refused and says which process the first is.
        let second = Platform::open_server(dir.path()).await.err().unwrap();
        assert!(
            matches!(second, Error::AlreadyServing { pid: Some(pid), .. } if pid == std::process::id()),
            "{second}"
        );
        drop(server);
        Platform::open_server(dir.path()).await.unwrap();
    });
}

#[test]
fn two_processes_write_at_once() {
    const CHANNELS: usize = 60;
    let write = |dir: &Path, name: &str| {
        run(async {
            let platform = Platform::open(dir).await.unwrap();
            for index in 0..CHANNELS {
                platform
                    .create_channel_with_key(&format!("{name}{index}"), false)
                    .await
                    .unwrap();
            }
            platform.close().await.unwrap();
        });
    };
    if let Some((dir, name)) = second_process_part() {
        return write(&dir, &name);
    }
    let dir = TempDir::new();
    // Also the very first opening is a race: of the directory, the secret, WAL and the schema.
    let mut others: Vec<Child> = ["b", "c"]
        .iter()
        .map(|name| second_process("two_processes_write_at_once", dir.path(), name))
        .collect();
    write(dir.path(), "a");
    for other in &mut others {
        assert!(other.wait().unwrap().success());
    }
    run(async {
        let platform = Platform::open(dir.path()).await.unwrap();
        let channels = platform.list_channels().await.unwrap();
        assert_eq!(channels.len(), 3 * CHANNELS);
        for channel in channels {
            assert_eq!(platform.list_keys(&channel.name).await.unwrap().len(), 1);
        }
    });
}

#[test]
fn changes_of_another_process_are_noticed() {
    let dir = TempDir::new();
    run(async {
        let server = Platform::open_server(dir.path()).await.unwrap();
        let mut changes = server.changes().await.unwrap();
        let command = Platform::open(dir.path()).await.unwrap();
        command.create_channel("stage", false).await.unwrap();
        tokio::time::timeout(Duration::from_secs(10), changes.changed())
            .await
            .unwrap()
            .unwrap();
        assert!(*changes.borrow() > 0);
    });
}

#[test]
fn bounds_are_kept() {
    let dir = TempDir::new();
    run(async {
        let platform = Platform::open(dir.path()).await.unwrap();
        platform.create_channel("stage", false).await.unwrap();
        for _ in 0..KEYS_PER_CHANNEL_MAX {
            platform.add_key("stage", "", None).await.unwrap();
        }
        let more = platform.add_key("stage", "", None).await;
        assert!(
            matches!(
                more,
                Err(Error::TooMany {
                    max: KEYS_PER_CHANNEL_MAX,
                    ..
                })
            ),
            "{more:?}"
        );
        let long = platform
            .add_key("stage", &"x".repeat(LABEL_CHARS_MAX + 1), None)
            .await;
        assert!(matches!(long, Err(Error::InvalidLabel)), "{long:?}");
    });
}

/// A second connection to the database, as a tool of the operator would open one.
async fn raw(dir: &Path) -> sqlx::SqliteConnection {
    sqlx::sqlite::SqliteConnectOptions::new()
        .filename(dir.join("tidewire.db"))
        .connect()
        .await
        .unwrap()
}

#[test]
fn faults_are_named() {
    run(async {
        let dir = TempDir::new();
        drop(Platform::open(dir.path()).await.unwrap());

        // Locked: another connection writes and does not end.
        let mut other = raw(dir.path()).await;
        let held = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
        let locked = Platform::open_with(dir.path(), None, Duration::from_millis(50))
            .await
            .err()
            .unwrap();
        assert!(
            matches!(locked, Error::Locked { .. }) && locked.is_transient(),
            "{locked}"
        );
        drop(held);

        // Newer schema.
        sqlx::query("INSERT INTO schema_versions (version, applied_at) VALUES (99, 0)")
            .execute(&mut other)
            .await
            .unwrap();
        let newer = Platform::open(dir.path()).await.err().unwrap();
        assert!(matches!(newer, Error::NewerSchema { found: 99, .. }), "{newer}");
        sqlx::query("DELETE FROM schema_versions WHERE version = 99")
            .execute(&mut other)
            .await
            .unwrap();
        drop(Platform::open(dir.path()).await.unwrap());
        other.close().await.unwrap();

        // The secret of another directory, then half of one.
        let secret = dir.path().join("server.secret");
        let kept = fs::read(&secret).unwrap();
        fs::write(&secret, [7; 32]).unwrap();
        let swapped = Platform::open(dir.path()).await.err().unwrap();
        assert!(matches!(swapped, Error::WrongSecret { .. }), "{swapped}");
        fs::write(&secret, &kept[..16]).unwrap();
        let damaged = Platform::open(dir.path()).await.err().unwrap();
        assert!(
            matches!(damaged, Error::DamagedSecret { found: 16, .. }),
            "{damaged}"
        );
        fs::write(&secret, &kept).unwrap();

        // Not a database.
        for file in ["tidewire.db-wal", "tidewire.db-shm"] {
            let _ = fs::remove_file(dir.path().join(file));
        }
        fs::write(
            dir.path().join("tidewire.db"),
            b"not a database, but long enough to look like a header",
        )
        .unwrap();
        let corrupt = Platform::open(dir.path()).await.err().unwrap();
        assert!(matches!(corrupt, Error::Corrupt { .. }), "{corrupt}");

        // A file stands where the directory should be.
        let blocked = dir.path().join("server.secret").join("data");
        let unwritable = Platform::open(&blocked).await.err().unwrap();
        assert!(matches!(unwritable, Error::DataDir { .. }), "{unwritable}");
        for error in [locked, newer, swapped, damaged, corrupt, unwritable] {
            let text = error.to_string();
            assert!(
                text.starts_with(dir.path().to_str().unwrap()) && !text.contains('\n'),
                "{text}"
            );
        }
    });
}

#[test]
fn the_readers_cannot_write() {
    let dir = TempDir::new();
    run(async {
        let platform = Platform::open(dir.path()).await.unwrap();
        let refused = sqlx::query("DELETE FROM channels")
            .execute(platform.readers())
            .await
            .unwrap_err();
        assert!(matches!(platform.fault(refused), Error::ReadOnly { .. }));
    });
}

#[test]
fn signing_keys_rotate_and_are_revoked() {
    let dir = TempDir::new();
    run(async {
        let platform = Platform::open(dir.path()).await.unwrap();
        assert!(platform.signing_keys().await.unwrap().is_empty());
        let first = platform.current_signing_key().await.unwrap();
        assert_eq!(
            platform.current_signing_key().await.unwrap().id(),
            first.id(),
            "it is made once"
        );
        let second = platform.rotate_signing_key().await.unwrap();
        let ids = |keys: Vec<access::SigningKey>| -> Vec<String> {
            keys.iter().map(|key| key.id().to_string()).collect()
        };
        let mut valid = ids(platform.signing_keys().await.unwrap());
        valid.sort();
        let mut both = vec![first.id().to_string(), second.id.clone()];
        both.sort();
        assert_eq!(valid, both);
        // Another process of the same data directory has the same secrets.
        let other = Platform::open(dir.path()).await.unwrap();
        let claims = access::Claims {
            key_id: first.id(),
            expires_at_s: 100,
            not_before_s: None,
            network: None,
            scope: access::Scope::of_link("/watch/stage").unwrap(),
        };
        let token = first.sign(&claims);
        let ring = std::sync::Arc::new(access::KeyRing::default());
        ring.replace(other.signing_keys().await.unwrap());
        assert!(access::Grant::open(&token, &ring).is_ok());
        let revoked = other.revoke_signing_key(&first.id().to_string()).await.unwrap();
        assert!(revoked.revoked_at_ms.is_some());
        assert_eq!(
            ids(platform.signing_keys().await.unwrap()),
            std::slice::from_ref(&second.id)
        );
        let gone = platform.revoke_signing_key("sig_0").await;
        assert!(matches!(gone, Err(Error::SigningKeyNotFound { .. })), "{gone:?}");
        platform.revoke_signing_key(&second.id).await.unwrap();
        // With none left, the next link makes one.
        let third = platform.current_signing_key().await.unwrap().id();
        assert_eq!(platform.list_signing_keys().await.unwrap().len(), 3);
        assert_eq!(ids(platform.signing_keys().await.unwrap()), [third.to_string()]);
    });
}

#[test]
fn signing_keys_are_bounded() {
    let dir = TempDir::new();
    run(async {
        let platform = Platform::open(dir.path()).await.unwrap();
        let mut ids = Vec::new();
        for _ in 0..SIGNING_KEYS_MAX {
            ids.push(platform.rotate_signing_key().await.unwrap().id);
        }
        let refused = platform.rotate_signing_key().await;
        assert!(matches!(refused, Err(Error::TooMany { .. })), "{refused:?}");
        for id in &ids {
            platform.revoke_signing_key(id).await.unwrap();
        }
        for _ in 0..2 {
            let id = platform.rotate_signing_key().await.unwrap().id;
            platform.revoke_signing_key(&id).await.unwrap();
        }
        assert!(platform.list_signing_keys().await.unwrap().len() as i64 <= SIGNING_KEYS_MAX + 1);
    });
}

#[test]
fn keys_are_rotated_with_an_overlap() {
    let dir = TempDir::new();
    run(async {
        let platform = Platform::open(dir.path()).await.unwrap();
        platform.create_channel("stage", false).await.unwrap();
        let first = platform.add_key("stage", "studio", None).await.unwrap();
        let before = now_ms();
        let (old, second) = platform
            .rotate_key("stage", &first.info.prefix, 60_000)
            .await
            .unwrap();
        let end = old.expires_at_ms.unwrap();
        assert!((before + 60_000..=now_ms() + 60_000).contains(&end));
        assert_eq!(
            (old.id.as_str(), second.info.label.as_str()),
            (&*first.info.id, "studio")
        );
        assert_eq!(second.info.expires_at_ms, None);
        // Both open the channel meanwhile.
        for key in [&first, &second] {
            let opened = platform.authorize_publish(key.stream_key.expose()).await.unwrap();
            assert_eq!((opened.name.as_str(), &opened.key_id), ("stage", &key.info.id));
        }
        // Without an overlap the old one is over at once.
        let (_, third) = platform
            .rotate_key("stage", second.stream_key.expose(), 0)
            .await
            .unwrap();
        let refused = platform.authorize_publish(second.stream_key.expose()).await;
        assert!(matches!(refused, Err(KeyRefusal::Expired)), "{refused:?}");
        assert!(
            platform
                .authorize_publish(third.stream_key.expose())
                .await
                .is_ok()
        );
        let over = platform.rotate_key("stage", &second.info.id, 0).await;
        assert!(matches!(over, Err(Error::KeyOver { .. })), "{over:?}");
        // An expiry that was near already is not moved away, and goes on to the new key.
        let near = now_ms() + 30_000;
        let guest = platform.add_key("stage", "guest", Some(near)).await.unwrap();
        let (old, new) = platform
            .rotate_key("stage", &guest.info.id, 60_000)
            .await
            .unwrap();
        assert_eq!(
            (old.expires_at_ms, new.info.expires_at_ms),
            (Some(near), Some(near))
        );
        let missing = platform.rotate_key("stage", "tw_0", 0).await;
        assert!(matches!(missing, Err(Error::KeyNotFound { .. })), "{missing:?}");
    });
}

#[test]
fn signed_stream_keys_open_their_channel_for_a_time() {
    let dir = TempDir::new();
    run(async {
        let platform = Platform::open(dir.path()).await.unwrap();
        let stage = platform.create_channel("stage", true).await.unwrap();
        let past = platform.sign_stream_key("stage", now_ms() - 1).await;
        assert!(matches!(past, Err(Error::ExpiryPast)), "{past:?}");
        let missing = platform.sign_stream_key("nowhere", now_ms() + 60_000).await;
        assert!(
            matches!(missing, Err(Error::ChannelNotFound { .. })),
            "{missing:?}"
        );
        let key = platform
            .sign_stream_key("stage", now_ms() + 60_000)
            .await
            .unwrap();
        let key = key.expose();
        let opened = platform.authorize_publish(key).await.unwrap();
        assert_eq!(
            (&opened.id, opened.name.as_str(), opened.private),
            (&stage.id, "stage", true)
        );
        assert!(!key.is_empty() && !opened.key_id.contains(&key[key.len() - 32..]));
        assert!(platform.check_key(&opened.key_id).await.is_ok());
        assert!(
            platform.list_keys("stage").await.unwrap().is_empty(),
            "nothing is stored of it"
        );

        // Whatever is changed in it, it opens nothing.
        for at in 4..key.len() {
            let mut changed = key.to_owned();
            let other = if key[at..].starts_with('0') { "1" } else { "0" };
            changed.replace_range(at..=at, other);
            let refused = platform.authorize_publish(&changed).await;
            assert!(
                matches!(refused, Err(KeyRefusal::Unknown | KeyRefusal::Malformed)),
                "{changed}: {refused:?}"
            );
        }
        for bad in [
            "tws_",
            "tws_a_b_c_d",
            &key[..key.len() - 1],
            &format!("{key}0"),
            &key.to_uppercase(),
        ] {
            let refused = platform.authorize_publish(bad).await;
            assert!(
                matches!(refused, Err(KeyRefusal::Malformed)),
                "{bad}: {refused:?}"
            );
        }

        // It ends with its time, its signing key and its channel, also for who is live.
        let short = platform.sign_stream_key("stage", now_ms() + 1_000).await.unwrap();
        let until = std::time::Instant::now() + Duration::from_secs(10);
        while platform.authorize_publish(short.expose()).await.is_ok() {
            assert!(std::time::Instant::now() < until, "it never expires");
        }
        let refused = platform.authorize_publish(short.expose()).await;
        assert!(matches!(refused, Err(KeyRefusal::Expired)), "{refused:?}");
        let signer = platform.list_signing_keys().await.unwrap().remove(0).id;
        platform.revoke_signing_key(&signer).await.unwrap();
        for refused in [
            platform.authorize_publish(key).await.map(|_| ()),
            platform.check_key(&opened.key_id).await,
        ] {
            assert!(matches!(refused, Err(KeyRefusal::Revoked)), "{refused:?}");
        }
        let anew = platform
            .sign_stream_key("stage", now_ms() + 60_000)
            .await
            .unwrap();
        platform.remove_channel("stage").await.unwrap();
        platform.create_channel("stage", false).await.unwrap();
        let refused = platform.authorize_publish(anew.expose()).await;
        assert!(matches!(refused, Err(KeyRefusal::Unknown)), "{refused:?}");
    });
}
