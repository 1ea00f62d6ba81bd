//! The binary, as a person at a terminal and a script see it.

mod cli;
mod shell;
