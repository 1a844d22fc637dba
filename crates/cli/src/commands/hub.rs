//! `adautomix hub`: models from and to the Hugging Face Hub.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use adautomix_backbones::NAMES;
use adautomix_hub::{
    Card, Description, Hub, Options, Plan, Progress, Pushed, Repository, Settings, State, Upload,
};
use adautomix_recipes::{ClaimedNetwork, Recipe, Summary};
use adautomix_training::state_dict::{self, LoadedClassifier};
use adautomix_training::{Network, Parameters, load, named};
use anyhow::{Context, Result, bail};
use candle_core::Device;

/// Fetch models from the Hugging Face Hub, and put runs there.
///
/// The variables of Python's huggingface_hub hold: HF_TOKEN, HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_HUB_OFFLINE.
#[derive(Debug, clap::Args)]
pub(crate) struct HubArgs {
    #[command(subcommand)]
    command: HubCommand,
}

#[derive(Debug, clap::Subcommand)]
enum HubCommand {
    /// Fetch a model into the cache that Python shares, compare its digests and print where its files are.
    ///
    /// A download that was broken off goes on. Where the model is one of this program's networks, every tensor is checked.
    Pull {
        /// The model, as `timm/resnet18.tv_in1k`.
        name: Repository,
        /// A branch, a tag or a commit.
        #[arg(long)]
        revision: Option<String>,
        /// Use the cache alone.
        #[arg(long)]
        offline: bool,
    },
    /// Put a run that has ended on the Hub: weights, timm's config.json, a model card, the recipe.
    ///
    /// Only what the Hub doesn't have is sent.
    Push(PushArgs),
}

#[derive(Debug, clap::Args)]
struct PushArgs {
    /// The run's folder.
    run: PathBuf,
    /// The model on the Hub, as OWNER/NAME; it is made if it isn't there.
    name: Repository,
    /// Which of the run's networks: `teacher` or `student`. Without it the teacher, where there is one.
    #[arg(long, value_parser = network)]
    network: Option<ClaimedNetwork>,
    /// Make a new model private; refuse to push to a public one.
    #[arg(long)]
    private: bool,
    /// The branch; it is made if it isn't there.
    #[arg(long)]
    revision: Option<String>,
    /// Say what would be sent, show the card, and send nothing.
    #[arg(long)]
    dry_run: bool,
    /// The licence of the weights, by its short name on the Hub.
    #[arg(long, default_value = "mit", value_name = "NAME")]
    license: String,
}

fn network(text: &str) -> Result<ClaimedNetwork, String> {
    match text {
        "teacher" => Ok(ClaimedNetwork::Teacher),
        "student" => Ok(ClaimedNetwork::Student),
        _ => Err("expected `teacher` or `student`".to_owned()),
    }
}

/// Runs a `hub` command.
pub(crate) fn run(args: HubArgs) -> Result<()> {
    let at = |name: Repository, revision: Option<String>| match revision {
        Some(revision) => name.at(&revision),
        None => Ok(name),
    };
    match args.command {
        HubCommand::Pull { name, revision, offline } => pull(&at(name, revision)?, offline),
        HubCommand::Push(mut args) => {
            args.name = at(args.name, args.revision.take())?;
            push(&args)
        }
    }
}

fn pull(repository: &Repository, offline: bool) -> Result<()> {
    let mut settings = Settings::from_environment();
    settings.offline |= offline;
    let weights = shown(|progress| Hub::new(settings)?.pull(repository, progress))?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{repository} at commit {}", weights.commit)?;
    let files = [&weights.config, &weights.generator, &weights.recipe];
    for path in std::iter::once(&weights.model).chain(files.into_iter().flatten()) {
        writeln!(out, "  {}", path.display())?;
    }
    if let Some(config) = &weights.config {
        writeln!(out, "{}", verdict(&weights.model, config)?)?;
    }
    Ok(())
}

