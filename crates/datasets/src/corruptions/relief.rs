//! Heights of a landscape, by halving squares and diamonds: fog, and the ground under frost.

use rand::Rng;

use super::field::Field;

/// The side of the landscape for a picture of this size: a power of two.
pub(super) fn side([height, width]: [usize; 2]) -> usize {
    height.max(width).max(2).next_power_of_two()
}

/// The noise of a landscape of `side` × `side`, uniform between -1 and 1.
pub(super) fn noise(side: usize, rng: &mut impl Rng) -> Vec<f64> {
    (0..side * side).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// A landscape between 0 and 1 that repeats beyond its edges. Each place is the mean of four around it plus its noise
/// times w², where w is 100 and divided by `decay` at each halving of their distance.
pub(super) fn relief(noise: &[f64], side: usize, decay: f64) -> Field<1> {
    let mut heights = vec![0.0; side * side];
    let mut wobble = 100.0;
    let mut step = side;
    while step >= 2 {
        let half = step / 2;
        let mut raise = |y: usize, x: usize, around: [(usize, usize); 4]| {
            let at = |(y, x): (usize, usize)| heights[y % side * side + x % side];
            let mean = around.map(at).iter().sum::<f64>() / 4.0;
            heights[y * side + x] = mean + wobble * wobble * noise[y * side + x];
        };
        for y in (half..side).step_by(step) {
            for x in (half..side).step_by(step) {
                let (top, left) = (y - half, x - half);
                raise(y, x, [(top, left), (top, x + half), (y + half, left), (y + half, x + half)]);
            }
        }
        for y in (0..side).step_by(half) {
            // In each row between two corners, or between two middles.
            let first = if y % step == 0 { half } else { 0 };
            for x in (first..side).step_by(step) {
                let (up, left) = (y + side - half, x + side - half);
                raise(y, x, [(up, x), (y + half, x), (y, left), (y, x + half)]);
            }
        }
        wobble /= decay;
        step = half;
    }
    let low = heights.iter().copied().fold(f64::INFINITY, f64::min);
    let high = heights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let range = if high > low { high - low } else { 1.0 };
    Field::new([side, side], |y, x| [(heights[y * side + x] - low) / range])
}

#[cfg(test)]
mod tests {
    use super::*;
    use adautomix_random::{Key, Purpose};

    #[test]
    fn every_place_has_a_height_of_its_own_and_decay_smooths() {
        let roughness = |decay: f64| {
            let map = relief(&noise(32, &mut Key::new(5, Purpose::Test).rng()), 32, decay);
            let mut values: Vec<f64> = map.values.iter().map(|[value]| *value).collect();
            assert!(values.contains(&0.0) && values.contains(&1.0));
            let near = |at: usize| (values[at] - values[at + 1]).abs();
            let sum: f64 = (0..1023).map(near).sum();
            values.sort_by(f64::total_cmp);
            values.dedup();
            assert_eq!(values.len(), 1024);
            sum
        };
        assert!(roughness(3.0) < 0.7 * roughness(1.75));
    }

    #[test]
    fn a_step_is_the_mean_of_its_neighbours() {
        // Noise in the middle only: the sides of the square are half of it, since above and below are the same.
        let mut noise = vec![0.0; 4];
        noise[3] = 0.5;
        assert_eq!(relief(&noise, 2, 2.0).values, [[0.0], [0.5], [0.5], [1.0]]);
        assert_eq!([side([32, 32]), side([1, 1]), side([20, 33])], [32, 2, 64]);
    }
}
