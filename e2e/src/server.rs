//! The binary under test, on free loopback ports with a fresh data directory.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::http::{Client, Response};

/// How long the server may take to listen.
const READY_WITHIN: Duration = Duration::from_secs(15);

/// The binary: `TIDEWIRE_BIN`, else what is built, the newer one of release and dev.
///
/// # Errors
/// When there is none: a test without its subject must not pass.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("TIDEWIRE_BIN") {
        let path = PathBuf::from(path);
        ensure!(
            path.is_file(),
            "TIDEWIRE_BIN names {}, which is not there",
            path.display()
        );
        return Ok(path);
    }
    let root = workspace();
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let built = ["release/tidewire", "debug/tidewire"].map(|name| target.join(name));
    let age = |file: &PathBuf| std::fs::metadata(file).and_then(|meta| meta.modified()).ok();
    let newest = built
        .iter()
        .filter(|file| file.is_file())
        .max_by_key(|file| age(file));
    newest
        .cloned()
        .context("no binary to test: run `cargo build -p tidewire`, or `cargo xtask test --only e2e`")
}

/// The workspace root.
#[must_use]
pub fn workspace() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

/// A directory that goes away with the value.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    /// Makes one.
    ///
    /// # Errors
    /// When the temporary directory cannot be written.
    pub fn new() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("tidewire-e2e-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir)?;
        Ok(Self(dir))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A port that nobody listens on now.
///
/// # Errors
/// When the kernel has none.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// How to start the server.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// The text of `tidewire.yaml`; empty means no file.
    pub config: String,
    /// Environment variables, such as another `PATH`.
    pub env: Vec<(String, String)>,
}

/// A running server. Dropping it ends it; a panicking test prints its log.
#[derive(Debug)]
pub struct Server {
    child: Child,
    dir: TempDir,
    /// The HTTP address.
    pub http: SocketAddr,
    /// The RTMP address.
    pub rtmp: SocketAddr,
}

impl Server {
    /// Starts with the defaults.
    ///
    /// # Errors
    /// When it does not come up; its log is in the error.
    pub fn start() -> Result<Self> {
        Self::start_with(&Setup::default())
    }

