//! The configuration as text: `config print`, the reference page and the example file, all from the registry.

use std::fmt::Write as _;

use media::ladder::RungSpec;
use serde_json::json;

use super::keys::{GROUPS, KEYS, Key};
use super::layers::{FILE_NAME, Layers, SYSTEM_FILE};
use super::value::{Kind, Value};

/// The keys directly in `group`.
fn keys_of(group: &str) -> impl Iterator<Item = &'static Key> {
    KEYS.iter().filter(move |key| split(key.name).0 == group)
}

/// Group and last word of a dotted name.
fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('.').unwrap_or(("", name))
}

/// The effective configuration as a file that would give it again, with the origin of each setting.
pub(crate) fn yaml(layers: &Layers) -> String {
    let mut text = String::new();
    for (group, _) in GROUPS {
        let depth = heading(&mut text, group, "");
        let indent = "  ".repeat(depth);
        for key in keys_of(group).filter(|key| key.kind != Kind::Reserved) {
            let setting = layers.setting(key.name);
            let (_, word) = split(key.name);
            let line = match &setting.value {
                Value::Nothing => format!("{indent}# {word}:"),
                Value::Profiles(_) => format!("{indent}{word}:"),
                value => format!("{indent}{word}: {}", scalar(&value.text())),
            };
            let _ = writeln!(text, "{line:<48} # {}", setting.origin);
            if let Value::Profiles(profiles) = &setting.value {
                write_profiles(&mut text, profiles, &format!("{indent}  "));
            }
        }
    }
    text
}

/// The effective configuration as one object: key to value and origin.
pub(crate) fn json(layers: &Layers) -> serde_json::Value {
    let entries = KEYS.iter().filter(|key| key.kind != Kind::Reserved).map(|key| {
        let setting = layers.setting(key.name);
        let value = match &setting.value {
            Value::Nothing => serde_json::Value::Null,
            Value::Count(count) => json!(count),
            Value::Switch(value) => json!(value),
            Value::Profiles(profiles) => profiles.iter().map(profile_json).collect(),
            value => json!(value.text()),
        };
        (
            key.name.to_owned(),
            json!({ "value": value, "origin": setting.origin.to_string() }),
        )
    });
    serde_json::Value::Object(entries.collect())
}

fn profile_json(profile: &RungSpec) -> serde_json::Value {
    json!({
        "name": profile.name,
        "width": profile.width,
        "height": profile.height,
        "bitrate": profile.bitrate,
        "quality": profile.quality,
    })
}

/// Writes the group's own lines where its parent's keys have ended; returns the depth of its keys.
fn heading(text: &mut String, group: &str, comment: &str) -> usize {
    if group.is_empty() {
        return 0;
    }
    let depth = group.matches('.').count();
    let _ = writeln!(text, "{comment}{}{}:", "  ".repeat(depth), split(group).1);
    depth + 1
}

fn write_profiles(text: &mut String, profiles: &[RungSpec], indent: &str) {
    for profile in profiles {
        let width = profile
            .width
            .map(|width| format!(", width: {width}"))
            .unwrap_or_default();
        let quality = profile
            .quality
            .map(|quality| format!(", quality: {quality}"))
            .unwrap_or_default();
        let (name, height, rate) = (&profile.name, profile.height, rate_text(profile.bitrate));
        let _ = writeln!(
            text,
            "{indent}- {{ name: {name}{width}, height: {height}, bitrate: {rate}{quality} }}"
        );
    }
}

fn rate_text(rate: u32) -> String {
    if rate.is_multiple_of(1_000) {
        format!("{}k", rate / 1_000)
    } else {
        rate.to_string()
    }
}

/// A text as a YAML scalar, quoted when it would be read as something else.
fn scalar(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:[]".contains(c);
    let safe = text.chars().all(plain)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/' || c == '.')
        && !text.ends_with(':');
    if safe {
        text.to_owned()
    } else {
        serde_json::Value::from(text).to_string()
    }
}

/// `docs/reference/config.md`.
pub(crate) fn reference() -> String {
    let mut text = format!(
        "# Configuration\n\n\
         <!-- Generated from the registry of keys by `UPDATE=1 cargo test -p tidewire config`; do not edit. -->\n\n\
         Settings come from, the first wins: flags of the command, environment variables, the file, the defaults.\n\
         The file is the one that `--config` or `TIDEWIRE_CONFIG` names, else `{FILE_NAME}` in the working directory,\n\
         else `{SYSTEM_FILE}`. A dot in a key is a level in the file:\n\n\
         ```yaml\nstreaming:\n  part_duration: 250ms\n```\n\n\
         A key that is not listed here, a value of the wrong type or out of range stops the start with the place it\n\
         stands at, and exit code 2. `tidewire config check` does only that; `tidewire config print` shows every\n\
         setting and where it comes from. Durations carry their unit (`250ms`, `2s`, `1m`, `1h`), rates are bits a\n\
         second (`2500k`, `2.5M`, `2500000`). Addresses may be `IP:PORT`, `:PORT` or a port alone.\n"
    );
    for (group, title) in GROUPS {
        let _ = writeln!(
            text,
            "\n## {title}\n\n| key | environment, flag | takes | default |\n|---|---|---|---|"
        );
        for key in keys_of(group) {
            let flag = key.flag.map(|flag| format!(", `{flag}`")).unwrap_or_default();
            let default = match key.kind {
                Kind::Profiles => "see below".to_owned(),
                _ if key.default.is_empty() => "none".to_owned(),
                _ => format!("`{}`", key.default),
            };
            let (name, environment, kind) = (key.name, key.environment(), key.kind.describe());
            let _ = writeln!(text, "| `{name}` | `{environment}`{flag} | {kind} | {default} |");
        }
        text.push('\n');
        for key in keys_of(group) {
            let _ = writeln!(text, "- `{}`: {}", key.name, key.doc);
        }
        if *group == "streaming" {
            text.push_str("\nThe default of `streaming.profiles`:\n\n```yaml\nstreaming:\n  profiles:\n");
            write_profiles(&mut text, &media::ladder::default_profiles(), "    ");
            text.push_str("```\n");
        }
    }
    text
}

/// `docs/reference/tidewire.example.yaml`: every key at its default, commented out.
pub(crate) fn example() -> String {
    let mut text = format!(
        "# Tidewire's settings, all at their defaults. Copy this file to `{FILE_NAME}` and take the `#` from what you\n\
         # change (and from the group above it). `tidewire config check` says what is wrong with it.\n"
    );
    for (group, title) in GROUPS {
        let _ = writeln!(text, "\n# {title}");
        let indent = "  ".repeat(heading(&mut text, group, "#"));
        for key in keys_of(group).filter(|key| key.kind != Kind::Reserved) {
            for line in wrap(key.doc, 110 - indent.len()) {
                let _ = writeln!(text, "{indent}# {line}");
            }
            let (_, word) = split(key.name);
            if key.kind == Kind::Profiles {
                let _ = writeln!(text, "#{indent}{word}:");
                write_profiles(
                    &mut text,
                    &media::ladder::default_profiles(),
                    &format!("#{indent}  "),
                );
            } else {
                let _ = writeln!(text, "{}", format!("#{indent}{word}: {}", key.default).trim_end());
            }
        }
    }
    text
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is always a last line");
        if !line.is_empty() && line.len() + 1 + word.len() > width {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}
