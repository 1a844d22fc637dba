//! The discrete Fourier transform of pictures, as products with matrices of cosines and sines: operations that have a
//! gradient and run on every device, and for pictures of training size a small part of a network's work.

use std::f64::consts::TAU;

use candle_core::{Device, Result, Tensor};

/// The share of a plane's largest amplitude up to which another is none.
const NOTHING: f64 = 1e-6;

/// The transform of planes of one size.
pub(super) struct Fourier {
    /// Cosine and sine, `[H, H]`.
    rows: [Tensor; 2],
    /// Cosine and sine, `[W, W]`.
    columns: [Tensor; 2],
}

/// What a picture is made of: for each frequency an amplitude and a phase.
pub(super) struct Spectrum {
    /// `[B, C, H, W]`
    pub(super) amplitude: Tensor,
    /// Cosine and sine of the phase, `[B, C, H, W]` each. Where there is no amplitude, the phase is 0.
    phase: [Tensor; 2],
}

impl Spectrum {
    /// The same phases with other amplitudes.
    pub(super) fn with(&self, amplitude: Tensor) -> Self {
        Self { amplitude, phase: self.phase.clone() }
    }
}

impl Fourier {
    pub(super) fn new([height, width]: [usize; 2], device: &Device) -> Result<Self> {
        let matrix = |n: usize, wave: fn(f64) -> f64| {
            // The product is taken modulo n first: a large angle has a coarse cosine.
            let angle = |at: usize| TAU * ((at / n) * (at % n) % n) as f64 / n as f64;
            let values: Vec<f32> = (0..n * n).map(|at| wave(angle(at)) as f32).collect();
            Tensor::from_vec(values, (n, n), device)
        };
        let both = |n| -> Result<_> { Ok([matrix(n, f64::cos)?, matrix(n, f64::sin)?]) };
        Ok(Self { rows: both(height)?, columns: both(width)? })
    }

    /// The spectra of `pictures` `[B, C, H, W]`.
    pub(super) fn spectrum(&self, pictures: &Tensor) -> Result<Spectrum> {
        let [cos, sin] = &self.columns;
        let (even, odd) = (times(pictures, cos)?, times(pictures, sin)?);
        let [cos, sin] = &self.rows;
        let real = (on_columns(&even, cos)? - on_columns(&odd, sin)?)?;
        let imaginary = (on_columns(&even, sin)? + on_columns(&odd, cos)?)?.neg()?;
        let amplitude = (real.sqr()? + imaginary.sqr()?)?.sqrt()?;
        // What rounding leaves of an amplitude that is 0 has no phase: it would be that of another picture's amplitude.
        let least = (amplitude.max_keepdim(2)?.max_keepdim(3)? * NOTHING)?;
        let none = amplitude.broadcast_le(&least)?;
        let (one, zero) = (amplitude.ones_like()?, amplitude.zeros_like()?);
        let divisor = none.where_cond(&one, &amplitude)?;
        let cosine = none.where_cond(&one, &(real / &divisor)?)?;
        let sine = none.where_cond(&zero, &(imaginary / divisor)?)?;
        Ok(Spectrum { amplitude, phase: [cosine, sine] })
    }

    /// The pictures `[B, C, H, W]` that have these spectra. An imaginary part, which a spectrum has that isn't the same at
    /// opposite frequencies, is left out.
    pub(super) fn pictures(&self, spectrum: &Spectrum) -> Result<Tensor> {
        let [real, imaginary] =
            [(&spectrum.amplitude * &spectrum.phase[0])?, (&spectrum.amplitude * &spectrum.phase[1])?];
        let [cos, sin] = &self.columns;
        let even = (times(&real, cos)? - times(&imaginary, sin)?)?;
        let odd = (times(&real, sin)? + times(&imaginary, cos)?)?;
        let [cos, sin] = &self.rows;
        let count = spectrum.amplitude.dim(2)? * spectrum.amplitude.dim(3)?;
        (on_columns(&even, cos)? - on_columns(&odd, sin)?)? / count as f64
    }
}

