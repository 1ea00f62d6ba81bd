//! The registry, the layers, and the words of every complaint.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::keys::{GROUPS, KEYS};
use super::value::{Kind, parse_duration};
use super::*;

/// Loads `yaml` as `tidewire.yaml` of a directory of its own, with an environment and flags; problems come back with the
/// directory cut off.
fn load(
    yaml: &str,
    environment: &[(&str, &str)],
    flags: &[(&'static str, &'static str, &str)],
) -> Result<Loaded, String> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("tidewire-config-{}-{count}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let file = dir.join("tidewire.yaml");
    fs::write(&file, yaml).unwrap();
    let sources = Sources {
        file: Some(file),
        flags: flags
            .iter()
            .map(|(key, flag, text)| (*key, *flag, (*text).to_owned()))
            .collect(),
        environment: environment
            .iter()
            .map(|(name, text)| (name.into(), text.into()))
            .collect(),
    };
    let outcome = sources
        .load()
        .map_err(|error| error.to_string().replace(&format!("{}/", dir.display()), ""));
    fs::remove_dir_all(&dir).unwrap();
    outcome
}

#[test]
fn registry_is_sound() {
    for (index, key) in KEYS.iter().enumerate() {
        assert!(
            !KEYS[..index].iter().any(|other| other.name == key.name),
            "{} is there twice",
            key.name
        );
        let group = key.name.rsplit_once('.').map_or("", |(group, _)| group);
        assert!(
            GROUPS.iter().any(|(name, _)| *name == group),
            "{} has no group",
            key.name
        );
        assert!(key.doc.ends_with('.') && !key.doc.contains('|'), "{}", key.name);
        assert!(
            key.default.is_empty() || key.kind != Kind::Reserved,
            "{}",
            key.name
        );
    }
}

#[test]
fn defaults_are_valid_and_as_promised() {
    let config = load("", &[], &[]).unwrap().config;
    assert_eq!(config.http.http, Some("0.0.0.0:8080".parse().unwrap()));
    assert_eq!(
        (config.http.https, config.rtmp.address),
        (None, Some("0.0.0.0:1935".parse().unwrap()))
    );
    assert_eq!(config.streaming.segment_duration, Duration::from_secs(2));
    assert_eq!(config.streaming.part_duration, Duration::from_millis(250));
    assert_eq!(config.streaming.window, Duration::from_secs(60));
    assert_eq!(
        (config.streaming.max_rungs, config.streaming.encoder.threads),
        (None, None)
    );
    assert_eq!(config.streaming.profiles, media::ladder::default_profiles());
    assert_eq!(config.hub.reconnect_grace, Duration::from_secs(10));
    assert_eq!(config.data_dir, PathBuf::from("tidewire-data"));
}

#[test]
fn the_higher_layer_wins() {
    let yaml = "http: 127.0.0.1:1\nrtmp: 127.0.0.1:2\nreconnect_grace: 3s\n";
    let environment = [("TIDEWIRE_HTTP", "127.0.0.1:4"), ("TIDEWIRE_RTMP", "127.0.0.1:5")];
    let loaded = load(yaml, &environment, &[("http", "--http", ":6")]).unwrap();
    assert_eq!(loaded.config.http.http, Some("0.0.0.0:6".parse().unwrap()));
    assert_eq!(loaded.config.rtmp.address, Some("127.0.0.1:5".parse().unwrap()));
    assert_eq!(loaded.config.hub.reconnect_grace, Duration::from_secs(3));
    let origins = ["http", "rtmp", "reconnect_grace", "data_dir"]
        .map(|key| loaded.layers.setting(key).origin.to_string());
    assert_eq!(
        (origins[0].as_str(), origins[1].as_str(), origins[3].as_str()),
        ("--http", "TIDEWIRE_RTMP", "default")
    );
    assert!(origins[2].ends_with("tidewire.yaml:3:18"), "{}", origins[2]);
}

