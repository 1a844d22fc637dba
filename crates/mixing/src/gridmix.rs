//! GridMix as published code has it (GridMixup): a grid of holes in one crop of the picture shows the partner.

use std::ops::Range;

use crate::registry::{Facts, Registered, positive, within};
use crate::{Mixed, Mixer, Plan, Result, Targets, View, draw};
use rand::{Rng, RngCore};
use serde::{Deserialize, Serialize};

/// One grid per batch. A crop of random area, shape and place is divided into patches, a share of about `1 - lambda` of each
/// patch is a hole, and the partner's pixels are in the holes. Labels weigh as many pixels as were really taken, which is far
/// from `lambda`: the crop is smaller than the picture, and a hole has at least one pixel.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct GridMix {
    /// `a` of Beta(a, a).
    pub beta_parameter: f64,
    /// The range of the number of patches along the crop's width, both ends included.
    pub holes: [usize; 2],
    /// Height of a patch over its width.
    pub hole_aspect_ratio: f64,
    /// The range of the crop's area over the picture's.
    pub cut_area: [f64; 2],
    /// The range of the crop's height over its width.
    pub cut_aspect_ratio: [f64; 2],
}

impl Default for GridMix {
    fn default() -> Self {
        Self {
            beta_parameter: 1.0,
            holes: [2, 6],
            hole_aspect_ratio: 1.0,
            cut_area: [0.5, 1.0],
            cut_aspect_ratio: [0.5, 2.0],
        }
    }
}

impl Registered for GridMix {
    const FACTS: Facts = Facts {
        name: "gridmix",
        title: "GridMix",
        citation: "Baek et al., Pattern Recognition 2021",
        draws: "λ of Beta(a, a), number of patches, area, shape and place of the crop, each uniform, and a permutation, per batch",
        cost: "nothing",
    };
}

impl Mixer for GridMix {
    fn validate(&self) -> Result<()> {
        positive("beta_parameter", self.beta_parameter)?;
        let [fewest, most] = self.holes;
        within("holes", fewest as f64, fewest >= 1, "at least 1")?;
        within("holes", most as f64, most >= fewest, "no less than the first")?;
        positive("hole_aspect_ratio", self.hole_aspect_ratio)?;
        let [low, high] = self.cut_area;
        within("cut_area", low, low > 0.0, "above 0")?;
        within("cut_area", high, (low..=1.0).contains(&high), "no less than the first, at most 1")?;
        let [low, high] = self.cut_aspect_ratio;
        positive("cut_aspect_ratio", low)?;
        within("cut_aspect_ratio", high, high >= low && high.is_finite(), "no less than the first")
    }

    fn sample(&self, batch: usize, _: usize, _: usize, rng: &mut dyn RngCore) -> Result<Box<dyn Plan>> {
        self.validate()?;
        Ok(Box::new(GridMixPlan {
            lambda: draw::beta(self.beta_parameter, rng)?,
            holes: rng.random_range(self.holes[0]..=self.holes[1]),
            hole_aspect_ratio: self.hole_aspect_ratio,
            cut_area: rng.random_range(self.cut_area[0]..=self.cut_area[1]),
            cut_aspect_ratio: rng.random_range(self.cut_aspect_ratio[0]..=self.cut_aspect_ratio[1]),
            place: rng.random(),
            partner: draw::permutation(batch, rng),
        }))
    }
}

/// The draws of [`GridMix`].
#[derive(Clone, Debug, PartialEq)]
pub struct GridMixPlan {
    /// What of a patch is kept, about.
    pub lambda: f64,
    /// Patches along the crop's width.
    pub holes: usize,
    /// Height of a patch over its width.
    pub hole_aspect_ratio: f64,
    /// Area of the crop over that of the picture.
    pub cut_area: f64,
    /// Height of the crop over its width.
    pub cut_aspect_ratio: f64,
    /// Where the crop is in what the picture leaves free, `[row, column]`, from 0 to 1.
    pub place: [f64; 2],
    /// The partner of each sample.
    pub partner: Vec<u32>,
}

