//! `cargo xtask check`: everything about the tree that can be judged without running the product.

mod dependencies;
mod graph;
mod spdx;
mod tree;

use std::time::Instant;

use anyhow::{Result, bail};

use crate::proc::{cargo, output};

/// What a check found; empty means that all is well.
pub(crate) type Findings = Vec<String>;

type Check = (&'static str, &'static str, fn() -> Result<Findings>);

/// Cheap ones first, so that a mistake shows within seconds.
const CHECKS: &[Check] = &[
    ("fmt", "formatting", fmt),
    (
        "tree",
        "file sizes, ignored tests, names in ARCHITECTURE.md, references in SPECS.md, links",
        tree::check,
    ),
    (
        "direction",
        "which crate may use which (DESIGN section 3), purity of the pure ones",
        dependencies::direction,
    ),
    (
        "licences",
        "every locked package is under a licence that we accept",
        dependencies::licences,
    ),
    (
        "stacks",
        "one TLS, crypto, HTTP and async stack; duplicate versions",
        dependencies::stacks,
    ),
    ("budget", "how many packages we pull in", dependencies::budget),
    ("clippy", "clippy on all targets, warnings denied", clippy),
    ("docs", "rustdoc, warnings denied", docs),
];

/// `cargo xtask check [NAME...]`.
pub(crate) fn main(args: &[String]) -> Result<()> {
    if let Some(unknown) = args
        .iter()
        .find(|name| CHECKS.iter().all(|check| check.0 != name.as_str()))
    {
        let names: Vec<&str> = CHECKS.iter().map(|check| check.0).collect();
        bail!("no check is called `{unknown}`; there are {}", names.join(", "));
    }
    let mut failed = Vec::new();
    for (name, what, check) in CHECKS
        .iter()
        .filter(|check| args.is_empty() || args.iter().any(|arg| arg == check.0))
    {
        let started = Instant::now();
        let findings = check().unwrap_or_else(|error| vec![format!("{error:#}")]);
        let seconds = started.elapsed().as_secs_f32();
        let mark = if findings.is_empty() { "ok  " } else { "FAIL" };
        println!("{mark} {name:<10} {seconds:>6.1} s  {what}");
        for finding in &findings {
            println!("       {}", finding.replace('\n', "\n       "));
        }
        if !findings.is_empty() {
            failed.push(*name);
        }
    }
    if failed.is_empty() {
        println!("\nall checks passed");
        return Ok(());
    }
    bail!(
        "failed: {}; one alone: `cargo xtask check {}`",
        failed.join(", "),
        failed[0]
    )
}

fn fmt() -> Result<Findings> {
    // Only the names: the cure is `cargo fmt --all` whatever the difference is.
    match output(&mut cargo(["fmt", "--all", "--", "--check", "-l"])) {
        Ok(_) => Ok(vec![]),
        Err(_) => {
            let mut command = cargo(["fmt", "--all", "--", "--check", "-l"]);
            let files = command
                .output()
                .map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned())?;
            Ok(vec![format!("cure: cargo fmt --all\n{files}")])
        }
    }
}

fn clippy() -> Result<Findings> {
    quiet(&mut cargo([
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ]))
}

fn docs() -> Result<Findings> {
    let mut command = cargo(["doc", "--workspace", "--no-deps", "--locked", "--quiet"]);
    quiet(command.env("RUSTDOCFLAGS", "-D warnings"))
}

/// Runs; a failure's whole stderr is the finding.
fn quiet(command: &mut std::process::Command) -> Result<Findings> {
    let out = command.output()?;
    if out.status.success() {
        return Ok(vec![]);
    }
    Ok(vec![String::from_utf8_lossy(&out.stderr).trim().to_owned()])
}
