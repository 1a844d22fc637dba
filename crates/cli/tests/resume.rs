//! A run that is stopped and resumed leaves the same files as one that is not.

mod common;

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use common::{fail, program, succeed, train};

const SAME: [&str; 4] =
    ["metrics.jsonl", "checkpoints/last.safetensors", "checkpoints/best.safetensors", "recipe.toml"];

fn assert_same(one: &Path, other: &Path) {
    for file in SAME {
        let [a, b] =
            [one, other].map(|folder| std::fs::read(folder.join(file)).expect("the run left the file"));
        assert!(a == b, "{file} differs");
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|metadata| metadata.modified()).ok()
}

/// Starts a run that saves at every step, and kills it once it has saved so many times.
fn kill_after(saves: usize, out: &Path, method: &str) {
    let mut command = train(method, out);
    command.args(["--checkpoint-steps", "1"]).stderr(Stdio::null()).stdout(Stdio::null());
    let mut child = command.spawn().expect("the program starts");
    let (last, mut seen, mut count) = (out.join("checkpoints/last.safetensors"), None, 0);
    let start = Instant::now();
    while count < saves && start.elapsed() < Duration::from_secs(300) {
        let now = modified(&last);
        count += usize::from(now != seen);
        seen = now;
        if child.try_wait().expect("the state of the child").is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().ok();
    child.wait().expect("the end of the child");
}

#[test]
fn a_killed_run_ends_in_the_same_bytes() {
    // Which of the six steps is cut off changes from run to run of this test.
    let nanoseconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().subsec_nanos();
    let saves = 1 + nanoseconds as usize % 5;
    println!("killed after {saves} checkpoints");
    for method in ["adautomix", "samix"] {
        let folder = tempfile::tempdir().unwrap();
        let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
        succeed(train(method, &whole));
        kill_after(saves, &killed, method);
        assert!(!killed.join("summary.json").exists());
        let mut resumed = train(method, &killed);
        resumed.arg("--resume");
        succeed(resumed);
        assert_same(&whole, &killed);
        assert!(killed.join("summary.json").exists());
    }
}

#[cfg(unix)]
#[test]
fn a_signal_saves_and_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, stopped) = (folder.path().join("whole"), folder.path().join("stopped"));
    succeed(train("mixup", &whole));
    let mut command = train("mixup", &stopped);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts");
    // The recipe is written before the first step.
    let start = Instant::now();
    while !stopped.join("metrics.jsonl").exists() && start.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let status = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(status.expect("kill").success());
    let output = child.wait_with_output().expect("the end of the child");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{text}");
    assert!(text.lines().last().is_some_and(|line| line.ends_with("state saved")), "{text}");
    let mut resumed = train("mixup", &stopped);
    resumed.arg("--resume");
    succeed(resumed);
    assert_same(&whole, &stopped);
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let outs = ["1", "3"].map(|threads| {
        let out = folder.path().join(threads);
        let mut command = train("adautomix", &out);
        command.env("RAYON_NUM_THREADS", threads).env("CANDLE_NUM_THREADS", threads);
        succeed(command);
        out
    });
    assert_same(&outs[0], &outs[1]);
}

#[test]
fn a_run_is_not_overwritten_nor_resumed_with_another_recipe() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    succeed(train("vanilla", &out));
    let line = fail(train("vanilla", &out));
    assert!(line.contains("already holds a run"), "{line}");
    let mut other = train("vanilla", &out);
    other.args(["--resume", "--set", "optimizer.momentum=0.5"]);
    let line = fail(other);
    assert!(line.contains("recipe.toml") && line.contains("momentum = 0.5"), "{line}");
    // A run that has ended is not made again.
    let mut again = train("vanilla", &out);
    again.arg("--resume");
    succeed(again);
    let evaluated = succeed(program(&["evaluate", out.to_str().unwrap(), "--json"]));
    let evaluated: serde_json::Value = serde_json::from_slice(&evaluated.stdout).unwrap();
    let summary = std::fs::read(out.join("summary.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_slice(&summary).unwrap();
    assert_eq!(evaluated["student"]["one"]["top1"], summary["student"]["top1"]["last"]);
}
