//! Configuration: raw layers in, one validated value out.
//!
//! Flags win over the environment (`TIDEWIRE_*`), that over the file (`tidewire.yaml`), that over the defaults.
//! [`keys::KEYS`] is the only place where a key is named; the parser, `config print`, the reference page and the
//! example file follow from it. Every problem names the place it comes from: `FILE:LINE:COLUMN`, the variable, or the
//! flag.

pub(crate) mod keys;
mod layers;
mod problem;
pub(crate) mod render;
mod validated;
mod value;
mod yaml;

#[cfg(test)]
mod tests;

pub(crate) use layers::{Loaded, Sources};
pub(crate) use problem::ConfigError;
// What the parts of the server take; `serve` hands each its own.
#[allow(unused_imports, reason = "each part of `serve` names its own")]
pub(crate) use validated::{
    EncoderConfig, HttpConfig, HubConfig, LogConfig, LogFormat, RecordingConfig, RtmpConfig, StreamingConfig,
    TlsConfig, ValidatedConfig,
};
pub(crate) use value::{Space, parse_duration};
