//! `adautomix cam`: where the networks of runs look.

use std::io::Write;
use std::path::{Path, PathBuf};

use adautomix_backbones::{Classifier, Head};
use adautomix_evaluation::{grad_cam, probabilities};
use adautomix_ops::{Interpolation, interpolate};
use adautomix_random::{Key, Purpose};
use adautomix_training::{Loaded, Pictures, heads, load};
use anyhow::{Context, Result, ensure};
use candle_core::{Device, Tensor};
use serde::Serialize;
use serde_json::json;

use crate::chosen::{Chosen, blank, checkpoint, shown_pixels, telling, weights};
use crate::colour::heat;
use crate::picture::{self, Tile};

/// Draw where the networks of runs look: a row a picture, with a heat map (Grad-CAM) for each class.
///
/// With --blends the pictures are what each run's method makes of the same test pictures.
#[derive(clap::Args, Debug)]
pub(crate) struct CamArgs {
    /// The runs' folders.
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// Which checkpoint: `last`, `best` or, where it is kept, `epoch-N`.
    #[arg(long, default_value = "last", value_parser = checkpoint)]
    checkpoint: String,
    /// Which network: `student` or `teacher` [default: the teacher, where there is one].
    #[arg(long, value_parser = ["student", "teacher"])]
    network: Option<String>,
    /// Which head: `one` or `mix` [default: the one that learned such pictures, where there are two].
    #[arg(long, value_parser = ["one", "mix"])]
    head: Option<String>,
    /// What speaks for which classes: those of the `labels`, the first two `guesses`, or a class by its name.
    #[arg(long, default_value = "labels", value_name = "CLASSES")]
    of: String,
    /// Blends in place of test pictures.
    #[arg(long)]
    blends: bool,
    /// How many pictures, or blends, of each run.
    #[arg(long, default_value_t = 4)]
    count: usize,
    /// The first test picture's index.
    #[arg(long, default_value_t = 0)]
    first: usize,
    /// The seed of partners and ratios.
    #[arg(long, default_value_t = 0)]
    draw: u64,
    /// Where the data sets are.
    #[arg(long, env = "ADAUTOMIX_DATA", default_value = "datasets", value_name = "DIR")]
    data_dir: PathBuf,
    /// The PNG file to write.
    #[arg(long, default_value = "cam.png", value_name = "FILE")]
    out: PathBuf,
    /// How many times a picture's pixels are enlarged [default: to some 160].
    #[arg(long)]
    scale: Option<usize>,
    /// Print JSON: classes, probabilities and maps.
    #[arg(long)]
    json: bool,
}

/// A picture and where a network looks at it.
#[derive(Serialize)]
struct Row {
    run: String,
    recipe: String,
    method: String,
    steps: usize,
    network: &'static str,
    head: &'static str,
    stage: usize,
    shown: Vec<Share>,
    maps: Vec<Map>,
    #[serde(skip)]
    tiles: Vec<Tile>,
}

/// How much of a picture is of a class.
#[derive(Serialize)]
struct Share {
    class: String,
    weight: f32,
    #[serde(skip)]
    index: u32,
}

/// What speaks for a class.
#[derive(Serialize)]
struct Map {
    class: String,
    probability: f64,
    map: Vec<Vec<f64>>,
}

