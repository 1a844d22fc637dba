//! How well the salient parts of pictures fit together.

/// The side of the windows whose mean saliency is compared, in pixels.
const WINDOW: usize = 8;

/// `(1 - omega) I + omega n d / sum(d)`, `[n, n]`, with `d` the distance in rows and columns between the windows where `n`
/// maps of saliency `[H, W]`, `size` (rows, columns), are largest on average.
pub fn compatibility(saliency: &[Vec<f32>], size: [usize; 2], omega: f64) -> Vec<f32> {
    let n = saliency.len();
    let places: Vec<[usize; 2]> = saliency.iter().map(|map| largest_window(map, size)).collect();
    let apart = |a: [usize; 2], b: [usize; 2]| (a[0].abs_diff(b[0]) + a[1].abs_diff(b[1])) as f32;
    let distances: Vec<f32> = places.iter().flat_map(|&a| places.iter().map(move |&b| apart(a, b))).collect();
    // Pictures that are salient at the same place have no distances to weigh.
    let sum = distances.iter().sum::<f32>().max(f32::MIN_POSITIVE);
    let entry = |(i, distance): (usize, &f32)| {
        let same = if i / n == i % n { 1.0 - omega as f32 } else { 0.0 };
        same + omega as f32 * (distance * n as f32 / sum)
    };
    distances.iter().enumerate().map(entry).collect()
}

/// The row and column of the first window of the largest mean.
fn largest_window(map: &[f32], [rows, columns]: [usize; 2]) -> [usize; 2] {
    let [height, width] = [rows.min(WINDOW), columns.min(WINDOW)];
    let along: Vec<f32> = map
        .chunks_exact(columns)
        .flat_map(|row| row.windows(width).map(|window| window.iter().sum::<f32>()))
        .collect();
    let across = columns + 1 - width;
    let (mut best, mut largest) = ([0; 2], f32::NEG_INFINITY);
    for row in 0..rows + 1 - height {
        for column in 0..across {
            let sum: f32 = (row..row + height).map(|row| along[row * across + column]).sum();
            if sum > largest {
                (best, largest) = ([row, column], sum);
            }
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_that_are_salient_apart_fit_better() {
        let spot = |index: usize| (0..144).map(|i| f32::from(u8::from(i == index))).collect::<Vec<f32>>();
        // The windows of 8 that hold pixel (0, 0) start at (0, 0), and those of (11, 11) first at (4, 4).
        let found = compatibility(&[spot(0), spot(143), spot(143)], [12, 12], 0.5);
        assert_eq!(found, [0.5, 0.375, 0.375, 0.375, 0.5, 0.0, 0.375, 0.0, 0.5]);
        assert_eq!(compatibility(&[spot(0)], [12, 12], 0.5), [0.5]);
    }
}
