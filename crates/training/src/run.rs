//! A run: the loop around a method, and the folder that is its evidence.
//!
//! | file | holds |
//! | --- | --- |
//! | `recipe.toml` | the recipe, resolved |
//! | `environment.json` | program, commit, device, seconds |
//! | `metrics.jsonl` | losses and accuracies, the same for the same seed |
//! | `events.out.tfevents.*` | the same for TensorBoard |
//! | `checkpoints/last.safetensors`, `best.safetensors` | all state |
//! | `checkpoints/epoch-N.safetensors` | networks after N epochs, where they are kept |
//! | `summary.json` | the result, once the run has ended |

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use adautomix_datasets::Batch;
use adautomix_random::{Key, Purpose};
use adautomix_recipes::{Recipe, Summary};
use candle_core::{Device, Tensor};
use serde_json::json;

use crate::accuracy::evaluate_on;
use crate::checkpoint::{self, Progress, write_whole};
use crate::event::{Event, Listener};
use crate::feed::{Feed, Made};
use crate::method::{self, Inputs, Losses, Method};
use crate::metrics::{Metrics, head_name};
use crate::summary::summarise;
use crate::tensorboard::TensorBoard;
use crate::{Error, Gradients, Pictures, Pretrained, Result, Stepper, state_dict};

/// Where and how a run happens: nothing here changes its numbers.
#[derive(Clone, Debug)]
pub struct Options {
    /// The run's folder.
    pub out: PathBuf,
    /// Where it computes.
    pub device: Device,
    /// What the device is called in files.
    pub device_name: String,
    /// Commit of the program, where it is known.
    pub commit: Option<String>,
    /// Whether to go on with what the folder holds.
    pub resume: bool,
    /// Steps between checkpoints within an epoch; one is written at the end of each epoch anyway.
    pub checkpoint_steps: usize,
    /// Steps between lines of metrics.
    pub log_steps: usize,
    /// Keep the networks after every so many epochs; none without it.
    pub keep_every: Option<usize>,
    /// The weights that a new run begins with, where the recipe has `network.pretrained`.
    pub pretrained: Option<Pretrained>,
}

/// A run in progress.
pub struct Run {
    recipe: Recipe,
    options: Options,
    stepper: Stepper,
    training: Feed,
    testing: Feed,
    progress: Progress,
    metrics: Metrics,
    tensorboard: TensorBoard,
    /// Steps since the losses of any were read, and theirs.
    unread: Vec<(usize, Losses)>,
    steps: usize,
    /// What became of the weights that the run begins with.
    begun: Option<state_dict::Loaded>,
    seconds_before: f64,
    started: Instant,
}

impl Run {
    /// Sets up a run in its folder, new or resumed.
    ///
    /// # Errors
    /// If the recipe doesn't fit the data, the folder holds another run, or a file can't be read or written.
    pub fn new(recipe: Recipe, pictures: &Pictures, options: Options) -> Result<Self> {
        let (training, testing) = (pictures.training(&recipe)?, pictures.testing(&recipe)?);
        let steps = recipe.total_steps(pictures.train.len());
        let classes = pictures.train.class_names().len();
        let stepper = Stepper::new(&recipe, classes, steps, training.batches(), &options.device)?;
        let last = checkpoint::path(&options.out, "last");
        let resumed = last.exists();
        let begun = if resumed { None } else { begin(&recipe, &options, stepper.method())? };
        prepare_folder(&recipe, &options)?;
        let progress = match resumed {
            true => checkpoint::progress(&last)?,
            false => Progress { recipe: recipe.to_toml(), classes, ..Progress::default() },
        };
        let [training, testing] =
            [Feed::new(training, &options.device)?, Feed::new(testing, &options.device)?];
        let metrics = Metrics::open(&options.out.join("metrics.jsonl"), progress.metrics_length)?;
        let tensorboard = TensorBoard::create(&options.out)?;
        let seconds_before = seconds(&options.out);
        let mut run = Self {
            recipe,
            options,
            stepper,
            training,
            testing,
            progress,
            metrics,
            tensorboard,
            unread: Vec::new(),
            steps,
            begun,
            seconds_before,
            started: Instant::now(),
        };
        if resumed {
            checkpoint::restore(&last, &run.stepper.tensors())?;
            run.stepper.resume(run.progress.updates);
            tracing::info!(run = %run.options.out.display(), step = run.progress.steps, "resumed");
        }
        Ok(run)
    }

