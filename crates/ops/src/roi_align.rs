//! The features of a box of a map.

use candle_core::{Result, Tensor, bail};

/// The mean of `map` `[B, C, h, w]` in a box `[row1, column1, row2, column2]` of its pixels, which may cut them: `[B, C]`.
///
/// This is RoIAlign (He et al., ICCV 2017) with one bin, aligned, one box for the whole batch: the mean of the map, bilinear
/// between pixel centres, at the centres of `ceil(rows) x ceil(columns)` equal parts of the box. Where a centre lies outside
/// those of the map the nearest counts. Rows and columns being independent, it is one product with a fixed weight for
/// every pixel.
///
/// # Errors
/// If the box is empty or doesn't lie in the map.
pub fn roi_align(map: &Tensor, area: [f64; 4]) -> Result<Tensor> {
    let (batch, channels, height, width) = map.dims4()?;
    let [row1, column1, row2, column2] = area;
    let inside = |low: f64, high: f64, side: usize| low >= 0.0 && low < high && high <= side as f64;
    if !inside(row1, row2, height) || !inside(column1, column2, width) {
        bail!("roi_align: box {area:?} in a map of {height}x{width}");
    }
    let (rows, columns) = (weights(row1, row2, height), weights(column1, column2, width));
    let weights: Vec<f64> =
        rows.iter().flat_map(|row| columns.iter().map(move |column| row * column)).collect();
    let weights = Tensor::new(weights, map.device())?.to_dtype(map.dtype())?.reshape((height * width, 1))?;
    map.reshape((batch * channels, height * width))?.matmul(&weights)?.reshape((batch, channels))
}

/// How much each of `side` pixels counts in the mean from `low` to `high`.
fn weights(low: f64, high: f64, side: usize) -> Vec<f64> {
    let parts = (high - low).ceil().max(1.0);
    let mut weights = vec![0.0; side];
    for part in 0..parts as usize {
        let centre = low + (part as f64 + 0.5) * (high - low) / parts - 0.5;
        let centre = centre.clamp(0.0, (side - 1) as f64);
        let (pixel, t) = (centre as usize, centre.fract());
        weights[pixel] += (1.0 - t) / parts;
        weights[(pixel + 1).min(side - 1)] += t / parts;
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::agrees;
    use candle_core::Device;

    #[test]
    fn boxes_have_the_means_that_torchvision_gives() -> Result<()> {
        let map = (Tensor::arange(0f64, 20.0, &Device::Cpu)?.sqr()? / 10.0)?.reshape((1, 1, 4, 5))?;
        for (area, mean) in [
            ([0.0, 0.0, 4.0, 5.0], 12.35),
            ([0.5, 1.25, 2.5, 3.75], 6.205_555_4),
            ([3.5, 4.5, 4.0, 5.0], 36.1),
            ([0.0, 0.0, 0.25, 0.5], 0.0),
            ([1.0, 2.0, 2.0, 3.0], 4.9),
        ] {
            let got = roi_align(&map, area)?.to_vec2::<f64>()?[0][0];
            assert!((got - mean).abs() < 1e-6, "{area:?}: {got}");
        }
        Ok(())
    }

    #[test]
    fn gradients_are_those_in_double_precision() -> Result<()> {
        agrees(&[&[2, 3, 4, 5]], |x| roi_align(&x[0], [0.5, 1.25, 2.5, 3.75]))
    }

    #[test]
    fn a_box_that_is_empty_or_outside_is_an_error() -> Result<()> {
        let map = Tensor::zeros((1, 1, 2, 3), candle_core::DType::F32, &Device::Cpu)?;
        for area in
            [[1.0, 1.0, 1.0, 2.0], [0.0, 0.0, 2.5, 1.0], [-1.0, 0.0, 1.0, 1.0], [0.0, f64::NAN, 1.0, 1.0]]
        {
            assert!(roi_align(&map, area).is_err(), "{area:?}");
        }
        Ok(())
    }
}
