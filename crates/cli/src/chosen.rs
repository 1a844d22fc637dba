//! Pictures that commands show, and blends of them: for `mix`, `cam` and `diversity`.

use std::path::{Path, PathBuf};

use adautomix_datasets::{CHANNELS, Normalize, Picture, Scratch, View};
use adautomix_random::{Key, Purpose};
use adautomix_recipes::Recipe;
use adautomix_training::method::Shown;
use adautomix_training::{Inputs, Method, Pictures, test_transform};
use anyhow::{Context, Result, ensure};
use candle_core::{Device, Tensor};

use crate::picture::Tile;

/// Pictures with their names.
pub(crate) struct Chosen {
    /// At the size that the network sees.
    pub(crate) pictures: Vec<Picture>,
    /// Their classes.
    pub(crate) labels: Vec<u32>,
    /// Their classes in words, or the names of their files.
    pub(crate) names: Vec<String>,
}

impl Chosen {
    /// `count` test pictures of a recipe's data set from the index `first` on; if `distinct`, where captions tell them apart by
    /// their class, no two of a class.
    pub(crate) fn from_data(
        recipe: &Recipe,
        data_dir: &Path,
        first: usize,
        count: usize,
        distinct: bool,
    ) -> Result<Self> {
        let source = Pictures::open(recipe, data_dir)?.test;
        let end = first + count;
        ensure!(end <= source.len(), "pictures {first} to {end}: the data set has {}", source.len());
        let mut chosen = Self { pictures: Vec::new(), labels: Vec::new(), names: Vec::new() };
        for index in first..source.len() {
            if chosen.pictures.len() == count {
                break;
            }
            let mut picture = Picture::default();
            let label = source.read(index, &mut picture)?;
            if distinct && chosen.labels.contains(&(label as u32)) {
                continue;
            }
            chosen.pictures.push(resized(picture, recipe)?);
            chosen.labels.push(label as u32);
            chosen.names.push(source.class_names()[label].clone());
        }
        Ok(chosen)
    }

    /// Pictures from files, brought to the size that the recipe's network sees, for one that tells `classes` apart.
    pub(crate) fn from_files(recipe: &Recipe, images: &[PathBuf], classes: usize) -> Result<Self> {
        let size = recipe.data.input_size as u32;
        let read = |path: &PathBuf| -> Result<Picture> {
            let image = image::open(path).with_context(|| format!("{}", path.display()))?;
            let image = image.resize_to_fill(size, size, image::imageops::FilterType::CatmullRom).to_rgb8();
            Ok(Picture { height: size as usize, width: size as usize, pixels: image.into_raw() })
        };
        let stem = |path: &PathBuf| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self {
            pictures: images.iter().map(read).collect::<Result<_>>()?,
            // Which class they are of isn't known; weights of labels can be told apart as long as the labels can.
            labels: (0..images.len() as u32).map(|image| image % classes as u32).collect(),
            names: images.iter().map(stem).collect(),
        })
    }

    /// The pictures as the network sees them.
    pub(crate) fn inputs(&self, recipe: &Recipe) -> Result<Inputs> {
        let [mean, std] = [recipe.data.mean, recipe.data.std].map(|values| values.map(|value| value as f32));
        let (normalize, size) = (Normalize::new(mean, std), recipe.data.input_size);
        let mut images = vec![0.0; self.pictures.len() * 3 * size * size];
        for (picture, out) in self.pictures.iter().zip(images.chunks_exact_mut(3 * size * size)) {
            normalize.apply(picture, View::whole([size, size]), out);
        }
        let images = Tensor::from_vec(images, (self.pictures.len(), 3, size, size), &Device::Cpu)?;
        Ok(Inputs { images, labels: self.labels.clone() })
    }
}

/// The name of a checkpoint on a command line.
pub(crate) fn checkpoint(text: &str) -> Result<String, String> {
    let epoch = text.strip_prefix("epoch-").is_some_and(|epoch| epoch.parse::<usize>().is_ok());
    match text {
        "last" | "best" => Ok(text.to_owned()),
        _ if epoch => Ok(text.to_owned()),
        _ => Err("expected `last`, `best` or `epoch-N`".to_owned()),
    }
}

