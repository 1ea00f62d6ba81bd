//! Tidewire deliver.
