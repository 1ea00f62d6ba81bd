//! Load generators.
fn main() {}
