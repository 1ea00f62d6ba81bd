//! The pages: `npm ci` and the build of `web/dist`, skipped while nothing in `web/` has changed.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::needs;
use crate::proc::{cmd, nothing_left, root, run, say, take_switch, target_dir};

/// `cargo xtask web`.
pub(crate) fn main(args: &[String]) -> Result<()> {
    let mut args = args.to_vec();
    let force = take_switch(&mut args, "--force");
    nothing_left(&args)?;
    build(force)
}

/// Brings `web/dist` up to date.
pub(crate) fn build(force: bool) -> Result<()> {
    let web = root().join("web");
    if !web.join("package.json").is_file() {
        say("no web/ here: the server will say that its pages are absent");
        return Ok(());
    }
    let stamp_file = target_dir().join("xtask/web.stamp");
    let stamp = format!("{:016x}", stamp(&web)?);
    let built = web.join("dist/index.html").is_file();
    if !force && built && std::fs::read_to_string(&stamp_file).is_ok_and(|old| old == stamp) {
        return Ok(());
    }
    needs::npm(&web)?;
    say("building the pages (web/dist)");
    run(cmd("npm", ["run", "--silent", "build"]).current_dir(&web))?;
    std::fs::create_dir_all(target_dir().join("xtask"))?;
    std::fs::write(&stamp_file, stamp).context("cannot keep the stamp of the web build")
}

/// Runs those of the usual check scripts that `web/package.json` has.
pub(crate) fn checks() -> Result<()> {
    let web = root().join("web");
    let Ok(text) = std::fs::read_to_string(web.join("package.json")) else {
        return Ok(());
    };
    let manifest: serde_json::Value = serde_json::from_str(&text).context("web/package.json")?;
    needs::npm(&web)?;
    for script in ["check", "lint", "test"] {
        if manifest["scripts"][script].is_string() {
            say(format!("web: npm run {script}"));
            run(cmd("npm", ["run", "--silent", script])
                .env("CI", "1")
                .current_dir(&web))?;
        }
    }
    Ok(())
}

/// A hash over names and contents of everything that the build reads.
fn stamp(web: &Path) -> Result<u64> {
    let mut files = Vec::new();
    collect(web, &mut files)?;
    files.sort();
    let mut hash = DefaultHasher::new();
    for file in &files {
        file.strip_prefix(web).unwrap_or(file).hash(&mut hash);
        std::fs::read(file)
            .with_context(|| format!("cannot read {}", file.display()))?
            .hash(&mut hash);
    }
    Ok(hash.finish())
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let entry = entry?;
        let name = entry.file_name();
        let kind = entry.file_type()?;
        if kind.is_dir()
            && !["node_modules", "dist", "test-results"]
                .iter()
                .any(|skip| name == *skip)
        {
            collect(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}