/// Whether a model's weights fit the network that its config names.
fn verdict(model: &Path, config: &Path) -> Result<String> {
    let text = std::fs::read_to_string(config).with_context(|| config.display().to_string())?;
    let json: serde_json::Value =
        serde_json::from_str(&text).with_context(|| config.display().to_string())?;
    let Some(architecture) = json["architecture"].as_str() else {
        return Ok("config.json names no architecture, so the tensors were not checked".to_owned());
    };
    let classes = json["num_classes"].as_u64().or_else(|| json["pretrained_cfg"]["num_classes"].as_u64());
    if !NAMES.contains(&architecture) {
        return Ok(format!(
            "`{architecture}` is none of this program's networks; the tensors were not checked"
        ));
    }
    let classes = classes.and_then(|classes| usize::try_from(classes).ok()).filter(|&classes| classes > 0);
    let network = Network::new(&*named(architecture, classes.unwrap_or(1), false), 0, &Device::Cpu)?;
    let loaded = state_dict::load(model, &network.parameters, network.backbone().head_name())?;
    Ok(match loaded.classifier {
        LoadedClassifier::Drawn { file, network } if classes.is_some() => {
            format!(
                "{architecture}: {} tensors fit; the classifier has {file} classes, not {network}",
                loaded.tensors
            )
        }
        LoadedClassifier::Taken => {
            format!("{architecture}, {} classes: all {} tensors fit", classes.unwrap_or(1), loaded.tensors)
        }
        _ => format!("{architecture} without a classifier: all {} tensors fit", loaded.tensors),
    })
}

fn push(args: &PushArgs) -> Result<()> {
    let uploads = uploads(args)?;
    let settings = Settings::from_environment();
    if args.dry_run {
        return dry_run(args, settings, uploads);
    }
    let endpoint = settings.endpoint.clone();
    let hub = Hub::new(settings)?;
    let plan = hub.plan(&args.name, uploads)?;
    let message = format!("Weights and card of {}", args.run.file_name().unwrap_or_default().display());
    let options = Options { private: args.private, message };
    let pushed = shown(|progress| hub.push(&plan, &options, progress))?;
    let mut out = std::io::stdout().lock();
    describe(&mut out, &plan)?;
    let address = format!("{endpoint}/{}", args.name.id());
    match pushed {
        Pushed::Nothing => writeln!(out, "{address} had it all; nothing was sent")?,
        Pushed::Commit(commit) => writeln!(out, "{address} is at commit {commit}")?,
    }
    Ok(())
}

/// Says what a push would do. Without a connection it takes the Hub for empty.
fn dry_run(args: &PushArgs, mut settings: Settings, uploads: Vec<Upload>) -> Result<()> {
    let asked = Hub::new(settings.clone())?.plan(&args.name, uploads.clone());
    let mut out = std::io::stdout().lock();
    let plan = match asked {
        Ok(plan) => plan,
        Err(error @ adautomix_hub::Error::Connection { .. }) => {
            writeln!(out, "not compared with the Hub ({error})")?;
            settings.offline = true;
            Hub::new(settings)?.plan(&args.name, uploads)?
        }
        Err(error) => return Err(error.into()),
    };
    describe(&mut out, &plan)?;
    writeln!(out, "dry run: nothing was sent\n")?;
    let card = plan.files.iter().find(|file| file.upload.path == "README.md");
    if let Some(card) = card {
        out.write_all(&card.upload.content)?;
    }
    Ok(())
}

fn describe(out: &mut dyn Write, plan: &Plan) -> Result<()> {
    let standing = match plan.private {
        Some(true) => "private",
        Some(false) => "public",
        None => "new",
    };
    let branch = if plan.branch || plan.private.is_none() { "" } else { ", with a new branch" };
    writeln!(out, "{} ({standing}{branch})", plan.repository)?;
    for file in &plan.files {
        let state = match file.state {
            State::New => "new",
            State::Changed => "changed",
            State::Unchanged => "unchanged, not sent",
        };
        let size = file.upload.content.len() as f64 / 1000.0;
        let size = if size < 1000.0 { format!("{size:.1} kB") } else { format!("{:.1} MB", size / 1000.0) };
        writeln!(out, "  {:<22}{size:>10}  sha256 {}  {state}", file.upload.path, &file.sha256[..12])?;
    }
    Ok(())
}

