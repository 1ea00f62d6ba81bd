//! What management takes and gives. The document is made from these types and their comments.

use platform::{Delivery, Event, EventType, KeyInfo, Scope, TokenInfo, Webhook};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::problem::{self, Problem};
use crate::time::{parse_rfc3339_ms, rfc3339_ms};
use crate::view::{ChannelState, ChannelView, NoticeView};

/// One page of a list.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ListOf{T}")]
pub(crate) struct List<T> {
    /// The entries.
    pub(crate) data: Vec<T>,
    /// Give it as `after` for the next page; null: that was all.
    pub(crate) next: Option<String>,
}

impl<T> List<T> {
    /// A page of what was asked for with one entry more than `limit`, to see whether there is more.
    pub(crate) fn page(mut data: Vec<T>, limit: u32, cursor: impl Fn(&T) -> String) -> Self {
        let has_more = data.len() > limit as usize;
        data.truncate(limit as usize);
        let next = data.last().filter(|_| has_more).map(cursor);
        Self { data, next }
    }

    /// A page of a short list that is sorted by `cursor`.
    pub(crate) fn page_of_all(
        all: impl IntoIterator<Item = T>,
        after: Option<&str>,
        limit: u32,
        cursor: impl Fn(&T) -> String,
    ) -> Self {
        let is_later = |entry: &T| after.is_none_or(|after| cursor(entry).as_str() > after);
        let data = all
            .into_iter()
            .filter(is_later)
            .take(limit as usize + 1)
            .collect();
        Self::page(data, limit, cursor)
    }

    pub(crate) fn map<U>(self, change: impl Fn(T) -> U) -> List<U> {
        List {
            data: self.data.into_iter().map(change).collect(),
            next: self.next,
        }
    }
}

/// What a token may do: `read` looks, `publish` starts and stops streams and manages stream keys, `admin` does everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TokenScope {
    /// Look at everything that is no secret.
    Read,
    /// Start and stop streams, make and revoke stream keys.
    Publish,
    /// Everything, the above included.
    Admin,
}

impl From<Scope> for TokenScope {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Read => Self::Read,
            Scope::Publish => Self::Publish,
            Scope::Admin => Self::Admin,
        }
    }
}

impl From<TokenScope> for Scope {
    fn from(scope: TokenScope) -> Self {
        match scope {
            TokenScope::Read => Self::Read,
            TokenScope::Publish => Self::Publish,
            TokenScope::Admin => Self::Admin,
        }
    }
}

/// An admin token, without its secret.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Token {
    /// `tok_` and 26 characters.
    pub(crate) id: String,
    /// The first characters of the token, to tell tokens apart.
    pub(crate) prefix: String,
    /// The operator's words; may be empty.
    pub(crate) label: String,
    /// What it may do.
    pub(crate) scopes: Vec<TokenScope>,
    /// When it was made.
    #[schemars(extend("format" = "date-time"))]
    pub(crate) created_at: String,
    /// From then on it is refused.
    #[schemars(extend("format" = "date-time"))]
    pub(crate) expires_at: Option<String>,
    /// When it was revoked.
    #[schemars(extend("format" = "date-time"))]
    pub(crate) revoked_at: Option<String>,
}

impl From<TokenInfo> for Token {
    fn from(info: TokenInfo) -> Self {
        Self {
            id: info.id,
            prefix: info.prefix,
            label: info.label,
            scopes: info.scopes.iter().map(TokenScope::from).collect(),
            created_at: rfc3339_ms(info.created_at_ms),
            expires_at: info.expires_at_ms.map(rfc3339_ms),
            revoked_at: info.revoked_at_ms.map(rfc3339_ms),
        }
    }
}

/// A token to be made.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewToken {
    /// Words to tell tokens apart, without control characters.
    #[serde(default)]
    #[schemars(length(max = 100))]
    pub(crate) label: String,
    /// What it may do.
    #[schemars(length(min = 1))]
    pub(crate) scopes: Vec<TokenScope>,
    /// From then on it is refused; null or left out: never.
    #[serde(default)]
    #[schemars(extend("format" = "date-time"))]
    pub(crate) expires_at: Option<String>,
}

