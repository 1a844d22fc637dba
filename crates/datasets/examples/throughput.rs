//! How many pictures a second one processor draws, transforms and batches:
//! `cargo run --release -p adautomix-datasets --example throughput`.

#![allow(clippy::print_stdout)]

use adautomix_datasets::{
    Error, Loader, LoaderOptions, Memory, Normalize, Picture, Source, Split, Synthetic, Transform, View,
    facts,
};
use std::sync::Arc;
use std::time::Instant;

fn main() -> Result<(), Error> {
    let facts = facts("cifar10")?;
    let transform = Transform::training(facts.mean, facts.std);
    let drawn = Synthetic::new(0, Split::Train, 50_000);
    let (memory, rate) = keep(&drawn)?;
    report("draw synthetic pictures, 1 thread", rate);

    let normalize = Normalize::new(facts.mean, facts.std);
    let mut picture = Picture::default();
    let mut out = vec![0.; 3 * 32 * 32];
    for (name, view) in [
        ("normalise only, 1 thread", View::default()),
        ("crop, flip, normalise only, 1 thread", View { top: 2, left: -3, flip: true }),
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
    for threads in [1, 2] {
        let options = LoaderOptions { threads, ..LoaderOptions::training(100, 0) };
        let loader = Loader::new(memory.clone(), transform, options)?;
        let start = Instant::now();
        let mut pictures = 0;
        for epoch in 0..8 {
            for batch in loader.epoch(epoch, 0) {
                pictures += std::hint::black_box(batch?).len();
            }
        }
        let name = format!("loader: order, read, crop, flip, normalise, batch; {threads} worker(s)");
        report(&name, pictures as f64 / start.elapsed().as_secs_f64());
    }
    Ok(())
}

/// Draws a source into memory, and says how quick that was.
fn keep(source: &dyn Source) -> Result<(Memory, f64), Error> {
    let (mut picture, mut pixels, mut labels) = (Picture::default(), Vec::new(), Vec::new());
    let start = Instant::now();
    for index in 0..source.len() {
        labels.push(source.read(index, &mut picture)? as u16);
        pixels.extend_from_slice(&picture.pixels);
    }
    let rate = source.len() as f64 / start.elapsed().as_secs_f64();
    let memory = Memory::new(
        source.name(),
        source.class_names().to_vec(),
        source.size().expect("CIFAR has one size"),
        labels,
        pixels,
    )?;
    Ok((memory, rate))
}

fn report(what: &str, rate: f64) {
    println!("{rate:>10.0} pictures/s  {what}");
}
