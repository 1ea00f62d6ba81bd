//! Finding the program.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Why FFmpeg cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FfmpegError {
    /// Nothing of that name in the search path.
    #[error(
        "FFmpeg was not found in PATH; install it (Debian, Ubuntu: apt-get install ffmpeg) or set its path"
    )]
    Missing,
    /// The configured path is not a program that can be run.
    #[error(
        "FFmpeg cannot be run at {path}: {source}; correct the path or install it (Debian, Ubuntu: apt-get install ffmpeg)"
    )]
    NotRunnable {
        /// The configured path.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It ran, but it is not FFmpeg.
    #[error("{path} does not answer `-version` as FFmpeg does, it says {found:?}")]
    NotFfmpeg {
        /// The program.
        path: PathBuf,
        /// Its first line.
        found: String,
    },
}

/// A found FFmpeg program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ffmpeg {
    path: PathBuf,
    version: String,
}

impl Ffmpeg {
    /// Looks for FFmpeg at `path`, or in `PATH` if `None`, and asks for its version. Blocks for up to 5 s, usually
    /// 15 to 90 ms.
    pub fn find(path: Option<&Path>) -> Result<Self, FfmpegError> {
        let path = match path {
            Some(path) => path.to_owned(),
            None => search().ok_or(FfmpegError::Missing)?,
        };
        let first_line = version_line(&path).map_err(|source| FfmpegError::NotRunnable {
            path: path.clone(),
            source,
        })?;
        let version = first_line
            .strip_prefix("ffmpeg version ")
            .and_then(|rest| rest.split(' ').next());
        match version {
            Some(version) => Ok(Self {
                version: version.to_owned(),
                path,
            }),
            None => Err(FfmpegError::NotFfmpeg {
                path,
                found: first_line,
            }),
        }
    }

    /// A program taken as FFmpeg without asking it; for tests of what happens when it misbehaves.
    pub fn assume(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            version: "unknown".to_owned(),
        }
    }

    /// The program.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The version as it names itself: `5.1.9-0+deb12u1`.
    pub fn version(&self) -> &str {
        &self.version
    }
}

fn search() -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join("ffmpeg"))
        .find(|candidate| {
            candidate
                .metadata()
                .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        })
}

/// First line of `ffmpeg -version`, at most 200 characters.
fn version_line(path: &Path) -> std::io::Result<String> {
    let mut child = Command::new(path)
        .arg("-version")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    // The answer (about 3 kB) fits in a pipe, so waiting before reading cannot block the child for ever; a program
    // that prints more is stopped at the deadline.
    while child.try_wait()?.is_none() {
        if std::time::Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            return Err(std::io::Error::new(
                std::io::ErrorKind::TimedOut,
                "no answer to `-version` in 5 s",
            ));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut text = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        std::io::Read::read_to_end(&mut std::io::Read::take(stdout, 4096), &mut text)?;
    }
    let text = String::from_utf8_lossy(&text);
    Ok(text
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(200)
        .collect())
}
