//! `adautomix data`: what data sets there are, fetching them, checking them, looking at them.

use crate::picture::{self, Tile};
use adautomix_datasets::{
    Archive, Facts, Format, Picture, Region, Repository, Source, Split, Subset, facts, locate, names, open,
    unpack,
};
use adautomix_random::{Key, Purpose};
use anyhow::{Context, Result, bail, ensure};
use rand::seq::SliceRandom;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
        /// Only these classes, by name, separated by commas.
        #[arg(long, value_delimiter = ',', value_name = "CLASSES")]
        classes: Vec<String>,
    },
}

/// Runs a `data` command.
pub(crate) fn run(args: DataArgs) -> Result<()> {
    let folder = &args.data_dir;
    match args.command {
        DataCommand::List => list(folder),
        DataCommand::Get { name } => get(&name, folder),
        DataCommand::Check { name } => check(&name, folder),
        DataCommand::Preview { name, out, count, split, seed, classes } => {
            let source = open(&name, folder, split)?;
            let source = match &classes[..] {
                [] => source,
                classes => Arc::new(Subset::classes(source, classes)?),
            };
            preview(&*source, split, count, seed, &out)
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
    writeln!(out, "{:<13}{:>9}{:>8}{:>9}  {:<9}here", "name", "train", "test", "classes", "size")?;
    let count = |number: usize| if number == 0 { "-".to_owned() } else { number.to_string() };
    for name in names() {
        let Facts { train, test, classes, size, .. } = *facts(name)?;
        let here = match (locate(name, folder, Split::Train), locate(name, folder, Split::Test)) {
            (Ok(train), Ok(_)) => whereabouts(train.format, &train.path),
            (Ok(train), Err(_)) => format!("{}, train only", whereabouts(train.format, &train.path)),
            (Err(_), Ok(test)) if train == 0 => whereabouts(test.format, &test.path),
            (Err(_), Ok(test)) => format!("{}, test only", whereabouts(test.format, &test.path)),
            (Err(_), Err(_)) if classes == 0 => {
                format!("no: put your pictures into {}", folder.join(name).display())
            }
            (Err(_), Err(_)) => format!("no: adautomix data get {name}"),
        };
        let size = size.map_or_else(|| "any".to_owned(), |[height, width]| format!("{width}x{height}"));
        let (train, test, classes) = (count(train), count(test), count(classes));
        writeln!(out, "{name:<13}{train:>9}{test:>8}{classes:>9}  {size:<9}{here}")?;
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
    let facts = facts(name)?;
    let mut out = std::io::stdout().lock();
    if !facts.page.is_empty() {
        writeln!(out, "{}\nlicence: {}\nowners:  {}", facts.title, facts.licence, facts.page)?;
    }
    if let Some(gate) = facts.gate {
        writeln!(out, "note:    {gate}")?;
    }
    drop(out);
    match (facts.archives, facts.repository) {
        ([], Some(repository)) => fetch_repository(name, &repository, folder),
        ([], None) if facts.classes > 0 => {
            writeln!(std::io::stdout(), "{name} needs no download: it is drawn by the program")?;
            Ok(())
        }
        ([], None) => {
            bail!("{name} is what you put into `{}`: there is nothing to fetch", folder.join(name).display())
        }
        (archives, _) => archives.iter().try_for_each(|archive| fetch_archive(name, archive, folder)),
    }
}

/// Fetches an archive, and unpacks it if it can't be read as it is.
fn fetch_archive(name: &str, archive: &Archive, folder: &Path) -> Result<()> {
    let mut bar = Bar::new();
    let path = archive.download(folder, &mut |received, total| bar.show(archive.file, received, total));
    bar.end();
    let path = path?;
    let digest = archive
        .digest
        .map_or("no digest is published".to_owned(), |digest| format!("{} is right", digest.kind()));
    writeln!(std::io::stdout(), "{name}: {}, {digest}", path.display())?;
    let packed = archive.file.ends_with("gz") && !archive.file.ends_with("-binary.tar.gz");
    if packed {
        let home = folder.join(name);
        let files = unpack(&path, &home)?;
        writeln!(std::io::stdout(), "{name}: {files} files unpacked to {}", home.display())?;
    } else if archive.file.ends_with(".mat") {
        // A list that lies beside what was unpacked.
        let target = folder.join(name).join(archive.file);
        std::fs::copy(&path, &target).with_context(|| format!("cannot write `{}`", target.display()))?;
    }
    Ok(())
}

/// Fetches the files of a repository, for which the Hub wants a token.
fn fetch_repository(name: &str, repository: &Repository, folder: &Path) -> Result<()> {
    let Ok(token) = std::env::var("HF_TOKEN") else {
        bail!("{name} comes from {}, for which HF_TOKEN must have a token", repository.id);
    };
    let home = folder.join(name);
    let mut bar = Bar::new();
    let fetched =
        repository.download(&home, &token, &mut |file, received, total| bar.show(file, received, total));
    bar.end();
    fetched?;
    writeln!(std::io::stdout(), "{name}: {} files in {}", repository.files().count(), home.display())?;
    Ok(())
}

/// How far a download is, on one line of a terminal that is written again and again.
struct Bar {
    terminal: bool,
    shown: u64,
}

impl Bar {
    fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), shown: 0 }
    }

    fn show(&mut self, file: &str, received: u64, total: Option<u64>) {
        let megabytes = received >> 20;
        if self.terminal && megabytes != self.shown {
            self.shown = megabytes;
            let total = total.map_or_else(String::new, |total| format!(" of {}", total >> 20));
            // A terminal that went away is no reason to stop a download.
            let _ = write!(std::io::stderr(), "\r{file}: {megabytes}{total} MB");
        }
    }

    fn end(&self) {
        if self.shown > 0 {
            let _ = writeln!(std::io::stderr());
        }
    }
}

