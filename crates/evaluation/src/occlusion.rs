//! Pictures of which some cells are hidden (Naseer et al., NeurIPS 2021).

use adautomix_random::{Key, Purpose};
use candle_core::Tensor;
use rand::seq::SliceRandom;

use crate::{Error, Result};

/// How the cells that are hidden are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cells {
    /// For each picture alone, by its index: the same in any batch. What is hidden at one ratio is at any higher one.
    PerPicture,
    /// For each batch anew, the same for all of its pictures, as the tool published with AdAutoMix does.
    PerBatch,
}

impl Cells {
    /// Draws the cells to hide, of `cells`: a list for each of the pictures at `indices`, or one for all.
    pub(crate) fn draw(
        self,
        cells: usize,
        ratio: f64,
        seed: u64,
        batch: usize,
        indices: &[usize],
    ) -> Vec<Vec<u32>> {
        let key = Key::new(seed, Purpose::Occlusion);
        let first = |key: Key| {
            let mut order: Vec<u32> = (0..cells as u32).collect();
            order.shuffle(&mut key.rng());
            order.truncate(covered(ratio, cells));
            order
        };
        match self {
            Self::PerPicture => indices.iter().map(|&index| first(key.sample(index))).collect(),
            // Other cells at every ratio: its percents are part of the address.
            Self::PerBatch => vec![first(key.epoch(1 + (100.0 * ratio).round() as usize).step(batch))],
        }
    }
}

/// The cells of a picture `[height, width]`, `patch` pixels a side.
///
/// # Errors
/// If they don't cover it exactly.
pub fn cells(size: [usize; 2], patch: usize) -> Result<usize> {
    if patch == 0 || size.iter().any(|length| length % patch != 0) {
        return Err(Error::setting("the side of a cell", patch, format!("a divisor of {size:?}")));
    }
    Ok(size[0] / patch * (size[1] / patch))
}

/// How many of `cells` a ratio between 0 and 1 means: `ratio * cells`, rounded half to even.
pub fn covered(ratio: f64, cells: usize) -> usize {
    ((ratio * cells as f64).round_ties_even() as usize).min(cells)
}

/// The side of a cell where none is given: the paper's 16 pixels at 224, and for other sizes the smallest divisor of both
/// sides that is no smaller a share (4 at 32, 8 at 64).
pub fn default_patch([height, width]: [usize; 2]) -> usize {
    let side = height.min(width);
    let divides = |patch: &usize| height.is_multiple_of(*patch) && width.is_multiple_of(*patch);
    (1..=side).filter(divides).find(|patch| patch * 14 >= side).unwrap_or(1)
}

/// Sets the cells `row * (W / patch) + column` of `images` `[B, C, H, W]` to 0, which is the mean colour of normalised
/// pictures. `hidden` is one list for each picture, or a single one for all.
///
/// # Errors
/// If cells don't divide the pictures, there is no such cell, or another number of lists.
pub fn occlude(images: &Tensor, hidden: &[Vec<u32>], patch: usize) -> Result<Tensor> {
    let (batch, _, height, width) = images.dims4()?;
    let count = cells([height, width], patch)?;
    if hidden.len() != batch && hidden.len() != 1 {
        return Err(Error::setting("the number of lists of cells", hidden.len(), format!("{batch} or 1")));
    }
    let mut shown = vec![1f32; hidden.len() * height * width];
    for (plane, hidden) in shown.chunks_exact_mut((height * width).max(1)).zip(hidden) {
        for &cell in hidden {
            let cell = cell as usize;
            if cell >= count {
                return Err(Error::setting("a cell", cell, format!("0 to {}", count - 1)));
            }
            let (top, left) = (cell / (width / patch) * patch, cell % (width / patch) * patch);
            for row in plane.chunks_exact_mut(width).skip(top).take(patch) {
                row[left..left + patch].fill(0.0);
            }
        }
    }
    let shown = Tensor::from_vec(shown, (hidden.len(), 1, height, width), images.device())?;
    Ok(images.broadcast_mul(&shown)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    #[test]
    fn each_picture_has_cells_of_its_own_which_stay() {
        let cells = |ratio, indices: &[usize]| Cells::PerPicture.draw(64, ratio, 3, 9, indices);
        let [half, more] = [0.5, 0.7].map(|ratio| cells(ratio, &[4, 5]));
        assert_ne!(half[0], half[1]);
        assert_eq!(half[1], cells(0.5, &[5])[0]);
        assert_eq!((half[0].len(), &half[0][..]), (32, &more[0][..32]));
        let batches = [0, 1].map(|batch| Cells::PerBatch.draw(64, 0.5, 3, batch, &[4, 5]));
        assert!(batches[0].len() == 1 && batches[0] != batches[1]);
        assert!(Cells::PerBatch.draw(4, 0.0, 3, 0, &[1])[0].is_empty());
        assert_eq!(Cells::PerBatch.draw(4, 1.0, 3, 0, &[1])[0].len(), 4);
    }

    #[test]
    fn hides_what_it_is_told_and_refuses_the_rest() {
        let images = Tensor::ones((2, 3, 4, 6), DType::F32, &Device::Cpu).unwrap();
        let hidden = occlude(&images, &[vec![1, 3], vec![]], 2).unwrap();
        let plane = hidden.get(0).unwrap().get(2).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(plane[1], [1.0, 1.0, 0.0, 0.0, 1.0, 1.0]);
        assert_eq!(plane[2], [0.0, 0.0, 1.0, 1.0, 1.0, 1.0]);
        assert_eq!(hidden.get(1).unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap(), 72.0);
        let refusal = |hidden: &[Vec<u32>], patch| occlude(&images, hidden, patch).unwrap_err().to_string();
        assert_eq!(refusal(&[vec![6]], 2), "a cell is 6, expected 0 to 5");
        assert_eq!(refusal(&[vec![0]], 4), "the side of a cell is 4, expected a divisor of [4, 6]");
        assert!(refusal(&[vec![0]], 0).starts_with("the side of a cell is 0"));
        assert_eq!(refusal(&vec![vec![]; 3], 2), "the number of lists of cells is 3, expected 2 or 1");
    }

    #[test]
    fn the_default_is_the_papers_share() {
        let sides = [[224, 224], [64, 64], [32, 32], [7, 7], [1, 1], [32, 48]];
        assert_eq!(sides.map(default_patch), [16, 8, 4, 1, 1, 4]);
        assert_eq!([covered(0.5, 9), covered(0.5, 7), covered(2.0, 7), covered(-1.0, 7)], [4, 4, 7, 0]);
    }
}
