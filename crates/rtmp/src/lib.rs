//! Tidewire rtmp.