fn check(name: &str, folder: &Path) -> Result<()> {
    let facts = facts(name)?;
    let mut out = std::io::stdout().lock();
    for split in [Split::Train, Split::Test] {
        if facts.classes > 0 && facts.count(split) == 0 {
            continue;
        }
        let location = locate(name, folder, split)?;
        let published = facts.archives.iter().find(|archive| location.path.ends_with(archive.file));
        if let Some(archive) = published.filter(|_| location.path.is_file()) {
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
            if let Some(region) = source.region(index) {
                let outside = region.left >= picture.width as f32 || region.top >= picture.height as f32;
                ensure!(
                    !outside,
                    "picture {index} of {} has a box beyond its edge: {region:?}",
                    source.name()
                );
            }
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

fn preview(source: &dyn Source, split: Split, count: usize, seed: u64, out: &Path) -> Result<()> {
    ensure!(count > 0, "--count is 0, expected at least 1");
    let mut order: Vec<usize> = (0..source.len()).collect();
    order.shuffle(&mut Key::new(seed, Purpose::Order).rng());
    let mut tiles = Vec::new();
    for index in order.into_iter().take(count) {
        let mut picture = Picture::default();
        let label = source.read(index, &mut picture)?;
        if let Some(region) = source.region(index) {
            outline(&mut picture, region);
        }
        let (height, width, pixels) = shrink(picture)?;
        tiles.push(Tile { height, width, pixels, caption: source.class_names()[label].clone() });
    }
    let largest = tiles.iter().map(|tile| tile.height.max(tile.width)).max().unwrap_or(1);
    // Small pictures are enlarged, so that a caption of 16 characters fits below them.
    let scale = (96 / largest).max(1);
    let columns = tiles.len().isqrt().max(8);
    picture::save(&picture::grid(&tiles, columns, scale)?, out)?;
    let (tiles, split, name) = (tiles.len(), split.name(), source.name());
    writeln!(std::io::stdout(), "{tiles} {split} pictures of {name}: {}", out.display())?;
    Ok(())
}

/// Draws the edges of a box, as wide as a fraction of the picture.
fn outline(picture: &mut Picture, region: Region) {
    const COLOUR: [u8; 3] = [255, 220, 0];
    let (height, width) = (picture.height as f32, picture.width as f32);
    let line = (height.max(width) / 128.).max(1.);
    for (at, pixel) in picture.pixels.chunks_exact_mut(3).enumerate() {
        let (x, y) = ((at % width as usize) as f32, (at / width as usize) as f32);
        let inside = |by: f32| {
            (region.left + by..region.right - by).contains(&x)
                && (region.top + by..region.bottom - by).contains(&y)
        };
        if inside(0.) && !inside(line) {
            pixel.copy_from_slice(&COLOUR);
        }
    }
}

/// Height, width and pixels of a picture, brought down to a tile's size where it is larger.
fn shrink(picture: Picture) -> Result<(usize, usize, Vec<u8>)> {
    const LONGEST: usize = 160;
    let (height, width) = (picture.height, picture.width);
    let longest = height.max(width);
    if longest <= LONGEST {
        return Ok((height, width, picture.pixels));
    }
    let image = image::RgbImage::from_raw(width as u32, height as u32, picture.pixels);
    let image = image.context("a picture doesn't have as many pixels as its size says")?;
    let side = |side: usize| (side * LONGEST / longest).max(1);
    let small = image::imageops::thumbnail(&image, side(width) as u32, side(height) as u32);
    Ok((side(height), side(width), small.into_raw()))
}
