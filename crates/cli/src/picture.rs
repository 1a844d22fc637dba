//! Grids of captioned pictures as PNG files, for `data preview` and `mix`.

use anyhow::{Context, Result, ensure};
use image::{Rgb, RgbImage};
use std::path::Path;

/// A picture of a grid, with text below it.
pub(crate) struct Tile {
    /// Rows of the picture.
    pub(crate) height: usize,
    /// Columns of the picture.
    pub(crate) width: usize,
    /// Interleaved red, green and blue, row by row from the top.
    pub(crate) pixels: Vec<u8>,
    /// What stands below it, in lines; what is too long for the width is cut.
    pub(crate) caption: String,
}

const PAPER: Rgb<u8> = Rgb([255, 255, 255]);
const INK: Rgb<u8> = Rgb([40, 40, 48]);
/// Pixels between tiles and around them.
const GAP: usize = 8;
/// A glyph is 5 by 7 pixels; another column parts it from the next.
const ADVANCE: usize = 6;
const GLYPH_HEIGHT: usize = 7;
/// Letters that reach below the line stand this much lower.
const DESCENT: usize = 2;
const TEXT_HEIGHT: usize = GLYPH_HEIGHT + DESCENT;
/// From the picture to its caption, and from line to line.
const LEAD: usize = 4;
/// A tile of so many pixels more has letters of another pixel more: some 20 of them go into the width.
const WIDTH_OF_LETTERS: usize = 96;

/// Lays tiles out in rows of `columns`, each pixel `scale` wide and high; all cells are as large as the largest tile.
pub(crate) fn grid(tiles: &[Tile], columns: usize, scale: usize) -> Result<RgbImage> {
    ensure!(!tiles.is_empty() && columns > 0 && scale > 0, "a grid needs pictures, columns and a scale");
    let lines = tiles.iter().map(|tile| tile.caption.lines().count()).max().unwrap_or(0);
    let tile_width = tiles.iter().map(|tile| tile.width * scale).max().unwrap_or(0);
    let picture_height = tiles.iter().map(|tile| tile.height * scale).max().unwrap_or(0);
    let letters = (tile_width / WIDTH_OF_LETTERS).max(1);
    let line_height = (LEAD + TEXT_HEIGHT) * letters;
    let tile_height = picture_height + lines * line_height;
    let columns = columns.min(tiles.len());
    let rows = tiles.len().div_ceil(columns);
    let (width, height) = (columns * (tile_width + GAP) + GAP, rows * (tile_height + GAP) + GAP);
    let mut image = RgbImage::from_pixel(u32::try_from(width)?, u32::try_from(height)?, PAPER);
    for (index, tile) in tiles.iter().enumerate() {
        ensure!(
            tile.pixels.len() == tile.height * tile.width * 3,
            "tile {index} has {} bytes, expected {} x {} x 3",
            tile.pixels.len(),
            tile.height,
            tile.width
        );
        let left = GAP + index % columns * (tile_width + GAP);
        let top = GAP + index / columns * (tile_height + GAP);
        for y in 0..tile.height * scale {
            for x in 0..tile.width * scale {
                let at = (y / scale * tile.width + x / scale) * 3;
                let pixel = [tile.pixels[at], tile.pixels[at + 1], tile.pixels[at + 2]];
                image.put_pixel((left + x) as u32, (top + y) as u32, Rgb(pixel));
            }
        }
        for (line, text) in tile.caption.lines().enumerate() {
            let top = top + picture_height + line * line_height + LEAD * letters;
            write(&mut image, text, [left, top], tile_width, letters);
        }
    }
    Ok(image)
}

/// Grids below each other.
pub(crate) fn stacked(grids: &[RgbImage]) -> RgbImage {
    let width = grids.iter().map(RgbImage::width).max().unwrap_or(0);
    let mut image = RgbImage::from_pixel(width, grids.iter().map(RgbImage::height).sum(), PAPER);
    let mut top = 0;
    for grid in grids {
        image::imageops::replace(&mut image, grid, 0, top);
        top += i64::from(grid.height());
    }
    image
}

