//! `cargo xtask test`: the whole test command, from a fresh clone to a summary.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::needs::{self, Need};
use crate::proc::{cargo, find, nothing_left, root, run, say, take_switch, take_value, target_dir};
use crate::web;

type Step = fn(&Plan) -> Result<()>;

struct Plan {
    /// Leaves out the browser.
    quick: bool,
    /// The server that the end-to-end tests start: the release build, unless asked otherwise.
    profile: &'static str,
    only: Option<String>,
}

/// `cargo xtask test`.
pub(crate) fn main(args: &[String]) -> Result<()> {
    let mut args = args.to_vec();
    let plan = Plan {
        quick: take_switch(&mut args, "--quick"),
        profile: if take_switch(&mut args, "--dev") {
            "debug"
        } else {
            "release"
        },
        only: take_value(&mut args, "--only")?,
    };
    nothing_left(&args)?;
    let steps: [(&str, Step); 6] = [
        ("needs", install),
        ("web", |_| web::build(false).and_then(|()| web::checks())),
        ("unit", unit),
        ("fuzz", fuzz),
        ("build", build),
        ("e2e", e2e),
    ];
    if let Some(only) = &plan.only
        && steps.iter().all(|step| step.0 != only)
    {
        bail!("--only {only}: there are {}", steps.map(|step| step.0).join(", "));
    }
    let mut lines = Vec::new();
    let mut failed = false;
    for (name, step) in steps {
        if plan.only.as_deref().is_some_and(|only| only != name) {
            continue;
        }
        say(format!("test: {name}"));
        let started = Instant::now();
        let result = step(&plan);
        lines.push(summary_line(name, started.elapsed(), result.as_ref().err()));
        // Later steps stand on these; the others are independent, and one run should show all that is wrong.
        let fatal = result.is_err() && matches!(name, "needs" | "build");
        failed |= result.is_err();
        if fatal {
            break;
        }
    }
    println!("\n{}", lines.join("\n"));
    if failed {
        bail!("not all tests passed");
    }
    println!("all tests passed");
    Ok(())
}

fn summary_line(name: &str, took: Duration, error: Option<&anyhow::Error>) -> String {
    match error {
        None => format!("ok    {name:<6} {:>6.0} s", took.as_secs_f32()),
        Some(error) => format!("FAIL  {name:<6} {:>6.0} s  {error:#}", took.as_secs_f32()),
    }
}

fn install(plan: &Plan) -> Result<()> {
    let mut list = vec![Need::Ffmpeg, Need::Font, Need::Node];
    if !plan.quick {
        list.extend([Need::Chromium, Need::Obs]);
    }
    needs::ensure(&list)?;
    if plan.quick {
        Ok(())
    } else {
        needs::npm(&root().join("e2e/browser"))
    }
}

fn unit(_: &Plan) -> Result<()> {
    if find("cargo-nextest").is_some() {
        run(&mut cargo([
            "nextest",
            "run",
            "--workspace",
            "--exclude",
            "tidewire-e2e",
            "--locked",
            "--no-fail-fast",
            "--no-tests=pass",
        ]))?;
    } else {
        run(&mut cargo([
            "test",
            "--workspace",
            "--exclude",
            "tidewire-e2e",
            "--locked",
            "--lib",
            "--bins",
            "--tests",
        ]))?;
    }
    // The history checker's own rules are tests of the e2e library.
    run(&mut cargo([
        "test",
        "--locked",
        "--quiet",
        "-p",
        "tidewire-e2e",
        "--lib",
    ]))?;
    run(&mut cargo([
        "test",
        "--workspace",
        "--locked",
        "--quiet",
        "--doc",
    ]))
}

/// A few seconds for each fuzz target, on the stable compiler (the targets are plain tests over a fixed seed then).
fn fuzz(_: &Plan) -> Result<()> {
    let manifest = root().join("fuzz/Cargo.toml");
    if !manifest.is_file() {
        say("no fuzz/ here");
        return Ok(());
    }
    let manifest = manifest.to_string_lossy().into_owned();
    let target = target_dir().to_string_lossy().into_owned();
    run(cargo(["test", "--quiet", "--manifest-path", &manifest]).env("CARGO_TARGET_DIR", target))
}

fn build(plan: &Plan) -> Result<()> {
    let mut command = cargo(["build", "--locked", "--quiet", "-p", "tidewire"]);
    if plan.profile == "release" {
        command.arg("--release");
    }
    run(&mut command)
}

fn e2e(plan: &Plan) -> Result<()> {
    let binary = target_dir().join(plan.profile).join("tidewire");
    // One at a time: the scenarios measure latencies, and two cores hold one encoder and one browser.
    let mut command = cargo([
        "test",
        "--locked",
        "-p",
        "tidewire-e2e",
        "--test",
        "it",
        "--",
        "--test-threads=1",
    ]);
    if plan.quick {
        command.args(["--skip", "browser", "--skip", "obs::"]);
    }
    command.env("TIDEWIRE_BIN", binary);
    if let Some(chromium) = needs::chromium() {
        command.env("TIDEWIRE_CHROMIUM", chromium);
    }
    run(&mut command)
}
