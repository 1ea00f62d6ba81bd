//! Tidewire live.
