//! Installs what a task needs and the machine lacks. Nothing is downloaded when it is there already.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::proc::{cmd, find, run, say};

/// A program that a task needs, and the Debian packages that bring it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// `ffmpeg` and `ffprobe`.
    Ffmpeg,
    /// A font for the clock in the test picture.
    Font,
    /// A headless browser with H.264 and AAC.
    Chromium,
    /// `node` and `npm`.
    Node,
    /// nginx with its RTMP module, to measure beside.
    NginxRtmp,
    /// OBS Studio and a screen for it.
    Obs,
}

impl Need {
    fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Ffmpeg => &["ffmpeg"],
            Self::Font => &["fontconfig", "fonts-dejavu-core"],
            Self::Chromium => &["chromium"],
            Self::Node => &["nodejs", "npm"],
            Self::NginxRtmp => &["nginx-light", "libnginx-mod-rtmp"],
            Self::Obs => &["obs-studio", "xvfb"],
        }
    }

    fn present(self) -> bool {
        match self {
            Self::Ffmpeg => find("ffmpeg").is_some() && find("ffprobe").is_some(),
            Self::Font => font().is_some(),
            Self::Chromium => chromium().is_some(),
            Self::Node => find("node").is_some() && find("npm").is_some(),
            Self::NginxRtmp => nginx().is_some() && nginx_rtmp_module().is_some(),
            Self::Obs => find("obs").is_some() && find("Xvfb").is_some(),
        }
    }
}

/// Makes sure that all of `needs` are there, by apt-get where that is possible.
pub(crate) fn ensure(needs: &[Need]) -> Result<()> {
    let missing: Vec<Need> = needs.iter().copied().filter(|need| !need.present()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().flat_map(|need| need.packages()).copied().collect();
    let by_hand = format!(
        "sudo apt-get update && sudo apt-get install --yes --no-install-recommends {}",
        packages.join(" ")
    );
    let Some(prefix) = apt_prefix() else {
        bail!(
            "missing: {missing:?}, and this user cannot install packages (not root, no password-less sudo, or no apt-get).\n\
             Run this, then the same task again:\n\n  {by_hand}\n"
        );
    };
    say(format!("installing {}", packages.join(", ")));
    apt(&prefix, &["update", "-qq"]).context("apt-get update")?;
    let mut install = vec!["install", "-qq", "--yes", "--no-install-recommends"];
    install.extend(&packages);
    apt(&prefix, &install).with_context(|| format!("by hand: {by_hand}"))?;
    match missing.iter().find(|need| !need.present()) {
        None => Ok(()),
        Some(need) => bail!("{need:?} is still missing after `{by_hand}`"),
    }
}

/// `Some(words before apt-get)` when we may install packages.
fn apt_prefix() -> Option<Vec<&'static str>> {
    find("apt-get")?;
    if rustix::process::geteuid().is_root() {
        return Some(vec![]);
    }
    find("sudo")?;
    let quiet = cmd("sudo", ["-n", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .ok()?;
    quiet.success().then(|| vec!["sudo", "-n"])
}

fn apt(prefix: &[&str], args: &[&str]) -> Result<()> {
    let mut words = prefix.to_vec();
    // Through `env`, so that the setting also passes sudo.
    words.extend(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    words.extend(args);
    run(Command::new(words[0]).args(&words[1..]).stdin(Stdio::null()))
}

/// The browser binary.
pub(crate) fn chromium() -> Option<std::path::PathBuf> {
    [
        "chromium",
        "chromium-browser",
        "google-chrome",
        "google-chrome-stable",
    ]
    .into_iter()
    .find_map(find)
}

/// nginx, which Debian keeps out of a plain user's `PATH`.
pub(crate) fn nginx() -> Option<std::path::PathBuf> {
    find("nginx")
        .or_else(|| Some("/usr/sbin/nginx".into()).filter(|file: &std::path::PathBuf| file.is_file()))
}

/// nginx's loadable RTMP module.
pub(crate) fn nginx_rtmp_module() -> Option<&'static Path> {
    [
        "/usr/lib/nginx/modules/ngx_rtmp_module.so",
        "/usr/lib64/nginx/modules/ngx_rtmp_module.so",
    ]
    .into_iter()
    .map(Path::new)
    .find(|file| file.is_file())
}

/// A monospace font file for `drawtext`: fontconfig's choice, else the usual places.
pub(crate) fn font() -> Option<String> {
    if let Some(fc_match) = find("fc-match") {
        let out = Command::new(fc_match)
            .args(["--format", "%{file}", "monospace"])
            .output()
            .ok()?;
        let file = String::from_utf8_lossy(&out.stdout).trim().to_owned();
        if Path::new(&file).is_file() {
            return Some(file);
        }
    }
    [
        "/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf",
        "/usr/share/fonts/dejavu/DejaVuSansMono.ttf",
    ]
    .into_iter()
    .find(|file| Path::new(file).is_file())
    .map(Into::into)
}

/// `npm ci` in `dir`, unless `node_modules` is as new as the lock file.
pub(crate) fn npm(dir: &Path) -> Result<()> {
    let lock = dir.join("package-lock.json");
    let installed = dir.join("node_modules/.package-lock.json");
    let age = |file: &Path| std::fs::metadata(file).and_then(|meta| meta.modified()).ok();
    if let (Some(lock), Some(installed)) = (age(&lock), age(&installed))
        && installed >= lock
    {
        return Ok(());
    }
    ensure(&[Need::Node])?;
    say(format!(
        "npm ci in {}",
        dir.file_name().unwrap_or_default().to_string_lossy()
    ));
    let command = if lock.is_file() { "ci" } else { "install" };
    run(
        cmd("npm", [command, "--no-audit", "--no-fund", "--loglevel=error"])
            .env("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1")
            .current_dir(dir)
            .stdin(Stdio::null()),
    )
}
