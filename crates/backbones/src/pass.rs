//! One forward pass, and the batch statistics that it leaves behind.

use std::fmt;

use adautomix_ops::{Moments, residual, update_statistics};
use candle_core::{Result, Tensor, bail};
use rand::{Rng, RngCore};

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
    drop_path: Option<DropPath>,
    watching: bool,
    attention: Option<Tensor>,
}

/// Stochastic depth (Huang et al., ECCV 2016): a residual branch is left out for some of the samples.
struct DropPath {
    /// The rate of the last block; that of the others rises linearly from 0.
    rate: f64,
    rng: Box<dyn RngCore + Send>,
}

impl fmt::Debug for DropPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "DropPath({})", self.rate)
    }
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
        Self { mode: Mode::Eval, records: Vec::new(), drop_path: None, watching: false, attention: None }
    }

    /// A pass that normalises with the batch's statistics and records them.
    pub fn train() -> Self {
        Self { mode: Mode::Train, ..Self::eval() }
    }

    /// The same pass with stochastic depth: residual branches of transformers and ConvNeXt are left out for each sample by
    /// a draw of `rng`, in the last block with the probability `rate`, in the others with a share of it that rises
    /// linearly from 0.
    pub fn dropping(self, rate: f64, rng: impl RngCore + Send + 'static) -> Self {
        let drop_path = (rate > 0.0).then(|| DropPath { rate, rng: Box::new(rng) });
        Self { drop_path, ..self }
    }

    /// The same pass, which keeps the last attention maps of a transformer.
    pub fn watching(self) -> Self {
        Self { watching: true, ..self }
    }

    /// The last attention maps, `[B, heads, T + 1, T + 1]`, outside the graph: of a pass that was [watching](Self::watching),
    /// through a transformer whose last map is attended as a whole. Token 0 is the class token; where a network has none, the
    /// mean of all tokens, which nobody looks at.
    pub fn attention(&self) -> Option<&Tensor> {
        self.attention.as_ref()
    }

    /// Whether attention maps are to be [kept](Self::keep).
    pub(crate) fn is_watching(&self) -> bool {
        self.watching
    }

    pub(crate) fn keep(&mut self, attention: Tensor) {
        self.attention = Some(attention);
    }

    /// `x` and a residual branch of block `index` of `blocks`, both `[B, .., C]`: the branch scaled by `scale` `[C]`, left out
    /// for some samples, and larger for the others so that its mean stays.
    pub(crate) fn residual(
        &mut self,
        x: &Tensor,
        branch: &Tensor,
        scale: Option<&Tensor>,
        [index, blocks]: [usize; 2],
    ) -> Result<Tensor> {
        let mut samples = None;
        if let (Mode::Train, Some(DropPath { rate, rng })) = (self.mode, &mut self.drop_path) {
            let rate = *rate * index as f64 / (blocks.max(2) - 1) as f64;
            let kept = |_| if rng.random_bool(1.0 - rate) { (1.0 / (1.0 - rate)) as f32 } else { 0.0 };
            samples = (rate > 0.0).then_some(0..x.dim(0)?).map(|batch| batch.map(kept).collect());
        }
        residual(x, branch, scale, samples)
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
        let records = self.records.iter();
        let met = records
            .map(|Record { moments, running_mean, running_var }| (moments, [running_mean, running_var]));
        update_statistics(&met.collect::<Vec<_>>(), MOMENTUM, times)
    }

    /// What was met on the way: mean and variance of each batch norm, in order.
    pub fn statistics(&self) -> Vec<Tensor> {
        let moments = self.records.iter().map(|record| &record.moments);
        moments.flat_map(|Moments { mean, variance }| [mean.clone(), variance.clone()]).collect()
    }

    /// A pass through the same batch norms that has met other [statistics](Self::statistics).
    ///
    /// # Errors
    /// If they are of another number.
    pub fn with_statistics(&self, statistics: &[Tensor]) -> Result<Self> {
        if statistics.len() != 2 * self.records.len() {
            bail!("{} statistics of {} batch norms", statistics.len(), self.records.len());
        }
        let seen = self.records.iter().zip(statistics.chunks_exact(2)).map(|(record, met)| Record {
            moments: Moments { mean: met[0].clone(), variance: met[1].clone() },
            running_mean: record.running_mean.clone(),
            running_var: record.running_var.clone(),
        });
        Ok(Self { records: seen.collect(), ..Self::train() })
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
