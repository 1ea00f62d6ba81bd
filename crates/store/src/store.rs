//! The store of one data directory: objects, their index, and the work that touches both.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use package::Title;
use tokio::sync::{Mutex, RwLock, Semaphore};

use crate::cid::{Cid, Codec};
use crate::error::StoreError;
use crate::index::{Index, Row, SealedRow};
use crate::manifest::{self, ObjectRef, RenditionObjects, Sealed};
use crate::objects::{Objects, StoreLimits, read_range};
use crate::recording::{Batch, NewRecording, Recording, RecordingState, RenditionFacts};
use crate::title::{StoredTitle, Titles};

/// Folder of the store in the data directory.
pub const STORE_DIR: &str = "store";
/// Threads that read at once, and that write.
const READS_MAX: usize = 32;
const WRITES_MAX: usize = 4;
/// Most bytes of one manifest node that are read.
const NODE_BYTES_MAX: u64 = 4 << 20;
/// Recordings that are looked at together.
const PAGE: u32 = 500;

/// Objects and recordings of one data directory. Clones share everything.
///
/// Only the server that holds the data directory's lock (`platform::Platform::open_server`) may open it: it removes what
/// no row speaks of. Commands use [`crate::Catalog`].
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    objects: Arc<Objects>,
    index: Index,
    /// Held shared from the first look for an object until a row speaks of it, and alone while objects are removed.
    gate: RwLock<()>,
    /// Held by whoever makes room, so that two do not remove more than is needed.
    room: Mutex<()>,
    reads: Arc<Semaphore>,
    writes: Arc<Semaphore>,
    titles: Titles,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    segments: AtomicU64,
    failures: AtomicU64,
    removed_titles: AtomicU64,
}

/// Figures for the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreFigures {
    /// Bytes of all objects.
    pub used_bytes: u64,
    /// How many objects there are.
    pub objects: u64,
    /// Bytes allowed.
    pub budget_bytes: u64,
    /// Segments kept since the start.
    pub segments: u64,
    /// Batches that could not be kept.
    pub failures: u64,
    /// Titles removed to keep to age and budget.
    pub removed_titles: u64,
    /// Writes that run or wait for their turn now.
    pub writes_waiting: u64,
}

impl Store {
    /// Opens the store in `data_dir`, making what is missing. What a crash has left is put right: half objects and
    /// objects of which no row speaks are removed, and recordings without an end become titles that end at their last
    /// whole segment.
    ///
    /// # Errors
    /// The directory or the index cannot be used.
    pub async fn open(data_dir: &Path, limits: StoreLimits) -> Result<Self, StoreError> {
        let dir = data_dir.join(STORE_DIR);
        let made = dir.clone();
        let objects = tokio::task::spawn_blocking(move || Objects::open(&made, limits))
            .await
            .map_err(|_| StoreError::Closed)??;
        let store = Self {
            inner: Arc::new(Inner {
                objects: Arc::new(objects),
                index: Index::open(&dir).await?,
                gate: RwLock::new(()),
                room: Mutex::new(()),
                reads: Arc::new(Semaphore::new(READS_MAX)),
                writes: Arc::new(Semaphore::new(WRITES_MAX)),
                titles: Titles::default(),
                counts: Counts::default(),
            }),
        };
        store.recover().await?;
        Ok(store)
    }

    async fn recover(&self) -> Result<(), StoreError> {
        let index = &self.inner.index;
        let known = index.objects().await?;
        let lengths = known.clone();
        let whole = self
            .write(move |objects| objects.sweep(|digest| lengths.get(digest).copied()))
            .await?;
        let mut lost = known;
        for digest in &whole {
            lost.remove(digest);
        }
        for digest in lost.keys() {
            index.object_lost(digest).await?;
        }
        if !lost.is_empty() {
            tracing::warn!(
                objects = lost.len(),
                "objects were not on the disk any more; their segments are gaps now"
            );
        }
        for recording in self.recordings().await? {
            if recording.state == RecordingState::Recording {
                self.seal_cut(&recording).await;
            }
        }
        self.remove_marked().await?;
        Ok(())
    }

