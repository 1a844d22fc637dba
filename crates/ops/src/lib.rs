//! The operations of training as differentiable functions on [`candle_core::Tensor`].
//!
//! On a contiguous `f32` CPU tensor each is one node of candle's graph, with a backward of its own over the loops of
//! `adautomix-kernels`, and on an `f32` CUDA tensor (feature `cuda`) over its kernels for devices; elsewhere the same
//! function is composed of candle's own differentiable operations (module `composed` of each file, which is also what the
//! tests compare with). The backward of a node does no work for an operand that no variable depends on, and follows
//! PyTorch at kinks and ties. Between [`Tape::record`] and [`Tape::backward`] the same operations are differentiated
//! without candle's graph, in less time.
//!
//! Maps are planes of `f32`, `[B, C, H, W]`. Convolutions, batch norms and pools also take [maps of `bf16`](into_bf16), whose
//! channels lie side by side, `[B, H, W, C]`; weights, statistics and sums stay `f32`.
//!
//! ```
//! use adautomix_ops::{ConvSpec, conv2d};
//! use candle_core::{DType, Device, Tensor, Var};
//!
//! # fn main() -> candle_core::Result<()> {
//! let images = Tensor::ones((2, 3, 8, 8), DType::F32, &Device::Cpu)?;
//! let weight = Var::ones((4, 3, 3, 3), DType::F32, &Device::Cpu)?;
//! let y = conv2d(&images, &weight, None, &ConvSpec::new(2, 1))?;
//! assert_eq!(y.dims(), [2, 4, 4, 4]);
//! let gradients = y.sum_all()?.backward()?;
//! assert_eq!(gradients.get(&weight).map(|g| g.dims().to_vec()), Some(vec![4, 3, 3, 3]));
//! # Ok(())
//! # }
//! ```

mod activation;
mod attention;
mod batch_norm;
mod blend;
mod buffers;
mod conv;
mod cosine;
mod cross_entropy;
#[cfg(feature = "cuda")]
pub mod cuda;
mod depthwise;
#[cfg(any(feature = "cuda", test))]
mod device;
mod given;
mod graph;
mod interpolate;
mod layer_norm;
mod linear;
mod maps;
mod mask_attention;
mod node;
#[cfg(test)]
mod oracle;
mod pictures;
mod pool;
mod rearrange;
mod residual;
mod roi_align;
mod tape;
mod targets;
mod update;

pub use activation::{gelu, relu};
pub use attention::{attention, attention_map};
pub use batch_norm::{Epilogue, Moments, batch_norm_eval, batch_norm_train, update_statistics};
pub use blend::{linear_mix, mask_mix, mix_images, paste_box, paste_patches};
pub use conv::{ConvSpec, conv2d};
pub use cosine::cosine_similarity;
pub use cross_entropy::{Reduction, cross_entropy, soft_cross_entropy};
pub use depthwise::depthwise_conv7;
pub use given::given;
pub use graph::Graph;
pub use interpolate::{Interpolation, interpolate, upsample_softmax};
pub use layer_norm::{layer_norm, layer_norm_channels_first};
pub use linear::linear;
pub use maps::{into_bf16, into_planes};
pub use mask_attention::{MaskAttention, mask_attention};
pub use pictures::{Upload, Window, cut_pictures};
pub use pool::{avg_pool2d, global_avg_pool, max_pool2d};
pub use rearrange::{Order, channels_first, channels_last, reorder};
pub use residual::residual;
pub use roi_align::roi_align;
pub use tape::Tape;
pub use targets::mixed_targets;
pub use update::{
    AdamW, Sgd, Trained, accumulate, adamw_steps, clip, copies, moving_averages, overwrite, overwrite_all,
    scale, sgd_steps, squared_norms,
};