    /// Starts with a configuration.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_with(setup: &Setup) -> Result<Self> {
        let dir = TempDir::new()?;
        let (http, rtmp) = (free_address()?, free_address()?);
        let mut command = Command::new(binary()?);
        command
            .arg("serve")
            .arg("--data-dir")
            .arg(dir.path().join("data"));
        command.args(["--http", &http.to_string(), "--rtmp", &rtmp.to_string()]);
        if !setup.config.is_empty() {
            let file = dir.path().join("tidewire.yaml");
            std::fs::write(&file, &setup.config)?;
            command.arg("--config").arg(file);
        }
        command.envs(setup.env.iter().map(|(key, value)| (key, value)));
        let log = std::fs::File::create(dir.path().join("log"))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let mut server = Self {
            child,
            dir,
            http,
            rtmp,
        };
        let deadline = Instant::now() + READY_WITHIN;
        while !server.get("/readyz").is_ok_and(|response| response.status == 200) {
            if let Some(status) = server.child.try_wait()? {
                bail!("the server ended with {status}\n{}", server.log());
            }
            ensure!(
                Instant::now() < deadline,
                "the server is not ready after {READY_WITHIN:?}\n{}",
                server.log()
            );
            std::thread::sleep(Duration::from_millis(30));
        }
        Ok(server)
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Where it keeps its database.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Resident memory, bytes.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn resident_bytes(&self) -> Result<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid()))?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("Rss:"))
            .context("no Rss")?;
        Ok(line.trim().trim_end_matches(" kB").trim().parse::<u64>()? * 1024)
    }

    /// GET on a fresh connection.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn get(&self, path: &str) -> Result<Response> {
        Client::new(self.http, Duration::from_secs(10)).get(path)
    }

    /// GET of JSON with status 200.
    ///
    /// # Errors
    /// With another status or no JSON.
    pub fn json(&self, path: &str) -> Result<Value> {
        let response = self.get(path)?;
        ensure!(
            response.status == 200,
            "{path}: status {}: {}",
            response.status,
            response.text()
        );
        serde_json::from_slice(&response.body).with_context(|| format!("{path} is no JSON"))
    }

    /// Runs a command of the binary on this server's data directory.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn command(&self, words: &[&str]) -> Result<Output> {
        let data_dir = self.dir.path().join("data");
        Ok(Command::new(binary()?)
            .args(words)
            .arg("--data-dir")
            .arg(data_dir)
            .stdin(Stdio::null())
            .output()?)
    }

    /// Adds a channel and returns its stream key.
    ///
    /// # Errors
    /// When the command fails.
    pub fn add_channel(&self, name: &str) -> Result<String> {
        let out = self.command(&["channel", "add", name, "--json"])?;
        ensure!(
            out.status.success(),
            "channel add: {}",
            String::from_utf8_lossy(&out.stderr)
        );
        let answer: Value = serde_json::from_slice(&out.stdout).context("channel add printed no JSON")?;
        Ok(answer["stream_key"].as_str().context("no stream_key")?.to_owned())
    }

    /// `rtmp://.../live/KEY`.
    #[must_use]
    pub fn publish_url(&self, key: &str) -> String {
        format!("rtmp://{}/live/{key}", self.rtmp)
    }

    /// The channel as the API shows it.
    ///
    /// # Errors
    /// When it does not exist.
    pub fn channel(&self, name: &str) -> Result<Value> {
        self.json(&format!("/api/v1/channels/{name}"))
    }

    /// Asks again until `holds`, at most for `within`.
    ///
    /// # Errors
    /// With the last answer and the server's log.
    pub fn wait_channel(
        &self,
        name: &str,
        within: Duration,
        what: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let deadline = Instant::now() + within;
        loop {
            let view = self.channel(name);
            if let Ok(view) = &view
                && holds(view)
            {
                return Ok(view.clone());
            }
            if Instant::now() > deadline {
                bail!(
                    "not within {within:?}: {what}\nlast answer: {view:?}\n{}",
                    tail(&self.log(), 40)
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until the channel plays.
    ///
    /// # Errors
    /// After 15 seconds.
    pub fn wait_playable(&self, name: &str) -> Result<()> {
        let path = format!("/live/{name}/master.m3u8");
        let deadline = Instant::now() + Duration::from_secs(15);
        while !self.get(&path).is_ok_and(|response| response.status == 200) {
            ensure!(
                Instant::now() < deadline,
                "{path} does not play\n{}",
                tail(&self.log(), 40)
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// The FFmpeg children that encode the ladder.
    #[must_use]
    pub fn ffmpeg_children(&self) -> Vec<u32> {
        descendants(self.pid())
            .into_iter()
            .filter(|pid| {
                std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "ffmpeg")
            })
            .collect()
    }

    /// Sends SIGTERM and returns the exit code.
    ///
    /// # Errors
    /// When it does not end in 15 seconds.
    pub fn terminate(mut self) -> Result<Option<i32>> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let deadline = Instant::now() + Duration::from_secs(15);
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.code());
            }
            ensure!(
                Instant::now() < deadline,
                "still running 15 s after SIGTERM\n{}",
                tail(&self.log(), 40)
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
            let deadline = Instant::now() + Duration::from_secs(5);
            while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- the server's log ---\n{}", tail(&self.log(), 60));
        }
    }
}

/// The last `lines` lines.
#[must_use]
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    let mut out = String::new();
    for line in &all[all.len().saturating_sub(lines)..] {
        let _ = writeln!(out, "{line}");
    }
    out
}

/// All processes below `pid`.
fn descendants(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut todo = vec![pid];
    while let Some(pid) = todo.pop() {
        let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
            continue;
        };
        for task in tasks.flatten() {
            let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            for child in children.split_whitespace().filter_map(|word| word.parse().ok()) {
                found.push(child);
                todo.push(child);
            }
        }
    }
    found
}
