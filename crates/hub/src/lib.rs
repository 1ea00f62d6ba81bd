//! Tidewire hub.
