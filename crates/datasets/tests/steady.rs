//! What a loader takes of the memory: nothing for a picture, and no more in the tenth epoch than in the second.

#![allow(clippy::unwrap_used)]

use adautomix_datasets::{
    Batch, CHANNELS, Crop, Interpolation, Loader, LoaderOptions, Memory, Picture, RandAugment, ResizedCrop,
    Source, Split, Synthetic, Transform, open,
};
use libjpeg_turbo_rs::{PixelFormat, Subsampling, compress};
use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering::Relaxed};

/// The system's allocator, counted.
struct Counted;

static CALLS: AtomicUsize = AtomicUsize::new(0);
static LIVE: AtomicIsize = AtomicIsize::new(0);
static MOST: AtomicIsize = AtomicIsize::new(0);

fn count(bytes: isize) {
    CALLS.fetch_add(1, Relaxed);
    let live = LIVE.fetch_add(bytes, Relaxed) + bytes;
    MOST.fetch_max(live, Relaxed);
}

// SAFETY: every call is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as isize, Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counted = Counted;

/// Pictures of 32 by 32 in memory.
fn small() -> Arc<dyn Source> {
    let drawn = Synthetic::new(0, Split::Train, 400);
    let (mut picture, mut pixels, mut labels) = (Picture::default(), Vec::new(), Vec::new());
    for index in 0..drawn.len() {
        labels.push(drawn.read(index, &mut picture).unwrap() as u16);
        pixels.extend_from_slice(&picture.pixels);
    }
    Arc::new(Memory::new("set", drawn.class_names().to_vec(), [32, 32], labels, pixels).unwrap())
}

/// Two tar shards of JPEG files of several sizes.
fn shards(folder: &Path) -> Arc<dyn Source> {
    for shard in 0..2 {
        let file = std::fs::File::create(folder.join(format!("train-{shard}.tar"))).unwrap();
        let mut archive = tar::Builder::new(file);
        let mut add = |name: String, content: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            archive.append_data(&mut header, name, content).unwrap();
        };
        for number in 0..100 {
            let (height, width) = (60 + number % 7, 50 + number % 11);
            let pixels: Vec<u8> = (0..height * width * CHANNELS).map(|at| (at * number) as u8).collect();
            let bytes = compress(&pixels, width, height, PixelFormat::Rgb, 80, Subsampling::S420).unwrap();
            add(format!("{number:03}.jpg"), &bytes);
            add(format!("{number:03}.cls"), b"1");
        }
        archive.into_inner().unwrap();
    }
    open("folder", folder, Split::Train).unwrap()
}

/// Allocations while something is done.
fn calls(work: impl FnOnce()) -> usize {
    let before = CALLS.load(Relaxed);
    work();
    CALLS.load(Relaxed) - before
}

fn go<T>(batches: impl Iterator<Item = adautomix_datasets::Result<Batch<T>>>) {
    batches.for_each(|batch| assert_eq!(batch.unwrap().len(), 50));
}

/// One test, since what is counted is the whole program's.
#[test]
fn pictures_take_no_memory_of_their_own_and_epochs_all_the_same() {
    let size = [32, 32];
    let crop = Crop::Resized(ResizedCrop {
        scale: [0.2, 1.0],
        ratio: [0.75, 1.33],
        interpolation: Interpolation::Bicubic,
    });
    let augment = Some(RandAugment {
        operations: 2,
        magnitude: 7.0,
        deviation: 0.5,
        fill: [1, 2, 3],
        interpolation: Interpolation::Bilinear,
    });
    let plain = Transform::training(size, [0.5; 3], [0.5; 3]);
    let heavy = Transform { crop, augment, ..plain };
    let options = LoaderOptions { threads: 1, ..LoaderOptions::training(50, 0) };
    let small = small();
    for transform in [plain, heavy] {
        let loader = Loader::new(small.clone(), transform, options.clone()).unwrap();
        // 8 batches of 50: what a thread sets up, and three numbers a batch beside what its queue takes.
        let numbers = calls(|| go(loader.epoch(0, 0)));
        let bytes = calls(|| go(loader.epoch_of_bytes(0, 0)));
        assert!(numbers < 120 && bytes < 120, "{numbers} and {bytes} allocations for 400 pictures");
    }

    let folder = tempfile::tempdir().unwrap();
    let files = shards(folder.path());
    let mut picture = Picture::default();
    files.read(0, &mut picture).unwrap();
    let decoding = calls(|| (0..files.len()).for_each(|index| drop(files.read(index, &mut picture))));
    let loader = Loader::new(files, heavy, options).unwrap();
    let (mut live, mut most) = (Vec::new(), Vec::new());
    for epoch in 0..10 {
        MOST.store(LIVE.load(Relaxed), Relaxed);
        let loading = calls(|| go(loader.epoch_of_bytes(epoch, 0)));
        // The decoder's own are all there are.
        assert!(loading < decoding + 120, "{loading} allocations, {decoding} of the decoder");
        live.push(LIVE.load(Relaxed));
        most.push(MOST.load(Relaxed));
    }
    let spread = |values: &[isize]| values.iter().max().unwrap() - values.iter().min().unwrap();
    assert!(spread(&live[1..]) < 64 << 10, "bytes after each epoch: {live:?}");
    assert!(spread(&most[1..]) < 512 << 10, "most bytes in each epoch: {most:?}");
}
