//! The store as its users see it, and what a crash leaves of it.

mod crashes;

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use media::{MediaTime, VIDEO_TIMESCALE};
use package::{CompletedSegment, Period, Role, TitleSegment, TrackFacts};

use crate::{
    Batch, Catalog, Cid, Codec, Fsync, NewRecording, RecordingState, RenditionFacts, STORE_DIR, Store,
    StoreError, StoreLimits, TitleText, decode,
};

/// A directory that goes with the test.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tidewire-store-{}-{count}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn limits(budget_bytes: u64) -> StoreLimits {
    StoreLimits {
        budget_bytes,
        free_min_bytes: 0,
        fsync: Fsync::Segment,
    }
}

pub(crate) fn recording(id: &str, started_ms: i64) -> NewRecording {
    NewRecording {
        stream_id: id.into(),
        channel_id: "ch_1".into(),
        channel: "stage".into(),
        started_ms,
    }
}

/// One segment of two seconds with these bytes, none for a gap.
pub(crate) fn segment(msn: u64, bytes: &[u8]) -> CompletedSegment {
    let parts = bytes.chunks(100).map(Bytes::copy_from_slice).collect();
    CompletedSegment {
        facts: TitleSegment {
            msn,
            init: 0,
            period: 0,
            discontinuity: false,
            gap: bytes.is_empty(),
            independent: true,
            timescale: VIDEO_TIMESCALE,
            start: 180_000 * msn as i64,
            duration: 180_000,
            utc_ms: 1_700_000_000_000 + 2_000 * msn as i64,
            bytes: bytes.len() as u64,
        },
        parts,
    }
}

pub(crate) fn batch(first: bool, segments: Vec<CompletedSegment>) -> Batch {
    let mut batch = Batch {
        segments: segments
            .into_iter()
            .map(|segment| ("source".to_owned(), segment))
            .collect(),
        ..Batch::default()
    };
    if first {
        batch.renditions.push(RenditionFacts {
            name: "source".into(),
            position: 0,
            role: Role::Source,
            facts: TrackFacts::Video {
                codecs: "avc1.64001f".into(),
                width: 1280,
                height: 720,
                pixel_aspect: (1, 1),
                frame_rate: None,
            },
        });
        batch.periods.push(Period {
            number: 0,
            at: MediaTime::new(0, NonZeroU32::new(90_000).unwrap()),
            origin_utc_ms: 1_700_000_000_000,
        });
        batch
            .inits
            .push(("source".into(), 0, Bytes::from_static(b"the init segment")));
    }
    batch
}

/// Every object file with its bytes.
pub(crate) fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for shard in fs::read_dir(dir.join(STORE_DIR).join("objects")).unwrap() {
        let shard = shard.unwrap();
        for file in fs::read_dir(shard.path()).unwrap() {
            let file = file.unwrap();
            let name = format!("{}{}", shard.file_name().display(), file.file_name().display());
            files.insert(name, fs::read(file.path()).unwrap());
        }
    }
    files
}