#[test]
fn values_are_read() {
    let yaml = "\
http: 8081
rtmp: off
log: { format: json, level: debug }
streaming:
  enable_abr: false
  max_rungs: 3
  segment_duration: 1.5s
  ffmpeg: /opt/ffmpeg/bin/ffmpeg
  encoder: { tune: none, threads: 4 }
  profiles:
    - { name: big, height: 1080, bitrate: 4.5M, quality: 21 }
    - name: small
      width: 426
      height: 240
      bitrate: 350k
limits:
";
    let config = load(yaml, &[], &[]).unwrap().config;
    assert_eq!(
        (config.http.http.unwrap().port(), config.rtmp.address),
        (8081, None)
    );
    assert_eq!(
        (config.log.format, config.log.level.as_str()),
        (LogFormat::Json, "debug")
    );
    let streaming = config.streaming;
    assert!(!streaming.enable_abr);
    assert_eq!(
        (streaming.max_rungs, streaming.segment_duration),
        (Some(3), Duration::from_millis(1500))
    );
    assert_eq!(streaming.ffmpeg, Some(PathBuf::from("/opt/ffmpeg/bin/ffmpeg")));
    assert_eq!(
        (streaming.encoder.tune, streaming.encoder.threads),
        (None, Some(4))
    );
    let [small, big] = streaming.profiles.as_slice() else {
        panic!("{:?}", streaming.profiles)
    };
    assert_eq!(
        (small.name.as_str(), small.width, small.bitrate, small.quality),
        ("small", Some(426), 350_000, None)
    );
    assert_eq!(
        (big.name.as_str(), big.height, big.bitrate, big.quality),
        ("big", 1080, 4_500_000, Some(21))
    );
}

#[test]
fn lists_can_stand_in_a_variable() {
    let list = "[{name: only, height: 360, bitrate: 800k}]";
    let config = load("", &[("TIDEWIRE_STREAMING_PROFILES", list)], &[])
        .unwrap()
        .config;
    assert_eq!(config.streaming.profiles.len(), 1);
}

