//! How many pictures a second are drawn or decoded, transformed and batched:
//! `cargo run --release -p adautomix-datasets --example throughput` for those of 32 by 32 pixels in memory, and
//! `… --example throughput -- DIR` for JPEG files in the folders of `DIR/train`, one for each class, as
//! `bench/pytorch/loader.py DIR/train` reads them too. A folder that isn't there is filled first, with 512 files of 500
//! by 375.

#![allow(clippy::print_stdout)]

use adautomix_datasets::{
    Crop, Error, Interpolation, Loader, LoaderOptions, Memory, Normalize, Picture, Rectangle, Resampler,
    ResizedCrop, Scratch, Source, Split, Synthetic, Transform, View, facts, open,
};
use adautomix_random::{Key, Purpose};
use libjpeg_turbo_rs::{PixelFormat, Subsampling, compress};
use rand::Rng;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Height and width of the JPEG files that are made.
const PHOTOGRAPH: [usize; 2] = [375, 500];
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const STD: [f32; 3] = [0.229, 0.224, 0.225];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    match std::env::args().nth(1) {
        None => Ok(small()?),
        Some(option) if option.starts_with('-') => {
            Err(format!("{option}: expected nothing, or a folder of JPEG files to read or to fill").into())
        }
        Some(folder) => {
            let folder = Path::new(&folder);
            if !folder.exists() {
                make_photographs(&folder.join("train"), 512)?;
            }
            photographs(&open("folder", folder, Split::Train)?)
        }
    }
}

/// Pictures in memory, through the window, flip and normalisation of the CIFAR recipes.
fn small() -> Result<(), Error> {
    let facts = facts("cifar10")?;
    let size = [32, 32];
    let transform = Transform::training(size, facts.mean, facts.std);
    let drawn = Synthetic::new(0, Split::Train, 50_000);
    let (memory, rate) = keep(&drawn, size)?;
    report("draw synthetic pictures, 1 thread", rate);

    let normalize = Normalize::new(facts.mean, facts.std);
    let mut picture = Picture::default();
    let mut out = vec![0.; 3 * 32 * 32];
    for (name, view) in [
        ("normalise only, 1 thread", View::whole(size)),
        ("crop, flip, normalise only, 1 thread", View { top: 2, left: -3, flip: true, ..View::whole(size) }),
    ] {
        memory.read(0, &mut picture)?;
        let start = Instant::now();
        for _ in 0..200_000 {
            normalize.apply(std::hint::black_box(&picture), view, &mut out);
            std::hint::black_box(&out);
        }
        report(name, 200_000. / start.elapsed().as_secs_f64());
    }
    let memory: Arc<dyn Source> = Arc::new(memory);
    batches(&memory, transform, 8, "order, read, crop, flip, normalise, batch")
}

/// JPEG files, through a random rectangle resized to 224 by 224, flip and normalisation.
fn photographs(jpegs: &Arc<dyn Source>) -> Result<(), Box<dyn std::error::Error>> {
    let crop = ResizedCrop {
        scale: [0.08, 1.0],
        ratio: [3.0 / 4.0, 4.0 / 3.0],
        interpolation: Interpolation::Bilinear,
    };
    let transform = Transform { crop: Crop::Resized(crop), ..Transform::training([224, 224], MEAN, STD) };
    let (mut picture, mut scratch) = (Picture::default(), Scratch::default());
    let start = Instant::now();
    for index in 0..jpegs.len() {
        jpegs.read(index, &mut picture)?;
    }
    report("read and decode only, 1 thread", jpegs.len() as f64 / start.elapsed().as_secs_f64());

    let (normalize, mut out) = (Normalize::new(MEAN, STD), vec![0.; 3 * 224 * 224]);
    let mut copy = Picture::default();
    let start = Instant::now();
    for index in 0..1000 {
        copy.clone_from(&picture);
        let mut rng = Key::new(0, Purpose::Test).sample(index).rng();
        let draw = transform.draw([copy.height, copy.width], &mut rng);
        transform.apply(&mut copy, &draw, &normalize, &mut scratch, &mut out);
        std::hint::black_box(&out);
    }
    report("crop, resize, flip, normalise only, 1 thread", 1000. / start.elapsed().as_secs_f64());
    batches(jpegs, transform, 2, "read, decode, crop, resize, flip, normalise, batch")?;
    Ok(())
}

/// Goes through some epochs with one worker and with two.
fn batches(source: &Arc<dyn Source>, transform: Transform, epochs: usize, what: &str) -> Result<(), Error> {
    for threads in [1, 2] {
        let options = LoaderOptions { threads, ..LoaderOptions::training(100, 0) };
        let loader = Loader::new(source.clone(), transform, options)?;
        let start = Instant::now();
        let mut pictures = 0;
        for epoch in 0..epochs {
            for batch in loader.epoch(epoch, 0) {
                pictures += std::hint::black_box(batch?).len();
            }
        }
        let name = format!("loader: {what}; {threads} worker(s)");
        report(&name, pictures as f64 / start.elapsed().as_secs_f64());
    }
    Ok(())
}

/// Draws a source into memory, and says how quick that was.
fn keep(source: &dyn Source, size: [usize; 2]) -> Result<(Memory, f64), Error> {
    let (mut picture, mut pixels, mut labels) = (Picture::default(), Vec::new(), Vec::new());
    let start = Instant::now();
    for index in 0..source.len() {
        labels.push(source.read(index, &mut picture)? as u16);
        pixels.extend_from_slice(&picture.pixels);
    }
    let rate = source.len() as f64 / start.elapsed().as_secs_f64();
    let memory = Memory::new(source.name(), source.class_names().to_vec(), size, labels, pixels)?;
    Ok((memory, rate))
}

fn report(what: &str, rate: f64) {
    println!("{rate:>10.0} pictures/s  {what}");
}

/// Writes drawn pictures, enlarged and with the grain of photographs, to folders of four classes.
fn make_photographs(folder: &Path, count: usize) -> Result<(), Box<dyn std::error::Error>> {
    let drawn = Synthetic::new(0, Split::Train, count);
    let (mut small, mut large) = (Picture::default(), Picture::default());
    let mut resampler = Resampler::default();
    for index in 0..count {
        drawn.read(index, &mut small)?;
        let whole = Rectangle::whole([small.height, small.width]);
        resampler.resample(&small, whole, PHOTOGRAPH, Interpolation::Bicubic, &mut large);
        let mut rng = Key::new(0, Purpose::Synthetic).sample(index).rng();
        for byte in &mut large.pixels {
            *byte = byte.saturating_add(rng.random_range(0..24)).saturating_sub(12);
        }
        let class = folder.join(format!("class{}", index % 4));
        std::fs::create_dir_all(&class)?;
        // Colours at half the size, as cameras and ImageNet have them.
        let [height, width] = PHOTOGRAPH;
        let bytes = compress(&large.pixels, width, height, PixelFormat::Rgb, 90, Subsampling::S420)?;
        std::fs::write(class.join(format!("{index:05}.jpg")), bytes)?;
    }
    Ok(())
}