/// A token just made.
#[derive(Serialize, JsonSchema)]
pub(crate) struct TokenMade {
    #[serde(flatten)]
    pub(crate) info: Token,
    /// The token itself, shown this once.
    pub(crate) token: String,
}

/// Who asks, and whom.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Me {
    /// The token of this request.
    pub(crate) token: Token,
    /// This server.
    pub(crate) server: ServerView,
}

/// A server and where publishers reach it, under the host's name of this request. Null: not offered.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ServerView {
    /// Of Tidewire.
    pub(crate) version: String,
    /// Pages, media and API.
    pub(crate) http: String,
    /// `rtmp://HOST:1935/live`; the stream key follows after a slash, or has a field of its own.
    pub(crate) rtmp: Option<String>,
    /// The same over TLS.
    pub(crate) rtmps: Option<String>,
    /// `srt://HOST:8890`.
    pub(crate) srt: Option<String>,
}

/// A channel as its operators see it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Managed {
    /// `ch_` and 26 characters; never used again.
    pub(crate) id: String,
    /// Name in URLs.
    pub(crate) name: String,
    /// Whether viewers need a credential and the directory leaves it out.
    pub(crate) private: bool,
    /// When it was made.
    #[schemars(extend("format" = "date-time"))]
    pub(crate) created_at: String,
    /// What is on it.
    pub(crate) channel: ChannelView,
}

/// A channel to be made.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewChannel {
    /// It becomes part of the URLs.
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9_-]{0,62}$"))]
    pub(crate) name: String,
    /// Whether viewers need a credential.
    #[serde(default)]
    pub(crate) private: bool,
}

/// A channel just made, with its first key.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ChannelMade {
    /// The channel.
    pub(crate) channel: Managed,
    /// Its first key.
    pub(crate) key: KeyMade,
}

/// What is to change; what is left out stays.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChannelChange {
    /// Whether viewers need a credential.
    pub(crate) private: Option<bool>,
}

/// A stream key, without its secret.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Key {
    /// `key_` and 26 characters.
    pub(crate) id: String,
    /// The first characters of the key, to tell keys apart.
    pub(crate) prefix: String,
    /// The operator's words; may be empty.
    pub(crate) label: String,
    /// When it was made.
    #[schemars(extend("format" = "date-time"))]
    pub(crate) created_at: String,
    /// From then on it is refused.
    #[schemars(extend("format" = "date-time"))]
    pub(crate) expires_at: Option<String>,
    /// When it was revoked.
    #[schemars(extend("format" = "date-time"))]
    pub(crate) revoked_at: Option<String>,
    /// When it last opened a stream, to about a second.
    #[schemars(extend("format" = "date-time"))]
    pub(crate) used_at: Option<String>,
}

impl From<KeyInfo> for Key {
    fn from(info: KeyInfo) -> Self {
        Self {
            id: info.id,
            prefix: info.prefix,
            label: info.label,
            created_at: rfc3339_ms(info.created_at_ms),
            expires_at: info.expires_at_ms.map(rfc3339_ms),
            revoked_at: info.revoked_at_ms.map(rfc3339_ms),
            used_at: info.used_at_ms.map(rfc3339_ms),
        }
    }
}

/// A stream key to be made.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewKey {
    /// Words to tell keys apart, without control characters.
    #[serde(default)]
    #[schemars(length(max = 100))]
    pub(crate) label: String,
    /// From then on it is refused; null or left out: never.
    #[serde(default)]
    #[schemars(extend("format" = "date-time"))]
    pub(crate) expires_at: Option<String>,
}

/// A stream key just made.
#[derive(Serialize, JsonSchema)]
pub(crate) struct KeyMade {
    #[serde(flatten)]
    pub(crate) info: Key,
    /// The key itself, shown this once.
    pub(crate) stream_key: String,
}

