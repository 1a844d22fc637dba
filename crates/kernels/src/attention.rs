//! The cross attention of the mask generator (Eq. 5 of the paper), for whole batches of mixed samples.
//!
//! Sample `b` mixes the images `partners[0][b] … partners[N-1][b]`. Each image has queries and keys of `d` channels and one
//! value at each of `P` positions; they are projected once per image, stacked as `base` `[images, 2d + 1, P]` (queries,
//! keys, value), and every sample reads those of its partners. Image `i` attends to the keys of all others:
//!
//! `A_i = softmax over keys ( q_iᵀ sum_{j != i} k_j / scale )`, `planes[b, i] = A_i v_i`.
//!
//! A plane of `lambda_i` that is concatenated to the features adds `lambda_i` times the projection's last column, the
//! `shift` `[2d + 1]`, at every position; so the projection itself doesn't depend on who is mixed with whom. Queries and
//! keys then go through a ReLU, where `relu` says so.

use crate::gemm::{Outer, PANEL, Rows, padded};
use crate::reduce::{add_scaled, exp, sum, vectorised};
use crate::scratch::{self, Scratch};
use rayon::prelude::*;

/// What is attended to by whom.
#[derive(Clone, Copy, Debug)]
pub struct MaskAttention<'a> {
    /// `N` lists of one image for each sample.
    pub partners: &'a [Vec<u32>],
    /// The mixing ratio of each of the `N` images; read only where there is a shift.
    pub lambdas: &'a [f32],
    /// Channels of a query.
    pub depth: usize,
    /// Positions of a map.
    pub positions: usize,
    /// What the products of queries and keys are divided by.
    pub scale: f32,
    /// Whether queries and keys go through a ReLU.
    pub relu: bool,
}

/// Samples whose gradients are held at once before they are added to those of their images.
const SAMPLES: usize = 32;

/// The gradients of [`MaskAttention::forward`]'s operands.
#[derive(Clone, Debug)]
pub struct Gradients {
    /// Of `base`, `[images, 2d + 1, P]`.
    pub base: Vec<f32>,
    /// Of the shift, `[2d + 1]`; zeros where there is none.
    pub shift: Vec<f32>,
}

impl MaskAttention<'_> {
    fn batch(&self) -> usize {
        self.partners[0].len()
    }

    fn count(&self) -> usize {
        self.partners.len()
    }

    /// Elements of one image in `base`.
    fn image_size(&self) -> usize {
        (2 * self.depth + 1) * self.positions
    }

    /// The planes of every sample, `[samples, N, P]`.
    pub fn forward(&self, base: &[f32], shift: Option<&[f32]>, planes: &mut [f32]) {
        debug_assert_eq!(planes.len(), self.batch() * self.count() * self.positions);
        planes.par_chunks_mut(self.count() * self.positions).enumerate().for_each(|(sample, planes)| {
            let mut work = Sample::new(self);
            work.load(self, base, shift, sample);
            for (image, plane) in planes.chunks_mut(self.positions).enumerate() {
                work.attend(self, image);
                plane.copy_from_slice(&work.plane[..self.positions]);
            }
        });
    }

    /// The gradients for `base` and `shift` from those of the planes. The attention is computed again, not kept.
    pub fn backward(&self, base: &[f32], shift: Option<&[f32]>, dplanes: &[f32]) -> Gradients {
        let channels = 2 * self.depth + 1;
        let size = self.image_size();
        let mut dbase = vec![0.0; base.len()];
        let mut dshift = vec![0.0; channels];
        let mut uses: Vec<Vec<usize>> = vec![Vec::new(); base.len() / size];
        for first in (0..self.batch()).step_by(SAMPLES) {
            let samples = SAMPLES.min(self.batch() - first);
            let mut parts = scratch::take(samples * self.count() * size);
            parts.par_chunks_mut(self.count() * size).enumerate().for_each(|(sample, dimages)| {
                let sample = first + sample;
                let dplanes =
                    &dplanes[sample * self.count() * self.positions..][..self.count() * self.positions];
                let mut work = Sample::new(self);
                work.load(self, base, shift, sample);
                work.backward(self, dplanes, dimages);
            });
            if shift.is_some() {
                self.add_to_shift(&parts, &mut dshift);
            }
            uses.iter_mut().for_each(Vec::clear);
            for sample in 0..samples {
                for (image, partners) in self.partners.iter().enumerate() {
                    uses[partners[first + sample] as usize].push(sample * self.count() + image);
                }
            }
            dbase.par_chunks_mut(size).zip(&uses).for_each(|(dbase, uses)| {
                vectorised(
                    #[inline(always)]
                    || {
                        for &part in uses {
                            add_scaled(dbase, 1.0, &parts[part * size..][..size]);
                        }
                    },
                );
            });
        }
        Gradients { base: dbase, shift: dshift }
    }

    /// Adds `lambda_i` times the sum over positions of each image's gradient.
    fn add_to_shift(&self, parts: &[f32], dshift: &mut [f32]) {
        let rows: Vec<f32> = parts
            .par_chunks(self.positions)
            .map(|row| {
                vectorised(
                    #[inline(always)]
                    || sum(row),
                )
            })
            .collect();
        for (part, rows) in rows.chunks(dshift.len()).enumerate() {
            add_scaled(dshift, self.lambdas[part % self.count()], rows);
        }
    }
}

