//! Batches from a source, made ahead of time on worker threads, in an order that only the seed decides.
//!
//! Worker w of n makes the batches w, w + n, w + 2n … of an epoch and puts them in a short queue of its own; the
//! consumer takes from the queues in turn. So the order needs no sorting, memory is bounded, and what a batch holds
//! cannot depend on how many workers there are or which was quicker.

use crate::{CHANNELS, Change, Error, Normalize, Picture, Result, Scratch, Source, Transform, View};
use adautomix_random::{Key, Purpose};
use rand::seq::SliceRandom;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Pictures and labels for one step; of bytes where [`Loader::epoch_of_bytes`] made it, of views where
/// [`Loader::epoch_of_views`] did.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch<T = f32> {
    /// Pictures, `[B, 3, H, W]`: normalised numbers, or bytes; or `[B]`, where each picture is cut.
    pub images: Vec<T>,
    /// The class of each picture, `[B]`.
    pub labels: Vec<u32>,
    /// The index of each picture in its source, `[B]`.
    pub indices: Vec<usize>,
    /// Rows of a picture.
    pub height: usize,
    /// Columns of a picture.
    pub width: usize,
    /// Pictures that belong here and were left out, because they can't be read.
    pub skipped: usize,
}

impl<T> Batch<T> {
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
    /// Whether a picture that can't be decoded, or is too small, is left out of its batch, counted there and named in a
    /// warning; otherwise it is an error. A batch without a single good picture is an error either way.
    pub skip_bad_pictures: bool,
}

impl LoaderOptions {
    /// Shuffled full batches, with as many workers as help a trainer that needs the same processors.
    pub fn training(batch_size: usize, seed: u64) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = processors.min(4);
        Self {
            batch_size,
            seed,
            shuffle: true,
            drop_last: true,
            threads,
            prefetch: 2,
            skip_bad_pictures: false,
        }
    }

    /// Every picture once, by index.
    pub fn evaluation(batch_size: usize) -> Self {
        Self { shuffle: false, drop_last: false, ..Self::training(batch_size, 0) }
    }
}

/// Pictures of a source in blocks that are shuffled together: some 200 MB of ImageNet's, so that two windows, the one
/// that is read and the next, stay within what such a source keeps.
pub const WINDOW: usize = 2048;

/// Makes the batches of any epoch of a source.
pub struct Loader {
    shared: Arc<Shared>,
    options: LoaderOptions,
}

/// What the workers need of a loader.
struct Shared {
    source: Arc<dyn Source>,
    transform: Transform,
    seed: u64,
    skip_bad_pictures: bool,
}

impl Loader {
    /// A loader of `source` through `transform`.
    ///
    /// # Errors
    /// When an option or a value of the transform is out of range, the pictures are all too small for it, or the source
    /// gives no batch at all.
    pub fn new(source: Arc<dyn Source>, transform: Transform, options: LoaderOptions) -> Result<Self> {
        let refuse = |option, found: usize, expected: &str| {
            Err(Error::Option { option, found: found.to_string(), expected: expected.to_owned() })
        };
        transform.check(source.size())?;
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
        let (seed, skip_bad_pictures) = (options.seed, options.skip_bad_pictures);
        let shared = Shared { source, transform, seed, skip_bad_pictures };
        Ok(Self { shared: Arc::new(shared), options })
    }

    /// Batches in an epoch.
    pub fn batches(&self) -> usize {
        let (pictures, size) = (self.shared.source.len(), self.options.batch_size);
        if self.options.drop_last { pictures / size } else { pictures.div_ceil(size) }
    }

    /// What is done to every picture.
    pub fn transform(&self) -> &Transform {
        &self.shared.transform
    }

    /// The source that is loaded.
    pub fn source(&self) -> &Arc<dyn Source> {
        &self.shared.source
    }

