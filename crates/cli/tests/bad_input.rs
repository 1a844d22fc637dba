//! Whatever is wrong is said in one line that names the file or field, with exit code 1, and nothing half-written stays.

mod common;

use std::path::Path;

use common::{fail, program, succeed, train};

fn with(method: &str, out: &Path, arguments: &[&str]) -> String {
    let mut command = train(method, out);
    command.args(arguments);
    fail(command)
}

/// No temporary file is left in a run's folder.
fn assert_tidy(out: &Path) {
    for folder in [out.to_owned(), out.join("checkpoints")] {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries {
            let name = entry.expect("an entry").file_name();
            assert!(!name.to_string_lossy().starts_with(".writing"), "{}/{name:?}", folder.display());
        }
    }
}

#[test]
fn wrong_arguments_end_with_2() {
    for arguments in [&["train", "--no-such-option"][..], &["no-such-command"], &["train", "--epochs", "x"]] {
        let output = program(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn recipes_are_checked_key_by_key() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let says = |arguments: &[&str], parts: &[&str]| {
        let line = with("adautomix", &out, arguments);
        assert!(parts.iter().all(|part| line.contains(part)), "{line}");
        assert!(!out.exists(), "{arguments:?} left a folder");
    };
    says(&["--set", "method.mixup_radio=0.5"], &["mixup_radio"]);
    says(&["--set", "training.batch_size=\"many\""], &["batch_size", "many"]);
    says(&["--set", "method.images=1", "--set", "method.margin_rule=none"], &["images", "2"]);
    says(&["--set", "training.batch_size=0"], &["batch_size"]);
    says(&["--set", "network.name=resnet19"], &["resnet19", "resnet18"]);
    says(&["--set", "data.name=cifar11"], &["cifar11", "cifar10"]);
    says(&["--set", "method.feature_stage=7"], &["feature_stage", "3 stages"]);
    says(&["--set", "method.generator.upsampling_factor=3"], &["upsampling_factor"]);
    says(&["--device", "tpu"], &["tpu", "cpu"]);
    says(&["--device", "cuda:0"], &["cuda:0", "--device cpu"]);
    let line = fail(program(&["train", "quick/no-such-method"]));
    assert!(line.contains("quick/no-such-method"), "{line}");
}

#[test]
fn missing_and_cut_data_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let (out, data) = (folder.path().join("run"), folder.path().join("data"));
    std::fs::create_dir(&data).unwrap();
    let arguments = ["--dataset", "cifar10", "--data-dir", data.to_str().unwrap()];
    let line = with("vanilla", &out, &arguments);
    assert!(line.contains("cifar10") && line.contains("data"), "{line}");
    for split in ["train", "test"] {
        std::fs::write(data.join(format!("{split}-00000-of-00001.parquet")), b"PAR1 and then nothing")
            .unwrap();
    }
    let line = with("vanilla", &out, &arguments);
    assert!(line.contains(".parquet"), "{line}");
    assert!(!out.exists());
}

#[test]
fn a_loss_that_is_no_number_stops_the_run_and_keeps_the_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let line = with("vanilla", &out, &["--set", "optimizer.lr=1e38", "--checkpoint-steps", "1"]);
    assert!(line.contains("step 1: the loss `loss`"), "{line}");
    assert!(out.join("checkpoints/last.safetensors").exists() && !out.join("summary.json").exists());
    assert_tidy(&out);
}

#[test]
fn a_checkpoint_of_another_network_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (plain, mixed) = (folder.path().join("plain"), folder.path().join("mixed"));
    succeed(train("vanilla", &plain));
    succeed(train("adautomix", &mixed));
    let last = "checkpoints/last.safetensors";
    std::fs::copy(plain.join(last), mixed.join(last)).unwrap();
    let line = fail(program(&["evaluate", mixed.to_str().unwrap()]));
    assert!(line.contains("last.safetensors") && line.contains("`student.head_one.weight`"), "{line}");
    let bytes = std::fs::read(plain.join(last)).unwrap();
    std::fs::write(plain.join(last), &bytes[..bytes.len() / 2]).unwrap();
    let line = fail(program(&["evaluate", plain.to_str().unwrap()]));
    assert!(line.contains("not a whole safetensors file"), "{line}");
    let line = fail(program(&["evaluate", folder.path().join("none").to_str().unwrap()]));
    assert!(line.contains("none/recipe.toml"), "{line}");
}

#[test]
fn an_unwritable_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, b"not a folder").unwrap();
    let line = with("vanilla", &file.join("run"), &[]);
    assert!(line.contains("file/run"), "{line}");
}

/// A limit on the size of files stands in for a full disk: writing fails in the middle.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_nothing_half_written() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let inner = train("vanilla", &out);
    let mut command = std::process::Command::new("bash");
    command.args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\""]);
    command.arg(inner.get_program()).args(inner.get_args());
    let line = fail(command);
    assert!(line.contains("checkpoints/") && line.contains(".safetensors"), "{line}");
    assert_eq!(std::fs::read_dir(out.join("checkpoints")).unwrap().count(), 0);
    assert_tidy(&out);
}

#[test]
fn pictures_that_do_not_decode_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let (picture, out) = (folder.path().join("a.png"), folder.path().join("mix.png"));
    std::fs::write(&picture, b"not a picture").unwrap();
    let [picture, out] = [&picture, &out].map(|path| path.to_str().unwrap());
    let line = fail(program(&["mix", picture, picture, "--out", out]));
    assert!(line.contains("a.png"), "{line}");
    let line = fail(program(&["mix", "--count", "1", "--out", out]));
    assert!(line.contains("at least 2"), "{line}");
}
