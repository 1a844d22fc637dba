//! `adautomix diversity`: how the blends of runs change from epoch to epoch.

use std::path::{Path, PathBuf};

use adautomix_evaluation::{Diversity, Space, blend_diversity, mask_diversity};
use adautomix_random::{Key, Purpose};
use adautomix_recipes::Recipe;
use adautomix_training::method::Shown;
use adautomix_training::{checkpoint, load};
use anyhow::{Result, ensure};
use candle_core::{Device, Tensor};
use serde::Serialize;
use serde_json::json;

use crate::chosen::{Chosen, blank, shown_pixels};
use crate::picture::{self, Tile};

/// Blend the same pictures by each checkpoint that runs have kept (`train --keep-every N`): a row a blend, from epoch to epoch,
/// and how far the blends of a run differ.
#[derive(clap::Args, Debug)]
pub(crate) struct DiversityArgs {
    /// The runs' folders.
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// Only after these epochs, separated by commas [default: all that are kept].
    #[arg(long, value_delimiter = ',', value_name = "EPOCHS")]
    epochs: Vec<usize>,
    /// How many test pictures are blended for the figure.
    #[arg(long, default_value_t = 16)]
    count: usize,
    /// How many times partners and ratios are drawn for them.
    #[arg(long, default_value_t = 8)]
    draws: usize,
    /// How many blends of each run are shown.
    #[arg(long, default_value_t = 1)]
    rows: usize,
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
    #[arg(long, default_value = "diversity.png", value_name = "FILE")]
    out: PathBuf,
    /// How many times a picture's pixels are enlarged [default: to some 128].
    #[arg(long)]
    scale: Option<usize>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What became of a run's blends.
#[derive(Serialize)]
struct Report {
    run: String,
    recipe: String,
    method: String,
    epochs: Vec<usize>,
    blends: Diversity,
    masks: Option<Diversity>,
}

/// The blends of a run by each of its checkpoints.
struct Blends {
    recipe: Recipe,
    chosen: Chosen,
    epochs: Vec<usize>,
    /// For each checkpoint what it made, draw by draw.
    shown: Vec<Vec<Shown>>,
}

/// Runs `diversity`.
#[expect(clippy::print_stdout, reason = "the result goes to standard output")]
pub(crate) fn run(args: &DiversityArgs) -> Result<()> {
    ensure!(args.count >= 2, "--count {}: expected at least 2 to mix", args.count);
    ensure!(args.draws >= 1 && args.rows >= 1, "--draws and --rows: expected at least 1");
    ensure!((1..=64).contains(&args.scale.unwrap_or(1)), "--scale: expected 1 to 64");
    let (mut reports, mut rows, mut size) = (Vec::new(), Vec::new(), 1);
    for run in &args.runs {
        let blends = blends(args, run)?;
        reports.push(report(run, &blends)?);
        size = size.max(blends.recipe.data.input_size);
        for (draw, sample) in most_even(&blends.shown[0], args.rows) {
            rows.push(row(&blends, draw, sample)?);
        }
    }
    // Pictures of all runs in as many columns, so that epochs stand below epochs.
    let partners = rows.iter().map(|(partners, _)| partners.len()).max().unwrap_or(0);
    let epochs = rows.iter().map(|(_, epochs)| epochs.len()).max().unwrap_or(0);
    let mut tiles = Vec::new();
    for (mut left, mut right) in rows {
        left.resize_with(partners, blank);
        right.resize_with(epochs, blank);
        tiles.append(&mut left);
        tiles.append(&mut right);
    }
    let scale = args.scale.unwrap_or((128 / size).max(1));
    picture::save(&picture::grid(&tiles, partners + epochs, scale)?, &args.out)?;
    if args.json {
        let out = args.out.display().to_string();
        println!(
            "{:#}",
            json!({ "picture": out, "pictures": args.count, "draws": args.draws, "runs": reports })
        );
        return Ok(());
    }
    for Report { run, epochs, blends, masks, .. } in &reports {
        let masks = masks.as_ref().map(|masks| format!(", masks by {:.4}", masks.mean)).unwrap_or_default();
        let count = epochs.len();
        println!("{run}: blends differ by {:.4}{masks} ({count} checkpoints)", blends.mean);
    }
    println!("{}", args.out.display());
    Ok(())
}

/// Blends the same pictures by each checkpoint of a run, with the same draws.
fn blends(args: &DiversityArgs, run: &Path) -> Result<Blends> {
    let kept = checkpoint::kept(run)?;
    let missing = args.epochs.iter().find(|epoch| !kept.contains(epoch));
    if let Some(epoch) = missing {
        anyhow::bail!("{}: no checkpoint of epoch {epoch}; it has kept {kept:?}", run.display());
    }
    let epochs = if args.epochs.is_empty() { kept } else { args.epochs.clone() };
    ensure!(
        epochs.len() >= 2,
        "{}: {} checkpoints are kept, expected at least 2; train with --keep-every N",
        run.display(),
        epochs.len()
    );
    let mut all: Option<Blends> = None;
    for epoch in &epochs {
        let loaded = load(run, &format!("epoch-{epoch}"), &Device::Cpu)?;
        let blends = match &mut all {
            Some(blends) => blends,
            None => {
                let chosen =
                    Chosen::from_data(&loaded.recipe, &args.data_dir, args.first, args.count, false)?;
                let (recipe, epochs) = (loaded.recipe.clone(), epochs.clone());
                all.insert(Blends { recipe, chosen, epochs, shown: Vec::new() })
            }
        };
        let inputs = blends.chosen.inputs(&loaded.recipe)?;
        let key = Key::new(args.draw, Purpose::Mixing);
        let shown = (0..args.draws).map(|draw| loaded.method.show(&inputs, key.step(draw)));
        blends.shown.push(shown.collect::<Result<_, _>>()?);
    }
    all.ok_or_else(|| anyhow::anyhow!("{}: no checkpoint", run.display()))
}

fn report(run: &Path, blends: &Blends) -> Result<Report> {
    let [mean, std] = [blends.recipe.data.mean, blends.recipe.data.std];
    // A tensor for each checkpoint, all draws in it.
    let pixels = blends
        .shown
        .iter()
        .map(|shown| Tensor::cat(&shown.iter().map(|shown| &shown.blends).collect::<Vec<_>>(), 0));
    let pixels = pixels.collect::<candle_core::Result<Vec<_>>>()?;
    // Draws may mix other numbers of pictures, so masks are compared draw by draw.
    let draws = blends.shown[0].len();
    let masks = |draw: usize| -> Option<Vec<Tensor>> {
        blends.shown.iter().map(|shown| shown[draw].masks.clone()).collect()
    };
    let masks: Option<Vec<_>> = (0..draws).map(masks).collect();
    let masks =
        masks.map(|draws| draws.iter().map(|draw| mask_diversity(draw)).collect::<Result<Vec<_>, _>>());
    Ok(Report {
        run: run.display().to_string(),
        recipe: blends.recipe.name.clone(),
        method: blends.recipe.method.name().to_owned(),
        epochs: blends.epochs.clone(),
        blends: blend_diversity(&pixels, &Space::Normalized { mean, std })?,
        masks: masks.transpose()?.map(|draws| averaged(&draws)),
    })
}

/// The mean over draws of as many blends each.
fn averaged(draws: &[Diversity]) -> Diversity {
    let mean = |of: &dyn Fn(&Diversity) -> f64| draws.iter().map(of).sum::<f64>() / draws.len() as f64;
    let successive = (0..draws[0].successive.len()).map(|at| mean(&|draw: &Diversity| draw.successive[at]));
    Diversity { mean: mean(&|draw| draw.mean), successive: successive.collect() }
}

/// The blends that tell most, as draw and sample: those that mix different pictures, and of these the most even.
fn most_even(draws: &[Shown], count: usize) -> Vec<(usize, usize)> {
    let mut scored = Vec::new();
    for (draw, shown) in draws.iter().enumerate() {
        let n = shown.partners.len();
        for sample in 0..shown.weights.len() / n {
            let mut partners: Vec<u32> = shown.partners.iter().map(|partner| partner[sample]).collect();
            partners.sort_unstable();
            partners.dedup();
            let weights = &shown.weights[sample * n..][..n];
            let uneven: f32 = weights.iter().map(|weight| (weight - 1.0 / n as f32).abs()).sum();
            scored.push((n - partners.len(), uneven, draw, sample));
        }
    }
    scored.sort_by(|one, other| one.0.cmp(&other.0).then(one.1.total_cmp(&other.1)));
    scored.into_iter().take(count).map(|(.., draw, sample)| (draw, sample)).collect()
}

/// The pictures of a blend, and what each checkpoint makes of them.
fn row(blends: &Blends, draw: usize, sample: usize) -> Result<(Vec<Tile>, Vec<Tile>)> {
    let (recipe, chosen) = (&blends.recipe, &blends.chosen);
    let size = recipe.data.input_size;
    let tile = |pixels, caption| Tile { height: size, width: size, pixels, caption };
    let first = &blends.shown[0][draw];
    let n = first.partners.len();
    let pictures = first.partners.iter().zip(&first.weights[sample * n..]).map(|(partner, weight)| {
        let picture = partner[sample] as usize;
        tile(chosen.pictures[picture].pixels.clone(), format!("{weight:.2} {}", chosen.names[picture]))
    });
    let made = blends.shown.iter().zip(&blends.epochs).map(|(shown, epoch)| {
        let blend = shown[draw].blends.get(sample)?.flatten_all()?.to_vec1::<f32>()?;
        Ok(tile(shown_pixels(&blend, recipe), format!("{}\nepoch {epoch}", recipe.method.name())))
    });
    Ok((pictures.collect(), made.collect::<Result<_>>()?))
}
