//! The registry of configuration keys: the one place that names them.

use super::value::Kind;

/// What the variables of all keys begin with.
pub(crate) const ENVIRONMENT_PREFIX: &str = "TIDEWIRE_";

/// One key.
pub(crate) struct Key {
    /// Dotted name: `streaming.part_duration`.
    pub(crate) name: &'static str,
    /// What it takes.
    pub(crate) kind: Kind,
    /// The default as it would be written in the file; empty = none.
    pub(crate) default: &'static str,
    /// The flag of `serve` that sets it.
    pub(crate) flag: Option<&'static str>,
    /// What it does, for the reference and the example file.
    pub(crate) doc: &'static str,
}

impl Key {
    /// `TIDEWIRE_STREAMING_PART_DURATION`.
    pub(crate) fn environment(&self) -> String {
        format!(
            "{ENVIRONMENT_PREFIX}{}",
            self.name.to_uppercase().replace('.', "_")
        )
    }
}

/// The key of that name.
pub(crate) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// A group of keys: the part before the dot and what it is about.
pub(crate) const GROUPS: &[(&str, &str)] = &[
    ("", "The server"),
    ("tls", "Certificate for `https` and `rtmps`"),
    ("log", "Logs"),
    ("streaming", "From the publisher's stream to what viewers get"),
    ("streaming.encoder", "How FFmpeg encodes the rungs"),
    (
        "recording",
        "Streams are recorded, and become titles when they end",
    ),
    ("webhooks", "Events posted to other programs"),
    ("limits", "Bounds on publishers and viewers"),
];

const fn key(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key {
        name,
        kind,
        default,
        flag: None,
        doc,
    }
}

const fn flag(key: Key, flag: &'static str) -> Key {
    Key {
        flag: Some(flag),
        ..key
    }
}

/// x264's presets, fastest first (x264 `--fullhelp`).
const PRESETS: &[&str] = &[
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
];

/// x264's tunings that make sense for a live stream.
const TUNES: &[&str] = &[
    "zerolatency",
    "film",
    "animation",
    "grain",
    "stillimage",
    "fastdecode",
    "none",
];