/// Runs `cam`.
pub(crate) fn run(args: &CamArgs) -> Result<()> {
    ensure!(args.count > 0, "--count 0: expected at least 1");
    ensure!((1..=64).contains(&args.scale.unwrap_or(1)), "--scale: expected 1 to 64");
    let (mut rows, mut size) = (Vec::new(), 1);
    for run in &args.runs {
        let loaded = load(run, &args.checkpoint, &Device::Cpu)?;
        size = size.max(loaded.recipe.data.input_size);
        let pictures = Pictures::open(&loaded.recipe, &args.data_dir)?;
        let classes = pictures.test.class_names();
        for number in 0..args.count {
            rows.push(row(args, run, &loaded, classes, number).with_context(|| run.display().to_string())?);
        }
    }
    let columns = rows.iter().map(|row| row.tiles.len()).max().unwrap_or(1);
    let mut tiles = Vec::new();
    for row in &mut rows {
        row.tiles.resize_with(columns, blank);
        tiles.append(&mut row.tiles);
    }
    let scale = args.scale.unwrap_or((160 / size).max(1));
    let grids = [picture::grid(&tiles, columns, scale)?, picture::grid(&[legend(size)], 1, scale)?];
    picture::save(&picture::stacked(&grids), &args.out)?;
    let mut out = std::io::stdout().lock();
    match args.json {
        true => writeln!(out, "{}", json!({ "picture": args.out.display().to_string(), "rows": rows }))?,
        false => writeln!(out, "{}", args.out.display())?,
    }
    Ok(())
}

/// What a run's network sees in its `number`th picture.
fn row(args: &CamArgs, run: &Path, loaded: &Loaded, classes: &[String], number: usize) -> Result<Row> {
    let Loaded { recipe, method, steps, .. } = loaded;
    let networks = method.evaluated();
    let network = match &args.network {
        None => networks.last(),
        Some(name) => networks.iter().find(|(network, _)| network == name),
    };
    let name = args.network.as_deref().unwrap_or("network");
    let &(network, classifier) =
        network.with_context(|| format!("method `{}` has no {name}", recipe.method.name()))?;
    let (head_name, head) = head(args, classifier)?;
    let (image, shown) = match args.blends {
        true => blend(args, loaded, classes, number)?,
        false => plain(args, loaded, classes, number)?,
    };
    let size = recipe.data.input_size;
    let pixels = shown_pixels(&image.flatten_all()?.to_vec1::<f32>()?, recipe);
    let lines = shown.iter().map(|share| match args.blends {
        true => format!("{:.2} {}", share.weight, share.class),
        false => share.class.clone(),
    });
    let caption =
        std::iter::once(recipe.method.name().to_owned()).chain(lines).collect::<Vec<_>>().join("\n");
    let mut tiles = vec![Tile { height: size, width: size, pixels: pixels.clone(), caption }];
    let probabilities = probabilities(classifier, head, &image)?.swap_remove(0);
    let (mut maps, mut stage) = (Vec::new(), 0);
    for class in asked(&args.of, &shown, &probabilities, classes)? {
        let activation = grad_cam(classifier, head, &image, &[class])?;
        let enlarged = interpolate(&activation.maps.unsqueeze(1)?, Interpolation::Bilinear, [size; 2])?;
        let (probability, class) = (probabilities[class as usize], classes[class as usize].clone());
        let pixels = laid_over(&enlarged.flatten_all()?.to_vec1::<f32>()?, &pixels);
        tiles.push(Tile {
            height: size,
            width: size,
            pixels,
            caption: format!("{class}\np = {probability:.2}"),
        });
        let round = |value: f32| (f64::from(value) * 1e4).round() / 1e4;
        let map = activation.maps.get(0)?.to_vec2::<f32>()?;
        let map = map.into_iter().map(|row| row.into_iter().map(round).collect()).collect();
        maps.push(Map { class, probability: (probability * 1e6).round() / 1e6, map });
        stage = activation.stage;
    }
    Ok(Row {
        run: run.display().to_string(),
        recipe: recipe.name.clone(),
        method: recipe.method.name().to_owned(),
        steps: *steps,
        network,
        head: head_name,
        stage,
        shown,
        maps,
        tiles,
    })
}

/// The head that is asked, and its name.
fn head(args: &CamArgs, classifier: &Classifier) -> Result<(&'static str, Head)> {
    let wanted = args.head.as_deref().unwrap_or(if args.blends { "mix" } else { "one" });
    let named = heads(classifier).iter().map(|&(_, head)| match head {
        Head::OneHot => ("one", head),
        Head::Mixup => ("mix", head),
    });
    let named: Vec<_> = named.collect();
    let found = named.iter().find(|(name, _)| *name == wanted);
    // Where there is one head only, it learned all pictures.
    let found = found.or(named.first().filter(|_| args.head.is_none()));
    found.copied().with_context(|| format!("the network has no head `{wanted}`"))
}