async fn record(store: &Store, id: &str, started_ms: i64, segments: &[&[u8]]) {
    store.begin(&recording(id, started_ms)).await.unwrap();
    store.append(id, &batch(true, Vec::new())).await.unwrap();
    for (msn, bytes) in (0..).zip(segments) {
        store
            .append(id, &batch(false, vec![segment(msn, bytes)]))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_recording_becomes_a_title_and_nothing_is_copied() {
    let folder = Folder::new();
    let store = Store::open(&folder.0, limits(1 << 20)).await.unwrap();
    record(&store, "s1", 1, &[b"one", b"", &[7; 1000]]).await;
    assert!(
        store.title("s1").await.unwrap().is_none(),
        "it is still being recorded"
    );
    assert!(matches!(
        store.remove("s1").await,
        Err(StoreError::StillRecording { .. })
    ));
    let before = files(&folder.0);
    assert!(store.seal("s1", RecordingState::Sealed).await.unwrap());
    let title = store.title("s1").await.unwrap().unwrap();
    let after = files(&folder.0);
    assert!(before.iter().all(|(name, bytes)| after.get(name) == Some(bytes)));
    assert_eq!(after.len(), before.len() + 2, "a list and the root are new");
    for (name, bytes) in &after {
        assert_eq!(Cid::of(Codec::Raw, bytes).hex(), *name);
    }
    let used: usize = after.values().map(Vec::len).sum();
    assert_eq!(store.figures().used_bytes, used as u64);
    assert_eq!(store.figures().objects, after.len() as u64);

    let row = title.recording();
    assert_eq!(
        (row.state, row.duration_ms, row.bytes),
        (RecordingState::Sealed, 6_000, 1_019)
    );
    let playlist = title
        .text(TitleText::Playlist("source".into()))
        .await
        .unwrap()
        .unwrap();
    let playlist = String::from_utf8(playlist.body.to_vec()).unwrap();
    assert!(
        playlist.contains("#EXT-X-GAP\n#EXTINF:2.000000,\nseg-1.m4s\n")
            && playlist.ends_with("#EXT-X-ENDLIST\n")
    );
    assert_eq!(
        title.text(TitleText::Playlist("720p".into())).await.unwrap(),
        None
    );
    assert_eq!(title.segment("source", 1), None);
    let object = title.segment("source", 2).unwrap();
    assert_eq!(object.cid, Cid::of(Codec::Raw, &[7; 1000]));
    let reader = store.open_object(object).await.unwrap();
    assert_eq!(reader.read(990, 10).await.unwrap(), [7; 10][..]);
    assert!(reader.read(990, 11).await.is_err(), "it has no such byte");
    let init = title.init("source", 0).unwrap();
    assert_eq!(store.read_verified(init).await.unwrap(), "the init segment");

    let manifest = store.manifest(row.manifest.unwrap()).await.unwrap();
    assert_eq!(&manifest, title.sealed());
    assert!(
        !format!("{manifest:?}").contains("stage"),
        "the manifest names no channel"
    );
}

#[tokio::test]
async fn what_exists_is_free_and_stays_while_anybody_needs_it() {
    let folder = Folder::new();
    let store = Store::open(&folder.0, limits(1 << 20)).await.unwrap();
    record(&store, "s1", 1, &[b"shared", b"only one"]).await;
    let used = store.figures().used_bytes;
    record(&store, "s2", 2, &[b"shared"]).await;
    assert_eq!(store.figures().used_bytes, used);
    for id in ["s1", "s2"] {
        assert!(store.seal(id, RecordingState::Sealed).await.unwrap());
    }
    store.remove("s1").await.unwrap();
    let left = files(&folder.0);
    let has = |bytes: &[u8]| left.contains_key(&Cid::of(Codec::Raw, bytes).hex());
    assert!(has(b"shared") && has(b"the init segment") && !has(b"only one"));
    store.remove("s2").await.unwrap();
    assert!(files(&folder.0).is_empty());
    assert_eq!(store.figures().used_bytes, 0);
    assert!(matches!(
        store.remove("s2").await,
        Err(StoreError::TitleNotFound { .. })
    ));
}

#[tokio::test]
async fn the_budget_is_hard_and_the_oldest_title_makes_room() {
    let folder = Folder::new();
    let store = Store::open(&folder.0, limits(24_000)).await.unwrap();
    for (id, fill) in [("s1", 1), ("s2", 2), ("s3", 3)] {
        record(&store, id, i64::from(fill), &[&[fill; 4_000]]).await;
        assert!(store.seal(id, RecordingState::Sealed).await.unwrap());
    }
    let catalog = Catalog::open(&folder.0).await.unwrap().unwrap();
    assert!(catalog.set_pinned("s1", true).await.unwrap().pinned);
    // s1 is older, but pinned.
    record(&store, "s4", 4, &[&[4; 4_000]]).await;
    let ids = |list: Vec<crate::Recording>| list.into_iter().map(|one| one.stream_id).collect::<Vec<_>>();
    assert_eq!(ids(store.recordings().await.unwrap()), ["s4", "s3", "s1"]);
    // Nothing that could be removed would be enough.
    let too_large = batch(false, vec![segment(1, &[5; 8_000])]);
    let refused = store.append("s4", &too_large).await.unwrap_err();
    assert!(refused.is_full(), "{refused}");
    assert!(
        refused
            .to_string()
            .contains("of 15808 bytes and cannot take 8000 more"),
        "{refused}"
    );
    assert!(store.figures().used_bytes <= 24_000);
    assert_eq!(ids(store.recordings().await.unwrap()), ["s4", "s1"]);
    assert_eq!(store.figures().failures, 1);
    // Age spares the pinned one too.
    assert!(store.seal("s4", RecordingState::Cut).await.unwrap());
    assert_eq!(store.remove_older(100).await.unwrap(), 1);
    assert_eq!(ids(store.recordings().await.unwrap()), ["s1"]);
}

#[tokio::test]
async fn a_disk_that_is_nearly_full_takes_nothing() {
    let folder = Folder::new();
    let low = StoreLimits {
        free_min_bytes: u64::MAX,
        ..limits(1 << 20)
    };
    let store = Store::open(&folder.0, low).await.unwrap();
    store.begin(&recording("s1", 1)).await.unwrap();
    let refused = store.append("s1", &batch(true, Vec::new())).await.unwrap_err();
    assert!(matches!(refused, StoreError::DiskLow { .. }) && refused.is_full());
    assert_eq!(store.figures().used_bytes, 0);
    assert!(files(&folder.0).is_empty());
}

#[tokio::test]
async fn a_command_marks_and_the_server_removes() {
    let folder = Folder::new();
    assert!(Catalog::open(&folder.0).await.unwrap().is_none());
    let store = Store::open(&folder.0, limits(1 << 20)).await.unwrap();
    record(&store, "s1", 1, &[b"one"]).await;
    let catalog = Catalog::open(&folder.0).await.unwrap().unwrap();
    assert!(matches!(
        catalog.mark_removed("s1").await,
        Err(StoreError::StillRecording { .. })
    ));
    store.seal("s1", RecordingState::Sealed).await.unwrap();
    assert!(store.title("s1").await.unwrap().is_some());
    catalog.mark_removed("s1").await.unwrap();
    assert!(catalog.recordings().await.unwrap().is_empty());
    assert_eq!(store.remove_marked().await.unwrap(), 1);
    assert!(store.title("s1").await.unwrap().is_none());
    assert!(files(&folder.0).is_empty());
}

#[tokio::test]
async fn damage_is_noticed() {
    let folder = Folder::new();
    let store = Store::open(&folder.0, limits(1 << 20)).await.unwrap();
    record(&store, "s1", 1, &[b"one", b"two"]).await;
    store.seal("s1", RecordingState::Sealed).await.unwrap();
    let title = store.title("s1").await.unwrap().unwrap();
    let object = title.segment("source", 0).unwrap();
    let path = store.objects().path(&object.cid);
    fs::write(&path, "0ne").unwrap();
    assert!(matches!(
        store.read_verified(object).await,
        Err(StoreError::Damaged { .. })
    ));
    // What a power cut leaves of a file that was not forced to the disk.
    fs::write(&path, "").unwrap();
    drop((title, store));
    let store = Store::open(&folder.0, limits(1 << 20)).await.unwrap();
    let title = store.title("s1").await.unwrap().unwrap();
    assert_eq!(title.segment("source", 0), None);
    assert!(title.segment("source", 1).is_some());
}

#[test]
fn manifests_of_another_shape_are_refused() {
    let none = |_: &Cid| None;
    for bytes in [
        &b""[..],
        &[0xa0],
        &[0xa1, 0x64, b'k', b'i', b'n', b'd', 0x61, b'x'],
    ] {
        assert!(decode(bytes, none).is_err());
    }
}
