//! Finding the program.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Oldest release that knows all options in use, major and minor.
const VERSION_MIN: (u32, u32) = (5, 1);

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
    /// A release without options that are needed (`-fps_mode`).
    #[error("{path} is FFmpeg {found}, {}.{} or newer is needed; install a newer one and set its path", VERSION_MIN.0, VERSION_MIN.1)]
    TooOld {
        /// The program.
        path: PathBuf,
        /// Its version.
        found: String,
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
        let Some(version) = version else {
            return Err(FfmpegError::NotFfmpeg {
                path,
                found: first_line,
            });
        };
        if release(version).is_some_and(|release| release < VERSION_MIN) {
            return Err(FfmpegError::TooOld {
                path,
                found: version.to_owned(),
            });
        }
        Ok(Self {
            version: version.to_owned(),
            path,
        })
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

/// Major and minor of `5.1.9-0+deb12u1` or `n7.1`; `None` for builds between releases (`N-118000-g1234567`).
fn release(version: &str) -> Option<(u32, u32)> {
    let digits = version.strip_prefix('n').unwrap_or(version);
    let mut parts = digits.split(|c: char| !c.is_ascii_digit());
    Some((
        parts.next()?.parse().ok()?,
        parts.next().and_then(|minor| minor.parse().ok()).unwrap_or(0),
    ))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_told_from_other_builds() {
        for (version, expected) in [
            ("5.1.9-0+deb12u1", Some((5, 1))),
            ("n7.1", Some((7, 1))),
            ("4.4", Some((4, 4))),
            ("9", Some((9, 0))),
            ("N-118000-g1234567", None),
            ("git-2024-01-01", None),
        ] {
            assert_eq!(release(version), expected, "{version}");
        }
    }
}