    async fn seal_cut(&self, recording: &Recording) {
        let (stream, channel_id) = (&recording.stream_id, &recording.channel_id);
        match self.seal(stream, RecordingState::Cut).await {
            Ok(kept) => tracing::warn!(
                stream,
                channel_id,
                kept,
                "a recording that the last server left open ends at its last whole segment"
            ),
            // The others are there all the same; the next start tries again.
            Err(error) => {
                tracing::error!(stream, channel_id, %error, "a recording could not be made a title")
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn objects(&self) -> &Objects {
        &self.inner.objects
    }

    /// Closes the index.
    pub async fn close(&self) {
        self.inner.index.close().await;
    }

    /// Begins a recording.
    ///
    /// # Errors
    /// The index cannot be written.
    pub async fn begin(&self, new: &NewRecording) -> Result<(), StoreError> {
        self.counted(self.inner.index.begin(new).await)
    }

    /// Keeps what a stream has made: its objects first, then the rows that speak of them, all of them or none. If there is
    /// no room, the oldest titles go first.
    ///
    /// # Errors
    /// There is no room, or the disk or the index cannot be written. Objects of this batch that were written are not
    /// counted twice when it is tried again, and go with the next removal if it is not.
    pub async fn append(&self, stream_id: &str, batch: &Batch) -> Result<(), StoreError> {
        let outcome = match self.append_once(stream_id, batch).await {
            Err(error) if error.is_full() => {
                let inits = batch.inits.iter().map(|(_, _, bytes)| bytes.len() as u64);
                let segments = batch.segments.iter().map(|(_, segment)| segment.facts.bytes);
                if self.make_room(inits.chain(segments).sum()).await? {
                    self.append_once(stream_id, batch).await
                } else {
                    Err(error)
                }
            }
            other => other,
        };
        self.counted(outcome)
    }

    async fn append_once(&self, stream_id: &str, batch: &Batch) -> Result<(), StoreError> {
        let _gate = self.inner.gate.read().await;
        let kept = batch.clone();
        let rows = self.write(move |objects| put_batch(objects, &kept)).await?;
        self.inner
            .index
            .append(stream_id, &batch.renditions, &batch.periods, &rows)
            .await?;
        self.inner
            .counts
            .segments
            .fetch_add(batch.segments.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Makes a recording a title; `state` says whether all of its stream is there. One without any segment is removed:
    /// whether there is a title now.
    ///
    /// # Errors
    /// The disk or the index cannot be written; the next start of the server seals it.
    pub async fn seal(&self, stream_id: &str, state: RecordingState) -> Result<bool, StoreError> {
        let outcome = self.seal_once(stream_id, state).await;
        self.counted(outcome)
    }

    async fn seal_once(&self, stream_id: &str, state: RecordingState) -> Result<bool, StoreError> {
        let Some(recording) = self.inner.index.recording(stream_id).await? else {
            return Ok(false);
        };
        if recording.state != RecordingState::Recording {
            return Ok(recording.state.is_title());
        }
        let sealed = self.load(&recording).await?;
        if sealed.title.renditions.is_empty() {
            self.inner.index.remove(stream_id).await?;
            self.collect().await?;
            return Ok(false);
        }
        let duration_ms = sealed.title.duration_us() / 1000;
        let bytes = sealed.bytes();
        let _gate = self.inner.gate.read().await;
        let nodes = self
            .write(move |objects| {
                let put = |(_, bytes): (Cid, Vec<u8>)| {
                    let length = bytes.len() as u64;
                    let cid = objects.put(Codec::DagCbor, &[Bytes::from(bytes)])?;
                    Ok(ObjectRef { cid, bytes: length })
                };
                manifest::encode(&sealed)
                    .into_iter()
                    .map(put)
                    .collect::<Result<Vec<_>, _>>()
            })
            .await?;
        let root = nodes.last().ok_or(StoreError::Closed)?.cid;
        let row = SealedRow {
            state: state.as_str(),
            root,
            nodes,
            duration_ms,
            bytes,
        };
        self.inner.index.seal(stream_id, &row).await?;
        Ok(true)
    }

    /// A recording's rows as a title, with the names of its objects.
    async fn load(&self, recording: &Recording) -> Result<Sealed, StoreError> {
        let mut loaded = self.inner.index.load(&recording.stream_id).await?;
        let numbers: Vec<(String, Vec<u64>)> = loaded
            .renditions
            .iter()
            .map(|rendition| {
                let numbers = rendition.segments.iter().map(|segment| segment.msn);
                (rendition.name.clone(), numbers.collect())
            })
            .collect();
        let title = Title::new(&recording.stream_id, loaded.periods, loaded.renditions);
        let mut objects = Vec::new();
        for rendition in &title.renditions {
            let kept = loaded.objects.remove(&rendition.name).unwrap_or_default();
            let numbers = numbers.iter().find(|(name, _)| *name == rendition.name);
            let numbers = numbers.map_or(&[][..], |(_, numbers)| numbers);
            let of = |msn: u64| {
                let at = numbers.binary_search(&msn).ok()?;
                kept.segments.get(at).copied().flatten()
            };
            objects.push(RenditionObjects {
                segments: rendition.segments.iter().map(|segment| of(segment.msn)).collect(),
                inits: kept.inits,
            });
        }
        Ok(Sealed {
            started_ms: recording.started_ms,
            title,
            objects,
        })
    }

    /// The title of that id, if it is one. Titles that were asked for lately are remembered.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn title(&self, id: &str) -> Result<Option<Arc<StoredTitle>>, StoreError> {
        if let Some(title) = self.inner.titles.get(id) {
            return Ok(Some(title));
        }
        let recording = self.inner.index.recording(id).await?;
        let Some(recording) = recording.filter(|recording| recording.state.is_title()) else {
            return Ok(None);
        };
        let sealed = self.load(&recording).await?;
        let title = Arc::new(StoredTitle::new(self.clone(), recording, sealed));
        self.inner.titles.insert(&title);
        Ok(Some(title))
    }

    /// The manifest of a title, every node checked against its name.
    ///
    /// # Errors
    /// A node is missing, damaged or no node.
    pub async fn manifest(&self, root: Cid) -> Result<Sealed, StoreError> {
        self.read(move |objects| {
            let bytes = objects.read_verified(&root, NODE_BYTES_MAX)?;
            let fetch = |cid: &Cid| objects.read_verified(cid, NODE_BYTES_MAX).ok().map(Vec::from);
            manifest::decode(&bytes, fetch).map_err(|reason| StoreError::Manifest { cid: root, reason })
        })
        .await
    }

    /// Every recording, newest first.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn recordings(&self) -> Result<Vec<Recording>, StoreError> {
        self.inner.index.recordings(u32::MAX, (i64::MAX, "")).await
    }

    /// Recordings that began before one that began at `before.0` and has the id `before.1`, newest first, at most `limit`.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn recordings_before(
        &self,
        before: (i64, &str),
        limit: u32,
    ) -> Result<Vec<Recording>, StoreError> {
        self.inner.index.recordings(limit, before).await
    }

    /// One recording.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn recording(&self, id: &str) -> Result<Option<Recording>, StoreError> {
        self.inner.index.recording(id).await
    }

    /// The renditions of a recording, in the order of the multivariant playlist.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn renditions(&self, id: &str) -> Result<Vec<RenditionFacts>, StoreError> {
        self.inner.index.renditions(id).await
    }

