//! Convolution of NCHW pictures: forward, the gradient by the input, the gradient by the weight.
//!
//! Inside, pictures are channels-last: then a row of either operand of a matrix product is contiguous wherever a filter
//! tap falls, and nothing is unfolded. Four ways lead to the result: direct products over the taps, Winograd's
//! for 3×3 with stride 1 and enough pixels (a quarter of the multiplications), plain products for 1×1, and one for
//! depthwise filters.

mod depthwise;
mod direct;
mod layout;
mod pointwise;
mod winograd;

use crate::scratch;

/// The sizes of a convolution. Rows come before columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv {
    /// Pictures.
    pub batch: usize,
    /// Input channels.
    pub channels: usize,
    /// Input height and width.
    pub size: [usize; 2],
    /// Output channels.
    pub filters: usize,
    /// Filter height and width.
    pub kernel: [usize; 2],
    /// Steps between outputs.
    pub stride: [usize; 2],
    /// Zeros added on either side.
    pub padding: [usize; 2],
    /// Steps between taps.
    pub dilation: [usize; 2],
    /// Channel groups.
    pub groups: usize,
}

impl Conv {
    /// Output height and width.
    pub fn out(&self) -> [usize; 2] {
        [0, 1].map(|i| {
            (self.size[i] + 2 * self.padding[i] - self.dilation[i] * (self.kernel[i] - 1) - 1)
                / self.stride[i]
                + 1
        })
    }

    /// Why these sizes can't be computed, if so.
    pub fn fault(&self) -> Option<String> {
        if self.groups == 0
            || !self.channels.is_multiple_of(self.groups)
            || !self.filters.is_multiple_of(self.groups)
        {
            return Some(format!(
                "{} groups don't divide {} channels and {} filters",
                self.groups, self.channels, self.filters
            ));
        }
        if self.stride.contains(&0) || self.dilation.contains(&0) || self.kernel.contains(&0) {
            return Some("stride, dilation and kernel must be at least 1".to_string());
        }
        (0..2)
            .find(|&i| self.size[i] + 2 * self.padding[i] < self.dilation[i] * (self.kernel[i] - 1) + 1)
            .map(|i| {
                format!("a kernel of {:?} is larger than the padded input {:?}", self.kernel[i], self.size[i])
            })
    }

    /// Elements of the input.
    pub fn input_len(&self) -> usize {
        self.batch * self.channels * self.size[0] * self.size[1]
    }

    /// Elements of the output.
    pub fn output_len(&self) -> usize {
        self.batch * self.filters * self.out()[0] * self.out()[1]
    }

    /// Elements of the weight `[filters, channels / groups, kernel]`.
    pub fn weight_len(&self) -> usize {
        self.filters * self.channels / self.groups * self.kernel[0] * self.kernel[1]
    }

    fn is_depthwise(&self) -> bool {
        self.groups == self.channels && self.groups == self.filters && self.groups > 1
    }

    /// The transforms pay off from some 16 tiles of 4×4 on, and where enough channels share them.
    fn suits_winograd(&self) -> bool {
        let tiles = self.batch * self.size[0].div_ceil(4) * self.size[1].div_ceil(4);
        self.kernel == [3, 3]
            && self.stride == [1, 1]
            && self.dilation == [1, 1]
            && self.padding == [1, 1]
            && self.groups == 1
            && self.channels >= 32
            && self.filters >= 32
            && tiles >= 16
    }

    /// For a 1×1 filter that skips pixels: the same convolution of the pixels that it sees.
    fn dense(&self) -> Option<Conv> {
        let skips = self.kernel == [1, 1] && self.padding == [0, 0] && self.stride != [1, 1];
        skips.then(|| Conv { size: self.out(), stride: [1, 1], ..*self })
    }

    fn check(&self, input: &[f32], weight: &[f32], output: &[f32]) {
        assert_eq!(self.fault(), None);
        assert_eq!(
            (input.len(), weight.len(), output.len()),
            (self.input_len(), self.weight_len(), self.output_len())
        );
    }

    /// `output = input ⋆ weight + bias`, written whole.
    ///
    /// # Panics
    /// If a buffer has the wrong length.
    pub fn forward(&self, input: &[f32], weight: &[f32], bias: Option<&[f32]>, output: &mut [f32]) {
        self.check(input, weight, output);
        if self.is_depthwise() {
            depthwise::forward(self, input, weight, bias, output);
        } else if let Some(dense) = self.dense() {
            dense.forward(&layout::picked(self, input), weight, bias, output);
        } else if self.is_pointwise() && self.fills_panels() {
            pointwise::forward(self, input, weight, bias, output);
        } else if self.suits_winograd() {
            winograd::forward(self, input, weight, winograd::Filter::AsGiven, bias, output);
        } else {
            direct::forward(self, input, weight, bias, output);
        }
    }

    /// The gradient by the input, from the gradient by the output; written whole.
    ///
    /// # Panics
    /// If a buffer has the wrong length.
    pub fn backward_input(&self, grad: &[f32], weight: &[f32], grad_input: &mut [f32]) {
        self.check(grad_input, weight, grad);
        if self.is_depthwise() {
            depthwise::backward_input(self, grad, weight, grad_input);
        } else if let Some(dense) = self.dense() {
            let mut picked = scratch::take(dense.input_len());
            dense.backward_input(grad, weight, &mut picked);
            layout::spread(self, &picked, grad_input);
        } else if self.is_pointwise() && self.fills_panels() {
            pointwise::backward_input(self, grad, weight, grad_input);
        } else if self.suits_winograd() {
            // With stride 1 and padding 1 it is the convolution with the filters turned round and transposed.
            let back = Conv { channels: self.filters, filters: self.channels, ..*self };
            winograd::forward(&back, grad, weight, winograd::Filter::Adjoint, None, grad_input);
        } else {
            direct::backward_input(self, grad, weight, grad_input);
        }
    }

    /// The gradient by the weight; written whole.
    ///
    /// # Panics
    /// If a buffer has the wrong length.
    pub fn backward_weight(&self, input: &[f32], grad: &[f32], grad_weight: &mut [f32]) {
        self.check(input, grad_weight, grad);
        if self.is_depthwise() {
            depthwise::backward_weight(self, input, grad, grad_weight);
        } else if let Some(dense) = self.dense() {
            dense.backward_weight(&layout::picked(self, input), grad, grad_weight);
        } else if self.is_pointwise() {
            pointwise::backward_weight(self, input, grad, grad_weight);
        } else if self.suits_winograd() {
            winograd::backward_weight(self, input, grad, grad_weight);
        } else {
            direct::backward_weight(self, input, grad, grad_weight);
        }
    }

    /// The gradient by the bias: the sum of `grad` over pictures and pixels.
    ///
    /// # Panics
    /// If a buffer has the wrong length.
    pub fn backward_bias(&self, grad: &[f32], grad_bias: &mut [f32]) {
        assert_eq!((grad.len(), grad_bias.len()), (self.output_len(), self.filters));
        let pixels = self.out()[0] * self.out()[1];
        for (filter, sum) in grad_bias.iter_mut().enumerate() {
            *sum = (0..self.batch)
                .map(|b| grad[(b * self.filters + filter) * pixels..][..pixels].iter().sum::<f32>())
                .sum();
        }
    }
}

#[cfg(test)]
mod tests;
