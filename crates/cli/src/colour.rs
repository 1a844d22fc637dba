//! The colours of heat maps: from a dark purple over blue and green to a light yellow, as viridis goes.
//!
//! They are laid out in Oklab (Ottosson, 2020), where equal distances look equal: lightness and hue go along in equal steps. What
//! is more is lighter, so a reader who sees fewer hues, or a grey copy, loses nothing.

/// The colour of a value between 0 and 1: red, green and blue.
pub(crate) fn heat(value: f64) -> [u8; 3] {
    linear(value.clamp(0.0, 1.0)).map(|light| {
        let light = light.clamp(0.0, 1.0);
        let encoded =
            if light <= 0.003_130_8 { 12.92 * light } else { 1.055 * light.powf(1.0 / 2.4) - 0.055 };
        (255.0 * encoded).round() as u8
    })
}

/// The same in linear light, as the way through Oklab gives it.
fn linear(value: f64) -> [f64; 3] {
    let lightness = 0.30 + 0.62 * value;
    let hue = (300.0 - 195.0 * value).to_radians();
    // The screen has little chroma to give between blue and green, in the middle of the way.
    let chroma = 0.10 + 0.05 * (2.0 * value - 1.0).powi(2);
    let (a, b) = (chroma * hue.cos(), chroma * hue.sin());
    let [l, m, s] = [
        lightness + 0.396_337_777_4 * a + 0.215_803_757_3 * b,
        lightness - 0.105_561_345_8 * a - 0.063_854_172_8 * b,
        lightness - 0.089_484_177_5 * a - 1.291_485_548_0 * b,
    ]
    .map(|root| root.powi(3));
    [
        4.076_741_662_1 * l - 3.307_711_591_3 * m + 0.230_969_929_2 * s,
        -1.268_438_004_6 * l + 2.609_757_401_1 * m - 0.341_319_396_5 * s,
        -0.004_196_086_3 * l - 0.703_418_614_7 * m + 1.707_614_701_0 * s,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_lighter_and_none_leaves_what_a_screen_shows() {
        let light = |value: f64| {
            let [r, g, b] = linear(value);
            assert!([r, g, b].iter().all(|part| (-0.005..1.0).contains(part)), "{value}: {r} {g} {b}");
            0.2126 * r + 0.7152 * g + 0.0722 * b
        };
        let steps: Vec<f64> = (0..=256).map(|step| light(f64::from(step) / 256.0)).collect();
        assert!(steps.windows(2).all(|pair| pair[1] > pair[0]));
        assert!(steps[256] / steps[0] > 20.0, "{} {}", steps[0], steps[256]);
        assert_eq!((heat(-1.0), heat(2.0)), (heat(0.0), heat(1.0)));
        let [red, green, blue] = heat(1.0);
        assert!(red > 220 && green > 220 && blue < 130, "{red} {green} {blue}");
    }
}
