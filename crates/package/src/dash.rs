//! DASH text (ISO/IEC 23009-1).

use std::sync::Arc;

use crate::log::RenditionLog;
use crate::window::Fixed;

/// What a manifest says beside its renditions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    pub(crate) stream_id: &'a str,
    pub(crate) fixed: Fixed,
    pub(crate) ended: bool,
    /// UTC of the manifest's time 0.
    pub(crate) origin_utc_ms: i64,
    pub(crate) now_utc_ms: i64,
}

/// The manifest.
pub(crate) fn manifest(context: &Context<'_>, renditions: &[Arc<RenditionLog>]) -> Option<String> {
    let _ = (context, renditions);
    None
}
