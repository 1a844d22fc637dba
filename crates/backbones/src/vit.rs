//! The vision transformer (Dosovitskiy et al., ICLR 2021); DeiT without distillation (Touvron et al., ICML 2021) is the same
//! network.

use adautomix_ops::{ConvSpec, attention, attention_map, conv2d};
use candle_core::{Result, Tensor, bail};
use candle_nn::{Init, VarBuilder};

use crate::tokens::{DEVIATION, Dense, Mlp, Norm};
use crate::{Backbone, Pass};

const EPS: f64 = 1e-6;
const PATCH: usize = 16;

/// The sizes of a vision transformer with patches of 16×16 pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VitConfig {
    /// Side of the pictures.
    pub img_size: usize,
    /// Channels of a token.
    pub embed_dim: usize,
    /// Blocks.
    pub depth: usize,
    /// Heads of each attention.
    pub num_heads: usize,
}

/// A vision transformer without its classifier; names as in timm (`cls_token`, `blocks.0.attn.qkv`).
///
/// Its two stages are the halves of its blocks. What goes from one to the next is `[B, 1, T + 1, C]`, the class token
/// first; [`Backbone::map`] makes the patches' tokens a map.
pub struct Vit {
    config: VitConfig,
    class_token: Tensor,
    positions: Tensor,
    patches: (Tensor, Tensor),
    blocks: Vec<Block>,
    norm: Norm,
}

struct Block {
    norm1: Norm,
    qkv: Dense,
    projection: Dense,
    norm2: Norm,
    mlp: Mlp,
    heads: usize,
}

impl Block {
    fn new(config: &VitConfig, vb: &VarBuilder<'_>) -> Result<Self> {
        let channels = config.embed_dim;
        Ok(Self {
            norm1: Norm::new(channels, EPS, &vb.pp("norm1"))?,
            qkv: Dense::new(channels, 3 * channels, true, &vb.pp("attn.qkv"))?,
            projection: Dense::new(channels, channels, true, &vb.pp("attn.proj"))?,
            norm2: Norm::new(channels, EPS, &vb.pp("norm2"))?,
            mlp: Mlp::new(channels, &vb.pp("mlp"))?,
            heads: config.num_heads,
        })
    }

    /// `[B, T + 1, C]` to the same; `place` is the block's number and how many there are.
    fn forward(&self, x: &Tensor, place: [usize; 2], pass: &mut Pass) -> Result<Tensor> {
        let [number, all] = place;
        let qkv = self.qkv.forward(&self.norm1.forward(x)?)?;
        if pass.is_watching() && number + 1 == all {
            pass.keep(attention_map(&qkv, self.heads, None)?);
        }
        let attended = attention(&qkv, self.heads, None, None)?;
        let x = pass.residual(x, &self.projection.forward(&attended)?, None, place)?;
        pass.residual(&x, &self.mlp.forward(&self.norm2.forward(&x)?)?, None, place)
    }
}

impl Vit {
    /// Builds the network, asking `vb` for tensors in the order of timm's state dict.
    ///
    /// # Errors
    /// If `vb` has no such tensors, or the configuration contradicts itself.
    pub fn new(config: VitConfig, vb: &VarBuilder<'_>) -> Result<Self> {
        let VitConfig { img_size, embed_dim, depth, num_heads } = config;
        if depth < 2 || num_heads == 0 || embed_dim % num_heads != 0 || img_size % PATCH != 0 || img_size == 0
        {
            bail!("a transformer of halves, heads and patches of {PATCH} can't be {config:?}");
        }
        let tokens = (img_size / PATCH) * (img_size / PATCH) + 1;
        let init = Init::Randn { mean: 0.0, stdev: DEVIATION };
        let class_token = vb.get_with_hints((1, 1, embed_dim), "cls_token", init)?;
        let positions = vb.get_with_hints((1, tokens, embed_dim), "pos_embed", init)?;
        let patches = vb.pp("patch_embed.proj");
        let weight = patches.get_with_hints((embed_dim, 3, PATCH, PATCH), "weight", init)?;
        let bias = patches.get_with_hints(embed_dim, "bias", Init::Const(0.0))?;
        let block = |index| Block::new(&config, &vb.pp(format!("blocks.{index}")));
        let blocks = (0..depth).map(block).collect::<Result<_>>()?;
        let norm = Norm::new(embed_dim, EPS, &vb.pp("norm"))?;
        Ok(Self { config, class_token, positions, patches: (weight, bias), blocks, norm })
    }

    fn side(&self) -> usize {
        self.config.img_size / PATCH
    }
}

impl Backbone for Vit {
    fn stem(&self, images: &Tensor, _: &mut Pass) -> Result<Tensor> {
        let (batch, _, height, width) = images.dims4()?;
        if [height, width] != [self.config.img_size; 2] {
            bail!("expected pictures of {0}x{0} pixels, got {height}x{width}", self.config.img_size);
        }
        let (weight, bias) = &self.patches;
        let map = conv2d(images, weight, Some(bias), &ConvSpec::new(PATCH, 0))?;
        let patches = map.flatten_from(2)?.transpose(1, 2)?;
        let class_token = self.class_token.broadcast_as((batch, 1, self.config.embed_dim))?;
        Tensor::cat(&[&class_token, &patches], 1)?.broadcast_add(&self.positions)?.unsqueeze(1)
    }

    fn stage(&self, index: usize, x: &Tensor, pass: &mut Pass) -> Result<Tensor> {
        let (half, all) = (self.config.depth / 2, self.config.depth);
        let range = match index {
            0 => 0..half,
            1 => half..all,
            _ => bail!("stage {index} asked of a network with 2"),
        };
        let mut blocks = range.clone().zip(&self.blocks[range]);
        blocks
            .try_fold(x.squeeze(1)?, |x, (number, block)| block.forward(&x, [number, all], pass))?
            .unsqueeze(1)
    }

    fn stages(&self) -> usize {
        2
    }

    fn map(&self, stage: usize, hidden: &Tensor) -> Result<Tensor> {
        let (batch, _, tokens, channels) = hidden.dims4()?;
        let patches = hidden.squeeze(1)?.narrow(1, 1, tokens - 1)?;
        // The last map is that of the classifier, and so normalised.
        let patches = if stage + 1 == self.stages() { self.norm.forward(&patches)? } else { patches };
        patches.transpose(1, 2)?.contiguous()?.reshape((batch, channels, self.side(), self.side()))
    }

    fn channels(&self, _: usize) -> usize {
        self.config.embed_dim
    }

    fn stride(&self, _: usize) -> usize {
        PATCH
    }

    fn pool(&self, hidden: &Tensor) -> Result<Tensor> {
        self.norm.forward(&hidden.squeeze(1)?.narrow(1, 0, 1)?.squeeze(1)?.contiguous()?)
    }

    fn pool_map(&self, _: &Tensor) -> Result<Tensor> {
        bail!("the features of this network are those of its class token, which is in no map")
    }

    fn head_name(&self) -> &'static str {
        "head"
    }
}
