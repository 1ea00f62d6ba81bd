//! The layers: flags, environment, file, defaults.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::keys::{self, ENVIRONMENT_PREFIX as PREFIX, KEYS, Key};
use super::problem::{ConfigError, Origin, Problem};
use super::validated::ValidatedConfig;
use super::value::{Kind, Value};
use super::yaml::{self, Entry, FILE_BYTES_MAX, Node, Position, Raw};

/// Looked for in the working directory when no file is named.
pub(crate) const FILE_NAME: &str = "tidewire.yaml";
/// Looked for after it.
pub(crate) const SYSTEM_FILE: &str = "/etc/tidewire/tidewire.yaml";

/// Where settings come from, before anything is read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    /// The file that `--config` or `TIDEWIRE_CONFIG` names; it must exist then.
    pub(crate) file: Option<PathBuf>,
    /// `(key, flag, text)` of the flags given.
    pub(crate) flags: Vec<(&'static str, &'static str, String)>,
    /// The process's environment.
    pub(crate) environment: Vec<(OsString, OsString)>,
}

/// A setting: its value and where that was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

/// Every key with its setting.
#[derive(Clone, Debug)]
pub(crate) struct Layers(pub(super) BTreeMap<&'static str, Setting>);

/// A configuration that is right.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    pub(crate) config: ValidatedConfig,
    pub(crate) layers: Layers,
    /// The file that was read.
    pub(crate) file: Option<PathBuf>,
    /// Lines worth reading that stop nothing.
    pub(crate) warnings: Vec<String>,
}

impl Sources {
    /// Reads all layers and checks them.
    pub(crate) fn load(&self) -> Result<Loaded, ConfigError> {
        let mut problems = Vec::new();
        let mut warnings = Vec::new();
        let mut settings = defaults();
        let file = self.find_file();
        if let Some(path) = &file {
            match read_file(path) {
                Ok(node) => read_node(path, &node, &mut settings, &mut problems),
                Err(problem) => problems.push(problem),
            }
        }
        self.read_environment(&mut settings, &mut problems, &mut warnings);
        for (name, flag, text) in &self.flags {
            let key = keys::find(name).expect("every flag names a key of the registry");
            set(
                key,
                &Raw::Text(text.clone()),
                &Origin::Flag((*flag).to_owned()),
                &mut settings,
                &mut problems,
            );
        }
        let layers = Layers(settings);
        if problems.is_empty() {
            match ValidatedConfig::from_layers(&layers) {
                Ok(config) => {
                    return Ok(Loaded {
                        config,
                        layers,
                        file,
                        warnings,
                    });
                }
                Err(found) => problems = found,
            }
        }
        Err(ConfigError(problems))
    }

    fn find_file(&self) -> Option<PathBuf> {
        self.file.clone().or_else(|| {
            [FILE_NAME, SYSTEM_FILE]
                .into_iter()
                .map(PathBuf::from)
                .find(|path| path.is_file())
        })
    }

    fn read_environment(
        &self,
        settings: &mut BTreeMap<&'static str, Setting>,
        problems: &mut Vec<Problem>,
        warnings: &mut Vec<String>,
    ) {
        let known: BTreeMap<String, &'static Key> = KEYS.iter().map(|key| (key.environment(), key)).collect();
        for (name, text) in &self.environment {
            let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else {
                continue;
            };
            let origin = Origin::Environment(name.to_owned());
            let Some(key) = known.get(name) else {
                // Not refused: orchestrators put variables of this form beside ours (a Kubernetes service called
                // `tidewire` gives TIDEWIRE_PORT, TIDEWIRE_SERVICE_HOST and more).
                let bare = known.keys().filter_map(|known| known.strip_prefix(PREFIX));
                if let Some(near) = nearest(&name[PREFIX.len()..], bare) {
                    warnings.push(format!("{name}: no such setting; did you mean {PREFIX}{near}?"));
                }
                continue;
            };
            let Some(text) = text.to_str() else {
                problems.push(Problem::new(&origin, "the value is not UTF-8"));
                continue;
            };
            match environment_value(key.kind, text) {
                Ok(raw) => set(key, &raw, &origin, settings, problems),
                Err(message) => problems.push(Problem::new(&origin, message)),
            }
        }
    }
}

/// Lists are written in a variable as in the file: `[{name: 720p, height: 720, bitrate: 2500k}]`.
fn environment_value(kind: Kind, text: &str) -> Result<Raw, String> {
    match kind {
        Kind::Profiles => yaml::parse(text)
            .map(|node| node.raw)
            .map_err(|(_, message)| message),
        _ => Ok(Raw::Text(text.to_owned())),
    }
}