/// Every key, in the order of the reference.
pub(crate) const KEYS: &[Key] = &[
    flag(
        key(
            "data_dir",
            Kind::Path,
            "tidewire-data",
            "Directory for the database and everything else that is kept. Made if it is missing. Commands such as `tidewire channel add` must name the same one.",
        ),
        "--data-dir",
    ),
    flag(
        key(
            "http",
            Kind::Address,
            "0.0.0.0:8080",
            "Address for pages, media and API without TLS. `off` closes it.",
        ),
        "--http",
    ),
    flag(
        key(
            "https",
            Kind::Address,
            "off",
            "Address for pages, media and API with TLS. Needs `tls.certificate` and `tls.key`.",
        ),
        "--https",
    ),
    flag(
        key(
            "rtmp",
            Kind::Address,
            "0.0.0.0:1935",
            "Address for publishers that send RTMP (OBS and most others). `off` closes it.",
        ),
        "--rtmp",
    ),
    flag(
        key(
            "rtmps",
            Kind::Address,
            "off",
            "Address for publishers that send RTMP over TLS, usually `0.0.0.0:1936`. Needs `tls.certificate` and `tls.key`. `off` closes it.",
        ),
        "--rtmps",
    ),
    flag(key("srt", Kind::Reserved, "", "SRT. Not available yet."), "--srt"),
    key(
        "reconnect_grace",
        Kind::Duration {
            min_ms: 0,
            max_ms: 600_000,
        },
        "10s",
        "How long a stream waits for its publisher to come back. Viewers keep their player; after it the stream ends.",
    ),
    key(
        "tls.certificate",
        Kind::OptionalPath,
        "",
        "PEM file with the certificate chain, the server's own first.",
    ),
    key(
        "tls.key",
        Kind::OptionalPath,
        "",
        "PEM file with the private key.",
    ),
    key(
        "log.format",
        Kind::Choice(&["human", "json"]),
        "human",
        "How log lines look. `json` writes one object a line, for machines.",
    ),
    key(
        "log.level",
        Kind::Choice(&["error", "warn", "info", "debug", "trace"]),
        "info",
        "Least severe line that is written.",
    ),
    key(
        "streaming.segment_duration",
        Kind::Duration {
            min_ms: 1_000,
            max_ms: 10_000,
        },
        "2s",
        "Length of a segment. Shorter starts a player sooner, longer compresses better.",
    ),
    key(
        "streaming.part_duration",
        Kind::Duration {
            min_ms: 100,
            max_ms: 2_000,
        },
        "250ms",
        "Longest part of a segment, the unit in which low-latency viewers get the stream. At most half a segment.",
    ),
    key(
        "streaming.window",
        Kind::Duration {
            min_ms: 6_000,
            max_ms: 3_600_000,
        },
        "60s",
        "How far back viewers can go; held in memory. At least three segments.",
    ),
    key(
        "streaming.enable_abr",
        Kind::Switch,
        "true",
        "Whether FFmpeg makes smaller renditions. With `false` viewers get the source as it comes.",
    ),
    key(
        "streaming.max_rungs",
        Kind::AutoCount { max: 8 },
        "auto",
        "Most renditions that are encoded for a stream. `auto` measures what this machine can do (`tidewire doctor` shows it).",
    ),
    key(
        "streaming.profiles",
        Kind::Profiles,
        "",
        "The renditions to choose from; none above the source's size or rate is made. A list of `name`, `height`, `bitrate` (`2500k`, bits a second) and, if wanted, `width` and `quality` (constant rate factor 0-51 under the cap of `bitrate`; smaller is better).",
    ),
    key(
        "streaming.ffmpeg",
        Kind::OptionalPath,
        "",
        "The FFmpeg program. Without it, `ffmpeg` is looked for in `PATH`.",
    ),
    key(
        "streaming.encoder.preset",
        Kind::Choice(PRESETS),
        "superfast",
        "x264 preset: slower ones give a better picture for the same bits and take more CPU.",
    ),
    key(
        "streaming.encoder.tune",
        Kind::Choice(TUNES),
        "zerolatency",
        "x264 tune. `zerolatency` holds no frame back; others add latency.",
    ),
    key(
        "streaming.encoder.threads",
        Kind::AutoCount { max: 128 },
        "auto",
        "Threads of each encoder. `auto` leaves it to FFmpeg.",
    ),
    key(
        "recording.enabled",
        Kind::Switch,
        "true",
        "Whether streams are recorded. What was recorded before stays playable either way.",
    ),
    key(
        "recording.retention_days",
        Kind::Count { min: 1, max: 36_500 },
        "7",
        "Days after which a title is removed, counted from the start of its stream, unless it is pinned.",
    ),
    key(
        "recording.budget",
        Kind::Space,
        "20GB",
        "Most bytes that recordings take, or a share of the disk (`50%`). The oldest titles that are not pinned make room; if there are none, recording stops and live goes on. 512 MiB of the disk always stay free.",
    ),
    key(
        "recording.fsync",
        Kind::Choice(&["never", "segment"]),
        "never",
        "When a segment is forced to the disk. With `never` a power cut can lose the last seconds; with `segment` it does not, and slow disks carry fewer streams.",
    ),
    key(
        "webhooks.allow_private",
        Kind::Switch,
        "false",
        "Whether webhooks may reach this machine and private networks. Without it only public addresses are reached, so that who may make a webhook does not get at what only this machine can.",
    ),
    key(
        "limits.publishers",
        Kind::Count { min: 1, max: 100_000 },
        "1000",
        "Streams at once, those that wait for their publisher included.",
    ),
    key(
        "limits.publisher_connections",
        Kind::Count { min: 1, max: 100_000 },
        "2000",
        "Open publisher connections, those still in their handshake included.",
    ),
    key(
        "limits.publisher_connections_per_address",
        Kind::Count { min: 1, max: 100_000 },
        "64",
        "Open publisher connections of one address.",
    ),
    key(
        "limits.viewer_connections",
        Kind::Count {
            min: 1,
            max: 10_000_000,
        },
        "60000",
        "Open HTTP connections. The limit of open files must allow them; it is raised at start as far as the system lets us.",
    ),
    key(
        "limits.viewer_connections_per_address",
        Kind::Count {
            min: 1,
            max: 10_000_000,
        },
        "1000",
        "Open HTTP connections of one address. Loopback is exempt, for a proxy in front.",
    ),
];
