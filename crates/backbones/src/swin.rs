//! The Swin transformer (Liu et al., ICCV 2021): attention in windows that are shifted from block to block.

use adautomix_ops::{
    ConvSpec, Order, attention, attention_map, channels_first, channels_last, conv2d, reorder,
};
use candle_core::{Device, Result, Tensor, bail};
use candle_nn::{Init, VarBuilder};

use crate::tokens::{DEVIATION, Dense, Mlp, Norm, before};
use crate::{Backbone, Pass};

const EPS: f64 = 1e-5;
const PATCH: usize = 4;
const WINDOW: usize = 7;

/// What is added to the products of tokens that only the shift brought into one window.
const APART: f32 = -100.0;

/// The sizes of a Swin transformer with patches of 4×4 pixels and windows of 7×7 tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwinConfig {
    /// Side of the pictures.
    pub img_size: usize,
    /// Channels of a token in the first stage; every other stage doubles them.
    pub embed_dim: usize,
    /// Blocks in each stage.
    pub depths: Vec<usize>,
    /// Heads in each stage.
    pub num_heads: Vec<usize>,
}

impl SwinConfig {
    /// Side of a stage's map.
    fn side(&self, stage: usize) -> usize {
        (self.img_size / PATCH) >> stage
    }

    fn channels(&self, stage: usize) -> usize {
        self.embed_dim << stage
    }
}

/// A Swin transformer without its classifier; names as in timm (`patch_embed.proj`, `layers.1.downsample.reduction`).
///
/// What goes from stage to stage is `[B, H, W, C]`; [`Backbone::map`] turns it.
pub struct Swin {
    config: SwinConfig,
    patches: (Tensor, Tensor),
    patch_norm: Norm,
    stages: Vec<Stage>,
    norm: Norm,
    /// The norm of the map that mixing modules see. Nothing trains it, as in the published code, where no gradient
    /// reaches it.
    mixing_norm: Norm,
}

struct Stage {
    downsample: Option<(Order, Norm, Dense)>,
    blocks: Vec<Block>,
    windows: Windows,
}

/// How the maps of a stage are cut into windows.
struct Windows {
    /// Side of a window.
    window: usize,
    /// The tokens of a map window by window, and back.
    plain: [Order; 2],
    /// The same for a map that was moved up and left by half a window, around the border.
    shifted: Option<([Order; 2], Tensor)>,
    /// For each pair of tokens of a window, the row of the bias table, `[T * T]`.
    pairs: Tensor,
}

struct Block {
    norm1: Norm,
    bias_table: Tensor,
    qkv: Dense,
    projection: Dense,
    norm2: Norm,
    mlp: Mlp,
    heads: usize,
    shifted: bool,
}

impl Windows {
    fn new(side: usize, vb: &VarBuilder<'_>) -> Result<Self> {
        let window = WINDOW.min(side);
        if window == 0 || !side.is_multiple_of(window) {
            bail!("a map of {side}x{side} tokens can't be cut into windows of {window}x{window}");
        }
        let shift = if side > WINDOW { WINDOW / 2 } else { 0 };
        let span = 2 * window - 1;
        let tokens: Vec<[usize; 2]> = (0..window * window).map(|i| [i / window, i % window]).collect();
        let row = |a: &[usize; 2], b: &[usize; 2]| {
            ((a[0] + window - 1 - b[0]) * span + a[1] + window - 1 - b[1]) as u32
        };
        let pairs: Vec<u32> = tokens.iter().flat_map(|a| tokens.iter().map(move |b| row(a, b))).collect();
        let pairs = Tensor::new(pairs, vb.device())?;
        let order = |shift: usize| -> Result<[Order; 2]> {
            let order = Order::new(&cut(side, window, shift), vb.device())?;
            Ok([order.clone(), order.inverse()?])
        };
        let shifted = match shift {
            0 => None,
            _ => {
                let shape = ((side / window) * (side / window), window * window, window * window);
                let mask = Tensor::from_vec(shift_mask(side, window, shift), shape, vb.device())?;
                Some((order(shift)?, mask))
            }
        };
        Ok(Self { window, plain: order(0)?, shifted, pairs })
    }
}

/// Where the tokens of each window come from, of a map moved by `shift` rows and columns towards the start.
fn cut(side: usize, window: usize, shift: usize) -> Vec<u32> {
    let (count, mut source) = (side / window, Vec::with_capacity(side * side));
    for index in 0..count * count {
        for token in 0..window * window {
            let row = (index / count * window + token / window + shift) % side;
            let column = (index % count * window + token % window + shift) % side;
            source.push((row * side + column) as u32);
        }
    }
    source
}