#[test]
fn every_complaint_names_its_place() {
    let table = [
        (
            "htttp: 1",
            "tidewire.yaml:1:1: unknown key `htttp`; did you mean `http`?",
        ),
        (
            "streaming:\n  segment_duraton: 2s",
            "tidewire.yaml:2:3: unknown key `streaming.segment_duraton`; did you mean `streaming.segment_duration`?",
        ),
        (
            "part_duration: 1s",
            "tidewire.yaml:1:1: unknown key `part_duration`; did you mean `streaming.part_duration`?",
        ),
        (
            "banana: 1",
            "tidewire.yaml:1:1: unknown key `banana`; `tidewire config print` shows all there are",
        ),
        (
            "# a comment\nstreaming:\n  segment_duration: 2",
            "tidewire.yaml:3:21: `streaming.segment_duration` takes a duration with its unit, such as 2s or 250ms, not the number 2",
        ),
        (
            "streaming:\n  window: 2 parsecs",
            "tidewire.yaml:2:11: `streaming.window` takes a duration such as 2s or 250ms, not `2 parsecs`",
        ),
        (
            "streaming:\n  window: 2s",
            "tidewire.yaml:2:11: `streaming.window` is 2s; it must be 6s to 1h",
        ),
        (
            "streaming: { window: 10s, segment_duration: 4s }",
            "tidewire.yaml:1:22: `streaming.window` is 10s and must be at least three times `streaming.segment_duration`, which is 4s",
        ),
        (
            "streaming:\n  part_duration: 1500ms",
            "tidewire.yaml:2:18: `streaming.part_duration` is 1500ms and must be at most half of `streaming.segment_duration`, which is 2s",
        ),
        (
            "streaming: 5",
            "tidewire.yaml:1:12: `streaming` is a group of keys, not the number 5; write its keys indented below it",
        ),
        (
            "streaming:\n  enable_abr: maybe",
            "tidewire.yaml:2:15: `streaming.enable_abr` takes `true` or `false`, not `maybe`",
        ),
        (
            "limits:\n  publishers: 0",
            "tidewire.yaml:2:15: `limits.publishers` is 0; it must be 1 to 100000",
        ),
        (
            "limits:\n  publishers: [1]",
            "tidewire.yaml:2:15: `limits.publishers` takes a whole number, not a list",
        ),
        (
            "http: example.com:80",
            "tidewire.yaml:1:7: `http` takes an address such as 0.0.0.0:8080, or `off`, not `example.com:80`",
        ),
        (
            "http: 99999",
            "tidewire.yaml:1:7: `http` takes an address such as 0.0.0.0:8080, or `off`, not the number 99999",
        ),
        (
            "http: :1935",
            "tidewire.yaml:1:7: `rtmp` and `http` have the same port 1935",
        ),
        (
            "http: off",
            "tidewire.yaml:1:7: `http` and `https` are both off, so nobody could watch; set one",
        ),
        (
            "https: :8443",
            "tidewire.yaml:1:8: `https` needs a certificate and its key; `tls.certificate` is not set",
        ),
        (
            "rtmps: :1936",
            "tidewire.yaml:1:8: `rtmps` needs a certificate and its key; `tls.certificate` is not set",
        ),
        (
            "rtmps: :1935\ntls:\n  certificate: a.pem\n  key: b.pem",
            "tidewire.yaml:1:8: `rtmps` and `rtmp` have the same port 1935",
        ),
        (
            "https: :8443\ntls:\n  certificate: a.pem",
            "tidewire.yaml:1:8: `https` needs a certificate and its key; `tls.key` is not set",
        ),
        (
            "srt: :8890",
            "tidewire.yaml:1:1: `srt` is not available yet in this version; remove it",
        ),
        (
            "log:\n  level: loud",
            "tidewire.yaml:2:10: `log.level` takes one of error, warn, info, debug, trace, not `loud`",
        ),
        (
            "data_dir:",
            "tidewire.yaml:1:9: `data_dir` takes a path, not nothing",
        ),
        (
            "[1, 2]",
            "tidewire.yaml:1:1: the file holds a list; it must hold `key: value` lines",
        ),
        (
            "streaming:\n  profiles:\n    - name: source\n",
            "tidewire.yaml:3:13: `name` of a profile takes 1 to 16 of a-z, 0-9, `-` and `_`, other than `source` and `audio`, not `source`",
        ),
        (
            "streaming:\n  profiles:\n    - { name: a, height: 360, bitrat: 1M }\n",
            "tidewire.yaml:3:31: a profile has no `bitrat`; it has name, width, height, bitrate and quality",
        ),
        (
            "streaming:\n  profiles:\n    - { name: a, height: 360 }\n",
            "tidewire.yaml:3:7: this profile has no `bitrate`; add it",
        ),
        (
            "streaming:\n  profiles:\n    - { name: a, height: 361, bitrate: 1M }\n",
            "tidewire.yaml:3:26: `height` of a profile takes an even number of pixels, 16 to 4320, not the number 361",
        ),
        (
            "streaming:\n  profiles:\n    - { name: a, height: 360, bitrate: 1M }\n    - { name: a, height: 720, bitrate: 2M }\n",
            "tidewire.yaml:4:7: two profiles are called `a`",
        ),
    ];
    for (yaml, expected) in table {
        assert_eq!(
            load(yaml, &[], &[]).map(|_| ()).unwrap_err(),
            expected,
            "for {yaml:?}"
        );
    }
}

#[test]
fn broken_yaml_names_its_place() {
    for (yaml, place) in [
        ("http: [1, 2", "tidewire.yaml:1:"),
        ("http: 1\n  rtmp: 2", "tidewire.yaml:2:"),
        ("http: 1\nhttp: 2", "tidewire.yaml:2:1"),
    ] {
        let message = load(yaml, &[], &[]).map(|_| ()).unwrap_err();
        assert!(
            message.starts_with(place) && message.contains("not valid YAML: "),
            "{message}"
        );
        assert_eq!(message.lines().count(), 1, "{message}");
    }
}

#[test]
fn variables_and_flags_are_named() {
    let table = [
        (
            load("", &[("TIDEWIRE_STREAMING_WINDOW", "soon")], &[]),
            "TIDEWIRE_STREAMING_WINDOW: `streaming.window` takes a duration such as 2s or 250ms, not `soon`",
        ),
        (
            load("", &[], &[("srt", "--srt", ":8890")]),
            "--srt: `srt` is not available yet in this version; remove it",
        ),
        (
            load("", &[], &[("http", "--http", "a\nb")]),
            "--http: `http` takes an address such as 0.0.0.0:8080, or `off`, not `a b`",
        ),
    ];
    for (outcome, expected) in table {
        assert_eq!(outcome.map(|_| ()).unwrap_err(), expected);
    }
}

