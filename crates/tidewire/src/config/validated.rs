//! The configuration as the parts of the server take it: typed, checked, complete.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use media::ladder::RungSpec;
use store::Fsync;

use super::layers::{Layers, Setting};
use super::problem::{Origin, Problem};
use super::value::{Space, Value, duration_text};

/// Everything `serve` needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ValidatedConfig {
    /// Directory of the database; may not exist yet.
    pub(crate) data_dir: PathBuf,
    pub(crate) http: HttpConfig,
    pub(crate) rtmp: RtmpConfig,
    pub(crate) log: LogConfig,
    pub(crate) streaming: StreamingConfig,
    pub(crate) recording: RecordingConfig,
    pub(crate) hub: HubConfig,
    /// Whether webhooks may reach private addresses.
    pub(crate) webhooks_allow_private: bool,
}

/// For `deliver`. At least one address is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HttpConfig {
    pub(crate) http: Option<SocketAddr>,
    pub(crate) https: Option<TlsConfig>,
    pub(crate) connections_max: u32,
    pub(crate) connections_per_address_max: u32,
}

/// A TLS listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsConfig {
    pub(crate) address: SocketAddr,
    /// PEM certificate chain.
    pub(crate) certificate: PathBuf,
    /// PEM private key.
    pub(crate) key: PathBuf,
}

/// For `ingest`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RtmpConfig {
    pub(crate) address: Option<SocketAddr>,
    pub(crate) rtmps: Option<TlsConfig>,
    pub(crate) connections_max: u32,
    pub(crate) connections_per_address_max: u32,
}

/// How to log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogConfig {
    pub(crate) format: LogFormat,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub(crate) level: String,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Human,
    Json,
}

/// For `package`, `live` and `transcode`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StreamingConfig {
    pub(crate) segment_duration: Duration,
    /// At most half of `segment_duration`.
    pub(crate) part_duration: Duration,
    /// At least three times `segment_duration`.
    pub(crate) window: Duration,
    pub(crate) enable_abr: bool,
    /// `None`: as many as the machine was measured to encode.
    pub(crate) max_rungs: Option<u32>,
    /// By rising height, names unique.
    pub(crate) profiles: Vec<RungSpec>,
    pub(crate) encoder: EncoderConfig,
    /// `None`: look in `PATH`.
    pub(crate) ffmpeg: Option<PathBuf>,
}

/// For `store`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordingConfig {
    pub(crate) enabled: bool,
    /// Titles older than this are removed.
    pub(crate) retention: Duration,
    pub(crate) budget: Space,
    pub(crate) fsync: Fsync,
}

/// How the rungs are encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EncoderConfig {
    pub(crate) preset: String,
    /// `None`: no tune is asked for.
    pub(crate) tune: Option<String>,
    /// `None`: FFmpeg chooses.
    pub(crate) threads: Option<u32>,
}

/// For `hub`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HubConfig {
    pub(crate) streams_max: u32,
    pub(crate) reconnect_grace: Duration,
}

impl ValidatedConfig {
    /// Checks what no single key can know, and hands every part its share.
    pub(super) fn from_layers(layers: &Layers) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let http = http(layers, &mut problems);
        let rtmp = RtmpConfig {
            address: layers.address("rtmp"),
            rtmps: tls(layers, "rtmps", &mut problems),
            connections_max: layers.count("limits.publisher_connections"),
            connections_per_address_max: layers.count("limits.publisher_connections_per_address"),
        };
        check_ports(layers, &mut problems);
        let streaming = streaming(layers, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            data_dir: layers
                .path("data_dir")
                .expect("the key has a default and takes no empty path"),
            http,
            rtmp,
            log: LogConfig {
                format: if layers.word("log.format") == "json" {
                    LogFormat::Json
                } else {
                    LogFormat::Human
                },
                level: layers.word("log.level"),
            },
            streaming,
            recording: recording(layers),
            hub: HubConfig {
                streams_max: layers.count("limits.publishers"),
                reconnect_grace: layers.duration("reconnect_grace"),
            },
            webhooks_allow_private: layers.setting("webhooks.allow_private").value == Value::Switch(true),
        })
    }
}

/// The TLS listener of that key, if it is on.
fn tls(layers: &Layers, name: &str, problems: &mut Vec<Problem>) -> Option<TlsConfig> {
    let address = layers.address(name)?;
    match (layers.path("tls.certificate"), layers.path("tls.key")) {
        (Some(certificate), Some(key)) => Some(TlsConfig {
            address,
            certificate,
            key,
        }),
        (certificate, _) => {
            let missing = if certificate.is_none() {
                "tls.certificate"
            } else {
                "tls.key"
            };
            problems.push(Problem::new(
                &layers.setting(name).origin,
                format!("`{name}` needs a certificate and its key; `{missing}` is not set"),
            ));
            None
        }
    }
}

fn http(layers: &Layers, problems: &mut Vec<Problem>) -> HttpConfig {
    let https = tls(layers, "https", problems);
    let http = layers.address("http");
    if http.is_none() && layers.address("https").is_none() {
        let origin = layers.blame(["http", "https"]);
        problems.push(Problem::new(
            origin,
            "`http` and `https` are both off, so nobody could watch; set one",
        ));
    }
    HttpConfig {
        http,
        https,
        connections_max: layers.count("limits.viewer_connections"),
        connections_per_address_max: layers.count("limits.viewer_connections_per_address"),
    }
}