    /// The batches of an epoch (from 0) from `first_batch` (from 0) on, as they would come after the ones before it.
    ///
    /// Workers start here and stop when the iterator is dropped.
    pub fn epoch(&self, epoch: usize, first_batch: usize) -> Batches {
        let Transform { mean, std, .. } = self.shared.transform;
        self.epoch_of(epoch, first_batch, Normalize::new(mean, std))
    }

    /// The same pictures as the bytes that they are before they are normalised.
    pub fn epoch_of_bytes(&self, epoch: usize, first_batch: usize) -> Batches<u8> {
        self.epoch_of(epoch, first_batch, Normalize::bytes())
    }

    /// Where the same pictures are cut out of those of the source, which aren't read: for someone who has them all. None where
    /// they have sizes of their own, or more is done to them.
    pub fn epoch_of_views(&self, epoch: usize, first_batch: usize) -> Option<Batches<View>> {
        let size = self.shared.source.size().filter(|_| self.shared.transform.only_cuts())?;
        Some(self.start(epoch, first_batch, move |shared, indices, _| shared.views(epoch, indices, size)))
    }

    fn epoch_of<T>(&self, epoch: usize, first_batch: usize, normalize: Normalize<T>) -> Batches<T>
    where
        T: Copy + Default + Send + Sync + 'static,
    {
        self.start(epoch, first_batch, move |shared, indices, buffers| {
            shared.batch(epoch, indices, &normalize, buffers)
        })
    }

    /// Starts the workers, which make batches by `make`.
    fn start<T: Send + 'static>(
        &self,
        epoch: usize,
        first_batch: usize,
        make: impl Fn(&Shared, &[usize], &mut Buffers) -> Result<Batch<T>> + Send + Sync + 'static,
    ) -> Batches<T> {
        let make = Arc::new(make);
        let end = self.batches();
        let order: Arc<[usize]> = self.order(epoch).into();
        let threads = self.options.threads.min(end.saturating_sub(first_batch));
        let workers = (0..threads).map(|worker| {
            let (sender, receiver) = sync_channel(self.options.prefetch);
            let (shared, order, size) = (self.shared.clone(), order.clone(), self.options.batch_size);
            let make = make.clone();
            let batches = (first_batch + worker..end).step_by(threads);
            let thread = std::thread::spawn(move || {
                let ranges = batches.map(|batch| batch * size..order.len().min((batch + 1) * size));
                let mut buffers = Buffers::default();
                work(ranges.map(|range| make(&shared, &order[range], &mut buffers)), &sender);
            });
            Worker { receiver: Some(receiver), thread: Some(thread) }
        });
        Batches { workers: workers.collect(), first: first_batch, next: first_batch, end }
    }

    /// The indices of all pictures in the order of an epoch (from 0).
    ///
    /// Where the source has [blocks](Source::blocks), they are shuffled, and then the pictures within every
    /// [`WINDOW`] or more of them: a picture can come anywhere in an epoch, but a batch is drawn from a few blocks.
    pub fn order(&self, epoch: usize) -> Vec<usize> {
        let source = &self.shared.source;
        if !self.options.shuffle {
            return (0..source.len()).collect();
        }
        let mut rng = Key::new(self.options.seed, Purpose::Order).epoch(epoch).rng();
        let Some(mut blocks) = source.blocks() else {
            let mut order: Vec<usize> = (0..source.len()).collect();
            order.shuffle(&mut rng);
            return order;
        };
        blocks.shuffle(&mut rng);
        let (mut order, mut start) = (Vec::with_capacity(source.len()), 0);
        for block in blocks {
            order.extend(block);
            if order.len() - start >= WINDOW {
                order[start..].shuffle(&mut rng);
                start = order.len();
            }
        }
        order[start..].shuffle(&mut rng);
        order
    }
}

/// Sends the batches of one worker until they are done, one fails, or nobody wants them any more.
fn work<T>(batches: impl Iterator<Item = Result<Batch<T>>>, sender: &SyncSender<Result<Batch<T>>>) {
    for batch in batches {
        let failed = batch.is_err();
        if sender.send(batch).is_err() || failed {
            return;
        }
    }
}

