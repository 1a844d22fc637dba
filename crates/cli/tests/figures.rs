//! Pictures of what networks look at and of what becomes of blends, and runs that begin where another ended.

mod common;

use std::path::Path;

use common::{fail, program, succeed, train};
use serde_json::Value;

/// What a command prints as JSON, and the width and height of its picture.
fn drawn(command: &str, out: &Path, arguments: &[&str]) -> (Value, (u32, u32)) {
    let mut command = program(&[command, "--json", "--out"]);
    command.arg(out).args(arguments);
    let printed = serde_json::from_slice(&succeed(command).stdout).expect("JSON");
    (printed, image::image_dimensions(out).expect("a picture"))
}

/// A run that keeps its networks after both epochs.
fn kept(method: &str, out: &Path) {
    let mut command = train(method, out);
    command.args(["--keep-every", "1"]);
    succeed(command);
}

#[test]
fn where_networks_look_and_how_blends_change() {
    let folder = tempfile::tempdir().unwrap();
    let [learned, fixed, picture] = ["learned", "fixed", "out.png"].map(|name| folder.path().join(name));
    kept("adautomix", &learned);
    kept("cutmix", &fixed);
    let [learned, fixed] = [&learned, &fixed].map(|path| path.to_str().unwrap());

    let (cam, size) = drawn("cam", &picture, &[learned, "--count", "2", "--of", "guesses"]);
    // A picture and two heat maps of 160 a row, with two lines; a row for the legend.
    assert_eq!(size, (3 * 168 + 8, 3 * (160 + 2 * 13 + 8) + 8));
    let row = &cam["rows"][1];
    let said = ["network", "head", "method"].map(|key| row[key].as_str().unwrap());
    assert_eq!((said, row["stage"].as_u64()), (["teacher", "one", "adautomix"], Some(2)));
    let [first, second] = [0, 1].map(|guess| row["maps"][guess]["probability"].as_f64().unwrap());
    assert!(first >= second && row["maps"][0]["map"].as_array().unwrap().len() == 8, "{row:#}");

    let arguments = [learned, fixed, "--blends", "--count", "1", "--checkpoint", "epoch-1"];
    let (cam, _) = drawn("cam", &picture, &arguments);
    let heads = [0, 1].map(|row| cam["rows"][row]["head"].as_str().unwrap());
    assert_eq!(heads, ["mix", "one"]);
    for row in cam["rows"].as_array().unwrap() {
        let shares: f64 =
            row["shown"].as_array().unwrap().iter().map(|share| share["weight"].as_f64().unwrap()).sum();
        assert!((shares - 1.0).abs() < 0.01 && row["steps"] == 3, "{row:#}");
    }

    let (diversity, _) = drawn("diversity", &picture, &[learned, fixed, "--count", "6"]);
    let [moved, still] = [0, 1].map(|run| &diversity["runs"][run]);
    let mean = |report: &Value| report["mean"].as_f64().unwrap();
    assert_eq!(moved["epochs"], serde_json::json!([1, 2]));
    assert!(mean(&moved["blends"]) > 0.0 && mean(&moved["masks"]) > 0.0, "{moved:#}");
    assert_eq!(moved["blends"]["successive"][0], moved["blends"]["mean"]);
    assert!(mean(&still["blends"]) == 0.0 && still["masks"].is_null(), "{still:#}");

    let line = fail(program(&["diversity", learned, "--epochs", "1,7"]));
    assert!(line.ends_with("no checkpoint of epoch 7; it has kept [1, 2]"), "{line}");
    let line = fail(program(&["cam", fixed, "--network", "teacher"]));
    assert!(line.ends_with("method `cutmix` has no teacher"), "{line}");
    let line = fail(program(&["cam", fixed, "--of", "unicorn"]));
    assert!(line.contains("`unicorn`: expected `labels`, `guesses` or one of "), "{line}");
}

#[test]
fn a_run_begins_where_another_ended() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second, third] = ["first", "second", "third"].map(|name| folder.path().join(name));
    succeed(train("adautomix", &first));
    let from = format!("run:{}", first.display());
    let begin = |out: &Path, arguments: &[&str]| {
        let mut command = train("vanilla", out);
        command.args(["--pretrained", &from]).args(arguments);
        command
    };
    // Steps so small that they can't be seen: the accuracy is that of the teacher's one-hot head.
    let output = succeed(begin(&second, &["-v", "--set", "optimizer.lr=1e-12", "--set", "training.epochs=1"]));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("trained tensors, with the classifier"), "{said}");
    assert!(said.contains("run starts") && said.contains("epoch ends"), "{said}");
    let begun = std::fs::read(second.join("checkpoints/last.safetensors")).unwrap();
    let begun = candle_core::safetensors::load_buffer(&begun, &candle_core::Device::Cpu).unwrap();
    let ended = std::fs::read(first.join("checkpoints/last.safetensors")).unwrap();
    let ended = candle_core::safetensors::load_buffer(&ended, &candle_core::Device::Cpu).unwrap();
    for (now, then) in [("fc.weight", "head_one.weight"), ("layer1.0.conv1.weight", "layer1.0.conv1.weight")] {
        let distance = (&begun[&format!("student.{now}")] - &ended[&format!("teacher.{then}")]).unwrap();
        let distance = distance.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        assert!(distance < 1e-6, "{now}: {distance}");
    }
    // Resumed, it needs them no more.
    let mut resumed = train("vanilla", &second);
    resumed.args(["--resume", "--pretrained", &from]);
    resumed.args(["--set", "optimizer.lr=1e-12", "--set", "training.epochs=1"]);
    std::fs::rename(&first, &third).unwrap();
    succeed(resumed);
    let out = folder.path().join("fourth");
    let line = fail(begin(&out, &[]));
    assert!(line.contains("holds no run") && !out.exists(), "{line}");
}
