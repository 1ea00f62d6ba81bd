//! Tidewire platform.