impl From<platform::NewKey> for KeyMade {
    fn from(key: platform::NewKey) -> Self {
        Self {
            stream_key: key.stream_key.expose().to_owned(),
            info: key.info.into(),
        }
    }
}

/// How a key is exchanged.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rotation {
    /// How long the old key opens the channel beside the new one, seconds; at most 30 days.
    #[serde(default = "one_day_s")]
    #[schemars(range(min = 0, max = 2_592_000))]
    pub(crate) overlap_s: i64,
}

fn one_day_s() -> i64 {
    86_400
}

/// An expiry as it was sent.
pub(crate) fn expiry_ms(text: Option<&str>) -> Result<Option<i64>, Problem> {
    let parse = |text| {
        parse_rfc3339_ms(text).ok_or_else(|| {
            let detail = "`expires_at` is a time such as `2026-01-31T12:00:00Z` (RFC 3339).";
            Problem::said(problem::BODY_INVALID, detail)
        })
    };
    text.map(parse).transpose()
}

/// Where a stream is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StreamStateView {
    /// A publisher was accepted, nothing is playable yet.
    Starting,
    /// Playable and growing.
    Live,
    /// The publisher is gone; the grace window runs.
    Reconnecting,
    /// Over.
    Ended,
    /// Over by a fault of the server.
    Failed,
}

impl From<platform::StreamState> for StreamStateView {
    fn from(state: platform::StreamState) -> Self {
        match state {
            platform::StreamState::Starting => Self::Starting,
            platform::StreamState::Live => Self::Live,
            platform::StreamState::Reconnecting => Self::Reconnecting,
            platform::StreamState::Ended => Self::Ended,
            platform::StreamState::Failed => Self::Failed,
        }
    }
}

/// One broadcast, running or over.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct StreamView {
    /// Lowercase letters and digits; part of the stream's media URLs.
    pub(crate) id: String,
    /// The channel's name.
    pub(crate) channel: String,
    /// Where it is in its life.
    pub(crate) state: StreamStateView,
    /// When its first publisher came.
    #[schemars(extend("format" = "date-time"))]
    pub(crate) started_at: String,
    /// When it was over.
    #[schemars(extend("format" = "date-time"))]
    pub(crate) ended_at: Option<String>,
    /// Why it is in this state, when that is not plain.
    pub(crate) reason: Option<String>,
    /// Who brings it in.
    pub(crate) publisher: PublisherView,
    /// What the publisher sent.
    pub(crate) source: SourceView,
}

/// Who brings a stream in. Null: not known.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct PublisherView {
    /// `rtmp`, ...
    pub(crate) protocol: Option<String>,
    /// Name and version of its software.
    pub(crate) encoder: Option<String>,
    /// Where it comes from, while it is there.
    pub(crate) address: Option<String>,
}

/// What a publisher sent. Null: not known.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SourceView {
    /// RFC 6381.
    pub(crate) codecs: Option<String>,
    /// Pixels.
    pub(crate) width: Option<u32>,
    /// Pixels.
    pub(crate) height: Option<u32>,
    /// Pictures a second.
    pub(crate) frame_rate: Option<f64>,
}

/// The figures of a running stream at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct StreamStats {
    /// When.
    #[schemars(extend("format" = "date-time"))]
    pub at: String,
    /// Payload from the publisher, bits a second; 0 while nothing comes.
    pub ingest_bitrate: u64,
    /// Pictures a second from the publisher; 0 while unknown.
    pub frame_rate: f64,
    /// Media time between the last two keyframes, milliseconds; 0 before the second one.
    pub gop_ms: u64,
    /// The publisher's clock against the server's since the stream began, milliseconds; positive: it is slow.
    pub clock_drift_ms: f64,
    /// The publisher's audio timestamps against its count of audio samples, milliseconds.
    pub audio_drift_ms: f64,
    /// Timestamps repaired since the stream began.
    pub repairs: u64,
    /// Interruptions of the timeline since the stream began.
    pub discontinuities: u64,
    /// Viewers of the last ten seconds.
    pub viewers: u32,
    /// The encoder of the renditions; null: none was started.
    pub encoder: Option<EncoderStats>,
    /// What can be played, best first.
    pub renditions: Vec<RenditionStats>,
    /// Plain sentences on what is wrong with the stream.
    pub notices: Vec<NoticeView>,
}

