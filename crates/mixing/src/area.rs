//! Boxes that are pasted into pictures.

/// A box of pixels, `[row1, column1, row2, column2]`, half open.
pub type Area = [usize; 4];

/// The box of `sides` (rows, columns) around `center`, cut at the border of a picture of `size`. Half a side is rounded
/// down, so that an odd side loses a pixel and a side of 1 is empty.
pub fn centred(size: [usize; 2], sides: [usize; 2], center: [usize; 2]) -> Area {
    let low = |axis: usize| center[axis].saturating_sub(sides[axis] / 2).min(size[axis]);
    let high = |axis: usize| (center[axis] + sides[axis] / 2).min(size[axis]);
    [low(0), low(1), high(0), high(1)]
}

/// The box around `center` that leaves a share `lambda` of a picture of `size`, before it is cut at the border; its sides are
/// in the proportion of the picture's.
pub fn leaving(size: [usize; 2], lambda: f64, center: [usize; 2]) -> Area {
    let share = (1.0 - lambda).sqrt();
    centred(size, size.map(|side| (side as f64 * share) as usize), center)
}

/// Whether there is no pixel in the box.
pub fn is_empty([row1, column1, row2, column2]: Area) -> bool {
    row1 >= row2 || column1 >= column2
}

/// The share of a picture of `size` that is *not* in the box: the weight of the label that stays.
pub fn weight_outside(size: [usize; 2], [row1, column1, row2, column2]: Area) -> f64 {
    let inside = row2.saturating_sub(row1) * column2.saturating_sub(column1);
    1.0 - inside as f64 / (size[0] * size[1]) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_are_cut_and_lose_odd_pixels() {
        assert_eq!(centred([10, 8], [5, 4], [0, 7]), [0, 5, 2, 8]);
        assert_eq!(weight_outside([10, 8], [0, 5, 2, 8]), 1.0 - 6.0 / 80.0);
        assert_eq!(weight_outside([10, 8], centred([10, 8], [1, 8], [5, 4])), 1.0);
    }
}