/// The files of a run's model.
fn uploads(args: &PushArgs) -> Result<Vec<Upload>> {
    let summary = args.run.join("summary.json");
    if !summary.exists() {
        bail!("{}: no summary.json, so the run hasn't ended; train it with --resume", args.run.display());
    }
    let summary = Summary::read(&summary)?;
    let loaded = load(&args.run, "last", &Device::Cpu)?;
    let which = args.network.unwrap_or(match summary.teacher {
        Some(_) => ClaimedNetwork::Teacher,
        None => ClaimedNetwork::Student,
    });
    let name = if which == ClaimedNetwork::Teacher { "teacher" } else { "student" };
    let state = loaded.method.state();
    let part = |part: &str| state.iter().find(|(name, _)| *name == part).map(|(_, parameters)| *parameters);
    let (Some(parameters), Some((_, classifier))) =
        (part(name), loaded.method.evaluated().into_iter().find(|(evaluated, _)| *evaluated == name))
    else {
        bail!("{}: the method `{}` has no {name}", args.run.display(), summary.method);
    };
    let backbone = &*classifier.backbone;
    let head = backbone.head_name();
    let first_conv = first_conv(parameters);
    let network = Description {
        recipe: &loaded.recipe,
        classes: classifier.head(adautomix_backbones::Head::OneHot).bias().elem_count(),
        features: backbone.channels(backbone.stages() - 1),
        classifier: head,
        first_conv: &first_conv,
    };
    let generator = part("generator");
    let card = Card {
        repository: &args.name,
        network,
        which,
        summary: &summary,
        others: &siblings(&args.run, &loaded.recipe),
        generator: generator.is_some(),
        licence: &args.license,
    };
    let upload = |path: &str, content: Vec<u8>| Upload { path: path.to_owned(), content };
    let mut uploads = vec![
        upload("README.md", card.to_markdown().into_bytes()),
        upload("config.json", network.to_json().into_bytes()),
    ];
    if let Some(generator) = generator {
        uploads.push(upload("generator.safetensors", state_dict::export(generator, head)?));
    }
    uploads.push(upload("model.safetensors", state_dict::export(parameters, head)?));
    uploads.push(upload("recipe.toml", loaded.recipe.to_toml().into_bytes()));
    Ok(uploads)
}

/// The convolution that sees the picture: the first there is.
fn first_conv(parameters: &Parameters) -> String {
    let entries = parameters.entries();
    let weight = entries.iter().find(|(_, tensor)| tensor.rank() == 4).map(|(name, _)| name.as_str());
    weight.unwrap_or_default().trim_end_matches(".weight").to_owned()
}

/// The runs beside this one that differ from it in nothing but the seed, and have ended.
fn siblings(run: &Path, recipe: &Recipe) -> Vec<Summary> {
    let Ok(own) = run.canonicalize() else { return Vec::new() };
    let mut found: Vec<Summary> = own
        .parent()
        .and_then(|folder| std::fs::read_dir(folder).ok())
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| *path != own)
        .filter_map(|path| {
            let text = std::fs::read_to_string(path.join("recipe.toml")).ok()?;
            let mut other = Recipe::from_toml(&text, "recipe.toml").ok()?;
            let seed = std::mem::replace(&mut other.training.seed, recipe.training.seed);
            let summary = Summary::read(&path.join("summary.json")).ok()?;
            (other == *recipe && seed != recipe.training.seed).then_some(summary)
        })
        .collect();
    found.sort_by_key(|summary| summary.seed);
    found.dedup_by_key(|summary| summary.seed);
    found
}

/// Does a transfer, and shows on a terminal how far it is.
fn shown<T>(transfer: impl FnOnce(&mut dyn FnMut(Progress<'_>)) -> adautomix_hub::Result<T>) -> Result<T> {
    let terminal = std::io::stderr().is_terminal();
    let mut last = (String::new(), u64::MAX);
    let result = transfer(&mut |Progress { file, done, total }| {
        let now = (file.to_owned(), done >> 20);
        if terminal && (now != last || done == total) {
            last = now;
            let end = if done == total { "\n" } else { "" };
            // A terminal that went away is no reason to stop.
            let _ = write!(std::io::stderr(), "\r{file}: {} of {} MB{end}", done >> 20, total >> 20);
        }
    });
    Ok(result?)
}