#[test]
fn all_problems_are_said_at_once() {
    let message = load("htttp: 1\nlog:\n  level: loud\n", &[("TIDEWIRE_RTMP", "x")], &[])
        .map(|_| ())
        .unwrap_err();
    let places: Vec<&str> = message
        .lines()
        .map(|line| line.split(": ").next().unwrap())
        .collect();
    assert_eq!(
        places,
        ["tidewire.yaml:1:1", "tidewire.yaml:3:10", "TIDEWIRE_RTMP"]
    );
}

#[test]
fn foreign_variables_are_left_alone_and_slips_are_said() {
    let environment = [
        ("TIDEWIRE_PORT", "tcp://10.0.0.1:80"),
        ("TIDEWIRE_SERVICE_HOST", "x"),
        ("TIDEWIRE_STREAMING_WINDOWS", "60s"),
    ];
    let warnings = load("", &environment, &[]).unwrap().warnings;
    assert_eq!(
        warnings,
        ["TIDEWIRE_STREAMING_WINDOWS: no such setting; did you mean TIDEWIRE_STREAMING_WINDOW?"]
    );
}

#[test]
fn a_missing_file_is_refused_only_when_named() {
    let sources = Sources {
        file: Some("/no/such/tidewire.yaml".into()),
        ..Sources::default()
    };
    let message = sources.load().unwrap_err().to_string();
    assert_eq!(
        message,
        "/no/such/tidewire.yaml: cannot read the configuration: there is no such file"
    );
}

#[test]
fn durations() {
    let table = [
        ("2s", 2_000),
        ("250ms", 250),
        ("1.5s", 1_500),
        ("0.25s", 250),
        ("1m", 60_000),
        ("12h", 43_200_000),
        ("90d", 7_776_000_000),
    ];
    for (text, millis) in table {
        assert_eq!(
            parse_duration(text),
            Some(Duration::from_millis(millis)),
            "{text}"
        );
    }
    for text in [
        "",
        "s",
        "2",
        "-1s",
        "2 s 3",
        "1.5ms",
        "1.2345s",
        "1.s",
        "99999999999999999999s",
        "18446744073709551615h",
    ] {
        assert_eq!(parse_duration(text), None, "{text}");
    }
}

/// What is printed gives the same configuration again.
#[test]
fn print_is_a_round_trip() {
    let yaml = "data_dir: /srv/tide wire\nrtmp: off\nstreaming:\n  max_rungs: 2\n  profiles:\n    - { name: x, width: 640, height: 360, bitrate: 812345, quality: 20 }\n";
    let first = load(yaml, &[], &[]).unwrap();
    let second = load(&render::yaml(&first.layers), &[], &[]).unwrap();
    assert_eq!(first.config, second.config);
    assert_eq!(render::json(&first.layers)["streaming.max_rungs"]["value"], 2);
}

/// The example, with every `#` of a setting taken away, is the default configuration.
#[test]
fn example_is_the_default() {
    let is_setting =
        |line: &&str| line.starts_with('#') && (!line.starts_with("# ") || line.starts_with("#  "));
    let lines: Vec<&str> = render::example()
        .leak()
        .lines()
        .filter(is_setting)
        .map(|line| &line[1..])
        .collect();
    let yaml = lines.join("\n");
    assert!(lines.len() >= KEYS.len() - 2, "{yaml}");
    assert_eq!(
        load(&yaml, &[], &[]).unwrap().config,
        load("", &[], &[]).unwrap().config,
        "{yaml}"
    );
}

/// The generated pages are what the registry says; `UPDATE=1` rewrites them.
#[test]
fn generated_pages_are_fresh() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference");
    for (name, text) in [
        ("config.md", render::reference()),
        ("tidewire.example.yaml", render::example()),
    ] {
        let path = docs.join(name);
        if std::env::var_os("UPDATE").is_some() {
            fs::create_dir_all(&docs).unwrap();
            fs::write(&path, &text).unwrap();
        }
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == text,
            "docs/reference/{name} is stale: UPDATE=1 cargo test -p tidewire generated_pages"
        );
    }
}
