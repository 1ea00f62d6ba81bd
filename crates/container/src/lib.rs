//! Tidewire container.
