//! `cargo xtask bench live`: builds the server and the load generator, and lets the generator run its suite.

use anyhow::{Result, bail};

use crate::needs::{self, Need};
use crate::proc::{cargo, run, say, target_dir};

/// `cargo xtask bench`.
pub(crate) fn main(args: &[String]) -> Result<()> {
    let Some((suite, rest)) = args.split_first() else {
        bail!("which suite? There is `live`");
    };
    if suite != "live" {
        bail!("there is no suite `{suite}`; there is `live`");
    }
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