fn defaults() -> BTreeMap<&'static str, Setting> {
    KEYS.iter()
        .map(|key| {
            let value = match key.kind {
                Kind::Profiles => Value::Profiles(media::ladder::default_profiles()),
                _ if key.default.is_empty() => Value::Nothing,
                kind => kind
                    .read(key.name, &Raw::Text(key.default.to_owned()))
                    .expect("a test reads every default of the registry"),
            };
            (
                key.name,
                Setting {
                    value,
                    origin: Origin::Default,
                },
            )
        })
        .collect()
}

fn set(
    key: &'static Key,
    raw: &Raw,
    origin: &Origin,
    settings: &mut BTreeMap<&'static str, Setting>,
    problems: &mut Vec<Problem>,
) {
    match key.kind.read(key.name, raw) {
        Ok(value) => {
            settings.insert(
                key.name,
                Setting {
                    value,
                    origin: origin.clone(),
                },
            );
        }
        Err((at, message)) => problems.push(Problem::new(&at_position(origin, at), message)),
    }
}

/// The origin moved to a position inside the value, where the origin is a file.
fn at_position(origin: &Origin, at: Option<Position>) -> Origin {
    match (origin, at) {
        (Origin::File { path, .. }, Some(at)) => Origin::File {
            path: path.clone(),
            line: at.line,
            column: at.column,
        },
        _ => origin.clone(),
    }
}

fn file_origin(path: &Path, at: Position) -> Origin {
    Origin::File {
        path: path.to_owned(),
        line: at.line,
        column: at.column,
    }
}

fn read_file(path: &Path) -> Result<Node, Problem> {
    let whole = |message: String| Problem::new(&file_origin(path, Position::default()), message);
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text))
        .map_err(|error| whole(format!("cannot read the configuration: {}", describe(&error))))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(whole("the configuration is larger than 1 MiB".to_owned()));
    }
    yaml::parse(&text)
        .map_err(|(at, message)| Problem::new(&file_origin(path, at), format!("not valid YAML: {message}")))
}

fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::InvalidData => "it is not UTF-8 text".to_owned(),
        _ => error.to_string(),
    }
}

fn read_node(
    path: &Path,
    node: &Node,
    settings: &mut BTreeMap<&'static str, Setting>,
    problems: &mut Vec<Problem>,
) {
    match &node.raw {
        Raw::Null => {}
        Raw::Map(entries) => read_group(path, "", entries, settings, problems),
        other => problems.push(Problem::new(
            &file_origin(path, node.at),
            format!(
                "the file holds {}; it must hold `key: value` lines",
                other.describe()
            ),
        )),
    }
}

fn read_group(
    path: &Path,
    prefix: &str,
    entries: &[Entry],
    settings: &mut BTreeMap<&'static str, Setting>,
    problems: &mut Vec<Problem>,
) {
    for entry in entries {
        let name = if prefix.is_empty() {
            entry.key.clone()
        } else {
            format!("{prefix}.{}", entry.key)
        };
        if let Some(key) = keys::find(&name) {
            let at = if key.kind == Kind::Reserved {
                entry.at
            } else {
                entry.value.at
            };
            set(key, &entry.value.raw, &file_origin(path, at), settings, problems);
            continue;
        }
        let is_group = KEYS.iter().any(|key| key.name.starts_with(&format!("{name}.")));
        match &entry.value.raw {
            Raw::Map(inner) if is_group => read_group(path, &name, inner, settings, problems),
            // A group whose keys are all commented out.
            Raw::Null if is_group => {}
            raw if is_group => problems.push(Problem::new(
                &file_origin(path, entry.value.at),
                format!(
                    "`{name}` is a group of keys, not {}; write its keys indented below it",
                    raw.describe()
                ),
            )),
            _ => problems.push(Problem::new(&file_origin(path, entry.at), unknown_key(&name))),
        }
    }
}

fn unknown_key(name: &str) -> String {
    let shown: String = name.chars().take(80).collect();
    // A key that is right but stands in the wrong group is the most common slip.
    let last = name.rsplit('.').next().unwrap_or(name);
    let moved = KEYS
        .iter()
        .map(|key| key.name)
        .find(|known| known.rsplit('.').next() == Some(last));
    match moved.or_else(|| nearest(name, KEYS.iter().map(|key| key.name))) {
        Some(near) => format!("unknown key `{shown}`; did you mean `{near}`?"),
        None => format!("unknown key `{shown}`; `tidewire config print` shows all there are"),
    }
}

/// The known word that is most like `word`, if one is like it at all.
fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len() / 4)
        .min()
        .map(|(_, candidate)| candidate)
}