/// Each row of the planes, times a matrix.
fn times(planes: &Tensor, matrix: &Tensor) -> Result<Tensor> {
    let (b, c, h, w) = planes.dims4()?;
    planes.reshape((b * c * h, w))?.matmul(matrix)?.reshape((b, c, h, w))
}

/// Each column of the planes, times a symmetric matrix.
fn on_columns(planes: &Tensor, matrix: &Tensor) -> Result<Tensor> {
    times(&planes.t()?.contiguous()?, matrix)?.t()?.contiguous()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: [usize; 2] = [5, 6];

    /// Two pictures of two channels.
    fn pictures() -> Vec<f32> {
        (0..4 * 30).map(|i| (i as f32 * 0.61).sin() + 0.3).collect()
    }

    fn tensor(values: &[f32]) -> Tensor {
        Tensor::new(values, &Device::Cpu).unwrap().reshape((2, 2, SIZE[0], SIZE[1])).unwrap()
    }

    fn flat(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn spectra_are_the_sums_of_the_definition() {
        let values = pictures();
        let fourier = Fourier::new(SIZE, &Device::Cpu).unwrap();
        let spectrum = fourier.spectrum(&tensor(&values)).unwrap();
        let [amplitude, cosine, sine] =
            [&spectrum.amplitude, &spectrum.phase[0], &spectrum.phase[1]].map(flat);
        for (plane, values) in values.chunks(30).enumerate() {
            for at in 0..30 {
                let (i, j) = (at / 6, at % 6);
                let [mut real, mut imaginary] = [0f64; 2];
                for (pixel, value) in values.iter().enumerate() {
                    let angle = TAU * ((i * (pixel / 6)) as f64 / 5.0 + (j * (pixel % 6)) as f64 / 6.0);
                    real += f64::from(*value) * angle.cos();
                    imaginary -= f64::from(*value) * angle.sin();
                }
                let here = plane * 30 + at;
                let length = f64::from(amplitude[here]);
                assert!((length - real.hypot(imaginary)).abs() < 1e-5);
                assert!((length * f64::from(cosine[here]) - real).abs() < 1e-5);
                assert!((length * f64::from(sine[here]) - imaginary).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn a_spectrum_gives_its_picture_back_and_a_black_one_has_a_phase_too() {
        let mut values = pictures();
        values[30..60].fill(0.0);
        let fourier = Fourier::new(SIZE, &Device::Cpu).unwrap();
        let spectrum = fourier.spectrum(&tensor(&values)).unwrap();
        let back = flat(&fourier.pictures(&spectrum).unwrap());
        assert!(values.iter().zip(&back).all(|(value, back)| (value - back).abs() < 1e-6));
        // A wave on grey is even, as it is on black, though rounding leaves grey with amplitudes of other phases.
        values[60..90].fill(0.7);
        let spectrum = fourier.spectrum(&tensor(&values)).unwrap();
        let mut amplitude = flat(&spectrum.amplitude);
        for plane in [30, 60] {
            (amplitude[plane + 2], amplitude[plane + 4]) = (3.0, 3.0);
        }
        let waves = flat(&fourier.pictures(&spectrum.with(tensor(&amplitude))).unwrap());
        for pixel in 0..30 {
            let wave = 0.2 * (TAU * (pixel % 6) as f64 / 3.0).cos() as f32;
            assert!((waves[30 + pixel] - wave).abs() < 1e-5 && (waves[60 + pixel] - 0.7 - wave).abs() < 1e-5);
        }
        // With an amplitude of its own at frequency 0 only, black becomes grey.
        let mut amplitude = vec![0f32; 120];
        amplitude[30] = 15.0;
        let grey = flat(&fourier.pictures(&spectrum.with(tensor(&amplitude))).unwrap());
        assert!(grey[30..60].iter().all(|value| (value - 0.5).abs() < 1e-6));
    }
}
