//! Titles as they are served: their texts, rendered once, and where their media lies.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use package::Text;

use crate::error::StoreError;
use crate::manifest::{ObjectRef, Sealed};
use crate::recording::Recording;
use crate::store::Store;

/// Titles remembered, and segments of all of them together: a segment costs some 200 bytes, and its line in a text that
/// was asked for 150 more.
const TITLES_MAX: usize = 256;
const SEGMENTS_MAX: usize = 500_000;

/// A text of a title.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TitleText {
    /// The HLS multivariant playlist.
    Master,
    /// The DASH manifest.
    Mpd,
    /// The HLS media playlist of a rendition.
    Playlist(String),
}

/// A title that can be played.
#[derive(Debug)]
pub struct StoredTitle {
    store: Store,
    recording: Recording,
    sealed: Arc<Sealed>,
    texts: Mutex<HashMap<TitleText, Arc<Text>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl StoredTitle {
    pub(crate) fn new(store: Store, recording: Recording, sealed: Sealed) -> Self {
        Self {
            store,
            recording,
            sealed: Arc::new(sealed),
            texts: Mutex::default(),
        }
    }

    /// What the index says of it.
    pub fn recording(&self) -> &Recording {
        &self.recording
    }

    /// What it consists of.
    pub fn sealed(&self) -> &Sealed {
        &self.sealed
    }

    /// One of its texts; `None` if it has no such rendition. Rendered on a blocking thread, the first time.
    ///
    /// # Errors
    /// The runtime ends.
    pub async fn text(&self, wanted: TitleText) -> Result<Option<Arc<Text>>, StoreError> {
        if let Some(text) = lock(&self.texts).get(&wanted) {
            return Ok(Some(Arc::clone(text)));
        }
        let (sealed, name) = (Arc::clone(&self.sealed), wanted.clone());
        let rendering = tokio::task::spawn_blocking(move || match &name {
            TitleText::Master => Some(sealed.title.master()),
            TitleText::Mpd => sealed.title.mpd(),
            TitleText::Playlist(rendition) => sealed.title.playlist(rendition),
        });
        let Some(text) = rendering.await.map_err(|_| StoreError::Closed)? else {
            return Ok(None);
        };
        let text = Arc::new(text);
        lock(&self.texts).insert(wanted, Arc::clone(&text));
        Ok(Some(text))
    }

    fn position(&self, rendition: &str) -> Option<usize> {
        let renditions = &self.sealed.title.renditions;
        renditions.iter().position(|known| known.name == rendition)
    }

    /// An init segment.
    pub fn init(&self, rendition: &str, number: u32) -> Option<ObjectRef> {
        let objects = self.sealed.objects.get(self.position(rendition)?)?;
        objects.inits.get(&number).copied()
    }

    /// A media segment; `None` for a gap too.
    pub fn segment(&self, rendition: &str, msn: u64) -> Option<ObjectRef> {
        let position = self.position(rendition)?;
        let segments = &self.sealed.title.renditions.get(position)?.segments;
        let at = segments.binary_search_by_key(&msn, |segment| segment.msn).ok()?;
        let cid = (*self.sealed.objects.get(position)?.segments.get(at)?)?;
        let bytes = segments.get(at)?.bytes;
        Some(ObjectRef { cid, bytes })
    }

    /// The store that its objects are read from.
    pub fn store(&self) -> &Store {
        &self.store
    }

    fn segments(&self) -> usize {
        let renditions = &self.sealed.title.renditions;
        renditions.iter().map(|rendition| rendition.segments.len()).sum()
    }
}

/// The titles that were asked for last, least lately asked for first.
#[derive(Debug, Default)]
pub(crate) struct Titles(Mutex<VecDeque<Arc<StoredTitle>>>);

impl Titles {
    pub(crate) fn get(&self, id: &str) -> Option<Arc<StoredTitle>> {
        let mut titles = lock(&self.0);
        let at = titles.iter().position(|title| title.recording.stream_id == id)?;
        let title = titles.remove(at)?;
        titles.push_back(Arc::clone(&title));
        Some(title)
    }

    pub(crate) fn insert(&self, title: &Arc<StoredTitle>) {
        let mut titles = lock(&self.0);
        titles.retain(|known| known.recording.stream_id != title.recording.stream_id);
        titles.push_back(Arc::clone(title));
        let mut segments: usize = titles.iter().map(|title| title.segments()).sum();
        while titles.len() > TITLES_MAX || (segments > SEGMENTS_MAX && titles.len() > 1) {
            segments -= titles.pop_front().map_or(0, |oldest| oldest.segments());
        }
    }

    pub(crate) fn forget(&self, id: &str) {
        lock(&self.0).retain(|known| known.recording.stream_id != id);
    }
}
