//! Hue, saturation and value.

/// Red, green and blue between 0 and 1 as hue, saturation and value between 0 and 1. A grey pixel has hue 0.
pub(super) fn hsv([red, green, blue]: [f64; 3]) -> [f64; 3] {
    let value = red.max(green).max(blue);
    let spread = value - red.min(green).min(blue);
    if spread == 0.0 {
        return [0.0, 0.0, value];
    }
    let sixths = if blue == value {
        4.0 + (red - green) / spread
    } else if green == value {
        2.0 + (blue - red) / spread
    } else {
        (green - blue) / spread
    };
    [(sixths / 6.0).rem_euclid(1.0), spread / value, value]
}

/// The way back.
pub(super) fn rgb([hue, saturation, value]: [f64; 3]) -> [f64; 3] {
    let sixth = (hue * 6.0).floor();
    let rest = hue * 6.0 - sixth;
    let low = value * (1.0 - saturation);
    let falling = value * (1.0 - rest * saturation);
    let rising = value * (1.0 - (1.0 - rest) * saturation);
    match sixth as usize % 6 {
        0 => [value, rising, low],
        1 => [falling, value, low],
        2 => [low, value, rising],
        3 => [low, falling, value],
        4 => [rising, low, value],
        _ => [value, low, falling],
    }
}

/// Brightness, in ITU-R 601's weights.
pub(super) fn grey([red, green, blue]: [f64; 3]) -> f64 {
    0.299 * red + 0.587 * green + 0.114 * blue
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_is_the_way_there() {
        for index in 0..216 {
            let pixel = [index / 36, index / 6 % 6, index % 6].map(|value| f64::from(value) / 5.0);
            let back = rgb(hsv(pixel));
            assert!(pixel.iter().zip(back).all(|(a, b)| (a - b).abs() < 1e-12), "{pixel:?} {back:?}");
        }
        assert_eq!(hsv([0.0, 1.0, 0.0]), [1.0 / 3.0, 1.0, 1.0]);
        assert_eq!(hsv([0.5; 3]), [0.0, 0.0, 0.5]);
    }
}
