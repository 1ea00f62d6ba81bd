//! Short runs of FFmpeg that are waited for on the calling thread.

use std::io::{Read, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::process::{command, describe};

/// Bytes kept of each output.
const OUTPUT_BYTES_MAX: u64 = 16 << 20;
const STDERR_BYTES_MAX: u64 = 64 << 10;

/// What a short run gave.
pub(crate) struct Ran {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    pub(crate) wall: Duration,
}

/// Runs `program`, gives it `input`, and waits at most `limit`. `Err`: what went wrong, in words.
pub(crate) fn run(program: &Path, args: &[&str], input: Vec<u8>, limit: Duration) -> Result<Ran, String> {
    let started = Instant::now();
    let mut command = command(program, args);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .map_err(|error| format!("{} cannot be run: {error}", program.display()))?;
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let kill = || {
        if let Some(group) = group {
            // ESRCH: it has ended meanwhile.
            let _ = kill_process_group(group, Signal::KILL);
        }
    };
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(&input)));
        let stdout = scope.spawn(move || read(stdout, OUTPUT_BYTES_MAX));
        let stderr = scope.spawn(move || read(stderr, STDERR_BYTES_MAX));
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break Ok(status),
                Ok(None) if started.elapsed() < limit => std::thread::sleep(Duration::from_millis(2)),
                Ok(None) => break Err(format!("not done after {:.1} s", limit.as_secs_f32())),
                Err(error) => break Err(error.to_string()),
            }
        };
        let wall = started.elapsed();
        kill();
        // Reaps it; an error means that it has been.
        let _ = child.wait();
        let stderr = String::from_utf8_lossy(&stderr.join().unwrap_or_default()).into_owned();
        let stdout = stdout.join().unwrap_or_default();
        let status = status?;
        if status.success() {
            return Ok(Ran { stdout, stderr, wall });
        }
        let last = stderr
            .lines()
            .rev()
            .find(|line| !line.trim().is_empty())
            .unwrap_or("it said nothing");
        Err(format!("FFmpeg {}: {}", describe(status), last.trim()))
    })
}

fn read(pipe: Option<impl Read>, limit: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        // What was read before an error is kept; beyond the limit it is thrown away, so that the child does not block.
        let _ = pipe.by_ref().take(limit).read_to_end(&mut bytes);
        let _ = std::io::copy(&mut pipe, &mut std::io::sink());
    }
    bytes
}