    /// Makes the steps that are left. Returns the summary, or `None` if `stop` was raised: the step under way is then
    /// finished and a checkpoint written.
    ///
    /// # Errors
    /// If a loss stops being a number, a variable has no gradient, data can't be read or a file can't be written. The
    /// last checkpoint stays.
    pub fn train(
        &mut self,
        listeners: &mut [Box<dyn Listener>],
        stop: &AtomicBool,
    ) -> Result<Option<Summary>> {
        let per_epoch = self.training.loader().batches();
        let epochs = self.steps.div_ceil(per_epoch);
        self.tell(listeners, &Event::Start { step: self.progress.steps, steps: self.steps, epochs })?;
        if let Some(loaded) = self.begun.take() {
            self.tell(listeners, &Event::Pretrained { loaded })?;
        }
        self.trace_start(epochs);
        let mut gradients = Gradients::default();
        while self.progress.steps < self.steps {
            let (epoch, first) = (self.progress.steps / per_epoch, self.progress.steps % per_epoch);
            for batch in self.training.epoch(epoch, first) {
                let step = self.progress.steps;
                self.step(batch?, epoch, step, &mut gradients, listeners)?;
                let pending = self.stepper.is_pending_after(step);
                self.progress.steps += 1;
                let made = self.progress.steps;
                let epoch_ends = made.is_multiple_of(per_epoch) || made == self.steps;
                if epoch_ends {
                    self.evaluate(epoch, listeners)?;
                } else if made.is_multiple_of(self.options.checkpoint_steps) && !pending {
                    self.save("last", false, listeners)?;
                }
                if made == self.steps {
                    break;
                }
                if stop.load(Ordering::Relaxed) && !pending {
                    self.save("last", false, listeners)?;
                    self.tell(listeners, &Event::End { steps: made, finished: false })?;
                    return Ok(None);
                }
            }
        }
        let summary = self.summary()?;
        write_whole(&self.options.out.join("summary.json"), summary.to_json().as_bytes())?;
        self.tell(listeners, &Event::End { steps: self.steps, finished: true })?;
        Ok(Some(summary))
    }

    fn step(
        &mut self,
        batch: Made,
        epoch: usize,
        step: usize,
        gradients: &mut Gradients,
        listeners: &mut [Box<dyn Listener>],
    ) -> Result<()> {
        let inputs = self.training.inputs(batch)?;
        let pictures = inputs.labels.len();
        let draws = Key::new(self.recipe.training.seed, Purpose::Mixing).epoch(epoch).step(step);
        let losses = self.stepper.step(&inputs, step, draws, gradients)?;
        self.tell(listeners, &Event::Step { step, pictures })?;
        self.log(epoch, step, losses, listeners)
    }

