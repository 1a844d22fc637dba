//! An axis: the range that it covers, and round numbers on it.

/// The range of an axis, from its first tick to its last.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scale {
    /// Round numbers in ascending order, at least two.
    pub(crate) ticks: Vec<f64>,
    /// Digits behind the point that tell two ticks apart.
    decimals: usize,
}

impl Scale {
    /// The range over all finite values, in some `wanted` steps of 1, 2 or 5 times a power of ten.
    pub(crate) fn over(values: impl Iterator<Item = f64> + Clone, wanted: f64) -> Self {
        let whole = values.clone().all(|value| value.fract() == 0.0);
        let (mut low, mut high) = values
            .filter(|value| value.is_finite())
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        if high - low < 1e-9 * high.abs().max(1e-9) {
            let margin = if high == 0.0 { 1.0 } else { high.abs() * 0.05 };
            (low, high) = (low - margin, high + margin);
        }
        let step = round_step((high - low) / wanted);
        // Between two whole numbers there is no epoch.
        let step = if whole { step.max(1.0) } else { step };
        // A value that lies on a tick but for rounding starts no step of its own.
        let first = (low / step + 1e-6).floor();
        let last = (high / step - 1e-6).ceil();
        let mut ticks = vec![first * step];
        let mut count = first;
        while count < last {
            count += 1.0;
            ticks.push(count * step);
        }
        Self { ticks, decimals: decimals(step) }
    }

    /// The range of the places 0, 1, 2 …; half a place on either side keeps the outer labels inside.
    pub(crate) fn of_places(count: usize) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "places are few")]
        let last = count.max(1) as f64 - 0.5;
        Self { ticks: vec![-0.5, last], decimals: 1 }
    }

    /// Where a value lies: 0 at the first tick, 1 at the last.
    pub(crate) fn place(&self, value: f64) -> f64 {
        let (low, high) = (self.ticks[0], self.ticks[self.ticks.len() - 1]);
        (value - low) / (high - low)
    }

    /// A tick as it is written.
    pub(crate) fn label(&self, tick: f64) -> String {
        let text = format!("{:.*}", self.decimals, tick);
        let is_zero = text.trim_start_matches('-').chars().all(|letter| matches!(letter, '0' | '.'));
        if is_zero { text.trim_start_matches('-').to_owned() } else { text.replace('-', "\u{2212}") }
    }
}

fn round_step(raw: f64) -> f64 {
    let power = 10_f64.powf(raw.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= raw * 0.999).unwrap_or(10.0);
    factor * power
}

fn decimals(step: f64) -> usize {
    (0..9)
        .find(|&digits| {
            let scaled = step * 10_f64.powi(digits);
            (scaled - scaled.round()).abs() < 1e-6
        })
        .map_or(9, |digits| usize::try_from(digits).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(values: &[f64]) -> Vec<String> {
        let scale = Scale::over(values.iter().copied(), 5.0);
        scale.ticks.iter().map(|&tick| scale.label(tick)).collect()
    }

    #[test]
    fn ticks_are_round_and_enclose_the_values() {
        assert_eq!(labels(&[1.0, 200.0]), ["0", "50", "100", "150", "200"]);
        assert_eq!(labels(&[0.0, 0.9]), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(&[-1.0, 1.0]), ["\u{2212}1", "0", "1"]);
        assert_eq!(labels(&[-1.0, 0.9]), ["\u{2212}1.0", "\u{2212}0.5", "0.0", "0.5", "1.0"]);
        assert_eq!(labels(&[0.3, 0.4, f64::NAN]), ["0.30", "0.32", "0.34", "0.36", "0.38", "0.40"]);
    }

    #[test]
    fn nothing_and_a_single_value_have_a_range() {
        assert_eq!(labels(&[]), ["0", "1"]);
        let scale = Scale::over([81.5].into_iter(), 5.0);
        assert!((0.2..0.8).contains(&scale.place(81.5)), "{scale:?}");
        assert!(Scale::over([0.0].into_iter(), 5.0).place(0.0) > 0.0);
    }
}
