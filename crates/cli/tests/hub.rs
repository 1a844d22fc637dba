//! Runs go to a Hub in memory and come back.
#![cfg(feature = "hub")]

mod common;
#[path = "../../hub/tests/hub/server/mod.rs"]
#[expect(dead_code, reason = "the tests of the crate use more of it")]
mod server;

use std::path::Path;
use std::process::Command;

use common::{fail, program, succeed, train};
use server::{Fault, Server, WRITER};

/// `adautomix hub` with nothing of the environment but this.
fn hub(server: &Server, home: &Path, arguments: &[&str]) -> Command {
    let mut command = program(&["hub"]);
    for name in ["HF_TOKEN_PATH", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE"] {
        command.env_remove(name);
    }
    command.env("HF_ENDPOINT", &server.endpoint).env("HF_HOME", home).env("HF_TOKEN", WRITER);
    command.args(arguments);
    command
}

fn text(command: Command) -> String {
    String::from_utf8_lossy(&succeed(command).stdout).into_owned()
}

#[test]
fn a_run_is_planned_pushed_and_pulled() {
    let folder = tempfile::tempdir().unwrap();
    let (server, home) = (Server::start(), folder.path().join("home"));
    let run = folder.path().join("runs/seed0");
    succeed(train("adautomix", &run));
    let mut other = train("adautomix", &folder.path().join("runs/seed1"));
    other.args(["--seed", "1"]);
    succeed(other);
    let run = run.to_str().unwrap();

    let planned = text(hub(&server, &home, &["push", run, "tester/mixed", "--dry-run"]));
    assert!(planned.contains("tester/mixed (new)") && planned.contains("nothing was sent"), "{planned}");
    for part in
        ["generator.safetensors", "model-index:", "n = 2 runs", "hub::pull(\"tester/mixed\")", "teacher's"]
    {
        assert!(planned.contains(part), "no {part} in {planned}");
    }
    assert!(server.log().iter().all(|line| line.starts_with("GET ")));

    // Whatever is logged, the token isn't in it.
    let mut push = hub(&server, &home, &["push", run, "tester/mixed", "--private"]);
    push.env("RUST_LOG", "trace");
    let output = push.output().unwrap();
    let (out, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("is at commit"), "{out}{log}");
    assert!(log.contains("tester/mixed") && !log.contains(WRITER) && !out.contains(WRITER));
    let files: Vec<String> = server.files("tester/mixed", "main").into_keys().collect();
    let expected = [
        ".gitattributes",
        "README.md",
        "config.json",
        "generator.safetensors",
        "model.safetensors",
        "recipe.toml",
    ];
    assert_eq!(files, expected);
    assert!(server.is_private("tester/mixed"));
    let again = text(hub(&server, &home, &["push", run, "tester/mixed"]));
    assert!(again.contains("had it all; nothing was sent"), "{again}");
    let student =
        text(hub(&server, &home, &["push", run, "tester/mixed", "--network", "student", "--dry-run"]));
    assert!(student.contains("model.safetensors") && student.contains("changed"), "{student}");

    let pulled = text(hub(&server, &home, &["pull", "tester/mixed"]));
    assert!(pulled.contains("resnet20-cifar, 10 classes: all") && pulled.contains("tensors fit"), "{pulled}");
    server.fail("GET", "", Fault::Lost, usize::MAX);
    let offline = text(hub(&server, &home, &["pull", "tester/mixed", "--offline"]));
    assert_eq!(offline, pulled);
}

#[test]
fn what_cannot_be_pushed_or_pulled_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let (server, run) = (Server::start(), folder.path().join("run"));
    succeed(train("mixup", &run));
    let run = run.to_str().unwrap();
    let says = |arguments: &[&str], words: &str| {
        let line = fail(hub(&server, folder.path(), arguments));
        assert!(line.contains(words), "{line}");
    };
    says(&["push", run, "a/b", "--network", "teacher"], "the method `mixup` has no teacher");
    says(&["push", folder.path().to_str().unwrap(), "a/b"], "the run hasn't ended");
    says(&["pull", "a/b"], "no model `a/b` on the Hub");
    says(&["pull", "a/b", "--offline"], "not in the cache");
    server.put(
        "a/b",
        "main",
        &[("config.json", b"{\"architecture\": \"resnet20-cifar\", \"num_classes\": 10}")],
    );
    says(&["pull", "a/b"], "has no file `model.safetensors`");
    // Weights of another network.
    let empty = b"\x02\0\0\0\0\0\0\0{}";
    server.put("a/b", "main", &[("model.safetensors", empty)]);
    says(&["pull", "a/b"], "no tensor `conv1.weight`");
    let mut stranger = hub(&server, folder.path(), &["push", run, "a/c"]);
    stranger.env_remove("HF_TOKEN");
    assert!(fail(stranger).contains("there is no token"));
    assert_eq!(program(&["hub", "pull", "no-owner"]).output().unwrap().status.code(), Some(2));
    // A dry run needs no connection.
    let mut alone = hub(&server, folder.path(), &["push", run, "a/b", "--dry-run"]);
    alone.env("HF_HUB_OFFLINE", "1");
    assert!(text(alone).contains("model.safetensors"));
}
