//! Objects as files: whole or not there, under a hard budget. Everything here blocks; callers are on blocking threads.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::{Bytes, BytesMut};

use crate::cid::{Cid, Codec};
use crate::error::StoreError;

/// When written bytes are forced to the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fsync {
    /// When the operating system pleases: a crash of the process loses nothing, a power cut the last seconds.
    #[default]
    Never,
    /// Before an object counts as kept.
    Segment,
}

/// Least part of the budget that media leaves to manifests, unless that is more than half of it.
const MANIFEST_RESERVE_MIN: u64 = 8_192;

/// Bounds of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreLimits {
    /// Bytes of all objects together.
    pub budget_bytes: u64,
    /// Bytes that the disk keeps free.
    pub free_min_bytes: u64,
    /// When written bytes are forced to the disk.
    pub fsync: Fsync,
}

impl StoreLimits {
    /// What of the budget media may take; a segment takes some 100 bytes of a manifest.
    pub(crate) fn media_budget_bytes(&self) -> u64 {
        let reserve = (self.budget_bytes / 100).max(MANIFEST_RESERVE_MIN);
        self.budget_bytes - reserve.min(self.budget_bytes / 2)
    }
}

/// The files of one directory: `objects/ab/cdef...`, named by the SHA-256 of their bytes in hexadecimal.
#[derive(Debug)]
pub(crate) struct Objects {
    objects: PathBuf,
    temp: PathBuf,
    limits: StoreLimits,
    /// Bytes of all objects, those being written included.
    used: AtomicU64,
    count: AtomicU64,
    next_temp: AtomicU64,
    /// Held while a file gets its name, so that the same object from two writers is counted once.
    naming: Mutex<()>,
    /// Steps on the disk until the process dies, as far as files are concerned.
    #[cfg(test)]
    pub(crate) steps_left: AtomicU64,
}

/// Bytes that were reserved; given back unless they are kept.
struct Reservation<'a> {
    used: &'a AtomicU64,
    bytes: u64,
}