impl GridMixPlan {
    /// 1 in the holes, which show the partner, and 0 around them: `[H, W]` for pictures of `size` (rows, columns), row by row.
    pub fn mask(&self, size: [usize; 2]) -> Vec<f32> {
        let area = (size[0] as f64 * size[1] as f64 * self.cut_area).trunc();
        let width = (area / self.cut_aspect_ratio).sqrt().trunc();
        let crop = [(width * self.cut_aspect_ratio) as i64, width as i64];
        // A crop that is longer than the picture starts before it.
        let start = |axis: usize| ((size[axis] as f64 - crop[axis] as f64) * self.place[axis]) as i64;
        let patch_width = (crop[1] as usize).div_ceil(self.holes) as i64;
        let patch_height = ((patch_width as f64 * self.hole_aspect_ratio) as i64).max(1);
        let patches = (crop[0] as usize).div_ceil(patch_height as usize);

        let columns = self.spans(self.holes, patch_width, start(1), crop[1], size[1]);
        let mut mask = vec![0.0; size[0] * size[1]];
        for rows in self.spans(patches, patch_height, start(0), crop[0], size[0]) {
            for row in rows {
                let row = &mut mask[row * size[1]..(row + 1) * size[1]];
                columns.iter().for_each(|span| row[span.clone()].fill(1.0));
            }
        }
        mask
    }

    /// Where holes are along one axis of a picture of `length` pixels: one in each of `count` patches of side `patch`, and one
    /// after them, as far as the crop of `crop` pixels from `start` on goes.
    fn spans(&self, count: usize, patch: i64, start: i64, crop: i64, length: usize) -> Vec<Range<usize>> {
        let hole = ((patch as f64 * (1.0 - self.lambda).sqrt()) as i64).max(1).min(patch - 1);
        let inside = (0..=count).map(|index| patch * index as i64).take_while(|&low| low < crop);
        inside.map(|low| slice(start + low, start + (low + hole).min(crop), length)).collect()
    }
}

/// The indices from `start` to `end` of `length`, where published code slices in Python: what is below 0 counts from the far
/// end. So holes of a crop that begins before the picture go to the opposite side of it, and one that would lie across the
/// border is none.
fn slice(start: i64, end: i64, length: usize) -> Range<usize> {
    let length = length as i64;
    let index = |bound: i64| (if bound < 0 { bound + length } else { bound }).clamp(0, length) as usize;
    index(start)..index(end).max(index(start))
}

impl Plan for GridMixPlan {
    fn mix(&self, view: &View<'_>) -> Result<Mixed> {
        let (_, _, height, width) = view.images.dims4()?;
        let mut keep = self.mask([height, width]);
        keep.iter_mut().for_each(|weight| *weight = 1.0 - *weight);
        let lambda = keep.iter().map(|&weight| f64::from(weight)).sum::<f64>() / keep.len() as f64;
        let images = adautomix_ops::mask_mix(view.images, &self.partner, &keep)?;
        Ok(Mixed { images, targets: Targets::pair(&self.partner, lambda) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(lambda: f64, cut_aspect_ratio: f64) -> GridMixPlan {
        GridMixPlan {
            lambda,
            holes: 2,
            hole_aspect_ratio: 1.0,
            cut_area: 1.0,
            cut_aspect_ratio,
            place: [0.5; 2],
            partner: vec![0],
        }
    }

    fn rows(plan: &GridMixPlan, size: [usize; 2]) -> Vec<String> {
        let line = |row: &[f32]| row.iter().map(|&hole| if hole > 0.0 { '#' } else { '.' }).collect();
        plan.mask(size).chunks(size[1]).map(line).collect()
    }

    #[test]
    fn holes_leave_their_share_of_a_patch() {
        assert_eq!(rows(&plan(0.75, 1.0), [4, 4]), ["#.#.", "....", "#.#.", "...."]);
        // A hole never fills its patch.
        assert_eq!(
            rows(&plan(0.0, 1.0), [6, 6]),
            ["##.##.", "##.##.", "......", "##.##.", "##.##.", "......"]
        );
        // The crop has the picture's area, but is square: its first row is above the picture, and the hole that begins there is
        // none.
        assert_eq!(rows(&plan(0.0, 1.0), [2, 8]), ["........", "..#.#..."]);
    }

    #[test]
    fn a_crop_of_nothing_takes_nothing() {
        let tiny = GridMixPlan { cut_area: 0.1, ..plan(0.5, 2.0) };
        assert_eq!(rows(&tiny, [2, 2]), ["..", ".."]);
        assert_eq!(rows(&plan(0.5, 1.0), [1, 1]), ["."]);
    }

    #[test]
    fn bounds_below_zero_count_from_the_end() {
        assert_eq!(slice(-2, 3, 10), 8..8);
        assert_eq!(slice(-4, -2, 10), 6..8);
        assert_eq!(slice(-12, -9, 10), 0..1);
        assert_eq!(slice(8, 12, 10), 8..10);
    }
}
