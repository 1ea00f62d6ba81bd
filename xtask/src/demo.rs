//! `cargo xtask demo`: from a fresh clone to a picture in the browser with one command.

use std::io::{BufRead as _, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::needs::{self, Need};
use crate::proc::{
    Background, Interrupt, cargo, nothing_left, output, root, run, say, take_switch, take_value, target_dir,
};
use crate::web;

/// How long the first segment may take before we call it a failure.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// The test source is started again this long after it ended by itself.
const SOURCE_RETRY: Duration = Duration::from_secs(2);
const CHANNEL: &str = "demo";

struct Options {
    source: bool,
    http: SocketAddr,
    rtmp: SocketAddr,
    data_dir: PathBuf,
}

impl Options {
    fn parse(args: &[String]) -> Result<Self> {
        let mut args = args.to_vec();
        let address = |args: &mut Vec<String>, name: &str, default: &str| -> Result<SocketAddr> {
            let text = take_value(args, name)?.unwrap_or_else(|| default.into());
            text.parse()
                .with_context(|| format!("{name}: `{text}` is not ADDRESS:PORT"))
        };
        let options = Self {
            source: !take_switch(&mut args, "--no-source"),
            http: address(&mut args, "--http", "127.0.0.1:8080")?,
            rtmp: address(&mut args, "--rtmp", "127.0.0.1:1935")?,
            data_dir: take_value(&mut args, "--data-dir")?
                .map_or_else(|| root().join("var/demo"), PathBuf::from),
        };
        nothing_left(&args)?;
        Ok(options)
    }
}

/// `cargo xtask demo`.
pub(crate) fn main(args: &[String]) -> Result<()> {
    let options = Options::parse(args)?;
    let interrupt = Interrupt::install()?;
    needs::ensure(&[Need::Ffmpeg, Need::Font, Need::Node])?;
    web::build(false)?;
    let binary = binary()?;

    refuse_taken("--http", options.http)?;
    refuse_taken("--rtmp", options.rtmp)?;
    std::fs::create_dir_all(&options.data_dir)
        .with_context(|| format!("cannot make the data dir {}", options.data_dir.display()))?;
    let key = stream_key(&binary, &options.data_dir)?;
    let token = admin_token(&binary, &options.data_dir)?;

    let mut server = Background::spawn("tidewire", serve(&binary, &options))?;
    wait_until(&interrupt, &mut server, "the server to answer", || {
        get(options.http, "/healthz") == Some(200)
    })?;
    let mut source = None;
    if options.source {
        source = Some(Background::spawn(
            "the test source",
            test_source(options.rtmp, &key),
        )?);
        say("waiting for the first parts of the test broadcast");
        let master = format!("/live/{CHANNEL}/master.m3u8");
        wait_until(&interrupt, &mut server, "the test broadcast", || {
            get(options.http, &master) == Some(200)
        })?;
    }
    print_addresses(&options, &key, &token);
    attend(&interrupt, &options, &key, &mut server, source)
}

/// The release binary, built when needed; `TIDEWIRE_BIN` names another one.
fn binary() -> Result<PathBuf> {
    if let Some(binary) = std::env::var_os("TIDEWIRE_BIN") {
        return Ok(binary.into());
    }
    say("building the release binary (the first time takes minutes)");
    run(&mut cargo(["build", "--release", "--quiet", "-p", "tidewire"]))?;
    Ok(target_dir().join("release/tidewire"))
}

fn serve(binary: &Path, options: &Options) -> Command {
    let mut command = Command::new(binary);
    command.arg("serve").arg("--data-dir").arg(&options.data_dir);
    command.args([
        "--http",
        &options.http.to_string(),
        "--rtmp",
        &options.rtmp.to_string(),
    ]);
    command
}

/// Keeps everything running until Ctrl-C or `q`; `s` stops and starts the test source.
fn attend(
    interrupt: &Interrupt,
    options: &Options,
    key: &str,
    server: &mut Background,
    mut source: Option<Background>,
) -> Result<()> {
    let lines = stdin_lines();
    let mut wanted = source.is_some();
    let mut retry_at = None;
    while !interrupt.raised() {
        if let Some(why) = server.ended() {
            bail!("{why}");
        }
        match lines.recv_timeout(Duration::from_millis(100)) {
            Ok(line) if line == "q" => break,
            Ok(line) if line == "s" => {
                wanted = source.is_none();
                if !wanted {
                    source = None;
                    println!("test source stopped; the channel is free for OBS. s + Enter starts it again");
                }
                retry_at = None;
            }
            // Without a terminal there is nobody to type.
            Err(mpsc::RecvTimeoutError::Disconnected) => std::thread::sleep(Duration::from_millis(100)),
            Ok(_) | Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
        if let Some(why) = source.as_mut().and_then(Background::ended) {
            eprintln!("{why}; starting it again");
            source = None;
            retry_at = Some(Instant::now() + SOURCE_RETRY);
        }
        if wanted && source.is_none() && retry_at.is_none_or(|at| Instant::now() >= at) {
            source = Some(Background::spawn(
                "the test source",
                test_source(options.rtmp, key),
            )?);
            println!("test source started");
        }
    }
    say("stopping everything");
    Ok(())
}

fn print_addresses(options: &Options, key: &str, token: &str) {
    let Options { http, rtmp, .. } = options;
    println!(
        "\n  Watch       http://{http}/watch/{CHANNEL}\n\
         \n  OBS         Settings > Stream > Service: Custom\n\
         \x20   Server      rtmp://{rtmp}/live\n\
         \x20   Stream key  {key}\n\
         \n  Studio      http://{http}/studio\n\
         \x20   Token       {token}\n\
         \n  HLS         http://{http}/live/{CHANNEL}/master.m3u8\
         \n  DASH        http://{http}/live/{CHANNEL}/manifest.mpd\n\
         \n  s + Enter   {}\
         \n  Ctrl-C      ends the server and everything it started\n",
        if options.source {
            "stops the test broadcast (then press Start in OBS), or starts it again"
        } else {
            "starts a test broadcast"
        }
    );
    let _ = std::io::stdout().flush();
}

/// The demo channel's key. The server keeps only a digest, so the demo keeps its own copy, readable by its owner.
fn stream_key(binary: &Path, data_dir: &Path) -> Result<String> {
    let file = data_dir.join("demo-stream-key");
    let has_channel = data_dir_has_channel(binary, data_dir);
    if let Some(key) = kept(&file).filter(|_| has_channel) {
        return Ok(key);
    }
    let made: &[&str] = if has_channel {
        &["key", "add", CHANNEL, "--json"]
    } else {
        &["channel", "add", CHANNEL, "--json"]
    };
    make(binary, data_dir, made, "stream_key", &file)
}

/// The token for the studio, kept like the key.
fn admin_token(binary: &Path, data_dir: &Path) -> Result<String> {
    let file = data_dir.join("demo-admin-token");
    if let Some(token) = kept(&file) {
        return Ok(token);
    }
    let made = ["token", "admin", "--label", "demo", "--json"];
    make(binary, data_dir, &made, "token", &file)
}

fn kept(file: &Path) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// Runs `tidewire WORDS`, and keeps the secret that stands in its answer as `field`.
fn make(binary: &Path, data_dir: &Path, words: &[&str], field: &str, file: &Path) -> Result<String> {
    let text = output(Command::new(binary).args(words).arg("--data-dir").arg(data_dir))?;
    let answer: serde_json::Value = serde_json::from_str(text.trim())
        .with_context(|| format!("`tidewire {}` printed no JSON", words.join(" ")))?;
    let secret = answer[field]
        .as_str()
        .with_context(|| format!("no `{field}` in the answer"))?
        .to_owned();
    let mut out = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(file)?;
    writeln!(out, "{secret}")?;
    Ok(secret)
}

fn data_dir_has_channel(binary: &Path, data_dir: &Path) -> bool {
    let list = output(
        Command::new(binary)
            .args(["channel", "list", "--json"])
            .arg("--data-dir")
            .arg(data_dir),
    );
    list.is_ok_and(|text| {
        text.contains(&format!("\"name\":\"{CHANNEL}\""))
            || text.contains(&format!("\"name\": \"{CHANNEL}\""))
    })
}

/// 1280x720p30 with the UTC time in milliseconds and a beep each second; cheap enough for a laptop beside the ladder.
pub(crate) fn test_source(rtmp: SocketAddr, key: &str) -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-nostdin", "-loglevel", "error"]);
    command.args(["-re", "-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=30"]);
    command.args([
        "-re",
        "-f",
        "lavfi",
        "-i",
        "aevalsrc=0.2*sin(2*PI*1000*t)*lt(mod(t\\,1)\\,0.08):s=48000:c=mono",
    ]);
    command.args(["-vf", &clock_filter(72), "-pix_fmt", "yuv420p"]);
    command.args([
        "-c:v",
        "libx264",
        "-preset",
        "veryfast",
        "-tune",
        "zerolatency",
        "-profile:v",
        "high",
    ]);
    command.args(["-g", "60", "-keyint_min", "60", "-sc_threshold", "0"]);
    command.args(["-b:v", "2500k", "-maxrate", "2500k", "-bufsize", "1250k"]);
    command.args(["-c:a", "aac", "-b:a", "128k", "-ar", "48000", "-ac", "2"]);
    command.args(["-f", "flv", &format!("rtmp://{rtmp}/live/{key}")]);
    command
}

/// A `drawtext` filter that writes the wall clock (UTC, milliseconds) into the picture.
fn clock_filter(size: u32) -> String {
    let font = needs::font()
        .map(|file| format!("fontfile={file}:"))
        .unwrap_or_default();
    format!(
        "drawtext={font}text='%{{gmtime\\:%H\\\\\\:%M\\\\\\:%S.%3N}} UTC':fontsize={size}:x=(w-tw)/2:y=h*0.72:\
         fontcolor=white:box=1:boxcolor=black@0.7:boxborderw=16"
    )
}

fn refuse_taken(flag: &str, address: SocketAddr) -> Result<()> {
    match TcpListener::bind(address) {
        Ok(_) => Ok(()),
        Err(error) => bail!(
            "{address} cannot be used: {error}.\n\
             Is a demo already running? `ss -ltnp 'sport = :{}'` shows who has it; or choose another: \
             cargo xtask demo {flag} {}:{}",
            address.port(),
            address.ip(),
            address.port().wrapping_add(1)
        ),
    }
}

fn wait_until(
    interrupt: &Interrupt,
    server: &mut Background,
    what: &str,
    mut done: impl FnMut() -> bool,
) -> Result<()> {
    let deadline = Instant::now() + READY_WITHIN;
    while !done() {
        if interrupt.raised() {
            bail!("interrupted");
        }
        if let Some(why) = server.ended() {
            bail!("{why} (its messages are above)");
        }
        if Instant::now() > deadline {
            bail!("waited {} s in vain for {what}", READY_WITHIN.as_secs());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// The status of a GET, or `None` when nobody answers.
fn get(address: SocketAddr, path: &str) -> Option<u16> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    let mut head = [0_u8; 12];
    stream.read_exact(&mut head).ok()?;
    std::str::from_utf8(&head[9..12]).ok()?.parse().ok()
}

fn stdin_lines() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line.trim().to_owned()).is_err() {
                break;
            }
        }
    });
    receiver
}
