//! Ladder arithmetic: which rungs a source gets.
