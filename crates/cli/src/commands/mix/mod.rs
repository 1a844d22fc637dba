//! `adautomix mix`: a picture of what a method makes of pictures.

mod all;

use std::path::PathBuf;

use adautomix_datasets::{CHANNELS, Normalize, Picture, Scratch, View, facts};
use adautomix_random::{Key, Purpose};
use adautomix_recipes::Recipe;
use adautomix_training::method::{self, Shown};
use adautomix_training::{Inputs, Method, Pictures, load, test_transform};
use anyhow::{Context, Result, bail, ensure};
use candle_core::{Device, Tensor};

use crate::picture::{self, Tile};
use crate::select::Selection;

/// Draw what a method makes of pictures: a row a blend, with the pictures that went in, their masks, and the blend. Or, with
/// --all, what each method makes of the same pictures.
#[derive(clap::Args, Debug)]
pub(crate) struct MixArgs {
    /// Pictures to mix (PNG or JPEG, brought to the network's size); test pictures of the data set if none are given.
    images: Vec<PathBuf>,
    /// A run whose networks make the masks; without it they are new, and the masks say nothing yet.
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
    /// One blend of each method, in place of all blends of one; gradients and features are the network's.
    #[arg(long)]
    all: bool,
    /// Only these methods, as `mixup,cutmix`.
    #[arg(long, value_delimiter = ',', value_name = "NAME", requires = "all")]
    methods: Vec<String>,
    /// The recipe, where there is no run.
    #[arg(long, default_value = "quick/adautomix", conflicts_with = "run")]
    recipe: String,
    #[command(flatten)]
    selection: Selection,
    /// Which checkpoint of the run: `last` or `best`.
    #[arg(long, default_value = "last", value_parser = ["last", "best"])]
    checkpoint: String,
    /// Where the data sets are.
    #[arg(long, env = "ADAUTOMIX_DATA", default_value = "datasets", value_name = "DIR")]
    data_dir: PathBuf,
    /// How many test pictures.
    #[arg(long, default_value_t = 3)]
    count: usize,
    /// The first test picture's index.
    #[arg(long, default_value_t = 0)]
    first: usize,
    /// The seed of partners and ratios.
    #[arg(long, default_value_t = 0)]
    draw: u64,
    /// How many times a picture's pixels are enlarged [default: 4; 7 with --all].
    #[arg(long)]
    scale: Option<usize>,
    /// The PNG file to write.
    #[arg(long, default_value = "mix.png", value_name = "FILE")]
    out: PathBuf,
}

/// Pictures with their names.
struct Chosen {
    pictures: Vec<Picture>,
    labels: Vec<u32>,
    names: Vec<String>,
}

/// Runs `mix`.
#[expect(clippy::print_stdout, reason = "the name of the file goes to standard output")]
pub(crate) fn run(args: &MixArgs) -> Result<()> {
    let scale = args.scale.unwrap_or(if args.all { 7 } else { 4 });
    ensure!((1..=64).contains(&scale), "--scale {scale}: expected 1 to 64");
    let (recipe, method) = network(args)?;
    let chosen = if args.images.is_empty() { from_data(args, &recipe)? } else { from_files(args, &recipe)? };
    ensure!(chosen.pictures.len() >= 2, "{} picture: expected at least 2 to mix", chosen.pictures.len());
    let inputs = normalised(&chosen, &recipe)?;
    let (tiles, columns) = if args.all {
        let sheet = all::sheet(args, &recipe, &*method, &chosen, &inputs)?;
        for (name, reason) in &sheet.left_out {
            println!("left out: {name}, {reason}");
        }
        (sheet.tiles, all::COLUMNS)
    } else {
        let shown = varied(&*method, &inputs, args.draw)?;
        let tiles = tiles(&chosen, &shown, &recipe)?;
        let columns = tiles.len() / chosen.pictures.len();
        (tiles, columns)
    };
    picture::save(&picture::grid(&tiles, columns, scale)?, &args.out)?;
    println!("{}", args.out.display());
    Ok(())
}

/// The first of some draws in which no blend has a picture twice; in a small batch most draws have. The last one if none.
fn varied(method: &dyn Method, inputs: &Inputs, draw: u64) -> Result<Shown> {
    const DRAWS: usize = 100;
    let key = Key::new(draw, Purpose::Mixing);
    let mut shown = method.show(inputs, key)?;
    for step in 1..DRAWS {
        let twice = |sample: usize| {
            let mut partners: Vec<u32> = shown.partners.iter().map(|partner| partner[sample]).collect();
            partners.sort_unstable();
            partners.windows(2).any(|pair| pair[0] == pair[1])
        };
        if !(0..inputs.labels.len()).any(twice) {
            break;
        }
        shown = method.show(inputs, key.step(step))?;
    }
    Ok(shown)
}

fn network(args: &MixArgs) -> Result<(Recipe, Box<dyn Method>)> {
    if let Some(run) = &args.run {
        let loaded = load(run, &args.checkpoint, &Device::Cpu)?;
        return Ok((loaded.recipe, loaded.method));
    }
    let recipe = args.selection.load(&args.recipe)?;
    let classes = facts(&recipe.data.name)?.classes;
    let method = method::build(&recipe, classes, 1, &Device::Cpu)?;
    Ok((recipe, method))
}