/// For each window of the shifted map, [`APART`] where two tokens come from regions that were apart before.
fn shift_mask(side: usize, window: usize, shift: usize) -> Vec<f32> {
    let part = |at: usize| usize::from(at >= side - window) + usize::from(at >= side - shift);
    let count = side / window;
    let mut mask = Vec::with_capacity(side * side * window * window);
    for index in 0..count * count {
        let region = |token: usize| {
            let row = index / count * window + token / window;
            let column = index % count * window + token % window;
            3 * part(row) + part(column)
        };
        for a in 0..window * window {
            mask.extend((0..window * window).map(|b| if region(a) == region(b) { 0.0 } else { APART }));
        }
    }
    mask
}

impl Block {
    fn new(channels: usize, heads: usize, window: usize, shifted: bool, vb: &VarBuilder<'_>) -> Result<Self> {
        let attn = vb.pp("attn");
        let span = 2 * window - 1;
        let init = Init::Randn { mean: 0.0, stdev: DEVIATION };
        Ok(Self {
            norm1: Norm::new(channels, EPS, &vb.pp("norm1"))?,
            bias_table: attn.get_with_hints((span * span, heads), "relative_position_bias_table", init)?,
            qkv: Dense::new(channels, 3 * channels, true, &attn.pp("qkv"))?,
            projection: Dense::new(channels, channels, true, &attn.pp("proj"))?,
            norm2: Norm::new(channels, EPS, &vb.pp("norm2"))?,
            mlp: Mlp::new(channels, &vb.pp("mlp"))?,
            heads,
            shifted,
        })
    }

    /// `[B, H, W, C]` to the same; `place` is the block's number and how many there are.
    fn forward(&self, x: &Tensor, windows: &Windows, place: [usize; 2], pass: &mut Pass) -> Result<Tensor> {
        let [number, all] = place;
        let ([cut, join], mask) = match &windows.shifted {
            Some((orders, mask)) if self.shifted => (orders, Some(mask)),
            _ => (&windows.plain, None),
        };
        let (batch, height, width, channels) = x.dims4()?;
        let tokens = windows.window * windows.window;
        let bias = self.bias_table.index_select(&windows.pairs, 0)?.t()?.contiguous()?;
        let bias = bias.reshape((self.heads, tokens, tokens))?;
        let cut_up = (batch * height * width / tokens, tokens, channels);
        let y = reorder(&self.norm1.forward(x)?, cut, cut_up)?;
        let qkv = self.qkv.forward(&y)?;
        // Where a map is one window, as the last ones of published sizes are, its tokens are in order.
        if pass.is_watching() && number + 1 == all && qkv.dim(0)? == batch {
            pass.keep(pooled(&attention_map(&qkv, self.heads, Some(&bias))?)?);
        }
        let attended = attention(&qkv, self.heads, Some(&bias), mask)?;
        let y = reorder(&self.projection.forward(&attended)?, join, x.shape())?;
        let x = pass.residual(x, &y, None, place)?;
        pass.residual(&x, &self.mlp.forward(&self.norm2.forward(&x)?)?, None, place)
    }
}

/// The attention `[B, heads, T, T]` with a token more before the others, that of the classifier: `[B, heads, T + 1, T + 1]`.
/// The classifier reads the mean of all tokens, so its row is the mean of theirs; nobody looks at it.
fn pooled(map: &Tensor) -> Result<Tensor> {
    let map = Tensor::cat(&[&map.mean_keepdim(2)?, map], 2)?;
    Tensor::cat(&[&map.narrow(3, 0, 1)?.zeros_like()?, &map], 3)
}

impl Swin {
    /// Builds the network, asking `vb` for tensors in the order of timm's state dict, and last for `norm2`, the norm of the
    /// mixing module's map, which timm doesn't have.
    ///
    /// # Errors
    /// If `vb` has no such tensors, or the configuration contradicts itself.
    pub fn new(config: SwinConfig, vb: &VarBuilder<'_>) -> Result<Self> {
        let stages = config.depths.len();
        if stages < 2
            || stages != config.num_heads.len()
            || !config.img_size.is_multiple_of(PATCH << (stages - 1))
        {
            bail!("a Swin transformer can't be {config:?}");
        }
        let patch = vb.pp("patch_embed.proj");
        let init = Init::Randn { mean: 0.0, stdev: DEVIATION };
        let weight = patch.get_with_hints((config.embed_dim, 3, PATCH, PATCH), "weight", init)?;
        let bias = patch.get_with_hints(config.embed_dim, "bias", Init::Const(0.0))?;
        let patch_norm = Norm::new(config.embed_dim, EPS, &vb.pp("patch_embed.norm"))?;
        let stages = (0..stages)
            .map(|index| Stage::new(&config, index, &vb.pp(format!("layers.{index}"))))
            .collect::<Result<Vec<_>>>()?;
        let last = config.channels(stages.len() - 1);
        let norm = Norm::new(last, EPS, &vb.pp("norm"))?;
        let mixing_norm = Norm::new(last, EPS, &vb.pp("norm2"))?.detached();
        Ok(Self { config, patches: (weight, bias), patch_norm, stages, norm, mixing_norm })
    }
}

