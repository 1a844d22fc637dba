//! From the bytes of a PNG or JPEG file to red, green and blue: what `Image.open(file).convert("RGB")` gives.
//!
//! That is what torchvision's data sets see, so pictures that aren't plain RGB are treated as Pillow treats them: grey
//! becomes three equal channels, a palette is looked up, transparency is dropped without blending, of 16-bit colours the
//! upper byte is kept, CMYK is turned into RGB without a colour profile, and the orientation that a camera noted (EXIF)
//! is **not** applied. 16-bit grey pictures are refused: Pillow cuts all their values off at 255, which leaves white.
//! Pixels equal Pillow's, PNG and JPEG alike: the JPEG decoder is a translation of libjpeg-turbo, which Pillow uses.

use crate::{CHANNELS, Picture};
use libjpeg_turbo_rs::{DecodeLimits, Decoder, PixelFormat};
use png::{BitDepth, ColorType, Transformations};
use std::io::Cursor;

/// The longest side that is decoded, in pixels: more than any data set has, and less than would fill the memory.
const LONGEST: usize = 1 << 14;

/// The first bytes of every PNG file.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
/// The first bytes of every JPEG file.
const JPEG: &[u8] = &[0xff, 0xd8, 0xff];

/// Decodes a picture; its buffer is reused. The error says what is wrong with the bytes.
pub(crate) fn decode(encoded: &[u8], picture: &mut Picture) -> Result<(), String> {
    if encoded.starts_with(JPEG) {
        jpeg(encoded, picture)
    } else if encoded.starts_with(PNG) {
        png(encoded, picture)
    } else {
        Err(format!("it is {}, expected JPEG or PNG", kind(encoded)))
    }
}

/// The format of a file that isn't read here, by its first bytes.
fn kind(encoded: &[u8]) -> &'static str {
    match encoded {
        [] => "empty",
        [b'G', b'I', b'F', b'8', ..] => "a GIF",
        [b'B', b'M', ..] => "a BMP",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "a WebP",
        [b'I', b'I', b'*', 0, ..] | [b'M', b'M', 0, b'*', ..] => "a TIFF",
        [b'P', b'1'..=b'6', ..] => "a PNM",
        _ => "no picture that is known here",
    }
}

/// Sets the size of the picture, unless that is none that a picture can have.
fn resize(picture: &mut Picture, height: usize, width: usize) -> Result<(), String> {
    if height == 0 || width == 0 || height > LONGEST || width > LONGEST {
        return Err(format!("it has {width}x{height} pixels, expected 1 to {LONGEST} on each side"));
    }
    picture.resize(height, width);
    Ok(())
}

fn jpeg(encoded: &[u8], picture: &mut Picture) -> Result<(), String> {
    // The decoder fills up what is missing with grey; Pillow refuses a picture without its end, and so do we.
    if !encoded.windows(2).rev().any(|marker| marker == [0xff, 0xd9]) {
        return Err("it is cut short".to_owned());
    }
    let limits = DecodeLimits { max_width: LONGEST, max_height: LONGEST, ..DecodeLimits::strict() };
    let mut decoder = Decoder::new_with_limits(encoded, limits).map_err(|cause| one_line(&cause))?;
    decoder.set_output_format(PixelFormat::Rgb);
    let header = decoder.header();
    if header.precision != 8 || header.is_lossless {
        return Err(format!(
            "it has {} bits a colour or is lossless, expected 8 and lossy",
            header.precision
        ));
    }
    resize(picture, usize::from(header.height), usize::from(header.width))?;
    decoder.decode_image_into(&mut picture.pixels).map_err(|cause| one_line(&cause))?;
    Ok(())
}

