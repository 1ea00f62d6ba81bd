//! The binary, as a person at a terminal and a script see it.

#![allow(clippy::unwrap_used, reason = "a test helper has nobody to hand an error to")]

mod access;
mod cli;
mod serve;
mod shell;