/// Writes a line of text from `[left, top]` on, as much as goes into `width` pixels, its dots `size` wide and high.
fn write(image: &mut RgbImage, text: &str, [left, top]: [usize; 2], width: usize, size: usize) {
    for (at, character) in text.chars().take((width / size + 1) / ADVANCE).enumerate() {
        let down = if "gjpqy,".contains(character) { DESCENT } else { 0 };
        for (y, row) in glyph(character).into_iter().enumerate() {
            for x in (0..5).filter(|x| row >> (4 - x) & 1 == 1) {
                let [left, top] = [left + (at * ADVANCE + x) * size, top + (down + y) * size];
                for dot in 0..size * size {
                    image.put_pixel((left + dot % size) as u32, (top + dot / size) as u32, INK);
                }
            }
        }
    }
}

/// Writes an image as PNG, aside first, so that no half of it is left behind.
pub(crate) fn save(image: &RgbImage, path: &Path) -> Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".part");
    let written = image
        .save_with_format(&aside, image::ImageFormat::Png)
        .map_err(anyhow::Error::from)
        .and_then(|()| Ok(std::fs::rename(&aside, path)?));
    if written.is_err() {
        // The first fault is the one to tell; there may be no file to remove.
        let _ = std::fs::remove_file(&aside);
    }
    written.with_context(|| format!("cannot write `{}`", path.display()))
}

/// The rows of a character from the top, five bits each; a box for what the font doesn't have.
fn glyph(character: char) -> [u8; GLYPH_HEIGHT] {
    const UNKNOWN: [u8; GLYPH_HEIGHT] = [0b11111, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b11111];
    FONT.binary_search_by_key(&character, |&(known, _)| known).map_or(UNKNOWN, |at| FONT[at].1)
}

