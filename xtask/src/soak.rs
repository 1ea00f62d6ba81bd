//! `cargo xtask soak`: the long acceptance run of the end-to-end package.

use anyhow::Result;

use crate::needs::{self, Need};
use crate::proc::{cargo, root, run, say, target_dir};
use crate::web;

/// `cargo xtask soak`.
pub(crate) fn main(args: &[String]) -> Result<()> {
    needs::ensure(&[Need::Ffmpeg, Need::Font, Need::Node, Need::Chromium])?;
    needs::npm(&root().join("e2e/browser"))?;
    web::build(false)?;
    say("building the release binary and the soak run");
    run(&mut cargo([
        "build",
        "--release",
        "--quiet",
        "--locked",
        "-p",
        "tidewire",
    ]))?;
    run(&mut cargo([
        "build",
        "--quiet",
        "--locked",
        "-p",
        "tidewire-e2e",
        "--bin",
        "tidewire-soak",
    ]))?;
    let mut command = std::process::Command::new(target_dir().join("debug/tidewire-soak"));
    command
        .args(args)
        .env("TIDEWIRE_BIN", target_dir().join("release/tidewire"));
    if let Some(chromium) = needs::chromium() {
        command.env("TIDEWIRE_CHROMIUM", chromium);
    }
    run(&mut command)
}
