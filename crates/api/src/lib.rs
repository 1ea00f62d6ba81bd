//! Tidewire api.
