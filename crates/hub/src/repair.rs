//! Timestamp repair.

/// The repaired timeline of one stream.
#[derive(Debug, Default)]
pub(crate) struct Timeline {}
