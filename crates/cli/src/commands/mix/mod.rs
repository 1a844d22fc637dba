//! `adautomix mix`: a picture of what a method makes of pictures.

mod all;

use std::path::PathBuf;

use adautomix_random::{Key, Purpose};
use adautomix_recipes::Recipe;
use adautomix_training::method::{self, Shown};
use adautomix_training::{Inputs, Loaded, Method, Pictures, classes, load};
use anyhow::{Result, bail, ensure};
use candle_core::Device;

use crate::chosen::{Chosen, checkpoint, shown_pixels};
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
    /// Which checkpoint of the run: `last`, `best` or, where it is kept, `epoch-N`.
    #[arg(long, default_value = "last", value_parser = checkpoint)]
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

/// Runs `mix`.
#[expect(clippy::print_stdout, reason = "the name of the file goes to standard output")]
pub(crate) fn run(args: &MixArgs) -> Result<()> {
    let scale = args.scale.unwrap_or(if args.all { 7 } else { 4 });
    ensure!((1..=64).contains(&scale), "--scale {scale}: expected 1 to 64");
    let base = network(args)?;
    let Loaded { recipe, method, .. } = &base;
    let chosen = match args.images.is_empty() {
        true => Chosen::from_data(recipe, &args.data_dir, args.first, args.count, args.all)?,
        false => Chosen::from_files(recipe, &args.images, base.classes)?,
    };
    ensure!(chosen.pictures.len() >= 2, "{} picture: expected at least 2 to mix", chosen.pictures.len());
    let inputs = chosen.inputs(recipe)?;
    let (tiles, columns) = if args.all {
        let sheet = all::sheet(args, &base, &chosen, &inputs)?;
        for (name, reason) in &sheet.left_out {
            println!("left out: {name}, {reason}");
        }
        (sheet.tiles, all::COLUMNS)
    } else {
        let shown = varied(&**method, &inputs, args.draw)?;
        let tiles = tiles(&chosen, &shown, recipe)?;
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

/// The networks of the run, or new ones of the recipe.
fn network(args: &MixArgs) -> Result<Loaded> {
    if let Some(run) = &args.run {
        return Ok(load(run, &args.checkpoint, &Device::Cpu)?);
    }
    let recipe = args.selection.load(&args.recipe)?;
    let classes = match args.images.is_empty() {
        true => Pictures::open(&recipe, &args.data_dir)?.test.class_names().len(),
        false => classes(&recipe)?,
    };
    let method = method::build(&recipe, classes, 1, &Device::Cpu)?;
    Ok(Loaded { recipe, classes, method, steps: 0 })
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
