//! The Tidewire binary.
fn main() {}