/// Two listeners cannot have one port; port 0 asks the system for a free one.
fn check_ports(layers: &Layers, problems: &mut Vec<Problem>) {
    const LISTENERS: [&str; 4] = ["http", "https", "rtmp", "rtmps"];
    for (index, name) in LISTENERS.into_iter().enumerate() {
        for other in LISTENERS.into_iter().skip(index + 1) {
            let (Some(one), Some(two)) = (layers.address(name), layers.address(other)) else {
                continue;
            };
            let overlap = one.ip() == two.ip() || one.ip().is_unspecified() || two.ip().is_unspecified();
            if one.port() == two.port() && one.port() != 0 && overlap {
                let origin = layers.blame([other, name]);
                problems.push(Problem::new(
                    origin,
                    format!("`{other}` and `{name}` have the same port {}", one.port()),
                ));
            }
        }
    }
}

fn streaming(layers: &Layers, problems: &mut Vec<Problem>) -> StreamingConfig {
    let segment_duration = layers.duration("streaming.segment_duration");
    let part_duration = layers.duration("streaming.part_duration");
    let window = layers.duration("streaming.window");
    if part_duration * 2 > segment_duration {
        problems.push(Problem::new(
            layers.blame(["streaming.part_duration", "streaming.segment_duration"]),
            format!(
                "`streaming.part_duration` is {} and must be at most half of `streaming.segment_duration`, which is {}",
                shown(part_duration),
                shown(segment_duration)
            ),
        ));
    }
    if window < segment_duration * 3 {
        problems.push(Problem::new(
            layers.blame(["streaming.window", "streaming.segment_duration"]),
            format!(
                "`streaming.window` is {} and must be at least three times `streaming.segment_duration`, which is {}",
                shown(window),
                shown(segment_duration)
            ),
        ));
    }
    StreamingConfig {
        segment_duration,
        part_duration,
        window,
        enable_abr: layers.setting("streaming.enable_abr").value == Value::Switch(true),
        max_rungs: layers.auto_count("streaming.max_rungs"),
        profiles: match &layers.setting("streaming.profiles").value {
            Value::Profiles(profiles) => profiles.clone(),
            other => unreachable!("`streaming.profiles` was read as {other:?}"),
        },
        encoder: EncoderConfig {
            preset: layers.word("streaming.encoder.preset"),
            tune: Some(layers.word("streaming.encoder.tune")).filter(|tune| tune != "none"),
            threads: layers.auto_count("streaming.encoder.threads"),
        },
        ffmpeg: layers.path("streaming.ffmpeg"),
    }
}

fn recording(layers: &Layers) -> RecordingConfig {
    RecordingConfig {
        enabled: layers.setting("recording.enabled").value == Value::Switch(true),
        retention: Duration::from_secs(86_400) * layers.count("recording.retention_days"),
        budget: match layers.setting("recording.budget").value {
            Value::Space(space) => space,
            ref other => unreachable!("`recording.budget` was read as {other:?}"),
        },
        fsync: if layers.word("recording.fsync") == "segment" {
            Fsync::Segment
        } else {
            Fsync::Never
        },
    }
}

fn shown(duration: Duration) -> String {
    duration_text(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// Typed reading. A key of another kind than asked for is our own slip, and a test reads every key.
impl Layers {
    pub(crate) fn setting(&self, name: &str) -> &Setting {
        self.0.get(name).expect("every key of the registry has a setting")
    }

    /// Where to point when two settings do not go together: at the first that somebody has set.
    fn blame(&self, names: [&str; 2]) -> &Origin {
        let origins = names.map(|name| &self.setting(name).origin);
        origins
            .into_iter()
            .find(|origin| **origin != Origin::Default)
            .unwrap_or(origins[0])
    }

    fn address(&self, name: &str) -> Option<SocketAddr> {
        match self.setting(name).value {
            Value::Address(address) => address,
            ref other => unreachable!("`{name}` was read as {other:?}"),
        }
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        match &self.setting(name).value {
            Value::Path(path) => Some(path.clone()),
            Value::Nothing => None,
            other => unreachable!("`{name}` was read as {other:?}"),
        }
    }

    fn duration(&self, name: &str) -> Duration {
        match self.setting(name).value {
            Value::Duration(duration) => duration,
            ref other => unreachable!("`{name}` was read as {other:?}"),
        }
    }

    fn count(&self, name: &str) -> u32 {
        match self.setting(name).value {
            Value::Count(count) => u32::try_from(count).expect("no key's maximum is above u32"),
            ref other => unreachable!("`{name}` was read as {other:?}"),
        }
    }

    fn auto_count(&self, name: &str) -> Option<u32> {
        match self.setting(name).value {
            Value::Auto => None,
            _ => Some(self.count(name)),
        }
    }

    fn word(&self, name: &str) -> String {
        match &self.setting(name).value {
            Value::Word(word) => word.clone(),
            other => unreachable!("`{name}` was read as {other:?}"),
        }
    }
}