impl Reservation<'_> {
    fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Objects {
    /// Makes the directories that are missing, and removes what a crash has left half written.
    pub(crate) fn open(dir: &Path, limits: StoreLimits) -> Result<Self, StoreError> {
        let (objects, temp) = (dir.join("objects"), dir.join("tmp"));
        for path in [&objects, &temp] {
            fs::create_dir_all(path).map_err(|error| StoreError::io("make the directory", path, error))?;
        }
        for path in entries(&temp)? {
            fs::remove_file(&path).map_err(|error| StoreError::io("remove a half object", &path, error))?;
        }
        Ok(Self {
            objects,
            temp,
            limits,
            used: AtomicU64::new(0),
            count: AtomicU64::new(0),
            next_temp: AtomicU64::new(0),
            naming: Mutex::default(),
            #[cfg(test)]
            steps_left: AtomicU64::new(u64::MAX),
        })
    }

    /// Stands before every change of the disk; tests let the process die there.
    fn step(&self) -> io::Result<()> {
        #[cfg(test)]
        {
            let left = |left: u64| left.checked_sub(1);
            if self
                .steps_left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, left)
                .is_err()
            {
                return Err(io::Error::other("the process is dead"));
            }
        }
        Ok(())
    }

    pub(crate) fn limits(&self) -> StoreLimits {
        self.limits
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// How many objects there are.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Where the object lies, if it does.
    pub(crate) fn path(&self, cid: &Cid) -> PathBuf {
        let hex = cid.hex();
        self.objects.join(&hex[..2]).join(&hex[2..])
    }

    /// Keeps the bytes of `parts` under their name. What exists already is free.
    pub(crate) fn put(&self, codec: Codec, parts: &[Bytes]) -> Result<Cid, StoreError> {
        let cid = Cid::of_parts(codec, parts.iter().map(AsRef::as_ref));
        let path = self.path(&cid);
        let length: u64 = parts.iter().map(|part| part.len() as u64).sum();
        if fs::metadata(&path).is_ok_and(|found| found.len() == length) {
            return Ok(cid);
        }
        let reserved = self.reserve(codec, length)?;
        let number = self.next_temp.fetch_add(1, Ordering::Relaxed);
        let temp = self.temp.join(number.to_string());
        let written = self
            .write(&temp, parts)
            .map_err(|error| StoreError::io("write an object", &temp, error))
            .and_then(|()| self.name(&temp, &path, reserved));
        if written.is_err() && self.step().is_ok() {
            let _ = fs::remove_file(&temp);
        }
        written.map(|()| cid)
    }

    /// Media leaves a hundredth of the budget to the manifests, without which it could not be played, and they may take of
    /// what the disk keeps free.
    fn reserve(&self, codec: Codec, wanted: u64) -> Result<Reservation<'_>, StoreError> {
        let budget = match codec {
            Codec::Raw => self.limits.media_budget_bytes(),
            Codec::DagCbor => self.limits.budget_bytes,
        };
        let fits = |used: u64| used.checked_add(wanted).filter(|sum| *sum <= budget);
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .map_err(|used_bytes| StoreError::OverBudget {
                used_bytes,
                budget_bytes: budget,
                wanted_bytes: wanted,
            })?;
        let reservation = Reservation {
            used: &self.used,
            bytes: wanted,
        };
        if codec == Codec::DagCbor {
            return Ok(reservation);
        }
        let free_bytes = self.free_bytes()?;
        if free_bytes.saturating_sub(wanted) < self.limits.free_min_bytes {
            return Err(StoreError::DiskLow {
                path: self.objects.clone(),
                free_bytes,
                free_min_bytes: self.limits.free_min_bytes,
            });
        }
        Ok(reservation)
    }

    /// Bytes that this user may still write on the disk.
    pub(crate) fn free_bytes(&self) -> Result<u64, StoreError> {
        let facts = rustix::fs::statvfs(&self.objects)
            .map_err(|error| StoreError::io("read the free space", &self.objects, error.into()))?;
        Ok(facts.f_bavail.saturating_mul(facts.f_frsize))
    }

    fn write(&self, temp: &Path, parts: &[Bytes]) -> io::Result<()> {
        self.step()?;
        let mut file = File::create(temp)?;
        for part in parts {
            self.step()?;
            file.write_all(part)?;
        }
        if self.limits.fsync == Fsync::Segment {
            file.sync_data()?;
        }
        Ok(())
    }

    fn name(&self, temp: &Path, path: &Path, reserved: Reservation<'_>) -> Result<(), StoreError> {
        let _naming = self.naming.lock().unwrap_or_else(PoisonError::into_inner);
        let shard = path.parent().unwrap_or(&self.objects);
        let fault = |error| StoreError::io("give an object its name", path, error);
        let replaced = fs::metadata(path).ok().map(|found| found.len());
        self.step()
            .and_then(|()| fs::create_dir_all(shard))
            .map_err(fault)?;
        self.step().and_then(|()| fs::rename(temp, path)).map_err(fault)?;
        reserved.keep();
        // Another writer's copy of the same bytes, or what a power cut has left of it.
        match replaced {
            Some(length) => self.used.fetch_sub(length, Ordering::Relaxed),
            None => self.count.fetch_add(1, Ordering::Relaxed),
        };
        if self.limits.fsync == Fsync::Segment {
            File::open(shard)
                .and_then(|shard| shard.sync_all())
                .map_err(fault)?;
        }
        Ok(())
    }

    pub(crate) fn open_object(&self, cid: &Cid) -> Result<File, StoreError> {
        let path = self.path(cid);
        File::open(&path).map_err(|error| StoreError::io("read an object", &path, error))
    }

    /// The whole object, its bytes checked against its name.
    pub(crate) fn read_verified(&self, cid: &Cid, bytes_max: u64) -> Result<Bytes, StoreError> {
        let path = self.path(cid);
        let file = self.open_object(cid)?;
        let fault = |error| StoreError::io("read an object", &path, error);
        let length = file.metadata().map_err(fault)?.len().min(bytes_max);
        let bytes = read_range(&file, 0, usize::try_from(length).unwrap_or(usize::MAX)).map_err(fault)?;
        if Cid::of(cid.codec(), &bytes) == *cid {
            Ok(bytes)
        } else {
            Err(StoreError::Damaged { path, cid: *cid })
        }
    }

    /// Removes an object of which nothing speaks any more.
    pub(crate) fn remove(&self, cid: &Cid) -> Result<(), StoreError> {
        self.remove_file(&self.path(cid))
    }

    fn remove_file(&self, path: &Path) -> Result<(), StoreError> {
        let _naming = self.naming.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(found) = fs::metadata(path) else {
            return Ok(());
        };
        self.step()
            .and_then(|()| fs::remove_file(path))
            .map_err(|error| StoreError::io("remove an object", path, error))?;
        let length = found.len();
        self.count.fetch_sub(1, Ordering::Relaxed);
        let less = |used: u64| Some(used.saturating_sub(length));
        let _ = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        Ok(())
    }

    /// Looks at every file: what `length_of` does not know is removed, what has another length too. The rest is what the
    /// store holds. Hands back the names that were found whole.
    pub(crate) fn sweep(
        &self,
        length_of: impl Fn(&[u8; 32]) -> Option<u64>,
    ) -> Result<Vec<[u8; 32]>, StoreError> {
        let mut whole = Vec::new();
        let mut used = 0;
        self.used.store(u64::MAX / 2, Ordering::Relaxed);
        for shard in entries(&self.objects)? {
            for path in entries(&shard)? {
                let length = fs::metadata(&path).map_or(0, |found| found.len());
                match digest(&path).filter(|digest| length_of(digest) == Some(length)) {
                    Some(digest) => {
                        used += length;
                        whole.push(digest);
                    }
                    None => self.remove_file(&path)?,
                }
            }
        }
        self.used.store(used, Ordering::Relaxed);
        self.count.store(whole.len() as u64, Ordering::Relaxed);
        Ok(whole)
    }
}

/// `length` bytes from `start`; fewer if the file ends before.
pub(crate) fn read_range(file: &File, start: u64, length: usize) -> io::Result<Bytes> {
    let mut bytes = BytesMut::zeroed(length);
    let mut filled = 0;
    while filled < length {
        match file.read_at(&mut bytes[filled..], start + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes.freeze())
}

/// The digest that `ab/cdef...` names.
fn digest(path: &Path) -> Option<[u8; 32]> {
    let shard = path.parent()?.file_name()?.to_str()?;
    let hex = format!("{shard}{}", path.file_name()?.to_str()?);
    let mut digest = [0; 32];
    if hex.len() != 64 || !hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    for (at, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(digest)
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let fault = |error| StoreError::io("list the directory", dir, error);
    let listed = fs::read_dir(dir).map_err(fault)?;
    listed
        .map(|entry| entry.map(|entry| entry.path()).map_err(fault))
        .collect()
}