fn png(encoded: &[u8], picture: &mut Picture) -> Result<(), String> {
    let mut decoder = png::Decoder::new(Cursor::new(encoded));
    // A palette becomes colours, fewer than 8 bits become 8.
    decoder.set_transformations(Transformations::EXPAND);
    let mut reader = decoder.read_info().map_err(|cause| one_line(&cause))?;
    let (width, height) = reader.info().size();
    let (height, width) = (height as usize, width as usize);
    resize(picture, height, width)?;
    let (colour, depth) = reader.output_color_type();
    let samples = match colour {
        ColorType::Grayscale => 1,
        ColorType::GrayscaleAlpha => 2,
        ColorType::Rgb => 3,
        ColorType::Rgba => 4,
        ColorType::Indexed => return Err("its palette is missing".to_owned()),
    };
    let wide = depth == BitDepth::Sixteen;
    if wide && samples < 3 {
        return Err("it is grey with 16 bits, expected at most 8".to_owned());
    }
    if (colour, depth) == (ColorType::Rgb, BitDepth::Eight) {
        reader.next_frame(&mut picture.pixels).map_err(|cause| one_line(&cause))?;
        return Ok(());
    }
    let mut frame = vec![0; reader.output_buffer_size().ok_or("it is too large")?];
    reader.next_frame(&mut frame).map_err(|cause| one_line(&cause))?;
    let sample_bytes = 1 + usize::from(wide);
    let pixels = picture.pixels.chunks_exact_mut(CHANNELS);
    for (out, pixel) in pixels.zip(frame.chunks_exact(samples * sample_bytes)) {
        for (channel, value) in out.iter_mut().enumerate() {
            // The upper byte comes first.
            *value = pixel[if samples < 3 { 0 } else { channel * sample_bytes }];
        }
    }
    Ok(())
}

/// What a decoder said, on one line and without a full stop.
fn one_line(cause: &dyn std::fmt::Display) -> String {
    let text = cause.to_string();
    text.split_whitespace().collect::<Vec<_>>().join(" ").trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn fixtures() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pictures")
    }

    /// Each picture of the folder is, byte for byte, what Pillow's `convert("RGB")` made of it.
    #[test]
    fn pictures_are_as_pillow_has_them() {
        let mut kinds = 0;
        for entry in std::fs::read_dir(fixtures()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|ending| ending != "rgb") {
                continue;
            }
            let expected = std::fs::read(&path).unwrap();
            let path = path.with_extension("");
            let mut picture = Picture { pixels: vec![9; 7], ..Picture::default() };
            decode(&std::fs::read(&path).unwrap(), &mut picture).unwrap();
            let side = |at: usize| u32::from_le_bytes(*expected[at..].first_chunk().unwrap()) as usize;
            assert_eq!([picture.height, picture.width], [side(0), side(4)], "{}", path.display());
            assert!(picture.pixels == expected[8..], "{}", path.display());
            kinds += 1;
        }
        assert_eq!(kinds, 17);
    }

    #[test]
    fn other_formats_and_grey_of_16_bits_are_refused_by_name() {
        for (file, problem) in [
            ("picture.gif", "it is a GIF, expected JPEG or PNG"),
            ("picture.webp", "it is a WebP, expected JPEG or PNG"),
            ("grey16.png", "it is grey with 16 bits, expected at most 8"),
        ] {
            let bytes = std::fs::read(fixtures().join(file)).unwrap();
            assert_eq!(decode(&bytes, &mut Picture::default()).unwrap_err(), problem);
        }
        assert_eq!(decode(b"", &mut Picture::default()).unwrap_err(), "it is empty, expected JPEG or PNG");
    }

    #[test]
    fn a_picture_cut_short_is_refused_wherever_the_cut_is() {
        for file in ["rgb.png", "palette.png", "rgb420.jpg", "progressive.jpg", "grey.jpg"] {
            let bytes = std::fs::read(fixtures().join(file)).unwrap();
            for cut in (0..bytes.len() - 12).step_by(17) {
                assert!(decode(&bytes[..cut], &mut Picture::default()).is_err(), "{file} cut to {cut}");
            }
        }
    }

    #[test]
    fn a_picture_too_large_is_refused_before_memory_is_taken() {
        let mut bytes = std::fs::read(fixtures().join("rgb420.jpg")).unwrap();
        let frame = bytes.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
        bytes[frame + 5..frame + 9].copy_from_slice(&[0xff; 4]);
        assert!(decode(&bytes, &mut Picture::default()).is_err());
    }
}
