//! What it costs a block to show a picture, and a pair of blocks to show different ones: the terms of PuzzleMix's mask objective.

/// The costs of one mix with `B` blocks a side.
#[derive(Clone, Debug)]
pub struct Terms {
    /// What showing the partner alone costs, `[B, B]`: the sample's saliency, and the seams.
    pub unary1: Vec<f32>,
    /// What showing the sample alone costs, `[B, B]`.
    pub unary2: Vec<f32>,
    /// What more it costs if the block below has another label, `[B - 1, B]`.
    pub down: Vec<f32>,
    /// The same for the block to the right, `[B, B - 1]`.
    pub right: Vec<f32>,
}

/// The costs of a mix from the saliency `[B, B]` and the mean colours of cells `[C, B k, B k]` of the sample and its
/// partner; `channels` is C. Colours that differ across an edge of two blocks cost `weight` times their difference.
pub fn terms(
    saliency: [&[f32]; 2],
    cells: [&[f32]; 2],
    channels: usize,
    blocks: usize,
    weight: f64,
) -> Terms {
    let mut terms = Terms {
        unary1: saliency[0].to_vec(),
        unary2: saliency[1].to_vec(),
        down: Vec::with_capacity(blocks * blocks),
        right: Vec::with_capacity(blocks * blocks),
    };
    let area = cells[0].len() / channels;
    let width = area.isqrt();
    let k = width / blocks;
    let scale = weight as f32 / (channels * k) as f32;
    // Index 0 is the partner, 1 the sample.
    let cells = [cells[1], cells[0]];
    let mut seam = |first: usize, second: usize, cell: usize, [along, across]: [usize; 2]| -> f32 {
        let across_edge = |i: usize, j: usize| {
            let mut sum = 0f32;
            for channel in 0..channels {
                for step in 0..k {
                    let here = channel * area + cell + step * along;
                    sum += (cells[i][here] - cells[j][here + across]).abs();
                }
            }
            sum * scale
        };
        let [partner, into_sample] = [across_edge(0, 0), across_edge(0, 1)];
        let [into_partner, sample] = [across_edge(1, 0), across_edge(1, 1)];
        terms.unary1[first] += (into_sample + partner) / 2.0;
        terms.unary1[second] += (into_partner + partner) / 2.0;
        terms.unary2[first] += (into_partner + sample) / 2.0;
        terms.unary2[second] += (into_sample + sample) / 2.0;
        (into_partner + into_sample - sample - partner) / 2.0
    };
    for row in 0..blocks {
        for column in 0..blocks {
            let block = row * blocks + column;
            let corner = row * k * width + column * k;
            if row + 1 < blocks {
                terms.down.push(seam(block, block + blocks, corner + (k - 1) * width, [1, width]));
            }
            if column + 1 < blocks {
                terms.right.push(seam(block, block + 1, corner + k - 1, [width, 1]));
            }
        }
    }
    terms
}
