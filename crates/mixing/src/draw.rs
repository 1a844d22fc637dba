//! The draws that several methods share, as published code makes them.

use crate::{Error, Result};
use rand::seq::SliceRandom;
use rand::{Rng, RngCore};
use rand_distr::{Beta, Distribution};

/// How often a permutation with a fixed point is drawn again by the methods that avoid them.
const REDRAWS: usize = 10;

/// One number of Beta(`alpha`, `alpha`).
///
/// # Errors
/// If `alpha` isn't a positive number.
pub fn beta(alpha: f64, rng: &mut dyn RngCore) -> Result<f64> {
    match Beta::new(alpha, alpha) {
        Ok(distribution) if alpha.is_finite() => Ok(distribution.sample(rng)),
        _ => Err(Error::Parameter { name: "beta_parameter", value: alpha, expected: "a positive number" }),
    }
}

/// A random permutation of a batch.
pub fn permutation(batch: usize, rng: &mut dyn RngCore) -> Vec<u32> {
    let mut permutation: Vec<u32> = (0..batch as u32).collect();
    permutation.shuffle(rng);
    permutation
}

/// A random permutation that is drawn up to ten times again as long as it has a fixed point, and then accepted.
pub fn avoiding_fixed_points(batch: usize, rng: &mut dyn RngCore) -> Vec<u32> {
    let mut drawn = permutation(batch, rng);
    for _ in 0..REDRAWS {
        if drawn.iter().enumerate().all(|(i, &partner)| i as u32 != partner) {
            break;
        }
        drawn = permutation(batch, rng);
    }
    drawn
}

/// A pixel, `[row, column]`, each uniform.
pub fn pixel(height: usize, width: usize, rng: &mut dyn RngCore) -> [usize; 2] {
    [rng.random_range(0..height.max(1)), rng.random_range(0..width.max(1))]
}

/// The mixing ratios of `n` images. Two: a draw of Beta(`alpha`, `alpha`) and the rest. More: as many independent draws,
/// divided by their sum (which isn't a Dirichlet draw; published code does so).
///
/// # Errors
/// If `n` is below 2 or `alpha` isn't a positive number.
pub fn ratios(n: usize, alpha: f64, rng: &mut dyn RngCore) -> Result<Vec<f64>> {
    match n {
        0 | 1 => Err(Error::TooFewImages(n)),
        2 => beta(alpha, rng).map(|lambda| vec![lambda, 1.0 - lambda]),
        _ => loop {
            let draws = (0..n).map(|_| beta(alpha, rng)).collect::<Result<Vec<f64>>>()?;
            let sum: f64 = draws.iter().sum();
            // A tiny alpha can give nothing but zeros.
            if sum > 0.0 {
                return Ok(draws.iter().map(|draw| draw / sum).collect());
            }
        },
    }
}

/// What chance decides for one mix of `N` images per sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Draw {
    /// The mixing ratio of each image, `[N]`, summing to 1.
    pub lambdas: Vec<f64>,
    /// `N` lists of `B` indices: sample `b` is mixed of the images `partners[0][b] … partners[N-1][b]`.
    pub partners: Vec<Vec<u32>>,
}

impl Draw {
    /// Draws ratios and partners. Of two images the first is the sample itself; of more, each is an independent
    /// permutation of the batch.
    ///
    /// # Errors
    /// If `n` is below 2 or `alpha` isn't a positive number.
    pub fn sample(n: usize, alpha: f64, batch: usize, rng: &mut dyn RngCore) -> Result<Self> {
        let lambdas = ratios(n, alpha, rng)?;
        Ok(Self { lambdas, partners: partners(n, batch, rng) })
    }

    /// The ratios as the weights of labels and of linear mixes.
    pub fn weights(&self) -> Vec<f32> {
        self.lambdas.iter().map(|&lambda| lambda as f32).collect()
    }
}

fn partners(n: usize, batch: usize, rng: &mut dyn RngCore) -> Vec<Vec<u32>> {
    if n == 2 {
        crate::mixer::with_identity(&permutation(batch, rng))
    } else {
        (0..n).map(|_| permutation(batch, rng)).collect()
    }
}

/// The two mixes of a step that trains a generator of masks.
#[derive(Clone, Debug, PartialEq)]
pub struct DrawPair {
    /// The mix that trains the generator.
    pub generator: Draw,
    /// The mix that trains the classifier.
    pub classifier: Draw,
}