/// Test pictures from the first on; with --all, where captions tell them apart by their class, no two of a class.
fn from_data(args: &MixArgs, recipe: &Recipe) -> Result<Chosen> {
    let source = Pictures::open(recipe, &args.data_dir)?.test;
    let end = args.first + args.count;
    ensure!(end <= source.len(), "pictures {} to {end}: the data set has {}", args.first, source.len());
    let mut chosen = Chosen { pictures: Vec::new(), labels: Vec::new(), names: Vec::new() };
    for index in args.first..source.len() {
        if chosen.pictures.len() == args.count {
            break;
        }
        let mut picture = Picture::default();
        let label = source.read(index, &mut picture)?;
        if args.all && chosen.labels.contains(&(label as u32)) {
            continue;
        }
        chosen.pictures.push(resized(picture, recipe)?);
        chosen.labels.push(label as u32);
        chosen.names.push(source.class_names()[label].clone());
    }
    Ok(chosen)
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

fn from_files(args: &MixArgs, recipe: &Recipe) -> Result<Chosen> {
    let size = recipe.data.input_size as u32;
    let read = |path: &PathBuf| -> Result<Picture> {
        let image = image::open(path).with_context(|| format!("{}", path.display()))?;
        let image = image.resize_to_fill(size, size, image::imageops::FilterType::CatmullRom).to_rgb8();
        Ok(Picture { height: size as usize, width: size as usize, pixels: image.into_raw() })
    };
    let stem = |path: &PathBuf| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let classes = facts(&recipe.data.name)?.classes as u32;
    Ok(Chosen {
        pictures: args.images.iter().map(read).collect::<Result<_>>()?,
        // Which class they are of isn't known; weights of labels can be told apart as long as the labels can.
        labels: (0..args.images.len() as u32).map(|image| image % classes).collect(),
        names: args.images.iter().map(stem).collect(),
    })
}

fn normalised(chosen: &Chosen, recipe: &Recipe) -> Result<Inputs> {
    let [mean, std] = [recipe.data.mean, recipe.data.std].map(|values| values.map(|value| value as f32));
    let (normalize, size) = (Normalize::new(mean, std), recipe.data.input_size);
    let mut images = vec![0.0; chosen.pictures.len() * 3 * size * size];
    for (picture, out) in chosen.pictures.iter().zip(images.chunks_exact_mut(3 * size * size)) {
        normalize.apply(picture, View::whole([size, size]), out);
    }
    let images = Tensor::from_vec(images, (chosen.pictures.len(), 3, size, size), &Device::Cpu)?;
    Ok(Inputs { images, labels: chosen.labels.clone() })
}

/// Row by row: the pictures of a blend with their ratios, their masks, the blend.
fn tiles(chosen: &Chosen, shown: &Shown, recipe: &Recipe) -> Result<Vec<Tile>> {
    let (size, n) = (recipe.data.input_size, shown.partners.len());
    let blends = shown.blends.flatten_all()?.to_vec1::<f32>()?;
    let masks = shown.masks.as_ref().map(|masks| masks.flatten_all()?.to_vec1::<f32>()).transpose()?;
    let mut tiles = Vec::new();
    for sample in 0..chosen.pictures.len() {
        for image in 0..n {
            let partner = shown.partners[image][sample] as usize;
            let caption = format!("{:.2} {}", shown.weights[sample * n + image], chosen.names[partner]);
            tiles.push(Tile {
                height: size,
                width: size,
                pixels: chosen.pictures[partner].pixels.clone(),
                caption,
            });
        }
        for image in 0..n {
            let Some(masks) = &masks else { break };
            let mask = &masks[(sample * n + image) * size * size..][..size * size];
            let pixels = mask.iter().flat_map(|value| [(value * 255.0).round() as u8; 3]).collect();
            let mean = mask.iter().sum::<f32>() / mask.len() as f32;
            tiles.push(Tile { height: size, width: size, pixels, caption: format!("mask {mean:.2}") });
        }
        let pixels = shown_pixels(&blends[sample * 3 * size * size..][..3 * size * size], recipe);
        tiles.push(Tile { height: size, width: size, pixels, caption: "blend".into() });
    }
    if tiles.is_empty() {
        bail!("method `{}` has nothing to show", recipe.method.name());
    }
    Ok(tiles)
}

/// A normalised picture `[3, H, W]` as bytes.
fn shown_pixels(planes: &[f32], recipe: &Recipe) -> Vec<u8> {
    let count = planes.len() / 3;
    let byte = |pixel: usize, channel: usize| {
        let value =
            f64::from(planes[channel * count + pixel]) * recipe.data.std[channel] + recipe.data.mean[channel];
        (value * 255.0).round().clamp(0.0, 255.0) as u8
    };
    (0..count).flat_map(|pixel| [0, 1, 2].map(|channel| byte(pixel, channel))).collect()
}
