//! Sends events to webhooks (Standard Webhooks 1.0): signed, tried again for a day, one at a time for each webhook.
//!
//! The queue is in the database, so that nothing is lost by a restart. An endpoint that hangs holds up only itself.

mod address;
mod send;

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use platform::{Attempt, Due, Platform, now_ms};
use sha2::Sha256;
use tokio::task::JoinSet;

use crate::manage::event_body;

pub(crate) use send::check_url;
pub use send::{Sender, SenderOptions};

/// Pause before the second attempt; each further one is four times as long.
const RETRY_FIRST: Duration = Duration::from_secs(5);
/// Longest pause between two attempts.
const RETRY_MAX: Duration = Duration::from_secs(2 * 3600);
/// Events are looked for this often if nothing says that there are any.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// `whsec_` and the key in base 64, as the receiver's library takes it.
pub(crate) fn secret_text(platform: &Platform, webhook: &str) -> String {
    format!(
        "whsec_{}",
        BASE64_STANDARD.encode(platform.webhook_secret(webhook))
    )
}

/// `v1,` and the signature of `id.timestamp.body` in base 64.
fn signature(key: &[u8], id: &str, timestamp_s: i64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(format!("{id}.{timestamp_s}.").as_bytes());
    mac.update(body);
    format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
}

/// Pause after `attempts` that failed, spread by a fifth both ways so that a crowd does not come at once. `chance` is
/// anything random.
fn pause_after(first: Duration, attempts: u32, chance: u64) -> Duration {
    let pause = first.saturating_mul(4_u32.saturating_pow(attempts.saturating_sub(1)));
    let percent = 80 + u32::try_from(chance % 41).unwrap_or(20);
    pause.min(RETRY_MAX) * percent / 100
}

/// Sends what is due until it is dropped. `news` fires when there may be new events.
pub(crate) async fn run(
    platform: Platform,
    sender: Arc<Sender>,
    mut news: tokio::sync::watch::Receiver<i64>,
) {
    let mut busy: HashSet<String> = HashSet::new();
    let mut attempts: JoinSet<(String, Result<bool, platform::Error>)> = JoinSet::new();
    loop {
        let wake = match look(&platform, &sender, &mut busy, &mut attempts).await {
            Ok(wake) => wake,
            Err(error) => {
                tracing::warn!(%error, "webhooks cannot be served just now");
                LOOK_EVERY
            }
        };
        tokio::select! {
            Some(done) = attempts.join_next() => match done {
                Ok((webhook, outcome)) => {
                    busy.remove(&webhook);
                    said(&webhook, outcome);
                }
                // Which one it was is not known; the others are looked up again.
                Err(_) => busy.clear(),
            },
            changed = news.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(wake) => {}
        }
    }
}

fn said(webhook: &str, outcome: Result<bool, platform::Error>) {
    match outcome {
        Ok(true) => {}
        Ok(false) => tracing::warn!(
            webhook,
            "the webhook has failed for five days and is disabled now"
        ),
        Err(error) => {
            tracing::warn!(webhook, %error, "an attempt could not be recorded and will be made again")
        }
    }
}

/// Starts an attempt for every webhook that has none running and something due; how long there is nothing to do.
async fn look(
    platform: &Platform,
    sender: &Arc<Sender>,
    busy: &mut HashSet<String>,
    attempts: &mut JoinSet<(String, Result<bool, platform::Error>)>,
) -> Result<Duration, platform::Error> {
    while platform.queue_deliveries().await? {}
    for due in platform.due_deliveries(now_ms()).await? {
        if busy.insert(due.webhook_id.clone()) {
            attempts.spawn(attempt(platform.clone(), Arc::clone(sender), due));
        }
    }
    let next = platform.next_delivery_ms().await?;
    let wait_ms = next.map_or(i64::MAX, |next| next - now_ms());
    // What is due of a busy webhook is looked at when its attempt ends.
    let wait = Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0));
    Ok(if wait.is_zero() {
        LOOK_EVERY
    } else {
        wait.min(LOOK_EVERY)
    })
}

async fn attempt(
    platform: Platform,
    sender: Arc<Sender>,
    due: Due,
) -> (String, Result<bool, platform::Error>) {
    let (begun, body) = (Instant::now(), event_body(due.event.clone()));
    let timestamp_s = now_ms() / 1000;
    let key = platform.webhook_secret(&due.webhook_id);
    let headers = [
        ("webhook-id", due.event.id.clone()),
        ("webhook-timestamp", timestamp_s.to_string()),
        (
            "webhook-signature",
            signature(&key, &due.event.id, timestamp_s, &body),
        ),
    ];
    let (status, error) = match sender.post(&due.url, &headers, body).await {
        Ok(status) if (200..300).contains(&status) => (Some(status), None),
        Ok(status) => (Some(status), Some(format!("it answered {status}"))),
        Err(error) => (None, Some(error.to_string())),
    };
    let attempts = u32::try_from(due.attempt + 1).unwrap_or(u32::MAX);
    let pause = pause_after(
        sender.retry_first(),
        attempts,
        RandomState::new().hash_one(&due.id),
    );
    let took = begun.elapsed();
    let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    let outcome = Attempt {
        status,
        error,
        duration_ms: ms(took),
        retry_at_ms: now_ms().saturating_add(ms(pause)),
    };
    let outcome = platform.record_attempt(&due, outcome).await;
    (due.webhook_id, outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_the_specification() {
        // The example of the Standard Webhooks reference libraries.
        let key = BASE64_STANDARD
            .decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
            .unwrap();
        let signed = signature(
            &key,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_day_of_failures_is_tried_some_twenty_times() {
        for chance in [0, 20, 40] {
            let (mut at, mut attempts, mut pauses) = (Duration::ZERO, 0, Vec::new());
            while at <= Duration::from_secs(86_400) {
                attempts += 1;
                pauses.push(pause_after(RETRY_FIRST, attempts, chance));
                at += pauses[pauses.len() - 1];
            }
            assert!((15..=23).contains(&attempts), "{attempts}");
            assert!(pauses.is_sorted() && pauses[0] >= Duration::from_secs(4));
        }
        assert_eq!(pause_after(RETRY_FIRST, u32::MAX, 20), RETRY_MAX);
    }
}