/// The working memory of one sample. Rows of positions are padded to whole panels.
struct Sample {
    /// Width of a padded row.
    width: usize,
    /// `[N, d, width]`, after shift and activation.
    queries: Scratch,
    /// As `queries`.
    keys: Scratch,
    /// `[N, P]`
    values: Vec<f32>,
    /// `sum_{j != i} k_j` of the image in hand, `[d, width]`.
    others: Scratch,
    /// The attention of the image in hand, not yet normalised, `[panels of queries, P keys, PANEL]`.
    attention: Scratch,
    /// What the rows of `attention` are divided by, `[width]`.
    totals: Vec<f32>,
    /// The resulting plane, `[width]`.
    plane: Vec<f32>,
}

impl Sample {
    fn new(spec: &MaskAttention<'_>) -> Self {
        let width = padded(spec.positions);
        Self {
            width,
            queries: scratch::take(spec.count() * spec.depth * width),
            keys: scratch::take(spec.count() * spec.depth * width),
            values: vec![0.0; spec.count() * spec.positions],
            others: scratch::take(spec.depth * width),
            attention: scratch::take(spec.positions * width),
            totals: vec![0.0; width],
            plane: vec![0.0; width],
        }
    }

    /// Reads queries, keys and values of a sample's images.
    fn load(&mut self, spec: &MaskAttention<'_>, base: &[f32], shift: Option<&[f32]>, sample: usize) {
        let (depth, positions, width) = (spec.depth, spec.positions, self.width);
        let floor = if spec.relu { 0.0 } else { f32::NEG_INFINITY };
        vectorised(
            #[inline(always)]
            || {
                for (image, partners) in spec.partners.iter().enumerate() {
                    let base = &base[partners[sample] as usize * spec.image_size()..][..spec.image_size()];
                    let moved = |row: usize| shift.map_or(0.0, |shift| spec.lambdas[image] * shift[row]);
                    for row in 0..2 * depth {
                        let to = if row < depth { &mut self.queries } else { &mut self.keys };
                        let to = &mut to[(image * depth + row % depth) * width..][..width];
                        let by = moved(row);
                        for (to, x) in to.iter_mut().zip(&base[row * positions..(row + 1) * positions]) {
                            // Written so that a NaN stays one.
                            let x = x + by;
                            *to = if x < floor { floor } else { x };
                        }
                        to[positions..].fill(0.0);
                    }
                    let values = &mut self.values[image * positions..(image + 1) * positions];
                    let by = moved(2 * depth);
                    values.iter_mut().zip(&base[2 * depth * positions..]).for_each(|(to, x)| *to = x + by);
                }
            },
        );
    }

