//! Tests of the loader.

use super::*;
use crate::{Crop, Interpolation, ResizedCrop, Split, Synthetic};
use std::collections::BTreeSet;
use std::ops::Range;

const MEAN: [f32; 3] = [0.5; 3];

/// A source whose picture at `fault` fails, by an error or by a panic.
struct Faulty {
    inner: Synthetic,
    fault: usize,
    panics: bool,
}

impl Source for Faulty {
    fn name(&self) -> &str {
        "faulty"
    }

    fn len(&self) -> usize {
        self.inner.len()
    }

    fn class_names(&self) -> &[String] {
        self.inner.class_names()
    }

    fn size(&self) -> Option<[usize; 2]> {
        self.inner.size()
    }

    fn read(&self, index: usize, picture: &mut Picture) -> Result<usize> {
        assert!(!(self.panics && index == self.fault), "a fault of the test");
        self.inner.read(if index == self.fault { self.len() } else { index }, picture)
    }
}

fn loader(len: usize, options: LoaderOptions) -> Loader {
    let source = Arc::new(Synthetic::new(0, Split::Train, len));
    Loader::new(source, Transform::training([32, 32], MEAN, MEAN), options).unwrap()
}

fn all(batches: Batches) -> Vec<Batch> {
    batches.collect::<Result<_>>().unwrap()
}

#[test]
fn batches_do_not_depend_on_threads_and_resume_anywhere() {
    let options = |threads, prefetch| LoaderOptions { threads, prefetch, ..LoaderOptions::training(8, 5) };
    let one = loader(60, options(1, 1));
    let expected = all(one.epoch(1, 0));
    assert_eq!((one.batches(), expected.len()), (7, 7));
    for (threads, prefetch) in [(2, 1), (3, 2), (16, 3)] {
        assert_eq!(all(loader(60, options(threads, prefetch)).epoch(1, 0)), expected);
    }
    let three = loader(60, options(3, 2));
    for first in 0..=8 {
        assert_eq!(all(three.epoch(1, first)), expected[first.min(7)..]);
    }
}

#[test]
fn an_epoch_shows_every_picture_once_in_an_order_and_views_of_its_own() {
    let options = |seed| LoaderOptions { drop_last: false, ..LoaderOptions::training(16, seed) };
    let indices = |batches| all(batches).into_iter().flat_map(|batch| batch.indices).collect::<Vec<_>>();
    let first = indices(loader(50, options(1)).epoch(0, 0));
    assert_ne!(first, indices(loader(50, options(1)).epoch(1, 0)));
    assert_ne!(first, indices(loader(50, options(2)).epoch(0, 0)));
    let mut sorted = first.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..50).collect::<Vec<_>>());

    // The same order, so that only the views differ between the epochs.
    let still = LoaderOptions { shuffle: false, ..options(1) };
    let loader = loader(50, still);
    assert_eq!(indices(loader.epoch(0, 0)), indices(loader.epoch(1, 0)));
    assert_ne!(all(loader.epoch(0, 0))[0].images, all(loader.epoch(1, 0))[0].images);
}

#[test]
fn evaluation_gives_all_pictures_as_they_are() {
    let source = Arc::new(Synthetic::new(0, Split::Test, 11));
    let transform = Transform::evaluation([32, 32], MEAN, MEAN);
    let loader = Loader::new(source.clone(), transform, LoaderOptions::evaluation(4)).unwrap();
    let batches = all(loader.epoch(0, 0));
    assert_eq!(batches.iter().map(Batch::len).collect::<Vec<_>>(), [4, 4, 3]);
    assert_eq!(batches[2].indices, [8, 9, 10]);
    assert_eq!(batches[2].labels, [8, 9, 0]);
    let mut picture = Picture::default();
    source.read(9, &mut picture).unwrap();
    let pixel = f32::from(picture.pixels[(7 * 32 + 3) * 3 + 2]);
    assert_eq!(batches[2].images[3 * 1024 + 2 * 1024 + 7 * 32 + 3], (pixel / 255. - 0.5) / 0.5);
}

