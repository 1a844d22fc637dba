//! `adautomix data`: what data sets there are, fetching them, checking them, looking at them.

use crate::picture::{self, Tile};
use adautomix_datasets::{
    Facts, Format, Loader, LoaderOptions, Picture, Source, Split, Transform, facts, locate, names, open,
};
use anyhow::{Result, ensure};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

/// List, fetch, check and look at data sets.
#[derive(Debug, clap::Args)]
pub(crate) struct DataArgs {
    /// The folder of the data sets.
    #[arg(long, env = "ADAUTOMIX_DATA", default_value = "datasets", value_name = "DIR", global = true)]
    data_dir: PathBuf,
    #[command(subcommand)]
    command: DataCommand,
}

#[derive(Debug, clap::Subcommand)]
enum DataCommand {
    /// Every data set: how large it is, and whether it is here.
    List,
    /// Download a data set and compare its digest.
    Get {
        /// The data set, as `list` calls it.
        name: String,
    },
    /// Read every picture of a data set, and say how many of each class there are.
    Check {
        /// The data set, as `list` calls it.
        name: String,
    },
    /// Write a grid of pictures with the names of their classes.
    Preview {
        /// The data set, as `list` calls it.
        name: String,
        /// The PNG file to write.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// How many pictures.
        #[arg(long, default_value_t = 40)]
        count: usize,
        /// Which pictures: `train` or `test`.
        #[arg(long, default_value = "train", value_parser = split)]
        split: Split,
        /// The seed that picks them.
        #[arg(long, default_value_t = 0)]
        seed: u64,
    },
}

/// Runs a `data` command.
pub(crate) fn run(args: DataArgs) -> Result<()> {
    let folder = &args.data_dir;
    match args.command {
        DataCommand::List => list(folder),
        DataCommand::Get { name } => get(&name, folder),
        DataCommand::Check { name } => check(&name, folder),
        DataCommand::Preview { name, out, count, split, seed } => {
            preview(&name, folder, split, count, seed, &out)
        }
    }
}

fn split(text: &str) -> Result<Split, String> {
    match text {
        "train" => Ok(Split::Train),
        "test" => Ok(Split::Test),
        _ => Err("expected `train` or `test`".to_owned()),
    }
}

fn list(folder: &Path) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{:<11}{:>7}{:>8}{:>9}  {:<9}here", "name", "train", "test", "classes", "size")?;
    for name in names() {
        let Facts { train, test, classes, size: [height, width], .. } = facts(name)?;
        let here = match (locate(name, folder, Split::Train), locate(name, folder, Split::Test)) {
            (Ok(train), Ok(_)) => whereabouts(train.format, &train.path),
            (Ok(train), Err(_)) => format!("{}, train only", whereabouts(train.format, &train.path)),
            (Err(_), Ok(test)) => format!("{}, test only", whereabouts(test.format, &test.path)),
            (Err(_), Err(_)) => format!("no: adautomix data get {name}"),
        };
        let size = format!("{width}x{height}");
        writeln!(out, "{name:<11}{train:>7}{test:>8}{classes:>9}  {size:<9}{here}")?;
    }
    Ok(())
}

fn whereabouts(format: Format, path: &Path) -> String {
    match format {
        Format::Drawn => format.name().to_owned(),
        _ => format!("{}, {}", format.name(), path.display()),
    }
}

fn get(name: &str, folder: &Path) -> Result<()> {
    let Some(archive) = facts(name)?.archive else {
        writeln!(std::io::stdout(), "{name} needs no download: it is drawn by the program")?;
        return Ok(());
    };
    let terminal = std::io::stderr().is_terminal();
    let mut shown = 0;
    let path = archive.download(folder, &mut |received, total| {
        let megabytes = received >> 20;
        if terminal && megabytes > shown {
            shown = megabytes;
            let total = total.map_or_else(String::new, |total| format!(" of {}", total >> 20));
            // A terminal that went away is no reason to stop a download.
            let _ = write!(std::io::stderr(), "\r{}: {megabytes}{total} MB", archive.file);
        }
    });
    if shown > 0 {
        let _ = writeln!(std::io::stderr());
    }
    writeln!(std::io::stdout(), "{name}: {}, MD5 {} as published", path?.display(), archive.md5)?;
    Ok(())
}

