//! The data directory, its disk, and the TLS files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use store::Catalog;

use super::Check;
use crate::cli::block_on;
use crate::config::{TlsConfig, ValidatedConfig};
use crate::recordings::{FREE_MIN_BYTES, budget_bytes};

/// Below this much free disk the database itself is in danger.
const DISK_FREE_MIN: u64 = 64 << 20;
/// Below this much, logs and what later is recorded soon fill it.
const DISK_FREE_LOW: u64 = 1 << 30;
/// Most bytes read of a PEM file.
const PEM_BYTES_MAX: u64 = 1 << 20;

pub(super) fn check(config: &ValidatedConfig) -> Vec<Check> {
    let mut checks = vec![
        data_dir(&config.data_dir),
        disk(&config.data_dir),
        recording(config),
    ];
    // Both listeners have the same files.
    if let Some(listener) = config.http.https.as_ref().or(config.rtmp.rtmps.as_ref()) {
        checks.push(tls(listener));
    }
    checks
}

/// Whether the directory can be written, by writing into it; without making it if it is not there.
fn data_dir(path: &Path) -> Check {
    let shown = path.display();
    let existing = nearest_existing(path);
    let probe = existing.join(format!(".tidewire-doctor-{}", std::process::id()));
    let written = OpenOptions::new().write(true).create_new(true).open(&probe);
    let _ = fs::remove_file(&probe);
    match written {
        Err(error) => Check::fail(
            "data",
            format!("{shown}: cannot write in {}: {error}", existing.display()),
            "give this user the directory, or name another with --data-dir or `data_dir`",
        ),
        Ok(_) if existing != path => Check::ok("data", format!("{shown} (will be made)")),
        Ok(_) => Check::ok("data", format!("{shown} can be written")),
    }
}

fn nearest_existing(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let found = absolute
        .ancestors()
        .find(|ancestor| ancestor.exists())
        .unwrap_or(Path::new("/"));
    if found == absolute {
        path.to_owned()
    } else {
        found.to_owned()
    }
}

fn disk(path: &Path) -> Check {
    let place = nearest_existing(path);
    let free = match rustix::fs::statvfs(&place) {
        Ok(facts) => facts.f_bavail.saturating_mul(facts.f_frsize),
        Err(error) => {
            let found = format!("{}: the free space cannot be read: {error}", place.display());
            return Check::warn("disk", found, "check that the file system is mounted");
        }
    };
    let found = format!("{} free at {}", size(free), place.display());
    match free {
        0..DISK_FREE_MIN => Check::fail(
            "disk",
            found,
            "free some space, or move the data directory to another disk",
        ),
        DISK_FREE_MIN..DISK_FREE_LOW => {
            Check::warn("disk", found, "less than 1 GiB is left; free some space")
        }
        _ => Check::ok("disk", found),
    }
}

/// Whether the budget of recordings can be had on this disk.
fn recording(config: &ValidatedConfig) -> Check {
    let place = nearest_existing(&config.data_dir);
    let used = block_on(async {
        match Catalog::open(&config.data_dir).await? {
            Some(catalog) => catalog.used_bytes().await,
            None => Ok(0),
        }
    });
    let used = match used {
        Ok(Ok(used)) => used,
        Ok(Err(error)) => {
            let advice = "look at the file and its owner; the server does not start without it";
            return Check::fail("recording", error.to_string(), advice);
        }
        Err(error) => return Check::fail("recording", error.to_string(), "try again"),
    };
    if !config.recording.enabled {
        let found = format!("off; {} of titles are kept", size(used));
        return Check::ok("recording", found);
    }
    let budget = budget_bytes(&place, config.recording.budget);
    let found = format!("{} of {} are used", size(used), size(budget));
    let free = rustix::fs::statvfs(&place).map_or(0, |facts| facts.f_bavail.saturating_mul(facts.f_frsize));
    if budget.saturating_sub(used).saturating_add(FREE_MIN_BYTES) > free {
        let advice =
            "the disk is full before the budget is: set `recording.budget` lower, or free some space";
        return Check::warn("recording", found, advice);
    }
    Check::ok("recording", found)
}

/// Bytes with one decimal in the unit that fits.
pub(crate) fn size(bytes: u64) -> String {
    let (unit, name) = match bytes {
        0..1_048_576 => (1 << 10, "KiB"),
        1_048_576..1_073_741_824 => (1 << 20, "MiB"),
        _ => (1_u64 << 30, "GiB"),
    };
    format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit)
}

/// Whether both files can be read and hold what they should; the server checks that they belong together.
fn tls(listener: &TlsConfig) -> Check {
    let advice = "give `tls.certificate` and `tls.key` PEM files that this user can read";
    for (path, mark, what) in [
        (
            &listener.certificate,
            "-----BEGIN CERTIFICATE-----",
            "certificate",
        ),
        (&listener.key, "PRIVATE KEY-----", "private key"),
    ] {
        match read_text(path) {
            Err(error) => return Check::fail("tls", format!("{}: {error}", path.display()), advice),
            Ok(text) if !text.contains(mark) => {
                return Check::fail("tls", format!("{}: no PEM {what} in it", path.display()), advice);
            }
            Ok(_) => {}
        }
    }
    Check::ok(
        "tls",
        format!("{}, {}", listener.certificate.display(), listener.key.display()),
    )
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(PEM_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}