/// The font, in the order of its characters.
#[rustfmt::skip]
const FONT: &[(char, [u8; GLYPH_HEIGHT])] = &[
    (' ', [0b00000, 0b00000, 0b00000, 0b00000, 0b00000, 0b00000, 0b00000]),
    ('!', [0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b00000, 0b00100]),
    ('%', [0b11001, 0b11001, 0b00010, 0b00100, 0b01000, 0b10011, 0b10011]),
    ('\'', [0b00100, 0b00100, 0b00000, 0b00000, 0b00000, 0b00000, 0b00000]),
    ('(', [0b00010, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b00010]),
    (')', [0b01000, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01000]),
    ('+', [0b00000, 0b00100, 0b00100, 0b11111, 0b00100, 0b00100, 0b00000]),
    (',', [0b00000, 0b00000, 0b00000, 0b00100, 0b00100, 0b01000, 0b00000]),
    ('-', [0b00000, 0b00000, 0b00000, 0b11111, 0b00000, 0b00000, 0b00000]),
    ('.', [0b00000, 0b00000, 0b00000, 0b00000, 0b00000, 0b00000, 0b00100]),
    ('/', [0b00001, 0b00001, 0b00010, 0b00100, 0b01000, 0b10000, 0b10000]),
    ('0', [0b01110, 0b10001, 0b10011, 0b10101, 0b11001, 0b10001, 0b01110]),
    ('1', [0b00100, 0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110]),
    ('2', [0b01110, 0b10001, 0b00001, 0b00010, 0b00100, 0b01000, 0b11111]),
    ('3', [0b01110, 0b10001, 0b00001, 0b00110, 0b00001, 0b10001, 0b01110]),
    ('4', [0b00010, 0b00110, 0b01010, 0b10010, 0b11111, 0b00010, 0b00010]),
    ('5', [0b11111, 0b10000, 0b11110, 0b00001, 0b00001, 0b10001, 0b01110]),
    ('6', [0b00110, 0b01000, 0b10000, 0b11110, 0b10001, 0b10001, 0b01110]),
    ('7', [0b11111, 0b00001, 0b00010, 0b00100, 0b00100, 0b01000, 0b01000]),
    ('8', [0b01110, 0b10001, 0b10001, 0b01110, 0b10001, 0b10001, 0b01110]),
    ('9', [0b01110, 0b10001, 0b10001, 0b01111, 0b00001, 0b00010, 0b01100]),
    (':', [0b00000, 0b00100, 0b00000, 0b00000, 0b00000, 0b00100, 0b00000]),
    ('<', [0b00010, 0b00100, 0b01000, 0b10000, 0b01000, 0b00100, 0b00010]),
    ('=', [0b00000, 0b00000, 0b11111, 0b00000, 0b11111, 0b00000, 0b00000]),
    ('>', [0b01000, 0b00100, 0b00010, 0b00001, 0b00010, 0b00100, 0b01000]),
    ('?', [0b01110, 0b10001, 0b00001, 0b00010, 0b00100, 0b00000, 0b00100]),
    ('A', [0b00100, 0b01010, 0b10001, 0b10001, 0b11111, 0b10001, 0b10001]),
    ('B', [0b11110, 0b10001, 0b10001, 0b11110, 0b10001, 0b10001, 0b11110]),
    ('C', [0b01110, 0b10001, 0b10000, 0b10000, 0b10000, 0b10001, 0b01110]),
    ('D', [0b11110, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b11110]),
    ('E', [0b11111, 0b10000, 0b10000, 0b11110, 0b10000, 0b10000, 0b11111]),
    ('F', [0b11111, 0b10000, 0b10000, 0b11110, 0b10000, 0b10000, 0b10000]),
    ('G', [0b01110, 0b10001, 0b10000, 0b10111, 0b10001, 0b10001, 0b01110]),
    ('H', [0b10001, 0b10001, 0b10001, 0b11111, 0b10001, 0b10001, 0b10001]),
    ('I', [0b01110, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110]),
    ('J', [0b00111, 0b00010, 0b00010, 0b00010, 0b00010, 0b10010, 0b01100]),
    ('K', [0b10001, 0b10010, 0b10100, 0b11000, 0b10100, 0b10010, 0b10001]),
    ('L', [0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b11111]),
    ('M', [0b10001, 0b11011, 0b10101, 0b10101, 0b10001, 0b10001, 0b10001]),
    ('N', [0b10001, 0b11001, 0b11001, 0b10101, 0b10011, 0b10011, 0b10001]),
    ('O', [0b01110, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b01110]),
    ('P', [0b11110, 0b10001, 0b10001, 0b11110, 0b10000, 0b10000, 0b10000]),
    ('Q', [0b01110, 0b10001, 0b10001, 0b10001, 0b10101, 0b10010, 0b01101]),
    ('R', [0b11110, 0b10001, 0b10001, 0b11110, 0b10100, 0b10010, 0b10001]),
    ('S', [0b01111, 0b10000, 0b10000, 0b01110, 0b00001, 0b00001, 0b11110]),
    ('T', [0b11111, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100]),
    ('U', [0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b01110]),
    ('V', [0b10001, 0b10001, 0b10001, 0b10001, 0b01010, 0b01010, 0b00100]),
    ('W', [0b10001, 0b10001, 0b10001, 0b10101, 0b10101, 0b11011, 0b10001]),
    ('X', [0b10001, 0b10001, 0b01010, 0b00100, 0b01010, 0b10001, 0b10001]),
    ('Y', [0b10001, 0b10001, 0b01010, 0b00100, 0b00100, 0b00100, 0b00100]),
    ('Z', [0b11111, 0b00001, 0b00010, 0b00100, 0b01000, 0b10000, 0b11111]),
    ('[', [0b00110, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b00110]),
    (']', [0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01100]),
    ('_', [0b00000, 0b00000, 0b00000, 0b00000, 0b00000, 0b00000, 0b11111]),
    ('a', [0b00000, 0b00000, 0b01110, 0b00001, 0b01111, 0b10001, 0b01111]),
    ('b', [0b10000, 0b10000, 0b11110, 0b10001, 0b10001, 0b10001, 0b11110]),
    ('c', [0b00000, 0b00000, 0b01110, 0b10000, 0b10000, 0b10000, 0b01110]),
    ('d', [0b00001, 0b00001, 0b01111, 0b10001, 0b10001, 0b10001, 0b01111]),
    ('e', [0b00000, 0b00000, 0b01110, 0b10001, 0b11111, 0b10000, 0b01110]),
    ('f', [0b00110, 0b01000, 0b11110, 0b01000, 0b01000, 0b01000, 0b01000]),
    ('g', [0b01111, 0b10001, 0b10001, 0b10001, 0b01111, 0b00001, 0b01110]),
    ('h', [0b10000, 0b10000, 0b11110, 0b10001, 0b10001, 0b10001, 0b10001]),
    ('i', [0b00100, 0b00000, 0b01100, 0b00100, 0b00100, 0b00100, 0b01110]),
    ('j', [0b00010, 0b00000, 0b00110, 0b00010, 0b00010, 0b10010, 0b01100]),
    ('k', [0b10000, 0b10000, 0b10010, 0b10100, 0b11000, 0b10100, 0b10010]),
    ('l', [0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110]),
    ('m', [0b00000, 0b00000, 0b11010, 0b10101, 0b10101, 0b10101, 0b10101]),
    ('n', [0b00000, 0b00000, 0b11110, 0b10001, 0b10001, 0b10001, 0b10001]),
    ('o', [0b00000, 0b00000, 0b01110, 0b10001, 0b10001, 0b10001, 0b01110]),
    ('p', [0b11110, 0b10001, 0b10001, 0b10001, 0b11110, 0b10000, 0b10000]),
    ('q', [0b01111, 0b10001, 0b10001, 0b10001, 0b01111, 0b00001, 0b00001]),
    ('r', [0b00000, 0b00000, 0b10110, 0b11000, 0b10000, 0b10000, 0b10000]),
    ('s', [0b00000, 0b00000, 0b01111, 0b10000, 0b01110, 0b00001, 0b11110]),
    ('t', [0b01000, 0b01000, 0b11110, 0b01000, 0b01000, 0b01001, 0b00110]),
    ('u', [0b00000, 0b00000, 0b10001, 0b10001, 0b10001, 0b10001, 0b01111]),
    ('v', [0b00000, 0b00000, 0b10001, 0b10001, 0b10001, 0b01010, 0b00100]),
    ('w', [0b00000, 0b00000, 0b10001, 0b10001, 0b10101, 0b10101, 0b01010]),
    ('x', [0b00000, 0b00000, 0b10001, 0b01010, 0b00100, 0b01010, 0b10001]),
    ('y', [0b10001, 0b10001, 0b10001, 0b10001, 0b01111, 0b00001, 0b01110]),
    ('z', [0b00000, 0b00000, 0b11111, 0b00010, 0b00100, 0b01000, 0b11111]),
    ('λ', [0b01000, 0b00100, 0b00100, 0b00100, 0b01010, 0b10001, 0b10001]),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn tile(value: u8, caption: &str) -> Tile {
        Tile { height: 1, width: 2, pixels: vec![value; 6], caption: caption.to_owned() }
    }

    #[test]
    fn tiles_stand_in_rows_with_their_captions_below() {
        let image = grid(&[tile(1, "L"), tile(2, ""), tile(3, "")], 2, 3).unwrap();
        // Two columns of 6 pixels, two rows of 3 pixels, a lead of 4 and a text of 9.
        assert_eq!(image.dimensions(), (2 * 14 + 8, 2 * 24 + 8));
        assert_eq!(image.get_pixel(8, 8), &Rgb([1; 3]));
        assert_eq!(image.get_pixel(22 + 5, 8 + 2), &Rgb([2; 3]));
        assert_eq!(image.get_pixel(8, 32), &Rgb([3; 3]));
        let stem = (0..7).all(|y| image.get_pixel(8, 15 + y) == &INK);
        let foot = (0..5).all(|x| image.get_pixel(8 + x, 21) == &INK);
        assert!(stem && foot && image.get_pixel(9, 15) == &PAPER);
        assert!(grid(&[], 2, 3).is_err());
    }

    #[test]
    fn wide_tiles_have_large_letters_and_captions_have_lines() {
        let wide = |caption| Tile { height: 1, width: 200, pixels: vec![9; 600], caption };
        let image = grid(&[wide("L\nL".to_owned()), wide("L".to_owned())], 2, 1).unwrap();
        assert_eq!(image.dimensions(), (2 * 208 + 8, 1 + 2 * 26 + 16));
        for (left, lines) in [(8, 2), (216, 1)] {
            let stems = (9..69).filter(|&y| image.get_pixel(left, y) == &INK).count();
            assert_eq!(stems, lines * 14);
            assert_eq!(image.get_pixel(left + 1, 9 + 8), &INK);
        }
    }

    #[test]
    fn the_font_is_in_order_and_has_what_captions_need() {
        assert!(FONT.is_sorted_by_key(|&(character, _)| character));
        let needed = ('a'..='z').chain('A'..='Z').chain('0'..='9').chain("λ .,:=+-%/()_".chars());
        for character in needed {
            assert!(FONT.iter().any(|&(known, _)| known == character), "{character}");
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let path = Path::new("no/such/folder/grid.png");
        let error = save(&RgbImage::new(1, 1), path).unwrap_err();
        assert!(format!("{error:#}").starts_with("cannot write `no/such/folder/grid.png`: "));
    }
}
