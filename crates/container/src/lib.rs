//! Tidewire container.

pub mod bmff;
pub mod flv;