    /// Computes the attention of an image (exponentials and totals) and its plane.
    fn attend(&mut self, spec: &MaskAttention<'_>, image: usize) {
        let (depth, positions, width) = (spec.depth, spec.positions, self.width);
        let size = depth * width;
        self.others.fill(0.0);
        for other in (0..spec.count()).filter(|&other| other != image) {
            vectorised(
                #[inline(always)]
                || add_scaled(&mut self.others, 1.0, &self.keys[other * size..(other + 1) * size]),
            );
        }
        let inverse = 1.0 / spec.scale;
        for (panel, attention) in self.attention.chunks_mut(positions * PANEL).enumerate() {
            attention.fill(0.0);
            Outer {
                a: &self.others,
                b: &self.queries[image * size..(image + 1) * size],
                runs: &[(0, panel * PANEL)],
                count: depth,
                strides: (width, width),
                rows: positions,
                columns: PANEL,
            }
            .accumulate_into(attention);
            let values = &self.values[image * positions..(image + 1) * positions];
            let at = panel * PANEL..(panel + 1) * PANEL;
            vectorised(
                #[inline(always)]
                || {
                    softmax_times(
                        attention,
                        inverse,
                        values,
                        &mut self.totals[at.clone()],
                        &mut self.plane[at],
                    );
                },
            );
        }
    }

    /// The gradients of all images of this sample, `[N, 2d + 1, P]`, from those of its planes `[N, P]`.
    fn backward(&mut self, spec: &MaskAttention<'_>, dplanes: &[f32], dimages: &mut [f32]) {
        let (depth, positions, image_size) = (spec.depth, spec.positions, spec.image_size());
        let mut transposed = scratch::take(positions * self.width);
        let mut dothers = scratch::take(depth * positions);
        let starts: Vec<usize> = (0..depth).map(|row| row * self.width).collect();
        let results: Vec<usize> = (0..depth).map(|row| row * positions).collect();
        let product = |a: &[f32], panels: &[f32], out: &mut [f32]| {
            Rows {
                a,
                a_offsets: &starts,
                taps: &[0],
                depth: positions,
                panels,
                columns: positions,
                c_offsets: &results,
            }
            .multiply_into(out);
        };
        dimages.fill(0.0);
        for image in 0..spec.count() {
            self.attend(spec, image);
            let dimage = &mut dimages[image * image_size..(image + 1) * image_size];
            let (dqueries, rest) = dimage.split_at_mut(depth * positions);
            let dplane = &dplanes[image * positions..(image + 1) * positions];
            self.attention_backward(spec, image, dplane, &mut rest[depth * positions..]);
            product(&self.others, &self.attention, dqueries);
            transpose(&self.attention, positions, &mut transposed);
            product(&self.queries[image * depth * self.width..], &transposed, &mut dothers);
            for other in (0..spec.count()).filter(|&other| other != image) {
                let dkeys = &mut dimages[other * image_size + depth * positions..][..depth * positions];
                vectorised(
                    #[inline(always)]
                    || add_scaled(dkeys, 1.0, &dothers),
                );
            }
        }
        if spec.relu {
            self.mask_inactive(spec, dimages);
        }
    }

    /// Replaces the exponentials in `attention` by the gradient of the (scaled) products of queries and keys, and adds
    /// to that of the values.
    fn attention_backward(
        &mut self,
        spec: &MaskAttention<'_>,
        image: usize,
        dplane: &[f32],
        dvalues: &mut [f32],
    ) {
        let (positions, inverse) = (spec.positions, 1.0 / spec.scale);
        let values = &self.values[image * positions..(image + 1) * positions];
        for (panel, attention) in self.attention.chunks_mut(positions * PANEL).enumerate() {
            let at = panel * PANEL;
            // The gradient of a query's plane over its total; 0 for queries that only fill the panel.
            let (mut slope, mut plane) = ([0f32; PANEL], [0f32; PANEL]);
            for query in 0..PANEL.min(positions - at) {
                slope[query] = dplane[at + query] / self.totals[at + query];
                plane[query] = self.plane[at + query];
            }
            vectorised(
                #[inline(always)]
                || {
                    for ((row, &value), dvalue) in
                        attention.chunks_exact_mut(PANEL).zip(values).zip(dvalues.iter_mut())
                    {
                        row.iter_mut().zip(&slope).for_each(|(weight, slope)| *weight *= slope);
                        *dvalue += sum(row);
                        row.iter_mut()
                            .zip(&plane)
                            .for_each(|(weight, plane)| *weight *= inverse * (value - plane));
                    }
                },
            );
        }
    }