/// A tile with nothing on it.
pub(crate) fn blank() -> Tile {
    Tile { height: 0, width: 0, pixels: Vec::new(), caption: String::new() }
}

/// A picture as the recipe shows test pictures to the network.
fn resized(mut picture: Picture, recipe: &Recipe) -> Result<Picture> {
    let transform = test_transform(recipe);
    let (size, least) = ([picture.height, picture.width], transform.least());
    ensure!(size[0] >= least[0] && size[1] >= least[1], "a picture of {size:?}, expected at least {least:?}");
    // Nothing is left to chance in a test.
    let draw = transform.draw(size, &mut Key::new(0, Purpose::Augmentation).rng());
    let normalize = Normalize::new(transform.mean, transform.std);
    let mut numbers = vec![0.0; CHANNELS * transform.size[0] * transform.size[1]];
    transform.apply(&mut picture, &draw, &normalize, &mut Scratch::default(), &mut numbers);
    Ok(normalize.restore(&numbers, transform.size))
}

/// Of some draws the one that tells most of the method: whose first blend is an even mix of the first pictures, as many as
/// the method mixes, and among those the one least like their weighted mean. Where none is even, the one nearest to it.
pub(crate) fn telling(method: &dyn Method, inputs: &Inputs, draw: u64) -> Result<Shown> {
    const DRAWS: usize = 40;
    let key = Key::new(draw, Purpose::Mixing);
    let mut best: Option<(f64, Shown)> = None;
    for step in 0..DRAWS {
        let shown = method.show(inputs, key.step(step))?;
        let score = score(&shown, inputs)?;
        if best.as_ref().is_none_or(|(least, _)| score < *least) {
            best = Some((score, shown));
        }
    }
    best.map(|(_, shown)| shown).context("no draw can be compared")
}

/// Less is better: below 0 for even mixes, above for others.
fn score(shown: &Shown, inputs: &Inputs) -> Result<f64> {
    /// Even enough: 0.3 to 0.7 of two pictures.
    const EVEN: f32 = 0.4;
    let weights = weights(shown, inputs.labels.len());
    let mixed = shown.partners.len().clamp(1, weights.len());
    let ideal = |picture| if picture < mixed { 1.0 / mixed as f32 } else { 0.0 };
    let uneven: f32 =
        weights.iter().enumerate().map(|(picture, weight)| (weight - ideal(picture)).abs()).sum();
    if uneven > EVEN {
        return Ok(f64::from(uneven));
    }
    let weights = Tensor::from_vec(weights, (inputs.labels.len(), 1, 1, 1), &Device::Cpu)?;
    let mean = inputs.images.broadcast_mul(&weights)?.sum(0)?;
    let distance = (shown.blends.get(0)? - mean)?.abs()?.mean_all()?;
    Ok(-f64::from(distance.to_scalar::<f32>()?))
}

/// What the label of each picture weighs in the first blend.
pub(crate) fn weights(shown: &Shown, pictures: usize) -> Vec<f32> {
    let mut weights = vec![0.0; pictures];
    for (partner, weight) in shown.partners.iter().zip(&shown.weights) {
        weights[partner[0] as usize] += weight;
    }
    weights
}

/// A normalised picture `[3, H, W]` as bytes.
pub(crate) fn shown_pixels(planes: &[f32], recipe: &Recipe) -> Vec<u8> {
    let count = planes.len() / 3;
    let byte = |pixel: usize, channel: usize| {
        let value =
            f64::from(planes[channel * count + pixel]) * recipe.data.std[channel] + recipe.data.mean[channel];
        (value * 255.0).round().clamp(0.0, 255.0) as u8
    };
    (0..count).flat_map(|pixel| [0, 1, 2].map(|channel| byte(pixel, channel))).collect()
}