#[test]
fn views_are_where_the_pictures_of_a_batch_are_cut() {
    let loader = loader(40, LoaderOptions::training(16, 3));
    let views: Vec<_> = loader.epoch_of_views(2, 1).unwrap().collect::<Result<_>>().unwrap();
    let bytes: Vec<_> = loader.epoch_of_bytes(2, 1).collect::<Result<_>>().unwrap();
    assert_eq!((views.len(), views[0].len()), (1, 16));
    let (mut picture, mut cut) = (Picture::default(), vec![0; 3 * 32 * 32]);
    for (views, bytes) in views.iter().zip(&bytes) {
        assert_eq!((&views.labels, &views.indices), (&bytes.labels, &bytes.indices));
        for ((&index, &view), bytes) in views.indices.iter().zip(&views.images).zip(bytes.images.chunks(3072))
        {
            loader.source().read(index, &mut picture).unwrap();
            Normalize::bytes().apply(&picture, view, &mut cut);
            assert_eq!(cut, bytes, "picture {index}");
        }
    }
    let erase = crate::RandomErasing { probability: 1.0, scale: [0.1, 0.2], ratio: [0.3, 3.3], fill: [0; 3] };
    let transform = Transform { erase: Some(erase), ..*loader.transform() };
    let more = Loader::new(loader.source().clone(), transform, LoaderOptions::evaluation(4)).unwrap();
    assert!(more.epoch_of_views(0, 0).is_none());
}

#[test]
fn a_fault_of_the_source_ends_the_epoch_where_it_is() {
    for (panics, message) in [
        (false, "synthetic has 40 pictures, there is none at index 40"),
        (true, "the loader's thread for batch 2 stopped before the batch was done"),
    ] {
        let source = Arc::new(Faulty { inner: Synthetic::new(0, Split::Train, 40), fault: 9, panics });
        let options = LoaderOptions { threads: 3, ..LoaderOptions::evaluation(4) };
        let loader = Loader::new(source, Transform::evaluation([32, 32], MEAN, MEAN), options).unwrap();
        let mut batches = loader.epoch(0, 0);
        assert!(batches.next().unwrap().is_ok() && batches.next().unwrap().is_ok());
        assert_eq!(batches.next().unwrap().unwrap_err().to_string(), message);
        assert!(batches.next().is_none());
    }
}

/// Pictures of sizes of their own, every tenth of which doesn't decode and every tenth of which is a single row.
struct Mixed;

impl Source for Mixed {
    fn name(&self) -> &str {
        "mixed"
    }

    fn len(&self) -> usize {
        40
    }

    fn class_names(&self) -> &[String] {
        &[]
    }

    fn size(&self) -> Option<[usize; 2]> {
        None
    }

    fn read(&self, index: usize, picture: &mut Picture) -> Result<usize> {
        if index % 10 == 3 {
            let problem = "a fault of the test".to_owned();
            return Err(Error::Decode { path: "mixed".into(), row: Some(index), problem });
        }
        let height = if index % 10 == 4 { 1 } else { 20 + index };
        picture.resize(height, 64 - index);
        picture.pixels.fill(index as u8);
        Ok(index)
    }
}

#[test]
fn pictures_of_all_sizes_come_out_alike_as_numbers_or_bytes() {
    let interpolation = Interpolation::Bicubic;
    let crop = ResizedCrop { scale: [0.1, 1.0], ratio: [0.5, 2.0], interpolation };
    let transform = Transform { crop: Crop::Resized(crop), ..Transform::training([24, 17], MEAN, MEAN) };
    let options = LoaderOptions { skip_bad_pictures: true, ..LoaderOptions::training(10, 3) };
    let loader = Loader::new(Arc::new(Mixed), transform, options).unwrap();
    let bytes: Vec<Batch<u8>> = loader.epoch_of_bytes(2, 0).collect::<Result<_>>().unwrap();
    assert_eq!(bytes.iter().map(|batch| batch.skipped).sum::<usize>(), 4);
    assert_eq!(bytes.iter().map(Batch::len).sum::<usize>(), 36);
    for (batch, numbers) in bytes.iter().zip(all(loader.epoch(2, 0))) {
        assert_eq!((batch.height, batch.width, &batch.indices), (24, 17, &numbers.indices));
        assert_eq!(batch.images.len(), batch.len() * 3 * 24 * 17);
        assert_eq!(batch.labels, batch.indices.iter().map(|index| *index as u32).collect::<Vec<_>>());
        for (picture, index) in batch.images.chunks_exact(3 * 24 * 17).zip(&batch.indices) {
            assert!(picture.iter().all(|byte| usize::from(*byte) == *index));
        }
        let normalised = |byte: &u8| (f32::from(*byte) / 255. - 0.5) / 0.5;
        assert_eq!(batch.images.iter().map(normalised).collect::<Vec<_>>(), numbers.images);
    }
}

