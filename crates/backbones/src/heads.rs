//! Linear heads, and a backbone with its heads.

use adautomix_ops::linear;
use candle_core::{Result, Tensor};
use candle_nn::{Init, VarBuilder};

use crate::{Backbone, Pass};

/// A fully connected layer, `weight` `[outputs, inputs]` and `bias` `[outputs]`.
#[derive(Clone, Debug)]
pub struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    /// A layer whose weight starts normal with deviation 0.01 and whose bias starts at 0.
    ///
    /// # Errors
    /// If `vb` has no such tensors.
    pub fn new(inputs: usize, outputs: usize, vb: &VarBuilder<'_>) -> Result<Self> {
        let init = Init::Randn { mean: 0.0, stdev: 0.01 };
        Ok(Self {
            weight: vb.get_with_hints((outputs, inputs), "weight", init)?,
            bias: vb.get_with_hints(outputs, "bias", Init::Const(0.0))?,
        })
    }

    /// `[outputs, inputs]`
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// `[outputs]`
    pub fn bias(&self) -> &Tensor {
        &self.bias
    }

    /// `[B, inputs]` to `[B, outputs]`.
    ///
    /// # Errors
    /// If the shape doesn't fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        linear(x, &self.weight, Some(&self.bias))
    }
}

/// Which head is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Head {
    /// The head that learns clean images (`head_one`).
    OneHot,
    /// The head that learns mixed images (`head_mix`).
    Mixup,
}

/// The heads of a classifier.
#[derive(Clone, Debug)]
pub enum Heads {
    /// One for everything.
    One(Linear),
    /// One for clean and one for mixed images.
    Two {
        /// `head_one`
        one_hot: Linear,
        /// `head_mix`
        mixup: Linear,
    },
}

/// A backbone with its heads.
pub struct Classifier {
    /// The network below the heads.
    pub backbone: Box<dyn Backbone>,
    /// The heads.
    pub heads: Heads,
}

impl Classifier {
    /// A classifier with the one head that its network's state dict has (`fc`, `head`, `head.fc`).
    ///
    /// # Errors
    /// If `vb` has no such tensors.
    pub fn one_head(backbone: Box<dyn Backbone>, classes: usize, vb: &VarBuilder<'_>) -> Result<Self> {
        let heads = Heads::One(Linear::new(width(&*backbone), classes, &vb.pp(backbone.head_name()))?);
        Ok(Self { backbone, heads })
    }

    /// A classifier with the heads `head_one` and `head_mix`.
    ///
    /// # Errors
    /// If `vb` has no such tensors.
    pub fn two_heads(backbone: Box<dyn Backbone>, classes: usize, vb: &VarBuilder<'_>) -> Result<Self> {
        let inputs = width(&*backbone);
        let heads = Heads::Two {
            one_hot: Linear::new(inputs, classes, &vb.pp("head_one"))?,
            mixup: Linear::new(inputs, classes, &vb.pp("head_mix"))?,
        };
        Ok(Self { backbone, heads })
    }

    /// One of the heads. Where there is only one, it answers for both.
    pub fn head(&self, head: Head) -> &Linear {
        match (&self.heads, head) {
            (Heads::One(fc), _) => fc,
            (Heads::Two { one_hot, .. }, Head::OneHot) => one_hot,
            (Heads::Two { mixup, .. }, Head::Mixup) => mixup,
        }
    }

    /// The logits `[B, classes]` of images `[B, 3, H, W]`, by one head.
    ///
    /// # Errors
    /// If the shape doesn't fit.
    pub fn forward(&self, images: &Tensor, head: Head, pass: &mut Pass) -> Result<Tensor> {
        self.logits(&self.backbone.features(images, pass)?.pooled, head)
    }

    /// The logits `[B, classes]` of pooled features `[B, C]`.
    ///
    /// # Errors
    /// If the shape doesn't fit.
    pub fn logits(&self, pooled: &Tensor, head: Head) -> Result<Tensor> {
        self.head(head).forward(pooled)
    }
}

/// The features that heads read.
fn width(backbone: &dyn Backbone) -> usize {
    backbone.channels(backbone.stages() - 1)
}