    /// Clears the gradients of queries and keys that the ReLU has set to 0.
    fn mask_inactive(&self, spec: &MaskAttention<'_>, dimages: &mut [f32]) {
        let (depth, positions) = (spec.depth, spec.positions);
        for (image, dimage) in dimages.chunks_mut(spec.image_size()).enumerate() {
            for (row, dimage) in dimage.chunks_mut(positions).take(2 * depth).enumerate() {
                let from = if row < depth { &self.queries } else { &self.keys };
                let active = &from[(image * depth + row % depth) * self.width..][..positions];
                vectorised(
                    #[inline(always)]
                    || {
                        dimage.iter_mut().zip(active).for_each(|(d, &x)| *d = if x > 0.0 { *d } else { 0.0 });
                    },
                );
            }
        }
    }
}

/// A panel of products, `[keys, PANEL queries]`, becomes exponentials; their sums over the keys, and the mean of the values
/// that they weigh, go to `totals` and `plane` `[PANEL]`.
#[inline(always)]
fn softmax_times(panel: &mut [f32], inverse: f32, values: &[f32], totals: &mut [f32], plane: &mut [f32]) {
    let mut top = [f32::NEG_INFINITY; PANEL];
    for row in panel.chunks_exact(PANEL) {
        top.iter_mut().zip(row).for_each(|(top, &x)| *top = if x > *top { x } else { *top });
    }
    let (mut total, mut weighted) = ([0f32; PANEL], [0f32; PANEL]);
    for (row, value) in panel.chunks_exact_mut(PANEL).zip(values) {
        for query in 0..PANEL {
            let weight = exp((row[query] - top[query]) * inverse);
            row[query] = weight;
            total[query] += weight;
            weighted[query] += weight * value;
        }
    }
    for query in 0..PANEL {
        totals[query] = total[query];
        plane[query] = weighted[query] / total[query];
    }
}

/// `[panels of queries, P keys, PANEL]` to `[panels of keys, P queries, PANEL]`.
fn transpose(from: &[f32], positions: usize, to: &mut [f32]) {
    for key in 0..positions {
        let column = &mut to[key / PANEL * positions * PANEL + key % PANEL..];
        for (panel, from) in from.chunks_exact(positions * PANEL).enumerate() {
            let row = &from[key * PANEL..(key + 1) * PANEL];
            for (query, &x) in row.iter().enumerate().take(PANEL.min(positions - panel * PANEL)) {
                column[(panel * PANEL + query) * PANEL] = x;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_constant_images_give_the_mean_value() {
        // Equal products at every key: the attention is uniform, whatever the scale.
        let partners = [vec![0], vec![1]];
        let spec = MaskAttention {
            partners: &partners,
            lambdas: &[0.5, 0.5],
            depth: 1,
            positions: 2,
            scale: 2.0,
            relu: true,
        };
        let base = [1.0, 2.0, 3.0, 3.0, 4.0, 8.0, 0.5, 0.0, 1.0, 1.0, -1.0, 3.0];
        let mut planes = [0.0; 4];
        spec.forward(&base, None, &mut planes);
        assert_eq!(planes, [6.0, 6.0, 1.0, 1.0]);
        let gradients = spec.backward(&base, None, &[1.0, 0.0, 0.0, 0.0]);
        assert_eq!(gradients.base[4..6], [0.5, 0.5]);
        assert_eq!(gradients.base[10..], [0.0, 0.0]);
    }
}
