//! Batches from a source, made ahead of time on worker threads, in an order that only the seed decides.
//!
//! Worker w of n makes the batches w, w + n, w + 2n … of an epoch and puts them in a short queue of its own; the
//! consumer takes from the queues in turn. So the order needs no sorting, memory is bounded, and what a batch holds
//! cannot depend on how many workers there are or which was quicker.

use crate::{CHANNELS, Error, Normalize, Picture, Result, Source, Transform, View};
use adautomix_random::{Key, Purpose};
use rand::seq::SliceRandom;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Pictures and labels for one step.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Normalised pictures, `[B, 3, H, W]`.
    pub images: Vec<f32>,
    /// The class of each picture, `[B]`.
    pub labels: Vec<u32>,
    /// The index of each picture in its source, `[B]`.
    pub indices: Vec<usize>,
    /// Rows of a picture.
    pub height: usize,
    /// Columns of a picture.
    pub width: usize,
}

impl Batch {
    /// How many pictures there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is none; a loader makes no such batch.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }
}

/// How a loader goes through its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoaderOptions {
    /// Pictures in a batch.
    pub batch_size: usize,
    /// The seed of the order and of the transforms.
    pub seed: u64,
    /// Whether each epoch has an order of its own; otherwise pictures come by index.
    pub shuffle: bool,
    /// Whether a last batch that isn't full is left out.
    pub drop_last: bool,
    /// Worker threads.
    pub threads: usize,
    /// Batches that each worker may be ahead of the consumer.
    pub prefetch: usize,
}

impl LoaderOptions {
    /// Shuffled full batches, with as many workers as help a trainer that needs the same processors.
    pub fn training(batch_size: usize, seed: u64) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self { batch_size, seed, shuffle: true, drop_last: true, threads: processors.min(4), prefetch: 2 }
    }

    /// Every picture once, by index.
    pub fn evaluation(batch_size: usize) -> Self {
        Self { shuffle: false, drop_last: false, ..Self::training(batch_size, 0) }
    }
}

/// Makes the batches of any epoch of a source.
pub struct Loader {
    shared: Arc<Shared>,
    options: LoaderOptions,
}

/// What the workers need of a loader.
struct Shared {
    source: Arc<dyn Source>,
    transform: Transform,
    normalize: Normalize,
    size: [usize; 2],
    seed: u64,
}

impl Loader {
    /// A loader of `source` through `transform`.
    ///
    /// # Errors
    /// When an option or the transform's padding is out of range, or the source gives no batch at all.
    pub fn new(source: Arc<dyn Source>, transform: Transform, options: LoaderOptions) -> Result<Self> {
        let refuse = |option, found: usize, expected: &str| {
            Err(Error::Option { option, found: found.to_string(), expected: expected.to_owned() })
        };
        let Some(size) = source.size() else {
            return refuse("the number of sizes of the pictures", source.len(), "1");
        };
        transform.check(size)?;
        if options.batch_size == 0 {
            return refuse("batch_size", 0, "at least 1");
        }
        if options.threads == 0 {
            return refuse("threads", 0, "at least 1");
        }
        if options.prefetch == 0 {
            return refuse("prefetch", 0, "at least 1");
        }
        if source.is_empty() {
            return refuse("the number of pictures", 0, "at least 1");
        }
        if options.drop_last && source.len() < options.batch_size {
            let expected = format!("at most the {} pictures that there are", source.len());
            return refuse("batch_size", options.batch_size, &expected);
        }
        let normalize = Normalize::new(transform.mean, transform.std);
        let shared = Shared { source, transform, normalize, size, seed: options.seed };
        Ok(Self { shared: Arc::new(shared), options })
    }

    /// Batches in an epoch.
    pub fn batches(&self) -> usize {
        let (pictures, size) = (self.shared.source.len(), self.options.batch_size);
        if self.options.drop_last { pictures / size } else { pictures.div_ceil(size) }
    }

    /// The source that is loaded.
    pub fn source(&self) -> &Arc<dyn Source> {
        &self.shared.source
    }

    /// The batches of an epoch (from 0) from `first_batch` (from 0) on, as they would come after the ones before it.
    ///
    /// Workers start here and stop when the iterator is dropped.
    pub fn epoch(&self, epoch: usize, first_batch: usize) -> Batches {
        let end = self.batches();
        let order: Arc<[usize]> = self.order(epoch).into();
        let threads = self.options.threads.min(end.saturating_sub(first_batch));
        let workers = (0..threads).map(|worker| {
            let (sender, receiver) = sync_channel(self.options.prefetch);
            let (shared, order, size) = (self.shared.clone(), order.clone(), self.options.batch_size);
            let batches = (first_batch + worker..end).step_by(threads);
            let thread = std::thread::spawn(move || {
                let ranges = batches.map(|batch| batch * size..order.len().min((batch + 1) * size));
                shared.work(epoch, ranges.map(|range| &order[range]), &sender);
            });
            Worker { receiver: Some(receiver), thread: Some(thread) }
        });
        Batches { workers: workers.collect(), first: first_batch, next: first_batch, end }
    }

    /// The indices of all pictures in the order of an epoch (from 0).
    pub fn order(&self, epoch: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.shared.source.len()).collect();
        if self.options.shuffle {
            order.shuffle(&mut Key::new(self.options.seed, Purpose::Order).epoch(epoch).rng());
        }
        order
    }
}

