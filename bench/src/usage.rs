//! What a server costs, by process id, from `/proc`.

use std::time::Instant;

use anyhow::{Context as _, Result};

/// CPU time and memory of a set of processes at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    at: Instant,
    /// User and system time of all threads, microseconds.
    pub(crate) cpu_us: u64,
    /// Private and shared pages in memory, bytes.
    pub(crate) rss_bytes: u64,
}

/// The kernel counts in ticks of 10 ms on all of our platforms (`getconf CLK_TCK`).
const TICK_US: u64 = 10_000;

impl Usage {
    /// Reads them now.
    pub(crate) fn of(pids: &[u32]) -> Result<Self> {
        let mut usage = Self {
            at: Instant::now(),
            cpu_us: 0,
            rss_bytes: 0,
        };
        for pid in pids {
            usage.cpu_us += cpu_us(*pid)?;
            usage.rss_bytes += rss_bytes(*pid)?;
        }
        Ok(usage)
    }

    /// Percent of one core used between `earlier` and `self`.
    pub(crate) fn core_percent_since(&self, earlier: &Self) -> f64 {
        let wall = self.at.duration_since(earlier.at).as_micros().max(1);
        (self.cpu_us - earlier.cpu_us) as f64 * 100.0 / wall as f64
    }
}

/// Whole ticks: measure over seconds.
fn cpu_us(pid: u32) -> Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("process {pid} is gone"))?;
    // The name may hold blanks; the fields after it are counted from `state` (3).
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .map_or("", |(_, rest)| rest)
        .split_whitespace()
        .collect();
    let field = |number: usize| {
        fields
            .get(number - 3)
            .and_then(|text| text.parse::<u64>().ok())
            .unwrap_or(0)
    };
    Ok((field(14) + field(15)) * TICK_US)
}

fn rss_bytes(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Rss:"))
        .context("no Rss in smaps_rollup")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kilobytes * 1024)
}

/// Our own process, to show when the load itself was the limit.
pub(crate) fn own() -> Result<Usage> {
    Usage::of(&[std::process::id()])
}

/// Thousands of viewers are thousands of sockets.
pub(crate) fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
}

/// All processes whose parent is `pid`, and `pid` itself: nginx works in a child.
pub(crate) fn with_children(pid: u32) -> Vec<u32> {
    let mut pids = vec![pid];
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    pids.extend(
        children
            .split_whitespace()
            .filter_map(|word| word.parse::<u32>().ok()),
    );
    pids
}
