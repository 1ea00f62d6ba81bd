//! Runs the binary in a directory of its own and keeps a transcript that is the same on every run.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
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
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidewire"));
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TIDEWIRE_"))
        {
            command.env_remove(name);
        }
        let output = command
            .args(arguments.split_whitespace())
            .current_dir(&self.dir)
            .output()
            .unwrap();
        Outcome {
            code: output.status.code().expect("it is not killed"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
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

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// `text` with what differs between runs replaced by something of the same width: the directory, ids, secrets, times.
fn masked(dir: &Path, text: &str) -> String {
    let text = text.replace(dir.to_str().unwrap(), "DIR");
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

fn mask_word(word: &str, next: char) -> String {
    let random =
        |prefix: &str, length: usize| word.strip_prefix(prefix).is_some_and(|rest| rest.len() == length);
    for (prefix, length) in [("ch_", 26), ("key_", 26), ("tok_", 26), ("tw_", 32), ("twa_", 32)] {
        if random(prefix, length) {
            return format!("{prefix}{}", "x".repeat(length));
        }
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