impl Shared {
    /// Where the pictures at `indices`, all of a `size`, are cut.
    fn views(&self, epoch: usize, indices: &[usize], size: [usize; 2]) -> Result<Batch<View>> {
        let view = |&index: &usize| self.transform.draw(size, &mut self.key(epoch, index).rng()).view;
        let label = |&index: &usize| Ok(self.source.label(index)? as u32);
        let [height, width] = self.transform.size;
        Ok(Batch {
            images: indices.iter().map(view).collect(),
            labels: indices.iter().map(label).collect::<Result<_>>()?,
            indices: indices.to_vec(),
            height,
            width,
            skipped: 0,
        })
    }

    /// Where the chance of a picture begins.
    fn key(&self, epoch: usize, index: usize) -> Key {
        Key::new(self.seed, Purpose::Augmentation).epoch(epoch).sample(index)
    }

    /// The batch of the pictures at `indices`.
    fn batch<T: Copy + Default>(
        &self,
        epoch: usize,
        indices: &[usize],
        normalize: &Normalize<T>,
        buffers: &mut Buffers,
    ) -> Result<Batch<T>> {
        let [height, width] = self.transform.size;
        let length = CHANNELS * height * width;
        let mut images = vec![T::default(); indices.len() * length];
        let (mut labels, mut good) = (Vec::with_capacity(indices.len()), Vec::with_capacity(indices.len()));
        let mut fault = None;
        for &index in indices {
            let out = &mut images[good.len() * length..][..length];
            match self.picture(epoch, index, normalize, buffers, out) {
                Ok(label) => {
                    labels.push(label as u32);
                    good.push(index);
                }
                Err(error) if self.skip_bad_pictures && error.is_of_a_picture() => {
                    tracing::warn!(%error, "a picture is left out");
                    fault = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        if let Some(error) = fault
            && good.is_empty()
        {
            return Err(error);
        }
        let skipped = indices.len() - good.len();
        images.truncate(good.len() * length);
        Ok(Batch { images, labels, indices: good, height, width, skipped })
    }

    /// Reads a picture, brings it to `out` and gives its label.
    fn picture<T: Copy>(
        &self,
        epoch: usize,
        index: usize,
        normalize: &Normalize<T>,
        Buffers { picture, changes, scratch }: &mut Buffers,
        out: &mut [T],
    ) -> Result<usize> {
        let label = self.source.read(index, picture)?;
        let found = [picture.height, picture.width];
        if let Some(expected) = self.source.size()
            && found != expected
        {
            let path = self.source.name().into();
            return Err(Error::PictureSize { path, row: Some(index), found, expected });
        }
        let least = self.transform.least();
        if found[0] < least[0] || found[1] < least[1] {
            return Err(Error::SmallPicture { name: self.source.name().to_owned(), index, found, least });
        }
        let rng = &mut self.key(epoch, index).rng();
        let draw = self.transform.draw_into(found, rng, std::mem::take(changes));
        self.transform.apply(picture, &draw, normalize, scratch, out);
        *changes = draw.changes;
        Ok(label)
    }
}

/// What a worker keeps from picture to picture.
#[derive(Default)]
struct Buffers {
    picture: Picture,
    changes: Vec<Change>,
    scratch: Scratch,
}

/// The batches of (the rest of) an epoch, in order.
///
/// Ends after the last batch or after the first error.
pub struct Batches<T = f32> {
    workers: Vec<Worker<T>>,
    first: usize,
    next: usize,
    end: usize,
}

/// A thread and the queue that it fills.
struct Worker<T> {
    receiver: Option<Receiver<Result<Batch<T>>>>,
    thread: Option<JoinHandle<()>>,
}

impl<T> Iterator for Batches<T> {
    type Item = Result<Batch<T>>;

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

impl<T> Drop for Batches<T> {
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
mod tests;
