//! One forward pass, and the batch statistics that it leaves behind.

use adautomix_ops::Moments;
use candle_core::{Result, Tensor};

/// The share of a new batch in the running statistics.
const MOMENTUM: f64 = 0.1;

/// Which statistics normalise a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The running ones.
    Eval,
    /// Its own.
    Train,
}

/// The mode of a forward pass, and the batch statistics met on the way.
///
/// Statistics of a batch don't depend on the order of its samples, so one pass that is committed `n` times leaves the
/// network as `n` passes over permutations of the batch would.
#[derive(Debug)]
pub struct Pass {
    mode: Mode,
    records: Vec<Record>,
}

/// What one batch norm saw, and where its running statistics live.
#[derive(Debug)]
struct Record {
    moments: Moments,
    running_mean: Tensor,
    running_var: Tensor,
}

impl Pass {
    /// A pass that normalises with the running statistics and records nothing.
    pub fn eval() -> Self {
        Self { mode: Mode::Eval, records: Vec::new() }
    }

    /// A pass that normalises with the batch's statistics and records them.
    pub fn train() -> Self {
        Self { mode: Mode::Train, records: Vec::new() }
    }

    /// The mode.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Moves the running statistics (momentum 0.1, unbiased variance) of every batch norm that was passed, in place, as
    /// `times` passes over the same batch would. Buffers are shared with whoever gave them to the network.
    ///
    /// # Errors
    /// If a buffer can't be written.
    pub fn commit(&self, times: usize) -> Result<()> {
        for record in &self.records {
            record.moments.update(&record.running_mean, &record.running_var, MOMENTUM, times)?;
        }
        Ok(())
    }

    /// Notes what a batch norm saw.
    pub(crate) fn record(&mut self, moments: Moments, running_mean: &Tensor, running_var: &Tensor) {
        self.records.push(Record {
            moments,
            running_mean: running_mean.clone(),
            running_var: running_var.clone(),
        });
    }
}
