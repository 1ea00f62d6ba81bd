//! Tidewire transcode.
