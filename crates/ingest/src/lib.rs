//! Tidewire ingest.