    /// Opens an object for reading. It stays readable while it is open, also when its title is removed meanwhile.
    ///
    /// # Errors
    /// It is not there.
    pub async fn open_object(&self, object: ObjectRef) -> Result<ObjectReader, StoreError> {
        let file = self.read(move |objects| objects.open_object(&object.cid)).await?;
        Ok(ObjectReader {
            store: self.clone(),
            object,
            file: Arc::new(file),
        })
    }

    /// A whole object, checked against its name.
    ///
    /// # Errors
    /// It is not there, or damaged.
    pub async fn read_verified(&self, object: ObjectRef) -> Result<Bytes, StoreError> {
        self.read(move |objects| objects.read_verified(&object.cid, object.bytes))
            .await
    }

    /// Removes a title and the objects that only it used.
    ///
    /// # Errors
    /// There is none of that id, it is still being recorded, or the disk or the index cannot be written.
    pub async fn remove(&self, id: &str) -> Result<(), StoreError> {
        match self.inner.index.recording(id).await? {
            None => Err(StoreError::TitleNotFound { id: id.to_owned() }),
            Some(recording) if recording.state == RecordingState::Recording => {
                Err(StoreError::StillRecording { id: id.to_owned() })
            }
            Some(_) => self.remove_recording(id).await,
        }
    }

    async fn remove_recording(&self, id: &str) -> Result<(), StoreError> {
        self.inner.index.remove(id).await?;
        self.inner.titles.forget(id);
        self.collect().await
    }

    /// Removes titles that somebody marked through a [`crate::Catalog`]; how many.
    ///
    /// # Errors
    /// The disk or the index cannot be written.
    pub async fn remove_marked(&self) -> Result<usize, StoreError> {
        let marked = self.inner.index.marked().await?;
        for id in &marked {
            self.inner.index.remove(id).await?;
            self.inner.titles.forget(id);
        }
        if !marked.is_empty() {
            self.collect().await?;
        }
        Ok(marked.len())
    }

    /// Removes titles that began before `before_ms`, unless they are pinned; how many.
    ///
    /// # Errors
    /// The disk or the index cannot be written.
    pub async fn remove_older(&self, before_ms: i64) -> Result<usize, StoreError> {
        let old = self.inner.index.recordings(PAGE, (before_ms, "")).await?;
        let old = old.into_iter().filter(|old| old.state.is_title() && !old.pinned);
        let mut count = 0;
        for recording in old {
            self.remove_recording(&recording.stream_id).await?;
            self.note_removed(&recording, "it is older than `recording.retention_days` allows");
            count += 1;
        }
        Ok(count)
    }

