//! Starting the servers under test, pinned to one core, with a directory that goes away.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::usage;

/// A running server and how to reach it.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    child: Child,
    dir: PathBuf,
    /// `rtmp://...{n}`.
    pub(crate) publish_url: String,
    /// Stream names for `{n}`, one a line, where the server wants keys.
    pub(crate) names: Option<String>,
    pub(crate) http: String,
}

impl Server {
    /// All processes that do its work.
    pub(crate) fn pids(&self) -> Vec<u32> {
        usage::with_children(self.child.id())
    }

    /// The multivariant playlist of publisher `n`.
    pub(crate) fn master(&self, n: usize) -> String {
        format!("http://{}/live/b{n}/master.m3u8", self.http)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn fresh_dir(name: &str) -> Result<PathBuf> {
    let dir = std::env::temp_dir().join(format!("tidewire-bench-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir)?;
    Ok(dir)
}

fn pinned(core: u32, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", &core.to_string()]).arg(program);
    command
}

fn wait_for(port: u16, child: &mut Child) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(15);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        if let Some(status) = child.try_wait()? {
            bail!("the server ended with {status}");
        }
        ensure!(
            Instant::now() < deadline,
            "the server does not listen on port {port}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// How nginx's RTMP module is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nginx {
    /// Takes streams and relays them to nobody.
    Relay,
    /// Writes plain TS-HLS.
    Hls,
}

/// nginx with its RTMP module; `files` are served by HTTP beside.
pub(crate) fn nginx(core: u32, mode: Nginx) -> Result<Server> {
    let binary = std::env::var("NGINX_BIN").unwrap_or_else(|_| "/usr/sbin/nginx".into());
    let module = std::env::var("NGINX_RTMP_MODULE")
        .unwrap_or_else(|_| "/usr/lib/nginx/modules/ngx_rtmp_module.so".into());
    let dir = fresh_dir("nginx")?;
    let (rtmp, http) = (free_port()?, free_port()?);
    let files = dir.join("files");
    std::fs::create_dir_all(&files)?;
    std::fs::write(files.join("4k.bin"), vec![7_u8; 4096])?;
    let hls = match mode {
        Nginx::Relay => String::new(),
        Nginx::Hls => format!(
            "hls on; hls_path {}; hls_fragment 2s; hls_playlist_length 60s;",
            files.display()
        ),
    };
    let root = dir.display();
    let user = if rustix::process::geteuid().is_root() {
        "user root;"
    } else {
        ""
    };
    let text = format!(
        "{user} load_module {module}; daemon off; worker_processes 1; pid {root}/pid; error_log {root}/error.log warn;\n\
         events {{ worker_connections 8192; }}\n\
         rtmp {{ access_log off; server {{ listen 127.0.0.1:{rtmp}; chunk_size 4096; application live {{ live on; {hls} }} }} }}\n\
         http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000; open_file_cache max=1000;\n\
         client_body_temp_path {root}/b; proxy_temp_path {root}/p; fastcgi_temp_path {root}/f; uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;\n\
         server {{ listen 127.0.0.1:{http}; root {}; }} }}\n",
        files.display()
    );
    let config = dir.join("nginx.conf");
    std::fs::write(&config, text)?;
    let mut command = pinned(core, Path::new(&binary));
    command
        .arg("-c")
        .arg(&config)
        .arg("-p")
        .arg(&dir)
        .stdin(Stdio::null());
    let mut child = command.spawn().context("cannot start nginx")?;
    wait_for(rtmp, &mut child)?;
    let name = if mode == Nginx::Hls {
        "nginx-rtmp, TS-HLS"
    } else {
        "nginx-rtmp, relay"
    };
    let publish_url = format!("rtmp://127.0.0.1:{rtmp}/live/b{{n}}");
    Ok(Server {
        name,
        child,
        dir,
        publish_url,
        names: None,
        http: format!("127.0.0.1:{http}"),
    })
}

/// Tidewire with packaging on and the ladder off, with channels `b0`, `b1`, ...
pub(crate) fn tidewire(core: u32, channels: usize) -> Result<Server> {
    let binary =
        PathBuf::from(std::env::var("TIDEWIRE_BIN").unwrap_or_else(|_| "target/release/tidewire".into()));
    ensure!(
        binary.is_file(),
        "{} is not there: cargo build --release -p tidewire",
        binary.display()
    );
    let dir = fresh_dir("tidewire")?;
    let data_dir = dir.join("data");
    std::fs::create_dir_all(&data_dir)?;
    let mut names = String::new();
    for n in 0..channels {
        let mut command = Command::new(&binary);
        command
            .args(["channel", "add", &format!("b{n}"), "--json", "--data-dir"])
            .arg(&data_dir);
        let out = command
            .stdin(Stdio::null())
            .output()
            .context("cannot start tidewire")?;
        ensure!(
            out.status.success(),
            "channel add: {}",
            String::from_utf8_lossy(&out.stderr)
        );
        let answer: serde_json::Value = serde_json::from_slice(&out.stdout)?;
        names += answer["stream_key"].as_str().context("no stream_key")?;
        names.push('\n');
    }
    let (rtmp, http) = (free_port()?, free_port()?);
    let config = dir.join("tidewire.yaml");
    std::fs::write(
        &config,
        std::env::var("TIDEWIRE_BENCH_CONFIG").unwrap_or_else(|_| CONFIG.into()),
    )?;
    let mut command = pinned(core, &binary);
    command
        .arg("serve")
        .arg("--config")
        .arg(&config)
        .arg("--data-dir")
        .arg(&data_dir);
    command.args([
        "--http",
        &format!("127.0.0.1:{http}"),
        "--rtmp",
        &format!("127.0.0.1:{rtmp}"),
    ]);
    let log = std::fs::File::create(dir.join("log"))?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("cannot start tidewire")?;
    if let Err(error) = wait_for(http, &mut child).and_then(|()| wait_for(rtmp, &mut child)) {
        let log = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
        return Err(error.context(log));
    }
    let publish_url = format!("rtmp://127.0.0.1:{rtmp}/live/{{n}}");
    Ok(Server {
        name: "tidewire",
        child,
        dir,
        publish_url,
        names: Some(names),
        http: format!("127.0.0.1:{http}"),
    })
}

/// No transcoding; all publishers and viewers come from one address here.
const CONFIG: &str = "streaming:\n  enable_abr: false\nlimits:\n  publisher_connections_per_address: 2000\n  \
                      viewer_connections_per_address: 60000\nlog:\n  level: warn\n";