impl Stage {
    fn new(config: &SwinConfig, index: usize, vb: &VarBuilder<'_>) -> Result<Self> {
        let (channels, heads) = (config.channels(index), config.num_heads[index]);
        let downsample = match index {
            0 => None,
            _ => {
                let vb = vb.pp("downsample");
                let norm = Norm::new(2 * channels, EPS, &vb.pp("norm"))?;
                let reduction = Dense::new(2 * channels, channels, false, &vb.pp("reduction"))?;
                Some((merging(config.side(index - 1), vb.device())?, norm, reduction))
            }
        };
        let windows = Windows::new(config.side(index), vb)?;
        let block = |block: usize| {
            Block::new(channels, heads, windows.window, block % 2 == 1, &vb.pp(format!("blocks.{block}")))
        };
        let blocks = (0..config.depths[index]).map(block).collect::<Result<_>>()?;
        Ok(Self { downsample, blocks, windows })
    }

    /// Merges patches of 2×2: `[B, H, W, C]` to `[B, H/2, W/2, 2 C]`.
    fn merge(&self, x: &Tensor) -> Result<Tensor> {
        let Some((order, norm, reduction)) = &self.downsample else { return Ok(x.clone()) };
        let (batch, height, width, channels) = x.dims4()?;
        let merged = reorder(x, order, (batch, height / 2, width / 2, 4 * channels))?;
        reduction.forward(&norm.forward(&merged)?)
    }
}

/// The tokens of a map patch by patch, those of a patch in the order (0,0), (1,0), (0,1), (1,1) of (row, column).
fn merging(side: usize, device: &Device) -> Result<Order> {
    let mut source = Vec::with_capacity(side * side);
    for patch in 0..side * side / 4 {
        let (row, column) = (patch / (side / 2) * 2, patch % (side / 2) * 2);
        for part in 0..4 {
            source.push(((row + part % 2) * side + column + part / 2) as u32);
        }
    }
    Order::new(&source, device)
}

impl Backbone for Swin {
    fn stem(&self, images: &Tensor, _: &mut Pass) -> Result<Tensor> {
        let (_, _, height, width) = images.dims4()?;
        if [height, width] != [self.config.img_size; 2] {
            bail!("expected pictures of {0}x{0} pixels, got {height}x{width}", self.config.img_size);
        }
        let (weight, bias) = &self.patches;
        let map = conv2d(images, weight, Some(bias), &ConvSpec::new(PATCH, 0))?;
        self.patch_norm.forward(&channels_last(&map)?)
    }

    fn stage(&self, index: usize, x: &Tensor, pass: &mut Pass) -> Result<Tensor> {
        let Some(stage) = self.stages.get(index) else {
            bail!("stage {index} asked of a network with {}", self.stages.len());
        };
        let (before, all) = before(&self.config.depths, index);
        let mut blocks = (before..).zip(&stage.blocks);
        let (x, windows) = (stage.merge(x)?, &stage.windows);
        blocks.try_fold(x, |x, (number, block)| block.forward(&x, windows, [number, all], pass))
    }

    fn stages(&self) -> usize {
        self.stages.len()
    }

    fn map(&self, stage: usize, hidden: &Tensor) -> Result<Tensor> {
        if stage + 1 == self.stages.len() {
            channels_first(&self.norm.forward(hidden)?)
        } else {
            channels_first(hidden)
        }
    }

    fn channels(&self, stage: usize) -> usize {
        self.config.channels(stage)
    }

    fn stride(&self, stage: usize) -> usize {
        PATCH << stage
    }

    fn pool(&self, hidden: &Tensor) -> Result<Tensor> {
        self.norm.forward(hidden)?.mean((1, 2))
    }

    fn pool_map(&self, map: &Tensor) -> Result<Tensor> {
        map.mean((2, 3))
    }

    fn head_name(&self) -> &'static str {
        "head.fc"
    }

    /// The published code's stages end with the merging of patches, and the third one's map has a norm of its own.
    fn mixing_map(&self, stage: usize, hidden: &Tensor) -> Result<Tensor> {
        match self.stages.get(stage + 1) {
            Some(next) if stage + 2 == self.stages.len() => {
                channels_first(&self.mixing_norm.forward(&next.merge(hidden)?)?)
            }
            _ => self.map(stage, hidden),
        }
    }

    fn mixing_size(&self, stage: usize) -> (usize, usize) {
        let stage = if stage + 2 == self.stages.len() { stage + 1 } else { stage };
        (self.channels(stage), self.stride(stage))
    }
}
