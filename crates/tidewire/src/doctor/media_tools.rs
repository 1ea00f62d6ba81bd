//! FFmpeg and what this machine can encode.

use super::Check;
use crate::config::ValidatedConfig;

pub(super) fn check(_config: &ValidatedConfig, _quick: bool) -> Vec<Check> {
    Vec::new()
}
