//! Pictures of mixes: of one method, and of all.

mod common;

use std::path::Path;

use common::{fail, program, succeed};

/// Runs `mix` and gives what it printed, and the width and height of the picture.
fn mix(out: &Path, arguments: &[&str]) -> (String, (u32, u32)) {
    let mut command = program(&["mix", "--out"]);
    command.arg(out).args(arguments);
    let printed = String::from_utf8(succeed(command).stdout).expect("text");
    (printed, image::image_dimensions(out).expect("a picture"))
}

#[test]
fn a_row_for_each_blend_of_a_mixer() {
    let folder = tempfile::tempdir().unwrap();
    let (_, size) = mix(&folder.path().join("mix.png"), &["--recipe", "quick/cutmix"]);
    // Two pictures and their blend, 128 wide, for each of three.
    assert_eq!(size, (3 * 136 + 8, 3 * (128 + 13 + 8) + 8));
}

#[test]
fn a_tile_for_each_method() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("all.png");
    let (printed, size) = mix(&out, &["--all", "--methods", "mixup,cutmix,adautomix"]);
    // A row of pictures and one of blends, 224 wide, with the name and three labels below.
    assert_eq!(size, (5 * 232 + 8, 2 * (224 + 4 * 26 + 8) + 8));
    assert_eq!(printed.trim_end(), out.display().to_string());
    let (_, whole) = mix(&out, &["--all"]);
    assert!(whole.1 >= size.1, "{whole:?}");

    let error = fail(program(&["mix", "--all", "--methods", "mixdown"]));
    assert!(error.contains("mixdown") && error.contains("mixup"), "{error}");
}