/// The figures of an encoder.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct EncoderStats {
    /// Whether it runs now.
    pub running: bool,
    /// Real-time factor; 0 while unknown.
    pub speed: f64,
    /// Media time from the newest picture in to the newest picture out, milliseconds.
    pub lag_ms: u64,
    /// How often it was replaced.
    pub restarts: u64,
}

/// The figures of a rendition.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct RenditionStats {
    /// Name in URLs.
    pub name: String,
    /// Mean bits a second so far; null before there is any.
    pub bitrate: Option<u64>,
    /// Bits a second that it is made for; null if nothing was said.
    pub target_bitrate: Option<u64>,
    /// Pixels; null for audio.
    pub width: Option<u32>,
    /// Pixels; null for audio.
    pub height: Option<u32>,
    /// Pictures a second; null for audio or if unknown.
    pub frame_rate: Option<f64>,
}

/// Something that happened.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Event")]
pub(crate) struct EventView {
    /// `evt_` and 21 characters; ids sort as things happened.
    pub(crate) id: String,
    /// What happened.
    #[serde(rename = "type")]
    #[schemars(with = "EventName")]
    pub(crate) kind: String,
    /// When.
    #[schemars(extend("format" = "date-time"))]
    pub(crate) at: String,
    /// Name of the channel.
    pub(crate) channel: String,
    /// Its lasting id.
    pub(crate) channel_id: String,
    /// The stream, if it is about one.
    pub(crate) stream_id: Option<String>,
    /// What there is to say, by type: `reason` and `source` of a stream, `name` of a rendition, `notices`, `key_id` and
    /// `label` of a key, `private` of a channel, `protocol` and `encoder` of a publisher.
    pub(crate) data: serde_json::Value,
}

impl From<Event> for EventView {
    fn from(event: Event) -> Self {
        Self {
            id: event.id,
            kind: event.kind,
            at: rfc3339_ms(event.at_ms),
            channel: event.channel,
            channel_id: event.channel_id,
            stream_id: event.stream_id,
            data: event.data,
        }
    }
}

/// The types of events.
pub(crate) struct EventName;

impl JsonSchema for EventName {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "EventName".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let names = EventType::ALL.map(EventType::as_str);
        schemars::json_schema!({ "type": "string", "description": "What happened.", "enum": names })
    }
}

/// Which key.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Start {
    /// The whole key, as it was shown when it was made.
    pub(crate) stream_key: String,
}

/// Where to publish and where to watch.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Started {
    /// Name of the channel that the key opens.
    pub(crate) channel: String,
    /// What goes on there.
    pub(crate) state: ChannelState,
    /// The RTMP server for the encoder, which needs the key beside it; null: RTMP is off.
    pub(crate) publish_url: Option<String>,
    /// Path of the HLS multivariant playlist.
    pub(crate) hls: String,
    /// Path of the DASH manifest.
    pub(crate) dash: String,
    /// Id of the current stream.
    pub(crate) stream_id: Option<String>,
}

/// Which stream.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stop {
    /// Its id.
    pub(crate) stream_id: String,
}

/// Somebody who is told of events.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Webhook")]
pub(crate) struct WebhookView {
    /// `wh_` and 26 characters.
    pub(crate) id: String,
    /// Where events are posted to.
    pub(crate) url: String,
    /// The operator's words; may be empty.
    pub(crate) label: String,
    /// What is sent; empty: everything.
    #[schemars(with = "Vec<EventName>")]
    pub(crate) events: Vec<&'static str>,
    /// Whether anything is sent. A webhook that fails for five days without a success is disabled.
    pub(crate) enabled: bool,
    /// When it was made.
    #[schemars(extend("format" = "date-time"))]
    pub(crate) created_at: String,
    /// Since when no delivery has succeeded; null: the last one did.
    #[schemars(extend("format" = "date-time"))]
    pub(crate) failing_since: Option<String>,
}