    /// Removes the oldest titles that are not pinned until `wanted` bytes fit; whether they do.
    async fn make_room(&self, wanted: u64) -> Result<bool, StoreError> {
        let _room = self.inner.room.lock().await;
        // What was written for a batch that failed may be all that is in the way.
        self.collect().await?;
        let mut oldest = self.recordings().await?;
        oldest.retain(|recording| recording.state.is_title() && !recording.pinned);
        while !self.fits(wanted)? {
            let Some(recording) = oldest.pop() else {
                return Ok(false);
            };
            self.remove_recording(&recording.stream_id).await?;
            self.note_removed(&recording, "its room is needed for a recording");
        }
        Ok(true)
    }

    fn fits(&self, wanted: u64) -> Result<bool, StoreError> {
        let objects = &self.inner.objects;
        let limits = objects.limits();
        let in_budget = objects.used().saturating_add(wanted) <= limits.media_budget_bytes();
        Ok(in_budget && objects.free_bytes()?.saturating_sub(wanted) >= limits.free_min_bytes)
    }

    fn note_removed(&self, recording: &Recording, why: &str) {
        self.inner.counts.removed_titles.fetch_add(1, Ordering::Relaxed);
        tracing::info!(
            title = recording.stream_id,
            bytes = recording.bytes,
            why,
            "title removed"
        );
    }

    /// Removes the objects of which no row speaks.
    async fn collect(&self) -> Result<(), StoreError> {
        let _alone = self.inner.gate.write().await;
        let digests = self.inner.index.forget_unreferenced().await?;
        self.write(move |objects| {
            let raw = |digest: &[u8; 32]| Cid::from_digest(Codec::Raw, *digest);
            digests.iter().try_for_each(|digest| objects.remove(&raw(digest)))
        })
        .await
    }

    /// Figures for the metrics.
    pub fn figures(&self) -> StoreFigures {
        let counts = &self.inner.counts;
        StoreFigures {
            used_bytes: self.inner.objects.used(),
            objects: self.inner.objects.count(),
            budget_bytes: self.inner.objects.limits().budget_bytes,
            segments: counts.segments.load(Ordering::Relaxed),
            failures: counts.failures.load(Ordering::Relaxed),
            removed_titles: counts.removed_titles.load(Ordering::Relaxed),
            writes_waiting: (WRITES_MAX - self.inner.writes.available_permits()) as u64,
        }
    }

    fn counted<T>(&self, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
        if outcome.is_err() {
            self.inner.counts.failures.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Objects) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.blocking(&self.inner.reads, work).await
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Objects) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.blocking(&self.inner.writes, work).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        threads: &Arc<Semaphore>,
        work: impl FnOnce(&Objects) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = Arc::clone(threads)
            .acquire_owned()
            .await
            .map_err(|_| StoreError::Closed)?;
        let objects = Arc::clone(&self.inner.objects);
        let running = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work(&objects)
        });
        running.await.map_err(|_| StoreError::Closed)?
    }
}

fn put_batch(objects: &Objects, batch: &Batch) -> Result<Vec<Row>, StoreError> {
    let mut rows = Vec::with_capacity(batch.inits.len() + batch.segments.len());
    for (rendition, number, bytes) in &batch.inits {
        let cid = objects.put(Codec::Raw, std::slice::from_ref(bytes))?;
        rows.push(Row::Init {
            rendition: rendition.clone(),
            number: *number,
            object: ObjectRef {
                cid,
                bytes: bytes.len() as u64,
            },
        });
    }
    for (rendition, segment) in &batch.segments {
        let cid = if segment.facts.gap {
            None
        } else {
            Some(objects.put(Codec::Raw, &segment.parts)?)
        };
        rows.push(Row::Segment {
            rendition: rendition.clone(),
            facts: segment.facts,
            cid,
        });
    }
    Ok(rows)
}

/// An object that is open.
#[derive(Clone, Debug)]
pub struct ObjectReader {
    store: Store,
    object: ObjectRef,
    file: Arc<File>,
}

impl ObjectReader {
    /// The object.
    pub fn object(&self) -> ObjectRef {
        self.object
    }

    /// `length` bytes from `start`, which lie inside.
    ///
    /// # Errors
    /// The disk cannot be read, or the file is shorter than the object.
    pub async fn read(&self, start: u64, length: usize) -> Result<Bytes, StoreError> {
        let (file, cid) = (Arc::clone(&self.file), self.object.cid);
        self.store
            .read(move |objects| {
                let bytes = read_range(&file, start, length)
                    .map_err(|error| StoreError::io("read an object", &objects.path(&cid), error))?;
                if bytes.len() == length {
                    Ok(bytes)
                } else {
                    let path = objects.path(&cid);
                    Err(StoreError::Damaged { path, cid })
                }
            })
            .await
    }
}
