//! The program reproduces every golden case in `tests/goldens`.

use std::path::Path;
use std::process::{Command, Output};

fn goldens(folder: &str) -> String {
    format!("{}/../../tests/goldens/{folder}", env!("CARGO_MANIFEST_DIR"))
}

fn parity(arguments: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_adautomix");
    Command::new(program).arg("parity").args(arguments).output().expect("the program starts")
}

/// Runs a folder of cases, as many as it is known to have.
fn passes(folder: &str, cases: usize) {
    let output = parity(&[&goldens(folder)]);
    let (lines, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let failures: Vec<&str> = lines.lines().filter(|line| !line.starts_with("pass")).collect();
    assert_eq!(failures, [format!("{cases} passed, 0 failed")], "{errors}");
    assert!(output.status.success());
}

#[test]
fn the_method_is_what_the_goldens_say() {
    passes("core", 59);
}

#[test]
fn mixing_is_what_the_goldens_say() {
    passes("mixers", 136);
}

#[test]
fn layers_and_networks_are_what_the_goldens_say() {
    passes("nets", 140);
}

/// The arithmetic of CUDA's tensor cores, rounded in the same places.
#[test]
fn layers_and_residual_networks_are_what_the_goldens_say_in_bf16() {
    let output = parity(&[&goldens("nets"), "--bf16"]);
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let failures: Vec<&str> = lines.lines().filter(|line| !line.starts_with("pass")).collect();
    assert_eq!(failures, ["49 passed, 0 failed (in bf16: operations to 1/64, networks to 1/4)"]);
}

#[test]
fn only_selects_by_op() {
    let output = parity(&[&goldens("core"), "--only", "mix_images,adv_schedule"]);
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(lines.lines().count(), 5, "{lines}");
    assert!(lines.ends_with("4 passed, 0 failed\n"), "{lines}");
}

/// A case with one output, written by hand: safetensors is a length, a JSON header, and the data.
fn write_case(folder: &Path, op: &str, expected: f32) -> String {
    let header = format!(
        r#"{{"__metadata__":{{"format":"1","op":"{op}","params":"{{}}","rtol":"0.1","atol":"0"}},
        "in/input":{{"dtype":"F32","shape":[1,1,1,1],"data_offsets":[0,4]}},
        "out/output":{{"dtype":"F32","shape":[1,1],"data_offsets":[4,8]}}}}"#
    );
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend([2f32, expected].iter().flat_map(|value| value.to_le_bytes()));
    let path = folder.join(format!("{op}.safetensors"));
    std::fs::write(&path, bytes).expect("the folder can be written");
    path.to_str().expect("the path is text").to_string()
}

#[test]
fn a_wrong_case_fails_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    for (op, expected, status, says) in [
        ("global_avg_pool", 2.1, 0, "pass"),
        ("global_avg_pool", 3.0, 1, "3.33e0 of the tolerance, out/output"),
        ("global_avg_pool", f32::NAN, 1, "inf of the tolerance"),
        ("no_such_op", 2.0, 1, "unknown op `no_such_op`"),
    ] {
        let output = parity(&[&write_case(folder.path(), op, expected)]);
        let lines = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(status), "{lines}");
        assert!(lines.contains(says), "{lines}");
    }
}

#[test]
fn what_is_no_case_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text.safetensors");
    std::fs::write(&path, "no header here").unwrap();
    let output = parity(&[path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("it is not a safetensors file"));
    for (arguments, says) in [
        (vec!["does-not-exist"], "`does-not-exist` does not exist"),
        (vec![&goldens("core"), "--only", "nothing"], "no case to run"),
    ] {
        let output = parity(&arguments);
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains(says));
    }
}
