//! Runs the program on a network and a data set that take seconds.

use std::path::Path;
use std::process::{Command, Output};

/// `adautomix train quick/METHOD` on a few drawn pictures: 6 steps in 2 epochs.
#[allow(dead_code, reason = "not every test file needs it")]
pub(crate) fn train(method: &str, out: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_adautomix"));
    command.env_remove("RUST_LOG").arg("train").arg(format!("quick/{method}")).arg("--out").arg(out);
    for set in [
        "data.train_pictures=30",
        "data.test_pictures=20",
        "training.batch_size=10",
        "training.epochs=2",
        "optimizer.lr=0.01",
    ] {
        command.args(["--set", set]);
    }
    command.args(["--log-steps", "2"]);
    command
}

/// The program with other arguments.
#[allow(dead_code, reason = "not every test file needs it")]
pub(crate) fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_adautomix"));
    command.env_remove("RUST_LOG").env_remove("ADAUTOMIX_DATA").args(arguments);
    command
}

/// Runs a command that must succeed.
#[allow(dead_code, reason = "not every test file needs it")]
pub(crate) fn succeed(mut command: Command) -> Output {
    let output = command.output().expect("the program starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Runs a command that must fail with exit code 1 and one line of error, and gives the line.
#[allow(dead_code, reason = "not every test file needs it")]
pub(crate) fn fail(mut command: Command) -> String {
    let output = command.output().expect("the program starts");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{command:?}: {text}");
    let errors: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("error: ")).collect();
    let [line] = errors[..] else { panic!("{command:?}: expected one line of error, got: {text}") };
    line.to_owned()
}
