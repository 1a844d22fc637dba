//! Classification and mixup losses, and the objectives of the min-max game.
//!
//! Every mean is over the batch, and every loss is a scalar, to be descended unless its name says otherwise. Labels are
//! plain slices: `labels[i][b]` is the class of the `i`-th image that sample `b` is mixed of, `lambdas[i]` its ratio.
//!
//! | the paper | here |
//! | --- | --- |
//! | Eq. 1, cross-entropy | [`ce`] |
//! | Eq. 2, the images one by one | [`ace`] |
//! | Eq. 3, the generated mix | [`amce`] |
//! | Eq. 4, the linear mix | [`mce`] |
//! | Eq. 11, the similarity | [`cosine`] |
//! | Eq. 11, the minimax objective | [`Objective`] |
//!
//! ```
//! use adautomix_losses::amce;
//! use candle_core::{Device, Tensor};
//!
//! # fn main() -> candle_core::Result<()> {
//! let logits = Tensor::new(&[[0f32, 0.0], [0.0, 0.0]], &Device::Cpu)?;
//! let loss = amce(&logits, &[vec![0, 1], vec![1, 1]], &[0.7, 0.3])?;
//! assert!((loss.to_scalar::<f32>()? - 2f32.ln()).abs() < 1e-6);
//! # Ok(())
//! # }
//! ```

mod classification;
mod mixed;
mod objective;

pub use classification::{
    SmoothingMode, ace, amce, bce, binary_of_softmax, ce, cosine, entropy, jensen_shannon, label_smooth, mce,
    soft_ce,
};
pub use mixed::{MixedReduction, batch_mean, gather_labels, mix_targets, mixed_ce};
pub use objective::{Components, Objective, adversarial};
