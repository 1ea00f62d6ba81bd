//! Tests on a real database in a temporary directory.