#[test]
fn bad_pictures_are_errors_or_left_out_and_counted() {
    let transform = Transform::evaluation([20, 20], MEAN, MEAN);
    let epoch = |batch_size, skip_bad_pictures| {
        let options = LoaderOptions { skip_bad_pictures, ..LoaderOptions::evaluation(batch_size) };
        let loader = Loader::new(Arc::new(Mixed), transform, options).unwrap();
        loader.epoch(0, 0).collect::<Vec<_>>()
    };
    let message = |batches: Vec<Result<Batch>>| batches.last().unwrap().as_ref().unwrap_err().to_string();
    assert_eq!(message(epoch(4, false)), "`mixed` row 3: the image doesn't decode: a fault of the test");
    let batches: Vec<Batch> = epoch(4, true).into_iter().collect::<Result<_>>().unwrap();
    assert_eq!((batches[0].skipped, &batches[0].indices[..]), (1, &[0, 1, 2][..]));
    assert_eq!((batches[1].skipped, &batches[1].indices[..]), (1, &[5, 6, 7][..]));
    assert_eq!((batches[2].skipped, batches[2].len()), (0, 4));
    // A batch without a picture is none.
    let alone = epoch(1, true);
    assert_eq!(alone.len(), 4);
    assert!(message(alone).starts_with("`mixed` row 3"));
    let small = Loader::new(
        Arc::new(Mixed),
        Transform::evaluation([21, 9], MEAN, MEAN),
        LoaderOptions::evaluation(1),
    );
    let error = small.unwrap().epoch(0, 0).next().unwrap().unwrap_err().to_string();
    assert_eq!(error, "mixed: picture 0 is [20, 64] (height, width), expected at least [21, 9]");
}

#[test]
fn dropping_the_batches_stops_the_threads() {
    let source: Arc<dyn Source> = Arc::new(Synthetic::new(0, Split::Train, 10_000));
    let options = LoaderOptions { threads: 3, ..LoaderOptions::training(10, 0) };
    let loader = Loader::new(source.clone(), Transform::training([32, 32], MEAN, MEAN), options).unwrap();
    let mut batches = loader.epoch(0, 0);
    batches.next().unwrap().unwrap();
    drop(batches);
    drop(loader);
    // Every thread held the source: all have ended.
    assert_eq!(Arc::strong_count(&source), 1);
}

#[test]
fn impossible_options_are_refused() {
    let source = |len| Arc::new(Synthetic::new(0, Split::Train, len));
    let good = LoaderOptions::training(8, 0);
    let refusal = |len, options: LoaderOptions| {
        Loader::new(source(len), Transform::training([32, 32], MEAN, MEAN), options)
            .err()
            .unwrap()
            .to_string()
    };
    assert_eq!(
        refusal(9, LoaderOptions { batch_size: 0, ..good.clone() }),
        "batch_size is 0, expected at least 1"
    );
    assert_eq!(refusal(9, LoaderOptions { threads: 0, ..good.clone() }), "threads is 0, expected at least 1");
    assert_eq!(
        refusal(9, LoaderOptions { prefetch: 0, ..good.clone() }),
        "prefetch is 0, expected at least 1"
    );
    assert_eq!(refusal(0, good.clone()), "the number of pictures is 0, expected at least 1");
    assert_eq!(refusal(7, good), "batch_size is 8, expected at most the 7 pictures that there are");
}

/// Pictures in blocks of 100.
struct Blocks(Synthetic);

impl Source for Blocks {
    fn name(&self) -> &str {
        "blocks"
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn class_names(&self) -> &[String] {
        self.0.class_names()
    }

    fn size(&self) -> Option<[usize; 2]> {
        self.0.size()
    }

    fn blocks(&self) -> Option<Vec<Range<usize>>> {
        Some((0..self.len()).step_by(100).map(|start| start..(start + 100).min(self.len())).collect())
    }

    fn read(&self, index: usize, picture: &mut Picture) -> Result<usize> {
        self.0.read(index, picture)
    }
}

#[test]
fn blocks_are_shuffled_and_read_close_together() {
    // Whole blocks, so that every window has as many.
    let (len, window) = (10_000, WINDOW.next_multiple_of(100));
    let source = Arc::new(Blocks(Synthetic::new(0, Split::Train, len)));
    let transform = Transform::training([32, 32], MEAN, MEAN);
    let loader = Loader::new(source, transform, LoaderOptions::training(10, 3)).unwrap();
    let order = loader.order(0);
    let mut sorted = order.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..len).collect::<Vec<_>>());
    assert_ne!(order, loader.order(1));
    for pictures in order.chunks(window) {
        let blocks: BTreeSet<_> = pictures.iter().map(|index| index / 100).collect();
        assert_eq!(blocks.len(), pictures.len() / 100);
        // They come from anywhere, and not one block after the other.
        assert!(blocks.last().unwrap() - blocks.first().unwrap() > 50);
        let changes = pictures.windows(2).filter(|pair| pair[0] / 100 != pair[1] / 100).count();
        assert!(changes > pictures.len() * 8 / 10);
    }
    let rest: Vec<_> = loader.epoch_of_bytes(1, 990).map(|batch| batch.unwrap().indices).collect();
    assert_eq!(rest.concat(), loader.order(1)[9_900..]);
}
