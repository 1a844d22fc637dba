//! The margin rule: where one image would hardly be seen, published code gives the classifier the linear mix instead.

use super::check_lambdas;
use crate::{Error, Result};
use candle_core::Tensor;
use std::str::FromStr;

/// When the classifier's masks are replaced by the ratios. `m` is the margin, `l0` the first ratio; the others are not
/// looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarginRule {
    /// Never; the paper has no such rule.
    None,
    /// Two images: `m >= l0` or `m >= 1 - l0`.
    Pair,
    /// More than two, in the authors' code: `m >= l0` or `m > 1 - l0`.
    Author,
    /// More than two, in the port to OpenMixup: `m >= l0` or `m < 1 - l0`. The turned comparison, a fault that published
    /// results of the port have, fires nearly always.
    Openmixup,
}

impl MarginRule {
    /// Its name in recipes.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pair => "pair",
            Self::Author => "author",
            Self::Openmixup => "openmixup",
        }
    }

    /// Whether the masks are replaced. A margin below 0 counts as 0.
    ///
    /// # Errors
    /// If the rule is for another number of images or the ratios don't sum to 1.
    pub fn fires(self, lambdas: &[f64], margin: f64) -> Result<bool> {
        check_lambdas(lambdas)?;
        let (first, rest, margin) = (lambdas[0], 1.0 - lambdas[0], margin.max(0.0));
        let mismatch = |expected| Error::MarginRule { rule: self.name(), expected, images: lambdas.len() };
        match self {
            Self::None => Ok(false),
            Self::Pair if lambdas.len() != 2 => Err(mismatch("2")),
            Self::Author | Self::Openmixup if lambdas.len() == 2 => Err(mismatch("more than 2")),
            Self::Pair => Ok(margin >= first || margin >= rest),
            Self::Author => Ok(margin >= first || margin > rest),
            Self::Openmixup => Ok(margin >= first || margin < rest),
        }
    }
}

impl FromStr for MarginRule {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let rules = [Self::None, Self::Pair, Self::Author, Self::Openmixup];
        rules.into_iter().find(|rule| rule.name() == name).ok_or_else(|| Error::Unknown {
            what: "margin rule".to_string(),
            name: name.to_string(),
            known: rules.map(Self::name).join(", "),
        })
    }
}

/// The classifier's masks `[B, N, H, W]` after the rule: where it fires, the channels 0, 1 and 2, as far as they exist, are
/// the constants `lambda_0`, `lambda_1`, `lambda_2`. From four images on the others stay, as in the published code, and
/// the sum isn't 1.
///
/// # Errors
/// As [`MarginRule::fires`], or if the masks have another number of channels than there are ratios.
pub fn apply_margin(masks: &Tensor, lambdas: &[f64], margin: f64, rule: MarginRule) -> Result<Tensor> {
    let (batch, n, height, width) = masks.dims4()?;
    if n != lambdas.len() {
        return Err(Error::LambdaCount { lambdas: lambdas.len(), images: n });
    }
    if !rule.fires(lambdas, margin)? {
        return Ok(masks.clone());
    }
    let replaced = n.min(3);
    let constants = Tensor::new(&lambdas[..replaced], masks.device())?.to_dtype(masks.dtype())?;
    let constants = constants.reshape((1, replaced, 1, 1))?.broadcast_as((batch, replaced, height, width))?;
    if replaced == n {
        return Ok(constants.contiguous()?);
    }
    Ok(Tensor::cat(&[&constants, &masks.narrow(1, replaced, n - replaced)?], 1)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn rules_fire_where_they_say() -> Result<()> {
        // At the bound itself the rules differ: `>=` for the first ratio, and for the rest only in `pair`.
        assert!(MarginRule::Pair.fires(&[0.75, 0.25], 0.25)?);
        assert!(MarginRule::Pair.fires(&[0.25, 0.75], 0.25)?);
        assert!(!MarginRule::Pair.fires(&[0.5, 0.5], 0.25)?);
        assert!(!MarginRule::Author.fires(&[0.75, 0.125, 0.125], 0.25)?);
        assert!(MarginRule::Author.fires(&[0.25, 0.5, 0.25], 0.25)?);
        assert!(MarginRule::Openmixup.fires(&[0.5, 0.25, 0.25], 0.03)?);
        assert!(!MarginRule::Openmixup.fires(&[0.98, 0.01, 0.01], 0.03)?);
        assert!(MarginRule::Pair.fires(&[0.0, 1.0], -1.0)?);
        assert!(!MarginRule::None.fires(&[0.0, 1.0], 0.5)?);
        assert!(MarginRule::Pair.fires(&[0.5, 0.25, 0.25], 0.03).is_err());
        assert!(MarginRule::Author.fires(&[0.5, 0.5], 0.03).is_err());
        assert!(MarginRule::Openmixup.fires(&[0.5, 0.4], 0.03).is_err());
        Ok(())
    }

    #[test]
    fn three_channels_are_replaced_and_no_more() -> Result<()> {
        let masks = Tensor::new(&[[[[0.7f32]], [[0.1]], [[0.1]], [[0.1]]]], &Device::Cpu)?;
        let lambdas = [0.01, 0.5, 0.25, 0.24];
        let replaced = apply_margin(&masks, &lambdas, 0.03, MarginRule::Author)?;
        assert_eq!(replaced.flatten_all()?.to_vec1::<f32>()?, [0.01, 0.5, 0.25, 0.1]);
        assert!(apply_margin(&masks, &[0.5, 0.5], 0.03, MarginRule::Pair).is_err());
        Ok(())
    }

    #[test]
    fn names_round_trip() -> Result<()> {
        for rule in [MarginRule::None, MarginRule::Pair, MarginRule::Author, MarginRule::Openmixup] {
            assert_eq!(rule.name().parse::<MarginRule>()?, rule);
        }
        let error = "Pair".parse::<MarginRule>().unwrap_err().to_string();
        assert_eq!(error, "margin rule `Pair` is unknown, expected one of none, pair, author, openmixup");
        Ok(())
    }
}