impl DrawPair {
    /// As published code draws: different partners for the two; different ratios too for two images, the same ones for
    /// more.
    ///
    /// # Errors
    /// As [`Draw::sample`].
    pub fn published(n: usize, alpha: f64, batch: usize, rng: &mut dyn RngCore) -> Result<Self> {
        let generator = Draw::sample(n, alpha, batch, rng)?;
        let mut classifier = Draw::sample(n, alpha, batch, rng)?;
        if n > 2 {
            classifier.lambdas.clone_from(&generator.lambdas);
        }
        Ok(Self { generator, classifier })
    }

    /// As published code draws pairs where it avoids that an image is mixed with itself.
    ///
    /// # Errors
    /// As [`Draw::sample`].
    pub fn distinct(alpha: f64, batch: usize, rng: &mut dyn RngCore) -> Result<Self> {
        let draw = |rng: &mut dyn RngCore| -> Result<Draw> {
            let lambdas = ratios(2, alpha, rng)?;
            Ok(Draw { lambdas, partners: crate::mixer::with_identity(&avoiding_fixed_points(batch, rng)) })
        };
        Ok(Self { generator: draw(rng)?, classifier: draw(rng)? })
    }

    /// As the paper has it: one set of images and ratios for both.
    ///
    /// # Errors
    /// As [`Draw::sample`].
    pub fn shared(n: usize, alpha: f64, batch: usize, rng: &mut dyn RngCore) -> Result<Self> {
        let generator = Draw::sample(n, alpha, batch, rng)?;
        Ok(Self { classifier: generator.clone(), generator })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn is_permutation(list: &[u32]) -> bool {
        let mut sorted = list.to_vec();
        sorted.sort_unstable();
        sorted.iter().enumerate().all(|(i, &x)| i as u32 == x)
    }

    #[test]
    fn the_pair_shares_what_published_code_shares() -> Result<()> {
        let rng = &mut ChaCha8Rng::seed_from_u64(1);
        let two = DrawPair::published(2, 1.0, 16, rng)?;
        assert_ne!(two.generator.lambdas, two.classifier.lambdas);
        assert_eq!(two.generator.partners[0], (0..16).collect::<Vec<u32>>());
        assert_ne!(two.generator.partners[1], two.classifier.partners[1]);
        let three = DrawPair::published(3, 1.0, 16, rng)?;
        assert_eq!(three.generator.lambdas, three.classifier.lambdas);
        assert_ne!(three.generator.partners, three.classifier.partners);
        assert!(three.generator.partners.iter().all(|list| is_permutation(list)));
        assert!((three.generator.lambdas.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        let shared = DrawPair::shared(3, 1.0, 16, rng)?;
        assert_eq!(shared.generator, shared.classifier);
        Ok(())
    }

    #[test]
    fn one_image_and_a_bad_alpha_are_errors() {
        let rng = &mut ChaCha8Rng::seed_from_u64(1);
        assert_eq!(
            Draw::sample(1, 1.0, 4, rng).unwrap_err().to_string(),
            "a mix of 1 images, expected at least 2"
        );
        for alpha in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(beta(alpha, rng).unwrap_err().to_string().ends_with("expected a positive number"));
        }
    }

    #[test]
    fn ratios_have_the_mean_and_spread_of_their_distribution() -> Result<()> {
        let rng = &mut ChaCha8Rng::seed_from_u64(2);
        let draws = (0..4000).map(|_| beta(2.0, rng)).collect::<Result<Vec<f64>>>()?;
        let mean = draws.iter().sum::<f64>() / 4000.0;
        let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 4000.0;
        assert!((mean - 0.5).abs() < 0.015 && (variance - 0.05).abs() < 0.004, "{mean} {variance}");
        Ok(())
    }

    #[test]
    fn fixed_points_are_rare_where_they_are_avoided() {
        let rng = &mut ChaCha8Rng::seed_from_u64(3);
        let fixed = |list: Vec<u32>| list.iter().enumerate().any(|(i, &x)| i as u32 == x);
        assert!((0..200).filter(|_| fixed(avoiding_fixed_points(20, rng))).count() < 20);
        assert!((0..200).filter(|_| fixed(permutation(20, rng))).count() > 80);
        assert_eq!(avoiding_fixed_points(1, rng), [0]);
    }
}