impl Shared {
    /// Makes the batches of one worker until they are done, one fails, or nobody wants them any more.
    fn work<'a>(
        &self,
        epoch: usize,
        batches: impl Iterator<Item = &'a [usize]>,
        sender: &SyncSender<Result<Batch>>,
    ) {
        let mut picture = Picture::default();
        for indices in batches {
            let batch = self.batch(epoch, indices, &mut picture);
            let failed = batch.is_err();
            if sender.send(batch).is_err() || failed {
                return;
            }
        }
    }

    /// The batch of the pictures at `indices`.
    fn batch(&self, epoch: usize, indices: &[usize], picture: &mut Picture) -> Result<Batch> {
        let [height, width] = self.size;
        let numbers = CHANNELS * height * width;
        let mut images = vec![0f32; indices.len() * numbers];
        let mut labels = Vec::with_capacity(indices.len());
        let key = Key::new(self.seed, Purpose::Augmentation).epoch(epoch);
        for (&index, out) in indices.iter().zip(images.chunks_exact_mut(numbers)) {
            labels.push(self.source.read(index, picture)? as u32);
            let found = [picture.height, picture.width];
            if found != [height, width] {
                let path = self.source.name().into();
                return Err(Error::PictureSize { path, row: Some(index), found, expected: [height, width] });
            }
            let view = if self.transform.is_deterministic() {
                View::default()
            } else {
                self.transform.draw(&mut key.sample(index).rng())
            };
            self.normalize.apply(picture, view, out);
        }
        Ok(Batch { images, labels, indices: indices.to_vec(), height, width })
    }
}

/// The batches of (the rest of) an epoch, in order.
///
/// Ends after the last batch or after the first error.
pub struct Batches {
    workers: Vec<Worker>,
    first: usize,
    next: usize,
    end: usize,
}

/// A thread and the queue that it fills.
struct Worker {
    receiver: Option<Receiver<Result<Batch>>>,
    thread: Option<JoinHandle<()>>,
}

impl Iterator for Batches {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.end {
            return None;
        }
        let worker = &self.workers[(self.next - self.first) % self.workers.len()];
        let answer = worker.receiver.as_ref().and_then(|receiver| receiver.recv().ok());
        let batch = answer.unwrap_or(Err(Error::Worker { batch: self.next }));
        self.next = if batch.is_ok() { self.next + 1 } else { self.end };
        Some(batch)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.end.saturating_sub(self.next);
        (0, Some(left))
    }
}

impl Drop for Batches {
    /// Closes every queue, which ends the threads at their next batch, and waits for that.
    fn drop(&mut self) {
        for worker in &mut self.workers {
            worker.receiver = None;
        }
        for worker in &mut self.workers {
            if let Some(thread) = worker.thread.take() {
                // A panic of the thread has been reported as a batch that never came.
                let _ = thread.join();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Split, Synthetic};

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
        Loader::new(source, Transform::training(MEAN, MEAN), options).unwrap()
    }

    fn all(batches: Batches) -> Vec<Batch> {
        batches.collect::<Result<_>>().unwrap()
    }

    #[test]
    fn batches_do_not_depend_on_threads_and_resume_anywhere() {
        let options =
            |threads, prefetch| LoaderOptions { threads, prefetch, ..LoaderOptions::training(8, 5) };
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
        let transform = Transform::evaluation(MEAN, MEAN);
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
    fn a_fault_of_the_source_ends_the_epoch_where_it_is() {
        for (panics, message) in [
            (false, "synthetic has 40 pictures, there is none at index 40"),
            (true, "the loader's thread for batch 2 stopped before the batch was done"),
        ] {
            let source = Arc::new(Faulty { inner: Synthetic::new(0, Split::Train, 40), fault: 9, panics });
            let options = LoaderOptions { threads: 3, ..LoaderOptions::evaluation(4) };
            let loader = Loader::new(source, Transform::evaluation(MEAN, MEAN), options).unwrap();
            let mut batches = loader.epoch(0, 0);
            assert!(batches.next().unwrap().is_ok() && batches.next().unwrap().is_ok());
            assert_eq!(batches.next().unwrap().unwrap_err().to_string(), message);
            assert!(batches.next().is_none());
        }
    }

    #[test]
    fn dropping_the_batches_stops_the_threads() {
        let source: Arc<dyn Source> = Arc::new(Synthetic::new(0, Split::Train, 10_000));
        let options = LoaderOptions { threads: 3, ..LoaderOptions::training(10, 0) };
        let loader = Loader::new(source.clone(), Transform::training(MEAN, MEAN), options).unwrap();
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
            Loader::new(source(len), Transform::training(MEAN, MEAN), options).err().unwrap().to_string()
        };
        assert_eq!(
            refusal(9, LoaderOptions { batch_size: 0, ..good.clone() }),
            "batch_size is 0, expected at least 1"
        );
        assert_eq!(
            refusal(9, LoaderOptions { threads: 0, ..good.clone() }),
            "threads is 0, expected at least 1"
        );
        assert_eq!(
            refusal(9, LoaderOptions { prefetch: 0, ..good.clone() }),
            "prefetch is 0, expected at least 1"
        );
        assert_eq!(refusal(0, good.clone()), "the number of pictures is 0, expected at least 1");
        assert_eq!(refusal(7, good), "batch_size is 8, expected at most the 7 pictures that there are");
    }
}
