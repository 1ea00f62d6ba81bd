//! Runs the binary in a directory of its own and keeps a transcript that is the same on every run.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory, and what was typed and printed in it.
pub(crate) struct Shell {
    dir: PathBuf,
    transcript: String,
}

/// What one run printed.
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Shell {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("tidewire-cli-{}-{count}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        Self {
            dir,
            transcript: String::new(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.dir
    }

    /// Writes a file into the directory.
    pub(crate) fn write(&mut self, name: &str, text: &str) {
        fs::write(self.dir.join(name), text).unwrap();
        let _ = writeln!(self.transcript, "--- {name}\n{text}---\n");
    }

    /// Runs `tidewire` with arguments divided by spaces, without noting it.
    pub(crate) fn quiet(&self, arguments: &str) -> Outcome {
        let output = self.command(arguments).output().unwrap();
        Outcome {
            code: output.status.code().expect("it is not killed"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Starts `tidewire serve` with further arguments and waits until it says that it is ready.
    pub(crate) fn serve(&self, arguments: &str) -> Server {
        let mut child = self
            .command(&format!("serve {arguments}"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = String::new();
        // A server that cannot start ends, and with it its standard error.
        let ready = lines.by_ref().map_while(Result::ok).any(|line| {
            said.push_str(&line);
            said.push('\n');
            line.contains("ready")
        });
        let server = Server { child, said };
        assert!(ready, "{}", server.said);
        // Read on, so that it never waits for room in the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        server
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidewire"));
        let ours = |name: &OsString| name.to_string_lossy().starts_with("TIDEWIRE_");
        for name in std::env::vars_os().map(|(name, _)| name).filter(ours) {
            command.env_remove(name);
        }
        command.args(arguments.split_whitespace()).current_dir(&self.dir);
        command
    }

    /// Runs `tidewire` and notes what was typed and printed.
    pub(crate) fn run(&mut self, arguments: &str) -> Outcome {
        let outcome = self.quiet(arguments);
        let typed = masked(&self.dir, arguments);
        let _ = write!(
            self.transcript,
            "$ tidewire {typed}\n{}{}",
            masked(&self.dir, &outcome.stdout),
            masked(&self.dir, &outcome.stderr)
        );
        let _ = writeln!(self.transcript, "[{}]\n", outcome.code);
        outcome
    }

    /// Compares the transcript with `golden/NAME.txt`; `UPDATE=1` rewrites it.
    pub(crate) fn check(self, name: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/it/golden/{name}.txt"));
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, &self.transcript).unwrap();
        }
        let golden = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            golden == self.transcript,
            "{} differs (UPDATE=1 rewrites it); now:\n{}",
            path.display(),
            self.transcript
        );
    }
}

/// A running server; killed when it is dropped.
pub(crate) struct Server {
    child: Child,
    /// Its log up to the line that says that it is ready.
    said: String,
}

impl Server {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where it listens for `HTTP` or `RTMP`.
    pub(crate) fn address(&self, protocol: &str) -> SocketAddr {
        let line = self
            .said
            .lines()
            .find(|line| line.contains(&format!(" {protocol}: ")));
        let (_, address) = line.unwrap().rsplit_once("address=").unwrap();
        address.trim().parse().unwrap()
    }

    /// The body of the answer to a GET, whatever its status.
    pub(crate) fn get(&self, path: &str) -> String {
        let mut socket = TcpStream::connect(self.address("HTTP")).unwrap();
        write!(
            socket,
            "GET {path} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    /// The status of the answer to a GET and what came of its body, of an event stream the first event.
    pub(crate) fn ask(&self, path: &str) -> (u16, String) {
        let mut socket = TcpStream::connect(self.address("HTTP")).unwrap();
        write!(
            socket,
            "GET {path} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = Vec::new();
        let mut buffer = [0; 16 << 10];
        loop {
            let count = socket.read(&mut buffer).unwrap();
            answer.extend_from_slice(&buffer[..count]);
            let text = String::from_utf8_lossy(&answer);
            let is_event = text.contains("text/event-stream") && text.contains("\n\n");
            if count == 0 || is_event {
                let (head, body) = text.split_once("\r\n\r\n").unwrap();
                let status = head.split(' ').nth(1).unwrap().parse().unwrap();
                return (status, body.to_owned());
            }
        }
    }

    /// Asks it to end, and waits until it has; its exit code.
    pub(crate) fn terminate(mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// `text` with what differs between runs replaced by something of the same width: the directory, ids, secrets, times.
fn masked(dir: &Path, text: &str) -> String {
    let text = mask_tokens(&text.replace(dir.to_str().unwrap(), "DIR"));
    let mut masked = String::new();
    let mut word = String::new();
    for c in text.chars().chain(['\0']) {
        if c.is_ascii_alphanumeric() || c == '_' {
            word.push(c);
            continue;
        }
        masked.push_str(&mask_word(&word, c));
        word.clear();
        if c != '\0' {
            masked.push(c);
        }
    }
    mask_times(masked)
}

/// `/t/TOKEN/` for every signed prefix.
fn mask_tokens(text: &str) -> String {
    let mut pieces = text.split("/t/");
    let mut masked = pieces.next().unwrap().to_owned();
    for piece in pieces {
        masked.push_str("/t/TOKEN");
        masked.push_str(&piece[piece.find('/').unwrap()..]);
    }
    masked
}

fn mask_word(word: &str, next: char) -> String {
    let random =
        |prefix: &str, length: usize| word.strip_prefix(prefix).is_some_and(|rest| rest.len() == length);
    for (prefix, length) in [("ch_", 26), ("key_", 26), ("tok_", 26), ("tw_", 32), ("twa_", 32)] {
        if random(prefix, length) {
            return format!("{prefix}{}", "x".repeat(length));
        }
    }
    if random("sig_", 10) {
        return "sig_xxxxxxxxxx".to_owned();
    }
    let shown = next == '…' || next == '"';
    match word {
        _ if shown && (random("tw_", 4) || random("twa_", 4)) => format!("{}xxxx", &word[..word.len() - 4]),
        _ if word.len() == 13 && word.bytes().all(|byte| byte.is_ascii_digit()) => "1234567890123".to_owned(),
        _ => word.to_owned(),
    }
}

fn mask_times(mut text: String) -> String {
    const FORM: &str = "YYYY-MM-DD hh:mm";
    let ends: Vec<usize> = text.match_indices(" UTC").map(|(at, _)| at).collect();
    for end in ends.into_iter().filter(|end| *end >= FORM.len()) {
        text.replace_range(end - FORM.len()..end, FORM);
    }
    text
}