fn check(name: &str, folder: &Path) -> Result<()> {
    let facts = facts(name)?;
    let mut out = std::io::stdout().lock();
    for split in [Split::Train, Split::Test] {
        let location = locate(name, folder, split)?;
        if let (Format::BinaryArchive, Some(archive)) = (location.format, facts.archive) {
            archive.verify(&location.path)?;
        }
        let source = open(name, folder, split)?;
        let survey = Survey::of(&*source)?;
        let (least, most) = (survey.counts.iter().min(), survey.counts.iter().max());
        let (least, most) = (least.copied().unwrap_or(0), most.copied().unwrap_or(0));
        ensure!(least > 0, "{name} has a class without a {} picture", split.name());
        let per_class = if least == most { least.to_string() } else { format!("{least} to {most}") };
        writeln!(out, "{name} {}: {}", split.name(), whereabouts(location.format, &location.path))?;
        writeln!(out, "  pictures   {}, all decoded", source.len())?;
        writeln!(out, "  classes    {}, {per_class} pictures each", source.class_names().len())?;
        writeln!(out, "  mean       {}  recipes use {}", numbers(survey.mean), numbers(facts.mean))?;
        writeln!(out, "  deviation  {}  recipes use {}", numbers(survey.std), numbers(facts.std))?;
    }
    Ok(())
}

fn numbers(values: [f32; 3]) -> String {
    values.map(|value| format!("{value:.4}")).join(" ")
}

/// What is found by reading every picture of a source.
struct Survey {
    /// Pictures by class.
    counts: Vec<usize>,
    /// Mean by channel, for values between 0 and 1.
    mean: [f32; 3],
    /// Standard deviation by channel over all pixels, likewise.
    std: [f32; 3],
}

impl Survey {
    fn of(source: &dyn Source) -> Result<Self> {
        let mut counts = vec![0; source.class_names().len()];
        // Whole numbers, so that the sums are exact: 255² · 2⁴⁰ pixels still fit.
        let (mut sums, mut squares, mut pixels) = ([0u64; 3], [0u64; 3], 0u64);
        let mut picture = Picture::default();
        for index in 0..source.len() {
            counts[source.read(index, &mut picture)?] += 1;
            for pixel in picture.pixels.chunks_exact(3) {
                for (channel, &value) in pixel.iter().enumerate() {
                    sums[channel] += u64::from(value);
                    squares[channel] += u64::from(value) * u64::from(value);
                }
            }
            pixels += (picture.pixels.len() / 3) as u64;
        }
        let share = |sum: u64, one: f64| sum as f64 / one / pixels as f64;
        let mean: [f64; 3] = std::array::from_fn(|c| share(sums[c], 255.));
        let std = std::array::from_fn(|c| (share(squares[c], 255. * 255.) - mean[c] * mean[c]).sqrt() as f32);
        Ok(Self { counts, mean: mean.map(|mean| mean as f32), std })
    }
}

fn preview(name: &str, folder: &Path, split: Split, count: usize, seed: u64, out: &Path) -> Result<()> {
    ensure!(count > 0, "--count is 0, expected at least 1");
    let source = open(name, folder, split)?;
    let Facts { size, mean, std, .. } = *facts(name)?;
    let transform = Transform::evaluation(size, mean, std);
    let loader = Loader::new(source.clone(), transform, LoaderOptions::training(1, seed))?;
    let mut tiles = Vec::new();
    for index in loader.order(0).into_iter().take(count) {
        let mut picture = Picture::default();
        let label = source.read(index, &mut picture)?;
        let caption = source.class_names()[label].clone();
        let Picture { height, width, pixels } = picture;
        tiles.push(Tile { height, width, pixels, caption });
    }
    // Small pictures are enlarged, so that a caption of 16 characters fits below them.
    let longest = tiles.iter().map(|tile| tile.height.max(tile.width)).max().unwrap_or(1);
    let scale = (96 / longest.max(1)).max(1);
    let columns = tiles.len().isqrt().max(8);
    picture::save(&picture::grid(&tiles, columns, scale)?, out)?;
    writeln!(std::io::stdout(), "{} {} pictures of {name}: {}", tiles.len(), split.name(), out.display())?;
    Ok(())
}
