//! `cargo xtask bench live | browser`: builds the server and the program that measures, and lets it run its suite.

use anyhow::{Result, bail};

use crate::needs::{self, Need};
use crate::proc::{cargo, root, run, say, target_dir};
use crate::web;

/// `cargo xtask bench`.
pub(crate) fn main(args: &[String]) -> Result<()> {
    let Some((suite, rest)) = args.split_first() else {
        bail!("which suite? There are `live` and `browser`");
    };
    match suite.as_str() {
        "live" => live(rest),
        "browser" => browser(rest),
        _ => bail!("there is no suite `{suite}`; there are `live` and `browser`"),
    }
}

/// What a viewer gets in Chromium.
fn browser(rest: &[String]) -> Result<()> {
    needs::ensure(&[Need::Ffmpeg, Need::Font, Need::Node, Need::Chromium])?;
    needs::npm(&root().join("e2e/browser"))?;
    web::build(false)?;
    say("building the release binaries");
    run(&mut cargo([
        "build",
        "--release",
        "--quiet",
        "--locked",
        "-p",
        "tidewire",
        "-p",
        "tidewire-e2e",
        "--bins",
    ]))?;
    let mut command = std::process::Command::new(target_dir().join("release/tidewire-watch"));
    command
        .args(rest)
        .env("TIDEWIRE_BIN", target_dir().join("release/tidewire"));
    if let Some(chromium) = needs::chromium() {
        command.env("TIDEWIRE_CHROMIUM", chromium);
    }
    run(&mut command)
}

/// What publishers, parts, viewers and GETs cost the server.
fn live(rest: &[String]) -> Result<()> {
    let mut list = vec![Need::Ffmpeg];
    if !rest.iter().any(|arg| arg == "--no-nginx") {
        list.push(Need::NginxRtmp);
    }
    needs::ensure(&list)?;
    say("building the release binaries");
    run(&mut cargo([
        "build",
        "--release",
        "--quiet",
        "--locked",
        "-p",
        "tidewire",
        "-p",
        "tidewire-bench",
    ]))?;
    let mut command = std::process::Command::new(target_dir().join("release/tidewire-bench"));
    command
        .arg("live")
        .args(rest)
        .env("TIDEWIRE_BIN", target_dir().join("release/tidewire"));
    if let Some(nginx) = needs::nginx() {
        command.env("NGINX_BIN", nginx);
    }
    if let Some(module) = needs::nginx_rtmp_module() {
        command.env("NGINX_RTMP_MODULE", module);
    }
    run(&mut command)
}