/// A test picture, `[1, 3, H, W]`.
fn plain(args: &CamArgs, loaded: &Loaded, classes: &[String], number: usize) -> Result<(Tensor, Vec<Share>)> {
    let recipe = &loaded.recipe;
    let chosen = Chosen::from_data(recipe, &args.data_dir, args.first + number, 1, false)?;
    let index = chosen.labels[0];
    let share = Share { class: classes[index as usize].clone(), weight: 1.0, index };
    Ok((chosen.inputs(recipe)?.images, vec![share]))
}

/// What the method makes of test pictures, `[1, 3, H, W]`: of as many as it mixes, evenly, so that all methods are seen at work on the
/// same ones.
fn blend(args: &CamArgs, loaded: &Loaded, classes: &[String], number: usize) -> Result<(Tensor, Vec<Share>)> {
    /// As many as methods mix.
    const PICTURES: usize = 3;
    let Loaded { recipe, method, .. } = loaded;
    let choose = |count| {
        let chosen = Chosen::from_data(recipe, &args.data_dir, args.first + PICTURES * number, count, false)?;
        chosen.inputs(recipe)
    };
    let mut inputs = choose(PICTURES)?;
    let mixed = method.show(&inputs, Key::new(args.draw, Purpose::Mixing))?.partners.len();
    if mixed > PICTURES {
        inputs = choose(mixed)?;
    }
    let shown = telling(&**method, &inputs, args.draw)?;
    let mut shares: Vec<Share> = Vec::new();
    for (weight, &index) in weights(&shown, inputs.labels.len()).into_iter().zip(&inputs.labels) {
        match shares.iter_mut().find(|share| share.index == index) {
            Some(share) => share.weight += weight,
            None => shares.push(Share { class: classes[index as usize].clone(), weight, index }),
        }
    }
    // What rounds to 0.00 isn't listed.
    shares.retain(|share| share.weight >= 0.005);
    Ok((shown.blends.narrow(0, 0, 1)?.contiguous()?, shares))
}

/// The classes that `of` asks for.
fn asked(of: &str, shown: &[Share], probabilities: &[f64], classes: &[String]) -> Result<Vec<u32>> {
    match of {
        "labels" => Ok(shown.iter().map(|share| share.index).collect()),
        "guesses" => {
            let mut order: Vec<u32> = (0..probabilities.len() as u32).collect();
            order.sort_by(|&one, &other| {
                probabilities[other as usize].total_cmp(&probabilities[one as usize])
            });
            order.truncate(2);
            Ok(order)
        }
        name => {
            let index = classes.iter().position(|class| class == name);
            let index = index.with_context(|| {
                format!("--of `{name}`: expected `labels`, `guesses` or one of {}", classes.join(", "))
            })?;
            Ok(vec![index as u32])
        }
    }
}

/// A heat map over the picture in grey.
fn laid_over(map: &[f32], pixels: &[u8]) -> Vec<u8> {
    /// The picture's share, so that both can be made out.
    const PICTURE: f64 = 0.4;
    let over = |(value, rgb): (&f32, &[u8])| {
        let [r, g, b] = [rgb[0], rgb[1], rgb[2]].map(f64::from);
        let grey = 0.299 * r + 0.587 * g + 0.114 * b;
        heat(f64::from(*value)).map(|c| (PICTURE * grey + (1.0 - PICTURE) * f64::from(c)).round() as u8)
    };
    map.iter().zip(pixels.chunks_exact(3)).flat_map(over).collect()
}

/// What the colours mean.
fn legend(size: usize) -> Tile {
    let height = (size / 8).max(1);
    let row = (0..size).flat_map(|x| heat(x as f64 / (size - 1).max(1) as f64));
    let pixels = row.collect::<Vec<u8>>().repeat(height);
    Tile { height, width: size, pixels, caption: "0 to the most of each map".to_owned() }
}