    /// Adds the losses to the window; when it is full, its means are an event. Those on a device are read then, so that no
    /// step waits for one; those on the processor are known.
    fn log(
        &mut self,
        epoch: usize,
        step: usize,
        losses: Losses,
        listeners: &mut [Box<dyn Listener>],
    ) -> Result<()> {
        let names: Vec<&'static str> = losses.iter().map(|(name, _)| *name).collect();
        let is_known = losses.iter().all(|(_, measured)| measured.number().is_some());
        let is_full = (step + 1).is_multiple_of(self.options.log_steps) || step + 1 == self.steps;
        self.unread.push((step, losses));
        if is_known || is_full {
            self.read_losses()?;
        }
        if !is_full {
            return Ok(());
        }
        let (sums, count) = &mut self.progress.window;
        let mean = |(name, (_, sum)): (&'static str, &(String, f64))| (name, sum / *count as f64);
        let means: Vec<(&'static str, f64)> = names.into_iter().zip(sums.iter()).map(mean).collect();
        *count = 0;
        let lr = self.stepper.learning_rate(step);
        self.tell(listeners, &Event::Window { epoch, step, lr, losses: &means })
    }

    /// Reads the losses of steps that nobody has read, and adds them to the window.
    fn read_losses(&mut self) -> Result<()> {
        let (steps, losses): (Vec<usize>, Vec<Losses>) = self.unread.drain(..).unzip();
        for (step, losses) in steps.into_iter().zip(method::read_losses(&losses)?) {
            if let Some(&(loss, value)) = losses.iter().find(|(_, value)| !value.is_finite()) {
                return Err(Error::NotFinite { step, loss, value });
            }
            let (sums, count) = &mut self.progress.window;
            if *count == 0 {
                *sums = losses.iter().map(|&(name, _)| (name.to_owned(), 0.0)).collect();
            }
            for ((_, sum), (_, loss)) in sums.iter_mut().zip(&losses) {
                *sum += loss;
            }
            *count += 1;
        }
        Ok(())
    }

    /// Evaluates all networks, and saves the state as the last and, if it is, the best.
    fn evaluate(&mut self, epoch: usize, listeners: &mut [Box<dyn Listener>]) -> Result<()> {
        self.read_losses()?;
        let mut accuracies = Vec::new();
        for (network, classifier) in self.stepper.method().evaluated() {
            let (batches, testing) = (self.testing.epoch(0, 0), &mut self.testing);
            let heads = evaluate_on(classifier, batches.map(|batch| testing.inputs(batch?)))?;
            accuracies.extend(heads.into_iter().map(|accuracy| (network, accuracy)));
        }
        let row = accuracies.iter().map(|(network, accuracy)| {
            ((*network).to_owned(), head_name(accuracy.head).to_owned(), accuracy.top1, accuracy.top5)
        });
        self.progress.history.push(row.collect());
        let steps = self.progress.steps;
        for (network, accuracy) in &accuracies {
            let head = head_name(accuracy.head);
            tracing::info!(epoch = epoch + 1, steps, network, head, top1 = accuracy.top1, "epoch ends");
        }
        self.tell(listeners, &Event::Evaluation { epoch, steps, accuracies: &accuracies })?;
        // The network that the paper reports: the teacher's one-hot head, or that of the only network.
        let counts =
            accuracies.iter().rev().find(|(_, accuracy)| accuracy.head == adautomix_recipes::Head::One);
        let top1 = counts.map(|(_, accuracy)| accuracy.top1);
        let best = top1 > self.progress.best;
        if best {
            self.progress.best = top1;
            self.save("best", true, listeners)?;
        }
        // Before the state that a killed run goes on from, so that none is missing in the end.
        if self.options.keep_every.is_some_and(|every| (epoch + 1).is_multiple_of(every)) {
            let path = checkpoint::path(&self.options.out, &format!("epoch-{}", epoch + 1));
            checkpoint::save(&path, &method::tensors(self.stepper.method()), &self.progress)?;
            tracing::debug!(path = %path.display(), "networks kept");
        }
        self.save("last", false, listeners)
    }

    fn save(&mut self, name: &str, best: bool, listeners: &mut [Box<dyn Listener>]) -> Result<()> {
        self.read_losses()?;
        self.progress.metrics_length = self.metrics.flushed_length()?;
        self.progress.updates = self.stepper.updates();
        let path = checkpoint::path(&self.options.out, name);
        checkpoint::save(&path, &self.stepper.tensors(), &self.progress)?;
        tracing::debug!(path = %path.display(), steps = self.progress.steps, "checkpoint");
        write_environment(&self.recipe, &self.options, self.seconds())?;
        self.tell(listeners, &Event::Checkpoint { steps: self.progress.steps, best })
    }

    fn tell(&mut self, listeners: &mut [Box<dyn Listener>], event: &Event<'_>) -> Result<()> {
        self.metrics.on(event)?;
        self.tensorboard.on(event)?;
        listeners.iter_mut().try_for_each(|listener| listener.on(event))
    }

    fn trace_start(&self, epochs: usize) {
        let [train, test] = self.counts();
        let (recipe, run) = (&self.recipe.name, self.options.out.display());
        tracing::info!(recipe, %run, device = self.options.device_name, steps = self.steps, epochs, train, test, "run starts");
    }

    fn seconds(&self) -> f64 {
        self.seconds_before + self.started.elapsed().as_secs_f64()
    }

    fn summary(&self) -> Result<Summary> {
        summarise(&self.recipe, &self.options, &self.progress, self.seconds(), self.counts())
    }

    /// Training and test pictures.
    fn counts(&self) -> [usize; 2] {
        [self.training.loader().source().len(), self.testing.loader().source().len()]
    }
}

/// A batch as tensors on a device.
///
/// # Errors
/// If it can't be copied there.
pub fn inputs(batch: Batch, device: &Device) -> Result<Inputs> {
    let shape = (batch.labels.len(), 3, batch.height, batch.width);
    Ok(Inputs { images: Tensor::from_vec(batch.images, shape, device)?, labels: batch.labels })
}

/// Fills the networks of a new run with the weights that its recipe begins with.
fn begin(recipe: &Recipe, options: &Options, method: &dyn Method) -> Result<Option<state_dict::Loaded>> {
    match (&recipe.network.pretrained, &options.pretrained) {
        (None, None) => Ok(None),
        (Some(_), Some(pretrained)) => pretrained.fill(method).map(Some),
        (Some(name), None) => {
            Err(Error::Recipe(format!("network.pretrained is `{name}`, but the run was given no weights")))
        }
        (None, Some(_)) => {
            Err(Error::Recipe("network.pretrained is missing, but the run was given weights".into()))
        }
    }
}

/// Makes the folder of a new run, or checks that the one that is there is the same run.
fn prepare_folder(recipe: &Recipe, options: &Options) -> Result<()> {
    let path = options.out.join("recipe.toml");
    let text = recipe.to_toml();
    if path.exists() {
        if !options.resume {
            return Err(Error::Occupied(options.out.clone()));
        }
        let found = std::fs::read_to_string(&path).map_err(Error::at(&path))?;
        if found != text {
            let pair = found.lines().zip(text.lines()).find(|(found, new)| found != new);
            let difference = pair.map_or_else(
                || "one has more lines than the other".to_owned(),
                |(found, new)| format!("it has `{found}` where this one has `{new}`"),
            );
            return Err(Error::OtherRecipe { path, difference });
        }
    }
    let checkpoints = options.out.join("checkpoints");
    std::fs::create_dir_all(&checkpoints).map_err(Error::at(&checkpoints))?;
    write_whole(&path, text.as_bytes())?;
    write_environment(recipe, options, seconds(&options.out))
}

fn write_environment(recipe: &Recipe, options: &Options, seconds: f64) -> Result<()> {
    let environment = json!({
        "program": concat!("adautomix ", env!("CARGO_PKG_VERSION")),
        "commit": options.commit,
        "device": options.device_name,
        "processors": std::thread::available_parallelism().map_or(1, usize::from),
        "system": format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        "seed": recipe.training.seed,
        "seconds": seconds,
    });
    let text = format!("{environment:#}\n");
    write_whole(&options.out.join("environment.json"), text.as_bytes())
}

/// Seconds that earlier sessions of a run have taken.
fn seconds(out: &Path) -> f64 {
    let text = std::fs::read_to_string(out.join("environment.json")).unwrap_or_default();
    let environment: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    environment["seconds"].as_f64().unwrap_or(0.0)
}

#[cfg(test)]
mod tests;
