//! Hues moved along the colour wheel, by way of Pillow's HSV with a byte for each of hue, saturation and value.

use crate::{CHANNELS, Picture};

/// Moves the hues of a picture by a share of the colour wheel, from -1 to 1, as torchvision's `adjust_hue` does.
pub(super) fn turn(picture: &mut Picture, share: f64) {
    let steps = (share * 255.0) as i32 as u8;
    for pixel in picture.pixels.chunks_exact_mut(CHANNELS) {
        let [hue, saturation, value] = hue_saturation_value([pixel[0], pixel[1], pixel[2]]);
        pixel.copy_from_slice(&red_green_blue([hue.wrapping_add(steps), saturation, value]));
    }
}

fn hue_saturation_value([red, green, blue]: [u8; CHANNELS]) -> [u8; CHANNELS] {
    let (most, least) = (red.max(green).max(blue), red.min(green).min(blue));
    if most == least {
        return [0, 0, most];
    }
    let range = f32::from(most - least);
    let below = |byte: u8| f32::from(most - byte) / range;
    let (red_below, green_below, blue_below) = (below(red), below(green), below(blue));
    let sixths = if red == most {
        blue_below - green_below
    } else if green == most {
        (2.0 + f64::from(red_below) - f64::from(blue_below)) as f32
    } else {
        (4.0 + f64::from(green_below) - f64::from(red_below)) as f32
    };
    // A hue below red comes from the other end.
    let hue = ((f64::from(sixths) / 6.0 + 1.0) % 1.0) as f32;
    let saturation = range / f32::from(most);
    [(f64::from(hue) * 255.0) as u8, (f64::from(saturation) * 255.0) as u8, most]
}

fn red_green_blue([hue, saturation, value]: [u8; CHANNELS]) -> [u8; CHANNELS] {
    if saturation == 0 {
        return [value; CHANNELS];
    }
    let share = (f64::from(saturation) / 255.0) as f32;
    let sixths = (f64::from(hue) * 6.0 / 255.0) as f32;
    let sector = sixths.floor();
    let rest = sixths - sector;
    let (share, rest, full) = (f64::from(share), f64::from(rest), f64::from(value));
    let [low, falling, rising] = [1.0 - share, 1.0 - share * rest, 1.0 - share * (1.0 - rest)]
        .map(|factor| (full * factor).round() as u8);
    match sector as u8 % 6 {
        0 => [value, rising, low],
        1 => [falling, value, low],
        2 => [low, value, rising],
        3 => [low, falling, value],
        4 => [rising, low, value],
        _ => [value, low, falling],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{digest, picture};

    #[test]
    fn every_byte_is_torchvisions() {
        // `adjust_hue` of torchvision 0.29 on a Pillow picture.
        for (share, expected) in [
            (0.1, "0bb6f306b6b2fa2f4b390692aaf768a1"),
            (-0.37, "ad76422521e22897ea50e92a56cbc4a6"),
            (0.5, "2485c453b3d3f0abd74e0c4822e54dc6"),
            // A byte for the hue can't hold all colours: no turn isn't quite none.
            (0.0, "aefa945ee63055a7a76e39698f81bef0"),
        ] {
            let mut picture = picture(64, 64, [3, 5, 0, 251]);
            turn(&mut picture, share);
            assert_eq!(digest(&picture.pixels), expected, "{share}");
        }
    }
}
