//! Sequences of operations with a crash at any step on the disk.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::Ordering;

use proptest::prelude::*;

use super::{Folder, batch, files, limits, recording, segment};
use crate::{Cid, Codec, RecordingState, STORE_DIR, Store};

const BUDGET: u64 = 16_000;

#[derive(Clone, Debug)]
enum Step {
    Begin(u8),
    /// Recording, content, length.
    Append(u8, u8, u16),
    Seal(u8),
    Remove(u8),
    /// The process dies after so many steps on the disk; then the store is opened again.
    DieAfter(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let id = 0..4_u8;
    let step = prop_oneof![
        2 => id.clone().prop_map(Step::Begin),
        6 => (id.clone(), 0..5_u8, 1..900_u16).prop_map(|(id, fill, length)| Step::Append(id, fill, length)),
        2 => id.clone().prop_map(Step::Seal),
        1 => id.prop_map(Step::Remove),
        2 => (0..24_u8).prop_map(Step::DieAfter),
    ];
    proptest::collection::vec(step, 1..30)
}

struct World {
    folder: Folder,
    store: Store,
    next_msn: u64,
    dies: bool,
    /// Bytes of segments that were kept in recordings that nobody removed, by recording.
    kept: Vec<(String, u64, Vec<u8>)>,
}

impl World {
    async fn new() -> Self {
        let folder = Folder::new();
        let store = Store::open(&folder.0, limits(BUDGET)).await.unwrap();
        Self {
            folder,
            store,
            next_msn: 0,
            dies: false,
            kept: Vec::new(),
        }
    }

    async fn run(&mut self, step: &Step) {
        match step {
            Step::Begin(id) => {
                let _ = self
                    .store
                    .begin(&recording(&format!("s{id}"), i64::from(*id)))
                    .await;
            }
            Step::Append(id, fill, length) => {
                let id = format!("s{id}");
                let bytes = vec![*fill; usize::from(*length)];
                let msn = self.next_msn;
                self.next_msn += 1;
                let begun = self.store.recordings().await.unwrap();
                let open =
                    |one: &crate::Recording| one.stream_id == id && one.state == RecordingState::Recording;
                if !begun.iter().any(open) {
                    return;
                }
                let batch = batch(true, vec![segment(msn, &bytes)]);
                if self.store.append(&id, &batch).await.is_ok() {
                    self.kept.push((id, msn, bytes));
                }
            }
            Step::Seal(id) => {
                let _ = self.store.seal(&format!("s{id}"), RecordingState::Sealed).await;
            }
            Step::Remove(id) => {
                let _ = self.store.remove(&format!("s{id}")).await;
            }
            Step::DieAfter(steps) => {
                self.store
                    .objects()
                    .steps_left
                    .store(u64::from(*steps), Ordering::Relaxed);
                self.dies = true;
                return;
            }
        }
        if self.dies {
            let left = self.store.objects().steps_left.load(Ordering::Relaxed);
            if left == 0 {
                self.reopen().await;
            }
        }
    }

    async fn reopen(&mut self) {
        self.dies = false;
        self.store.close().await;
        self.store = Store::open(&self.folder.0, limits(BUDGET)).await.unwrap();
        assert!(
            fs::read_dir(self.folder.0.join(STORE_DIR).join("tmp"))
                .unwrap()
                .next()
                .is_none()
        );
        let open = self.store.recordings().await.unwrap();
        assert!(
            open.iter().all(|recording| recording.state.is_title()),
            "{open:?}"
        );
        self.check_exact().await;
    }

    /// Right after opening, there are the objects that rows speak of, and no others.
    async fn check_exact(&self) {
        let mut referred = BTreeSet::new();
        for recording in self.store.recordings().await.unwrap() {
            let title = self.store.title(&recording.stream_id).await.unwrap().unwrap();
            for (name, objects) in title
                .sealed()
                .title
                .renditions
                .iter()
                .zip(&title.sealed().objects)
            {
                referred.extend(objects.inits.values().map(|init| init.cid.hex()));
                referred.extend(objects.segments.iter().flatten().map(Cid::hex));
                assert_eq!(objects.segments.len(), name.segments.len());
            }
            let root = recording.manifest.unwrap();
            assert_eq!(&self.store.manifest(root).await.unwrap(), title.sealed());
            for (cid, _) in crate::encode(title.sealed()) {
                referred.insert(cid.hex());
            }
        }
        let files = files(&self.folder.0);
        assert_eq!(files.keys().cloned().collect::<BTreeSet<_>>(), referred);
        let used: usize = files.values().map(Vec::len).sum();
        let figures = self.store.figures();
        assert_eq!(
            (figures.used_bytes, figures.objects),
            (used as u64, files.len() as u64)
        );
    }

    /// At any time: what was kept is there as long as its recording is, files are what their names say, and the budget
    /// holds.
    async fn check(&self) {
        let files = files(&self.folder.0);
        for (name, bytes) in &files {
            assert_eq!(Cid::of(Codec::Raw, bytes).hex(), *name);
        }
        let total: usize = files.values().map(Vec::len).sum();
        assert!(total as u64 <= BUDGET && self.store.figures().used_bytes <= BUDGET);
        let there: BTreeSet<_> = self
            .store
            .recordings()
            .await
            .unwrap()
            .into_iter()
            .map(|one| one.stream_id)
            .collect();
        for (id, msn, bytes) in self.kept.iter().filter(|(id, ..)| there.contains(id)) {
            assert!(
                files.contains_key(&Cid::of(Codec::Raw, bytes).hex()),
                "{id} has lost {msn}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_crash_loses_nothing_that_was_kept(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for step in &steps {
                world.run(step).await;
                let there = world.store.recordings().await.unwrap();
                world.kept.retain(|(id, ..)| there.iter().any(|one| one.stream_id == *id));
                world.check().await;
            }
            world.reopen().await;
        });
    }
}
