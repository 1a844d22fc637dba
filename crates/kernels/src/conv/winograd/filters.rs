//! Transforms of filters, `G g Gᵀ`, and their adjoint, `Gᵀ u G`.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{IN, PLACES, scaled};
use crate::conv::Conv;
use crate::gemm::{PANEL, padded};
use crate::scratch;
use crate::slots::Slots;

/// Which filters are meant.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::conv) enum Filter {
    /// `weight[filter][channel]`
    AsGiven,
    /// `weight[channel][filter]`, turned by 180°: the adjoint of the convolution with these filters.
    Adjoint,
}

/// `G g Gᵀ` of every filter, as panels `[place][panel of filters][channel][PANEL]`.
pub(super) fn transform_filters(conv: &Conv, weight: &[f32], filter: Filter) -> scratch::Scratch {
    let columns = padded(conv.filters);
    let mut transformed = scratch::take(PLACES * conv.channels * columns);
    let plane = conv.channels * columns;
    let slots = Slots::new(&mut transformed);
    (0..columns / PANEL)
        .into_par_iter()
        .flat_map(|p| (0..conv.channels).into_par_iter().map(move |c| (p, c)))
        .for_each(|(panel, channel)| {
            let mut lanes = [[0.0; PANEL]; 9];
            for lane in 0..PANEL.min(conv.filters - panel * PANEL) {
                let output = panel * PANEL + lane;
                for tap in 0..9 {
                    lanes[tap][lane] = match filter {
                        Filter::AsGiven => weight[(output * conv.channels + channel) * 9 + tap],
                        Filter::Adjoint => weight[(channel * conv.filters + output) * 9 + 8 - tap],
                    };
                }
            }
            let row = (panel * conv.channels + channel) * PANEL;
            Arch::new().dispatch(FilterTransform { taps: &lanes, plane, row, slots: &slots });
        });
    transformed
}

struct FilterTransform<'a> {
    taps: &'a [[f32; PANEL]; 9],
    plane: usize,
    row: usize,
    slots: &'a Slots<'a>,
}

impl WithSimd for FilterTransform<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for lane in (0..PANEL).step_by(S::F32_LANES) {
            let mut g = [[simd.splat_f32s(0.0); 3]; 3];
            for (tap, values) in self.taps.iter().enumerate() {
                g[tap / 3][tap % 3] = S::as_simd_f32s(&values[lane..]).0[0];
            }
            let mut half = [[simd.splat_f32s(0.0); 3]; IN];
            for j in 0..3 {
                let column = filter_points(simd, [g[0][j], g[1][j], g[2][j]]);
                for i in 0..IN {
                    half[i][j] = column[i];
                }
            }
            for i in 0..IN {
                let row = filter_points(simd, half[i]);
                for j in 0..IN {
                    let at = (i * IN + j) * self.plane + self.row + lane;
                    // SAFETY: the row belongs to this task alone, and lies in its place's plane.
                    let to = unsafe { self.slots.part(at..at + S::F32_LANES) };
                    S::as_mut_simd_f32s(to).0[0] = row[j];
                }
            }
        }
    }
}

/// `G g`
#[inline(always)]
fn filter_points<S: Simd>(simd: S, [a, b, c]: [S::f32s; 3]) -> [S::f32s; IN] {
    let ac = simd.mul_f32s(simd.splat_f32s(-1.0 / 6.0), simd.add_f32s(a, c));
    let b6 = simd.mul_f32s(simd.splat_f32s(1.0 / 6.0), b);
    let far = simd.mul_add_f32s(simd.splat_f32s(1.0 / 6.0), c, simd.mul_f32s(simd.splat_f32s(1.0 / 24.0), a));
    let b12 = simd.mul_f32s(simd.splat_f32s(1.0 / 12.0), b);
    [
        simd.mul_f32s(simd.splat_f32s(0.25), a),
        simd.sub_f32s(ac, b6),
        simd.add_f32s(ac, b6),
        simd.add_f32s(far, b12),
        simd.sub_f32s(far, b12),
        c,
    ]
}

/// `Gᵀ u G`: the gradients of a panel of filters from those of their transforms.
pub(super) struct FilterGradient<'a> {
    /// `[place]`, each of `plane` elements, of which the first [`PANEL`] are meant.
    pub(super) sums: &'a [f32],
    pub(super) plane: usize,
    /// `[tap][filter]`
    pub(super) lanes: &'a mut [[f32; PANEL]; 9],
}

impl WithSimd for FilterGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for lane in (0..PANEL).step_by(S::F32_LANES) {
            let mut half = [[simd.splat_f32s(0.0); IN]; 3];
            for j in 0..IN {
                let mut column = [simd.splat_f32s(0.0); IN];
                for i in 0..IN {
                    column[i] = S::as_simd_f32s(&self.sums[(i * IN + j) * self.plane + lane..]).0[0];
                }
                let column = filter_taps(simd, column);
                for i in 0..3 {
                    half[i][j] = column[i];
                }
            }
            for i in 0..3 {
                let row = filter_taps(simd, half[i]);
                for j in 0..3 {
                    S::as_mut_simd_f32s(&mut self.lanes[i * 3 + j][lane..]).0[0] = row[j];
                }
            }
        }
    }
}

/// `Gᵀ u`
#[inline(always)]
fn filter_taps<S: Simd>(simd: S, u: [S::f32s; IN]) -> [S::f32s; 3] {
    let (sum, difference) = (simd.add_f32s(u[1], u[2]), simd.sub_f32s(u[2], u[1]));
    let (far, tilt) = (simd.add_f32s(u[3], u[4]), simd.sub_f32s(u[3], u[4]));
    let outer = scaled(simd, 1.0 / 24.0, far, simd.mul_f32s(simd.splat_f32s(0.25), u[0]));
    [
        scaled(simd, -1.0 / 6.0, sum, outer),
        scaled(simd, 1.0 / 12.0, tilt, simd.mul_f32s(simd.splat_f32s(1.0 / 6.0), difference)),
        scaled(simd, 1.0 / 6.0, simd.sub_f32s(far, sum), u[5]),
    ]
}
