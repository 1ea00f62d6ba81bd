//! Limits, clock, and what the binary carries.

use std::fs;
use std::time::{Duration, Instant, SystemTime};

use super::Check;
use crate::config::ValidatedConfig;
use crate::limits::{FdLimit, raise_fd_limit};

/// 2026-01-01, before which this program did not exist.
const EARLIEST_MS: i64 = 1_767_225_600_000;
/// 2100-01-01.
const LATEST_MS: i64 = 4_102_444_800_000;
/// How long wall clock and monotonic clock are compared.
const CLOCK_SAMPLE: Duration = Duration::from_millis(100);
/// Files that are not connections: database, logs, pipes to FFmpeg (a few a stream).
const OTHER_FILES: u64 = 512;

pub(super) fn check(config: &ValidatedConfig) -> Vec<Check> {
    vec![
        open_files(config, raise_fd_limit()),
        clock(),
        clock_discipline(),
        cpu(),
        pages(),
    ]
}

fn open_files(config: &ValidatedConfig, limit: FdLimit) -> Check {
    let wanted =
        u64::from(config.http.connections_max) + u64::from(config.rtmp.connections_max) + OTHER_FILES;
    let raised = if limit.before == limit.current {
        String::new()
    } else {
        format!(" (raised from {})", limit.before)
    };
    let found = match limit.current {
        u64::MAX => format!("no limit{raised}"),
        current => format!("{current}{raised}"),
    };
    if limit.current >= wanted {
        return Check::ok("open files", found);
    }
    let advice = format!(
        "the configured connections need {wanted}; set LimitNOFILE={wanted} in the service (or `ulimit -Hn {wanted}`), or lower `limits.viewer_connections`"
    );
    Check::warn("open files", found, advice)
}

/// Whether the wall clock shows a time that can be, and runs as fast as the monotonic one.
fn clock() -> Check {
    let advice =
        "set the clock and switch on NTP: `timedatectl set-ntp true`; viewers measure their delay against it";
    let now = platform::now_ms();
    let shown = crate::cli::output::minute(now);
    if !(EARLIEST_MS..LATEST_MS).contains(&now) {
        return Check::fail("clock", format!("{shown} cannot be"), advice);
    }
    let (wall, monotonic) = (SystemTime::now(), Instant::now());
    std::thread::sleep(CLOCK_SAMPLE);
    let passed = monotonic.elapsed();
    let drift = match wall.elapsed() {
        Ok(elapsed) => elapsed.abs_diff(passed),
        Err(backwards) => backwards.duration() + passed,
    };
    if drift > Duration::from_millis(20) {
        return Check::warn(
            "clock",
            format!("{shown}; it jumped {} ms just now", drift.as_millis()),
            advice,
        );
    }
    Check::ok("clock", shown)
}

/// Whether something keeps the clock right, where the system says so without asking a daemon.
fn clock_discipline() -> Check {
    // systemd-timesyncd touches the file when it has synchronised; chrony and ntpd leave a process.
    if fs::metadata("/run/systemd/timesync/synchronized").is_ok() {
        return Check::ok("time sync", "synchronised by systemd-timesyncd");
    }
    let daemons = ["chronyd", "ntpd", "systemd-timesyn", "ptp4l", "phc2sys"];
    let running = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .find_map(|entry| {
            let comm = fs::read_to_string(entry.path().join("comm")).ok()?;
            daemons.into_iter().find(|daemon| comm.trim() == *daemon)
        });
    match running {
        Some(daemon) => Check::ok("time sync", format!("{daemon} is running")),
        None => Check::warn(
            "time sync",
            "nothing was found that keeps the clock right (in a container the host may do it)",
            "switch on NTP: `timedatectl set-ntp true`, or install chrony",
        ),
    }
}

fn cpu() -> Check {
    match std::thread::available_parallelism() {
        Ok(cores) => Check::ok("cpu", format!("{cores} cores for this process")),
        Err(error) => Check::warn(
            "cpu",
            format!("the number of cores is unknown: {error}"),
            "one is assumed",
        ),
    }
}

fn pages() -> Check {
    if api::pages_embedded() {
        return Check::ok("pages", "in this build");
    }
    Check::warn(
        "pages",
        "not in this build: viewers need a player that takes a URL",
        "with Node.js installed, `cargo xtask web` and build again",
    )
}
