//! The cross attention of the mask generator around two matrix products: see [`crate::attention`].
//!
//! Forward: [`operands`](MaskAttention::operands); a library computes `products = queriesᵀ others` of each part; then
//! [`planes`](MaskAttention::planes). Backward: [`slopes`](MaskAttention::slopes); the library computes
//! `dqueries = others dproductsᵀ` and `dothers = queries dproducts`; then [`base`](MaskAttention::base) and
//! [`shift`](MaskAttention::shift).

use super::blend::Uses;
use super::{Argument, BLOCK, Fault, Launch, Result, Span, arguments, blocks, each, each_by_warp, whole};

/// Sizes and operands of the attention.
#[derive(Clone, Copy, Debug)]
pub struct MaskAttention {
    /// Queries, keys and a value of each image, `[images, 2 depth + 1, positions]`.
    pub base: Span<f32>,
    /// What is added to them, times the part's lambda, `[2 depth + 1]`.
    pub shift: Option<Span<f32>>,
    /// The image of each part, `[count, batch]`.
    pub partners: Span<u32>,
    /// `[count]`
    pub lambdas: Span<f32>,
    /// Samples.
    pub batch: usize,
    /// Images of a sample.
    pub count: usize,
    /// Channels of a query.
    pub depth: usize,
    /// Positions of a map.
    pub positions: usize,
    /// What the products are divided by.
    pub scale: f32,
    /// Whether queries and keys go through a ReLU.
    pub relu: bool,
}

/// The gradients of the two operands and of the values: `[parts, depth, positions]` twice, `[parts, positions]`.
#[derive(Clone, Copy, Debug)]
pub struct Slopes {
    /// By the queries.
    pub queries: Span<f32>,
    /// By the sums of keys.
    pub others: Span<f32>,
    /// By the values.
    pub values: Span<f32>,
}

/// The sizes and operands as the kernels take them.
#[repr(C)]
#[derive(Clone, Copy)]
struct Parts {
    base: u64,
    shift: u64,
    partners: u64,
    lambdas: u64,
    batch: i32,
    count: i32,
    depth: i32,
    positions: i32,
    relu: i32,
}

impl MaskAttention {
    fn parts(&self) -> usize {
        self.batch * self.count
    }

    fn operand(&self) -> [usize; 3] {
        [self.parts(), self.depth, self.positions]
    }

    fn attention(&self) -> [usize; 3] {
        [self.parts(), self.positions, self.positions]
    }

    fn structure(&self) -> Result<Parts> {
        let rows = 2 * self.depth + 1;
        let images = self.base.len() / (rows * self.positions).max(1);
        whole("mask_attention", self.base, &[images, rows, self.positions])?;
        whole("mask_attention", self.partners, &[self.count, self.batch])?;
        whole("mask_attention", self.lambdas, &[self.count])?;
        self.shift.map_or(Ok(()), |shift| whole("mask_attention", shift, &[rows]))?;
        let int = |size: usize| {
            i32::try_from(size).map_err(|_| Fault::new(format!("mask_attention: a size of {size}")))
        };
        Ok(Parts {
            base: self.base.address,
            shift: self.shift.map_or(0, |shift| shift.address),
            partners: self.partners.address,
            lambdas: self.lambdas.address,
            batch: int(self.batch)?,
            count: int(self.count)?,
            depth: int(self.depth)?,
            positions: int(self.positions)?,
            relu: i32::from(self.relu),
        })
    }

    /// The queries of each part and the sums of the keys of its sample's other parts, `[parts, depth, positions]` each.
    ///
    /// # Errors
    /// If a buffer has the wrong length.
    pub fn operands(&self, queue: &impl Launch, queries: Span<f32>, others: Span<f32>) -> Result<()> {
        whole("mask_attention", queries, &self.operand())?;
        whole("mask_attention", others, &self.operand())?;
        let parts = self.structure()?;
        let arguments = arguments![Argument::structure(&parts), queries, others];
        each(queue, "mask_attention_operands", queries.len(), arguments)
    }

    /// Turns `products` `[parts, queries, keys]` into the attention, in place; `planes` is `[parts, positions]`.
    ///
    /// # Errors
    /// If a buffer has the wrong length.
    pub fn planes(&self, queue: &impl Launch, products: Span<f32>, planes: Span<f32>) -> Result<()> {
        whole("mask_attention", products, &self.attention())?;
        whole("mask_attention", planes, &[self.parts(), self.positions])?;
        let parts = self.structure()?;
        let arguments = arguments![Argument::structure(&parts), products, planes, 1.0 / self.scale];
        each_by_warp(queue, "mask_attention_planes", planes.len(), arguments)
    }

    /// The gradients of the products, `[parts, queries, keys]`, and of the values, from those of the planes.
    ///
    /// # Errors
    /// If a buffer has the wrong length.
    pub fn slopes(
        &self,
        queue: &impl Launch,
        attention: Span<f32>,
        [planes, dplanes]: [Span<f32>; 2],
        dproducts: Span<f32>,
        dvalues: Span<f32>,
    ) -> Result<()> {
        whole("mask_attention", attention, &self.attention())?;
        whole("mask_attention", dproducts, &self.attention())?;
        for plane in [planes, dplanes, dvalues] {
            whole("mask_attention", plane, &[self.parts(), self.positions])?;
        }
        let (parts, inverse) = (self.structure()?, 1.0 / self.scale);
        let parts = Argument::structure(&parts);
        let arguments = arguments![parts, attention, planes, dplanes, dproducts, dvalues, inverse];
        each(queue, "mask_attention_slopes", dvalues.len(), arguments)
    }

    fn check(&self, slopes: Slopes) -> Result<()> {
        whole("mask_attention", slopes.queries, &self.operand())?;
        whole("mask_attention", slopes.others, &self.operand())?;
        whole("mask_attention", slopes.values, &[self.parts(), self.positions])
    }

    /// The gradient by the base; `table` has the words of `uses`.
    ///
    /// # Errors
    /// If a buffer has the wrong length.
    pub fn base(
        &self,
        queue: &impl Launch,
        slopes: Slopes,
        (uses, table): (&Uses, Span<u32>),
        dbase: Span<f32>,
    ) -> Result<()> {
        self.check(slopes)?;
        whole("mask_attention", dbase, &[self.base.len()])?;
        whole("mask_attention", dbase, &[uses.images(), 2 * self.depth + 1, self.positions])?;
        let [start, used] = uses.split(table)?;
        whole("mask_attention", used, &[self.parts()])?;
        let parts = self.structure()?;
        let parts = Argument::structure(&parts);
        let Slopes { queries, others, values } = slopes;
        let arguments = arguments![parts, queries, others, values, start, used, dbase, uses.images()];
        each(queue, "mask_attention_base", dbase.len(), arguments)
    }

    /// The gradient by the shift, `[2 depth + 1]`.
    ///
    /// # Errors
    /// If a buffer has the wrong length.
    pub fn shift(&self, queue: &impl Launch, slopes: Slopes, dshift: Span<f32>) -> Result<()> {
        self.check(slopes)?;
        whole("mask_attention", dshift, &[2 * self.depth + 1])?;
        let parts = self.structure()?;
        let parts = Argument::structure(&parts);
        let arguments = arguments![parts, slopes.queries, slopes.others, slopes.values, dshift];
        blocks(queue, "mask_attention_shift", [dshift.len(), 1], BLOCK, arguments)
    }
}