impl From<Webhook> for WebhookView {
    fn from(webhook: Webhook) -> Self {
        Self {
            id: webhook.id,
            url: webhook.url,
            label: webhook.label,
            events: webhook.events.into_iter().map(EventType::as_str).collect(),
            enabled: webhook.enabled,
            created_at: rfc3339_ms(webhook.created_at_ms),
            failing_since: webhook.failing_since_ms.map(rfc3339_ms),
        }
    }
}

/// A webhook to be made.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewWebhook {
    /// `http` or `https`; the name must have a public address unless `webhooks.allow_private` is set.
    #[schemars(
        regex(pattern = r"^https?://[a-z0-9.-]+(:[0-9]{1,4})?(/[A-Za-z0-9/_-]*)?$"),
        length(max = 2048)
    )]
    pub(crate) url: String,
    /// What to send; empty or left out: everything.
    #[serde(default)]
    #[schemars(with = "Vec<EventName>")]
    pub(crate) events: Vec<String>,
    /// Words to tell webhooks apart, without control characters.
    #[serde(default)]
    #[schemars(length(max = 100))]
    pub(crate) label: String,
}

/// A webhook just made.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WebhookMade {
    #[serde(flatten)]
    pub(crate) webhook: WebhookView,
    /// `whsec_` and the signing key in base 64, shown this once.
    pub(crate) secret: String,
}

/// What is to change; what is left out stays.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WebhookPatch {
    /// Where events are posted to.
    #[schemars(
        regex(pattern = r"^https?://[a-z0-9.-]+(:[0-9]{1,4})?(/[A-Za-z0-9/_-]*)?$"),
        length(max = 2048)
    )]
    pub(crate) url: Option<String>,
    /// What to send; empty: everything.
    #[schemars(with = "Option<Vec<EventName>>")]
    #[serde(default)]
    pub(crate) events: Option<Vec<String>>,
    /// Whether anything is sent.
    pub(crate) enabled: Option<bool>,
}

/// Where a delivery is in its life.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DeliveryState {
    /// It waits for its first or next attempt.
    Pending,
    /// It was answered with a status of 200 to 299.
    Delivered,
    /// It is not tried again.
    Failed,
}

/// One event on its way to one webhook, or after it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Delivery")]
pub(crate) struct DeliveryView {
    /// `del_` and 26 characters.
    pub(crate) id: String,
    /// The event's id; also sent as `webhook-id`.
    pub(crate) event_id: String,
    /// The event's type.
    #[serde(rename = "type")]
    #[schemars(with = "EventName")]
    pub(crate) kind: String,
    /// Where it is in its life.
    pub(crate) state: DeliveryState,
    /// Attempts so far.
    pub(crate) attempt: i64,
    /// HTTP status of the last attempt, if there was an answer.
    pub(crate) status: Option<i64>,
    /// What was wrong with the last attempt.
    pub(crate) error: Option<String>,
    /// When the last attempt was.
    #[schemars(extend("format" = "date-time"))]
    pub(crate) at: Option<String>,
    /// How long the last attempt took.
    pub(crate) duration_ms: Option<i64>,
}

impl From<Delivery> for DeliveryView {
    fn from(delivery: Delivery) -> Self {
        Self {
            id: delivery.id,
            event_id: delivery.event_id,
            kind: delivery.kind,
            state: match delivery.state.as_str() {
                "pending" => DeliveryState::Pending,
                "delivered" => DeliveryState::Delivered,
                _ => DeliveryState::Failed,
            },
            attempt: delivery.attempt,
            status: delivery.status,
            error: delivery.error,
            at: delivery.at_ms.map(rfc3339_ms),
            duration_ms: delivery.duration_ms,
        }
    }
}
