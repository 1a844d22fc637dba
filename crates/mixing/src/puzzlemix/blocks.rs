//! What graph cuts look at: saliency from a gradient, and means over the blocks of a picture.

/// How much the loss depends on each pixel: the root of the mean over channels of the squared gradient `[C, H, W]`.
/// `[H, W]`.
pub fn saliency(gradient: &[f32], channels: usize) -> Vec<f32> {
    let area = gradient.len() / channels.max(1);
    let mut squares = vec![0f32; area];
    for channel in gradient.chunks_exact(area.max(1)) {
        for (sum, value) in squares.iter_mut().zip(channel) {
            *sum += value * value;
        }
    }
    squares.iter().map(|sum| (sum / channels as f32).sqrt()).collect()
}

/// The means of a map `[H, W]`, `size` (rows, columns), over `blocks` (rows, columns), which divide it.
pub fn pooled(map: &[f32], size: [usize; 2], blocks: [usize; 2]) -> Vec<f32> {
    let [height, width] = [size[0] / blocks[0], size[1] / blocks[1]];
    let mut sums = vec![0f32; blocks[0] * blocks[1]];
    for (row, values) in map.chunks_exact(size[1]).enumerate() {
        let sums = &mut sums[row / height * blocks[1]..][..blocks[1]];
        for (sum, values) in sums.iter_mut().zip(values.chunks_exact(width)) {
            *sum += values.iter().sum::<f32>();
        }
    }
    let area = (height * width) as f32;
    sums.iter_mut().for_each(|sum| *sum /= area);
    sums
}

/// The mean colours of cells of a normalised picture `[3, side, side]`, `[3, cells, cells]`, on the scale from 0 to 1 but for
/// a constant: only differences within a channel count, so the mean that normalisation took off is not added.
pub fn colours(image: &[f32], side: usize, cells: usize, deviations: [f32; 3]) -> Vec<f32> {
    let channels = image.chunks_exact(side * side).zip(deviations);
    let means = channels.flat_map(|(channel, deviation)| {
        pooled(channel, [side; 2], [cells; 2]).into_iter().map(move |mean| mean * deviation)
    });
    means.collect()
}

/// Values divided by their sum; all alike where there is none, as with a gradient of 0.
pub fn shares(mut values: Vec<f32>) -> Vec<f32> {
    let sum: f32 = values.iter().sum();
    if sum > 0.0 && sum.is_finite() {
        values.iter_mut().for_each(|value| *value /= sum);
    } else {
        let even = 1.0 / values.len() as f32;
        values.fill(even);
    }
    values
}

/// The largest divisor of `side` that isn't above `most`.
pub(crate) fn divisor(side: usize, most: usize) -> usize {
    (1..=most.min(side)).rev().find(|divisor| side.is_multiple_of(*divisor)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saliency_without_a_sum_is_even() {
        assert_eq!(shares(vec![1.0, 3.0]), [0.25, 0.75]);
        for values in [vec![0.0; 4], vec![f32::NAN, 0.0, 0.0, 0.0], vec![f32::INFINITY; 4]] {
            assert_eq!(shares(values), [0.25; 4]);
        }
    }

    #[test]
    fn blocks_need_not_be_square() {
        let map: Vec<f32> = (0..24).map(|x| x as f32).collect();
        assert_eq!(pooled(&map, [4, 6], [2, 2]), [4.0, 7.0, 16.0, 19.0]);
        assert_eq!([divisor(6, 4), divisor(8, 4), divisor(2, 4), divisor(7, 4)], [3, 4, 2, 1]);
    }
}
