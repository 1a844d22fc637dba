//! What happens in a run, and who is told.

use crate::Result;
use crate::accuracy::HeadAccuracy;
use crate::state_dict::Loaded;

/// Something that happened. Whoever shows or stores a run listens to these.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// The run begins, or goes on at `step`.
    Start {
        /// The first step to come.
        step: usize,
        /// Steps of the whole run.
        steps: usize,
        /// Epochs of the whole run.
        epochs: usize,
    },
    /// A new run begins with weights that were trained before.
    Pretrained {
        /// What became of them.
        loaded: Loaded,
    },
    /// A step has been made.
    Step {
        /// The step, counted from 0 over the run.
        step: usize,
        /// Its pictures.
        pictures: usize,
    },
    /// The means over the steps since the last of these.
    Window {
        /// The epoch, counted from 0.
        epoch: usize,
        /// The last step of the window, counted from 0.
        step: usize,
        /// The learning rate of that step.
        lr: f64,
        /// The mean of each loss.
        losses: &'a [(&'static str, f64)],
    },
    /// The networks have been evaluated.
    Evaluation {
        /// The epoch that has ended, counted from 0.
        epoch: usize,
        /// Steps made so far.
        steps: usize,
        /// For each network and head: accuracy on the test pictures.
        accuracies: &'a [(&'static str, HeadAccuracy)],
    },
    /// A checkpoint has been written.
    Checkpoint {
        /// Steps made so far.
        steps: usize,
        /// Whether it is the best so far.
        best: bool,
    },
    /// The run has ended, or was asked to stop and has saved its state.
    End {
        /// Steps made so far.
        steps: usize,
        /// Whether all are made.
        finished: bool,
    },
}

/// Someone who is told of events.
pub trait Listener {
    /// Takes note of an event.
    ///
    /// # Errors
    /// If it can't be stored.
    fn on(&mut self, event: &Event<'_>) -> Result<()>;
}
