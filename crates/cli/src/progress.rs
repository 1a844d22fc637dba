//! What a person sees of a run: a bar on a terminal, lines elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use adautomix_training::state_dict::{Loaded, LoadedClassifier};
use adautomix_training::{Event, Listener, Result};
use indicatif::{ProgressBar, ProgressStyle};

/// The listener that fits standard error.
pub(crate) fn listener() -> Box<dyn Listener> {
    if std::io::stderr().is_terminal() { Box::new(Bar::new()) } else { Box::new(Lines::default()) }
}

/// A bar that stands below the lines of evaluations.
struct Bar {
    bar: ProgressBar,
    text: Text,
}

impl Bar {
    fn new() -> Self {
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed_precise} (left {eta}) {msg}");
        let bar = ProgressBar::new(0);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(500));
        Self { bar, text: Text::default() }
    }
}

impl Listener for Bar {
    fn on(&mut self, event: &Event<'_>) -> Result<()> {
        match event {
            Event::Start { step, steps, .. } => {
                self.bar.set_length(*steps as u64);
                self.bar.set_position(*step as u64);
                self.bar.reset_eta();
            }
            Event::Step { step, .. } => self.bar.set_position(*step as u64 + 1),
            Event::Window { losses, .. } => self.bar.set_message(losses_text(losses)),
            Event::End { finished: true, .. } => self.bar.finish_and_clear(),
            Event::End { .. } => self.bar.abandon(),
            _ => {}
        }
        if let Some(line) = self.text.line(event).filter(|_| !matches!(event, Event::Window { .. })) {
            self.bar.suspend(|| print_line(&line));
        }
        Ok(())
    }
}

/// A line an event.
#[derive(Default)]
struct Lines {
    text: Text,
}

impl Listener for Lines {
    fn on(&mut self, event: &Event<'_>) -> Result<()> {
        if let Some(line) = self.text.line(event) {
            print_line(&line);
        }
        Ok(())
    }
}

#[expect(clippy::print_stderr, reason = "progress is for the person who watches")]
fn print_line(line: &str) {
    eprintln!("{line}");
}

/// The words of events, and what they need to remember.
#[derive(Default)]
struct Text {
    epochs: usize,
    pictures: usize,
    since: Option<Instant>,
}

impl Text {
    fn line(&mut self, event: &Event<'_>) -> Option<String> {
        match event {
            Event::Start { step, steps, epochs } => {
                self.epochs = *epochs;
                self.since = Some(Instant::now());
                let begins = if *step == 0 { String::new() } else { format!(", from step {step} on") };
                Some(format!("{steps} steps in {epochs} epochs{begins}"))
            }
            Event::Pretrained { loaded } => Some(pretrained_text(loaded)),
            Event::Step { pictures, .. } => {
                self.pictures += pictures;
                None
            }
            Event::Window { epoch, step, lr, losses } => {
                let seconds = self.since.replace(Instant::now())?.elapsed().as_secs_f64();
                let rate = std::mem::take(&mut self.pictures) as f64 / seconds.max(1e-9);
                let (epoch, step, epochs) = (epoch + 1, step + 1, self.epochs);
                let losses = losses_text(losses);
                Some(format!(
                    "epoch {epoch}/{epochs} step {step}: lr {lr:.4}, {rate:.0} pictures/s, {losses}"
                ))
            }
            Event::Evaluation { epoch, accuracies, .. } => {
                // Evaluation takes time in which no picture is trained on.
                self.since = Some(Instant::now());
                self.pictures = 0;
                let shown = accuracies.iter().map(|(network, accuracy)| {
                    let head = format!("{:?}", accuracy.head).to_lowercase();
                    format!("{network} {head} head {:.2} %", accuracy.top1)
                });
                let shown: Vec<String> = shown.collect();
                Some(format!("epoch {}/{}: top-1 of {}", epoch + 1, self.epochs, shown.join(", ")))
            }
            Event::End { steps, finished: false } => Some(format!("stopped after step {steps}, state saved")),
            _ => None,
        }
    }
}

fn pretrained_text(loaded: &Loaded) -> String {
    let classifier = match loaded.classifier {
        LoadedClassifier::Taken => "with the classifier".to_owned(),
        LoadedClassifier::Drawn { file: 0, network } => {
            format!("without a classifier, so that of {network} classes is drawn")
        }
        LoadedClassifier::Drawn { file, network } => {
            format!("their classifier has {file} classes, so that of {network} is drawn")
        }
        LoadedClassifier::Unused => "without a classifier".to_owned(),
    };
    format!("begins with {} trained tensors, {classifier}", loaded.tensors)
}

fn losses_text(losses: &[(&'static str, f64)]) -> String {
    let shown: Vec<String> = losses.iter().map(|(name, loss)| format!("{name} {loss:.3}")).collect();
    shown.join(", ")
}
