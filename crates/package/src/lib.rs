//! Tidewire package.
